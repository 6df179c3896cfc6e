//! How are the bytes protected? Records of TLS, of both ends, over rustls's unbuffered API.
//!
//! Promises: an idle connection keeps no record buffer (the data thread lends its [`Scratch`]); ciphertext kept back
//! is bounded by one write. Does not: agree on keys (`handshake` does), choose certificates or versions (the `tls` room
//! does).

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use tokio::net::TcpStream;

use super::{Scratch, poll_recv, poll_send};

/// Largest TLS record on the wire (RFC 8446 section 5.2, and RFC 5246 section 6.2.3 for 1.2) with its header.
const RECORD: usize = 5 + 16 * 1024 + 2048;
/// The receive buffer: one incomplete record and 128 KiB more.
pub(super) const RECEIVE: usize = RECORD + 128 * 1024;
/// Plaintext encrypted at once.
const WRITE: usize = super::WRITE;
/// The send buffer: that plaintext in records.
pub(super) const SEND: usize = WRITE + 8 * 256 + 1024;

/// The TLS state of a connection.
pub(super) struct Tls {
    end: End,
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

/// An end of a TLS connection, whichever.
pub(super) enum End {
    /// Ours towards a client.
    Server(UnbufferedServerConnection),
    /// Ours towards a worker.
    Client(UnbufferedClientConnection),
}

/// What both kinds of connections of the library do in the same way.
pub(super) trait Records {
    /// What the library keeps for this kind.
    type Data;
    /// Takes what is complete from `incoming`.
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

/// Appends a TLS message, with as much room as it says it needs.
pub(super) fn encode(
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) {
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
    /// The records after a handshake; `incoming` was received behind it, `early` decrypted with it.
    pub(super) fn new(end: End, scratch: &Rc<Scratch>, incoming: Vec<u8>, early: Vec<u8>) -> Tls {
        Tls {
            end,
            scratch: scratch.clone(),
            fresh: !incoming.is_empty(),
            early,
            partial: incoming,
            pending: Vec::new(),
            pending_at: 0,
            peer_closed: false,
            close_sent: false,
        }
    }

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
                if have > 0 {
                    ready!(tcp.poll_read_ready(cx))?;
                    receive[..have].copy_from_slice(&self.partial);
                }
                match ready!(poll_recv(tcp, cx, &mut receive[have..]))? {
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
            // No room is taken before it is known how much is plaintext: records may be all padding (RFC 8446 section 5.4), and
            // a piece that is kept keeps its whole block.
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
        let (at, closed) = match &mut self.end {
            End::Server(conn) => open(conn, input, buf, &mut self.pending),
            End::Client(conn) => open(conn, input, buf, &mut self.pending),
        }?;
        self.peer_closed |= closed;
        Ok(at)
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
        let taken = match poll_send(tcp, cx, sealed) {
            Poll::Ready(n) => n?,
            Poll::Pending => 0,
        };
        if taken < sealed.len() {
            self.pending.extend_from_slice(&sealed[taken..]);
        }
        Ok(())
    }

    fn seal(&mut self, data: &[u8], out: &mut [u8]) -> io::Result<usize> {
        let (sealed, closed) = match &mut self.end {
            End::Server(conn) => seal(conn, data, out),
            End::Client(conn) => seal(conn, data, out),
        }?;
        self.peer_closed |= closed;
        Ok(sealed)
    }

    /// Waits until the kernel has taken what was kept back.
    pub(super) fn poll_flush(
        &mut self,
        tcp: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.pending_at < self.pending.len() {
            match ready!(poll_send(tcp, cx, &self.pending[self.pending_at..]))? {
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
            match &mut self.end {
                End::Server(conn) => close(conn, &mut self.pending),
                End::Client(conn) => close(conn, &mut self.pending),
            }
        }
        self.poll_flush(tcp, cx)
    }
}

/// Decrypts whole records of `input` into `buf`. Returns how much was taken, and whether the peer has closed.
fn open<C: Records>(
    conn: &mut C,
    input: &mut [u8],
    buf: &mut BytesMut,
    pending: &mut Vec<u8>,
) -> io::Result<(usize, bool)> {
    let (mut at, mut closed) = (0, false);
    loop {
        let UnbufferedStatus { mut discard, state } = conn.process(&mut input[at..]);
        let mut blocked = false;
        match state.map_err(|e| invalid(&e.to_string()))? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(|e| invalid(&e.to_string()))?;
                    discard += record.discard;
                    buf.extend_from_slice(record.payload);
                }
            }
            ConnectionState::EncodeTlsData(mut data) => encode(pending, |out| data.encode(out)),
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed | ConnectionState::Closed => {
                closed = true;
                blocked = true;
            }
            ConnectionState::WriteTraffic(_) => blocked = true,
            _ => return Err(invalid("unexpected TLS state")),
        }
        at += discard;
        if blocked {
            return Ok((at, closed));
        }
    }
}

/// Encrypts `data` into `out`. Returns how long that is, and whether the peer has closed.
fn seal<C: Records>(conn: &mut C, data: &[u8], out: &mut [u8]) -> io::Result<(usize, bool)> {
    let (mut at, mut closed) = (0, false);
    loop {
        let state = conn.process(&mut []).state;
        match state.map_err(|e| invalid(&e.to_string()))? {
            ConnectionState::WriteTraffic(mut traffic) => {
                return match traffic.encrypt(data, &mut out[at..]) {
                    Ok(n) => Ok((at + n, closed)),
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
            ConnectionState::PeerClosed => closed = true,
            _ => return Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// Appends `close_notify`.
fn close<C: Records>(conn: &mut C, pending: &mut Vec<u8>) {
    let mut out = [0u8; 256];
    if let Ok(ConnectionState::WriteTraffic(mut traffic)) = conn.process(&mut []).state
        && let Ok(n) = traffic.queue_close_notify(&mut out)
    {
        pending.extend_from_slice(&out[..n]);
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
