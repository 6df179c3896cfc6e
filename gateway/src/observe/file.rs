//! How is a file written that others rename? The access log on disk, and on standard output.
//!
//! Promises: a file that was renamed or taken away (logrotate) is begun anew within a second, or at once when asked to.
//! Does not: rename or compress; that is logrotate's work.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::access_log::Destination;

/// Between two looks whether the file is still the one of that name.
const LOOK: Duration = Duration::from_secs(1);

/// A file that lines are appended to.
pub struct LogFile {
    path: PathBuf,
    file: File,
    looked: Instant,
    /// It could not be begun anew the last time.
    stuck: bool,
}

impl LogFile {
    /// Opens the file, or makes it.
    pub fn open(path: PathBuf) -> io::Result<LogFile> {
        Ok(LogFile {
            file: append(&path)?,
            path,
            looked: Instant::now(),
            stuck: false,
        })
    }

    /// The file itself, whatever its name is now.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// Whether the name means another file now, or none.
    fn is_renamed(&self) -> bool {
        match (std::fs::metadata(&self.path), self.file.metadata()) {
            (Ok(named), Ok(ours)) => (named.dev(), named.ino()) != (ours.dev(), ours.ino()),
            _ => true,
        }
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Destination for LogFile {
    fn write(&mut self, block: &[u8]) -> u64 {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            if self.is_renamed() {
                self.reopen();
            }
        }
        write_all(&mut self.file, block)
    }

    fn reopen(&mut self) {
        match append(&self.path) {
            Ok(file) => {
                self.file = file;
                self.stuck = false;
            }
            Err(error) if !self.stuck => {
                self.stuck = true;
                tracing::error!(%error, path = %self.path.display(), "the access log cannot be begun anew; the old file is written on");
            }
            Err(_) => {}
        }
    }
}

/// Standard output.
pub struct Stdout;

impl Destination for Stdout {
    fn write(&mut self, block: &[u8]) -> u64 {
        write_all(&mut io::stdout().lock(), block)
    }
}

fn write_all(to: &mut impl Write, block: &[u8]) -> u64 {
    match to.write_all(block).and_then(|()| to.flush()) {
        Ok(()) => 0,
        Err(_) => block.iter().filter(|c| **c == b'\n').count() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_file_is_begun_anew() {
        let dir = std::env::temp_dir().join(format!("portcullis-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, old) = (dir.join("access.log"), dir.join("access.log.1"));
        let mut file = LogFile::open(path.clone()).unwrap();
        file.write(b"one\n");
        std::fs::rename(&path, &old).unwrap();
        file.write(b"two\n");
        // As if a second had passed.
        file.looked = Instant::now().checked_sub(LOOK).unwrap();
        file.write(b"three\n");
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        std::fs::rename(&path, &old).unwrap();
        file.reopen();
        file.write(b"four\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\n");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
