//! May this address come in?
//!
//! Promises: of all networks that hold an address the longest prefix decides, whatever the order; an IPv4 address that
//! came in the form of IPv6 (`::ffff:a.b.c.d`) is the IPv4 address; a look-up costs a search per length of prefix that
//! is in use. Does not: know names, proxies or countries.

use std::cmp::Reverse;
use std::net::IpAddr;

use crate::config::model::{Network, Networks};

/// Networks that may and may not, ready for look-ups.
#[derive(Debug)]
pub struct Gate {
    v4: Vec<Level>,
    v6: Vec<Level>,
    /// For addresses in none of them.
    others: bool,
}

/// The networks of one length of prefix.
#[derive(Debug)]
struct Level {
    prefix: u8,
    mask: u128,
    /// First address and whether it may, sorted by address.
    networks: Vec<(u128, bool)>,
}

impl Gate {
    /// Sorts them. With only `deny`, the rest may; with any `allow`, the rest may not.
    pub fn new(networks: &Networks) -> Gate {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let lists = [(&networks.allow, true), (&networks.deny, false)];
        for (list, may) in lists {
            for network in list {
                let levels = if network.address.is_ipv4() {
                    &mut v4
                } else {
                    &mut v6
                };
                add(levels, network, may);
            }
        }
        for level in v4.iter_mut().chain(&mut v6) {
            level.networks.sort_unstable();
        }
        for levels in [&mut v4, &mut v6] {
            levels.sort_unstable_by_key(|level| Reverse(level.prefix));
        }
        Gate {
            v4,
            v6,
            others: networks.allow.is_empty(),
        }
    }

    /// Whether it may.
    pub fn admits(&self, address: IpAddr) -> bool {
        let (levels, bits) = match address.to_canonical() {
            IpAddr::V4(v4) => (&self.v4, u128::from(v4.to_bits())),
            IpAddr::V6(v6) => (&self.v6, v6.to_bits()),
        };
        levels
            .iter()
            .find_map(|level| level.find(bits))
            .unwrap_or(self.others)
    }
}

impl Level {
    fn find(&self, bits: u128) -> Option<bool> {
        let first = bits & self.mask;
        let at = self
            .networks
            .binary_search_by_key(&first, |(network, _)| *network);
        at.ok().map(|at| self.networks[at].1)
    }
}

fn add(levels: &mut Vec<Level>, network: &Network, may: bool) {
    let (bits, width) = match network.address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let host_bits = u32::from(width - network.prefix.min(width));
    let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
    let entry = (bits & mask, may);
    match levels
        .iter_mut()
        .find(|level| level.prefix == network.prefix)
    {
        Some(level) => level.networks.push(entry),
        None => levels.push(Level {
            prefix: network.prefix,
            mask,
            networks: vec![entry],
        }),
    }
}

/// The address that a client is counted by: IPv4 as it is, IPv6 by its /64, which one customer has whole.
pub fn counted_as(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => {
            let bits = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(bits.into())
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network(text: &str) -> Network {
        let (address, prefix) = text.split_once('/').unwrap();
        Network {
            address: address.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        }
    }

    fn gate(allow: &[&str], deny: &[&str]) -> Gate {
        let list = |texts: &[&str]| texts.iter().map(|text| network(text)).collect();
        Gate::new(&Networks {
            allow: list(allow),
            deny: list(deny),
        })
    }

    fn admits(gate: &Gate, address: &str) -> bool {
        gate.admits(address.parse().unwrap())
    }

    #[test]
    fn the_longest_prefix_decides() {
        let gate = gate(
            &["10.0.0.0/8", "10.1.2.0/24", "2001:db8::/32"],
            &["10.1.0.0/16", "10.1.2.3/32", "2001:db8:bad::/48"],
        );
        for (address, may) in [
            ("10.0.0.1", true),
            ("10.1.0.1", false),
            ("10.1.2.4", true),
            ("10.1.2.3", false),
            ("11.0.0.1", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:10.1.0.1", false),
            ("2001:db8:1::1", true),
            ("2001:db8:bad::1", false),
            ("2001:db9::1", false),
        ] {
            assert_eq!(admits(&gate, address), may, "{address}");
        }
    }

    #[test]
    fn with_only_deny_the_rest_may_and_with_only_allow_it_may_not() {
        let (allow, deny) = (gate(&["192.0.2.0/24"], &[]), gate(&[], &["192.0.2.0/24"]));
        for (address, inside) in [("192.0.2.255", true), ("192.0.3.0", false), ("::1", false)] {
            assert_eq!(admits(&allow, address), inside, "{address}");
            assert_eq!(admits(&deny, address), !inside, "{address}");
        }
    }

    #[test]
    fn all_of_one_family_is_not_all_of_the_other() {
        let (v4, v6) = (gate(&["0.0.0.0/0"], &[]), gate(&["::/0"], &[]));
        assert!(admits(&v4, "203.0.113.9") && !admits(&v4, "2001:db8::1"));
        assert!(admits(&v6, "2001:db8::1") && !admits(&v6, "203.0.113.9"));
    }

    #[test]
    fn ipv6_clients_are_counted_by_their_network() {
        let counted = |text: &str| counted_as(text.parse().unwrap());
        assert_eq!(
            counted("2001:db8:1:2:3::1"),
            counted("2001:db8:1:2:ffff::9")
        );
        assert_ne!(counted("2001:db8:1:2:3::1"), counted("2001:db8:1:3::1"));
        assert_eq!(
            counted("::ffff:10.0.0.1"),
            "10.0.0.1".parse::<IpAddr>().unwrap()
        );
    }

    /// Short addresses, so that networks and clients often meet.
    fn networks() -> impl Strategy<Value = Vec<Network>> {
        let network = (any::<u32>(), 0..=32u8).prop_map(|(bits, prefix)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Network {
                address: IpAddr::from((bits & 0xC100_0003 & mask).to_be_bytes()),
                prefix,
            }
        });
        prop::collection::vec(network, 0..8)
    }

    proptest! {
        #[test]
        fn a_look_up_says_what_reading_the_lists_says(
            allow in networks(), deny in networks(), client in any::<u32>()
        ) {
            let deny: Vec<Network> = deny.into_iter().filter(|d| !allow.contains(d)).collect();
            let client = client & 0xC100_0003;
            let longest = |list: &[Network]| {
                let holds = |network: &&Network| {
                    let IpAddr::V4(v4) = network.address else { return false };
                    let mask = u32::MAX.checked_shl(32 - u32::from(network.prefix)).unwrap_or(0);
                    client & mask == v4.to_bits()
                };
                list.iter().filter(holds).map(|network| i32::from(network.prefix)).max().unwrap_or(-1)
            };
            let may = match longest(&allow).cmp(&longest(&deny)) {
                std::cmp::Ordering::Equal => allow.is_empty(),
                order => order.is_gt(),
            };
            let gate = Gate::new(&Networks { allow, deny });
            prop_assert_eq!(gate.admits(IpAddr::from(client.to_be_bytes())), may);
        }
    }
}
