//! Which networks may come in?
//!
//! Reads `allow:` and `deny:` of a listener or a route.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::model::{Network, Networks};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;
use crate::config::units::Wrong;

/// Most networks of one list.
const NETWORKS_MAX: usize = 10_000;

/// Both lists; `None` where neither is given.
pub(super) fn networks(
    allow: Option<&Field<'_>>,
    deny: Option<&Field<'_>>,
    reader: &mut Reader,
) -> Option<Networks> {
    let mut seen = HashMap::new();
    let allow = allow.map_or_else(Vec::new, |field| list(field, "allow", &mut seen, reader));
    let deny = deny.map_or_else(Vec::new, |field| list(field, "deny", &mut seen, reader));
    (!allow.is_empty() || !deny.is_empty()).then_some(Networks { allow, deny })
}

/// Is it about networks? A route's `deny: 403` is a status.
pub(super) fn is_networks(field: &Field<'_>) -> bool {
    match &field.node.value {
        Value::Text(text) => text.trim() == "off" || text.contains(['.', ':', '/']),
        Value::List(_) => true,
        _ => false,
    }
}

fn list(
    field: &Field<'_>,
    name: &'static str,
    seen: &mut HashMap<Network, &'static str>,
    reader: &mut Reader,
) -> Vec<Network> {
    if matches!(&field.node.value, Value::Text(text) if text.trim() == "off") {
        return Vec::new();
    }
    let items = reader.list(field);
    if items.is_empty() && matches!(&field.node.value, Value::List(_)) {
        reader.error(
            field.key,
            format!("`{}` is empty", field.path),
            "name a network such as `10.0.0.0/8`, or remove the key",
        );
    }
    if items.len() > NETWORKS_MAX {
        reader.error(
            field.key,
            format!("`{}` has more than {NETWORKS_MAX} networks", field.path),
            "bring neighbours together under a shorter prefix",
        );
    }
    let mut networks = Vec::new();
    for item in items.iter().take(NETWORKS_MAX) {
        let Some(text) = reader.text(item, "a network such as `10.0.0.0/8`") else {
            continue;
        };
        let Some(network) = reader.or_tell(item, network(text)) else {
            continue;
        };
        match seen.insert(network, name) {
            None => networks.push(network),
            Some(other) if other == name => reader.warning(
                item.node.place,
                format!("the network {} is given a second time", quoted(text)),
                "remove one",
            ),
            Some(other) => reader.error(
                item.node.place,
                format!("the network {} stands in `{other}` too", quoted(text)),
                "the longest prefix wins, and these two are equally long: remove one",
            ),
        }
    }
    networks
}

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
pub fn network(text: &str) -> Result<Network, Wrong> {
    let (host, length) = match text.split_once('/') {
        Some((host, length)) => (host.trim(), Some(length.trim())),
        None => (text, None),
    };
    let Ok(address) = host.parse::<IpAddr>() else {
        let hint = if text.parse::<u16>().is_ok() {
            format!("a status stands alone: `deny: {text}`")
        } else if host.starts_with('[') {
            "write IPv6 without brackets, in quotes: \"2001:db8::/32\"".to_owned()
        } else {
            "write `10.0.0.0/8`, \"2001:db8::/32\" or one address; names are not resolved"
                .to_owned()
        };
        return Err((format!("{} is not a network", quoted(text)), hint));
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match length {
        None => width,
        Some(length) => prefix(length, width).ok_or_else(|| {
            (
                format!("{} is not a length of a prefix", quoted(length)),
                mask(length, address).unwrap_or_else(|| format!("from 0 to {width}, in bits")),
            )
        })?,
    };
    let canonical = address.to_canonical();
    let mapped = canonical != address;
    if mapped && prefix < 96 {
        return Err((
            format!("{} is more than all of IPv4", quoted(text)),
            "write IPv4 as such: `10.0.0.0/8`".to_owned(),
        ));
    }
    let first = first_address(address, prefix);
    if first != address {
        return Err((
            format!(
                "{} has bits set behind its first {prefix}, so it is no network",
                quoted(text)
            ),
            format!("write `{first}/{prefix}` for the network, or `{address}` for the one address"),
        ));
    }
    // Clients that come over a socket for both families are told by their IPv4 address.
    Ok(Network {
        address: canonical,
        prefix: if mapped { prefix - 96 } else { prefix },
    })
}

fn prefix(text: &str, width: u8) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|prefix| digits && *prefix <= width)
}

/// The fix for `10.0.0.0/255.0.0.0`.
fn mask(text: &str, address: IpAddr) -> Option<String> {
    let bits = text.parse::<Ipv4Addr>().ok()?.to_bits();
    let length = bits.leading_ones();
    (length == bits.count_ones() && address.is_ipv4())
        .then(|| format!("write `{address}/{length}`"))
}

fn first_address(address: IpAddr, prefix: u8) -> IpAddr {
    let kept = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - kept).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - kept).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_in_one_form() {
        for (text, address, prefix) in [
            ("10.0.0.0/8", "10.0.0.0", 8),
            ("0.0.0.0/0", "0.0.0.0", 0),
            ("192.0.2.7", "192.0.2.7", 32),
            ("2001:db8::/32", "2001:db8::", 32),
            ("::/0", "::", 0),
            ("::1", "::1", 128),
            ("::ffff:10.0.0.0/104", "10.0.0.0", 8),
            ("::ffff:10.0.0.1", "10.0.0.1", 32),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(network(text), Ok(Network { address, prefix }), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_told_with_the_fix() {
        for (text, what, hint) in [
            ("10.1.2.3/8", "behind its first 8", "`10.0.0.0/8`"),
            ("2001:db8::1/32", "behind its first 32", "`2001:db8::/32`"),
            ("::ffff:10.0.0.0/90", "all of IPv4", "`10.0.0.0/8`"),
            ("10.0.0.0/33", "not a length", "0 to 32"),
            ("::/129", "not a length", "0 to 128"),
            ("10.0.0.0/+8", "not a length", "0 to 32"),
            ("10.0.0.0/", "not a length", "0 to 32"),
            ("10.0.0.0/255.0.0.0", "not a length", "`10.0.0.0/8`"),
            ("10.0.0.0/255.0.255.0", "not a length", "0 to 32"),
            ("403", "not a network", "`deny: 403`"),
            ("[::1]", "not a network", "without brackets"),
            ("10.*", "not a network", "names are not resolved"),
            ("localhost", "not a network", "names are not resolved"),
            ("", "not a network", "10.0.0.0/8"),
        ] {
            let (told, fix) = network(text).expect_err(text);
            assert!(
                told.contains(what) && fix.contains(hint),
                "{text}: {told}: {fix}"
            );
        }
    }
}
