//! Who asked? What trusted hops in front of the gateway tell of a request.
//!
//! Promises: only a peer that is trusted is believed, and of what it tells only what trusted hops have added; what is
//! read is bounded. Does not: decide whom the operator trusts, or read `Forwarded` (it is written, from the same chain).

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use crate::config::model::Trusted;
use crate::message::{Fields, Known};

/// Hops read from the end of a chain, for the client and for `Forwarded`.
const HOPS_MAX: usize = 32;

/// A request that came by a trusted hop.
#[derive(Debug, PartialEq, Eq)]
pub struct Origin {
    /// The last address of the chain that is not trusted itself: who came to the hops. In its plain spelling.
    pub client: IpAddr,
    /// The same as text.
    pub client_text: String,
    /// `X-Forwarded-For` as it goes on: what the hop told, and the hop.
    pub chain: Vec<u8>,
    /// `X-Forwarded-Proto`, if it was told.
    pub proto: Option<Vec<u8>>,
    /// `X-Forwarded-Host`, if it was told.
    pub host: Option<Vec<u8>>,
    /// `X-Forwarded-Port`, if it was told.
    pub port: Option<Vec<u8>>,
}

/// What is told of a request from `peer`; `None` when its word is not taken.
pub fn of(trusted: &Trusted, peer: IpAddr, fields: &Fields) -> Option<Rc<Origin>> {
    let peer = peer.to_canonical();
    if !trusted.contains(peer) {
        return None;
    }
    let (mut told, mut proto, mut host, mut port) = (Vec::new(), None, None, None);
    fields.for_each(|known, name, value| {
        if known != Known::Forwarded || value.is_empty() {
            return;
        }
        // Of several fields the last is the nearest hop's: one that adds its own may leave a stranger's in front.
        if name.eq_ignore_ascii_case(b"x-forwarded-for") {
            told.push(value);
        } else if name.eq_ignore_ascii_case(b"x-forwarded-proto") {
            proto = Some(value.to_vec());
        } else if name.eq_ignore_ascii_case(b"x-forwarded-host") {
            host = Some(value.to_vec());
        } else if name.eq_ignore_ascii_case(b"x-forwarded-port") {
            port = Some(value.to_vec());
        }
    });
    let client = walk(trusted, peer, &told);
    let text = peer.to_string();
    told.push(text.as_bytes());
    Some(Rc::new(Origin {
        client,
        client_text: client.to_string(),
        chain: told.join(&b", "[..]),
        proto,
        host,
        port,
    }))
}

/// From the end of the chain to the first address that is not trusted. What is no address ends the walk: who wrote it
/// is known no better than what it says.
fn walk(trusted: &Trusted, peer: IpAddr, told: &[&[u8]]) -> IpAddr {
    let entries = told.iter().rev().flat_map(|value| value.rsplit(is_comma));
    let mut client = peer;
    for entry in entries.map(<[u8]>::trim_ascii).take(HOPS_MAX) {
        // RFC 9110 section 5.6.1.2: an empty element of a list says nothing.
        if entry.is_empty() {
            continue;
        }
        let Some(address) = address(entry) else {
            break;
        };
        client = address;
        if !trusted.contains(address) {
            break;
        }
    }
    client
}

fn is_comma(byte: &u8) -> bool {
    *byte == b','
}

/// `192.0.2.1`, `2001:db8::1` or `[2001:db8::1]`, each with or without a port where it can have one.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let with_port = || text.parse().map(|address: SocketAddr| address.ip());
    match bare {
        Some(bare) => bare.parse().ok().filter(IpAddr::is_ipv6),
        None => text.parse().or_else(|_| with_port()).ok(),
    }
    .map(|address| address.to_canonical())
}

/// The value of `Forwarded` (RFC 7239 section 4) for a chain as in `X-Forwarded-For`. Host and protocol are those that
/// the client used, so they stand beside the first address.
pub fn forwarded(chain: &[u8], host: &[u8], proto: &[u8]) -> Vec<u8> {
    let entries: Vec<_> = chain
        .rsplit(is_comma)
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
        .take(HOPS_MAX)
        .collect();
    let mut out = Vec::with_capacity(entries.len() * 24 + host.len() + 24);
    for (at, entry) in entries.iter().rev().enumerate() {
        out.extend_from_slice(if at == 0 { b"for=" } else { b", for=" });
        // Section 6: an IPv6 address has brackets, and they have to be quoted.
        match address(entry) {
            Some(IpAddr::V4(v4)) => out.extend_from_slice(v4.to_string().as_bytes()),
            Some(IpAddr::V6(v6)) => out.extend_from_slice(format!("\"[{v6}]\"").as_bytes()),
            None => out.extend_from_slice(b"unknown"),
        }
        if at == 0 {
            if !host.is_empty() {
                out.extend_from_slice(b";host=");
                quote(&mut out, host);
            }
            out.extend_from_slice(b";proto=");
            match proto.iter().all(u8::is_ascii_alphanumeric) {
                true => out.extend_from_slice(proto),
                false => quote(&mut out, proto),
            }
        }
    }
    out
}

/// RFC 9110 section 5.6.4.
fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;
    use crate::config::model::Network;

    fn trusted() -> Trusted {
        let networks = ["10.0.0.0", "fd00::"].map(|address| Network {
            address: address.parse().unwrap(),
            prefix: 8,
        });
        Trusted(networks.to_vec())
    }

    fn fields(fields: &[(&'static str, &str)]) -> Fields {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        Fields::Http2(map)
    }

    fn from(peer: &str, told: &[(&'static str, &str)]) -> Option<Rc<Origin>> {
        of(&trusted(), peer.parse().unwrap(), &fields(told))
    }

    #[test]
    fn the_client_is_the_last_that_is_not_trusted() {
        let hops = ["10.0.0.2, "; 40].concat();
        for (told, client) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1, 192.0.2.2"], "192.0.2.2"),
            (&["192.0.2.1, 10.0.0.9"], "192.0.2.1"),
            (
                &["192.0.2.1", "192.0.2.2, 10.1.1.1", "10.0.0.9"],
                "192.0.2.2",
            ),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["192.0.2.1,,10.0.0.9 ,\t"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["2001:DB8::1"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["[2001:db8::1]:4711, fd00::5"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1, ::ffff:10.0.0.7"], "192.0.2.1"),
            // What is no address ends the walk.
            (&["unknown"], "10.0.0.1"),
            (&["192.0.2.1, unknown, 10.0.0.9"], "10.0.0.9"),
            (&["192.0.2.1, _hidden"], "10.0.0.1"),
            (&["192.0.2.1, [10.0.0.2]"], "10.0.0.1"),
            (&["192.0.2.1, 10.0.0.256"], "10.0.0.1"),
            (&["192.0.2.1 10.0.0.2"], "10.0.0.1"),
            // And so does the bound.
            (&["192.0.2.1", &hops], "10.0.0.2"),
        ] {
            let told: Vec<_> = told.iter().map(|v| ("x-forwarded-for", *v)).collect();
            let origin = from("10.0.0.1", &told).unwrap();
            assert_eq!(origin.client_text, client, "{told:?}");
            assert_eq!(origin.client.to_string(), client, "{told:?}");
        }
    }

    #[test]
    fn a_stranger_is_not_heard() {
        let told = [("x-forwarded-for", "192.0.2.1")];
        for peer in ["192.0.2.9", "11.0.0.1", "::1"] {
            assert_eq!(from(peer, &told), None, "{peer}");
        }
        for peer in ["::ffff:10.0.0.1", "fd00::1"] {
            assert!(from(peer, &told).is_some(), "{peer}");
        }
    }

    #[test]
    fn the_chain_is_kept_as_it_came_with_the_peer_behind_it() {
        for (told, chain) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1, 10.0.0.1"),
            (&["a b,192.0.2.1", "", "x"], "a b,192.0.2.1, x, 10.0.0.1"),
        ] {
            let told: Vec<_> = told.iter().map(|v| ("x-forwarded-for", *v)).collect();
            let origin = from("::ffff:10.0.0.1", &told).unwrap();
            assert_eq!(origin.chain, chain.as_bytes());
        }
    }

    #[test]
    fn the_nearest_hop_has_the_last_word() {
        let told = [
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a.example"),
            ("x-forwarded-port", "8443"),
            ("x-forwarded-prefix", "/x"),
            ("forwarded", "for=192.0.2.1"),
        ];
        let origin = from("10.0.0.1", &told).unwrap();
        let text = |value: &Option<Vec<u8>>| String::from_utf8(value.clone().unwrap()).unwrap();
        assert_eq!(
            [&origin.proto, &origin.host, &origin.port].map(text),
            ["https", "a.example", "8443"]
        );
        assert_eq!(origin.client_text, "10.0.0.1");
        let origin = from("10.0.0.1", &[("x-forwarded-proto", "")]).unwrap();
        assert_eq!(
            (&origin.proto, &origin.host, &origin.port),
            (&None, &None, &None)
        );
    }

    #[test]
    fn forwarded_is_quoted_where_it_must_be() {
        for (chain, host, proto, want) in [
            (
                "192.0.2.1",
                "a.example:443",
                "https",
                "for=192.0.2.1;host=\"a.example:443\";proto=https",
            ),
            (
                "2001:db8::1, 10.0.0.1",
                "",
                "http",
                "for=\"[2001:db8::1]\";proto=http, for=10.0.0.1",
            ),
            (
                "me, 192.0.2.1:80,,fd00::1",
                "a\"b\\",
                "x y",
                "for=unknown;host=\"a\\\"b\\\\\";proto=\"x y\", for=192.0.2.1, for=\"[fd00::1]\"",
            ),
        ] {
            let value = forwarded(chain.as_bytes(), host.as_bytes(), proto.as_bytes());
            assert_eq!(String::from_utf8(value).unwrap(), want);
        }
        let many = ["10.0.0.1, "; 500].concat();
        let value = String::from_utf8(forwarded(many.as_bytes(), b"", b"http")).unwrap();
        assert_eq!(value.matches("for=").count(), HOPS_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// However the client lies to the first hop, what the hops have added says who it is.
        #[test]
        fn a_lie_at_the_beginning_changes_nothing(lie in "[ -~]{0,60}", hops in 0usize..20) {
            let hops = ", 10.0.0.7".repeat(hops);
            let told = format!("{lie}, 192.0.2.1{hops}");
            let origin = from("10.0.0.1", &[("x-forwarded-for", told.trim())]).unwrap();
            prop_assert_eq!(&origin.client_text, "192.0.2.1");
            forwarded(&origin.chain, lie.as_bytes(), lie.as_bytes());
        }
    }
}
