//! Does every port belong to one owner?
//!
//! A worker's port may be in one pool only, an address may be listened on once, and a listener's
//! port must not lie inside a pool of the same machine: no worker could ever get it, and the
//! gateway would find itself there.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::{listeners, pools};
use crate::config::model::{Admin, Bind, Place, PortRange};
use crate::config::read::Reader;

/// The ranges of one host, by first port.
type Ranges<'d> = Vec<(PortRange, Place, &'d str)>;

pub(super) fn check(
    listeners: &[listeners::Draft],
    pools: &[pools::Draft],
    admin: Option<&Admin>,
    reader: &mut Reader,
) {
    let hosts = by_host(pools);
    let mut told = HashSet::new();
    for ranges in hosts.values() {
        overlaps(ranges, &mut told, reader);
    }
    let binds = binds(listeners, admin);
    shared_addresses(&binds, reader);
    for (name, bind) in &binds {
        inside_a_pool(name, bind, &hosts, reader);
    }
}

fn by_host(pools: &[pools::Draft]) -> HashMap<IpAddr, Ranges<'_>> {
    let mut hosts: HashMap<IpAddr, Ranges<'_>> = HashMap::new();
    for draft in pools {
        for host in draft.pool.iter().flat_map(|pool| &pool.hosts) {
            let ranges = draft
                .ranges
                .iter()
                .map(|(range, place)| (*range, *place, draft.name.as_str()));
            hosts.entry(host.address).or_default().extend(ranges);
        }
    }
    for ranges in hosts.values_mut() {
        ranges.sort_by_key(|(range, place, _)| (range.first, place.line, place.column));
    }
    hosts
}

/// `told` spares a pool of many hosts the same words again and again.
fn overlaps(ranges: &Ranges<'_>, told: &mut HashSet<(u32, u32)>, reader: &mut Reader) {
    let mut widest: Option<&(PortRange, Place, &str)> = None;
    for entry in ranges {
        if let Some(other) = widest.filter(|(range, _, _)| range.last >= entry.0.first) {
            // The later one in the file is told off, whichever has the lower port.
            let at = |entry: &(PortRange, Place, &str)| (entry.1.line, entry.1.column);
            let (first, later) = if at(other) <= at(entry) {
                (other, entry)
            } else {
                (entry, other)
            };
            if told.insert(at(later)) {
                tell_overlap(first, later, reader);
            }
        }
        if widest.is_none_or(|(range, _, _)| range.last < entry.0.last) {
            widest = Some(entry);
        }
    }
}

fn tell_overlap(
    first: &(PortRange, Place, &str),
    later: &(PortRange, Place, &str),
    reader: &mut Reader,
) {
    let shared = shown(PortRange {
        first: first.0.first.max(later.0.first),
        last: first.0.last.min(later.0.last),
    });
    let what = if first.2 == later.2 {
        format!(
            "pool `{}`: {shared} given a second time, first on line {}",
            later.2, first.1.line
        )
    } else {
        format!(
            "pool `{}`: {shared} already in pool `{}` on line {}",
            later.2, first.2, first.1.line
        )
    };
    reader.error(
        later.1,
        what,
        "a worker belongs to one pool: shorten one of the ranges",
    );
}

fn shown(range: PortRange) -> String {
    if range.first == range.last {
        format!("port {}", range.first)
    } else {
        format!("ports {}-{}", range.first, range.last)
    }
}

fn binds(listeners: &[listeners::Draft], admin: Option<&Admin>) -> Vec<(String, Bind)> {
    let mut binds = Vec::new();
    for draft in listeners {
        for bind in draft.listener.iter().flat_map(|listener| &listener.bind) {
            binds.push((format!("listener `{}`", draft.name), *bind));
        }
    }
    if let Some(admin) = admin
        && let Some(address) = admin.bind
    {
        let bind = Bind {
            host: Some(address.ip()),
            port: address.port(),
            place: admin.place,
        };
        binds.push(("`admin`".to_owned(), bind));
    }
    binds.retain(|(_, bind)| bind.port != 0);
    binds
}

fn shared_addresses(binds: &[(String, Bind)], reader: &mut Reader) {
    let mut ports: HashMap<u16, Vec<&(String, Bind)>> = HashMap::new();
    for entry in binds {
        let earlier = ports.entry(entry.1.port).or_default();
        let taken = earlier
            .iter()
            .find(|(_, other)| collide(other.host, entry.1.host));
        if let Some((name, other)) = taken {
            // A default that stands nowhere cannot be pointed at; its rival can.
            let place = if entry.1.place.line == 0 {
                other.place
            } else {
                entry.1.place
            };
            let what = format!(
                "{}: port {} is taken by {name} already",
                entry.0, entry.1.port
            );
            reader.error(place, what, "give each listener its own address or port");
        }
        earlier.push(entry);
    }
}

/// Can two listeners not have the same port? No host means every address of both families.
fn collide(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    match (one, other) {
        (None, _) | (_, None) => true,
        (Some(one), Some(other)) => {
            one == other
                || (one.is_ipv4() == other.is_ipv4()
                    && (one.is_unspecified() || other.is_unspecified()))
        }
    }
}

fn inside_a_pool(
    name: &str,
    bind: &Bind,
    hosts: &HashMap<IpAddr, Ranges<'_>>,
    reader: &mut Reader,
) {
    let local = |host: &IpAddr| match bind.host {
        Some(bound) if !bound.is_unspecified() => bound == *host,
        // Which other addresses this machine has is not known here.
        Some(bound) => host.is_loopback() && bound.is_ipv4() == host.is_ipv4(),
        None => host.is_loopback(),
    };
    let found = hosts
        .iter()
        .filter(|(host, _)| local(host))
        .find_map(|(_, ranges)| {
            let after = ranges.partition_point(|(range, _, _)| range.first <= bind.port);
            after
                .checked_sub(1)
                .and_then(|at| ranges.get(at))
                .filter(|(range, _, _)| bind.port <= range.last)
        });
    if let Some((range, place, pool)) = found {
        let at = if bind.place.line == 0 {
            *place
        } else {
            bind.place
        };
        let what = format!(
            "{name}: port {} lies inside {} of pool `{pool}` on line {}",
            bind.port,
            shown(*range),
            place.line
        );
        reader.error(
            at,
            what,
            "no worker could listen there: choose another port or shorten the range",
        );
    }
}
