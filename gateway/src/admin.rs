//! What can an operator ask? The operators' listener: health, readiness, metrics, status.
//!
//! Promises: answers from live state, costs the data threads nothing. Does not: change anything yet.

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::http1::head::{Limits, parse_request};
use crate::http1::write;
use crate::message::{BodyKind, Request};
use crate::observe::metrics::Metrics;
use crate::scrape;
use crate::shard::Shared;

/// An operator's connection that says nothing is closed after this long.
const IDLE: Duration = Duration::from_secs(60);
/// Operators' connections at once.
const CONNECTIONS_MAX: usize = 64;

/// What the operators' listener tells of.
pub struct Admin {
    /// What the data threads share.
    pub shared: Arc<Shared>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// When the process began to serve.
    pub since: Instant,
}

/// Serves operators until the process ends, or another takes over.
pub async fn serve(admin: Arc<Admin>, socket: StdListener) -> std::io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = admin.shared.handed_over() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let Ok((tcp, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            // An operator that went away in the middle is no news.
            let _ = connection(&admin, tcp).await;
            drop(place);
        });
    }
}

async fn connection(admin: &Admin, mut tcp: TcpStream) -> std::io::Result<()> {
    let limits = Limits {
        head_bytes: 16 * 1024,
        target_bytes: 4096,
        fields: 100,
    };
    let mut buf = BytesMut::new();
    loop {
        let parsed = loop {
            match parse_request(&mut buf, &limits) {
                Ok(Some(parsed)) => break parsed,
                Ok(None) => {}
                Err(bad) => {
                    return tcp
                        .write_all(&reply(bad.status(), "text/plain", b"bad request\n", false))
                        .await;
                }
            }
            let read = tokio::select! {
                // Who asks is to ask the process that serves.
                () = admin.shared.handed_over() => return Ok(()),
                read = tokio::time::timeout(IDLE, tcp.read_buf(&mut buf)) => read,
            };
            match read {
                Ok(Ok(n)) if n > 0 => {}
                _ => return Ok(()),
            }
        };
        let keep = parsed.keep_alive && parsed.request.body == BodyKind::Empty;
        let (status, kind, body) = answer(admin, &parsed.request);
        let mut out = reply(status, kind, &body, keep);
        if parsed.request.method == Method::HEAD {
            out.truncate(out.len() - body.len());
        }
        // An operator who does not read must not keep the place of another.
        tokio::time::timeout(IDLE, tcp.write_all(&out)).await??;
        if !keep {
            return tcp.shutdown().await;
        }
    }
}

fn reply(status: u16, kind: &str, body: &[u8], keep: bool) -> BytesMut {
    let mut out = BytesMut::with_capacity(body.len() + 256);
    write::status_line(&mut out, status);
    write::field(&mut out, b"content-type", kind.as_bytes());
    write::number_field(&mut out, b"content-length", body.len() as u64);
    write::field(&mut out, b"cache-control", b"no-store");
    if !keep {
        write::field(&mut out, b"connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

type Answer = (u16, &'static str, Vec<u8>);

fn answer(admin: &Admin, request: &Request) -> Answer {
    if request.method != Method::GET && request.method != Method::HEAD {
        return (
            405,
            "text/plain",
            b"only GET and HEAD are answered here\n".to_vec(),
        );
    }
    let path = request.target.split(|c| *c == b'?').next().unwrap_or(b"");
    match path {
        b"/healthz" => (200, "text/plain", b"alive\n".to_vec()),
        b"/readyz" if admin.shared.is_draining() => (503, "text/plain", b"draining\n".to_vec()),
        b"/readyz" => (200, "text/plain", b"ready\n".to_vec()),
        b"/metrics" => (
            200,
            "text/plain; version=0.0.4",
            scrape::text(&admin.shared, &admin.metrics),
        ),
        b"/status" => (
            200,
            "application/json",
            status(admin).to_string().into_bytes(),
        ),
        _ => (
            404,
            "text/plain",
            b"try /healthz, /readyz, /metrics or /status\n".to_vec(),
        ),
    }
}

fn status(admin: &Admin) -> Value {
    let plan = admin.shared.plan.load();
    let listeners: Vec<_> = plan
        .config
        .listeners
        .iter()
        .enumerate()
        .filter(|(id, listener)| !listener.bind.is_empty() || admin.shared.clients.open(*id) > 0)
        .map(|(id, listener)| {
            let connections = admin.shared.clients.open(id);
            json!({ "name": listener.name, "addresses": admin.shared.listening(id), "connections": connections })
        })
        .collect();
    let now = Instant::now();
    let pools: Vec<_> = plan
        .pools
        .iter()
        .map(|pool| {
            let workers: Vec<_> = pool
                .snapshot()
                .into_iter()
                .filter(|worker| worker.state != crate::pool::State::Absent)
                .map(|worker| {
                    json!({
                        "address": worker.addr,
                        "state": worker.state.as_str(),
                        "reason": worker.reason,
                        "seconds": now.saturating_duration_since(worker.since).as_secs(),
                        "requests": worker.requests,
                        "streams": worker.streams,
                    })
                })
                .collect();
            let (held, queued) = pool.waiting();
            json!({
                "name": pool.name(),
                "slots": pool.workers().len(),
                "live": pool.live(),
                "held": held,
                "queued": queued,
                "workers": workers,
            })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": if admin.shared.is_draining() { "draining" } else { "ready" },
        "seconds": admin.since.elapsed().as_secs(),
        "exchanges_in_flight": admin.shared.in_flight.total(),
        "listeners": listeners,
        "pools": pools,
    })
}
