//! Where do lines of the access log go, and which?
//!
//! Reads `access_log:`.

use std::net::SocketAddr;

use super::path;
use crate::config::model::{AccessLog, LogFormat, LogServer, LogTo};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

const FACILITIES: [(&str, u8); 12] = [
    ("user", 1),
    ("daemon", 3),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
const FORMATS: [(&str, LogFormat); 3] = [
    ("json", LogFormat::Json),
    ("haproxy", LogFormat::Haproxy),
    ("combined", LogFormat::Combined),
];
const WANTED: &str = "`stdout`, `off`, `syslog`, `journald`, a path, or `{ to: …, format: json }`";

/// `stdout`, `off`, a path, or the keys of a log.
pub(super) fn access_log(field: &Field<'_>, reader: &mut Reader) -> Option<AccessLog> {
    let mut log = AccessLog::default();
    if matches!(&field.node.value, Value::Text(_)) {
        log.to = destination(field, reader, true)?;
        return Some(log);
    }
    let mut keys = reader.keys(field, WANTED)?;
    let to = keys.take("to");
    let file = keys.take("file");
    if let (Some(to), Some(_)) = (&to, &file) {
        reader.error(
            to.key,
            format!("`{}`: there is `file` as well", to.path),
            "name one destination; `file: PATH` is short for `to: PATH`",
        );
    }
    if let Some(to) = to {
        log.to = destination(&to, reader, false)?;
    } else if let Some(file) = file {
        log.to = LogTo::File(path(reader, &file)?);
    }
    keys.set(reader, "format", &mut log.format, |r, f| {
        r.word(f, &FORMATS)
    });
    keys.set(reader, "sample", &mut log.sample, |r, f| share(f, r));
    keys.set(
        reader,
        "refused_per_second",
        &mut log.refused_per_second,
        |r, f| r.number(f, 0..=1_000_000),
    );
    keys.set(reader, "user_agent", &mut log.user_agent, |r, f| {
        r.word(f, &[("off", false), ("on", true)])
    });
    keys.done(reader);
    Some(log)
}

fn destination(field: &Field<'_>, reader: &mut Reader, or_off: bool) -> Option<LogTo> {
    if matches!(&field.node.value, Value::Text(_)) {
        let text = reader.text(field, WANTED)?;
        return match text {
            "off" if or_off => Some(LogTo::Off),
            _ if text.contains('/') => path(reader, field).map(LogTo::File),
            _ => {
                let syslog = LogTo::Syslog(LogServer::Local("/dev/log".into()), 16);
                let mut words = vec![
                    ("stdout", LogTo::Stdout),
                    ("syslog", syslog),
                    ("journald", LogTo::Journald(None)),
                ];
                if or_off {
                    words.push(("off", LogTo::Off));
                }
                reader.word(field, &words)
            }
        };
    }
    let mut keys = reader.keys(field, WANTED)?;
    let syslog = keys.take("syslog");
    let mut facility = 16;
    keys.set(reader, "facility", &mut facility, |r, f| {
        r.word(f, &FACILITIES)
    });
    let journald = keys.take("journald");
    let place = keys.place;
    keys.done(reader);
    match (syslog, journald) {
        (Some(to), None) => server(&to, reader).map(|server| LogTo::Syslog(server, facility)),
        (None, Some(socket)) => path(reader, &socket).map(|path| LogTo::Journald(Some(path))),
        _ => {
            reader.error(
                place,
                format!("`{}`: one of `syslog` and `journald` is needed", field.path),
                "write `to: { syslog: \"udp://192.0.2.1:514\" }`, or `to: journald`",
            );
            None
        }
    }
}

fn server(field: &Field<'_>, reader: &mut Reader) -> Option<LogServer> {
    let text = reader.text(field, "a socket or a server such as `udp://192.0.2.1:514`")?;
    let address = |text: &str| text.parse::<SocketAddr>().ok().filter(|at| at.port() != 0);
    let server = if let Some(rest) = text.strip_prefix("udp://") {
        address(rest).map(LogServer::Udp)
    } else if let Some(rest) = text.strip_prefix("tcp://") {
        address(rest).map(LogServer::Tcp)
    } else if text.starts_with('/') {
        return path(reader, field).map(LogServer::Local);
    } else {
        None
    };
    if server.is_none() {
        reader.error(
            field.node.place,
            format!("`{}`: {} is not a log server", field.path, quoted(text)),
            "write `/dev/log`, `udp://192.0.2.1:514` or `tcp://192.0.2.1:514`; names are not resolved",
        );
    }
    server
}

/// A percentage, also a part of one: parts per million.
pub(super) fn share(field: &Field<'_>, reader: &mut Reader) -> Option<u32> {
    let text = reader.text(field, "a percentage such as `10%`")?;
    let read = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok())
        .filter(|percent| (0.0..=100.0).contains(percent));
    let Some(percent) = read else {
        reader.error(
            field.node.place,
            format!("`{}`: {} is not a percentage", field.path, quoted(text)),
            "write `10%` or `0.1%`, at most `100%`",
        );
        return None;
    };
    Some((percent * 10_000.0).round() as u32)
}
