//! How does the journal hear of it? The native protocol of systemd-journald: fields in a datagram.
//!
//! Promises: one entry per line of the log, with the fields of the exchange to search by. Does not: pass file descriptors
//! for entries that are longer than a datagram; those are lost and counted.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::access_log::Destination;
use super::format::Format;
use super::record::Record;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// A journal that does not take an entry for so long loses it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes an entry as fields, with an empty line behind it.
pub fn write(out: &mut Vec<u8>, format: Format, record: &Record<'_>) {
    out.extend_from_slice(b"MESSAGE=");
    let begin = out.len();
    format.write(out, record);
    one_line(&mut out[begin..]);
    out.push(b'\n');
    let bad = record.status >= 500 || record.end != "ok";
    field(out, "PRIORITY", if bad { 4 } else { 6 });
    field(out, "SYSLOG_IDENTIFIER", "portcullis");
    field(out, "PORTCULLIS_LISTENER", record.listener);
    field(out, "PORTCULLIS_CLIENT", record.client);
    if let Some(name) = record.tls_name {
        field(out, "PORTCULLIS_TLS_NAME", name);
    }
    field(out, "PORTCULLIS_METHOD", record.method);
    field(out, "PORTCULLIS_HOST", record.host);
    field(out, "PORTCULLIS_PATH", record.path);
    field(out, "PORTCULLIS_STATUS", record.status);
    field(out, "PORTCULLIS_ROUTE", record.route);
    field(out, "PORTCULLIS_POOL", record.pool);
    if let Some(worker) = record.worker {
        field(out, "PORTCULLIS_WORKER", worker);
    }
    field(out, "PORTCULLIS_REQUEST_ID", record.request_id);
    field(out, "PORTCULLIS_DURATION_MS", record.duration_ms);
    field(out, "PORTCULLIS_END", record.end);
    out.push(b'\n');
}

fn field(out: &mut Vec<u8>, name: &str, value: impl Display) {
    let _ = write!(out, "{name}=");
    let begin = out.len();
    let _ = write!(out, "{value}");
    one_line(&mut out[begin..]);
    out.push(b'\n');
}

/// A field ends with its line.
fn one_line(text: &mut [u8]) {
    for byte in text.iter_mut().filter(|byte| **byte == b'\n') {
        *byte = b' ';
    }
}

/// The journal.
pub struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Journal {
    /// The journal that listens there. It need not listen yet.
    pub fn new(path: PathBuf) -> Journal {
        Journal { path, socket: None }
    }

    fn send(&mut self, entry: &[u8]) -> io::Result<()> {
        if self.socket.is_none() {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.connect(&self.path)?;
            self.socket = Some(socket);
        }
        match &self.socket {
            Some(socket) => socket.send(entry).map(drop),
            None => Ok(()),
        }
    }
}

impl Destination for Journal {
    fn write(&mut self, block: &[u8]) -> u64 {
        let mut lost = 0;
        let mut rest = block;
        while let Some(end) = memchr::memmem::find(rest, b"\n\n") {
            // The last field keeps its end of line.
            let entry = &rest[..=end];
            rest = &rest[end + 2..];
            if self.send(entry).is_err() {
                // It may have been started anew since the last time.
                self.socket = None;
                lost += u64::from(self.send(entry).is_err());
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::super::time::Moment;
    use super::*;

    #[test]
    fn an_entry_has_its_fields_and_ends_with_an_empty_line() {
        let mut out = Vec::new();
        let record = Record {
            method: "GET",
            path: "/a\n\nPRIORITY=0",
            status: 503,
            end: "no_worker",
            tls_name: Some("a.test"),
            ..Record::new(Moment(0), "http", ([10, 0, 0, 1], 7).into())
        };
        write(&mut out, Format::Haproxy, &record);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("MESSAGE=10.0.0.1:7 ["), "{text}");
        for line in [
            "PRIORITY=4",
            "PORTCULLIS_STATUS=503",
            "PORTCULLIS_PATH=/a  PRIORITY=0",
            "PORTCULLIS_END=no_worker",
            "PORTCULLIS_TLS_NAME=a.test",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
        }
        assert_eq!(text.find("\n\n"), Some(text.len() - 2), "{text}");
    }
}
