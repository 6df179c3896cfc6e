//! How is a worker told who the client is before HTTP begins? The header of the PROXY protocol, as it is written.
//!
//! Promises: a header is what the specification (version 2.3, "The PROXY protocol", HAProxy) has for a TCP connection;
//! both addresses are of one family. Does not: read headers (`listener` does), or say anything in TLVs.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// In front of each header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 1 for connections of the gateway's own, such as health checks.
pub const V1_UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

/// Version 2 for connections of the gateway's own: `LOCAL`, without addresses.
pub const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// Version 1, text: at most 107 bytes.
pub fn v1(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (from, to) = one_family(source.ip(), destination.ip());
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    // Written out, so that no address has the mixed form, which not every reader knows.
    let text = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => v6.segments().map(|part| format!("{part:x}")).join(":"),
    };
    let (from, to) = (text(from), text(to));
    let (source, destination) = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {source} {destination}\r\n").into_bytes()
}

/// Version 2, binary: 28 or 52 bytes.
pub fn v2(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(52);
    out.extend_from_slice(SIGNATURE);
    // Version 2, command PROXY.
    out.push(0x21);
    match one_family(source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[0x11, 0, 12]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        (from, to) => {
            out.extend_from_slice(&[0x21, 0, 36]);
            out.extend_from_slice(&mapped(from).octets());
            out.extend_from_slice(&mapped(to).octets());
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
    out
}

/// The addresses in one family: IPv4 where both are, else IPv6.
fn one_family(from: IpAddr, to: IpAddr) -> (IpAddr, IpAddr) {
    match (from.to_canonical(), to.to_canonical()) {
        (from @ IpAddr::V4(_), to @ IpAddr::V4(_)) => (from, to),
        (from, to) => (mapped(from).into(), mapped(to).into()),
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect(text)
    }

    #[test]
    fn a_header_of_version_1_is_a_line() {
        for (source, destination, line) in [
            (
                "192.0.2.1:56324",
                "192.0.2.2:443",
                "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
            ),
            (
                "[::ffff:192.0.2.1]:1",
                "192.0.2.2:443",
                "PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n",
            ),
            (
                "[2001:db8::1]:65535",
                "192.0.2.2:443",
                "PROXY TCP6 2001:db8:0:0:0:0:0:1 0:0:0:0:0:ffff:c000:202 65535 443\r\n",
            ),
        ] {
            let header = v1(address(source), address(destination));
            assert_eq!(String::from_utf8(header).unwrap(), line);
        }
        let longest = address("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
        assert!(v1(longest, longest).len() <= 107);
    }

    #[test]
    fn a_header_of_version_2_has_the_addresses_in_network_order() {
        let header = v2(address("1.2.3.4:258"), address("5.6.7.8:772"));
        let mut want = SIGNATURE.to_vec();
        want.extend([0x21, 0x11, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4]);
        assert_eq!(header, want);
        let header = v2(address("[2001:db8::1]:1"), address("5.6.7.8:2"));
        assert_eq!(
            (header.len(), &header[12..16]),
            (52, &[0x21, 0x21, 0, 36][..])
        );
        assert_eq!(&header[42..48], &[0xff, 0xff, 5, 6, 7, 8]);
    }
}
