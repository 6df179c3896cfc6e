//! Which addresses are meant? A network: an address with the length of its prefix, or a single address.
//!
//! Promises: an IPv4 address is the same in both of its spellings (`10.0.0.1`, `::ffff:10.0.0.1`), in the file and on
//! the wire. Does not: resolve names, read files.

use std::net::IpAddr;
use std::str::FromStr;

/// A network. IPv4 is kept as IPv4, also where it was written mapped into IPv6; no IPv6 network holds an IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Of the network's first address, as the low bits.
    base: u128,
    /// The bits that count.
    mask: u128,
    v4: bool,
}

/// Several networks; an address is in the list when it is in one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<Network>);

impl Networks {
    /// Whether one of them holds `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = bits(address);
        self.0.iter().any(|network| network.has(address))
    }
}

impl Network {
    /// Whether it holds `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.has(bits(address))
    }

    /// Whether it holds every address of its family.
    pub fn is_everything(&self) -> bool {
        self.mask == 0
    }

    fn has(&self, (address, v4): (u128, bool)) -> bool {
        self.v4 == v4 && address & self.mask == self.base
    }
}

/// The address as a number, and whether it is IPv4.
fn bits(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), true),
        IpAddr::V6(v6) => (u128::from(v6), false),
    }
}

/// What a text is instead of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotANetwork {
    /// There is no address in front.
    Address,
    /// The prefix is no number, or longer than the address.
    Prefix,
    /// Bits beyond the prefix are set; the network that was probably meant.
    HostBits(String),
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Network, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| NotANetwork::Address)?;
        let width = if written.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(digits) => Some(digits)
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|digits| digits.parse::<u32>().ok())
                .filter(|prefix| *prefix <= width)
                .ok_or(NotANetwork::Prefix)?,
        };
        let (base, v4) = bits(written);
        // A mapped address has 96 bits in front that say nothing; a shorter prefix of it is no network of IPv4.
        let (prefix, width) = match (v4, written.is_ipv4()) {
            (true, false) => (prefix.checked_sub(96).ok_or(NotANetwork::Prefix)?, 32),
            _ => (prefix, width),
        };
        let all = u128::MAX >> (128 - width);
        let mask = all & !all.checked_shr(prefix).unwrap_or(0);
        if base & !mask != 0 {
            let first = base & mask;
            let first: IpAddr = if v4 {
                IpAddr::V4((first as u32).into())
            } else {
                IpAddr::V6(first.into())
            };
            return Err(NotANetwork::HostBits(format!("{first}/{prefix}")));
        }
        Ok(Network { base, mask, v4 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn has(network: &str, address: &str) -> bool {
        let network: Network = network.parse().expect(network);
        network.contains(address.parse().expect(address))
    }

    #[test]
    fn a_network_holds_what_shares_its_prefix() {
        for (text, all) in [("0.0.0.0/0", true), ("::/0", true), ("0.0.0.0/1", false)] {
            assert_eq!(text.parse::<Network>().unwrap().is_everything(), all);
        }
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3/32", "::ffff:10.1.2.3", "10.1.2.2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("::/0", "::1", "::ffff:10.0.0.1"),
            ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
            ("fd00::1", "fd00::1", "fd00::2"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("192.0.2.128/25", "192.0.2.200", "192.0.2.127"),
        ] {
            assert!(has(network, inside), "{inside} is in {network}");
            assert!(!has(network, outside), "{outside} is not in {network}");
        }
    }

    #[test]
    fn what_is_no_network_says_why() {
        let host_bits = |text: &str| NotANetwork::HostBits(text.to_owned());
        for (text, why) in [
            ("", NotANetwork::Address),
            ("example.com", NotANetwork::Address),
            ("10.0.0/8", NotANetwork::Address),
            ("10.0.0.0:80", NotANetwork::Address),
            ("10.0.0.0/", NotANetwork::Prefix),
            ("10.0.0.0/33", NotANetwork::Prefix),
            ("10.0.0.0/+8", NotANetwork::Prefix),
            ("10.0.0.0/8/8", NotANetwork::Prefix),
            ("10.0.0.0/255.0.0.0", NotANetwork::Prefix),
            ("::/129", NotANetwork::Prefix),
            ("::ffff:10.0.0.0/95", NotANetwork::Prefix),
            ("10.0.0.1/8", host_bits("10.0.0.0/8")),
            ("::ffff:10.0.0.1/104", host_bits("10.0.0.0/8")),
            ("2001:db8::1/32", host_bits("2001:db8::/32")),
        ] {
            assert_eq!(text.parse::<Network>(), Err(why), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-f:./]{0,24}|.{0,24}") {
            let _ = text.parse::<Network>();
        }

        #[test]
        fn the_first_address_of_a_network_is_in_it(address: u32, prefix in 0u32..=32) {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            let first = std::net::Ipv4Addr::from(address & mask);
            let network: Network = format!("{first}/{prefix}").parse().unwrap();
            prop_assert!(network.contains(first.into()));
            prop_assert!(network.contains(std::net::Ipv4Addr::from(address).into()));
            prop_assert_eq!(network.contains(std::net::Ipv4Addr::from(!address).into()), prefix == 0);
        }
    }
}
