//! Is a head read as RFC 9112 writes it, and in no second way?

use proptest::prelude::*;

use super::*;
use crate::http1::body::{Decoder, Piece};
use crate::http1::write;

const LIMITS: Limits = Limits {
    head_bytes: 1024,
    target_bytes: 128,
    fields: 8,
};

fn request(text: &str) -> Result<Option<ParsedRequest>, BadHead> {
    parse_request(&mut BytesMut::from(text), &LIMITS)
}

fn response(text: &str) -> Result<Option<ParsedResponse>, BadHead> {
    parse_response(&mut BytesMut::from(text), &LIMITS, false)
}

/// A request with these lines after the request line.
fn with(lines: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

fn taken(text: &str) -> ParsedRequest {
    match request(text) {
        Ok(Some(parsed)) => parsed,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn answered(text: &str, status: u16) {
    match request(text) {
        Err(bad) => assert_eq!(bad.status(), status, "{text:?}: {bad}"),
        other => panic!("{text:?} is not refused: {other:?}"),
    }
}

fn malformed_response(text: &str) {
    match response(text) {
        Err(BadHead::Malformed(_)) => {}
        other => panic!("{text:?}: {other:?}"),
    }
}

// ---- The request line ----

#[test]
fn the_request_line_is_three_parts_and_two_spaces() {
    let parsed = taken("GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(parsed.request.method, Method::GET);
    assert_eq!(&parsed.request.target[..], b"/a?b=c");
    assert_eq!(parsed.request.version, Version::Http11);
    for line in [
        "GET  /x HTTP/1.1",
        "GET /x  HTTP/1.1",
        "GET\t/x HTTP/1.1",
        "GET /x\tHTTP/1.1",
        " GET /x HTTP/1.1",
        "GET /x HTTP/1.1 ",
        "GET /x y HTTP/1.1",
        "GET /x",
        "GET /x ",
        "GET",
        " /x HTTP/1.1",
        "G(T /x HTTP/1.1",
        "G\u{e9}T /x HTTP/1.1",
        "G\0T /x HTTP/1.1",
        "GET /x\0 HTTP/1.1",
        "GET /x http/1.1",
        "GET /x HTTP/1.1\0",
        "GET /x HTTP /1.1",
        "GET /x HTTP/11",
        "GET /x HTTPS/1.1",
        "GET /x HTTP/1,1",
    ] {
        answered(&format!("{line}\r\nHost: a\r\n\r\n"), 400);
    }
}

#[test]
fn other_versions_are_told_so() {
    for version in [
        "HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0", "HTTP/1.9", "HTTP/9.9",
    ] {
        answered(&format!("GET /x {version}\r\nHost: a\r\n\r\n"), 505);
    }
    answered("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
}

#[test]
fn a_method_that_is_a_token_is_taken_as_sent() {
    for method in ["GET", "get", "PROPFIND", "M-SEARCH", "X!#$%&'*+.^_`|~1"] {
        let parsed = taken(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(parsed.request.method.as_str(), method);
    }
    for method in ["CONNECT", "TRACE"] {
        answered(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    }
    answered("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405);
}

#[test]
fn empty_lines_before_a_request_are_passed_over() {
    for lead in ["\r\n", "\r\n\r\n\r\n"] {
        let text = format!("{lead}GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(&taken(&text).request.target[..], b"/x");
    }
    for lead in ["\n", "\r\n\n", "\r\r\n", " \r\n", "\n\r\n", "\0"] {
        answered(&format!("{lead}GET /x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    }
    for incomplete in ["", "\r", "\r\n", "\r\n\r"] {
        assert!(matches!(request(incomplete), Ok(None)), "{incomplete:?}");
    }
}

// ---- Target and Host ----

#[test]
fn each_form_of_target_has_its_place() {
    for (line, host, authority, target) in [
        ("GET /", "a", "a", "/"),
        ("GET //x", "a", "a", "//x"),
        ("GET /a:b@c", "a:8080", "a:8080", "/a:b@c"),
        ("OPTIONS *", "a", "a", "*"),
        ("GET http://a/x?y", "a", "a", "/x?y"),
        ("GET http://a", "a", "a", "/"),
        ("GET http://a?y", "a", "a", "/?y"),
        ("GET HTTPS://A:443/x", "a:443", "A:443", "/x"),
        ("OPTIONS http://a", "a", "a", "*"),
        ("OPTIONS http://a/", "a", "a", "/"),
        ("GET http://[::1]:80/", "[::1]:80", "[::1]:80", "/"),
    ] {
        let parsed = taken(&format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(
            &parsed.request.authority[..],
            authority.as_bytes(),
            "{line}"
        );
        assert_eq!(&parsed.request.target[..], target.as_bytes(), "{line}");
    }
    for (line, host) in [
        ("GET *", "a"),
        ("OPTIONS **", "a"),
        ("OPTIONS */x", "a"),
        ("GET x", "a"),
        ("GET a:80", "a:80"),
        ("GET ?x", "a"),
        ("GET ftp://a/", "a"),
        ("GET http:/a", "a"),
        ("GET http:///x", "a"),
        ("GET http://", "a"),
        ("GET http://b/", "a"),
        ("GET http://a:80/", "a"),
        ("GET http://a/", ""),
        ("GET http://u@a/", "a"),
        ("GET http://u:p@a/", "u:p@a"),
        ("GET /x#y", "a"),
        ("GET http://a/#", "a"),
        ("GET /\u{e9}", "a"),
        ("GET /\x7f", "a"),
        ("GET /\x01", "a"),
    ] {
        answered(&format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400);
    }
}

#[test]
fn there_is_exactly_one_valid_host() {
    for host in [
        "a",
        "A.example",
        "a.",
        "a:",
        "a:0",
        "127.0.0.1:80",
        "[::1]",
        "[::ffff:127.0.0.1]:443",
        "a_b-c",
    ] {
        let parsed = taken(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(&parsed.request.authority[..], host.as_bytes());
    }
    for host in [
        "", " ", "a b", "a/b", "a?b", "a#b", "u@a", "a:b", "a:80:80", ":80", "[", "[]", "[::1",
        "::1]", "[::1]x", "[::1]:", "[g::1]", "a:123456", "a\\b", "\"a\"", "a<b", "a\u{e9}",
        "http://a",
    ] {
        let valid = host == "[::1]:";
        let parsed = request(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(parsed.is_ok(), valid, "{host:?}: {parsed:?}");
    }
    let long = "a".repeat(263);
    answered(&format!("GET / HTTP/1.1\r\nHost: {long}\r\n\r\n"), 400);
    answered("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    answered("GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", 400);
    answered("GET / HTTP/1.1\r\n\r\n", 400);
    answered("GET http://a/ HTTP/1.1\r\n\r\n", 400);
    answered("OPTIONS * HTTP/1.1\r\n\r\n", 400);
}

#[test]
fn http_1_0_may_leave_the_host_out_but_not_say_it_twice() {
    assert_eq!(&taken("GET / HTTP/1.0\r\n\r\n").request.authority[..], b"");
    assert_eq!(
        &taken("GET http://a/ HTTP/1.0\r\n\r\n").request.authority[..],
        b"a"
    );
    assert_eq!(
        &taken("GET / HTTP/1.0\r\nHost: a\r\n\r\n").request.authority[..],
        b"a"
    );
    answered("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    answered("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400);
}

// ---- Fields ----

#[test]
fn field_lines_are_read_strictly() {
    for line in [
        "Name : v",
        "Name\t: v",
        " Name: v",
        "\tName: v",
        "Name",
        ": v",
        "Na me: v",
        "Na\0me: v",
        "N\u{e9}: v",
        "Na(me: v",
        "\"Name\": v",
        "Name: a\0b",
        "Name: a\x01b",
        "Name: a\x7fb",
        "Name: a\rb",
        "Name: a\r",
        "Name: a\nb",
        "Name: a\r\n b",
        "Name: a\r\n\tb",
        "Name: \r\n folded",
        "Name: a\n",
    ] {
        answered(&with(&format!("{line}\r\n")), 400);
    }
    for (line, value) in [
        ("Name:v", "v"),
        ("Name: \t v \t ", "v"),
        ("Name:", ""),
        ("Name:    ", ""),
        ("Name: a\tb  c", "a\tb  c"),
        ("Name: \u{e9}", "\u{e9}"),
        ("Name: a: b", "a: b"),
    ] {
        let parsed = taken(&with(&format!("{line}\r\n")));
        assert_eq!(
            parsed.request.fields.get("name"),
            Some(value.as_bytes()),
            "{line:?}"
        );
    }
}

#[test]
fn a_bare_line_feed_is_refused_wherever_it_stands_and_however_the_bytes_come() {
    let good = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    for at in good.match_indices('\r').map(|(at, _)| at) {
        let bad = [&good[..at], &good[at + 1..]].concat();
        answered(&bad, 400);
        // As soon as the line feed is there, nothing more is waited for.
        answered(&bad[..=at], 400);
    }
    let good = "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 0\r\n\r\n";
    for at in good.match_indices('\r').map(|(at, _)| at) {
        let bad = [&good[..at], &good[at + 1..]].concat();
        malformed_response(&bad);
        malformed_response(&bad[..=at]);
    }
}

#[test]
fn a_carriage_return_alone_ends_nothing() {
    for text in [
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\r\n",
    ] {
        answered(text, 400);
    }
}

// ---- Framing of requests ----

#[test]
fn a_request_body_is_framed_in_one_way_only() {
    for (lines, body) in [
        ("", BodyKind::Empty),
        ("Content-Length: 0\r\n", BodyKind::Empty),
        ("Content-Length: 5\r\n", BodyKind::Length(5)),
        ("Content-Length: 005\r\n", BodyKind::Length(5)),
        ("Content-Length:\t5 \r\n", BodyKind::Length(5)),
        (
            "Content-Length: 9999999999999999999\r\n",
            BodyKind::Length(9_999_999_999_999_999_999),
        ),
        ("Transfer-Encoding: chunked\r\n", BodyKind::Open),
        ("transfer-ENCODING:CHUNKED\r\n", BodyKind::Open),
    ] {
        assert_eq!(taken(&with(lines)).request.body, body, "{lines:?}");
    }
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length: ,5\r\n",
        "Content-Length:\r\n",
        "Content-Length: \"5\"\r\n",
        "Content-Length: \u{ff15}\r\n",
        "Content-Length: 10000000000000000000\r\n",
        "Content-Length: 00000000000000000005\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: chunked;x=y\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chun\u{1e9e}ed\r\n",
        "Transfer-Encoding: [chunked]\r\n",
    ] {
        answered(&with(lines), 400);
    }
    for lines in [
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: ,chunked\r\n",
    ] {
        answered(&with(lines), 501);
    }
    answered("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    answered(
        "POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n",
        400,
    );
}

// ---- What the connection does next ----

#[test]
fn connections_are_kept_as_the_version_says() {
    for (version, lines, keep) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: CLOSE\r\n", false),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: x, close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        (
            "1.1",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
        (
            "1.1",
            "Connection: close\r\nConnection: keep-alive\r\n",
            false,
        ),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: x ,keep-alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
        (
            "1.0",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
        (
            "1.0",
            "Connection: close\r\nConnection: keep-alive\r\n",
            false,
        ),
        ("1.0", "Keep-Alive: timeout=5\r\n", false),
        ("1.0", "Proxy-Connection: keep-alive\r\n", false),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(taken(&text).keep_alive, keep, "{text:?}");
        let text = format!("HTTP/{version} 200 OK\r\nContent-Length: 0\r\n{lines}\r\n");
        let parsed = response(&text).unwrap().unwrap();
        assert_eq!(parsed.keep_alive, keep, "{text:?}");
    }
}

#[test]
fn an_upgrade_needs_connection_version_and_no_body() {
    for (version, lines, upgrade) in [
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true),
        (
            "1.1",
            "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n",
            true,
        ),
        ("1.1", "Upgrade: websocket\r\n", false),
        ("1.1", "Connection: upgrade\r\n", false),
        (
            "1.0",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            false,
        ),
        (
            "1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
            false,
        ),
        (
            "1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
            false,
        ),
        ("1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n", false),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        let asked = taken(&text).request.upgrade;
        assert_eq!(asked.is_some_and(|u| u.is_websocket()), upgrade, "{text:?}");
    }
}

#[test]
fn continue_is_waited_for_only_with_a_body_and_in_1_1() {
    for (version, lines, waits) in [
        ("1.1", "Expect: 100-continue\r\nContent-Length: 1\r\n", true),
        (
            "1.1",
            "Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n",
            true,
        ),
        ("1.1", "Expect: 100-continue\r\n", false),
        (
            "1.1",
            "Expect: 100-continue\r\nContent-Length: 0\r\n",
            false,
        ),
        (
            "1.0",
            "Expect: 100-continue\r\nContent-Length: 1\r\n",
            false,
        ),
        ("1.1", "Expect: else\r\nContent-Length: 1\r\n", false),
    ] {
        let text = format!("POST / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(taken(&text).request.expects_continue, waits, "{text:?}");
    }
}

// ---- Limits ----

#[test]
fn a_head_as_long_as_its_limit_is_taken_and_one_byte_more_is_not() {
    let of = |bytes: usize| {
        let lead = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{lead}{}\r\n\r\n", "v".repeat(bytes - lead.len() - 4))
    };
    assert!(request(&of(LIMITS.head_bytes)).unwrap().is_some());
    answered(&of(LIMITS.head_bytes + 1), 431);
    // The same of a head that never ends.
    answered(&of(LIMITS.head_bytes + 1)[..LIMITS.head_bytes], 431);
    assert!(matches!(
        request(&of(LIMITS.head_bytes)[..LIMITS.head_bytes - 1]),
        Ok(None)
    ));
    // What comes behind a head does not count.
    let behind = format!("{}{}", of(LIMITS.head_bytes), "x".repeat(5000));
    assert!(request(&behind).unwrap().is_some());
    let of = |bytes: usize| {
        let lead = "HTTP/1.1 200 OK\r\nX: ";
        format!("{lead}{}\r\n\r\n", "v".repeat(bytes - lead.len() - 4))
    };
    assert!(response(&of(LIMITS.head_bytes)).unwrap().is_some());
    assert_eq!(
        response(&of(LIMITS.head_bytes + 1)).unwrap_err(),
        BadHead::TooLarge
    );
}

#[test]
fn a_target_as_long_as_its_limit_is_taken_and_one_byte_more_is_not() {
    let of = |method: &str, bytes: usize| {
        format!(
            "{method} /{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "t".repeat(bytes - 1)
        )
    };
    assert!(request(&of("GET", LIMITS.target_bytes)).unwrap().is_some());
    answered(&of("GET", LIMITS.target_bytes + 1), 414);
    // Known before the line has ended.
    answered(&of("GET", 500)[..300], 414);
    // The target is over the limit of the whole head as well: it is what is told.
    answered(&of("GET", 5000), 414);
}

/// A long method beside a target within its limit was refused only when the line came in two pieces.
#[test]
fn a_long_method_does_not_make_the_target_long() {
    let text = format!(
        "{} /{} HTTP/1.1\r\nHost: a\r\n\r\n",
        "M".repeat(100),
        "t".repeat(LIMITS.target_bytes - 1)
    );
    for cut in 0..text.len() {
        assert!(matches!(request(&text[..cut]), Ok(None)), "{cut}");
    }
    taken(&text);
    answered(&"M".repeat(LIMITS.head_bytes), 431);
}

#[test]
fn fields_are_counted() {
    let lines = |count: usize| "X: y\r\n".repeat(count);
    taken(&with(&lines(LIMITS.fields - 1)));
    answered(&with(&lines(LIMITS.fields)), 431);
    answered(&with(&"x:\r\n".repeat(240)), 431);
    assert!(response(&format!("HTTP/1.1 200 \r\n{}\r\n", lines(LIMITS.fields))).is_ok());
    assert_eq!(
        response(&format!(
            "HTTP/1.1 200 \r\n{}\r\n",
            lines(LIMITS.fields + 1)
        ))
        .unwrap_err(),
        BadHead::TooLarge
    );
    let wide = Limits {
        head_bytes: 1 << 16,
        target_bytes: 128,
        fields: 1000,
    };
    let text = with(&lines(FIELDS_MAX));
    assert_eq!(
        parse_request(&mut BytesMut::from(&text[..]), &wide).unwrap_err(),
        BadHead::TooLarge
    );
}

// ---- Responses ----

#[test]
fn a_status_line_is_read_strictly() {
    for (line, status) in [
        ("HTTP/1.1 200 OK", 200),
        ("HTTP/1.1 200 ", 200),
        ("HTTP/1.1 200", 200),
        ("HTTP/1.0 404 Not \u{e9} Found", 404),
        ("HTTP/1.1 999 x", 999),
        ("HTTP/1.1 100 Continue", 100),
    ] {
        let parsed = response(&format!("{line}\r\n\r\n")).unwrap().unwrap();
        assert_eq!(parsed.response.status, status, "{line:?}");
    }
    for line in [
        "HTTP/1.1 099 x",
        "HTTP/1.1 000 x",
        "HTTP/1.1 20 x",
        "HTTP/1.1 2000 x",
        "HTTP/1.1 20x x",
        "HTTP/1.1 -20 x",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1200 OK",
        " HTTP/1.1 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "\nHTTP/1.1 200 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "ICY 200 OK",
        "http/1.1 200 OK",
    ] {
        malformed_response(&format!("{line}\r\nContent-Length: 0\r\n\r\n"));
    }
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9"] {
        assert!(
            response(&format!("{version} 200 OK\r\n\r\n")).is_err(),
            "{version}"
        );
    }
    for line in [
        "Name : v",
        " Name: v",
        "Name: a\r\n b",
        "Name: a\0",
        "Name",
        ": v",
    ] {
        malformed_response(&format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"));
    }
}

#[test]
fn a_response_body_is_framed_by_status_method_and_fields() {
    use BodyKind::{Empty, Length, Open, UntilClose};
    const CL: &str = "Content-Length: 5\r\n";
    const TE: &str = "Transfer-Encoding: chunked\r\n";
    for (status, to_head, lines, body, keep) in [
        (200, false, "", UntilClose, false),
        (200, false, CL, Length(5), true),
        (200, false, "Content-Length: 0\r\n", Empty, true),
        (200, false, TE, Open, true),
        (404, false, CL, Length(5), true),
        (200, true, "", Empty, true),
        (200, true, CL, Empty, true),
        (200, true, TE, Empty, true),
        (204, false, "", Empty, true),
        (204, false, CL, Empty, true),
        (204, false, TE, Empty, true),
        (304, false, CL, Empty, true),
        (304, false, TE, Empty, true),
        (100, false, "", Empty, true),
        (103, false, CL, Empty, true),
        (205, false, CL, Length(5), true),
        (
            101,
            false,
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
            Empty,
            false,
        ),
    ] {
        let text = format!("HTTP/1.1 {status} x\r\n{lines}\r\n");
        let parsed = parse_response(&mut BytesMut::from(&text[..]), &LIMITS, to_head)
            .unwrap()
            .unwrap();
        assert_eq!(parsed.response.body, body, "{text:?} to_head={to_head}");
        assert_eq!(parsed.keep_alive, keep, "{text:?}");
        assert_eq!(parsed.upgrade, status == 101, "{text:?}");
    }
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: x\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        malformed_response(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
    }
    malformed_response("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(
        response("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n").unwrap_err(),
        BadHead::Coding
    );
}

// ---- Trailers ----

#[test]
fn trailers_that_frame_or_route_are_refused() {
    let parse = |section: &str| parse_trailers(Bytes::copy_from_slice(section.as_bytes()), &LIMITS);
    assert_eq!(
        parse("grpc-status: 0\r\nx: y\r\n\r\n").unwrap().spans.len(),
        2
    );
    for name in [
        "Content-Length",
        "transfer-encoding",
        "HOST",
        "Connection",
        "TE",
    ] {
        assert!(
            parse(&format!("x: y\r\n{name}: 1\r\n\r\n")).is_err(),
            "{name}"
        );
    }
    for section in [
        "x : y\r\n\r\n",
        " x: y\r\n\r\n",
        "x: y\n\r\n",
        "x: y\r\n\n",
        "x: y\r\n z\r\n\r\n",
        "x: a\0b\r\n\r\n",
        "x\r\n\r\n",
        ": y\r\n\r\n",
        "x: y\r\n",
        "x: y",
        "",
    ] {
        assert!(parse(section).is_err(), "{section:?}");
    }
    assert_eq!(
        parse(&format!("{}\r\n", "x: y\r\n".repeat(9))).unwrap_err(),
        BadHead::TooLarge
    );
    assert_eq!(
        parse(&format!("{}\r\n", "x: y\r\n".repeat(300))).unwrap_err(),
        BadHead::TooLarge
    );
    assert!(parse(&format!("{}\r\n", "x: y\r\n".repeat(8))).is_ok());
}

// ---- Properties ----

/// What was read, in a form that can be compared.
#[derive(Clone, Debug, Default, PartialEq)]
struct Message {
    line: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
}

fn fields_of(fields: &Fields) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    fields.for_each(|_, name, value| {
        all.push((
            String::from_utf8(name.to_vec()).expect("a token"),
            value.to_vec(),
        ));
    });
    all
}

/// Reads messages as a connection does: bytes are appended as they come, in the pieces given.
struct Reader {
    responses: bool,
    buf: BytesMut,
    body: Option<(Message, Decoder)>,
    messages: Vec<Message>,
}

impl Reader {
    fn new(responses: bool) -> Reader {
        Reader {
            responses,
            buf: BytesMut::new(),
            body: None,
            messages: Vec::new(),
        }
    }

    fn head(&mut self) -> Result<Option<(Message, BodyKind)>, BadHead> {
        if self.responses {
            return Ok(
                parse_response(&mut self.buf, &LIMITS, false)?.map(|parsed| {
                    let line = format!("{}", parsed.response.status);
                    let fields = fields_of(&parsed.response.fields);
                    (
                        Message {
                            line,
                            fields,
                            ..Message::default()
                        },
                        parsed.response.body,
                    )
                }),
            );
        }
        Ok(parse_request(&mut self.buf, &LIMITS)?.map(|parsed| {
            let request = parsed.request;
            let target = String::from_utf8_lossy(&request.target).into_owned();
            let line = format!("{} {target}", request.method);
            let fields = fields_of(&request.fields);
            (
                Message {
                    line,
                    fields,
                    ..Message::default()
                },
                request.body,
            )
        }))
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), BadHead> {
        self.buf.extend_from_slice(bytes);
        loop {
            if self.body.is_none() {
                let Some((message, kind)) = self.head()? else {
                    return Ok(());
                };
                self.body = Some((message, Decoder::new(kind, LIMITS)));
            }
            let Some((message, decoder)) = &mut self.body else {
                return Ok(());
            };
            match decoder.decode(&mut self.buf)? {
                Piece::More => return Ok(()),
                Piece::Data(data) => message.body.extend_from_slice(&data),
                Piece::End(trailers) => {
                    if let Some(trailers) = trailers {
                        message.trailers = fields_of(&Fields::Http1(trailers));
                    }
                    self.messages
                        .extend(self.body.take().map(|(message, _)| message));
                }
            }
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    // None of the names that a gateway knows.
    "[A-Za-z0-9!#$%&'*+.^_`|~-]{0,12}".prop_map(|tail| format!("x-{tail}"))
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    "([!-~]([ -~\t]{0,20}[!-~])?)?".prop_map(String::into_bytes)
}

fn some_fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    prop::collection::vec((name(), value()), 0..4)
}

/// A message and its bytes on the wire.
fn message(responses: bool) -> impl Strategy<Value = (Message, Vec<u8>)> {
    let line = if responses {
        prop::sample::select(vec!["200", "404", "500", "299"])
            .prop_map(str::to_owned)
            .boxed()
    } else {
        ("[A-Z]{1,9}", "/[!-\"$-~]{0,30}")
            .prop_filter("other rules", |(method, _)| {
                method != "CONNECT" && method != "TRACE"
            })
            .prop_map(|(method, target)| format!("{method} {target}"))
            .boxed()
    };
    let body = prop::collection::vec(any::<u8>(), 0..60);
    let sizes = prop::collection::vec(1..20usize, 1..8);
    (
        line,
        some_fields(),
        body,
        some_fields(),
        0..3u8,
        sizes,
        "(;[a-z]{1,4}(=[a-z]{1,3})?)?",
    )
        .prop_map(
            move |(line, mut fields, body, trailers, framing, sizes, extension)| {
                let mut wire = BytesMut::new();
                match responses {
                    true => write::status_line(&mut wire, line.parse().expect("a number")),
                    false => {
                        let (method, target) = line.split_once(' ').expect("two parts");
                        write::request_line(&mut wire, method.as_bytes(), target.as_bytes());
                        fields.insert(0, ("host".to_owned(), b"a".to_vec()));
                    }
                }
                let mut message = Message {
                    line,
                    fields,
                    ..Message::default()
                };
                let length =
                    |length: usize| ("Content-Length".to_owned(), length.to_string().into_bytes());
                let chunked = ("Transfer-Encoding".to_owned(), b"chunked".to_vec());
                match framing {
                    0 if !responses => {}
                    0 => message.fields.push(length(0)),
                    1 => message.fields.push(length(body.len())),
                    _ => message.fields.push(chunked),
                }
                for (name, value) in &message.fields {
                    write::field(&mut wire, name.as_bytes(), value);
                }
                wire.extend_from_slice(b"\r\n");
                if framing == 1 {
                    wire.extend_from_slice(&body);
                    message.body = body;
                } else if framing == 2 {
                    let mut rest = &body[..];
                    for size in sizes.iter().cycle() {
                        let (chunk, after) = rest.split_at((*size).min(rest.len()));
                        write::chunk_size(&mut wire, chunk.len());
                        // Extensions are read over; they stand before the line's end.
                        wire.truncate(wire.len() - 2);
                        wire.extend_from_slice(extension.as_bytes());
                        wire.extend_from_slice(b"\r\n");
                        if chunk.is_empty() {
                            break;
                        }
                        wire.extend_from_slice(chunk);
                        wire.extend_from_slice(b"\r\n");
                        rest = after;
                    }
                    for (name, value) in &trailers {
                        write::field(&mut wire, name.as_bytes(), value);
                    }
                    wire.extend_from_slice(b"\r\n");
                    message.body = body;
                    message.trailers = trailers;
                }
                (message, wire.to_vec())
            },
        )
}

/// Cuts bytes at these places.
fn pieces<'a>(wire: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
    at.extend([0, wire.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect()
}

/// Bytes that look like HTTP here and there.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"GET ",
        b"POST ",
        b"/",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"HTTP/1.1 200 OK",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n",
        b": ",
        b" ",
        b"\t",
        b"\0",
        b"x",
        b";",
        b"fffffffffffffff",
        b"hello",
        b"Connection: close\r\n",
        b"\xff",
    ];
    let word = prop::sample::select(words).prop_map(<[u8]>::to_vec);
    let noise = prop::collection::vec(any::<u8>(), 0..6);
    prop::collection::vec(prop_oneof![8 => word, 1 => noise], 0..40)
        .prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_come_out_the_same_however_their_bytes_are_cut(
        (responses, sent) in any::<bool>().prop_flat_map(|responses| (Just(responses), prop::collection::vec(message(responses), 1..5))),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        one_by_one in prop::bool::weighted(0.2),
    ) {
        let wire: Vec<u8> = sent.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let pieces = if one_by_one { wire.chunks(1).collect() } else { pieces(&wire, &cuts) };
        let mut reader = Reader::new(responses);
        for piece in pieces {
            reader.feed(piece).map_err(|bad| TestCaseError::fail(bad.to_string()))?;
        }
        let sent: Vec<Message> = sent.into_iter().map(|(message, _)| message).collect();
        prop_assert_eq!(reader.messages, sent);
        prop_assert!(reader.buf.is_empty() && reader.body.is_none());
    }

    #[test]
    fn no_bytes_are_read_in_two_ways(
        wire in prop_oneof![soup(), prop::collection::vec(any::<u8>(), 0..200)],
        responses in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        // All at once against in pieces: the same messages, and refused either way or neither way.
        let mut whole = Reader::new(responses);
        let outcome = whole.feed(&wire);
        let mut cut = Reader::new(responses);
        let in_pieces = pieces(&wire, &cuts).into_iter().try_for_each(|piece| cut.feed(piece));
        prop_assert_eq!(&whole.messages, &cut.messages);
        prop_assert_eq!(outcome.is_ok(), in_pieces.is_ok());
    }

    #[test]
    fn a_request_written_again_is_the_same_request(wire in prop_oneof![message(false).prop_map(|(_, wire)| wire), soup()]) {
        let mut buf = BytesMut::from(&wire[..]);
        let Ok(Some(first)) = parse_request(&mut buf, &LIMITS) else { return Ok(()) };
        let first = first.request;
        prop_assume!(first.version == Version::Http11);
        let mut again = BytesMut::new();
        write::request_line(&mut again, first.method.as_str().as_bytes(), &first.target);
        first.fields.for_each(|_, name, value| write::field(&mut again, name, value));
        again.extend_from_slice(b"\r\n");
        // There may be a space after each colon that was not there before.
        let wide = Limits { head_bytes: 2 * LIMITS.head_bytes, ..LIMITS };
        let second = parse_request(&mut again, &wide).unwrap().unwrap().request;
        prop_assert!(again.is_empty());
        prop_assert_eq!(first.method, second.method);
        prop_assert_eq!(first.target, second.target);
        prop_assert_eq!(first.body, second.body);
        prop_assert_eq!(first.upgrade, second.upgrade);
        prop_assert!(first.authority.eq_ignore_ascii_case(&second.authority));
        prop_assert_eq!(fields_of(&first.fields), fields_of(&second.fields));
    }

    #[test]
    fn a_head_is_never_longer_than_its_limit(lead in soup(), tail in "[a-z: \r\n]{0,1500}") {
        let mut buf = BytesMut::from(&[&lead[..], tail.as_bytes()].concat()[..]);
        let before = buf.len();
        if let Ok(Some(parsed)) = parse_request(&mut buf, &LIMITS) {
            let Fields::Http1(fields) = &parsed.request.fields else { panic!("from HTTP/1") };
            prop_assert!(fields.bytes.len() <= LIMITS.head_bytes);
            prop_assert!(fields.spans.len() <= LIMITS.fields);
            prop_assert!(buf.len() < before);
        }
    }
}
