//! Was a file replaced? Somebody else writes it: whoever renews our login, or the Vault's authority.
//!
//! A look costs one question to the file system, so it may be often. A file that is replaced, written
//! again or reached by another link looks otherwise; one that changes while it is read is read again at
//! the next look.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A file that may be replaced.
pub struct Watched {
    path: PathBuf,
    seen: Mutex<Option<Look>>,
}

/// What tells two states of a file apart: where it lies, its length, and when it was changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Watched {
    /// Nothing of it was read yet.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            seen: Mutex::new(None),
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands in it now.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        // Before it is read: what changes meanwhile is seen at the next look.
        let look = self.look();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = look;
        std::fs::read(&self.path)
    }

    /// What was read is of no use yet: the file looks otherwise until it is read again.
    pub fn forget(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Does it look otherwise than when it was read last? One that is gone did not change: what it said
    /// is all there is.
    pub fn is_changed(&self) -> bool {
        let now = self.look();
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        now.is_some() && now != seen
    }

    fn look(&self) -> Option<Look> {
        let told = self.path.metadata().ok()?;
        Some(Look {
            device: told.dev(),
            inode: told.ino(),
            length: told.len(),
            changed: (told.ctime(), told.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changes_when_it_is_replaced_or_written_and_not_when_it_is_gone() {
        let path = std::env::temp_dir().join(format!("backends-watched-{}", fastrand::u64(..)));
        let write = |text: &str| {
            let fresh = path.with_extension("new");
            std::fs::write(&fresh, text).expect("a file");
            std::fs::rename(&fresh, &path).expect("renamed");
        };
        let file = Watched::new(&path);
        assert!(file.read().is_err() && !file.is_changed());
        write("one");
        assert!(file.is_changed());
        assert_eq!(file.read().expect("it is there"), b"one");
        assert!(!file.is_changed());
        // As long, by another file.
        write("two");
        assert!(file.is_changed());
        assert_eq!(file.read().expect("it is there"), b"two");
        std::fs::write(&path, "three").expect("written");
        assert!(file.is_changed());
        assert_eq!(file.read().expect("it is there"), b"three");
        assert!(!file.is_changed());
        file.forget();
        assert!(file.is_changed());
        std::fs::remove_file(&path).expect("it is there");
        assert!(!file.is_changed());
    }
}
