//! Who does the work?
//!
//! Reads `pools:`: hosts, port ranges and how they are used. Whether ranges overlap is asked in
//! `ports`.

use std::collections::HashSet;

use super::balance::read_balance;
use super::check_name;
use super::health::health;
use super::patience::{outlier, retry, waiting};
use super::secure::worker_tls;
use super::standby;
use super::sticky::sticky;
use crate::config::model::{
    Backup, Discovery, Hold, Host, Place, Pool, PortRange, ProxyVersion, Queue, WorkerProtocol,
    WorkerTls,
};
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
    /// Who stands in, as written.
    pub wanted: Option<standby::Wanted>,
    /// The same, found.
    pub backup: Option<Backup>,
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
    standby::settle(&mut drafts, reader);
    drafts
}

fn draft(name: &str, field: &Field<'_>, reader: &mut Reader) -> Draft {
    let mut draft = Draft {
        name: name.to_owned(),
        pool: None,
        ports_place: field.key,
        ranges: Vec::new(),
        wanted: None,
        backup: None,
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
        ("http1", (WorkerProtocol::Http1, false)),
        ("h2c", (WorkerProtocol::H2c, false)),
        ("h2", (WorkerProtocol::H2c, true)),
    ];
    let protocol = keys.take("protocol");
    let spoken = protocol
        .as_ref()
        .and_then(|field| reader.word(field, &protocols));
    let needs_tls = spoken.is_some_and(|(_, needs_tls)| needs_tls);
    pool.protocol = spoken.map_or(pool.protocol, |(protocol, _)| protocol);
    keys.set(reader, "tls", &mut pool.tls, |r, f| worker_tls(f, r));
    match (&protocol, &pool.tls) {
        (Some(field), None) if needs_tls => pool.tls = Some(WorkerTls::new(field.node.place)),
        (Some(field), Some(_)) if pool.protocol == WorkerProtocol::H2c && !needs_tls => {
            reader.error(
                field.node.place,
                format!("pool `{name}`: h2c is HTTP/2 without TLS"),
                "write `protocol: h2`, or remove `tls`",
            );
        }
        _ => {}
    }
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
    let versions = [
        ("off", None),
        ("v1", Some(ProxyVersion::V1)),
        ("v2", Some(ProxyVersion::V2)),
    ];
    keys.set(reader, "send_proxy", &mut pool.send_proxy, |r, f| {
        r.word(f, &versions)
    });
    keys.set(reader, "sticky", &mut pool.sticky, |r, f| sticky(f, r));
    keys.set(reader, "backup", &mut draft.wanted, |r, f| {
        standby::backup(f, r).map(Some)
    });
    keys.set(reader, "maintenance", &mut pool.maintenance, |r, f| {
        standby::maintenance(f, r)
    });
    let switch = [("on", true), ("off", false)];
    keys.set(
        reader,
        "abort_on_close",
        &mut pool.abort_on_close,
        |r, f| r.word(f, &switch),
    );
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
