//! Is a worker well?
//!
//! The active checks of a pool: a TCP connection, a request, or the gRPC health protocol. Only
//! workers that listen are checked, at most [`IN_FLIGHT_MAX`] at once over all pools. What comes
//! back is bounded in size and time, and anything unexpected is a failed check with a reason.
//!
//! [`Schedule`] says when; [`check`] is one check. What follows from it is up to the pool.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Method, Request, Uri, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::agenda::Agenda;
use super::prober::jitter;
use crate::config::model::{Check, Health, WorkerProtocol};
use crate::io::secure::Secure;

/// Checks under way at once, all pools together.
pub(super) const IN_FLIGHT_MAX: usize = 64;

/// Response head of an HTTP/1.1 check, bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Fields of that head.
const FIELDS_MAX: usize = 100;
/// Answer of a gRPC check, bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// When each worker is due. Workers are numbered by the caller.
#[derive(Debug)]
pub(super) struct Schedule {
    agenda: Agenda,
    under_way: Vec<bool>,
    in_flight: usize,
}

impl Schedule {
    /// Nobody is due.
    pub(super) fn new(workers: usize) -> Schedule {
        Schedule {
            agenda: Agenda::new(workers),
            under_way: vec![false; workers],
            in_flight: 0,
        }
    }

    /// A worker listens: it is checked at this time, unless that has a date already.
    pub(super) fn begin(&mut self, worker: usize, at: Instant) {
        if self.agenda.at(worker).is_none() && !self.is_under_way(worker) {
            self.agenda.set(worker, at);
        }
    }

    /// A worker began to listen: it is checked at once, whatever was planned.
    pub(super) fn begin_anew(&mut self, worker: usize, now: Instant) {
        self.agenda.set(worker, now);
    }

    /// When the next check is due; `None` while too many are under way or there is none.
    pub(super) fn next_at(&mut self) -> Option<Instant> {
        if self.in_flight >= IN_FLIGHT_MAX {
            None
        } else {
            self.agenda.next_at()
        }
    }

    /// The worker to be checked now. A check that is made must be answered by
    /// [`Schedule::done`]; for a worker that no longer listens there is nothing to do.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        listens: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        while self.in_flight < IN_FLIGHT_MAX {
            let worker = self.agenda.take_due(now)?;
            // One that is under way for a process that is gone: its end sets the next date.
            if listens(worker) && !self.is_under_way(worker) {
                self.in_flight += 1;
                self.under_way[worker] = true;
                return Some(worker);
            }
        }
        None
    }

    /// A check is over. The next comes after the interval for a worker that passes or fails,
    /// unless it began anew meanwhile.
    pub(super) fn done(
        &mut self,
        worker: usize,
        passes: bool,
        health: &Health,
        now: Instant,
        random: u64,
    ) {
        if let Some(under_way) = self.under_way.get_mut(worker)
            && std::mem::take(under_way)
        {
            self.in_flight -= 1;
        }
        if self.agenda.at(worker).is_none() {
            let interval = if passes {
                health.interval
            } else {
                health.interval_failing
            };
            self.agenda.set(worker, now + jitter(interval, random));
        }
    }

    fn is_under_way(&self, worker: usize) -> bool {
        self.under_way.get(worker).copied().unwrap_or(false)
    }
}

/// Makes one check, on a connection that begins with `preface`. The error says in a few words what was wrong.
pub(super) async fn check(
    addr: SocketAddr,
    protocol: WorkerProtocol,
    preface: &[u8],
    secure: Option<&Secure>,
    health: &Health,
) -> Result<(), String> {
    let asked = ask(addr, protocol, preface, secure, &health.check);
    match tokio::time::timeout(health.timeout, asked).await {
        Ok(result) => result,
        Err(_) => Err(format!(
            "no answer within {} s",
            health.timeout.as_secs_f32()
        )),
    }
}

async fn ask(
    addr: SocketAddr,
    protocol: WorkerProtocol,
    preface: &[u8],
    secure: Option<&Secure>,
    check: &Check,
) -> Result<(), String> {
    let mut stream = TcpStream::connect(addr)
        .await
        .map_err(|e| format!("no connection: {e}"))?;
    stream
        .write_all(preface)
        .await
        .map_err(|e| format!("connection lost: {e}"))?;
    let Some(secure) = secure else {
        return inquire(stream, "http", addr, protocol, check).await;
    };
    let connector = TlsConnector::from(secure.config.clone());
    let shaken = connector.connect(secure.name_of(addr), stream).await;
    let stream = shaken.map_err(|e| format!("TLS: {e}"))?;
    if secure.h2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err("TLS: it does not agree to HTTP/2".into());
    }
    inquire(stream, "https", addr, protocol, check).await
}

/// What a check is made over.
pub(super) trait Way: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Way for T {}

async fn inquire(
    stream: impl Way,
    scheme: &str,
    addr: SocketAddr,
    protocol: WorkerProtocol,
    check: &Check,
) -> Result<(), String> {
    match check {
        Check::Tcp => Ok(()),
        Check::Http {
            method,
            path,
            host,
            expect,
        } => {
            let authority = host.clone().unwrap_or_else(|| addr.to_string());
            let status = match protocol {
                WorkerProtocol::Http1 => http1(stream, method, path, &authority).await?,
                WorkerProtocol::H2c => http2(stream, scheme, method, path, &authority).await?,
            };
            let (least, most) = *expect;
            if (least..=most).contains(&status) {
                Ok(())
            } else {
                Err(format!("status {status}"))
            }
        }
        Check::Grpc { service } => grpc(stream, scheme, service, &addr.to_string()).await,
    }
}

async fn http1(mut stream: impl Way, method: &str, path: &str, host: &str) -> Result<u16, String> {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: portcullis-check\r\nconnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|e| format!("connection lost: {e}"))?;
    let mut head = BytesMut::with_capacity(1024);
    loop {
        if let Some(status) = final_status(&mut head)? {
            return Ok(status);
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Err("response head too large".into());
        }
        match stream.read_buf(&mut head).await {
            Ok(0) => return Err("connection closed before the response".into()),
            Ok(_) => {}
            Err(e) => return Err(format!("connection lost: {e}")),
        }
    }
}

/// The status of the first head that is not interim (RFC 9110 section 15.2); those are taken off.
fn final_status(head: &mut BytesMut) -> Result<Option<u16>, String> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        match response
            .parse(head)
            .map_err(|e| format!("no HTTP response: {e}"))?
        {
            httparse::Status::Partial => return Ok(None),
            httparse::Status::Complete(length) => match response.code {
                Some(code) if (100..200).contains(&code) && code != 101 => head.advance(length),
                code => return Ok(code),
            },
        }
    }
}

async fn http2(
    stream: impl Way,
    scheme: &str,
    method: &str,
    path: &str,
    host: &str,
) -> Result<u16, String> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|e| e.to_string())?;
    let request = request(scheme, method, path, host)
        .body(())
        .map_err(|e| e.to_string())?;
    let (sender, connection) = h2::client::handshake(stream).await.map_err(h2_problem)?;
    let exchange = async {
        let mut sender = sender.ready().await.map_err(h2_problem)?;
        let (response, _) = sender.send_request(request, true).map_err(h2_problem)?;
        Ok(response.await.map_err(h2_problem)?.status().as_u16())
    };
    drive(connection, exchange).await
}

async fn grpc(stream: impl Way, scheme: &str, service: &str, host: &str) -> Result<(), String> {
    let request = request(scheme, Method::POST, "/grpc.health.v1.Health/Check", host)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|e| e.to_string())?;
    let message = health_request(service);
    let (sender, connection) = h2::client::handshake(stream).await.map_err(h2_problem)?;
    let exchange = async {
        let mut sender = sender.ready().await.map_err(h2_problem)?;
        let (response, mut body) = sender.send_request(request, false).map_err(h2_problem)?;
        body.send_data(message, true).map_err(h2_problem)?;
        let (head, mut body) = response.await.map_err(h2_problem)?.into_parts();
        if head.status != 200 {
            return Err(format!("status {}", head.status.as_u16()));
        }
        // An error may come as a head alone, with the status in it.
        if let Some(status) = head.headers.get("grpc-status") {
            grpc_ok(status.as_bytes())?;
        }
        let mut answer = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(h2_problem)?;
            if answer.len() + data.len() > ANSWER_BYTES_MAX {
                return Err("answer too large".into());
            }
            // Never more than the bound is unreleased, so the window cannot run out.
            answer.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.map_err(h2_problem)?;
        match trailers
            .as_ref()
            .and_then(|trailers| trailers.get("grpc-status"))
        {
            Some(status) => grpc_ok(status.as_bytes())?,
            None => return Err("no grpc-status".into()),
        }
        match serving_status(&answer) {
            Some(SERVING) => Ok(()),
            Some(2) => Err("not serving".into()),
            Some(3) => Err("service unknown".into()),
            Some(_) => Err("serving status unknown".into()),
            None => Err("answer is no health message".into()),
        }
    };
    drive(connection, exchange).await
}

fn request(scheme: &str, method: Method, path: &str, host: &str) -> http::request::Builder {
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(host)
        .path_and_query(path)
        .build();
    Request::builder()
        .method(method)
        .uri(uri.unwrap_or_default())
        .version(Version::HTTP_2)
        .header("user-agent", "portcullis-check")
}

/// Runs an exchange while its connection lives. Both end together.
async fn drive<T>(
    connection: h2::client::Connection<impl Way, Bytes>,
    exchange: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    tokio::select! {
        // The answer first: the connection may end right after it.
        biased;
        result = exchange => result,
        ended = connection => Err(match ended {
            Ok(()) => "connection closed before the response".into(),
            Err(e) => h2_problem(e),
        }),
    }
}

fn h2_problem(e: h2::Error) -> String {
    format!("HTTP/2: {e}")
}

fn grpc_ok(status: &[u8]) -> Result<(), String> {
    match status {
        b"0" => Ok(()),
        b"12" => Err("grpc-status 12: the worker has no health service".into()),
        b"5" => Err("grpc-status 5: service unknown".into()),
        other => Err(format!("grpc-status {}", String::from_utf8_lossy(other))),
    }
}

/// `ServingStatus.SERVING` of `grpc.health.v1`.
const SERVING: u64 = 1;

/// A gRPC message around `HealthCheckRequest { service }`: field 1, a string.
fn health_request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.unsplit(message);
    framed.freeze()
}

/// `HealthCheckResponse { status }` out of a gRPC message: field 1, an enum; 0 when left out.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (&[compressed, a, b, c, d], mut message) = framed.split_first_chunk::<5>()?;
    if compressed != 0 || u32::from_be_bytes([a, b, c, d]) as usize != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        // Other fields are passed over by their wire type.
        match (key >> 3, key & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
#[path = "checks_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
