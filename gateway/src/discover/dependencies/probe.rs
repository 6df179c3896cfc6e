//! One check: is the server there, and does it serve?
//!
//! Promises: nothing takes longer than the check's timeout, nothing that comes back is kept beyond a bound, nobody is logged
//! in; a failure has its reason in words. The connection is closed when both sides have said all, so that servers do not
//! complain of a client that was lost.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::wire::{ANSWER_BYTES_MAX, Answer, amqp, postgres, vault};
use crate::config::model::DependencyKind;
use crate::discover::checks::Way;
use crate::http1::body::{Decoder, Piece};
use crate::http1::head::{Limits, parse_response};
use crate::io::secure::Secure;

/// Bounds on the head of a Vault's answer.
const HEAD: Limits = Limits {
    head_bytes: 16 * 1024,
    target_bytes: 0,
    fields: 100,
};
/// For the server to close its side as well, once it is known how it is.
const GOODBYE: Duration = Duration::from_millis(250);

const NO_ANSWER: &str = "it closes the connection without an answer";
const CUT_SHORT: &str = "it closes the connection within its answer";

/// How closely it is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Whether connections are taken.
    Connection,
    /// Whether the server speaks and serves.
    Service,
}

/// What passed: a word about how, where there is more to say, and the connection, which [`leave`] closes.
type Passed = (&'static str, Option<Leaving>);

/// A connection on which all is said but goodbye.
type Leaving = (Box<dyn Way>, &'static [u8]);

/// Makes one check within `timeout`. The error says in a few words what was wrong.
pub(super) async fn check(
    address: SocketAddr,
    kind: &DependencyKind,
    secure: Option<&Secure>,
    depth: Depth,
    timeout: Duration,
) -> Result<Passed, String> {
    let asked = ask(address, kind, secure, depth);
    match tokio::time::timeout(timeout, asked).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", timeout.as_secs_f32())),
    }
}

/// Says goodbye and closes the connection; nobody waits for a server that does not.
pub(super) async fn leave((mut stream, bye): Leaving) {
    let leaving = async {
        if stream.write_all(bye).await.is_err() || stream.shutdown().await.is_err() {
            return;
        }
        let (mut rest, mut left) = ([0; 4096], ANSWER_BYTES_MAX);
        while let Ok(count @ 1..) = stream.read(&mut rest).await {
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(GOODBYE, leaving).await;
}

async fn ask(
    address: SocketAddr,
    kind: &DependencyKind,
    secure: Option<&Secure>,
    depth: Depth,
) -> Result<Passed, String> {
    if *kind == DependencyKind::Vault {
        return ask_vault(address, secure).await.map(|word| (word, None));
    }
    let mut plain = connect(address).await?;
    if depth == Depth::Connection {
        return Ok(("", None));
    }
    if let (DependencyKind::Postgres { .. }, Some(_)) = (kind, secure) {
        send(&mut plain, &postgres::TLS_REQUEST).await?;
        postgres::tls(plain.read_u8().await.map_err(lost)?)?;
    }
    let mut stream = protect(plain, address, secure).await?;
    let answer: fn(&[u8]) -> Answer = match kind {
        DependencyKind::Tcp | DependencyKind::Vault => return Ok(("", Some((stream, b"")))),
        DependencyKind::Postgres { user, database } => {
            send(&mut stream, &postgres::startup(user, database)).await?;
            postgres::answer
        }
        DependencyKind::Amqp => {
            send(&mut stream, amqp::HEADER).await?;
            amqp::answer
        }
    };
    let mut told = BytesMut::with_capacity(1024);
    loop {
        match answer(&told) {
            Answer::Good(word, bye) => return Ok((word, Some((stream, bye)))),
            Answer::Bad(reason) => return Err(reason),
            Answer::More => more(&mut stream, &mut told).await?,
        }
    }
}

/// Asks a Vault for what it tells everybody.
async fn ask_vault(address: SocketAddr, secure: Option<&Secure>) -> Result<&'static str, String> {
    let mut statuses = Vec::new();
    for path in vault::PATHS {
        let plain = connect(address).await?;
        let stream = protect(plain, address, secure).await?;
        let (status, body) = get(stream, path, address).await?;
        match vault::answer(path, status, &body) {
            Some(Answer::Good(word, _)) => return Ok(word),
            Some(Answer::Bad(reason)) => return Err(reason),
            Some(Answer::More) | None => statuses.push(status.to_string()),
        }
    }
    Err(format!(
        "it answers, but not as a Vault does: status {}",
        statuses.join(", ")
    ))
}

/// Status and body of a resource.
async fn get(
    mut stream: Box<dyn Way>,
    path: &str,
    address: SocketAddr,
) -> Result<(u16, BytesMut), String> {
    // The second last field is what Vault's agents ask for; whoever has no use for it passes over it.
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: portcullis-check\r\n\
         accept: application/json\r\nx-vault-request: true\r\nconnection: close\r\n\r\n"
    );
    send(&mut stream, request.as_bytes()).await?;
    let no_http = |error| format!("no HTTP response: {error}");
    let mut told = BytesMut::with_capacity(1024);
    let response = loop {
        match parse_response(&mut told, &HEAD, false).map_err(no_http)? {
            // Interim ones go before the one that counts (RFC 9110 section 15.2).
            Some(parsed) if (100..200).contains(&parsed.response.status) && !parsed.upgrade => {}
            Some(parsed) => break parsed.response,
            None => more(&mut stream, &mut told).await?,
        }
    };
    let mut decoder = Decoder::new(response.body, HEAD);
    let mut body = BytesMut::new();
    loop {
        match decoder.decode(&mut told).map_err(no_http)? {
            Piece::End(_) => return Ok((response.status, body)),
            Piece::Data(data) if body.len() + data.len() > ANSWER_BYTES_MAX => {
                return Err("its answer is too large".to_owned());
            }
            Piece::Data(data) => body.extend_from_slice(&data),
            Piece::More => match read(&mut stream, &mut told).await? {
                0 if decoder.ends_with_connection() => return Ok((response.status, body)),
                0 => return Err(CUT_SHORT.to_owned()),
                _ => {}
            },
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let connected = TcpStream::connect(address).await;
    connected.map_err(|error| format!("no connection: {error}"))
}

/// TLS, where it is wanted.
async fn protect(
    stream: TcpStream,
    address: SocketAddr,
    secure: Option<&Secure>,
) -> Result<Box<dyn Way>, String> {
    let Some(secure) = secure else {
        return Ok(Box::new(stream));
    };
    let connector = TlsConnector::from(secure.config.clone());
    let shaken = connector.connect(secure.name_of(address), stream).await;
    let stream = shaken.map_err(|error| format!("TLS: {error}"))?;
    Ok(Box::new(stream))
}

async fn send(stream: &mut impl Way, bytes: &[u8]) -> Result<(), String> {
    stream.write_all(bytes).await.map_err(lost)?;
    // TLS may keep what was written.
    stream.flush().await.map_err(lost)
}

/// Reads more of an answer.
async fn more(stream: &mut impl Way, told: &mut BytesMut) -> Result<(), String> {
    match read(stream, told).await? {
        0 if told.is_empty() => Err(NO_ANSWER.to_owned()),
        0 => Err(CUT_SHORT.to_owned()),
        _ => Ok(()),
    }
}

/// Reads what has come, within the bound; 0 where that was all.
async fn read(stream: &mut impl Way, told: &mut BytesMut) -> Result<usize, String> {
    if told.len() >= ANSWER_BYTES_MAX {
        return Err("its answer is too large".to_owned());
    }
    stream.read_buf(told).await.map_err(lost)
}

fn lost(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => NO_ANSWER.to_owned(),
        _ => format!("connection lost: {error}"),
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
