//! Which host does a request ask for?
//!
//! Reads the value of `Host` or `:authority` (RFC 9112 section 3.2, RFC 9113 section 8.3.1) into
//! the form that routes are kept in: lower case, no port, no trailing dot, IPv6 in brackets.
//! The request itself is sent on as the client wrote it.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Longest name (RFC 1035 section 2.3.4), with room for a trailing dot.
const NAME_BYTES_MAX: usize = 254;

/// The host is answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host is not a name or an address with an optional port")]
pub struct BadHost;

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// As routes have it; empty where the client sent an empty field, which only routes for any
    /// host match.
    pub name: Cow<'a, str>,
    /// The port the client named.
    pub port: Option<u16>,
}

/// Reads a host.
pub fn parse(raw: &[u8]) -> Result<Host<'_>, BadHost> {
    let text = std::str::from_utf8(raw).map_err(|_| BadHost)?;
    if let Some(inside) = text.strip_prefix('[') {
        let (address, rest) = inside.split_once(']').ok_or(BadHost)?;
        let address: Ipv6Addr = address.parse().map_err(|_| BadHost)?;
        let port = match rest {
            "" => None,
            rest => port(rest.strip_prefix(':').ok_or(BadHost)?)?,
        };
        return Ok(Host {
            name: Cow::Owned(format!("[{address}]")),
            port,
        });
    }
    let (name, port) = match text.split_once(':') {
        Some((name, digits)) => (name, port(digits)?),
        None => (text, None),
    };
    Ok(Host {
        name: self::name(name)?,
        port,
    })
}

fn name(name: &str) -> Result<Cow<'_, str>, BadHost> {
    if name.is_empty() {
        return Ok(Cow::Borrowed(name));
    }
    let mut upper = false;
    let mut before = b'.';
    for &byte in name.as_bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => upper = true,
            // An empty label: a leading or a doubled dot.
            b'.' if before != b'.' => {}
            _ => return Err(BadHost),
        }
        before = byte;
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(BadHost);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    Ok(if upper {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

/// Digits after the colon; none at all are allowed (RFC 3986 section 3.2.3).
fn port(digits: &str) -> Result<Option<u16>, BadHost> {
    if digits.is_empty() {
        return Ok(None);
    }
    if digits.len() > 5 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadHost);
    }
    digits.parse().map(Some).map_err(|_| BadHost)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_are_read_into_the_form_of_routes() {
        for (raw, name, port) in [
            ("example.com", "example.com", None),
            ("EXAMPLE.com:8443", "example.com", Some(8443)),
            ("example.com.", "example.com", None),
            ("example.com.:80", "example.com", Some(80)),
            ("example.com:", "example.com", None),
            ("localhost:38443", "localhost", Some(38443)),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("[2001:DB8::0:1]:443", "[2001:db8::1]", Some(443)),
            ("[::1]", "[::1]", None),
            ("a_b-c", "a_b-c", None),
            ("", "", None),
        ] {
            assert_eq!(
                parse(raw.as_bytes()),
                Ok(Host {
                    name: Cow::Borrowed(name),
                    port
                }),
                "{raw}"
            );
        }
        assert!(matches!(
            parse(b"example.com").map(|host| host.name),
            Ok(Cow::Borrowed(_))
        ));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(300);
        for raw in [
            ".", ".a", "a..b", "a b", "a/b", "a@b", "a,b", "a:b", "a:1:2", "a:65536", "a:+1",
            "::1", "[::1", "[::1]x", "[a]", "a\0", "bücher", "a%2e", &long,
        ] {
            assert_eq!(parse(raw.as_bytes()), Err(BadHost), "{raw}");
        }
        assert_eq!(parse(b"a\xff"), Err(BadHost));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(raw in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(host) = parse(&raw) {
                prop_assert_eq!(parse(host.name.as_bytes()).map(|again| again.name), Ok(host.name.clone()));
            }
        }
    }
}
