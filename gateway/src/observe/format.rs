//! How is a line written? The formats of the access log.
//!
//! Promises: whatever a client sends, a line is one line and a quoted text ends where it should. Does not: know what is
//! worth a line, or where lines go.

mod json;

use std::io::Write as _;

use super::record::Record;

/// A format of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A JSON object per line.
    #[default]
    Json,
    /// HAProxy's HTTP log format.
    Haproxy,
    /// NCSA's combined log format.
    Combined,
}

impl Format {
    /// Writes a line without its end.
    pub fn write(self, out: &mut Vec<u8>, record: &Record<'_>) {
        match self {
            Format::Json => json::write(out, record),
            Format::Haproxy => haproxy(out, record),
            Format::Combined => combined(out, record),
        }
    }
}

/// `client:port [date] frontend backend/server TR/Tw/Tc/Tr/Ta status bytes - - state counts queues "request"`.
///
/// What has no equal here: the request's head is not timed (TR is 0), bytes are those of the body, workers have no queue
/// of their own (`srv_queue` is 0).
fn haproxy(out: &mut Vec<u8>, record: &Record<'_>) {
    let secure = if record.tls.is_empty() { "" } else { "~" };
    let backend = if record.pool.is_empty() {
        record.listener
    } else {
        record.pool
    };
    let _ = write!(out, "{}:{} [", record.client, record.client_port);
    out.extend_from_slice(&record.time.haproxy());
    let _ = write!(out, "] {}{secure} {backend}/", record.listener);
    let _ = match record.worker {
        Some(worker) => write!(out, "{worker}"),
        None => write!(out, "<NOSRV>"),
    };
    let (wait, connect) = (record.wait_ms, record.connect_ms);
    let known = record.worker.is_some();
    let connected = known && record.end != "connect";
    let _ = write!(
        out,
        " 0/{}/{}/{}/{} ",
        ms((known || wait > 0.0).then_some(wait)),
        ms(connected.then_some(connect)),
        ms(record.first_byte_ms.map(|at| at - wait - connect)),
        ms(Some(record.duration_ms)),
    );
    let _ = match record.status {
        0 => write!(out, "-1"),
        status => write!(out, "{status}"),
    };
    let counts = &record.counts;
    let _ = write!(
        out,
        " {} - - {}-- {}/{}/{}/{}/{}{} 0/{} \"",
        record.bytes_out,
        termination(record),
        counts.process,
        counts.listener,
        counts.pool,
        counts.worker,
        // As HAProxy marks a request that was sent on to another server.
        if counts.moved { "+" } else { "" },
        record.retries,
        counts.ahead,
    );
    if record.method.is_empty() {
        out.extend_from_slice(b"<BADREQ>");
    } else {
        let hex = b"#";
        quoted(out, record.method, hex);
        out.push(b' ');
        quoted(out, record.path, hex);
        out.push(b' ');
        quoted(out, record.protocol, hex);
    }
    out.push(b'"');
}

/// `client - - [date] "request" status bytes "referer" "user agent"`.
fn combined(out: &mut Vec<u8>, record: &Record<'_>) {
    let _ = write!(out, "{} - - [", record.client);
    out.extend_from_slice(&record.time.ncsa());
    out.extend_from_slice(b"] \"");
    let hex = b"\\x";
    if record.method.is_empty() {
        out.push(b'-');
    } else {
        quoted(out, record.method, hex);
        out.push(b' ');
        quoted(out, record.path, hex);
        out.push(b' ');
        quoted(out, record.protocol, hex);
    }
    let _ = write!(out, "\" {} {} \"", record.status, record.bytes_out);
    quoted(out, record.referer.unwrap_or("-"), hex);
    out.extend_from_slice(b"\" \"");
    quoted(out, record.user_agent.unwrap_or("-"), hex);
    out.push(b'"');
}

/// Whole milliseconds; -1 for what did not come to pass.
fn ms(time: Option<f64>) -> i64 {
    time.map_or(-1, |ms| ms.max(0.0) as i64)
}

/// HAProxy's two letters: who ended the session, and what it was about.
fn termination(record: &Record<'_>) -> &'static str {
    // Headless, waiting for a worker, waiting for its answer, or passing the answer on.
    enum At {
        Request,
        Queue,
        Headers,
        Data,
    }
    let at = match record {
        _ if record.method.is_empty() => At::Request,
        _ if record.first_byte_ms.is_some() => At::Data,
        _ if record.worker.is_some() => At::Headers,
        _ => At::Queue,
    };
    match (record.end, at) {
        ("ok", _) => "--",
        ("client_gone", At::Request) => "CR",
        ("client_gone", At::Queue) => "CQ",
        ("client_gone", At::Headers) => "CH",
        ("client_gone", At::Data) => "CD",
        ("client_timeout", At::Request) => "cR",
        ("client_timeout", At::Queue | At::Headers) => "cH",
        ("client_timeout", At::Data) => "cD",
        ("no_worker" | "busy", _) if record.wait_ms > 0.0 => "sQ",
        ("no_worker" | "busy" | "connect", _) => "SC",
        ("worker_lost", At::Data) => "SD",
        ("worker_lost", _) => "SH",
        ("worker_timeout", At::Data) => "sD",
        ("worker_timeout", _) => "sH",
        ("bad_answer", At::Data) => "PD",
        ("bad_answer", _) => "PH",
        ("connections_max" | "connections_per_client_max", _) => "RC",
        // Whatever else: the gateway refused it.
        (_, At::Headers) => "PH",
        (_, At::Data) => "PD",
        (_, At::Request | At::Queue) => "PR",
    }
}

/// Text between quotation marks: what could end it or begin a new line is written as two digits.
fn quoted(out: &mut Vec<u8>, text: &str, escape: &[u8]) {
    for byte in text.bytes() {
        if (0x20..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\' | b'#') {
            out.push(byte);
        } else {
            out.extend_from_slice(escape);
            let _ = write!(out, "{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests;
