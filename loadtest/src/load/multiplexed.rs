//! How are many requests on one connection asked and answered? HTTP/2 and gRPC by the `h2` crate: any mix of requests, any
//! bodies, in a closed loop or at a fixed rate.
//!
//! Streams beyond what the target allows on a connection wait, and at a fixed rate that wait is in their latency.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Method, Uri};
use tokio::sync::Mutex;

use super::Run;
use super::wire::{Choice, Io};
use crate::scenario::{Protocol, Request, Scenario};

const PAUSE: Duration = Duration::from_millis(20);
/// Window of each stream and of each connection: the generator shall not be what is waited for.
const WINDOW: u32 = 16 << 20;
/// Bytes of a body that are handed over at once.
const PIECE: usize = 64 * 1024;

/// Closed loops: so many streams on a connection, each followed by the next.
pub fn closed(run: &Rc<Run>, connections: usize, streams: usize) {
    let asks = asks(&run.scenario);
    for me in 0..connections {
        let connection = Rc::new(Connection::new(me));
        for _ in 0..streams {
            let (run, asks, connection) = (run.clone(), asks.clone(), connection.clone());
            let place = run.connection();
            tokio::task::spawn_local(async move {
                let choice = Choice::of(&run.scenario);
                loop {
                    let began = Instant::now();
                    let ask = &asks[choice.pick(fastrand::f64())];
                    match connection.call(&run, ask).await {
                        Ok(()) => run.count(place, began.elapsed()),
                        Err(error) => {
                            run.fail(error);
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
            });
        }
    }
}

/// A fixed rate: requests go to the connections in turn, and are given up after `deadline`.
pub fn open(run: &Rc<Run>, rate: f64, connections: usize, deadline: Duration) {
    let asks = asks(&run.scenario);
    let all: Vec<_> = (0..connections)
        .map(|me| (Rc::new(Connection::new(me)), run.connection()))
        .collect();
    let run = run.clone();
    tokio::task::spawn_local(async move {
        let choice = Choice::of(&run.scenario);
        let began = Instant::now();
        let mut sent = 0_u64;
        loop {
            let due = (began.elapsed().as_secs_f64() * rate) as u64;
            while sent < due {
                let intended = began + Duration::from_secs_f64(sent as f64 / rate);
                let (connection, place) = all[sent as usize % all.len()].clone();
                let (run, asks) = (run.clone(), asks.clone());
                let kind = choice.pick(fastrand::f64());
                tokio::task::spawn_local(async move {
                    let call = connection.call(&run, &asks[kind]);
                    match tokio::time::timeout_at((intended + deadline).into(), call).await {
                        Ok(Ok(())) => run.count(place, intended.elapsed()),
                        Ok(Err(error)) => run.fail(error),
                        Err(_) => run.fail("deadline"),
                    }
                });
                sent += 1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// A request as it is sent.
struct Ask {
    head: http::Request<()>,
    body: Bytes,
    /// An answer that is an echo of the body.
    grpc: bool,
}

fn asks(scenario: &Scenario) -> Rc<Vec<Ask>> {
    let made = scenario
        .requests
        .iter()
        .map(|request| Ask::of(scenario, request));
    Rc::new(made.collect())
}

impl Ask {
    fn of(scenario: &Scenario, request: &Request) -> Ask {
        let grpc = scenario.protocol == Protocol::Grpc;
        let mut head = http::Request::new(());
        *head.method_mut() = match grpc {
            true => Method::POST,
            false => Method::from_bytes(request.method.as_bytes()).unwrap_or_default(),
        };
        let scheme = if scenario.tls { "https" } else { "http" };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(scenario.host.as_str())
            .path_and_query(request.path.as_str());
        // A scenario is checked for this when it is read.
        *head.uri_mut() = uri.build().unwrap_or_default();
        let mut body = Vec::new();
        let fields = head.headers_mut();
        fields.insert("user-agent", http::HeaderValue::from_static("loadtest/0.1"));
        if grpc {
            fields.insert(
                "content-type",
                http::HeaderValue::from_static("application/grpc"),
            );
            fields.insert("te", http::HeaderValue::from_static("trailers"));
            body.push(0);
            body.extend_from_slice(&(request.body as u32).to_be_bytes());
        } else if request.body > 0 {
            fields.insert("content-length", request.body.into());
        }
        body.resize(body.len() + request.body as usize, b'm');
        Ask {
            head,
            body: body.into(),
            grpc,
        }
    }
}

/// A connection that is opened when it is needed, and again when it has ended.
struct Connection {
    me: usize,
    send: Mutex<Option<SendRequest<Bytes>>>,
}

impl Connection {
    fn new(me: usize) -> Connection {
        Connection {
            me,
            send: Mutex::new(None),
        }
    }

    /// Asks, and reads the whole answer.
    async fn call(&self, run: &Run, ask: &Ask) -> io::Result<()> {
        let send = self.sender(run).await?;
        match exchange(run, send, ask).await {
            Ok(answer) => answer.check(ask).map_err(io::Error::other),
            Err(error) => {
                // A stream that fails alone leaves the connection as it is.
                if error.is_io() || error.is_go_away() {
                    *self.send.lock().await = None;
                }
                Err(io::Error::other(error))
            }
        }
    }

    async fn sender(&self, run: &Run) -> io::Result<SendRequest<Bytes>> {
        let mut held = self.send.lock().await;
        if let Some(send) = &*held {
            return Ok(send.clone());
        }
        let io = Io::connect(run, self.me).await?;
        let (send, driver) = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .enable_push(false)
            .handshake::<_, Bytes>(io)
            .await
            .map_err(io::Error::other)?;
        tokio::task::spawn_local(async move {
            // How it ended is told to each stream.
            let _ = driver.await;
        });
        Ok(held.insert(send).clone())
    }
}

struct Answer {
    status: u16,
    bytes: u64,
    /// `grpc-status` of the trailers, or of the head where there are none.
    grpc_status: Option<Vec<u8>>,
}

impl Answer {
    fn check(&self, ask: &Ask) -> Result<(), String> {
        let whole = !ask.grpc || self.bytes == ask.body.len() as u64;
        let well = !ask.grpc || self.grpc_status.as_deref() == Some(b"0");
        if (200..300).contains(&self.status) && whole && well {
            return Ok(());
        }
        let call = self.grpc_status.as_deref().map(String::from_utf8_lossy);
        let call = call.map_or_else(String::new, |status| format!(", grpc-status {status}"));
        Err(format!(
            "status {} with {} bytes{call}",
            self.status, self.bytes
        ))
    }
}

async fn exchange(run: &Run, send: SendRequest<Bytes>, ask: &Ask) -> Result<Answer, h2::Error> {
    // Waits where the target allows no more streams.
    let mut send = send.ready().await?;
    let ends = ask.body.is_empty();
    let (response, stream) = send.send_request(ask.head.clone(), ends)?;
    let receiving = async {
        let response = response.await?;
        let status = response.status().as_u16();
        let grpc_status = |fields: &http::HeaderMap| {
            fields
                .get("grpc-status")
                .map(|status| status.as_bytes().to_vec())
        };
        let early = grpc_status(response.headers());
        let mut body = response.into_body();
        let bytes = drain(run, &mut body).await?;
        let trailers = body.trailers().await?;
        Ok(Answer {
            status,
            bytes,
            grpc_status: trailers.as_ref().and_then(grpc_status).or(early),
        })
    };
    if ends {
        return receiving.await;
    }
    // A target may answer before it has read everything, and stop reading.
    let (sent, answer) = tokio::join!(push(run, stream, ask.body.clone()), receiving);
    if answer.is_err() {
        sent?;
    }
    answer
}

async fn push(run: &Run, mut stream: SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len().min(PIECE));
        let Some(room) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Ok(());
        };
        let piece = body.split_to(room?.min(body.len()));
        run.moved(piece.len() as u64);
        stream.send_data(piece, body.is_empty())?;
    }
    Ok(())
}

async fn drain(run: &Run, body: &mut RecvStream) -> Result<u64, h2::Error> {
    let mut bytes = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        bytes += data.len() as u64;
        run.moved(data.len() as u64);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Load;

    fn ask(protocol: Protocol, request: Request) -> Ask {
        let load = Load::Closed {
            connections: 1,
            streams: 1,
        };
        let scenario = Scenario::new(([127, 0, 0, 1], 1).into(), protocol, load);
        Ask::of(&scenario, &request)
    }

    fn answer(status: u16, bytes: u64, grpc_status: Option<&[u8]>) -> Answer {
        Answer {
            status,
            bytes,
            grpc_status: grpc_status.map(<[u8]>::to_vec),
        }
    }

    #[test]
    fn a_request_says_where_it_goes_and_how_long_it_is() {
        let ask = ask(Protocol::Http2, Request::post("/x?y=1", 30_000));
        assert_eq!(ask.head.uri().to_string(), "http://bench.example/x?y=1");
        assert_eq!(ask.head.headers()["content-length"], "30000");
        assert_eq!(ask.body.len(), 30_000);
    }

    #[test]
    fn a_call_is_answered_by_its_echo_and_its_status() {
        let ask = ask(Protocol::Grpc, Request::get("/a.B/C"));
        assert_eq!((ask.head.method(), ask.body.len()), (&Method::POST, 5));
        assert!(answer(200, 5, Some(b"0")).check(&ask).is_ok());
        for bad in [
            answer(200, 0, Some(b"0")),
            answer(200, 5, Some(b"14")),
            answer(200, 5, None),
            answer(503, 5, Some(b"0")),
        ] {
            assert!(bad.check(&ask).is_err());
        }
    }
}
