//! Who does the work?
//!
//! Reads `pools:`: hosts, port ranges and how they are used. Whether ranges overlap is asked in
//! `ports`.

use std::collections::HashSet;
use std::time::Duration;

use super::check_name;
use crate::config::model::{
    Balance, Check, Discovery, HashKey, Health, Hold, Host, Outlier, Place, Pool, PortRange, Queue,
    Retry, WorkerProtocol,
};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader, Zero};
use crate::config::tree::Value;
use crate::config::units;

/// Most pools; ids have 16 bits.
const POOLS_MAX: usize = 10_000;
/// Most workers of a pool, hosts times ports.
const WORKERS_MAX: usize = 100_000;

/// A pool with its places; `pool` is `None` after an error.
pub(super) struct Draft {
    pub name: String,
    pub pool: Option<Pool>,
    /// Where the ports stand as a whole.
    pub ports_place: Place,
    /// Each range of ports with its place.
    pub ranges: Vec<(PortRange, Place)>,
}

pub(super) fn read(field: &Field<'_>, reader: &mut Reader) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (key, field) in reader.named(field, "a map of pools by name") {
        if drafts.len() == POOLS_MAX {
            reader.error(
                key.place,
                format!("more than {POOLS_MAX} pools"),
                "a pool may have many hosts and ranges",
            );
            break;
        }
        check_name(reader, "pool", &key.text, key.place);
        drafts.push(draft(&key.text, &field, reader));
    }
    drafts
}

fn draft(name: &str, field: &Field<'_>, reader: &mut Reader) -> Draft {
    let mut draft = Draft {
        name: name.to_owned(),
        pool: None,
        ports_place: field.key,
        ranges: Vec::new(),
    };
    let Some(mut keys) = reader.keys(field, "the keys of a pool") else {
        return draft;
    };
    if let Some(ports) = keys.need(reader, "ports") {
        draft.ports_place = if matches!(&ports.node.value, Value::Text(_)) {
            ports.node.place
        } else {
            ports.key
        };
        draft.ranges = ranges(&ports, reader);
    }
    let mut pool = Pool::new(name, draft.ranges.iter().map(|(range, _)| *range).collect());
    keys.set(reader, "hosts", &mut pool.hosts, |r, f| hosts(f, r));
    let protocols = [
        ("http1", WorkerProtocol::Http1),
        ("h2c", WorkerProtocol::H2c),
    ];
    keys.set(reader, "protocol", &mut pool.protocol, |r, f| {
        r.word(f, &protocols)
    });
    let balance = keys.take("balance");
    let hash = keys.take("hash");
    read_balance(balance.as_ref(), hash.as_ref(), &mut pool.balance, reader);
    let discoveries = [
        ("auto", Discovery::Auto),
        ("probe", Discovery::Probe),
        ("static", Discovery::Static),
    ];
    keys.set(reader, "discovery", &mut pool.discovery, |r, f| {
        r.word(f, &discoveries)
    });
    keys.set(reader, "health", &mut pool.health, |r, f| health(f, r));
    keys.set(reader, "outlier", &mut pool.outlier, |r, f| outlier(f, r));
    keys.set(reader, "hold", &mut pool.hold, |r, f| {
        let Hold { time, requests_max } = Hold::default();
        waiting(f, (time, requests_max), r).map(|(time, requests_max)| Hold { time, requests_max })
    });
    keys.set(reader, "queue", &mut pool.queue, |r, f| {
        let Queue { time, requests_max } = Queue::default();
        waiting(f, (time, requests_max), r).map(|(time, requests_max)| Queue { time, requests_max })
    });
    keys.set(
        reader,
        "worker_in_flight_max",
        &mut pool.worker_in_flight_max,
        |r, f| match &f.node.value {
            Value::Text(text) if text == "off" => Some(None),
            _ => r.number(f, 1..=1_000_000).map(Some),
        },
    );
    keys.set(reader, "slow_start", &mut pool.slow_start, |r, f| {
        r.duration(f, Zero::Allowed)
    });
    keys.set(
        reader,
        "connect_timeout",
        &mut pool.connect_timeout,
        |r, f| r.duration(f, Zero::Senseless),
    );
    keys.set(
        reader,
        "response_timeout",
        &mut pool.response_timeout,
        |r, f| r.duration(f, Zero::Senseless),
    );
    keys.set(reader, "body_timeout", &mut pool.body_timeout, |r, f| {
        r.duration(f, Zero::Senseless)
    });
    keys.set(reader, "idle_timeout", &mut pool.idle_timeout, |r, f| {
        r.duration(f, Zero::Senseless)
    });
    keys.set(reader, "retry", &mut pool.retry, |r, f| retry(f, r));
    keys.set(
        reader,
        "head_bytes_max",
        &mut pool.head_bytes_max,
        |r, f| r.bytes(f, 1_024..=1 << 20),
    );
    keys.set(reader, "streams_max", &mut pool.streams_max, |r, f| {
        r.number(f, 1..=100_000)
    });
    keys.done(reader);
    let workers = pool.hosts.len() * pool.ports.iter().map(PortRange::len).sum::<usize>();
    if workers > WORKERS_MAX {
        let what = format!("pool `{name}` has room for {workers} workers, more than {WORKERS_MAX}");
        reader.error(draft.ports_place, what, "narrow the range of ports");
    }
    draft.pool = Some(pool);
    draft
}

/// `8080-8089`, `50052`, or a list of them.
fn ranges(field: &Field<'_>, reader: &mut Reader) -> Vec<(PortRange, Place)> {
    let items = reader.list(field);
    if items.is_empty() && matches!(&field.node.value, Value::List(_)) {
        reader.error(
            field.key,
            format!("`{}` is empty: the pool has no worker", field.path),
            "write `8080-8089`",
        );
    }
    let mut ranges = Vec::new();
    for item in items {
        let Some(text) = reader.text(&item, "ports such as `8080-8089`") else {
            continue;
        };
        match units::ports(text) {
            Ok(range) => ranges.push((range, item.node.place)),
            Err((what, hint)) => {
                reader.error(item.node.place, format!("`{}`: {what}", item.path), hint)
            }
        }
    }
    ranges
}

/// Addresses, or `{ address: , weight: }`.
fn hosts(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<Host>> {
    let items = reader.list(field);
    if items.is_empty() && matches!(&field.node.value, Value::List(_)) {
        reader.error(
            field.key,
            format!("`{}` is empty: the pool has no worker", field.path),
            "leave it out for 127.0.0.1",
        );
    }
    let mut hosts: Vec<Host> = Vec::new();
    let mut seen = HashSet::new();
    for item in items {
        let Some(host) = host(&item, reader) else {
            continue;
        };
        if seen.insert(host.address) {
            hosts.push(host);
        } else {
            let what = format!(
                "`{}`: {} stands here a second time",
                item.path, host.address
            );
            reader.error(
                item.node.place,
                what,
                "remove one; to give it more work use `weight`",
            );
        }
    }
    Some(hosts)
}

fn host(field: &Field<'_>, reader: &mut Reader) -> Option<Host> {
    let mut weight = 100;
    if !matches!(&field.node.value, Value::Map(_)) {
        return reader
            .address(field)
            .map(|address| Host { address, weight });
    }
    let mut keys = reader.keys(field, "`{ address: , weight: }`")?;
    let address = keys
        .need(reader, "address")
        .and_then(|field| reader.address(&field));
    keys.set(reader, "weight", &mut weight, |r, f| r.number(f, 1..=1_000));
    keys.done(reader);
    Some(Host {
        address: address?,
        weight,
    })
}

fn read_balance(
    balance: Option<&Field<'_>>,
    hash: Option<&Field<'_>>,
    slot: &mut Balance,
    reader: &mut Reader,
) {
    let words = [
        ("least-loaded", Some(Balance::LeastLoaded)),
        ("round-robin", Some(Balance::RoundRobin)),
        ("least-connections", Some(Balance::LeastConnections)),
        ("hash", None),
    ];
    let word = balance.map_or(Some(Some(Balance::LeastLoaded)), |field| {
        reader.word(field, &words)
    });
    match (word, hash) {
        (Some(None), None) => {
            let place = balance.map_or(Place::default(), |field| field.node.place);
            reader.error(
                place,
                "balancing by hash needs a key",
                "add `hash: address`, `hash: { header: NAME }` or `hash: { cookie: NAME }`",
            );
        }
        (Some(None), Some(field)) => {
            if let Some(key) = hash_key(field, reader) {
                *slot = Balance::Hash(key);
            }
        }
        (Some(Some(_)), Some(field)) => {
            reader.error(
                field.key,
                format!("`{}` has no effect without `balance: hash`", field.path),
                "add `balance: hash` or remove the key",
            );
        }
        (Some(Some(balance)), None) => *slot = balance,
        (None, _) => {}
    }
}

fn hash_key(field: &Field<'_>, reader: &mut Reader) -> Option<HashKey> {
    if matches!(&field.node.value, Value::Text(_)) {
        return reader.word(field, &[("address", HashKey::Address)]);
    }
    let mut keys = reader.keys(field, "`address`, `{ header: NAME }` or `{ cookie: NAME }`")?;
    let header = keys.take("header");
    let cookie = keys.take("cookie");
    keys.done(reader);
    match (header, cookie) {
        (Some(field), None) => {
            token(&field, reader).map(|name| HashKey::Header(name.to_ascii_lowercase()))
        }
        (None, Some(field)) => token(&field, reader).map(|name| HashKey::Cookie(name.to_owned())),
        _ => {
            reader.error(
                field.key,
                format!("`{}` needs one of `header` and `cookie`", field.path),
                "write `hash: { header: X-Computer-ID }`",
            );
            None
        }
    }
}

/// The name of a field or cookie (RFC 9110 section 5.6.2).
pub(super) fn token<'n>(field: &Field<'n>, reader: &mut Reader) -> Option<&'n str> {
    let text = reader.text(field, "a name")?;
    if is_token(text) {
        return Some(text);
    }
    reader.error(
        field.node.place,
        format!("`{}`: {} is not a name", field.path, quoted(text)),
        "letters, digits and `-`",
    );
    None
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=256).contains(&text.len()) && text.bytes().all(word)
}

fn health(field: &Field<'_>, reader: &mut Reader) -> Option<Option<Health>> {
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

fn visible(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let text = reader.text(field, "a word")?;
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(text.to_owned());
    }
    reader.error(
        field.node.place,
        format!(
            "`{}`: {} cannot stand in a request",
            field.path,
            quoted(text)
        ),
        "visible ASCII without blanks; encode the rest as `%XX`",
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

fn outlier(field: &Field<'_>, reader: &mut Reader) -> Option<Outlier> {
    let mut outlier = Outlier::default();
    if matches!(&field.node.value, Value::Text(text) if text == "off") {
        outlier.consecutive_failures = 0;
        return Some(outlier);
    }
    let mut keys = reader.keys(field, "`off` or the keys of outlier detection")?;
    keys.set(
        reader,
        "consecutive_failures",
        &mut outlier.consecutive_failures,
        |r, f| r.number(f, 0..=10_000),
    );
    keys.set(reader, "rest", &mut outlier.rest, |r, f| {
        r.duration(f, Zero::Senseless)
    });
    let mut rest_max = None;
    keys.set(reader, "rest_max", &mut rest_max, |r, f| {
        r.duration(f, Zero::Senseless)
            .map(|rest| Some((rest, f.node.place)))
    });
    keys.set(
        reader,
        "ejected_share_max",
        &mut outlier.ejected_share_max,
        |r, f| r.percent(f, 0..=100).and_then(|p| u8::try_from(p).ok()),
    );
    keys.done(reader);
    match rest_max {
        Some((longest, place)) if longest < outlier.rest => {
            reader.error(
                place,
                format!("`{}`: `rest_max` is shorter than `rest`", field.path),
                "rests grow from `rest` to `rest_max`",
            );
        }
        Some((longest, _)) => outlier.rest_max = longest,
        None => outlier.rest_max = outlier.rest_max.max(outlier.rest),
    }
    Some(outlier)
}

/// `30s`, `{ time: , requests_max: }` or `off`.
fn waiting(
    field: &Field<'_>,
    default: (Duration, u32),
    reader: &mut Reader,
) -> Option<(Duration, u32)> {
    let (mut time, mut requests_max) = default;
    if matches!(&field.node.value, Value::Text(_)) {
        return reader
            .duration(field, Zero::Allowed)
            .map(|time| (time, requests_max));
    }
    let mut keys = reader.keys(field, "a duration, `{ time: , requests_max: }` or `off`")?;
    keys.set(reader, "time", &mut time, |r, f| {
        r.duration(f, Zero::Allowed)
    });
    keys.set(reader, "requests_max", &mut requests_max, |r, f| {
        r.number(f, 1..=10_000_000)
    });
    keys.done(reader);
    Some((time, requests_max))
}

fn retry(field: &Field<'_>, reader: &mut Reader) -> Option<Retry> {
    let mut retry = Retry::default();
    if matches!(&field.node.value, Value::Text(text) if text == "off") {
        retry.attempts_max = 0;
        return Some(retry);
    }
    let mut keys = reader.keys(field, "`off` or the keys of retries")?;
    keys.set(reader, "attempts_max", &mut retry.attempts_max, |r, f| {
        r.number(f, 0..=100)
    });
    keys.set(
        reader,
        "budget_percent",
        &mut retry.budget_percent,
        |r, f| r.percent(f, 0..=1_000).and_then(|p| u32::try_from(p).ok()),
    );
    keys.set(
        reader,
        "budget_min_per_second",
        &mut retry.budget_min_per_second,
        |r, f| r.number(f, 0..=1_000_000),
    );
    keys.set(
        reader,
        "body_bytes_max",
        &mut retry.body_bytes_max,
        |r, f| r.bytes(f, 0..=64 << 20),
    );
    keys.done(reader);
    Some(retry)
}
