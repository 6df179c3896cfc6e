//! Who stands behind the gateway? A fake worker whose every byte is scripted.
//!
//! A [`Worker`] is a listener on 127.0.0.1 and a [`Script`], which is handed each connection. What
//! came is kept: whole requests, connections, raw bytes. `kill` and drop close everything at once.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::eventually::{eventually, within};
use crate::message::Message;
use crate::wire::Wire;

/// What a script returns: the end of a connection.
pub type Served = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// What a worker does with a connection.
pub type Script = Arc<dyn Fn(Conn) -> Served + Send + Sync>;

/// Makes a script of an async closure.
pub fn by_hand<Serve, Done>(serve: Serve) -> Script
where
    Serve: Fn(Conn) -> Done + Send + Sync + 'static,
    Done: Future<Output = io::Result<()>> + Send + 'static,
{
    Arc::new(move |conn| Box::pin(serve(conn)))
}

/// A connection from the gateway, as a script sees it.
pub struct Conn {
    /// The bytes.
    pub wire: Wire,
    /// How many connections came before this one.
    pub number: usize,
    /// Where a script writes down what it was asked.
    pub seen: Seen,
}

impl Conn {
    /// The next request with its body, written down; `None` at the end of the connection.
    pub async fn request(&mut self) -> io::Result<Option<Message>> {
        let request = self.wire.request().await?;
        if let Some(request) = &request {
            self.seen.note(request.clone());
        }
        Ok(request)
    }
}

/// What a worker has seen.
#[derive(Clone, Default)]
pub struct Seen {
    requests: Arc<Mutex<Vec<Message>>>,
    resets: Arc<Mutex<Vec<String>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
}

impl Seen {
    /// Writes a request down.
    pub fn note(&self, request: Message) {
        self.requests
            .lock()
            .expect("nobody panics while holding this lock")
            .push(request);
    }

    /// Writes down that a stream was reset, and why.
    pub fn note_reset(&self, reason: impl ToString) {
        self.resets
            .lock()
            .expect("nobody panics while holding this lock")
            .push(reason.to_string());
    }
}

/// A running fake worker.
pub struct Worker {
    address: SocketAddr,
    seen: Seen,
    task: JoinHandle<()>,
}

impl Worker {
    /// Starts on a port of the kernel's choice.
    pub async fn start(script: Script) -> Worker {
        Worker::start_on(0, script).await
    }

    /// Starts on a given port; a worker that was killed comes back this way.
    pub async fn start_on(port: u16, script: Script) -> Worker {
        Worker::start_at("127.0.0.1", port, script).await
    }

    /// As [`Worker::start_on`], on another address of the loopback network.
    pub async fn start_at(host: &str, port: u16, script: Script) -> Worker {
        let bind = || async { TcpListener::bind((host, port)).await.ok() };
        let listener = eventually(&format!("a worker can listen on {host}:{port}"), bind).await;
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let seen = Seen::default();
        let task = tokio::spawn(accept(listener, script, seen.clone()));
        Worker {
            address,
            seen,
            task,
        }
    }

    /// Starts one on each of `count` consecutive ports; the script is made per worker by its index.
    pub async fn start_range(count: u16, script: impl Fn(u16) -> Script) -> Vec<Worker> {
        let first = crate::ports::free_range(count);
        let mut workers = Vec::new();
        for index in 0..count {
            workers.push(Worker::start_on(first + index, script(index)).await);
        }
        workers
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Requests seen so far, in order of arrival.
    pub fn requests(&self) -> Vec<Message> {
        self.seen
            .requests
            .lock()
            .expect("nobody panics while holding this lock")
            .clone()
    }

    /// How many requests were seen.
    pub fn count(&self) -> usize {
        self.seen
            .requests
            .lock()
            .expect("nobody panics while holding this lock")
            .len()
    }

    /// Why streams were reset by the gateway, as the scripts wrote it down.
    pub fn resets(&self) -> Vec<String> {
        self.seen
            .resets
            .lock()
            .expect("nobody panics while holding this lock")
            .clone()
    }

    /// Every byte that came, all connections together.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen
            .bytes
            .lock()
            .expect("nobody panics while holding this lock")
            .clone()
    }

    /// Connections that came, with or without a request.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many requests were seen.
    pub async fn until_seen(&self, count: usize) {
        let enough = || async { (self.count() >= count).then_some(()) };
        eventually(&format!("the worker has seen {count} requests"), enough).await;
    }

    /// Ends listener and connections, as `kill -9` does; returns when the port is closed. A process that another test
    /// starts just then has copies of our sockets until it runs its own program: they live on for so long.
    pub async fn kill(mut self) -> u16 {
        self.task.abort();
        let _ = within("a worker dies", &mut self.task).await;
        let address = self.address;
        let refused = || async { TcpStream::connect(address).await.is_err().then_some(()) };
        eventually("nobody listens there any more", refused).await;
        address.port()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The connections live in a set owned by this task: when it is aborted, they go with it.
async fn accept(listener: TcpListener, script: Script, seen: Seen) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(script(meet(stream, &seen))); }
                Err(_) => return,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn meet(stream: TcpStream, seen: &Seen) -> Conn {
    // A worker that answers in two writes must not wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let number = seen.connections.fetch_add(1, Ordering::SeqCst);
    Conn {
        wire: Wire::new(stream).tapped(seen.bytes.clone()),
        number,
        seen: seen.clone(),
    }
}

/// Something a script waits for until the test opens it.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed one.
    pub fn new() -> Gate {
        Gate(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everyone through, now and later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Returns once it is open.
    pub async fn passed(&self) {
        let mut state = self.0.subscribe();
        let _ = state.wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Gate::new()
    }
}
