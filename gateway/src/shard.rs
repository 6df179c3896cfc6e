//! What does a data thread own? Everything that its connections share without locks, and the way to what all threads
//! share.

mod farewell;
pub mod streams;
pub mod tally;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

pub use farewell::{Farewell, StreamKind};

use crate::config::model::ListenerId;
use crate::io::Scratch;
use crate::io::timer::{REST, TICK, Timers};
use crate::limit::ceiling::Ceiling;
use crate::limit::memory::{Budget, Share};
use crate::limit::network::counted_as;
use crate::observe::access_log::{AccessLog, Lines};
use crate::observe::record::{Counts, Record};
use crate::observe::time::{Moment, Wall};
use crate::observe::trace::Tracer;
use crate::plan::{LISTENERS_MAX, Plan};
use crate::upstream::Connections;
use streams::{LongStream, Question, Streams};

/// Values of [`Shared::ending`].
const SERVES: u8 = 0;
const HANDED_OVER: u8 = 1;
const STOPS: u8 = 2;
const STOPS_HANDED_OVER: u8 = 3;

/// What all data threads share.
pub struct Shared {
    /// The running plan.
    pub plan: ArcSwap<Plan>,
    /// The access log.
    pub log: AccessLog,
    /// Takes spans, where traces are wanted.
    pub tracer: Option<Tracer>,
    /// Bytes of request bodies that may be kept, all data threads together.
    pub buffers: Arc<Budget>,
    /// Whether the memory is used up.
    pub memory: Ceiling,
    /// Open connections and who opened them.
    pub clients: Clients,
    /// Exchanges in flight, tunnels included.
    pub in_flight: InFlight,
    /// Where the listeners really listen, by their places.
    listening: Mutex<Vec<(usize, SocketAddr)>>,
    /// Counts what data threads have to look at: plans, the beginning of a drain, the end.
    generation: watch::Sender<u64>,
    /// What an operator wants to know of the data threads.
    question: watch::Sender<Option<Arc<Question>>>,
    /// Accept loops that run.
    pub accepting: AtomicUsize,
    ending: AtomicU8,
    drain: watch::Sender<u8>,
    /// When long streams have to go.
    farewell: Mutex<Farewell>,
    /// Streams that have asked.
    leaving: AtomicU32,
    /// The data threads shall hand over what they still hold.
    closing: AtomicBool,
    shards: AtomicUsize,
    shards_closed: AtomicUsize,
}

impl Shared {
    /// With no connection yet.
    pub fn new(plan: Arc<Plan>, log: AccessLog, tracer: Option<Tracer>) -> Shared {
        Shared {
            buffers: Arc::new(Budget::new(plan.config.buffers_bytes_max)),
            plan: ArcSwap::new(plan),
            log,
            tracer,
            memory: Ceiling::default(),
            clients: Clients::new(LISTENERS_MAX),
            in_flight: InFlight::new(LISTENERS_MAX),
            listening: Mutex::default(),
            generation: watch::Sender::new(0),
            question: watch::Sender::new(None),
            accepting: AtomicUsize::new(0),
            ending: AtomicU8::new(SERVES),
            drain: watch::Sender::new(SERVES),
            farewell: Mutex::default(),
            leaving: AtomicU32::new(0),
            closing: AtomicBool::new(false),
            shards: AtomicUsize::new(0),
            shards_closed: AtomicUsize::new(0),
        }
    }

    /// Remembers where the listeners really listen.
    pub fn set_listening(&self, addresses: Vec<(usize, SocketAddr)>) {
        *self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Where a listener really listens.
    pub fn listening(&self, listener: usize) -> Vec<SocketAddr> {
        let all = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .filter(|(id, _)| *id == listener)
            .map(|(_, address)| *address)
            .collect()
    }

    /// From now on requests are served by this plan.
    pub fn replace_plan(&self, plan: Arc<Plan>) {
        self.buffers.set_max(plan.config.buffers_bytes_max);
        self.plan.store(plan);
        self.wake_shards();
    }

    /// Asks the data threads for the log lines that they still hold.
    pub fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.wake_shards();
    }

    /// The oldest long streams of all data threads, so many at most. Wakes the data threads, but no connection.
    pub async fn long_streams(&self, limit: usize) -> Vec<LongStream> {
        let threads = self.shards.load(Ordering::SeqCst);
        streams::ask(threads, limit, |question| {
            self.question.send_replace(question);
        })
        .await
    }

    /// Data threads shall close the connections that they keep to workers which an operator took out.
    pub fn workers_changed(&self) {
        self.wake_shards();
    }

    /// Data threads that rest shall look at what changed.
    fn wake_shards(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Whether every data thread has handed over since [`Shared::close`].
    pub fn is_closed(&self) -> bool {
        self.shards_closed.load(Ordering::SeqCst) >= self.shards.load(Ordering::SeqCst)
    }

    /// From now on no new connection is taken, and connections end after what they are doing.
    pub fn start_drain(&self, farewell: Farewell) {
        self.end(
            farewell,
            match self.is_handed_over() {
                true => STOPS_HANDED_OVER,
                false => STOPS,
            },
        );
    }

    /// From now on another process takes the new connections. What is open here has time.
    pub fn hand_over(&self, farewell: Farewell) {
        self.end(farewell, HANDED_OVER);
    }

    fn end(&self, farewell: Farewell, how: u8) {
        *self.farewell.lock().unwrap_or_else(PoisonError::into_inner) = farewell;
        self.ending.store(how, Ordering::SeqCst);
        self.drain.send_replace(how);
        self.wake_shards();
    }

    /// Waits until no new connection is to be taken.
    pub async fn drain_started(&self) {
        self.until(|ending| ending != SERVES).await;
    }

    /// Waits until another process has taken over.
    pub async fn handed_over(&self) {
        self.until(|ending| [HANDED_OVER, STOPS_HANDED_OVER].contains(&ending))
            .await;
    }

    /// Whether another process has taken over, however this one ends.
    pub fn was_handed_over(&self) -> bool {
        [HANDED_OVER, STOPS_HANDED_OVER].contains(&self.ending())
    }

    async fn until(&self, reached: impl Fn(u8) -> bool) {
        // The sender lives as long as `self`: waiting cannot fail.
        let _ = self.drain.subscribe().wait_for(|now| reached(*now)).await;
    }

    /// Whether the gateway is stopping, or another process has taken over.
    pub fn is_draining(&self) -> bool {
        self.ending.load(Ordering::Relaxed) != SERVES
    }

    /// How it ends; zero while it serves. Another value means another [`Shared::leave_after`].
    pub fn ending(&self) -> u8 {
        self.ending.load(Ordering::Relaxed)
    }

    /// How long a stream may still live, never zero; `None` for as long as it likes.
    pub fn leave_after(&self, kind: StreamKind, now: Instant) -> Option<Duration> {
        let farewell = *self.farewell.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = farewell.moment(kind, self.leaving.fetch_add(1, Ordering::Relaxed))?;
        Some(
            moment
                .saturating_duration_since(now)
                .max(Duration::from_nanos(1)),
        )
    }

    /// Whether another process has taken over, so that there is no haste.
    pub fn is_handed_over(&self) -> bool {
        self.ending.load(Ordering::Relaxed) == HANDED_OVER
    }
}

/// Exchanges that have not ended, counted per listener.
pub struct InFlight(Vec<Busy>);

/// Those of a listener.
#[derive(Default)]
struct Busy {
    http1: AtomicU64,
    http2: AtomicU64,
    /// Counted above as well.
    tunnels: AtomicU64,
}

/// What an exchange in flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flight {
    /// A request of HTTP/1.
    Http1,
    /// A stream of HTTP/2.
    Http2,
    /// One of them that has become a tunnel.
    Tunnel,
}

/// One more in flight, until dropped.
pub struct Flying<'a>(&'a AtomicU64);

impl InFlight {
    fn new(listeners: usize) -> InFlight {
        InFlight((0..listeners).map(|_| Busy::default()).collect())
    }

    /// Counts one.
    pub fn begin(&self, on: ListenerId, flight: Flight) -> Flying<'_> {
        // A plan has no more listeners than there are places.
        let busy = &self.0[usize::from(on.0).min(self.0.len() - 1)];
        let count = match flight {
            Flight::Http1 => &busy.http1,
            Flight::Http2 => &busy.http2,
            Flight::Tunnel => &busy.tunnels,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Flying(count)
    }

    /// All exchanges.
    pub fn total(&self) -> u64 {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let all = self.0.iter();
        all.map(|busy| load(&busy.http1) + load(&busy.http2)).sum()
    }

    /// Requests of HTTP/1 of a listener, tunnels included.
    pub fn requests(&self, listener: usize) -> u64 {
        self.0
            .get(listener)
            .map_or(0, |busy| busy.http1.load(Ordering::Relaxed))
    }

    /// Open HTTP/2 streams of a listener.
    pub fn streams(&self, listener: usize) -> u64 {
        self.0
            .get(listener)
            .map_or(0, |busy| busy.http2.load(Ordering::Relaxed))
    }

    /// Open tunnels of a listener.
    pub fn tunnels(&self, listener: usize) -> u64 {
        self.0
            .get(listener)
            .map_or(0, |busy| busy.tunnels.load(Ordering::Relaxed))
    }
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Open connections, counted per listener and per client.
pub struct Clients {
    listeners: Vec<AtomicU32>,
    per_client: Mutex<HashMap<(usize, IpAddr), u32>>,
}

/// Which cap a connection met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The listener's.
    Listener,
    /// The client's.
    Client,
}

/// A connection's place in the counts; given back on drop.
pub struct Admission {
    shared: Arc<Shared>,
    listener: usize,
    /// Counted too, once it is known.
    client: Option<IpAddr>,
}

impl Clients {
    fn new(listeners: usize) -> Clients {
        Clients {
            listeners: (0..listeners).map(|_| AtomicU32::new(0)).collect(),
            per_client: Mutex::new(HashMap::new()),
        }
    }

    /// Open connections of a listener.
    pub fn open(&self, listener: usize) -> u32 {
        self.listeners
            .get(listener)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Open connections of all listeners.
    pub fn open_total(&self) -> u64 {
        self.listeners
            .iter()
            .map(|count| u64::from(count.load(Ordering::Relaxed)))
            .sum()
    }

    fn with_clients<T>(&self, work: impl FnOnce(&mut HashMap<(usize, IpAddr), u32>) -> T) -> T {
        work(
            &mut self
                .per_client
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        )
    }
}

/// Counts a connection, unless the listener's cap is met. Whose it is, [`Admission::count_client`] hears.
pub fn admit(shared: &Arc<Shared>, listener: usize, max: u32) -> Result<Admission, Full> {
    let Some(total) = shared.clients.listeners.get(listener) else {
        return Err(Full::Listener);
    };
    if total.fetch_add(1, Ordering::Relaxed) >= max {
        total.fetch_sub(1, Ordering::Relaxed);
        return Err(Full::Listener);
    }
    Ok(Admission {
        shared: shared.clone(),
        listener,
        client: None,
    })
}

impl Admission {
    /// Counts the client, once, unless its cap is met.
    pub fn count_client(&mut self, client: IpAddr, max: u32) -> Result<(), Full> {
        debug_assert!(self.client.is_none(), "a connection has one client");
        let client = counted_as(client);
        let admitted = self.shared.clients.with_clients(|clients| {
            let count = clients.entry((self.listener, client)).or_insert(0);
            let fits = *count < max;
            if fits {
                *count += 1;
            }
            fits
        });
        if !admitted {
            return Err(Full::Client);
        }
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(total) = self.shared.clients.listeners.get(self.listener) {
            total.fetch_sub(1, Ordering::Relaxed);
        }
        let Some(client) = self.client else {
            return;
        };
        self.shared.clients.with_clients(|clients| {
            if let Some(count) = clients.get_mut(&(self.listener, client)) {
                *count -= 1;
                if *count == 0 {
                    clients.remove(&(self.listener, client));
                }
            }
        });
    }
}

/// Why a connection was closed before there was a request.
#[derive(Clone, Copy, Default)]
pub struct Refusal<'a> {
    /// The word of the access log.
    pub end: &'a str,
    /// More about it.
    pub detail: &'a str,
    /// The name that the client asked for by TLS.
    pub tls_name: Option<&'a str>,
}

impl Refusal<'_> {
    /// The word says it all.
    pub fn of(end: &str) -> Refusal<'_> {
        Refusal {
            end,
            ..Refusal::default()
        }
    }
}

/// A data thread.
pub struct Shard {
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// Deadlines.
    pub timers: Timers,
    /// Buffers lent to connections.
    pub scratch: Rc<Scratch>,
    /// Connections to workers.
    pub upstream: Connections,
    /// Its long streams.
    pub streams: Rc<Streams>,
    /// Lines of the access log.
    pub lines: RefCell<Lines>,
    /// What is shared, for a count of users that no other thread touches.
    pub buffers: Rc<Share>,
    random: RefCell<fastrand::Rng>,
    /// When it last told of a client that it refused.
    told: Cell<Option<Instant>>,
    /// The wall clock at a moment of the steady one: one clock reading an exchange serves both.
    wall: Cell<Wall>,
}

impl Shard {
    /// A data thread's things; `seed` makes its random numbers.
    pub fn new(shared: Arc<Shared>, seed: u64) -> Rc<Shard> {
        let timers = Timers::new(Instant::now());
        shared.shards.fetch_add(1, Ordering::SeqCst);
        let scratch = Scratch::new();
        Rc::new(Shard {
            upstream: Connections::new(timers.clone(), scratch.clone()),
            lines: RefCell::new(Lines::new(shared.log.clone(), Instant::now())),
            scratch,
            streams: Rc::default(),
            buffers: Rc::new(Share(shared.buffers.clone())),
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            told: Cell::new(None),
            wall: Cell::new(Wall::read()),
            timers,
            shared,
        })
    }

    /// Ticks, sweeps and hands over log lines, for ever.
    pub async fn keep_time(self: Rc<Self>) {
        let mut changes = self.shared.generation.subscribe();
        let mut questions = self.shared.question.subscribe();
        let mut closed = false;
        let mut swept = Instant::now();
        let mut wait = TICK;
        loop {
            let changed = tokio::select! {
                () = self.timers.rest(wait) => false,
                // The sender lives as long as `self`.
                _ = changes.changed() => true,
                _ = questions.changed() => {
                    if let Some(question) = &*questions.borrow_and_update() {
                        question.answer(&self.streams);
                    }
                    continue;
                }
            };
            let now = Instant::now();
            let had_lines = self.lines.borrow_mut().hand_over();
            wait = self.timers.tick(now);
            if had_lines {
                wait = TICK;
            }
            self.wall.set(Wall::read());
            if self.shared.closing.load(Ordering::SeqCst) && !closed {
                closed = true;
                self.shared.shards_closed.fetch_add(1, Ordering::SeqCst);
            }
            if now.duration_since(swept) >= REST {
                swept = now;
                self.upstream.sweep(now);
            }
            if changed {
                let plan = self.shared.plan.load();
                let out = plan.pools.iter().flat_map(|pool| pool.taken_out());
                self.upstream.retire(out.collect());
                // Idle connections sit in wait for their deadline: woken, they see that it is time to go.
                self.timers.wake_all();
            }
        }
    }

    /// Tells the access log of a connection that was closed before there was a request, and why.
    pub fn tell_refused(&self, on: ListenerId, client: SocketAddr, why: Refusal<'_>) {
        let mut lines = self.lines.borrow_mut();
        if !lines.wanted() {
            return;
        }
        let now = Instant::now();
        if let Some(left_out) = lines.admits_refusal(now) {
            let plan = self.shared.plan.load();
            let clients = &self.shared.clients;
            lines.add(&Record {
                end: why.end,
                detail: why.detail,
                tls_name: why.tls_name,
                left_out,
                counts: Counts {
                    process: clients.open_total(),
                    listener: clients.open(usize::from(on.0)).into(),
                    ..Counts::default()
                },
                ..Record::new(Moment(self.unix_ms(now)), &plan.listener(on).name, client)
            });
        }
    }

    /// A random number.
    pub fn random(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// Whether the log may be told of another client that was refused: once a second, because strangers can cause it.
    pub fn may_tell(&self, now: Instant) -> bool {
        let told = self.told.get();
        let may = told.is_none_or(|told| now.duration_since(told) >= Duration::from_secs(1));
        if may {
            self.told.set(Some(now));
        }
        may
    }

    /// Milliseconds since 1970 at `at`.
    pub fn unix_ms(&self, at: Instant) -> u64 {
        self.wall.get().tell(at).0
    }
}
