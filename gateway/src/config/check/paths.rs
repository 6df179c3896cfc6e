//! In which form are hosts and paths of routes kept?
//!
//! The form that requests are brought into as well (`route::path`, `route::host`): a test there
//! holds both to the same table. An operator's path is never bent silently: what would change its
//! shape is told.

use crate::config::model::HostMatch;
use crate::config::problem::quoted;
use crate::config::units::Wrong;

/// Longest path of a route.
const PATH_BYTES_MAX: usize = 4_096;

/// Decoded, without a trailing slash unless it is `/`.
pub(super) fn path(text: &str) -> Result<String, Wrong> {
    let wrong =
        |why: &str, hint: &str| Err((format!("the path {} {why}", quoted(text)), hint.to_owned()));
    if !text.starts_with('/') {
        return wrong(
            "does not begin with a slash",
            &format!("write `/{}`", text.trim_start_matches(['*', '.'])),
        );
    }
    if text.len() > PATH_BYTES_MAX {
        return wrong("is too long", &format!("at most {PATH_BYTES_MAX} bytes"));
    }
    if text.contains(['?', '#']) {
        return wrong(
            "has a query or fragment, which no route looks at",
            "write the path alone",
        );
    }
    let path = match decode(text) {
        Ok(path) => path,
        Err(why) => return wrong(why, "write the path as it is meant, in plain characters"),
    };
    let inside = path[1..].strip_suffix('/').unwrap_or(&path[1..]);
    for segment in inside.split('/') {
        match segment {
            "" if path.len() > 1 => {
                return wrong(
                    "has an empty segment",
                    "requests are matched after doubled slashes are merged: write one",
                );
            }
            "." | ".." => {
                return wrong(
                    "has a dot segment",
                    "requests are matched after dot segments are resolved: write the result",
                );
            }
            "*" | "**" => {
                return wrong(
                    "has a wildcard segment",
                    "`path: /x` covers everything below `/x` already",
                );
            }
            _ => {}
        }
    }
    Ok(format!("/{inside}"))
}

fn decode(text: &str) -> Result<String, &'static str> {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let (value, escaped) = if byte == b'%' {
            let hex = bytes
                .get(at + 1..at + 3)
                .and_then(|hex| std::str::from_utf8(hex).ok());
            let hex = hex.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
            let value = hex
                .and_then(|hex| u8::from_str_radix(hex, 16).ok())
                .ok_or("has a `%` without two hexadecimal digits")?;
            at += 2;
            (value, true)
        } else {
            (byte, false)
        };
        at += 1;
        match value {
            b'\\' => return Err("has a backslash, which is read as a slash"),
            0..=0x1f | 0x7f => return Err("has a control character"),
            b'/' if escaped => out.push_str("%2F"),
            b'%' => out.push_str("%25"),
            0x80.. => out.push_str(&format!("%{value:02X}")),
            _ => out.push(char::from(value)),
        }
    }
    Ok(out)
}

/// `example.com`, `*.example.com`, `*`, an address; lower case, no trailing dot, no port.
pub(super) fn host(text: &str) -> Result<HostMatch, Wrong> {
    let wrong =
        |why: &str, hint: &str| Err((format!("the host {} {why}", quoted(text)), hint.to_owned()));
    if text == "*" {
        return Ok(HostMatch::Any);
    }
    let inside = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(six) = inside.parse::<std::net::Ipv6Addr>() {
        return Ok(HostMatch::Exact(format!("[{six}]")));
    }
    if text.contains([':', '/']) {
        return wrong(
            "has a port or a path",
            "write the name alone; requests are matched without their port",
        );
    }
    let (name, wildcard) = match text.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (text, false),
    };
    if name.contains('*') {
        return wrong(
            "has a wildcard in the middle",
            "only `*.example.com` is known: any name below, at any depth",
        );
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return wrong(
            "is not a name",
            "letters, digits, `-` and dots; other scripts in their `xn--` form",
        );
    }
    Ok(if wildcard {
        HostMatch::Wildcard(name)
    } else {
        HostMatch::Exact(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_kept_decoded_and_without_a_trailing_slash() {
        for (text, want) in [
            ("/", "/"),
            ("/ping", "/ping"),
            ("/ping/", "/ping"),
            ("/%70ing", "/ping"),
            ("/a%2fb", "/a%2Fb"),
            ("/50%25", "/50%25"),
            ("/é", "/%C3%A9"),
            ("/my files", "/my files"),
            ("/my%20files", "/my files"),
            ("/.well-known/x", "/.well-known/x"),
        ] {
            assert_eq!(path(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn paths_that_no_request_could_match_are_told() {
        for (text, what, hint) in [
            ("ping", "slash", "`/ping`"),
            ("", "slash", "`/`"),
            ("/a//b", "empty segment", "write one"),
            ("//", "empty segment", "write one"),
            ("/a/../b", "dot segment", "result"),
            ("/%2e%2e/b", "dot segment", "result"),
            ("/ping/*", "wildcard", "already"),
            ("/a?b=c", "query", "alone"),
            ("/a\\b", "backslash", "plain"),
            ("/a%5cb", "backslash", "plain"),
            ("/a%0a", "control", "plain"),
            ("/a%zz", "hexadecimal", "plain"),
            ("/a%+1", "hexadecimal", "plain"),
            ("/a%4", "hexadecimal", "plain"),
        ] {
            let (told, fix) = path(text).expect_err(text);
            assert!(
                told.contains(what) && fix.contains(hint),
                "{text}: {told}: {fix}"
            );
        }
    }

    #[test]
    fn hosts_are_kept_in_lower_case_without_dot_and_port() {
        for (text, want) in [
            ("*", HostMatch::Any),
            ("Example.COM.", HostMatch::Exact("example.com".to_owned())),
            (
                "*.Example.com",
                HostMatch::Wildcard("example.com".to_owned()),
            ),
            ("192.0.2.1", HostMatch::Exact("192.0.2.1".to_owned())),
            (
                "[2001:DB8::1]",
                HostMatch::Exact("[2001:db8::1]".to_owned()),
            ),
            ("::1", HostMatch::Exact("[::1]".to_owned())),
        ] {
            assert_eq!(host(text), Ok(want), "{text}");
        }
        for text in [
            "example.com:443",
            "https://example.com",
            "a.*.b",
            "*x.b",
            "",
            ".",
            "a..b",
            "ex ample",
            "bücher.example",
        ] {
            host(text).expect_err(text);
        }
    }
}
