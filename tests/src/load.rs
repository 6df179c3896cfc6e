//! What do clients do while something else is tested? They ask all the time, in every way, and count what was served.
//!
//! A request without its answer fails the test at [`Load::end`]. Each client rests for a moment between two requests, so
//! that many tests can run side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::eventually::{eventually, for_a_while};
use crate::gateway::Gateway;
use crate::grpc;
use crate::h2_client::{H2, request};
use crate::raw::{Raw, Tls};

const REST: Duration = Duration::from_millis(2);

/// Clients of every kind, on listeners `http`, `https` and `grpc`: `POST /` is answered with 200, calls with OK.
pub struct Load {
    stop: Arc<AtomicBool>,
    served: Vec<(&'static str, Arc<AtomicUsize>)>,
    clients: JoinSet<()>,
}

/// What a client is told, and where it counts.
struct Turns {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
}

impl Turns {
    fn go_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    async fn one_more(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
        for_a_while(REST).await;
    }
}

impl Load {
    /// Begins.
    pub fn on(gateway: &Gateway) -> Load {
        let mut load = Load {
            stop: Arc::default(),
            served: Vec::new(),
            clients: JoinSet::new(),
        };
        let (http, https, grpc) = (
            gateway.port("http"),
            gateway.port("https"),
            gateway.port("grpc"),
        );
        let tls = |alpn: &str| gateway.tls().alpn(&[alpn]);
        let turns = load.client("kept connections");
        load.clients.spawn(on_kept_connections(http, None, turns));
        let (turns, secure) = (load.client("kept TLS connections"), tls("http/1.1"));
        load.clients
            .spawn(on_kept_connections(https, Some(secure), turns));
        let turns = load.client("new connections");
        load.clients.spawn(on_new_connections(http, None, turns));
        let (turns, secure) = (load.client("new TLS connections"), tls("http/1.1"));
        load.clients
            .spawn(on_new_connections(https, Some(secure), turns));
        let turns = load.client("HTTP/2");
        load.clients.spawn(over_http2(https, tls("h2"), turns));
        let turns = load.client("unary calls");
        load.clients.spawn(unary_calls(grpc, tls("h2"), turns));
        load
    }

    fn client(&mut self, kind: &'static str) -> Turns {
        let served = Arc::<AtomicUsize>::default();
        self.served.push((kind, served.clone()));
        Turns {
            stop: self.stop.clone(),
            served,
        }
    }

    /// Waits until each kind was served so many times more.
    pub async fn goes_on(&mut self, more: usize) {
        for (kind, served) in self.served.clone() {
            let wanted = served.load(Ordering::Relaxed) + more;
            let reached = || async { (served.load(Ordering::Relaxed) >= wanted).then_some(()) };
            let what = format!("{kind} are served");
            tokio::select! {
                () = eventually(&what, reached) => {}
                // None ends by itself, so this is a failure, and the reason for it stands in it.
                Some(ended) = self.clients.join_next() => {
                    ended.expect("no request failed");
                }
            }
        }
    }

    /// Ends it; panics where a client failed. Returns how often the kind was served that was served least.
    pub async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.expect("no request failed");
        }
        let served = self
            .served
            .iter()
            .map(|(_, served)| served.load(Ordering::Relaxed));
        served.min().unwrap_or_default()
    }
}

const KEPT: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
const LAST: &str = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";

async fn connect(port: u16, tls: &Option<Tls>) -> Raw {
    match tls {
        Some(tls) => Raw::tls(port, tls).await,
        None => Raw::tcp(port).await,
    }
}

async fn on_kept_connections(port: u16, tls: Option<Tls>, turns: Turns) {
    while turns.go_on() {
        let (mut client, mut kept) = (connect(port, &tls).await, 0);
        while turns.go_on() {
            client.try_send(KEPT).await;
            let reply = client.reply_or_end().await;
            let reply = reply.unwrap_or_else(|| panic!("no answer after {kept} on a connection"));
            assert_eq!(reply.status(), 200);
            kept += 1;
            turns.one_more().await;
            if reply.field("connection") == Some("close") {
                break;
            }
        }
    }
}

async fn on_new_connections(port: u16, tls: Option<Tls>, turns: Turns) {
    while turns.go_on() {
        let mut client = connect(port, &tls).await;
        client.send(LAST).await;
        assert_eq!(client.reply().await.status(), 200);
        turns.one_more().await;
    }
}

async fn over_http2(port: u16, tls: Tls, turns: Turns) {
    while turns.go_on() {
        let stream = tls.connect(port).await.expect("the handshake succeeds");
        let mut client = H2::over(stream).await;
        while turns.go_on() {
            match client.try_fetch(request("POST", "/"), "x").await {
                Ok(reply) => assert_eq!(reply.status, 200),
                Err(error) if is_not_begun(&error) => break,
                Err(error) => panic!("{error:?}"),
            }
            turns.one_more().await;
        }
    }
}

async fn unary_calls(port: u16, tls: Tls, turns: Turns) {
    while turns.go_on() {
        let stream = tls.connect(port).await.expect("the handshake succeeds");
        let mut client = H2::over(stream).await;
        while turns.go_on() {
            let asked = grpc::frame("x");
            match client
                .try_fetch(grpc::call("/a/Unary"), asked.clone())
                .await
            {
                Ok(reply) => {
                    assert_eq!(
                        (reply.status.as_u16(), reply.grpc_status()),
                        (200, Some("0"))
                    );
                    assert_eq!(reply.body, asked);
                }
                Err(error) if is_not_begun(&error) => break,
                Err(error) => panic!("{error:?}"),
            }
            turns.one_more().await;
        }
    }
}

/// The gateway has said that it did not begin with this one (RFC 9113 section 6.8).
fn is_not_begun(error: &h2::Error) -> bool {
    error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
}
