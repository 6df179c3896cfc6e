//! What may the process still do once it has what it needs? Another user, fewer rights, fewer files.
//!
//! Promises: called before a second thread exists, so that it holds for all of them, and for every process that we start;
//! what cannot be had is an error, or told, as the configuration says. Does not: open anything.

mod files;
mod user;

use std::path::PathBuf;

pub use files::{Reach, folder_of};

use crate::config::model::Process;

/// What was done, for the log and for the next process.
#[derive(Debug, Default)]
pub struct Confined {
    /// The user that we became.
    pub user: Option<String>,
    /// The files that are left to us, in words; `None` where all are.
    pub files: Option<String>,
}

/// Why the process cannot be confined as asked.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The user is not known on this machine.
    #[error("there is no user `{0}` on this machine")]
    NoUser(String),
    /// The group is not known on this machine.
    #[error("there is no group `{0}` on this machine")]
    NoGroup(String),
    /// Only root may become somebody else.
    #[error("only root may become `{0}`; start as root, or leave `process.user` out")]
    NotRoot(String),
    /// A call failed.
    #[error("{0}: {1}")]
    Call(&'static str, std::io::Error),
    /// The kernel does not do it.
    #[error("landlock: {0}; `process: {{ landlock: try }}` goes on without it")]
    Landlock(String),
}

/// Confines the process. `reach` are the files that it needs; `before` is what the process that we replace was confined to,
/// which we are, too.
pub fn confine(
    process: &Process,
    reach: &Reach,
    before: Option<&str>,
) -> Result<Confined, ConfineError> {
    let user = match &process.user {
        Some(name) => user::become_user(name, process.group.as_deref(), process.low_ports)?,
        None => None,
    };
    let files = files::confine(process.landlock, reach, before)?;
    Ok(Confined { user, files })
}

/// The files among these that cannot be read any more.
pub fn unreadable(files: impl IntoIterator<Item = PathBuf>) -> Vec<(PathBuf, std::io::Error)> {
    files
        .into_iter()
        .filter_map(|path| {
            let error = std::fs::File::open(&path).err()?;
            Some((path, error))
        })
        .collect()
}
