//! How does a host hold its stream? One HTTP/2 connection of its own with the stream on it, as the published agent has
//! it; statuses are calls beside the stream. When it ends it is opened again, after longer and longer waits.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use super::host::{Heard, Host, Status, frame, unframe};
use super::http::Failure;
use super::told::Told;

const CONNECT: &str = "/landscapehostagentapi.LandscapeHostAgent/Connect";
const STATUS: &str = "/landscapehostagentapi.LandscapeHostAgent/SendCommandStatus";
/// Window of a connection and of each stream, as Go's client has it.
const WINDOW: u32 = 64 << 10;
/// After a stream that lived so long the first wait is short again.
const LONG: Duration = Duration::from_secs(30);
/// The first wait; each failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// After a status that was not answered.
const PAUSE: Duration = Duration::from_millis(500);
/// Addresses of loopback that hosts come from, so that limits per client suffice.
const SOURCES: usize = 8;

/// Where hosts connect, and how they behave there.
pub struct Door {
    pub address: SocketAddr,
    /// The name that is asked for.
    pub name: String,
    /// None: in plain text, straight to a worker.
    pub tls: Option<Arc<ClientConfig>>,
    /// To open a stream, and for each status.
    pub timeout: Duration,
    /// Longest wait before a host connects again.
    pub wait_max: Duration,
    /// Between two changes on a host that no order makes; zero: none.
    pub change: Duration,
    pub told: Rc<RefCell<Told>>,
}

/// A host that may be looked at while it lives.
pub type Shared = Rc<RefCell<Host>>;

type Saying = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// A connection, ended with the value.
struct Connection {
    send: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Counts an open stream for as long as it lives.
struct Counted<'a>(&'a RefCell<Told>);

impl<'a> Counted<'a> {
    fn since(began: Instant, told: &'a RefCell<Told>) -> Counted<'a> {
        let mut now = told.borrow_mut();
        now.ended("stream", began.elapsed(), None);
        now.streams_open += 1;
        Counted(told)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().streams_open -= 1;
    }
}

impl Door {
    /// The life of a host. Ends only where it is refused for good, as the published agent does.
    pub async fn live(self: Rc<Self>, me: usize, host: Shared) {
        let mut wait = FIRST_WAIT;
        loop {
            let began = Instant::now();
            let Err(end) = self.attend(me, &host).await;
            self.told
                .borrow_mut()
                .ended("stream", began.elapsed(), Some(&end));
            // PERMISSION_DENIED and INVALID_ARGUMENT: it rests until its configuration changes.
            if end == "status 7" || end == "status 3" {
                host.borrow_mut()
                    .wrong
                    .push(format!("refused for good: {end}"));
                return;
            }
            if began.elapsed() >= LONG {
                wait = FIRST_WAIT;
            }
            // Not all at once: a worker that ended had many.
            sleep(wait.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
            wait = (wait * 2).min(self.wait_max.max(FIRST_WAIT));
            self.told.borrow_mut().reconnects += 1;
        }
    }

    /// One connection with its stream. Why it ended.
    async fn attend(&self, me: usize, host: &Shared) -> Result<Never, Failure> {
        let began = Instant::now();
        let opened = timeout(self.timeout, self.open(me, host)).await;
        let (connection, mut up, mut down) = opened.map_err(|_| "timeout")??;
        let known = host.borrow().uid.is_some();
        let mut counted = known.then(|| Counted::since(began, &self.told));
        let mut read = Vec::new();
        let mut saying: Option<Saying> = None;
        let mut say_at = Instant::now();
        let mut change_at = Instant::now() + self.change;
        loop {
            let next = host.borrow().unsaid.front().cloned();
            let waits = saying.is_none() && next.is_some();
            if let Some(status) = next
                && waits
                && say_at <= Instant::now()
            {
                say_at = Instant::now();
                saying = Some(Box::pin(self.say(connection.send.clone(), status)?));
                continue;
            }
            tokio::select! {
                piece = down.data() => match piece {
                    Some(Ok(bytes)) => {
                        let _ = down.flow_control().release_capacity(bytes.len());
                        read.extend_from_slice(&bytes);
                        while let Some(command) = unframe(&mut read)? {
                            let heard = host.borrow_mut().obey(command);
                            self.told.borrow_mut().heard(heard);
                            if heard != Heard::Again {
                                tell(&mut up, host)?;
                            }
                            if heard == Heard::Identity && counted.is_none() {
                                counted = Some(Counted::since(began, &self.told));
                            }
                        }
                    }
                    Some(Err(_)) => return Err("cut".to_owned()),
                    None => return Err(ending(down).await),
                },
                done = said(&mut saying) => {
                    saying = None;
                    let failure = done.as_ref().err().map(String::as_str);
                    self.told.borrow_mut().ended("status", say_at.elapsed(), failure);
                    match done {
                        Ok(()) => {
                            host.borrow_mut().said();
                            self.told.borrow_mut().statuses += 1;
                        }
                        Err(_) => say_at = Instant::now() + PAUSE,
                    }
                }
                () = sleep_until(say_at.into()), if waits => {}
                () = sleep_until(change_at.into()), if !self.change.is_zero() => {
                    change_at = Instant::now() + self.change.mul_f64(0.5 + fastrand::f64());
                    host.borrow_mut().change();
                    tell(&mut up, host)?;
                }
            }
        }
    }

    /// Connects, opens the stream and tells of the host.
    async fn open(
        &self,
        me: usize,
        host: &Shared,
    ) -> Result<(Connection, SendStream<Bytes>, RecvStream), Failure> {
        let tcp = self.connect(me).await.map_err(|_| "connect")?;
        let connection = match &self.tls {
            None => speak(tcp).await?,
            Some(config) => {
                let name = ServerName::try_from(self.name.clone()).map_err(|_| "tls")?;
                let tls = TlsConnector::from(config.clone()).connect(name, tcp).await;
                speak(tls.map_err(|_| "tls")?).await?
            }
        };
        let mut send = ready(&connection.send).await?;
        let (answer, mut up) = send
            .send_request(self.request(CONNECT)?, false)
            .map_err(|_| "cut")?;
        tell(&mut up, host)?;
        let down = accepted(answer.await.map_err(|_| "cut")?)?;
        Ok((connection, up, down))
    }

    async fn connect(&self, me: usize) -> io::Result<TcpStream> {
        let tcp = match self.address {
            SocketAddr::V4(address) if address.ip().is_loopback() => {
                let socket = TcpSocket::new_v4()?;
                socket.set_reuseaddr(true)?;
                let source = Ipv4Addr::new(127, 0, 0, 2 + (me % SOURCES) as u8);
                socket.bind(SocketAddr::from((source, 0)))?;
                socket.connect(self.address).await?
            }
            address => TcpStream::connect(address).await?,
        };
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    fn request(&self, path: &str) -> Result<Request<()>, Failure> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(self.name.as_str())
            .path_and_query(path);
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.build().map_err(|_| "name")?;
        let fields = request.headers_mut();
        let agent = HeaderValue::from_static("loadtest/0.1");
        fields.insert("content-type", HeaderValue::from_static("application/grpc"));
        fields.insert("te", HeaderValue::from_static("trailers"));
        fields.insert("user-agent", agent);
        Ok(request)
    }

    /// Says how far an order is, and waits until it is heard.
    fn say(
        &self,
        send: SendRequest<Bytes>,
        status: Status,
    ) -> Result<impl Future<Output = Result<(), Failure>> + use<>, Failure> {
        let (request, patience) = (self.request(STATUS)?, self.timeout);
        let call = async move {
            let mut send = ready(&send).await?;
            let (answer, mut up) = send.send_request(request, false).map_err(|_| "cut")?;
            up.send_data(frame(&status).into(), true)
                .map_err(|_| "cut")?;
            let mut down = accepted(answer.await.map_err(|_| "cut")?)?;
            while let Some(piece) = down.data().await {
                let size = piece.map_err(|_| "cut")?.len();
                let _ = down.flow_control().release_capacity(size);
            }
            match ending(down).await.as_str() {
                "status 0" => Ok(()),
                end => Err(end.to_owned()),
            }
        };
        Ok(async move {
            let done = timeout(patience, call).await;
            done.unwrap_or_else(|_| Err("timeout".to_owned()))
        })
    }
}

/// There is no such value.
enum Never {}

/// Speaks HTTP/2 on a connection.
async fn speak(
    io: impl AsyncRead + AsyncWrite + Unpin + 'static,
) -> Result<Connection, &'static str> {
    let spoken = client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .enable_push(false)
        .handshake(io)
        .await;
    let (send, connection) = spoken.map_err(|_| "cut")?;
    let driver = spawn_local(async move {
        // Its end is seen by the stream on it.
        let _ = connection.await;
    });
    Ok(Connection { send, driver })
}

async fn ready(send: &SendRequest<Bytes>) -> Result<SendRequest<Bytes>, &'static str> {
    send.clone().ready().await.map_err(|_| "cut")
}

/// Tells what the host is now.
fn tell(up: &mut SendStream<Bytes>, host: &Shared) -> Result<(), &'static str> {
    let info = frame(&host.borrow().info());
    up.send_data(info.into(), false).map_err(|_| "cut")
}

/// The body of an answer that is no refusal.
fn accepted(answer: Response<RecvStream>) -> Result<RecvStream, Failure> {
    match answer.status().as_u16() {
        200 => {}
        status => return Err(format!("HTTP {status}")),
    }
    // Whoever refuses at once says so in the head.
    match code(answer.headers()) {
        None => Ok(answer.into_body()),
        Some(code) => Err(format!("status {code}")),
    }
}

/// gRPC's code at the end of an answer whose body was read.
async fn ending(mut down: RecvStream) -> Failure {
    match down.trailers().await {
        Ok(Some(trailers)) => match code(&trailers) {
            Some(code) => format!("status {code}"),
            None => "no status".to_owned(),
        },
        Ok(None) => "no status".to_owned(),
        Err(_) => "cut".to_owned(),
    }
}

fn code(fields: &HeaderMap) -> Option<&str> {
    fields.get("grpc-status")?.to_str().ok()
}

/// The end of what is being said; never where nothing is.
async fn said(saying: &mut Option<Saying>) -> Result<(), Failure> {
    match saying {
        Some(saying) => saying.await,
        None => std::future::pending().await,
    }
}
