//! Who may come in, and which data thread serves them?
//!
//! Promises: every data thread accepts from the same sockets; a connection goes to a thread that has about the fewest,
//! because connections live for days. Caps are met before anything is read, but the cap of a client whom only a header of
//! the PROXY protocol names. Deadlines begin with the accept.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::model::{ListenerId, Protocol};
use crate::exchange::Context;
use crate::heap::{self, What};
use crate::io::handshake::{self, Handshake, HandshakeError};
use crate::io::hello::Hello;
use crate::io::{Carrier, Stream};
use crate::listener::proxy_protocol::Header;
use crate::listener::{http1, http2, preface, refused, socket};
use crate::observe::handshake::Reason;
use crate::observe::metrics::ListenerMetrics;
use crate::shard::{Admission, Full, Refusal, Shard, Shared, admit};
use crate::tls::identity::{self, Identity};
use crate::tls::time::unix;

/// Connections on their way from one data thread to another.
const HANDED_MAX: usize = 1024;
/// A thread keeps what it accepted while it has at most this many connections more than the least loaded one.
const SLACK: u32 = 4;
/// A socket that nobody has after us is closed so long after it began to turn clients away: connections that were half
/// open by then come to be.
const LAST_ACCEPTS: Duration = Duration::from_millis(200);
/// Pause when the process has no file descriptor left.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);

/// A socket and the listener it belongs to.
pub struct Door {
    /// The listener.
    pub listener: ListenerId,
    /// The socket.
    pub socket: StdListener,
    /// Ends the accept loop: a reload took the address away.
    pub closed: CancellationToken,
    /// Somebody else has the socket, too, and goes on listening: another process, the service manager.
    pub held_elsewhere: Arc<AtomicBool>,
}

/// A connection handed to another data thread.
pub struct Handed {
    door: ListenerId,
    tcp: StdStream,
    peer: Peer,
    admission: Admission,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy)]
enum Peer {
    /// The client itself.
    Client(SocketAddr),
    /// A balancer that is trusted to say for whom it speaks, before anything else.
    Balancer(SocketAddr),
}

/// How data threads share connections.
#[derive(Clone)]
pub struct Balance {
    loads: Arc<Vec<AtomicU32>>,
    senders: Vec<mpsc::Sender<Handed>>,
}

impl Balance {
    /// For so many data threads; each gets one of the receivers.
    pub fn new(threads: usize) -> (Balance, Vec<mpsc::Receiver<Handed>>) {
        let (senders, receivers) = (0..threads).map(|_| mpsc::channel(HANDED_MAX)).unzip();
        (
            Balance {
                loads: Arc::new((0..threads).map(|_| AtomicU32::new(0)).collect()),
                senders,
            },
            receivers,
        )
    }

    /// The thread that should serve a connection which `me` accepted.
    fn choose(&self, me: usize) -> usize {
        let load = |thread: usize| self.loads[thread].load(Ordering::Relaxed);
        let least = (0..self.loads.len())
            .min_by_key(|thread| load(*thread))
            .unwrap_or(me);
        if load(me) <= load(least) + SLACK {
            me
        } else {
            least
        }
    }
}

/// One connection more on a data thread, until dropped.
struct Load(Arc<Vec<AtomicU32>>, usize);

impl Load {
    fn new(balance: &Balance, thread: usize) -> Load {
        balance.loads[thread].fetch_add(1, Ordering::Relaxed);
        Load(balance.loads.clone(), thread)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0[self.1].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes the connections that other threads hand over.
pub async fn receive(
    shard: Rc<Shard>,
    me: usize,
    balance: Balance,
    mut handed: mpsc::Receiver<Handed>,
) {
    while let Some(Handed {
        door,
        tcp,
        peer,
        admission,
    }) = handed.recv().await
    {
        match TcpStream::from_std(tcp) {
            Ok(tcp) => begin(&shard, me, &balance, door, tcp, peer, admission),
            Err(error) => tracing::warn!(%error, "a connection could not be handed over"),
        }
    }
}

/// Accepts until the gateway drains or the door is closed.
pub async fn accept(shard: Rc<Shard>, me: usize, balance: Balance, door: Door) -> io::Result<()> {
    let shared = shard.shared.clone();
    let _accepting = Accepting::new(&shared);
    let listener = TcpListener::from_std(door.socket)?;
    let serve = |tcp, client| let_in(&shard, me, &balance, door.listener, tcp, client);
    let stop = async {
        tokio::select! {
            () = shared.drain_started() => {}
            () = door.closed.cancelled() => {}
        }
    };
    accept_until(stop, &listener, serve).await;
    if door.held_elsewhere.load(Ordering::SeqCst) {
        // Who waits is served by whoever has the socket.
        return Ok(());
    }
    // Closing the socket would reset who has come by then: first, nobody comes any more.
    if let Err(error) = socket::turn_away(&listener) {
        tracing::debug!(%error, "who comes as the socket is closed may be cut off");
    }
    accept_until(tokio::time::sleep(LAST_ACCEPTS), &listener, serve).await;
    // The kernel is asked itself, because the runtime may not have heard of all yet.
    let listener = listener.into_std()?;
    while let Ok((tcp, client)) = listener.accept() {
        tcp.set_nonblocking(true)?;
        serve(TcpStream::from_std(tcp)?, client);
    }
    Ok(())
}

async fn accept_until(
    end: impl Future<Output = ()>,
    listener: &TcpListener,
    serve: impl Fn(TcpStream, SocketAddr),
) {
    let mut end = std::pin::pin!(end);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut end => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, client)) => serve(tcp, client),
            Err(error) if is_exhausted(&error) => {
                tracing::error!(%error, "no connection can be accepted; raise the limit of open files");
                tokio::time::sleep(NO_DESCRIPTOR).await;
            }
            // The client was gone before it was accepted.
            Err(_) => {}
        }
    }
}

/// One accept loop more, until dropped.
struct Accepting(Arc<Shared>);

impl Accepting {
    fn new(shared: &Arc<Shared>) -> Accepting {
        shared.accepting.fetch_add(1, Ordering::SeqCst);
        Accepting(shared.clone())
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.accepting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM: trying again at once would only spin.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}

fn let_in(
    shard: &Rc<Shard>,
    me: usize,
    balance: &Balance,
    door: ListenerId,
    tcp: TcpStream,
    client: SocketAddr,
) {
    let plan = shard.shared.plan.load();
    let model = plan.listener(door);
    let limits = &model.limits;
    let metrics = &plan.listeners[usize::from(door.0)].metrics;
    metrics.connections.inc();
    let listener = usize::from(door.0);
    let trusted = model.proxy_protocol.as_ref();
    let (peer, counted) = match trusted.is_some_and(|from| from.contains(client.ip())) {
        // All its clients come from one address: they are judged and counted once it has said who they are.
        true => (Peer::Balancer(client), None),
        false if !plan.listeners[listener].admits(client) => {
            metrics.refused_network.inc();
            return shard.tell_refused(door, client, Refusal::of("connection_denied"));
        }
        false => (Peer::Client(client), Some(client.ip())),
    };
    let admitted =
        admit(&shard.shared, listener, limits.connections_max).and_then(|mut admitted| {
            if let Some(client) = counted {
                admitted.count_client(client, limits.connections_per_client_max)?;
            }
            Ok(admitted)
        });
    let admission = match admitted {
        Ok(admission) => admission,
        Err(full) => {
            let (counter, end) = match full {
                Full::Listener => (&metrics.refused_total, "connections_max"),
                Full::Client => (&metrics.refused_client, "connections_per_client_max"),
            };
            counter.inc();
            return shard.tell_refused(door, client, Refusal::of(end));
        }
    };
    let thread = balance.choose(me);
    if thread == me {
        return begin(shard, me, balance, door, tcp, peer, admission);
    }
    match tcp.into_std() {
        Ok(tcp) => {
            if let Err(
                mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back),
            ) = balance.senders[thread].try_send(Handed {
                door,
                tcp,
                peer,
                admission,
            }) && let Ok(tcp) = TcpStream::from_std(back.tcp)
            {
                begin(shard, me, balance, door, tcp, peer, back.admission);
            }
        }
        Err(error) => tracing::warn!(%error, "a connection could not be handed over"),
    }
}

fn begin(
    shard: &Rc<Shard>,
    me: usize,
    balance: &Balance,
    door: ListenerId,
    tcp: TcpStream,
    peer: Peer,
    admission: Admission,
) {
    let load = Load::new(balance, me);
    let shard = shard.clone();
    let serving = async move {
        let (_load, mut admission) = (load, admission);
        // Boxed: what only the handshake needs must not weigh on a connection that idles for days.
        let established = Box::pin(establish(shard, door, tcp, peer, &mut admission)).await;
        if let Some(connection) = established {
            match connection {
                Connection::Http1(cx, stream) => http1::serve(cx, stream).await,
                Connection::Http2(cx, carrier) => {
                    let serving = heap::packed(What::All, || Box::pin(http2::serve(cx, carrier)));
                    serving.await;
                }
            }
        }
    };
    heap::packed(What::All, || tokio::task::spawn_local(serving));
}

enum Connection {
    Http1(Rc<Context>, Rc<Stream>),
    Http2(Rc<Context>, Carrier),
}

async fn establish(
    shard: Rc<Shard>,
    door: ListenerId,
    mut tcp: TcpStream,
    peer: Peer,
    admission: &mut Admission,
) -> Option<Connection> {
    let plan = shard.shared.plan.load_full();
    let listener = plan.listener(door);
    let metrics = &plan.listeners[usize::from(door.0)].metrics;
    let mut patience = listener.limits.handshake_timeout;
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut came_to = tcp.local_addr().unwrap_or(nowhere);
    let client = match peer {
        Peer::Client(client) => client,
        Peer::Balancer(balancer) => {
            let began = Instant::now();
            let slot = shard.timers.slot();
            let told = slot.within(patience, Box::pin(preface::read(&mut tcp)));
            let told = match told.await {
                Ok(Ok(told)) => told,
                refused => {
                    metrics.refused_proxy_protocol.inc();
                    shard.tell_refused(door, balancer, Refusal::of("proxy_protocol"));
                    tracing::debug!(%balancer, ?refused, "no client was told of");
                    return None;
                }
            };
            // One deadline for all that comes before HTTP; none is left is not none at all.
            patience = patience
                .saturating_sub(began.elapsed())
                .max(Duration::from_millis(1));
            let (client, destination) = match told {
                Header::Local => (balancer, None),
                Header::Proxied {
                    source,
                    destination,
                } => (source, Some(destination)),
            };
            if !plan.listeners[usize::from(door.0)].admits(client) {
                metrics.refused_network.inc();
                shard.tell_refused(door, client, Refusal::of("connection_denied"));
                return None;
            }
            if let Some(destination) = destination {
                came_to = destination;
                let cap = listener.limits.connections_per_client_max;
                if admission.count_client(client.ip(), cap).is_err() {
                    metrics.refused_client.inc();
                    let why = Refusal::of("connections_per_client_max");
                    shard.tell_refused(door, client, why);
                    return None;
                }
            }
            client
        }
    };
    let context = |tls, tls_name, certificate| {
        Rc::new(Context {
            shard: shard.clone(),
            listener: door,
            client_text: client.ip().to_canonical().to_string(),
            client,
            came_to,
            tls,
            tls_name,
            certificate,
        })
    };
    let grpc = listener.protocol == Protocol::Grpc;
    let Some(live) = &plan.listeners[usize::from(door.0)].tls else {
        let stream = Stream::plain(tcp, &shard.scratch);
        return Some(if grpc {
            Connection::Http2(context("", None, None), Carrier::new(stream, Bytes::new()))
        } else {
            Connection::Http1(context("", None, None), Rc::new(stream))
        });
    };
    let config = live.config();
    let mut hello = Hello::default();
    let shaken = shake_hands(&shard, metrics, patience, tcp, config, &mut hello).await;
    let tls_name = hello.into_name();
    let (stream, handshake, certificate) = match shaken {
        Ok(shaken) => shaken,
        Err((reason, why)) => {
            metrics.handshake_failed(reason);
            // A client with the wrong certificate is somebody's machine that has to be mended; strangers are not.
            if reason.is_client_certificate() && shard.may_tell(Instant::now()) {
                let (listener, reason) = (&listener.name, reason.word());
                tracing::warn!(%listener, client = %client.ip(), tls_name, reason, why, "client certificate refused");
            } else {
                tracing::debug!(client = %client.ip(), tls_name, reason = reason.word(), why, "TLS handshake failed");
            }
            let why = Refusal {
                end: "handshake_failed",
                detail: reason.word(),
                tls_name: tls_name.as_deref(),
            };
            shard.tell_refused(door, client, why);
            return None;
        }
    };
    let cx = context(handshake.version, tls_name, certificate);
    // A gRPC client that offers no ALPN speaks HTTP/2 all the same.
    Some(if handshake.h2 || (grpc && !handshake.alpn) {
        Connection::Http2(cx, Carrier::new(stream, Bytes::new()))
    } else {
        Connection::Http1(cx, Rc::new(stream))
    })
}

/// A handshake and what came of it; or why it failed.
async fn shake_hands(
    shard: &Shard,
    metrics: &ListenerMetrics,
    patience: Duration,
    tcp: TcpStream,
    config: Arc<rustls::ServerConfig>,
    hello: &mut Hello,
) -> Result<(Stream, Handshake, Option<Box<Identity>>), (Reason, String)> {
    let slot = shard.timers.slot();
    let shaken = slot.within(
        patience,
        handshake::accept(tcp, config, &shard.scratch, hello),
    );
    let failed = |error: HandshakeError| (refused::reason(&error), error.to_string());
    let (stream, mut handshake) = shaken
        .await
        .map_err(|_| (Reason::Timeout, "it took too long".to_owned()))?
        .map_err(failed)?;
    let shown = handshake.certificate.take();
    let read = shown.map(|shown| identity::read(&shown, unix(SystemTime::now())).map(Box::new));
    let identity = read.transpose();
    let identity = identity.map_err(|unfit| (refused::unfit(unfit), unfit.to_string()))?;
    metrics.handshake(handshake.version, handshake.resumed);
    Ok((stream, handshake, identity))
}

/// Whether every connection has ended and no other comes.
pub fn is_empty(shared: &Shared) -> bool {
    shared.accepting.load(Ordering::SeqCst) == 0 && shared.clients.open_total() == 0
}
