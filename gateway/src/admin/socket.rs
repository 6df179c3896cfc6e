//! Where is the operators' unix socket, and whose is it?
//!
//! Promises: the socket appears at its path whole, with its permissions; one that a dead process left behind is taken
//! over, one that somebody answers on is not. At the end only our own is removed. Does not: serve.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::config::model::{Admin, AdminSocket};

/// Where the socket is without a word about it, below the service's own directory.
const NAME: &str = "admin.sock";
/// The service's own directory, where the service manager names none.
const DIRECTORY: &str = "/run/portcullis";

/// An open socket; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    /// Takes connections.
    pub listener: UnixListener,
    /// Where it is.
    pub path: PathBuf,
    /// Device and number of the file: whoever took the path over keeps it.
    file: (u64, u64),
}

/// Where operators look for the socket; `None` where it is off. `runtime` is the value of `RUNTIME_DIRECTORY`.
pub fn path_of(admin: &Admin, runtime: Option<&str>) -> Option<PathBuf> {
    match &admin.socket {
        AdminSocket::Off => None,
        AdminSocket::At(path) => Some(path.clone()),
        AdminSocket::Usual => {
            // The service manager may name several; the first is ours.
            let named = runtime.and_then(|all| all.split(':').next());
            let directory = named.filter(|name| !name.is_empty()).unwrap_or(DIRECTORY);
            Some(Path::new(directory).join(NAME))
        }
    }
}

/// Opens the socket at `path`. `replace` takes the path from a process that still answers there: the one before us.
/// The error is a sentence.
pub fn open(path: &Path, mode: u32, replace: bool) -> Result<Socket, String> {
    let shown = path.display();
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(directory)
            .map_err(|error| format!("{} cannot be made: {error}", directory.display()))?;
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("{shown} cannot be looked at: {error}")),
        Ok(found) if !is_socket(&found) => {
            return Err(format!("{shown} is there and is no socket"));
        }
        Ok(_) if !replace && UnixStream::connect(path).is_ok() => {
            return Err(format!("another process answers on {shown}"));
        }
        Ok(_) => {}
    }
    place(path, directory, mode).map_err(|error| format!("{shown} cannot be made: {error}"))
}

/// A socket that the process before us opened at `path`.
pub fn adopt(path: &Path, listener: UnixListener) -> io::Result<Socket> {
    let found = std::fs::symlink_metadata(path)?;
    Ok(Socket {
        listener,
        path: path.to_owned(),
        file: (found.dev(), found.ino()),
    })
}

/// Makes the socket out of reach, gives it its permissions and only then its name.
fn place(path: &Path, directory: &Path, mode: u32) -> io::Result<Socket> {
    let hidden = directory.join(format!(".{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&hidden);
    std::fs::DirBuilder::new().mode(0o700).create(&hidden)?;
    let made = hidden.join("s");
    let placed = (|| {
        let listener = UnixListener::bind(&made)?;
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(mode))?;
        listener.set_nonblocking(true)?;
        let found = std::fs::symlink_metadata(&made)?;
        std::fs::rename(&made, path)?;
        Ok(Socket {
            listener,
            path: path.to_owned(),
            file: (found.dev(), found.ino()),
        })
    })();
    let _ = std::fs::remove_dir_all(&hidden);
    placed
}

fn is_socket(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_socket()
}

/// Removes the file of a socket, unless somebody else has taken the path over.
pub struct Trace(PathBuf, (u64, u64));

impl Socket {
    /// What is left to be removed at the end.
    pub fn trace(&self) -> Trace {
        Trace(self.path.clone(), self.file)
    }
}

impl Trace {
    /// Removes it.
    pub fn remove(&self) {
        let ours = std::fs::symlink_metadata(&self.0)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.1);
        if ours {
            // Nothing to be done about it at the end: the next one takes it over.
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let name = format!("portcullis-socket-{name}-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir(&dir).unwrap();
            Dir(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_socket_has_its_permissions_and_its_directory_is_made() {
        let dir = Dir::new("made");
        let path = dir.0.join("run").join("a.sock");
        let socket = open(&path, 0o640, false).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(std::fs::read_dir(dir.0.join("run")).unwrap().count(), 1);
        socket.trace().remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_taken_over_a_live_one_and_a_file_are_not() {
        let dir = Dir::new("stale");
        let path = dir.0.join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        let first = open(&path, 0o600, false).unwrap();
        let refused = open(&path, 0o600, false).unwrap_err();
        assert!(refused.contains("another process answers"), "{refused}");
        let second = open(&path, 0o600, true).unwrap();
        first.trace().remove();
        assert!(path.exists(), "who took the path over keeps it");
        second.trace().remove();
        assert!(!path.exists());
        std::fs::write(&path, "text").unwrap();
        let refused = open(&path, 0o600, true).unwrap_err();
        assert!(refused.contains("no socket"), "{refused}");
    }

    #[test]
    fn the_usual_place_is_the_services_own_directory() {
        let mut admin = Admin::default();
        for (runtime, path) in [
            (None, "/run/portcullis/admin.sock"),
            (Some(""), "/run/portcullis/admin.sock"),
            (Some("/run/a:/run/b"), "/run/a/admin.sock"),
        ] {
            assert_eq!(path_of(&admin, runtime), Some(PathBuf::from(path)));
        }
        admin.socket = AdminSocket::Off;
        assert_eq!(path_of(&admin, None), None);
    }
}
