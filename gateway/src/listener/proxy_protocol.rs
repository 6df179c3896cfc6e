//! Who is the client behind a trusted balancer? The header of the PROXY protocol, versions 1 and 2, read without I/O.
//!
//! After the specification of HAProxy (version 2.3). Promises: it does not matter how the bytes are cut; a header has a
//! bound, and how many bytes belong to it is known exactly; nothing panics. TLVs are passed over, a checksum among them
//! is not checked (TCP has its own). Does not: read, or decide who is trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// In front of each header of version 2 (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version, family and length.
const V2_HEAD: usize = 16;
/// Longest header of version 1, with its CRLF (section 2.1).
pub const V1_BYTES_MAX: usize = 107;
/// Longest header of version 2 that is taken, TLVs included.
pub const V2_BYTES_MAX: usize = 4096;

/// What a header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The balancer speaks for itself, or cannot say for whom: the connection's own addresses hold.
    Local,
    /// It speaks for a client.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// Where the client went to.
        destination: SocketAddr,
    },
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Something else begins here: TLS, HTTP.
    #[error("no PROXY protocol header")]
    Missing,
    /// It breaks the specification.
    #[error("malformed PROXY protocol header: {0}")]
    Broken(&'static str),
    /// It is longer than the bound of its version.
    #[error("PROXY protocol header too long")]
    TooLong,
}

/// Reads the header at the beginning of `bytes`, and says how many bytes it has. `None` while it is not whole: then all
/// of `bytes` belong to it.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => v1(bytes),
        Some(_) => v2(bytes),
    }
}

/// Whether `bytes` begin with `start`, as far as they go.
fn begins(bytes: &[u8], start: &[u8]) -> Result<(), Malformed> {
    let known = bytes.len().min(start.len());
    if bytes[..known] == start[..known] {
        Ok(())
    } else {
        Err(Malformed::Missing)
    }
}

fn v1(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    begins(bytes, b"PROXY ")?;
    let known = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = known.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() {
            V1_BYTES_MAX.. => Err(Malformed::TooLong),
            _ => Ok(None),
        };
    };
    // The name and its blank were there before any CRLF could be.
    let words = &known[b"PROXY ".len()..end];
    Ok(Some((line(words)?, end + 2)))
}

/// `TCP4 192.0.2.1 192.0.2.2 56324 443`.
fn line(words: &[u8]) -> Result<Header, Malformed> {
    let broken = Malformed::Broken;
    let mut words = words.split(|b| *b == b' ');
    let family = words.next().unwrap_or_default();
    // Section 2.1: what follows UNKNOWN is passed over.
    if family == b"UNKNOWN" {
        return Ok(Header::Local);
    }
    let mut next = || {
        let word = words.next().ok_or(broken("a word is missing"))?;
        std::str::from_utf8(word).map_err(|_| broken("not ASCII"))
    };
    let mut address = || -> Result<IpAddr, Malformed> {
        let word = next()?;
        match family {
            b"TCP4" => word.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
            b"TCP6" => word.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
            _ => return Err(broken("family")),
        }
        .ok_or(broken("address"))
    };
    let (source, destination) = (address()?, address()?);
    let (source_port, destination_port) = (port(next()?)?, port(next()?)?);
    if words.next().is_some() {
        return Err(broken("a word too many"));
    }
    Ok(Header::Proxied {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

/// Decimal, without a sign or zeros in front.
fn port(word: &str) -> Result<u16, Malformed> {
    Some(word)
        .filter(|word| word.bytes().all(|b| b.is_ascii_digit()))
        .filter(|word| word.len() == 1 || !word.starts_with('0'))
        .and_then(|word| word.parse().ok())
        .ok_or(Malformed::Broken("port"))
}

fn v2(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    begins(bytes, SIGNATURE)?;
    let Some((head, _)) = bytes.split_first_chunk::<V2_HEAD>() else {
        return Ok(None);
    };
    let [.., version_and_command, family, high, low] = *head;
    let end = V2_HEAD + usize::from(u16::from_be_bytes([high, low]));
    let local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed::Broken("version or command")),
    };
    // Addresses and ports; those of datagrams and of sockets in a file system are nobody's here.
    let addresses = match family {
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        // Section 2.2: a family that says nothing has nothing that must be there.
        0x00 => 0,
        _ if local => 0,
        _ => return Err(Malformed::Broken("family")),
    };
    if !local && end - V2_HEAD < addresses {
        return Err(Malformed::Broken("too short for its addresses"));
    }
    if end > V2_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let Some(body) = bytes.get(V2_HEAD..end) else {
        return Ok(None);
    };
    let header = match family {
        _ if local => None,
        0x11 => addresses_of::<4>(body),
        0x21 => addresses_of::<16>(body),
        _ => None,
    };
    Ok(Some((header.unwrap_or(Header::Local), end)))
}

/// Two addresses of `N` bytes and two ports.
fn addresses_of<const N: usize>(body: &[u8]) -> Option<Header>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = body.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let (destination_port, _) = rest.split_first_chunk::<2>()?;
    let end = |ip: &[u8; N], port: &[u8; 2]| {
        SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(*port))
    };
    Some(Header::Proxied {
        source: end(source, source_port),
        destination: end(destination, destination_port),
    })
}

#[cfg(test)]
mod tests;
