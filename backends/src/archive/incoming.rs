//! What has come in and is not complete? Files of uploads whose `.changes` is still on its way.
//!
//! A file lies under its digest and its name, so that uploads which come at once never mix: two files
//! of one name and different bytes lie side by side until their `.changes` says which is which. What
//! nobody claims is removed after a time.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::digests::hex;
use super::{fresh_name, sync_dir};

/// What came in for all pockets.
#[derive(Clone, Debug)]
pub struct Incoming {
    dir: PathBuf,
}

/// A file that is being received. Dropped before its end, it is gone.
pub struct Part {
    file: Option<File>,
    path: PathBuf,
    digest: Sha256,
    size: u64,
}

/// How much is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Files.
    pub files: usize,
    /// Bytes.
    pub bytes: u64,
}

impl Incoming {
    /// Of a folder of repositories.
    pub fn below(directory: &Path) -> Self {
        Self {
            dir: directory.join(".incoming"),
        }
    }

    fn parts(&self) -> PathBuf {
        self.dir.join("parts")
    }

    fn pocket(&self, pocket: i64) -> PathBuf {
        self.dir.join(pocket.to_string())
    }

    /// Begins to receive a file.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn begin(&self) -> io::Result<Part> {
        let dir = self.parts();
        fs::create_dir_all(&dir)?;
        let path = dir.join(fresh_name());
        let file = File::options().write(true).create_new(true).open(&path)?;
        Ok(Part {
            file: Some(file),
            path,
            digest: Sha256::new(),
            size: 0,
        })
    }

    /// Keeps a received file, whose name must be plain, for a pocket.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn keep(&self, mut part: Part, pocket: i64, name: &str) -> io::Result<()> {
        if let Some(file) = part.file.take() {
            file.sync_all()?;
        }
        let dir = self.pocket(pocket);
        fs::create_dir_all(&dir)?;
        let digest = hex(&std::mem::take(&mut part.digest).finalize());
        fs::rename(&part.path, dir.join(format!("{digest}_{name}")))?;
        sync_dir(&dir)
    }

    /// Where a file of this digest and plain name lies, if it came.
    pub fn find(&self, pocket: i64, sha256: &str, name: &str) -> Option<PathBuf> {
        let path = self.pocket(pocket).join(format!("{sha256}_{name}"));
        path.is_file().then_some(path)
    }

    /// How much waits for a pocket, with the bytes that are coming in for any of them.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn load(&self, pocket: i64) -> io::Result<Load> {
        let mut load = Load::default();
        for entry in entries(&self.pocket(pocket))? {
            // What was imported a moment ago is gone.
            if let Ok(told) = entry.metadata() {
                load.files += 1;
                load.bytes += told.len();
            }
        }
        for part in entries(&self.parts())? {
            load.bytes += part.metadata().map_or(0, |told| told.len());
        }
        Ok(load)
    }

    /// Removes what came before `before`, and says how many files that were.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn expire(&self, now: SystemTime, age: Duration) -> io::Result<usize> {
        let mut removed = 0;
        for dir in entries(&self.dir)? {
            for entry in entries(&dir.path())? {
                let written = entry.metadata().and_then(|told| told.modified());
                let old = written.is_ok_and(|written| {
                    now.duration_since(written).is_ok_and(|passed| passed > age)
                });
                if old && fs::remove_file(entry.path()).is_ok() {
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

fn entries(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.collect(),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(cause),
    }
}

impl Part {
    /// Adds a piece.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.digest.update(piece);
        self.size += piece.len() as u64;
        match &mut self.file {
            Some(file) => file.write_all(piece),
            None => Ok(()),
        }
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Where it was kept, it has another name by now.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming() -> (Incoming, PathBuf) {
        let dir = std::env::temp_dir().join(format!("backends-incoming-{}", fresh_name()));
        (Incoming::below(&dir), dir)
    }

    #[test]
    fn two_files_of_one_name_lie_side_by_side() {
        let (incoming, dir) = incoming();
        let mut digests = Vec::new();
        for text in ["one", "two", "two"] {
            let mut part = incoming.begin().expect("a file");
            part.write(text.as_bytes()).expect("written");
            incoming.keep(part, 7, "a.deb").expect("kept");
            digests.push(hex(&Sha256::digest(text)));
        }
        let load = incoming.load(7).expect("readable");
        assert_eq!(load, Load { files: 2, bytes: 6 });
        assert_eq!(incoming.load(8).expect("none"), Load::default());
        for (digest, text) in digests.iter().zip(["one", "two"]) {
            let path = incoming.find(7, digest, "a.deb").expect("it came");
            assert_eq!(fs::read_to_string(path).expect("text"), text);
            assert_eq!(incoming.find(7, digest, "b.deb"), None);
            assert_eq!(incoming.find(8, digest, "a.deb"), None);
        }
        fs::remove_dir_all(dir).expect("ours");
    }

    #[test]
    fn what_is_not_finished_is_gone_and_what_nobody_claims_expires() {
        let (incoming, dir) = incoming();
        drop(incoming.begin().expect("a file"));
        assert_eq!(entries(&incoming.parts()).expect("readable").len(), 0);
        let mut left = incoming.begin().expect("a file");
        left.write(b"x").expect("written");
        let kept = incoming.begin().expect("a file");
        incoming.keep(kept, 1, "a.deb").expect("kept");
        let (hour, now) = (Duration::from_secs(3600), SystemTime::now());
        assert_eq!(incoming.expire(now, hour).expect("readable"), 0);
        assert_eq!(incoming.expire(now + hour * 2, hour).expect("readable"), 2);
        assert_eq!(incoming.load(1).expect("readable").files, 0);
        fs::remove_dir_all(dir).expect("ours");
    }
}
