//! Which addresses are meant?
//!
//! Promises: an IPv4 address is the same in both of its spellings (`10.0.0.1`, `::ffff:10.0.0.1`); no network of IPv6
//! holds an IPv4 address. Does not: read text, or look up in long lists (`limit::network` does).

use std::net::IpAddr;

use super::model::Network;

/// Peers whose word is taken: a short list, walked for each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted(pub Vec<Network>);

impl Trusted {
    /// Whether one of the networks holds `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

impl Network {
    /// Whether it holds `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(v4)) => {
                let differ = first.to_bits() ^ v4.to_bits();
                differ.leading_zeros() >= prefix
            }
            (IpAddr::V6(first), IpAddr::V6(v6)) => {
                let differ = first.to_bits() ^ v6.to_bits();
                differ.leading_zeros() >= prefix
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_network_holds_what_shares_its_prefix() {
        for (first, prefix, inside, outside) in [
            ("10.0.0.0", 8, "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", 32, "::ffff:10.1.2.3", "10.1.2.2"),
            ("0.0.0.0", 0, "255.255.255.255", "::1"),
            ("::", 0, "2001:db8::1", "10.0.0.1"),
            ("::", 0, "::1", "::ffff:10.0.0.1"),
            ("2001:db8::", 32, "2001:db8:ffff::", "2001:db9::"),
            ("fd00::1", 128, "fd00::1", "fd00::2"),
            ("192.0.2.128", 25, "192.0.2.200", "192.0.2.127"),
        ] {
            let network = Network {
                address: first.parse().unwrap(),
                prefix,
            };
            let trusted = Trusted(vec![network]);
            assert!(trusted.contains(inside.parse().unwrap()), "{inside}");
            assert!(!trusted.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(!Trusted::default().contains("10.0.0.1".parse().unwrap()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_address_is_in_its_own_networks(bits: u32, prefix in 0u8..=32) {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            let address = std::net::Ipv4Addr::from(bits & mask).into();
            let network = Network { address, prefix };
            prop_assert!(network.contains(address));
            prop_assert!(network.contains(std::net::Ipv4Addr::from(bits).into()));
            prop_assert_eq!(network.contains(std::net::Ipv4Addr::from(!bits).into()), prefix == 0);
        }
    }
}
