//! Which file is meant? A path below a folder, found without ever leaving it.
//!
//! Promises: the kernel resolves the path beneath the folder (`openat2`, RESOLVE_BENEATH), so no spelling, no symbolic link
//! and no race leads out of it; only regular files are opened. Does not: answer requests, or run where it must not block
//! (callers hand [`find`] to a thread that may).

pub mod conditions;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use crate::config::model::{Action, Config, Folder};
use crate::config::problem::Problem;

/// A way in which a file may lie there packed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    /// `.zst`, RFC 8878.
    Zstd,
    /// `.br`, RFC 7932.
    Brotli,
    /// `.gz`, RFC 1952.
    Gzip,
}

impl Packed {
    /// Every one, the best first.
    pub const ALL: [Packed; 3] = [Packed::Zstd, Packed::Brotli, Packed::Gzip];

    /// As `Content-Encoding` has it.
    pub fn name(self) -> &'static str {
        match self {
            Packed::Zstd => "zstd",
            Packed::Brotli => "br",
            Packed::Gzip => "gzip",
        }
    }

    fn ending(self) -> &'static [u8] {
        match self {
            Packed::Zstd => b".zst",
            Packed::Brotli => b".br",
            Packed::Gzip => b".gz",
        }
    }
}

/// What lies at a path.
#[derive(Debug)]
pub enum Found {
    /// A regular file, open.
    File(Opened),
    /// A folder that was asked for without its slash.
    Folder,
    /// Nothing that is shown.
    Nothing,
    /// The process may not read it.
    Forbidden,
    /// The file system fails.
    Broken(io::Error),
}

/// An open file.
#[derive(Debug)]
pub struct Opened {
    /// To read from.
    pub file: File,
    /// Bytes.
    pub length: u64,
    /// When it was changed.
    pub modified: SystemTime,
    /// How its bytes are packed, if they are.
    pub packed: Option<Packed>,
    /// The name by which its type is known: that of the file without the ending of a packed one.
    pub name: Vec<u8>,
}

impl Opened {
    /// A strong validator: it changes with every change of the file that the file system can tell (RFC 9110 section 8.8.3).
    pub fn etag(&self) -> String {
        let since = self
            .modified
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let packed = match self.packed {
            Some(packed) => packed.name(),
            None => "",
        };
        let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
        format!("\"{seconds:x}{nanos:08x}-{:x}{packed}\"", self.length)
    }
}

/// The path below the folder that the rest of a matched path means: `None` where it names nothing that is shown. With a
/// slash at its end it means a folder.
pub fn below(folder: &Folder, rest: &str) -> Option<Vec<u8>> {
    let inside = rest.strip_prefix('/').unwrap_or(rest);
    let mut path = Vec::with_capacity(inside.len());
    let mut segments = inside.split('/').peekable();
    while let Some(segment) = segments.next() {
        let decoded = decode(segment)?;
        let hidden = decoded.first() == Some(&b'.') && decoded != b".well-known";
        // A slash or dots from within an escape are nobody's file; the kernel would refuse the way out all the same.
        if decoded.contains(&b'/') || decoded.contains(&0) || (hidden && !folder.dotfiles) {
            return None;
        }
        if decoded == b"." || decoded == b".." {
            return None;
        }
        path.extend_from_slice(&decoded);
        if segments.peek().is_some() {
            path.push(b'/');
        }
    }
    Some(path)
}

fn decode(segment: &str) -> Option<Vec<u8>> {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let hex = segment.get(at + 1..at + 3)?;
            out.push(u8::from_str_radix(hex, 16).ok()?);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    Some(out)
}

/// Looks a path up that [`below`] made; `accepted` are the packed forms that the client takes, the best first. Blocks.
pub fn find(folder: &Folder, path: &[u8], accepted: &[Packed]) -> Found {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Opened for each request: an operator may put a new folder or a link in its place.
    let root = match open(&folder.root, flags, Mode::empty()) {
        Ok(root) => root,
        Err(error) => return Found::Broken(error.into()),
    };
    let is_folder = path.is_empty() || path.ends_with(b"/");
    let whole = match (is_folder, &folder.index) {
        (false, _) => path.to_vec(),
        (true, Some(index)) => [path, index.as_bytes()].concat(),
        (true, None) => return Found::Nothing,
    };
    let mut opened = match regular(&root, &whole, folder) {
        Ok(Some(opened)) => opened,
        Ok(None) if is_folder => return Found::Nothing,
        Ok(None) => return directory(&root, &whole, folder),
        Err(error) => return failed(error),
    };
    if folder.precompressed {
        for packed in accepted {
            let name = [&whole[..], packed.ending()].concat();
            if let Ok(Some(found)) = regular(&root, &name, folder) {
                opened = Opened {
                    packed: Some(*packed),
                    ..found
                };
                break;
            }
        }
    }
    opened.name = whole;
    Found::File(opened)
}

/// Opens a regular file; `None` where something else lies there.
fn regular(root: &OwnedFd, path: &[u8], folder: &Folder) -> Result<Option<Opened>, Errno> {
    // NONBLOCK: a pipe that nobody writes to would hold the thread.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(open_beneath(root, path, flags, folder)?);
    let kind = file
        .metadata()
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(kind.is_file().then(|| Opened {
        length: kind.len(),
        modified: kind.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        packed: None,
        name: Vec::new(),
        file,
    }))
}

fn directory(root: &OwnedFd, path: &[u8], folder: &Folder) -> Found {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match open_beneath(root, path, flags, folder) {
        // Where nothing is shown of a folder, nothing is told of it either.
        Ok(_) if folder.index.is_some() => Found::Folder,
        Ok(_) => Found::Nothing,
        Err(error) => failed(error),
    }
}

fn open_beneath(
    root: &OwnedFd,
    path: &[u8],
    flags: OFlags,
    folder: &Folder,
) -> Result<OwnedFd, Errno> {
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if !folder.symlinks {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    // The kernel asks to be asked again where something was renamed meanwhile.
    const TRIES: u32 = 8;
    for _ in 1..TRIES {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            done => return done,
        }
    }
    openat2(root, path, flags, Mode::empty(), resolve)
}

fn failed(error: Errno) -> Found {
    match error {
        // LOOP is a link where none may be, XDEV the way out of the folder.
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::LOOP
        | Errno::XDEV
        | Errno::NAMETOOLONG
        | Errno::INVAL
        | Errno::NXIO
        | Errno::ISDIR => Found::Nothing,
        Errno::ACCESS | Errno::PERM => Found::Forbidden,
        error => Found::Broken(error.into()),
    }
}

/// The folders that cannot be served.
pub fn problems(config: &Config) -> Vec<Problem> {
    let folders = config
        .routes
        .iter()
        .filter_map(|route| match &route.action {
            Action::Static(folder) => Some(folder),
            _ => None,
        });
    let doubts = folders.filter_map(|folder| {
        let why = doubt(&folder.root)?;
        let what = format!("`{}` cannot be served: {why}", folder.root.display());
        let hint = "name a folder; paths count from the directory that the gateway is started in";
        Some(Problem::error(folder.place, what).hint(hint))
    });
    doubts.collect()
}

/// Why a folder cannot be served, if so.
fn doubt(root: &Path) -> Option<String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = match open(root, flags, Mode::empty()) {
        Ok(root) => root,
        Err(error) => return Some(error.to_string()),
    };
    match openat2(&root, ".", flags, Mode::empty(), ResolveFlags::BENEATH) {
        Ok(_) => None,
        Err(Errno::NOSYS) => Some("this kernel has no `openat2` (Linux 5.6)".to_owned()),
        Err(error) => Some(format!("`openat2` fails: {error}")),
    }
}

#[cfg(test)]
mod tests;
