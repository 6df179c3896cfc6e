//! How do we talk to a worker? Connections of one data thread: kept HTTP/1 connections and shared HTTP/2 sessions.
//!
//! Promises: a kept connection that was closed or spoke out of turn is never used; sessions are opened one at a time
//! per worker and carry no more streams than both sides allow. Does not: choose workers or retry.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::io::handshake::{self, HandshakeError};
use crate::io::secure::Secure;
use crate::io::timer::Timers;
use crate::io::{Carrier, Scratch, Stream, keepalive};

/// Kept HTTP/1 connections per worker and data thread.
const KEPT_MAX: usize = 256;
/// A session without a stream is closed after this long where nothing else was said.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Window of a stream from a worker, bytes: what a slow client can make the gateway hold.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Window of a session, bytes: above all streams' windows together, so that one slow reader stops no other.
const SESSION_WINDOW: u32 = 64 * 1024 * 1024;

/// The connections of a data thread to workers.
pub struct Connections {
    http1: RefCell<Keyed<Vec<Kept>>>,
    http2: RefCell<Keyed<Rc<Sessions>>>,
    /// Workers that an operator took out: nothing is kept for them.
    retired: RefCell<HashSet<SocketAddr>>,
    timers: Timers,
    scratch: Rc<Scratch>,
}

/// Pools that reach a worker in different ways share no connection to it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    worker: SocketAddr,
    /// Which TLS, 0 for none.
    secure: u64,
}

type Keyed<T> = HashMap<Key, T, BuildHasherDefault<Scattered>>;

/// Spreads one number. Every request looks twice, and its keys come from the operator: a hash that withstands strangers
/// would cost ten times as much for nothing.
#[derive(Default)]
struct Scattered(u64);

impl Hasher for Scattered {
    fn write_u64(&mut self, number: u64) {
        // By the golden ratio (Knuth, volume 3, section 6.4); the upper half is the better one.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, to: &mut H) {
        let ip = match self.worker.ip() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64 ^ (ip.to_bits() as u64).rotate_left(32),
        };
        to.write_u64(ip ^ u64::from(self.worker.port()).rotate_left(40) ^ self.secure << 56);
    }
}

/// A worker, and how it is reached.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Its address.
    pub addr: SocketAddr,
    /// TLS, or none.
    pub secure: Option<&'a Secure>,
}

impl Target<'_> {
    fn key(&self) -> Key {
        Key {
            worker: self.addr,
            secure: self.secure.map_or(0, |secure| secure.id),
        }
    }
}

struct Kept {
    stream: Rc<Stream>,
    expires: Instant,
}

#[derive(Default)]
struct Sessions {
    open: RefCell<Vec<Rc<Session>>>,
    /// Held by whoever opens a session.
    opening: tokio::sync::Mutex<()>,
}

/// An HTTP/2 connection to a worker.
pub struct Session {
    send: SendRequest<Bytes>,
    streams: Cell<u32>,
    streams_max: u32,
    dead: Rc<Cell<bool>>,
    idle_since: Cell<Instant>,
    /// Closed after this long without a stream.
    idle_timeout: Cell<Duration>,
}

/// A stream's place in a session; given back on drop.
pub struct Ticket {
    session: Rc<Session>,
    timers: Timers,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// Nobody listens.
    Refused,
    /// It took too long.
    Timeout,
    /// It does not prove who it is, or nothing in common was found.
    Tls(String),
    /// Anything else.
    Other(io::Error),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> ConnectError {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => ConnectError::Refused,
            _ => ConnectError::Other(error),
        }
    }
}

impl Connections {
    /// None yet.
    pub fn new(timers: Timers, scratch: Rc<Scratch>) -> Connections {
        Connections {
            http1: RefCell::default(),
            http2: RefCell::default(),
            retired: RefCell::default(),
            timers,
            scratch,
        }
    }

    /// A kept connection to `worker`. `careful` asks the kernel whether it still stands, for requests that must not
    /// be sent twice.
    pub fn take(&self, worker: Target<'_>, careful: bool) -> Option<Rc<Stream>> {
        let mut http1 = self.http1.borrow_mut();
        let kept = http1.get_mut(&worker.key())?;
        while let Some(connection) = kept.pop() {
            if connection.stream.is_quiet(careful) {
                return Some(connection.stream);
            }
        }
        None
    }

    /// Keeps a connection for another request.
    pub fn put(&self, worker: Target<'_>, stream: Rc<Stream>, idle_timeout: Duration) {
        let expires = self.timers.coarse_now() + idle_timeout;
        let mut http1 = self.http1.borrow_mut();
        let kept = http1.entry(worker.key()).or_default();
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(Kept { stream, expires });
    }

    /// Opens a connection, which begins with `preface`, then TLS where it is wanted.
    pub async fn connect(
        &self,
        worker: Target<'_>,
        timeout: Duration,
        preface: Option<&[u8]>,
    ) -> Result<Stream, ConnectError> {
        let open = async {
            let mut tcp = TcpStream::connect(worker.addr).await?;
            if let Some(preface) = preface {
                tcp.write_all(preface).await?;
            }
            // Small writes must not wait for one another (RFC 896 would have them do so).
            let _ = tcp.set_nodelay(true);
            if !worker.addr.ip().is_loopback() {
                // Streams without a deadline would outlive a worker whose machine went without a word.
                let _ = socket2::SockRef::from(&tcp).set_tcp_keepalive(&keepalive());
            }
            match worker.secure {
                None => Ok(Stream::plain(tcp, &self.scratch)),
                // Boxed: what only some pools need must not weigh on every request.
                Some(secure) => Box::pin(self.secure(tcp, worker.addr, secure)).await,
            }
        };
        match self.timers.slot().within(timeout, open).await {
            Ok(opened) => opened,
            Err(_) => Err(ConnectError::Timeout),
        }
    }

    async fn secure(
        &self,
        tcp: TcpStream,
        worker: SocketAddr,
        secure: &Secure,
    ) -> Result<Stream, ConnectError> {
        let (config, name) = (secure.config.clone(), secure.name_of(worker));
        match handshake::connect(tcp, config, name, &self.scratch).await {
            Ok((_, false)) if secure.h2 => Err(ConnectError::Tls(
                "the worker does not agree to HTTP/2".to_owned(),
            )),
            Ok((stream, _)) => Ok(stream),
            Err(HandshakeError::PlainHttp) => Err(ConnectError::Tls(
                "the worker speaks HTTP without TLS".to_owned(),
            )),
            Err(error) => Err(ConnectError::Tls(error.to_string())),
        }
    }

    /// A place in a session to `worker` that is open and has room.
    pub fn at_hand(&self, worker: Target<'_>) -> Option<(SendRequest<Bytes>, Ticket)> {
        self.http2.borrow().get(&worker.key())?.find(&self.timers)
    }

    /// A place in a session to `worker`, which is opened where none has room. One that begins with a `preface` is opened
    /// for this stream alone.
    pub async fn session(
        &self,
        worker: Target<'_>,
        timeout: Duration,
        streams_max: u32,
        head_bytes_max: usize,
        preface: Option<&[u8]>,
    ) -> Result<(SendRequest<Bytes>, Ticket), ConnectError> {
        if preface.is_some() {
            let opened = self.establish(worker, timeout, streams_max, head_bytes_max, preface);
            return match self.timers.slot().within(timeout, opened).await {
                Ok(session) => session.map(|session| session.enter(&self.timers)),
                Err(_) => Err(ConnectError::Timeout),
            };
        }
        let sessions = self
            .http2
            .borrow_mut()
            .entry(worker.key())
            .or_default()
            .clone();
        if let Some(found) = sessions.find(&self.timers) {
            return Ok(found);
        }
        // Waiting for whoever opens one counts as well: behind a worker that cannot be reached, each in the line would
        // else wait for all timeouts before its own.
        let opened = self.open(&sessions, worker, timeout, streams_max, head_bytes_max);
        match self.timers.slot().within(timeout, opened).await {
            Ok(opened) => opened,
            Err(_) => Err(ConnectError::Timeout),
        }
    }

    async fn open(
        &self,
        sessions: &Sessions,
        worker: Target<'_>,
        timeout: Duration,
        streams_max: u32,
        head_bytes_max: usize,
    ) -> Result<(SendRequest<Bytes>, Ticket), ConnectError> {
        let _opening = sessions.opening.lock().await;
        if let Some(found) = sessions.find(&self.timers) {
            return Ok(found);
        }
        let session = self
            .establish(worker, timeout, streams_max, head_bytes_max, None)
            .await?;
        let found = session.enter(&self.timers);
        sessions.open.borrow_mut().push(session);
        Ok(found)
    }

    async fn establish(
        &self,
        worker: Target<'_>,
        timeout: Duration,
        streams_max: u32,
        head_bytes_max: usize,
        preface: Option<&[u8]>,
    ) -> Result<Rc<Session>, ConnectError> {
        let stream = self.connect(worker, timeout, preface).await?;
        let carrier = Carrier::new(stream, Bytes::new());
        let handshake = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(SESSION_WINDOW)
            .max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX))
            .max_concurrent_streams(0)
            .enable_push(false)
            .data_frame_budget(64 * 1024 * 1024)
            .handshake::<_, Bytes>(carrier);
        let (send, connection) = handshake
            .await
            .map_err(|error| ConnectError::Other(io::Error::other(error.to_string())))?;
        let session = Rc::new(Session {
            send,
            streams: Cell::new(0),
            streams_max,
            dead: Rc::new(Cell::new(false)),
            idle_since: Cell::new(self.timers.coarse_now()),
            idle_timeout: Cell::new(IDLE_TIMEOUT),
        });
        // The driver holds no handle that could send, else the session would never end for want of users.
        let dead = session.dead.clone();
        tokio::task::spawn_local(async move {
            // How it ended is told to each stream; here it only matters that it did.
            let _ = connection.await;
            dead.set(true);
        });
        Ok(session)
    }

    /// Closes what was idle too long and forgets what is dead. Called about once a second.
    pub fn sweep(&self, now: Instant) {
        let retired = self.retired.borrow();
        self.http1.borrow_mut().retain(|key, kept| {
            kept.retain(|connection| connection.expires > now && connection.stream.is_quiet(false));
            !kept.is_empty() && !retired.contains(&key.worker)
        });
        self.http2.borrow_mut().retain(|key, sessions| {
            let retired = retired.contains(&key.worker);
            sessions.open.borrow_mut().retain(|session| {
                let idle_timeout = match retired {
                    true => Duration::ZERO,
                    false => session.idle_timeout.get(),
                };
                let idle = session.streams.get() == 0
                    && now.duration_since(session.idle_since.get()) > idle_timeout;
                !session.dead.get() && !idle
            });
            !sessions.open.borrow().is_empty() || Rc::strong_count(sessions) > 1
        });
    }

    /// Closes what is kept for these workers, now and, as exchanges end, at every [`Connections::sweep`].
    pub fn retire(&self, workers: HashSet<SocketAddr>) {
        let any = !workers.is_empty();
        *self.retired.borrow_mut() = workers;
        if any {
            self.sweep(self.timers.coarse_now());
        }
    }

    /// Open connections to workers: kept HTTP/1 and HTTP/2 sessions.
    pub fn count(&self) -> (usize, usize) {
        (
            self.http1.borrow().values().map(Vec::len).sum(),
            self.http2
                .borrow()
                .values()
                .map(|sessions| sessions.open.borrow().len())
                .sum(),
        )
    }
}

impl Sessions {
    fn find(&self, timers: &Timers) -> Option<(SendRequest<Bytes>, Ticket)> {
        self.open
            .borrow()
            .iter()
            .find(|session| session.has_room())
            .map(|session| session.enter(timers))
    }
}

impl Session {
    fn has_room(&self) -> bool {
        let allowed = u32::try_from(self.send.current_max_send_streams()).unwrap_or(u32::MAX);
        !self.dead.get() && self.streams.get() < self.streams_max.min(allowed)
    }

    fn enter(self: &Rc<Self>, timers: &Timers) -> (SendRequest<Bytes>, Ticket) {
        self.streams.set(self.streams.get() + 1);
        (
            self.send.clone(),
            Ticket {
                session: self.clone(),
                timers: timers.clone(),
            },
        )
    }
}

impl Ticket {
    /// The session is closed after this long without a stream.
    pub fn keep_idle(&self, idle_timeout: Duration) {
        self.session.idle_timeout.set(idle_timeout);
    }

    /// The session takes no more streams (GOAWAY, or it broke).
    pub fn retire(&self) {
        self.session.dead.set(true);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.session
            .streams
            .set(self.session.streams.get().saturating_sub(1));
        self.session.idle_since.set(self.timers.coarse_now());
    }
}
