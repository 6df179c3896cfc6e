//! How does the command line ask? One request on a connection of its own, over the unix socket or TCP.
//!
//! Promises: bounded in time and size; what cannot be reached is told with its name and a fix. Does not: keep
//! connections, follow redirects, speak TLS.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use serde_json::Value;

use crate::http1::body::{Decoder, Piece};
use crate::http1::head::{Limits, parse_response};
use crate::http1::write;

/// A connection that is not made after this long is not made.
const CONNECT: Duration = Duration::from_secs(5);
/// A reload opens files and sockets; nothing else takes as long.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest answer, bytes: a status of many pools.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

const LIMITS: Limits = Limits {
    head_bytes: 16 * 1024,
    target_bytes: 0,
    fields: 100,
};

/// Where the gateway is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A unix socket.
    Socket(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Target {
    /// A path, or `http://host:port`. The error is a sentence.
    pub fn parse(text: &str) -> Result<Target, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Target::Socket(PathBuf::from(text)));
        };
        match scheme {
            "unix" => Ok(Target::Socket(PathBuf::from(rest))),
            "http" => {
                let host = rest.trim_end_matches('/');
                let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
                match port {
                    Some(Ok(_)) => Ok(Target::Tcp(host.to_owned())),
                    _ => Err(format!("`{text}` names no port: http://127.0.0.1:9901")),
                }
            }
            _ => Err(format!(
                "`{text}`: a path, unix://PATH or http://HOST:PORT is meant"
            )),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Socket(path) => write!(f, "{}", path.display()),
            Target::Tcp(host) => write!(f, "http://{host}"),
        }
    }
}

/// Asks a running gateway.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where.
    pub target: Target,
    /// What changes show, where one is known.
    pub token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub struct Answered {
    /// Status.
    pub status: u16,
    /// The body; null where it is no JSON.
    pub body: Value,
}

/// Nobody answers, or what answers is no gateway.
#[derive(Debug)]
pub struct Unreachable {
    /// Where it was tried.
    pub target: Target,
    /// Why not.
    pub error: io::Error,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fix = match (self.error.kind(), &self.target) {
            (io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused, _) => {
                "is the gateway running? `--admin` names another place, `-c` the configuration it runs with"
            }
            (io::ErrorKind::PermissionDenied, _) => {
                "ask as root, or as one of the socket's group (`admin: { socket_mode: 0660 }`)"
            }
            _ => "is this the gateway's socket or address?",
        };
        let (target, error) = (&self.target, &self.error);
        write!(f, "no gateway answers on {target}: {error}\n  help: {fix}")
    }
}

impl Client {
    /// GET.
    pub fn get(&self, path: &str) -> Result<Answered, Unreachable> {
        self.ask("GET", path, "", &[])
    }

    /// POST; an empty body has no type.
    pub fn post(&self, path: &str, kind: &str, body: &[u8]) -> Result<Answered, Unreachable> {
        self.ask("POST", path, kind, body)
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<Answered, Unreachable> {
        let asked = match &self.target {
            Target::Socket(socket) => UnixStream::connect(socket).and_then(|stream| {
                stream.set_read_timeout(Some(ANSWER))?;
                stream.set_write_timeout(Some(ANSWER))?;
                self.exchange(stream, "localhost", method, path, kind, body)
            }),
            Target::Tcp(host) => connect(host).and_then(|stream| {
                stream.set_read_timeout(Some(ANSWER))?;
                stream.set_write_timeout(Some(ANSWER))?;
                self.exchange(stream, host, method, path, kind, body)
            }),
        };
        asked.map_err(|error| Unreachable {
            target: self.target.clone(),
            error,
        })
    }

    fn exchange(
        &self,
        mut stream: impl Read + Write,
        host: &str,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> io::Result<Answered> {
        let mut head = BytesMut::new();
        write::request_line(&mut head, method.as_bytes(), path.as_bytes());
        write::field(&mut head, b"host", host.as_bytes());
        write::field(&mut head, b"connection", b"close");
        if let Some(token) = &self.token {
            write::field(
                &mut head,
                b"authorization",
                format!("Bearer {token}").as_bytes(),
            );
        }
        if !kind.is_empty() {
            write::field(&mut head, b"content-type", kind.as_bytes());
        }
        if method != "GET" {
            write::number_field(&mut head, b"content-length", body.len() as u64);
        }
        head.extend_from_slice(b"\r\n");
        stream.write_all(&head)?;
        // Whoever is refused is told so before the body is read: what came back counts.
        let sent = stream.write_all(body).and_then(|()| stream.flush());
        read_answer(&mut stream).map_err(|error| sent.err().unwrap_or(error))
    }
}

fn connect(host: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_answer(stream: &mut impl Read) -> io::Result<Answered> {
    let bad =
        |what: &dyn fmt::Display| io::Error::new(io::ErrorKind::InvalidData, what.to_string());
    let mut buf = BytesMut::new();
    let parsed = loop {
        match parse_response(&mut buf, &LIMITS, false) {
            Ok(Some(parsed)) if parsed.response.status == 100 => {}
            Ok(Some(parsed)) => break parsed,
            Ok(None) if more(stream, &mut buf)? => {}
            Ok(None) => return Err(bad(&"the connection ended without an answer")),
            Err(error) => return Err(bad(&error)),
        }
    };
    let mut decoder = Decoder::new(parsed.response.body, LIMITS);
    let mut body = Vec::new();
    loop {
        match decoder.decode(&mut buf).map_err(|error| bad(&error))? {
            Piece::Data(data) if body.len() + data.len() > ANSWER_BYTES_MAX => {
                return Err(bad(&"the answer is too long"));
            }
            Piece::Data(data) => body.extend_from_slice(&data),
            Piece::End(_) => break,
            Piece::More if more(stream, &mut buf)? => {}
            Piece::More if decoder.ends_with_connection() => break,
            Piece::More => return Err(bad(&"the answer broke off")),
        }
    }
    Ok(Answered {
        status: parsed.response.status,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}

fn more(stream: &mut impl Read, buf: &mut BytesMut) -> io::Result<bool> {
    let mut piece = [0; 16 * 1024];
    let n = stream.read(&mut piece)?;
    buf.extend_from_slice(&piece[..n]);
    Ok(n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_path_or_a_url() {
        for (text, expected) in [
            ("/run/a.sock", Some(Target::Socket("/run/a.sock".into()))),
            ("unix:///run/a", Some(Target::Socket("/run/a".into()))),
            ("http://[::1]:9901/", Some(Target::Tcp("[::1]:9901".into()))),
            ("http://edge", None),
            ("https://edge:1", None),
        ] {
            assert_eq!(Target::parse(text).ok(), expected, "{text}");
        }
    }
}
