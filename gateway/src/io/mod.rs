//! What carries the bytes? A TCP connection, plain or with TLS, read and written through `&self`, so that the two
//! directions of a stream are two independent polls of one task.
//!
//! Promises: an idle stream holds no buffer of its own; a reader and a writer never wait for each other.
//! Does not: time anything (see [`timer`]), know HTTP.

pub mod handshake;
pub mod hello;
pub mod pipe;
pub mod proxy_protocol;
mod refusals;
pub mod secure;
pub mod timer;
pub mod tls;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rustix::net::{RecvFlags, SendFlags};
use socket2::TcpKeepalive;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use crate::heap::{self, What};
use pipe::{Pipe, Pipes};
use refusals::Refusals;
use tls::Tls;

/// Silence after which the kernel asks whether the peer is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Questions without an answer that end the connection.
const KEEPALIVE_PROBES: u32 = 3;
/// Bytes read from a plain connection at once while a body streams through.
const READ_BODY: usize = 64 * 1024;
/// Bytes handed to the kernel at once. The peer begins with them while more are encrypted or handed over: with 64 KiB a long
/// body costs a tenth to a fifth more CPU time, and with 16 KiB as well.
const WRITE: usize = 32 * 1024;
/// Bytes read from a plain connection while a head is awaited.
const READ_HEAD: usize = 8 * 1024;
/// Least block that is taken for what was read: pieces that come byte by byte share it.
const BLOCK_MIN: usize = 512;

/// How a peer that is gone without a word (a host that lost its power, a NAT that forgot) is found out in about a minute,
/// so that streams may be silent for days.
pub fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES)
}

/// A connection. All methods take `&self`; at most one task may poll each direction.
pub struct Stream {
    tcp: RefCell<TcpStream>,
    tls: Option<Box<RefCell<Tls>>>,
    eof: Cell<bool>,
    /// Whether the last read brought as much as a head may be read at once: then the next one gets more room.
    bulk: Cell<bool>,
    /// Something was handed to the kernel since the last [`Stream::mark`].
    wrote: Cell<bool>,
    scratch: Rc<Scratch>,
}

impl Stream {
    /// A connection without TLS.
    pub fn plain(tcp: TcpStream, scratch: &Rc<Scratch>) -> Stream {
        Stream {
            tcp: RefCell::new(tcp),
            tls: None,
            scratch: scratch.clone(),
            eof: Cell::new(false),
            bulk: Cell::new(false),
            wrote: Cell::new(false),
        }
    }

    fn with_tls(tcp: TcpStream, tls: Tls, scratch: &Rc<Scratch>) -> Stream {
        let mut stream = Stream::plain(tcp, scratch);
        stream.tls = Some(heap::packed(What::All, || Box::new(RefCell::new(tls))));
        stream
    }

    /// Whether the bytes are protected by TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The other end's address.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.borrow().peer_addr()
    }

    /// Appends what can be read to `buf`; 0 is the end of the stream. Nothing is allocated while nothing is there.
    pub fn poll_fill(&self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.eof.get() {
            return Poll::Ready(Ok(0));
        }
        let read = match &self.tls {
            None => ready!(self.poll_fill_plain(cx, buf)),
            Some(tls) => ready!(
                tls.borrow_mut()
                    .poll_fill(&mut self.tcp.borrow_mut(), cx, buf)
            ),
        };
        if let Ok(0) = read {
            self.eof.set(true);
        }
        Poll::Ready(read)
    }

    fn poll_fill_plain(&self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if !self.bulk.get() {
            return self.poll_fill_little(cx, buf);
        }
        ready!(self.tcp.borrow().poll_read_ready(cx))?;
        // Pieces of `buf` are kept elsewhere, and each keeps its whole block: a block is filled before another is taken,
        // or a body in tiny segments would hold thousands of times its size.
        if buf.capacity() - buf.len() < READ_BODY / 2 {
            buf.reserve(READ_BODY);
        }
        // No more than that, though there were room: the odd rest would be a write of its own.
        let n = ready!(poll_read_buf(
            Pin::new(&mut *self.tcp.borrow_mut()),
            cx,
            &mut (&mut *buf).limit(READ_BODY)
        ))?;
        self.bulk.set(n >= READ_HEAD);
        Poll::Ready(Ok(n))
    }

    /// Heads are short: they are read where the thread's cache is warm, and copied to a block of about their size.
    fn poll_fill_little(
        &self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut receive = self.scratch.receive.borrow_mut();
        let n = ready!(poll_recv(&self.tcp.borrow(), cx, &mut receive[..READ_HEAD]))?;
        let read = &receive[..n];
        if buf.capacity() - buf.len() < read.len() {
            buf.reserve(read.len().max(BLOCK_MIN));
        }
        buf.extend_from_slice(read);
        self.bulk.set(read.len() == READ_HEAD);
        Poll::Ready(Ok(read.len()))
    }

    /// An empty pipe for what goes from one connection to another without being looked at; none where TLS wants to see it, and
    /// when there are too many.
    pub fn pipe(&self) -> Option<Pipe> {
        (!self.is_tls())
            .then(|| self.scratch.pipes.take())
            .flatten()
    }

    /// Moves up to `most` bytes of what can be read into `pipe`, which must be empty; 0 is the end of the stream. Not for
    /// connections with TLS.
    pub fn poll_fill_pipe(
        &self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let tcp = self.tcp.borrow();
        loop {
            ready!(tcp.poll_read_ready(cx))?;
            match tcp.try_io(Interest::READABLE, || pipe.fill(&*tcp, most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }

    /// Writes all that is in `pipe`. Not for connections with TLS.
    pub fn poll_drain_pipe(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<()>> {
        let tcp = self.tcp.borrow();
        while !pipe.is_empty() {
            ready!(tcp.poll_write_ready(cx))?;
            match tcp.try_io(Interest::WRITABLE, || pipe.drain(&*tcp)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => self.wrote.set(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes some of `data`, at least a byte; what TLS keeps back is bounded to one call's worth and goes out with
    /// [`Stream::poll_flush`].
    pub fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.poll_write_some(cx, data);
        if let Poll::Ready(Ok(_)) = written {
            self.wrote.set(true);
        }
        written
    }

    /// Forgets what was written; [`Stream::wrote`] tells of what comes after.
    pub fn mark(&self) {
        self.wrote.set(false);
    }

    /// Whether a byte was handed to the kernel since [`Stream::mark`].
    pub fn wrote(&self) -> bool {
        self.wrote.get()
    }

    fn poll_write_some(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &self.tls {
            None => {
                let data = &data[..data.len().min(WRITE)];
                let n = ready!(poll_send(&self.tcp.borrow(), cx, data))?;
                if n == 0 && !data.is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(n))
            }
            Some(tls) => tls
                .borrow_mut()
                .poll_write(&mut self.tcp.borrow_mut(), cx, data),
        }
    }

    /// Waits until everything written is with the kernel.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.tls {
            None => Poll::Ready(Ok(())),
            Some(tls) => tls.borrow_mut().poll_flush(&mut self.tcp.borrow_mut(), cx),
        }
    }

    /// Says that nothing more will be written: `close_notify` where there is TLS, then FIN.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(tls) = &self.tls {
            ready!(
                tls.borrow_mut()
                    .poll_close_notify(&mut self.tcp.borrow_mut(), cx)
            )?;
        }
        Pin::new(&mut *self.tcp.borrow_mut()).poll_shutdown(cx)
    }

    /// Writes and flushes all of `data`.
    pub async fn write_all(&self, data: &[u8]) -> io::Result<()> {
        let mut at = 0;
        std::future::poll_fn(|cx| {
            while at < data.len() {
                at += ready!(self.poll_write(cx, &data[at..]))?;
            }
            self.poll_flush(cx)
        })
        .await
    }

    /// Whether a kept connection can carry another request: nothing was received and it is not closed.
    /// `ask_kernel` finds what the reactor has not told yet, for one system call.
    pub fn is_quiet(&self, ask_kernel: bool) -> bool {
        if self.eof.get() {
            return false;
        }
        let tcp = self.tcp.borrow();
        if ask_kernel {
            let mut byte = [std::mem::MaybeUninit::<u8>::uninit(); 1];
            let peeked = socket2::SockRef::from(&*tcp).peek(&mut byte);
            return matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        }
        let mut byte = [0u8; 1];
        matches!(tcp.try_read(&mut byte), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Receives once. As `TcpStream::poll_read` does it, but straight from the kernel: the C library's function is a point at which
/// threads can be cancelled, and to say so takes two atomic operations a call.
fn poll_recv(tcp: &TcpStream, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(tcp.poll_read_ready(cx))?;
        let size = room.len();
        let received = part_or_whole(tcp, Interest::READABLE, size, || {
            Ok(rustix::net::recv(tcp, &mut *room, RecvFlags::empty())?.0)
        });
        if let Some(received) = received {
            return Poll::Ready(received);
        }
    }
}

/// Sends once; see [`poll_recv`].
fn poll_send(tcp: &TcpStream, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(tcp.poll_write_ready(cx))?;
        let sent = part_or_whole(tcp, Interest::WRITABLE, data.len(), || {
            Ok(rustix::net::send(tcp, data, SendFlags::NOSIGNAL)?)
        });
        if let Some(sent) = sent {
            return Poll::Ready(sent);
        }
    }
}

/// Makes a call that moves up to `size` bytes; `None` where it would have had to wait. Fewer bytes tell that the next call would,
/// which need not be made to find out (epoll(7), the ninth question): the reactor is told to wait for news.
fn part_or_whole(
    tcp: &TcpStream,
    interest: Interest,
    size: usize,
    mut call: impl FnMut() -> io::Result<usize>,
) -> Option<io::Result<usize>> {
    let mut part = None;
    let whole = tcp.try_io(interest, || {
        let moved = call()?;
        if 0 < moved && moved < size {
            part = Some(moved);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(moved)
    });
    match (part, whole) {
        (Some(part), _) => Some(Ok(part)),
        (None, Err(error))
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            None
        }
        (None, whole) => Some(whole),
    }
}

/// How writing goes on a [`Carrier`] that was given away.
#[derive(Default)]
pub struct Progress {
    written: Cell<u64>,
    blocked: Cell<bool>,
    /// Where they are looked for.
    refusals: RefCell<Option<Refusals>>,
}

impl Progress {
    /// Whether bytes wait for a peer that has taken others since `seen`, which is brought up to date.
    pub fn goes_on(&self, seen: &mut u64) -> bool {
        self.blocked.get() && self.written.get() != std::mem::replace(seen, self.written.get())
    }

    /// Streams that were refused (REFUSED_STREAM, RFC 9113 section 8.7) since this was last asked; 0 unless
    /// [`Carrier::watch_refusals`] was called.
    pub fn take_refused(&self) -> u32 {
        let mut refusals = self.refusals.borrow_mut();
        refusals
            .as_mut()
            .map_or(0, |refusals| std::mem::take(&mut refusals.count))
    }

    /// Looks at the first `n` bytes of what was offered.
    fn look(&self, parts: &[io::IoSlice<'_>], written: &Poll<io::Result<usize>>) {
        let mut refusals = self.refusals.borrow_mut();
        if let (Some(refusals), Poll::Ready(Ok(n))) = (refusals.as_mut(), written) {
            let mut left = *n;
            for part in parts {
                let n = left.min(part.len());
                refusals.note(&part[..n]);
                left -= n;
            }
        }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.blocked.set(written.is_pending());
        if let Poll::Ready(Ok(n)) = written {
            self.written.set(self.written.get() + n as u64);
        }
        written
    }
}

/// A [`Stream`] with the traits that the `h2` crate asks for.
pub struct Carrier {
    stream: Rc<Stream>,
    progress: Rc<Progress>,
    /// Read but not yet taken.
    ahead: BytesMut,
}

impl Carrier {
    /// `ahead` are bytes that were read from `stream` before.
    pub fn new(stream: Stream, ahead: Bytes) -> Carrier {
        Carrier {
            stream: Rc::new(stream),
            progress: Rc::default(),
            ahead: BytesMut::from(ahead),
        }
    }

    /// The connection itself, for what comes after HTTP/2.
    pub fn stream(&self) -> Rc<Stream> {
        self.stream.clone()
    }

    /// Looks for streams that are refused, from the first byte on. For a server: a client begins with what is no frame.
    pub fn watch_refusals(&self) {
        *self.progress.refusals.borrow_mut() = Some(Refusals::default());
    }

    /// Tells how writing goes, from now on.
    pub fn progress(&self) -> Rc<Progress> {
        self.progress.clone()
    }
}

impl AsyncRead for Carrier {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() {
            if this.stream.tls.is_none() {
                if this.stream.eof.get() {
                    return Poll::Ready(Ok(()));
                }
                return Pin::new(&mut *this.stream.tcp.borrow_mut()).poll_read(cx, out);
            }
            if ready!(this.stream.poll_fill(cx, &mut this.ahead))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let n = this.ahead.len().min(out.remaining());
        out.put_slice(&this.ahead.split_to(n));
        if this.ahead.is_empty() {
            this.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream.poll_write(cx, data);
        self.progress.look(&[io::IoSlice::new(data)], &written);
        self.progress.note(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut tcp = self.stream.tcp.borrow_mut();
        let written = match &self.stream.tls {
            None => Pin::new(&mut *tcp).poll_write_vectored(cx, parts),
            Some(tls) => tls.borrow_mut().poll_write_vectored(&mut tcp, cx, parts),
        };
        self.progress.look(parts, &written);
        self.progress.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.stream.poll_flush(cx);
        self.progress.blocked.set(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }
}

/// Buffers that one data thread lends to whatever connection is being read or written just now.
pub struct Scratch {
    receive: RefCell<Vec<u8>>,
    send: RefCell<Vec<u8>>,
    pipes: Rc<Pipes>,
}

impl Scratch {
    /// Buffers of a data thread, about 180 KiB.
    pub fn new() -> Rc<Scratch> {
        Rc::new(Scratch {
            receive: RefCell::new(vec![0; tls::RECEIVE]),
            send: RefCell::new(vec![0; tls::SEND]),
            pipes: Rc::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn pieces_that_are_kept_share_their_blocks() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut sender = TcpStream::connect(address).await.unwrap();
        sender.set_nodelay(true).unwrap();
        let stream = Stream::plain(listener.accept().await.unwrap().0, &Scratch::new());
        let (mut buf, mut kept) = (BytesMut::new(), Vec::<Bytes>::new());
        for _ in 0..1000 {
            sender.write_all(b"x").await.unwrap();
            let n = std::future::poll_fn(|cx| stream.poll_fill(cx, &mut buf)).await;
            assert_eq!(n.unwrap(), 1);
            kept.push(buf.split().freeze());
        }
        let blocks = kept
            .windows(2)
            .filter(|pair| pair[1].as_ptr() as usize != pair[0].as_ptr() as usize + 1)
            .count();
        assert!(blocks < 3, "1000 bytes lie in {} blocks", blocks + 1);
    }
}
