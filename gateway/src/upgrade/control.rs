//! Where does `portcullis upgrade` come to? A socket in the file system, for our own user and root.
//!
//! Promises: strangers are not answered (the kernel says who comes); one upgrade at a time; who asks hears how it ended.
//! A file left behind by a process that is gone is no hindrance.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::config::model::UpgradeSocket;

/// The socket's name in the directory that the service manager makes.
const NAME: &str = "upgrade.sock";
/// That directory, where the variable is not set: our unit's.
const USUAL_DIRECTORY: &str = "/run/portcullis";
/// Who asks waits longer than any attempt may take.
const ANSWER: Duration = Duration::from_secs(24 * 3600);
/// Pause when nothing can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// A client that does not take its answer is not waited for.
const TELLING: Duration = Duration::from_secs(1);

/// Somebody wants an upgrade, and to hear of its end.
pub struct Ask {
    reply: oneshot::Sender<Result<u32, String>>,
    told: oneshot::Receiver<()>,
}

impl Ask {
    /// Tells the number of the new process, or why there is none, and waits until it is told.
    pub async fn answer(self, outcome: Result<u32, String>) {
        // Who asked may have gone away.
        if self.reply.send(outcome).is_ok() {
            let _ = tokio::time::timeout(TELLING, self.told).await;
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Done { pid: u32 },
    Refused { reason: String },
}

/// Where the socket of a process with this configuration lies.
pub fn path(socket: &UpgradeSocket) -> Option<PathBuf> {
    match socket {
        UpgradeSocket::Off => None,
        UpgradeSocket::At(path) => Some(path.clone()),
        UpgradeSocket::Runtime => {
            let directories = std::env::var("RUNTIME_DIRECTORY").ok()?;
            let first = directories.split(':').next().filter(|it| !it.is_empty())?;
            Some(Path::new(first).join(NAME))
        }
    }
}

/// Opens the socket.
pub fn open(path: &Path) -> io::Result<StdListener> {
    if let Some(directory) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let socket = StdListener::bind(path).or_else(|error| {
        let left_behind = error.kind() == io::ErrorKind::AddrInUse
            && StdStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if !left_behind {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        StdListener::bind(path)
    })?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Answers until `end`.
pub async fn serve(
    socket: StdListener,
    asks: mpsc::Sender<Ask>,
    end: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(socket)?;
    let asks = Arc::new(asks);
    let mut end = std::pin::pin!(end);
    loop {
        let accepted = tokio::select! {
            () = &mut end => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        if !may_ask(&stream) {
            tracing::warn!("a stranger asked for an upgrade");
            continue;
        }
        let asks = asks.clone();
        tokio::spawn(async move {
            // Who went away does not hear it.
            let _ = answer(stream, &asks).await;
        });
    }
}

fn may_ask(stream: &UnixStream) -> bool {
    let us = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == us || peer.uid() == 0)
}

async fn answer(mut stream: UnixStream, asks: &mpsc::Sender<Ask>) -> io::Result<()> {
    let (reply, answered) = oneshot::channel();
    // Told as it is dropped, however this ends.
    let (_telling, told) = oneshot::channel();
    let outcome = match asks.try_send(Ask { reply, told }) {
        Ok(()) => answered
            .await
            .unwrap_or_else(|_| Err("the gateway stops".to_owned())),
        Err(_) => Err("the gateway is busy with another upgrade, or stops".to_owned()),
    };
    let outcome = match outcome {
        Ok(pid) => Outcome::Done { pid },
        Err(reason) => Outcome::Refused { reason },
    };
    stream.write_all(&serde_json::to_vec(&outcome)?).await?;
    stream.shutdown().await
}

/// Asks the running process for an upgrade, and waits for its end.
pub fn ask(socket: &UpgradeSocket) -> Result<u32, String> {
    let usual = || Path::new(USUAL_DIRECTORY).join(NAME);
    let path = match socket {
        UpgradeSocket::Off => {
            return Err(
                "the configuration says `upgrade: { socket: off }`; send SIGQUIT".to_owned(),
            );
        }
        other => path(other).unwrap_or_else(usual),
    };
    let told = |error: io::Error| {
        format!(
            "no gateway is met at {}: {error}; is it running, with this path as `upgrade: {{ socket: PATH }}`?",
            path.display()
        )
    };
    let stream = StdStream::connect(&path).map_err(told)?;
    stream.set_read_timeout(Some(ANSWER)).map_err(told)?;
    match serde_json::from_reader(stream) {
        Ok(Outcome::Done { pid }) => Ok(pid),
        Ok(Outcome::Refused { reason }) => Err(reason),
        Err(error) => Err(format!("the gateway gave no answer: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_left_behind_is_replaced_and_a_living_socket_is_not() {
        let directory = std::env::temp_dir().join(format!("upgrade-{}", std::process::id()));
        let path = directory.join("x.sock");
        let first = open(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&path)), (0o700, 0o600));
        let taken = open(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        open(&path).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
