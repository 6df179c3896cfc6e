//! What is remembered of an exchange? The line of the access log.

use std::net::{IpAddr, SocketAddr};

use super::time::Moment;

/// One exchange, as the access log tells it; or a connection that was refused before there was one. Names are stable.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// When it began.
    pub time: Moment,
    /// Name of the listener.
    pub listener: &'a str,
    /// The client's address.
    pub client: IpAddr,
    /// The client's port.
    pub client_port: u16,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`; empty where none was spoken.
    pub protocol: &'a str,
    /// `TLSv1.2` or `TLSv1.3`; absent on plain connections.
    pub tls: &'a str,
    /// The name that the client asked for (SNI), in lower case; absent where it asked for none.
    pub tls_name: Option<&'a str>,
    /// Subject of the client's certificate; absent without one.
    pub client_subject: Option<&'a str>,
    /// SHA-256 of the client's certificate in hexadecimal; absent without one.
    pub client_fingerprint: Option<&'a str>,
    /// Method.
    pub method: &'a str,
    /// `Host` or `:authority`.
    pub host: &'a str,
    /// Path without the query, which may hold secrets.
    pub path: &'a str,
    /// Status the client saw; 0 when it saw none.
    pub status: u16,
    /// Name of the route.
    pub route: &'a str,
    /// Name of the pool.
    pub pool: &'a str,
    /// The worker that answered.
    pub worker: Option<SocketAddr>,
    /// The request's id.
    pub request_id: &'a str,
    /// The trace that it has a part in; absent unless a span of it is sent.
    pub trace_id: Option<&'a str>,
    /// What the client calls itself; absent unless it is asked for.
    pub user_agent: Option<&'a str>,
    /// Where the client says that it comes from, without the query.
    pub referer: Option<&'a str>,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// From the head to the end, milliseconds.
    pub duration_ms: f64,
    /// Waited for a worker, milliseconds: held and queued.
    pub wait_ms: f64,
    /// Of it, because no worker was up.
    pub hold_ms: f64,
    /// Of it, because every worker that was up was at its cap.
    pub queue_ms: f64,
    /// Opened connections to workers, milliseconds.
    pub connect_ms: f64,
    /// From the head to the response's head, milliseconds; absent where there was none.
    pub first_byte_ms: Option<f64>,
    /// Attempts after the first.
    pub retries: u32,
    /// How a gRPC call ended; absent for others.
    pub grpc_status: Option<u8>,
    /// `ok`, or who ended it and why.
    pub end: &'a str,
    /// More about the end; absent where the word says it all.
    pub detail: &'a str,
    /// Lines about refusals that were left out before this one, because there were too many; absent where there were none.
    pub left_out: u64,
    /// What else went on; read only where the format tells of it.
    pub counts: Counts,
}

/// What went on besides, as the line was written; the exchange itself is not counted in `pool` and `worker`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Open client connections of the process.
    pub process: u64,
    /// Of the listener.
    pub listener: u64,
    /// Exchanges at workers of the pool, and requests that wait for one.
    pub pool: u64,
    /// Exchanges at the worker.
    pub worker: u64,
    /// Requests of the pool that waited already when this one began to.
    pub ahead: u32,
    /// Another worker was tried after the first.
    pub moved: bool,
}

impl<'a> Record<'a> {
    /// Of a client on a listener; nothing is known of it yet.
    pub fn new(time: Moment, listener: &'a str, client: SocketAddr) -> Record<'a> {
        Record {
            time,
            listener,
            client: client.ip().to_canonical(),
            client_port: client.port(),
            protocol: "",
            tls: "",
            tls_name: None,
            client_subject: None,
            client_fingerprint: None,
            method: "",
            host: "",
            path: "",
            status: 0,
            route: "",
            pool: "",
            worker: None,
            request_id: "",
            trace_id: None,
            user_agent: None,
            referer: None,
            bytes_in: 0,
            bytes_out: 0,
            duration_ms: 0.0,
            wait_ms: 0.0,
            hold_ms: 0.0,
            queue_ms: 0.0,
            connect_ms: 0.0,
            first_byte_ms: None,
            retries: 0,
            grpc_status: None,
            end: "ok",
            detail: "",
            left_out: 0,
            counts: Counts::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::format::Format;

    const PAGE: &str = include_str!("../../../docs/access-log.md");

    #[test]
    fn the_documentation_tells_of_every_field_in_order() {
        let client = SocketAddr::from(([127, 0, 0, 1], 1));
        let whole = Record {
            tls: "x",
            tls_name: Some("x"),
            client_subject: Some("x"),
            client_fingerprint: Some("x"),
            detail: "x",
            worker: Some(client),
            trace_id: Some("x"),
            user_agent: Some("x"),
            first_byte_ms: Some(1.0),
            grpc_status: Some(0),
            left_out: 1,
            ..Record::new(Moment(0), "x", client)
        };
        let mut text = Vec::new();
        Format::Json.write(&mut text, &whole);
        let text = String::from_utf8(text).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        // The order of the line, which a map of the library does not keep.
        let mut fields: Vec<_> = line.as_object().unwrap().keys().collect();
        fields.sort_by_key(|field| text.find(&format!("\"{field}\":")));
        let (_, table) = PAGE.split_once("<!-- fields -->\n").unwrap();
        let table = table.split("\n\n").next().unwrap();
        let told: Vec<_> = table
            .lines()
            .skip(2)
            .filter_map(|row| row.split('`').nth(1))
            .collect();
        assert_eq!(told, fields);
    }

    #[test]
    fn the_documentation_tells_of_every_end() {
        // The words stand in the tables of failures and where connections are refused.
        let failures = include_str!("../exchange/failure.rs");
        let (_, words) = failures.split_once("pub fn word").unwrap();
        let words = words.split("\n    }\n").next().unwrap();
        let accept = include_str!("../listener/accept.rs");
        let refused = accept.split('"').skip(1).step_by(2).filter(|word| {
            [
                "handshake_",
                "connection_",
                "connections_",
                "proxy_protocol",
            ]
            .iter()
            .any(|begin| word.starts_with(begin))
        });
        let all: Vec<_> = words.split('"').skip(1).step_by(2).chain(refused).collect();
        assert!(all.len() > 25, "{all:?}");
        let (_, table) = PAGE.split_once("### The words of `end`").unwrap();
        let table = table.split("## `format").next().unwrap();
        for word in all {
            assert!(table.contains(&format!("`{word}`")), "`{word}`");
        }
    }
}
