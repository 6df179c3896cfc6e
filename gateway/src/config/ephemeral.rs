//! Will the kernel hand out a worker's port to somebody else?
//!
//! Ports inside the kernel's ephemeral range can be taken by any outgoing connection before the
//! worker starts. Pure: the texts of `/proc/sys/net/ipv4/ip_local_port_range` and
//! `ip_local_reserved_ports` are handed in. Looks at pools on this machine only.

use std::net::IpAddr;

use super::model::{Config, PortRange};
use super::problem::Problem;

/// One warning per pool and span of ports that is ephemeral and not reserved, with the `sysctl` line that
/// mends them all. `is_local` says whether an address belongs to this machine; loopback always does.
/// Texts that are not as the kernel writes them give no warning.
pub fn warnings(
    config: &Config,
    port_range: &str,
    reserved_ports: &str,
    is_local: &dyn Fn(IpAddr) -> bool,
) -> Vec<Problem> {
    let Some(ephemeral) = range(port_range) else {
        return Vec::new();
    };
    let reserved = spans(reserved_ports);
    let mut exposed = Vec::new();
    for (at, pool) in config.pools.iter().enumerate() {
        if !pool
            .hosts
            .iter()
            .any(|host| host.address.is_loopback() || is_local(host.address))
        {
            continue;
        }
        let place = config.pool_places.get(at).copied().unwrap_or_default();
        for span in pool
            .ports
            .iter()
            .filter_map(|span| common(*span, ephemeral))
        {
            exposed.extend(
                without(span, &reserved)
                    .into_iter()
                    .map(|span| (pool.name.as_str(), place, span)),
            );
        }
    }
    // The setting replaces what was reserved before, so the line repeats it.
    let all = merged(
        reserved
            .iter()
            .copied()
            .chain(exposed.iter().map(|(_, _, span)| *span))
            .collect(),
    );
    let all: Vec<String> = all.into_iter().map(shown).collect();
    let fix = format!(
        "sysctl -w net.ipv4.ip_local_reserved_ports={}",
        all.join(",")
    );
    let warning = |(pool, place, span): (&str, _, PortRange)| {
        let ports = if span.first == span.last {
            "port"
        } else {
            "ports"
        };
        let (verb, span) = (
            if span.first == span.last { "is" } else { "are" },
            shown(span),
        );
        Problem::warning(place, format!("{ports} {span} of pool `{pool}` {verb} inside the kernel's ephemeral range and not reserved")).hint(fix.as_str())
    };
    exposed.into_iter().map(warning).collect()
}

/// `32768<tab>60999`.
fn range(text: &str) -> Option<PortRange> {
    let mut words = text.split_whitespace().map(str::parse::<u16>);
    let (Some(Ok(first)), Some(Ok(last)), None) = (words.next(), words.next(), words.next()) else {
        return None;
    };
    (first <= last).then_some(PortRange { first, last })
}

/// `8080,9000-9010`, or empty.
fn spans(text: &str) -> Vec<PortRange> {
    let span = |word: &str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some(PortRange { first, last })
    };
    merged(
        text.split(',')
            .filter_map(|word| span(word.trim()))
            .collect(),
    )
}

fn common(one: PortRange, other: PortRange) -> Option<PortRange> {
    let (first, last) = (one.first.max(other.first), one.last.min(other.last));
    (first <= last).then_some(PortRange { first, last })
}

/// The parts of `span` outside `holes`, which are sorted and apart from each other.
fn without(span: PortRange, holes: &[PortRange]) -> Vec<PortRange> {
    let mut parts = Vec::new();
    let mut next = Some(span.first);
    for hole in holes.iter().filter_map(|hole| common(*hole, span)) {
        let Some(first) = next else { break };
        if first < hole.first {
            parts.push(PortRange {
                first,
                last: hole.first - 1,
            });
        }
        next = hole.last.checked_add(1).filter(|after| *after <= span.last);
    }
    parts.extend(next.map(|first| PortRange {
        first,
        last: span.last,
    }));
    parts
}

/// Sorted, with neighbours joined.
fn merged(mut spans: Vec<PortRange>) -> Vec<PortRange> {
    spans.sort_by_key(|span| span.first);
    let mut out: Vec<PortRange> = Vec::new();
    for span in spans {
        match out.last_mut() {
            Some(last) if u32::from(span.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(span.last)
            }
            _ => out.push(span),
        }
    }
    out
}

fn shown(span: PortRange) -> String {
    if span.first == span.last {
        span.first.to_string()
    } else {
        format!("{}-{}", span.first, span.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, parse};

    fn told(pool: &str, range: &str, reserved: &str) -> Vec<String> {
        let text = format!(
            "listeners: {{ a: {{ bind: \":80\" }} }}\npools:\n  p: {{ {pool} }}\nroutes: [{{ path: /, to: p }}]\n"
        );
        let checked = parse(
            &Source {
                name: "t".to_owned(),
                text,
            },
            &|_| None,
        );
        let config = checked
            .config
            .unwrap_or_else(|| panic!("{:?}", checked.problems));
        let problems = warnings(&config, range, reserved, &|_| false);
        problems
            .iter()
            .for_each(|problem| assert_eq!(problem.place.line, 3));
        problems
            .into_iter()
            .map(|p| format!("{} | {}", p.what, p.hint.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn only_exposed_parts_on_this_machine_are_told() {
        let kernel = "32768\t60999\n";
        for (pool, reserved, want) in [
            ("ports: 8070-8079", "\n", vec![]),
            (
                "ports: 50052",
                "\n",
                vec!["port 50052 of pool `p` is inside | ip_local_reserved_ports=50052"],
            ),
            ("ports: 50052", "50000-50100\n", vec![]),
            ("ports: 50052, hosts: 10.0.0.1", "\n", vec![]),
            (
                "ports: 32760-32770",
                "\n",
                vec![
                    "ports 32768-32770 of pool `p` are inside | ip_local_reserved_ports=32768-32770",
                ],
            ),
            (
                "ports: 60990-65535",
                "\n",
                vec!["ports 60990-60999 | ip_local_reserved_ports=60990-60999"],
            ),
            (
                "ports: 40000-40010",
                "8080,40002-40003,40010\n",
                vec![
                    "ports 40000-40001 | =8080,40000-40010",
                    "ports 40004-40009 | =8080,40000-40010",
                ],
            ),
        ] {
            let told = told(pool, kernel, reserved);
            assert_eq!(told.len(), want.len(), "{pool}: {told:?}");
            for (told, want) in told.iter().zip(want) {
                assert!(
                    want.split(" | ").all(|part| told.contains(part)),
                    "{told} lacks {want}"
                );
            }
        }
    }

    #[test]
    fn odd_texts_give_no_warning() {
        for range in ["", "x y", "1", "60999 32768", "1 2 3", "0 99999"] {
            assert_eq!(
                told("ports: 50052", range, "garbage,-,5-"),
                Vec::<String>::new(),
                "{range}"
            );
        }
    }
}
