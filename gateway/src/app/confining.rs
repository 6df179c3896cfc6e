//! What does this configuration need of the machine once its sockets are open?
//!
//! Promises: the rest is given up, as far as the configuration says so; what a reload will miss is told.

use std::path::{Path, PathBuf};

use crate::admin::socket as admin_socket;
use crate::config::model::{self, Config};
use crate::confine::{self, ConfineError, Reach, folder_of, unreadable};
use crate::upgrade::control;
use crate::upgrade::successor::Start;

/// Gives up what the process does not need any more; the files it is held to, in words, for the one that replaces it.
/// `files` are those that a reload reads, `before` are those of the one that we replace.
pub(super) fn confine(
    config: &Config,
    files: Vec<PathBuf>,
    start: &Start,
    before: Option<String>,
) -> Result<Option<String>, ConfineError> {
    let reach = reach_of(config, &files, start);
    let confined = confine::confine(&config.process, &reach, before.as_deref())?;
    if let Some(user) = &confined.user {
        tracing::info!(%user, low_ports = config.process.low_ports, "privileges dropped");
    }
    if let Some(files) = &confined.files {
        tracing::info!("landlock: {files}; and what any program on this machine needs");
    }
    if confined.user.is_some() || confined.files.is_some() {
        for (path, error) in unreadable(files) {
            let path = path.display();
            tracing::warn!(%path, %error, "this file cannot be read any more: a reload will be refused");
        }
    }
    Ok(confined.files)
}

/// The folder in which a file lies, and the one in which it really does, where a link leads there.
fn folders_of(file: &Path) -> impl Iterator<Item = PathBuf> {
    let really = std::fs::canonicalize(file).ok();
    let really = really.map(|file| folder_of(&file));
    std::iter::once(folder_of(file)).chain(really)
}

fn reach_of(config: &Config, files: &[PathBuf], start: &Start) -> Reach {
    let process = &config.process;
    let folders = files.iter().flat_map(|file| folders_of(file));
    let log = match &config.access_log {
        model::AccessLog::File(file) => Some(folder_of(file)),
        model::AccessLog::Stdout | model::AccessLog::Off => None,
    };
    let admin = config.admin.as_ref().and_then(|admin| {
        let runtime = std::env::var("RUNTIME_DIRECTORY").ok();
        admin_socket::path_of(admin, runtime.as_deref())
    });
    let sockets = [admin, control::path(&config.upgrade.socket)];
    let sockets = sockets.into_iter().flatten();
    let writable = sockets.map(|socket| folder_of(&socket)).chain(log);
    Reach {
        readable: folders.chain(process.readable.iter().cloned()).collect(),
        writable: writable.chain(process.writable.iter().cloned()).collect(),
        programs: folders_of(start.program()).collect(),
    }
}
