//! What is asked of a worker to see whether it is well?
//!
//! Reads `health:`.

use super::tokens::{token, visible};
use crate::config::model::{Check, Health};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader, Zero};
use crate::config::tree::Value;

/// `off`, a word, or a map with the kind of check.
pub(super) fn health(field: &Field<'_>, reader: &mut Reader) -> Option<Option<Health>> {
    if matches!(&field.node.value, Value::Text(_)) {
        let words = [
            ("off", None),
            ("tcp", Some(Health::new(Check::Tcp))),
            ("http", Some(Health::new(http_check()))),
            (
                "grpc",
                Some(Health::new(Check::Grpc {
                    service: String::new(),
                })),
            ),
        ];
        return reader.word(field, &words);
    }
    let mut keys = reader.keys(
        field,
        "`tcp`, `{ http: /path }`, `{ grpc: service }` or `off`",
    )?;
    let tcp = keys.take("tcp");
    let http = keys.take("http");
    let grpc = keys.take("grpc");
    let check = match (tcp, http, grpc) {
        (Some(tcp), None, None) => reader
            .word(&tcp, &[("true", ()), ("on", ())])
            .map(|()| Check::Tcp),
        (None, Some(path), None) => {
            let (mut method, mut host, mut expect) = ("GET".to_owned(), None, (200, 399));
            keys.set(reader, "method", &mut method, |r, f| {
                token(f, r).map(str::to_ascii_uppercase)
            });
            keys.set(reader, "host", &mut host, |r, f| visible(f, r).map(Some));
            keys.set(reader, "expect", &mut expect, |r, f| statuses(f, r));
            target(&path, reader).map(|path| Check::Http {
                method,
                path,
                host,
                expect,
            })
        }
        (None, None, Some(service)) => {
            reader
                .text(&service, "the name of a service")
                .map(|name| Check::Grpc {
                    service: name.to_owned(),
                })
        }
        _ => {
            reader.error(
                field.key,
                format!("`{}` needs one of `http`, `grpc` and `tcp`", field.path),
                "write `health: { http: /ping }`",
            );
            None
        }
    };
    let mut health = Health::new(check.clone().unwrap_or(Check::Tcp));
    keys.set(reader, "interval", &mut health.interval, |r, f| {
        r.duration(f, Zero::Senseless)
    });
    keys.set(
        reader,
        "interval_failing",
        &mut health.interval_failing,
        |r, f| r.duration(f, Zero::Senseless),
    );
    keys.set(reader, "timeout", &mut health.timeout, |r, f| {
        r.duration(f, Zero::Senseless)
    });
    keys.set(reader, "rise", &mut health.rise, |r, f| {
        r.number(f, 1..=1_000)
    });
    keys.set(reader, "fall", &mut health.fall, |r, f| {
        r.number(f, 1..=1_000)
    });
    keys.done(reader);
    check.map(|_| Some(health))
}

fn http_check() -> Check {
    Check::Http {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        expect: (200, 399),
    }
}

/// A request target: visible ASCII that begins with a slash.
fn target(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let text = visible(field, reader)?;
    if text.starts_with('/') && !text.contains('#') {
        return Some(text);
    }
    reader.error(
        field.node.place,
        format!("`{}`: {} is not a path", field.path, quoted(&text)),
        "it begins with `/`",
    );
    None
}

fn statuses(field: &Field<'_>, reader: &mut Reader) -> Option<(u16, u16)> {
    let text = reader.text(field, "statuses such as `200-399`")?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| {
        text.trim()
            .parse::<u16>()
            .ok()
            .filter(|status| (100..=599).contains(status))
    };
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Some((first, last)),
        _ => {
            reader.error(
                field.node.place,
                format!(
                    "`{}`: {} is not a range of statuses",
                    field.path,
                    quoted(text)
                ),
                "write `200` or `200-399`",
            );
            None
        }
    }
}
