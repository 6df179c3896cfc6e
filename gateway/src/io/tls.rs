//! How are the bytes protected? TLS of a server over rustls's unbuffered API.
//!
//! Promises: an idle connection keeps no record buffer (the data thread lends its [`Scratch`]); ciphertext kept back
//! is bounded by one write. Does not: choose certificates or versions (the `tls` room does).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::{Scratch, Stream};

/// Largest TLS record on the wire (RFC 8446 section 5.2, and RFC 5246 section 6.2.3 for 1.2) with its header.
const RECORD: usize = 5 + 16 * 1024 + 2048;
/// The receive buffer: one incomplete record and 64 KiB more.
pub(super) const RECEIVE: usize = RECORD + 64 * 1024;
/// Plaintext encrypted at once.
const WRITE: usize = 64 * 1024;
/// The send buffer: that plaintext in records.
pub(super) const SEND: usize = WRITE + 8 * 256 + 1024;
/// Bytes of handshake taken from a client before it is cut.
const HANDSHAKE_MAX: usize = 64 * 1024;

/// The TLS state of a connection.
pub(super) struct Tls {
    conn: UnbufferedServerConnection,
    scratch: Rc<Scratch>,
    /// Received, not yet a whole record.
    partial: Vec<u8>,
    /// `partial` was not looked at since the handshake.
    fresh: bool,
    /// Decrypted together with the end of the handshake.
    early: Vec<u8>,
    /// Encrypted, not yet with the kernel.
    pending: Vec<u8>,
    pending_at: usize,
    peer_closed: bool,
    close_sent: bool,
}

/// What a handshake agreed on.
#[derive(Clone, Copy, Debug)]
pub struct Handshake {
    /// ALPN chose `h2`.
    pub h2: bool,
    /// ALPN chose something.
    pub alpn: bool,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// An earlier session was resumed.
    pub resumed: bool,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection broke or ended.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// The client broke the protocol or nothing in common was found; it was told by an alert.
    #[error("{0}")]
    Refused(rustls::Error),
    /// More than 64 KiB came without an end.
    #[error("the handshake is longer than {HANDSHAKE_MAX} bytes")]
    TooLong,
}

/// Answers a TLS handshake on `tcp`.
pub async fn accept(
    mut tcp: TcpStream,
    config: Arc<ServerConfig>,
    scratch: &Rc<Scratch>,
) -> Result<(Stream, Handshake), HandshakeError> {
    let mut conn = UnbufferedServerConnection::new(config).map_err(HandshakeError::Refused)?;
    let mut incoming = Vec::with_capacity(2048);
    let mut outgoing = Vec::new();
    let mut early = Vec::new();
    let mut total = 0;
    loop {
        let mut at = 0;
        let progress = step(&mut conn, &mut incoming, &mut at, &mut outgoing, &mut early);
        incoming.drain(..at);
        if !outgoing.is_empty() {
            let sent = tcp.write_all(&outgoing).await;
            outgoing.clear();
            if progress.is_ok() {
                sent?;
            }
        }
        match progress.map_err(HandshakeError::Refused)? {
            Progress::Done => break,
            Progress::Blocked => {
                if total > HANDSHAKE_MAX {
                    return Err(HandshakeError::TooLong);
                }
                incoming.reserve(4096);
                match tcp.read_buf(&mut incoming).await? {
                    0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    n => total += n,
                }
            }
        }
    }
    let alpn = conn.alpn_protocol();
    let handshake = Handshake {
        h2: alpn == Some(b"h2"),
        alpn: alpn.is_some(),
        version: match conn.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        resumed: conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
    };
    incoming.shrink_to_fit();
    let tls = Tls {
        conn,
        scratch: scratch.clone(),
        fresh: !incoming.is_empty(),
        early,
        partial: incoming,
        pending: Vec::new(),
        pending_at: 0,
        peer_closed: false,
        close_sent: false,
    };
    Ok((Stream::with_tls(tcp, tls), handshake))
}

enum Progress {
    Done,
    Blocked,
}

/// Takes what is complete from `incoming` and appends what must be answered to `outgoing`. A client may send its
/// first request right behind the handshake: that goes to `early`.
fn step(
    conn: &mut UnbufferedServerConnection,
    incoming: &mut [u8],
    at: &mut usize,
    outgoing: &mut Vec<u8>,
    early: &mut Vec<u8>,
) -> Result<Progress, rustls::Error> {
    let mut failed = None;
    loop {
        let UnbufferedStatus { discard, state } = conn.process_tls_records(&mut incoming[*at..]);
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
                    "the client closed during the handshake".into(),
                ));
            }
            Err(error) if failed.is_some() => return Err(error),
            // Asked once more: the alert that tells the client why comes out before the error does again.
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        *at += discard;
        if let Some(next) = next {
            return match failed {
                Some(error) => Err(error),
                None => Ok(next),
            };
        }
    }
}

/// Appends a TLS message, with as much room as it says it needs.
fn encode(out: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let start = out.len();
    let mut room = 1024;
    loop {
        out.resize(start + room, 0);
        match write(&mut out[start..]) {
            Ok(n) => {
                out.truncate(start + n);
                return;
            }
            Err(EncodeError::InsufficientSize(need)) if need.required_size > room => {
                room = need.required_size
            }
            Err(_) => {
                out.truncate(start);
                return;
            }
        }
    }
}

impl Tls {
    /// Appends plaintext to `buf`; 0 is the end, announced or not.
    pub(super) fn poll_fill(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            buf.extend_from_slice(&early);
            return Poll::Ready(Ok(early.len()));
        }
        loop {
            if self.peer_closed {
                return Poll::Ready(Ok(0));
            }
            let scratch = self.scratch.clone();
            let mut receive = scratch.receive.borrow_mut();
            let mut have = self.partial.len();
            if !self.fresh {
                ready!(tcp.poll_read_ready(cx))?;
                receive[..have].copy_from_slice(&self.partial);
                let mut read = ReadBuf::new(&mut receive[have..]);
                ready!(Pin::new(&mut *tcp).poll_read(cx, &mut read))?;
                match read.filled().len() {
                    0 => return Poll::Ready(Ok(0)),
                    n => have += n,
                }
            } else if have > receive.len() {
                return Poll::Ready(Err(invalid(
                    "too much was sent before the handshake was done",
                )));
            } else {
                receive[..have].copy_from_slice(&self.partial);
            }
            self.fresh = false;
            let before = buf.len();
            let done = self.open(&mut receive[..have], buf)?;
            self.partial.clear();
            self.partial.extend_from_slice(&receive[done..have]);
            if self.partial.is_empty() {
                self.partial = Vec::new();
            } else if self.partial.len() > RECORD {
                return Poll::Ready(Err(invalid("a TLS record is too long")));
            }
            drop(receive);
            if self.pending_at < self.pending.len() {
                // An answer of the protocol's own (a key update): it goes out with the next write if not now.
                let _ = self.poll_flush(tcp, cx)?;
            }
            let read = buf.len() - before;
            if read > 0 {
                return Poll::Ready(Ok(read));
            }
        }
    }

    /// Decrypts whole records of `input` into `buf`; returns how much was taken.
    fn open(&mut self, input: &mut [u8], buf: &mut BytesMut) -> io::Result<usize> {
        let mut at = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.conn.process_tls_records(&mut input[at..]);
            let mut blocked = false;
            match state.map_err(|e| invalid(&e.to_string()))? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|e| invalid(&e.to_string()))?;
                        discard += record.discard;
                        buf.extend_from_slice(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    encode(&mut self.pending, |out| data.encode(out))
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    self.peer_closed = true;
                    blocked = true;
                }
                ConnectionState::WriteTraffic(_) => blocked = true,
                _ => return Err(invalid("unexpected TLS state")),
            }
            at += discard;
            if blocked {
                return Ok(at);
            }
        }
    }

    /// Encrypts and sends some of `data`.
    pub(super) fn poll_write(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(tcp, cx))?;
        let take = data.len().min(WRITE);
        let scratch = self.scratch.clone();
        let mut send = scratch.send.borrow_mut();
        let sealed = self.seal(&data[..take], &mut send)?;
        self.hand_over(tcp, cx, &send[..sealed])?;
        Poll::Ready(Ok(take))
    }

    /// As [`Tls::poll_write`], for parts that are gathered into whole records.
    pub(super) fn poll_write_vectored(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(tcp, cx))?;
        let scratch = self.scratch.clone();
        // The receive buffer is free here: nothing is read while a write is being made.
        let mut gather = scratch.receive.borrow_mut();
        let mut take = 0;
        for part in parts {
            let n = part.len().min(WRITE - take);
            gather[take..take + n].copy_from_slice(&part[..n]);
            take += n;
        }
        let mut send = scratch.send.borrow_mut();
        let sealed = self.seal(&gather[..take], &mut send)?;
        self.hand_over(tcp, cx, &send[..sealed])?;
        Poll::Ready(Ok(take))
    }

    /// Gives sealed bytes to the kernel; what it does not take is kept for [`Tls::poll_flush`].
    fn hand_over(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
        sealed: &[u8],
    ) -> io::Result<()> {
        let taken = match Pin::new(tcp).poll_write(cx, sealed) {
            Poll::Ready(n) => n?,
            Poll::Pending => 0,
        };
        if taken < sealed.len() {
            self.pending.extend_from_slice(&sealed[taken..]);
        }
        Ok(())
    }

    fn seal(&mut self, data: &[u8], out: &mut [u8]) -> io::Result<usize> {
        let mut at = 0;
        loop {
            match self
                .conn
                .process_tls_records(&mut [])
                .state
                .map_err(|e| invalid(&e.to_string()))?
            {
                ConnectionState::WriteTraffic(mut traffic) => {
                    return match traffic.encrypt(data, &mut out[at..]) {
                        Ok(n) => Ok(at + n),
                        Err(EncryptError::InsufficientSize(_)) => {
                            Err(invalid("TLS send buffer too small"))
                        }
                        Err(e) => Err(invalid(&e.to_string())),
                    };
                }
                ConnectionState::EncodeTlsData(mut message) => {
                    at += message
                        .encode(&mut out[at..])
                        .map_err(|e| invalid(&e.to_string()))?;
                }
                ConnectionState::TransmitTlsData(message) => message.done(),
                ConnectionState::PeerClosed => self.peer_closed = true,
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Waits until the kernel has taken what was kept back.
    pub(super) fn poll_flush(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.pending_at < self.pending.len() {
            match ready!(Pin::new(&mut *tcp).poll_write(cx, &self.pending[self.pending_at..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.pending_at += n,
            }
        }
        if self.pending_at > 0 {
            self.pending = Vec::new();
            self.pending_at = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends `close_notify`, once.
    pub(super) fn poll_close_notify(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.close_sent {
            self.close_sent = true;
            let mut out = [0u8; 256];
            if let Ok(ConnectionState::WriteTraffic(mut traffic)) =
                self.conn.process_tls_records(&mut []).state
                && let Ok(n) = traffic.queue_close_notify(&mut out)
            {
                self.pending.extend_from_slice(&out[..n]);
            }
        }
        self.poll_flush(tcp, cx)
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
