//! How is a browser that signed in known? By a cookie that scripts cannot read; the database knows it by
//! its digest alone.
//!
//! For the pages, and for the API, which takes a session in place of a token. A browser sends the cookie
//! by itself, whoever lured it into asking, so that what changes something is asked where it comes from.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderMap, header};

/// The prefix binds a cookie to its host and to https (RFC 6265bis, section 4.1.3.2).
pub const COOKIE: &str = "__Host-session";

/// What the database knows a cookie by.
pub fn digest_of(cookie: &str) -> Vec<u8> {
    digest(&SHA256, cookie.as_bytes()).as_ref().to_vec()
}

/// The session's cookie of a request.
pub fn cookie(headers: &HeaderMap) -> Option<&str> {
    let fields = headers.get_all(header::COOKIE).into_iter();
    let fields = fields.filter_map(|field| field.to_str().ok());
    let mut pairs = fields.flat_map(|field| field.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE && !value.is_empty()).then_some(value)
    })
}

/// Does a request that changes something come from a page of ours? Browsers say where it comes from;
/// a program that says nothing was not lured into asking.
pub fn is_ours(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text("origin"), text("sec-fetch-site")) {
        (Some(origin), _) => {
            let from = origin.split_once("://").map(|(_, authority)| authority);
            from.is_some() && from == text("host")
        }
        (None, Some(site)) => site == "same-origin" || site == "none",
        (None, None) => true,
    }
}

/// Does a request say where it comes from? Browsers of old do not of a form, but a form cannot say that it is JSON.
pub fn says_where_from(headers: &HeaderMap) -> bool {
    headers.contains_key("origin") || headers.contains_key("sec-fetch-site")
}

/// Does a request come from a page that came by TLS, where it says where it comes from? Somebody on the way can put a page of
/// theirs under our name where there is no TLS.
pub fn is_of_tls(headers: &HeaderMap) -> bool {
    let origin = headers.get("origin");
    origin.is_none_or(|origin| origin.as_bytes().starts_with(b"https://"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_form_of_another_site_is_not_ours() {
        for (fields, ours) in [
            (vec![("host", "a")], true),
            (vec![("host", "a:8"), ("origin", "https://a:8")], true),
            (vec![("host", "a"), ("origin", "https://b")], false),
            (vec![("host", "a"), ("origin", "null")], false),
            (vec![("origin", "https://a")], false),
            (vec![("host", "a"), ("sec-fetch-site", "same-origin")], true),
            (vec![("host", "a"), ("sec-fetch-site", "cross-site")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_ours(&headers), ours, "{fields:?}");
        }
    }

    #[test]
    fn who_says_nothing_does_not_say_where_from() {
        for (field, says) in [("host", false), ("origin", true), ("sec-fetch-site", true)] {
            let mut headers = HeaderMap::new();
            headers.insert(field, HeaderValue::from_static("none"));
            assert_eq!(says_where_from(&headers), says, "{field}");
        }
    }

    #[test]
    fn a_page_without_tls_is_nobodys() {
        for (origin, of_tls) in [
            (None, true),
            (Some("https://a"), true),
            (Some("http://a"), false),
            (Some("null"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert("origin", HeaderValue::from_static(origin));
            }
            assert_eq!(is_of_tls(&headers), of_tls, "{origin:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=b; x__Host-session=no"),
        );
        assert_eq!(cookie(&headers), None);
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("c=d; __Host-session=yes"),
        );
        assert_eq!(cookie(&headers), Some("yes"));
    }
}
