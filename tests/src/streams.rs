//! Which long streams does a gateway carry, and how does a test hold one of each kind?

use bytes::Bytes;
use http::{Method, Request};
use tokio::sync::watch;

use crate::gateway::Gateway;
use crate::grpc;
use crate::h2_client::{Call, H2, request};
use crate::raw::Raw;
use crate::scripts::by_hand;
use crate::websocket::{opening, text_frame};
use crate::worker::Script;

/// Streams on one HTTP/2 connection: as many as the gateway allows at once, and a few less.
const TOGETHER: usize = 100;

/// Who tells something to all that listen: the source of streamed answers.
pub struct Events(watch::Sender<String>);

impl Default for Events {
    fn default() -> Events {
        Events::new()
    }
}

impl Events {
    /// Who comes hears what was told last; here, `first`.
    pub fn new() -> Events {
        Events(watch::Sender::new("first".to_owned()))
    }

    /// Tells this to all. Each hears it when it has heard what was told before.
    pub fn tell(&self, text: &str) {
        self.0.send_replace(text.to_owned());
    }

    /// The worker: an answer without an end, a chunk for each event (server-sent events).
    pub fn script(&self) -> Script {
        let events = self.0.clone();
        by_hand(move |mut conn| {
            let mut events = events.subscribe();
            async move {
                if conn.request().await?.is_none() {
                    return Ok(());
                }
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                            Transfer-Encoding: chunked\r\n\r\n";
                conn.wire.write(head).await?;
                loop {
                    let event = event(&events.borrow_and_update());
                    let length = event.len();
                    conn.wire
                        .write(format!("{length:x}\r\n{event}\r\n"))
                        .await?;
                    tokio::select! {
                        changed = events.changed() => if changed.is_err() { return Ok(()) },
                        _ = conn.wire.some() => return Ok(()),
                    }
                }
            }
        })
    }
}

fn event(text: &str) -> String {
    format!("data: {text}\n\n")
}

/// A kind of long stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A WebSocket that was an upgrade, on listener `http`, path `/ws`.
    Socket,
    /// A WebSocket that is a stream of HTTP/2 (RFC 8441), on listener `https`, path `/ws`.
    SocketOverHttp2,
    /// A call that goes both ways, on listener `grpc`.
    Call,
    /// A streamed answer over HTTP/1.1 with TLS, on listener `https`, path `/events`.
    Events,
    /// A streamed answer over HTTP/2, on listener `https`, path `/events`.
    EventsOverHttp2,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [
        Kind::Socket,
        Kind::SocketOverHttp2,
        Kind::Call,
        Kind::Events,
        Kind::EventsOverHttp2,
    ];

    /// Opens so many, and makes sure that each carries what was told last.
    pub async fn open(self, gateway: &Gateway, events: &Events, count: usize) -> Vec<Stream> {
        let first = events.0.borrow().clone();
        let mut streams = Vec::new();
        let tls = gateway.tls().alpn(&["http/1.1"]);
        let mut shared: Option<H2> = None;
        for n in 0..count {
            if n % TOGETHER == 0 {
                shared = match self {
                    Kind::Call => Some(gateway.h2("grpc").await),
                    Kind::SocketOverHttp2 | Kind::EventsOverHttp2 => {
                        Some(gateway.h2("https").await)
                    }
                    Kind::Socket | Kind::Events => None,
                };
            }
            let end = match (self, &mut shared) {
                (Kind::Socket, _) => {
                    let mut client = gateway.http().await;
                    client.send(opening("/ws")).await;
                    assert_eq!(client.reply().await.status(), 101);
                    End::Http1(client)
                }
                (Kind::Events, _) => {
                    let mut client = Raw::tls(gateway.port("https"), &tls).await;
                    client
                        .send("GET /events HTTP/1.1\r\nHost: edge.test\r\n\r\n")
                        .await;
                    assert_eq!(client.head().await.status(), 200);
                    End::Http1(client)
                }
                (_, None) => unreachable!("such a stream is one of a connection"),
                (_, Some(shared)) => {
                    let asked = match self {
                        Kind::Call => grpc::call("/a/Stream"),
                        Kind::SocketOverHttp2 => {
                            shared.until_extended_connect().await;
                            connect("/ws")
                        }
                        _ => request("GET", "/events"),
                    };
                    let mut call = shared.call(asked, self == Kind::EventsOverHttp2).await;
                    assert_eq!(call.head().await.expect("an answer").status(), 200);
                    End::Http2 {
                        call,
                        _connection: shared.clone(),
                    }
                }
            };
            streams.push(Stream { kind: self, end });
        }
        if self.echoes() {
            for stream in &mut streams {
                stream.say(&first).await;
            }
        }
        for stream in &mut streams {
            stream.hear(&first).await;
        }
        streams
    }

    /// Whether it sends back what it is told; the others hear what [`Events`] tell.
    fn echoes(self) -> bool {
        !matches!(self, Kind::Events | Kind::EventsOverHttp2)
    }
}

/// An extended CONNECT (RFC 8441 section 4).
pub fn connect(path: &str) -> Request<()> {
    let mut request = request("GET", path);
    *request.method_mut() = Method::CONNECT;
    let version = http::HeaderValue::from_static("13");
    request
        .headers_mut()
        .insert("sec-websocket-version", version);
    request
        .extensions_mut()
        .insert(h2::ext::Protocol::from_static("websocket"));
    request
}

/// An open stream.
pub struct Stream {
    kind: Kind,
    end: End,
}

enum End {
    Http1(Raw),
    /// The connection is kept for as long as its stream.
    Http2 {
        call: Call,
        _connection: H2,
    },
}

impl Stream {
    /// What comes back for a text.
    fn bytes(&self, text: &str) -> Bytes {
        match self.kind {
            Kind::Socket | Kind::SocketOverHttp2 => text_frame(text).into(),
            Kind::Call => grpc::frame(text),
            Kind::Events | Kind::EventsOverHttp2 => event(text).into(),
        }
    }

    async fn say(&mut self, text: &str) {
        let bytes = self.bytes(text);
        match &mut self.end {
            End::Http1(client) => client.send(bytes).await,
            End::Http2 { call, .. } => call.send(bytes).await,
        }
    }

    async fn hear(&mut self, text: &str) {
        let bytes = self.bytes(text);
        let heard = match &mut self.end {
            End::Http1(client) if self.kind == Kind::Events => {
                let mut heard = Vec::new();
                while heard.len() < bytes.len() {
                    heard.extend(client.chunk().await.expect("the answer goes on"));
                }
                heard
            }
            End::Http1(client) => client.exact(bytes.len()).await,
            End::Http2 { call, .. } => call.exact(bytes.len()).await,
        };
        assert_eq!(heard, bytes, "{:?}", self.kind);
    }
}

/// Makes sure that all of these carry a text, in both directions where they have two.
pub async fn carry(streams: &mut [Stream], events: &Events, text: &str) {
    events.tell(text);
    for stream in streams.iter_mut().filter(|stream| stream.kind.echoes()) {
        stream.say(text).await;
    }
    for stream in streams {
        stream.hear(text).await;
    }
}
