//! How does a package get into the pool? Whole, under its final name, beyond a loss of power.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{fresh_name, sync_dir};

/// Where the repository of a distribution lies; both names must be plain.
pub fn root(directory: &Path, account: &str, distribution: &str) -> PathBuf {
    directory.join(account).join(distribution)
}

/// Gives a file that came in its place in the pool, without taking it away where it lies. What lay
/// there, of an import that was never finished, is replaced.
///
/// # Errors
///
/// The file system's.
pub fn place(came: &Path, root: &Path, path: &str) -> io::Result<()> {
    let to = root.join(path);
    let dir = to
        .parent()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    fs::create_dir_all(dir)?;
    let aside = dir.join(format!(".{}", fresh_name()));
    fs::hard_link(came, &aside)?;
    let placed = fs::rename(&aside, &to);
    // A rename between two names of one file does nothing and leaves both.
    let _ = fs::remove_file(&aside);
    placed?;
    // Folders that were made a moment ago, too.
    dir.ancestors()
        .take_while(|dir| dir.starts_with(root))
        .try_for_each(sync_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_placed_and_placed_again() {
        let dir = std::env::temp_dir().join(format!("backends-pool-{}", fresh_name()));
        fs::create_dir_all(&dir).expect("a folder");
        let root = root(&dir, "a", "b");
        for text in ["old", "new", "new"] {
            let came = dir.join("came");
            fs::write(&came, text).expect("written");
            place(&came, &root, "pool/main/h/hello/h.deb").expect("placed");
            place(&came, &root, "pool/main/h/hello/h.deb").expect("placed again");
            let placed = root.join("pool/main/h/hello/h.deb");
            assert_eq!(fs::read_to_string(placed).expect("there"), text);
            fs::remove_file(&came).expect("it stays where it came");
        }
        let folder = fs::read_dir(root.join("pool/main/h/hello")).expect("readable");
        assert_eq!(folder.count(), 1);
        fs::remove_dir_all(dir).expect("ours");
    }
}
