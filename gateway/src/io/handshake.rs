//! How do both ends agree on TLS? Handshakes with clients and with workers.
//!
//! Promises: a peer that is refused is told why by an alert; who speaks plain HTTP is told so in plain HTTP; what is read
//! is bounded. Does not: have a deadline (the caller does), choose certificates or versions (the `tls` room does).

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::hello::Hello;
use super::tls::{End, Records, Tls, encode};
use super::{Scratch, Stream};
use crate::heap::{self, What};

/// Bytes of handshake taken from a peer before it is cut.
const HANDSHAKE_MAX: usize = 64 * 1024;
/// What a client is told that speaks plain HTTP to a port with TLS.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 43\r\nconnection: close\r\n\r\nthis port speaks TLS: ask with https://...\n";

/// What a handshake agreed on.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// ALPN chose `h2`.
    pub h2: bool,
    /// ALPN chose something.
    pub alpn: bool,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// An earlier session was resumed.
    pub resumed: bool,
    /// The peer's own certificate, verified; kept in the session's ticket where it is resumed.
    pub certificate: Option<CertificateDer<'static>>,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection broke or ended.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// The peer broke the protocol, is not trusted or nothing in common was found; it was told by an alert. Or it told us
    /// so.
    #[error("{0}")]
    Refused(rustls::Error),
    /// The peer speaks HTTP without TLS.
    #[error("it speaks plain HTTP")]
    PlainHttp,
    /// More than 64 KiB came without an end.
    #[error("the handshake is longer than {HANDSHAKE_MAX} bytes")]
    TooLong,
}

/// Answers a TLS handshake on `tcp`; `hello` knows what the client asked for, however it ends.
pub async fn accept(
    mut tcp: TcpStream,
    config: Arc<ServerConfig>,
    scratch: &Rc<Scratch>,
    hello: &mut Hello,
) -> Result<(Stream, Handshake), HandshakeError> {
    let conn = heap::packed(What::All, || UnbufferedServerConnection::new(config));
    let mut conn = conn.map_err(HandshakeError::Refused)?;
    let mut buffers = Buffers::default();
    let ended = buffers
        .shake(&mut tcp, &mut conn, |read| hello.take(read))
        .await;
    if let Err(HandshakeError::PlainHttp) = ended {
        tell_plain_http(&mut tcp).await;
    }
    ended?;
    let alpn = conn.alpn_protocol();
    let handshake = Handshake {
        h2: alpn == Some(b"h2"),
        alpn: alpn.is_some(),
        version: match conn.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        resumed: conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        certificate: conn
            .peer_certificates()
            .and_then(|chain| chain.first())
            .cloned(),
    };
    Ok((buffers.stream(tcp, End::Server(conn), scratch), handshake))
}

/// Begins a TLS handshake on `tcp` and carries it to its end. True where ALPN chose `h2`.
pub async fn connect(
    mut tcp: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    scratch: &Rc<Scratch>,
) -> Result<(Stream, bool), HandshakeError> {
    let conn = UnbufferedClientConnection::new(config, name);
    let mut conn = conn.map_err(HandshakeError::Refused)?;
    let mut buffers = Buffers::default();
    buffers.shake(&mut tcp, &mut conn, |_| {}).await?;
    let h2 = conn.alpn_protocol() == Some(b"h2");
    Ok((buffers.stream(tcp, End::Client(conn), scratch), h2))
}

/// What goes to and fro in a handshake.
#[derive(Default)]
struct Buffers {
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// Application data that came right behind.
    early: Vec<u8>,
}

impl Buffers {
    async fn shake<C: Records>(
        &mut self,
        tcp: &mut TcpStream,
        conn: &mut C,
        mut reads: impl FnMut(&[u8]),
    ) -> Result<(), HandshakeError> {
        self.incoming = Vec::with_capacity(2048);
        let mut total = 0;
        loop {
            let mut at = 0;
            let progress = step(
                conn,
                &mut self.incoming,
                &mut at,
                &mut self.outgoing,
                &mut self.early,
            );
            self.incoming.drain(..at);
            if !self.outgoing.is_empty() {
                let sent = tcp.write_all(&self.outgoing).await;
                self.outgoing.clear();
                if progress.is_ok() {
                    sent?;
                }
            }
            match progress.map_err(HandshakeError::Refused)? {
                Progress::Done => return Ok(()),
                Progress::Blocked => {
                    if total > HANDSHAKE_MAX {
                        return Err(HandshakeError::TooLong);
                    }
                    self.incoming.reserve(4096);
                    let before = self.incoming.len();
                    let read = tcp.read_buf(&mut self.incoming).await?;
                    reads(&self.incoming[before..]);
                    match read {
                        0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                        // An alert would be noise to it.
                        _ if total == 0 && is_http(&self.incoming) => {
                            return Err(HandshakeError::PlainHttp);
                        }
                        n => total += n,
                    }
                }
            }
        }
    }

    fn stream(mut self, tcp: TcpStream, end: End, scratch: &Rc<Scratch>) -> Stream {
        self.incoming.shrink_to_fit();
        let tls = Tls::new(end, scratch, self.incoming, self.early);
        Stream::with_tls(tcp, tls, scratch)
    }
}

/// Whether this is the record of an alert: by its type, or in TLS 1.3 by the length of what is sealed (RFC 8446 section 5.2:
/// two bytes, the type and the tag).
fn is_alert(record: &[u8]) -> bool {
    matches!(record, [21, ..] | [23, _, _, 0, 19, ..])
}

/// Whether a request line of HTTP begins here. No record of TLS begins with a letter.
fn is_http(begin: &[u8]) -> bool {
    let Some(space) = begin.iter().take(16).position(|byte| *byte == b' ') else {
        return false;
    };
    let target = begin.get(space + 1);
    begin[..space].iter().all(u8::is_ascii_uppercase)
        && target.is_some_and(|byte| matches!(byte, b'/' | b'*' | b'h'))
}

/// Answers and reads what still comes, within bounds: closing with bytes unread would make the kernel reset the connection,
/// and the client would lose the answer.
async fn tell_plain_http(tcp: &mut TcpStream) {
    if tcp.write_all(PLAIN_HTTP).await.is_err() || tcp.shutdown().await.is_err() {
        return;
    }
    let (mut rest, mut total) = ([0; 1024], 0);
    while let Ok(n) = tcp.read(&mut rest).await
        && n > 0
        && total < HANDSHAKE_MAX
    {
        total += n;
    }
}

enum Progress {
    Done,
    Blocked,
}

/// Takes what is complete from `incoming` and appends what must be answered to `outgoing`. A client may send its
/// first request right behind the handshake: that goes to `early`.
fn step<C: Records>(
    conn: &mut C,
    incoming: &mut [u8],
    at: &mut usize,
    outgoing: &mut Vec<u8>,
    early: &mut Vec<u8>,
) -> Result<Progress, rustls::Error> {
    let mut failed = None;
    loop {
        let before = outgoing.len();
        let UnbufferedStatus { discard, state } = conn.process(&mut incoming[*at..]);
        let next = match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(outgoing, |out| data.encode(out));
                None
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                None
            }
            Ok(ConnectionState::BlockedHandshake) => Some(Progress::Blocked),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    early.extend_from_slice(record?.payload);
                }
                None
            }
            Ok(ConnectionState::WriteTraffic(_)) => Some(Progress::Done),
            Ok(_) => {
                return Err(rustls::Error::General(
                    "the peer closed during the handshake".into(),
                ));
            }
            Err(error) if failed.is_some() => return Err(error),
            // Asked once more: the alert that tells the peer why comes out before the error does again.
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        *at += discard;
        // The alert is the last word: asked again, the library would read the same fault a second time.
        if is_alert(&outgoing[before..])
            && let Some(error) = failed
        {
            return Err(error);
        }
        if let Some(next) = next {
            return match failed {
                Some(error) => Err(error),
                None => Ok(next),
            };
        }
    }
}
