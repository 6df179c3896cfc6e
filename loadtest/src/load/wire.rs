//! What is sent over what? Connections to the target and requests whose bytes are made once.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Run;
use crate::scenario::{Protocol, Request, Scenario};

/// Addresses of loopback that connections come from, so that ports and limits per client suffice.
const SOURCES: usize = 8;

/// A connection to the target.
pub enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    /// Connects; `me` spreads connections over source addresses.
    pub async fn connect(run: &Run, me: usize) -> io::Result<Io> {
        Io::connect_as(run, me, run.tls.as_ref()).await
    }

    /// Connects with these TLS settings and the sessions that they remember.
    pub async fn connect_as(
        run: &Run,
        me: usize,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Io> {
        let target = run.scenario.target;
        let socket = if target.is_ipv4() {
            let socket = TcpSocket::new_v4()?;
            if target.ip().is_loopback() {
                socket.set_reuseaddr(true)?;
                let source = Ipv4Addr::new(127, 0, 0, 2 + (me % SOURCES) as u8);
                socket.bind(SocketAddr::from((source, 0)))?;
            }
            socket
        } else {
            TcpSocket::new_v6()?
        };
        let tcp = socket.connect(target).await?;
        tcp.set_nodelay(true)?;
        let Some(config) = tls else {
            return Ok(Io::Plain(tcp));
        };
        let name = ServerName::try_from(run.scenario.host.clone()).map_err(io::Error::other)?;
        let tls = TlsConnector::from(config.clone())
            .connect(name, tcp)
            .await?;
        let kind = tls.get_ref().1.handshake_kind();
        run.handshake(kind == Some(HandshakeKind::Resumed));
        Ok(Io::Tls(Box::new(tls)))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

/// A request of HTTP/1.1 as it is sent.
#[derive(Debug)]
pub struct Wire {
    /// With a small body in it.
    pub first: Vec<u8>,
    /// Bytes of the body that are in it.
    pub with_head: u64,
    /// Bytes of the body that come after it.
    pub rest: u64,
}

/// Bodies up to this size are sent with the head.
const WITH_HEAD: u64 = 32 * 1024;

impl Wire {
    /// Makes the bytes.
    pub fn of(scenario: &Scenario, request: &Request) -> Wire {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: loadtest/0.1\r\nAccept: */*\r\n",
            request.method, request.path, scenario.host
        );
        if scenario.protocol == Protocol::WebSocket {
            // The key of RFC 6455 section 1.3.
            head.push_str(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            );
        }
        if request.body > 0 {
            head.push_str("Content-Type: application/octet-stream\r\n");
            head.push_str(&format!("Content-Length: {}\r\n", request.body));
        }
        head.push_str("\r\n");
        let mut first = head.into_bytes();
        let with_head = if request.body <= WITH_HEAD {
            request.body
        } else {
            0
        };
        first.resize(first.len() + with_head as usize, b'u');
        Wire {
            first,
            with_head,
            rest: request.body - with_head,
        }
    }
}

/// Kinds of requests by their weight.
pub struct Choice(Vec<f64>);

impl Choice {
    /// Of all requests of a scenario.
    pub fn of(scenario: &Scenario) -> Choice {
        let mut sum = 0.0;
        let up_to = scenario.requests.iter().map(|request| {
            sum += request.weight;
            sum
        });
        Choice(up_to.collect())
    }

    /// The kind for a random number from 0 to below 1.
    pub fn pick(&self, random: f64) -> usize {
        let Some(sum) = self.0.last() else { return 0 };
        let at = random * sum;
        self.0
            .iter()
            .position(|up_to| at < *up_to)
            .unwrap_or(self.0.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Head;
    use crate::scenario::Load;

    #[test]
    fn a_small_body_is_sent_with_its_head() {
        let load = Load::Handshakes {
            connections: 1,
            resume: false,
        };
        let scenario = Scenario::new(([127, 0, 0, 1], 1).into(), Protocol::Http1, load);
        let wire = Wire::of(&scenario, &Request::post("/x", 30));
        let end = memchr::memmem::find(&wire.first, b"\r\n\r\n").unwrap();
        assert_eq!(Head::content_length(&wire.first[..end + 2]), Some(30));
        assert_eq!((wire.first.len() - end - 4, wire.rest), (30, 0));
        let wire = Wire::of(&scenario, &Request::post("/x", 1 << 20));
        assert!(wire.first.ends_with(b"\r\n\r\n"));
        assert_eq!(wire.rest, 1 << 20);
    }

    #[test]
    fn kinds_are_chosen_by_weight() {
        let choice = Choice(vec![90.0, 98.0, 99.0, 100.0]);
        let picked = [0.0, 0.899, 0.9, 0.979, 0.985, 0.995].map(|random| choice.pick(random));
        assert_eq!(picked, [0, 0, 1, 1, 2, 3]);
    }
}
