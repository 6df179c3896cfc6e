//! Who may ask, and who may change something?
//!
//! Whoever may open the unix socket is an operator: its file's permissions say so. Over TCP everybody on the machine may
//! read; a change needs the token. Where a token is configured, changes over the socket need it, too. Pages in a browser
//! are kept out: they say where they come from (`Origin`), or use a name of their own for our address (`Host`).
//! Pure.

use std::net::IpAddr;

use http::Method;
use serde_json::json;
use subtle::ConstantTimeEq;

use super::http::Answer;
use crate::message::Request;

/// Over which door somebody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The unix socket.
    Socket,
    /// TCP; whether our address there is a loopback one.
    Tcp {
        /// The listener's address is 127.0.0.1 or such.
        loopback: bool,
    },
}

/// May this be asked? The answer that refuses it, else. `guarded` is false for what monitoring asks for.
pub fn refuses(via: Via, request: &Request, guarded: bool, token: Option<&str>) -> Option<Answer> {
    if via != Via::Socket && guarded {
        if request.fields.get("origin").is_some() {
            return Some(Answer::refused(
                403,
                "pages in a browser are not served",
                "ask with a client that sends no Origin",
            ));
        }
        if via == (Via::Tcp { loopback: true }) && !is_own_name(&request.authority) {
            return Some(Answer::refused(
                403,
                "the name in Host is not ours",
                "ask for 127.0.0.1, [::1] or localhost",
            ));
        }
    }
    if matches!(request.method, Method::GET | Method::HEAD) {
        return None;
    }
    match (token, via) {
        (None, Via::Socket) => None,
        (None, Via::Tcp { .. }) => Some(Answer::refused(
            403,
            "changes are not taken over TCP without a token",
            "use the unix socket, or configure `admin: { token_file: PATH }`",
        )),
        (Some(token), _) if bearer(request).is_some_and(|word| same(word, token)) => None,
        (Some(_), _) => {
            let body = json!({
                "error": "the operators' token is missing or wrong",
                "fix": "send `Authorization: Bearer TOKEN`",
            });
            Some(Answer {
                field: Some(("www-authenticate", "Bearer")),
                ..Answer::json(401, &body)
            })
        }
    }
}

fn bearer(request: &Request) -> Option<&[u8]> {
    let value = request.fields.get("authorization")?;
    let (scheme, word) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| word.trim_ascii())
}

/// Takes as long for any word of the token's length.
fn same(word: &[u8], token: &str) -> bool {
    word.ct_eq(token.as_bytes()).into()
}

/// An address, or a name that no stranger's DNS can give out for ours.
fn is_own_name(authority: &[u8]) -> bool {
    let Ok(authority) = std::str::from_utf8(authority) else {
        return false;
    };
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host),
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    // HTTP/1.0 may leave Host out; browsers never do.
    host.is_empty()
        || host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::http1::head::{Limits, parse_request};

    const TOKEN: &str = "0123456789abcdef";
    const TCP: Via = Via::Tcp { loopback: true };

    fn status(via: Via, text: &str, guarded: bool, token: Option<&str>) -> u16 {
        let mut buf = bytes::BytesMut::from(text.replace('\n', "\r\n").as_str());
        let limits = Limits {
            head_bytes: 4096,
            target_bytes: 1024,
            fields: 20,
        };
        let request = parse_request(&mut buf, &limits).unwrap().unwrap().request;
        refuses(via, &request, guarded, token).map_or(200, |answer| answer.status)
    }

    #[test]
    fn changes_need_the_socket_or_the_token() {
        let post = "POST /v1/reload HTTP/1.1\nHost: localhost\n\n";
        let with = |value: &str| {
            format!("POST /v1/reload HTTP/1.1\nHost: localhost\nAuthorization: {value}\n\n")
        };
        let right = with(&format!("Bearer {TOKEN}"));
        for (via, text, token, expected) in [
            (Via::Socket, post, None, 200),
            (Via::Socket, post, Some(TOKEN), 401),
            (Via::Socket, &right, Some(TOKEN), 200),
            (TCP, post, None, 403),
            (TCP, &right, None, 403),
            (TCP, post, Some(TOKEN), 401),
            (TCP, &with("Bearer wrong"), Some(TOKEN), 401),
            (TCP, &with(&format!("Bearer {TOKEN}0")), Some(TOKEN), 401),
            (TCP, &with(&format!("Basic {TOKEN}")), Some(TOKEN), 401),
            (TCP, &with(""), Some(TOKEN), 401),
            (TCP, &right, Some(TOKEN), 200),
            (TCP, &with(&format!("bearer {TOKEN}")), Some(TOKEN), 200),
        ] {
            assert_eq!(status(via, text, true, token), expected, "{via:?} {text}");
        }
    }

    #[test]
    fn pages_in_a_browser_are_kept_out_monitoring_is_not() {
        let get = |host: &str| format!("GET /v1/status HTTP/1.1\nHost: {host}\n\n");
        for (host, expected) in [
            ("localhost:9901", 200),
            ("127.0.0.1:9901", 200),
            ("[::1]:9901", 200),
            ("edge.localhost", 200),
            ("rebound.example", 403),
            ("localhost.example:9901", 403),
        ] {
            assert_eq!(status(TCP, &get(host), true, None), expected, "{host}");
        }
        let open = Via::Tcp { loopback: false };
        assert_eq!(status(open, &get("edge.example"), true, None), 200);
        assert_eq!(status(TCP, &get("rebound.example"), false, None), 200);
        let page = "GET /v1/status HTTP/1.1\nHost: localhost\nOrigin: https://a.example\n\n";
        assert_eq!(status(TCP, page, true, None), 403);
        assert_eq!(status(open, page, true, None), 403);
        assert_eq!(status(Via::Socket, page, true, None), 200);
    }
}
