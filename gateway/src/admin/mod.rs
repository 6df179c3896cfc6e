//! What can an operator ask and do? The operators' doors: a unix socket, and TCP on this machine.
//!
//! | file | question |
//! |---|---|
//! | `socket` | Where is the unix socket, and whose is it? |
//! | `access` | Who may ask, and who may change something? |
//! | `http` | How do operators talk to us? |
//! | `api` | What can be asked, and who answers? |
//! | `status` | What is told of listeners, pools and workers? |
//! | `workers` | Which workers does an operator mean, and what becomes of them? |
//! | `maintenance` | Is a pool open, and what does an operator say about it? |
//! | `client` | How does the command line ask? |
//!
//! Promises: answers from live state, costs the data threads nothing. Connections are bounded.

pub mod access;
pub mod api;
pub mod client;
mod http;
pub mod maintenance;
pub mod socket;
mod status;
pub mod workers;

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use ::http::Method;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use crate::message::BodyKind;
use access::Via;
pub use api::Admin;

/// Operators' connections at once, over each door: whoever may only read must not keep out who may act.
const CONNECTIONS_MAX: usize = 64;
/// After an accept that failed: descriptors may be short.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves operators over TCP until the process ends, or another takes over.
pub async fn serve_tcp(admin: Arc<Admin>, socket: StdListener) -> std::io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let loopback = listener.local_addr()?.ip().is_loopback();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = admin.shared.handed_over() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => meet(&admin, &places, stream, Via::Tcp { loopback }),
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
        }
    }
}

/// Serves operators over the unix socket until the process ends, or another takes over.
pub async fn serve_socket(
    admin: Arc<Admin>,
    socket: std::os::unix::net::UnixListener,
) -> std::io::Result<()> {
    let listener = UnixListener::from_std(socket)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = admin.shared.handed_over() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => meet(&admin, &places, stream, Via::Socket),
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
        }
    }
}

fn meet<S>(admin: &Arc<Admin>, places: &Arc<Semaphore>, stream: S, via: Via)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(place) = places.clone().try_acquire_owned() else {
        return;
    };
    let admin = admin.clone();
    tokio::spawn(async move {
        // An operator that went away in the middle is no news.
        let _ = connection(&admin, stream, via).await;
        drop(place);
    });
}

async fn connection<S>(admin: &Admin, mut stream: S, via: Via) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buf = BytesMut::new();
    loop {
        let next = tokio::select! {
            // Who asks is to ask the process that serves.
            () = admin.shared.handed_over() => return Ok(()),
            next = http::next(&mut stream, &mut buf) => next?,
        };
        let Some(parsed) = next else {
            return Ok(());
        };
        let request = parsed.request;
        let (answer, whole) = match admin.refuses(via, &request) {
            // A stranger's body is not read.
            Some(refused) => (refused, request.body == BodyKind::Empty),
            None => match http::body(&mut stream, &mut buf, &request).await? {
                Ok(body) => (admin.answer(&request, body).await, true),
                Err(refused) => (refused, false),
            },
        };
        let keep = parsed.keep_alive && whole;
        let to_head = request.method == Method::HEAD;
        http::send(&mut stream, &answer, keep, to_head).await?;
        if !keep {
            return Ok(());
        }
    }
}
