//! Does each side see what it may see, framed for it?

use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::http1::head::{Limits, parse_request, parse_response};

const LIMITS: Limits = Limits {
    head_bytes: 8192,
    target_bytes: 1024,
    fields: 64,
};

fn request(line: &str, fields: &str) -> Request {
    let text = format!("{line} HTTP/1.1\r\nHost: Example.com:80\r\n{fields}\r\n");
    let parsed = parse_request(&mut BytesMut::from(&text[..]), &LIMITS);
    parsed.expect(&text).expect("a whole head").request
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, HeaderValue::from_static(value));
    }
    map
}

fn http2(method: Method, body: BodyKind, fields: &[(&'static str, &'static str)]) -> Request {
    Request {
        method,
        authority: Bytes::from_static(b"example.com"),
        target: Bytes::from_static(b"/x"),
        version: Version::Http2,
        fields: Fields::Http2(map(fields)),
        body,
        upgrade: None,
        expects_continue: false,
    }
}

fn passage<'a>(set: &'a [(&'a str, Vec<u8>)]) -> Passage<'a> {
    Passage {
        hidden_cookie: None,
        target: b"/x",
        client: "192.0.2.1",
        origin: None,
        forwarded: false,
        tls: true,
        port: 443,
        request_id: "id-1",
        to_tls: false,
        certificate: None,
        trace: None,
        made: Box::leak(Box::new(Made {
            set: set.to_vec(),
            ..Made::default()
        })),
    }
}

fn text(out: BytesMut) -> String {
    String::from_utf8(out.to_vec()).unwrap()
}

/// The head for an HTTP/1.1 worker, and the framing of what follows.
fn to_worker(request: &Request, set: &[(&str, Vec<u8>)]) -> (String, Framing) {
    let mut out = BytesMut::new();
    let framing = http1_request(&mut out, request, &passage(set), false, None);
    (text(out), framing)
}

/// The values of a field, in order.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    lines
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v)
        .collect()
}

// ---- Requests ----

#[test]
fn fields_of_one_connection_stay_on_it() {
    let asked = request(
        "GET /x",
        "Connection: close, X-Private ,x-other\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
         TE: trailers, gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nX-Private: 1\r\nX-OTHER: 2\r\n\
         X-Public: 3\r\nAccept: */*\r\n",
    );
    let (head, _) = to_worker(&asked, &[]);
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
        "http2-settings",
        "x-private",
        "x-other",
        "transfer-encoding",
    ] {
        assert_eq!(values(&head, name), [""; 0], "{name} in {head}");
    }
    assert_eq!(values(&head, "x-public"), ["3"]);
    assert_eq!(values(&head, "accept"), ["*/*"]);
    let map = http2_request(&asked, &passage(&[]))
        .unwrap()
        .headers()
        .clone();
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "http2-settings",
        "x-private",
        "host",
    ] {
        assert!(!map.contains_key(name), "{name}");
    }
    assert_eq!(map["te"], "trailers");
}

#[test]
fn a_client_cannot_take_off_what_the_gateway_says() {
    let all = "host, x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-forwarded-port, x-request-id, content-length, te, x-set";
    let asked = request(
        "POST /x",
        &format!("Connection: {all}\r\nContent-Length: 3\r\n"),
    );
    let set = [("x-set", b"yes".to_vec())];
    let (head, framing) = to_worker(&asked, &set);
    for name in all.split(", ").filter(|name| *name != "te") {
        assert_eq!(values(&head, name).len(), 1, "{name} in {head}");
    }
    assert_eq!(framing, Framing::Length(3));
}

#[test]
fn what_a_stranger_says_of_the_way_is_replaced() {
    let asked = request(
        "GET /x",
        "X-Forwarded-For: 10.0.0.1\r\nx-forwarded-PROTO: gopher\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n\
         X-Forwarded-Server: evil\r\nX-Forwarded-Prefix: /evil\r\nForwarded: for=10.0.0.1\r\nX-Request-ID: evil\r\n",
    );
    let (head, _) = to_worker(&asked, &[]);
    let map = http2_request(&asked, &passage(&[]))
        .unwrap()
        .headers()
        .clone();
    for (name, want) in [
        ("x-forwarded-for", &["192.0.2.1"][..]),
        ("x-forwarded-proto", &["https"]),
        ("x-forwarded-host", &["Example.com:80"]),
        ("x-forwarded-port", &["443"]),
        ("x-request-id", &["id-1"]),
        ("x-forwarded-server", &[]),
        ("x-forwarded-prefix", &[]),
        ("forwarded", &[]),
    ] {
        assert_eq!(values(&head, name), want, "{head}");
        let in_map: Vec<_> = map
            .get_all(name)
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect();
        assert_eq!(in_map, want, "{name}");
    }
}

#[test]
fn the_host_goes_on_byte_by_byte() {
    let (head, _) = to_worker(&request("GET /x", ""), &[]);
    assert_eq!(values(&head, "host"), ["Example.com:80"]);
    let (head, _) = to_worker(
        &http2(Method::GET, BodyKind::Empty, &[("host", "evil")]),
        &[],
    );
    assert_eq!(values(&head, "host"), ["example.com"]);
    let uri = http2_request(&request("GET /x", ""), &passage(&[]))
        .unwrap()
        .uri()
        .to_string();
    assert_eq!(uri, "http://Example.com:80/x");
}

#[test]
fn fields_that_the_route_sets_replace_all_others() {
    let asked = request("GET /x", "X-FQDN: evil\r\nx-fqdn: worse\r\nCookie: a\r\n");
    let set = [
        ("x-fqdn", b"good".to_vec()),
        ("x-forwarded-proto", b"http".to_vec()),
        ("x-request-id", b"mine".to_vec()),
    ];
    let (head, _) = to_worker(&asked, &set);
    let map = http2_request(&asked, &passage(&set))
        .unwrap()
        .headers()
        .clone();
    for (name, want) in [
        ("x-fqdn", "good"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "mine"),
        ("cookie", "a"),
    ] {
        assert_eq!(values(&head, name), [want], "{head}");
        assert_eq!(map.get_all(name).iter().collect::<Vec<_>>(), [want]);
    }
}

#[test]
fn crumbs_of_a_cookie_are_put_together_for_http_1() {
    let crumbs = [
        ("cookie", "a=b"),
        ("x", "y"),
        ("cookie", "c=d"),
        ("cookie", "e=f"),
    ];
    let asked = http2(Method::GET, BodyKind::Empty, &crumbs);
    assert_eq!(
        values(&to_worker(&asked, &[]).0, "cookie"),
        ["a=b; c=d; e=f"]
    );
    let map = http2_request(&asked, &passage(&[]))
        .unwrap()
        .headers()
        .clone();
    assert_eq!(map.get_all("cookie").iter().count(), 3);
    let asked = http2(Method::GET, BodyKind::Empty, &[]);
    assert_eq!(values(&to_worker(&asked, &[]).0, "cookie"), [""; 0]);
    // HTTP/1 has no crumbs: what came in lines stays in lines.
    let asked = request("GET /x", "Cookie: a=b\r\nCookie: c=d\r\n");
    assert_eq!(values(&to_worker(&asked, &[]).0, "cookie"), ["a=b", "c=d"]);
}

#[test]
fn a_request_body_is_framed_anew() {
    let chunked = "transfer-encoding: chunked";
    for (method, body, line, framing) in [
        (Method::GET, BodyKind::Empty, None, Framing::Empty),
        (Method::DELETE, BodyKind::Empty, None, Framing::Empty),
        (
            Method::POST,
            BodyKind::Empty,
            Some("content-length: 0"),
            Framing::Empty,
        ),
        (
            Method::PUT,
            BodyKind::Empty,
            Some("content-length: 0"),
            Framing::Empty,
        ),
        (
            Method::PATCH,
            BodyKind::Empty,
            Some("content-length: 0"),
            Framing::Empty,
        ),
        (
            Method::GET,
            BodyKind::Length(5),
            Some("content-length: 5"),
            Framing::Length(5),
        ),
        (
            Method::POST,
            BodyKind::Length(5),
            Some("content-length: 5"),
            Framing::Length(5),
        ),
        (
            Method::POST,
            BodyKind::Open,
            Some(chunked),
            Framing::Chunked,
        ),
        (Method::GET, BodyKind::Open, Some(chunked), Framing::Chunked),
    ] {
        let asked = http2(method.clone(), body, &[("content-length", "99")]);
        let (head, got) = to_worker(&asked, &[]);
        let lines: Vec<&str> = head
            .lines()
            .filter(|line| {
                line.starts_with("content-length") || line.starts_with("transfer-encoding")
            })
            .collect();
        assert_eq!(
            (lines, got),
            (Vec::from_iter(line), framing),
            "{method} {body:?}"
        );
        let head = http2_request(&asked, &passage(&[])).unwrap();
        let length = head
            .headers()
            .get("content-length")
            .map(|v| v.to_str().unwrap());
        let want = matches!(body, BodyKind::Length(_)).then_some("5");
        assert_eq!(length, want, "{method} {body:?}");
    }
}

#[test]
fn te_passes_to_http_2_only_where_it_says_trailers() {
    for (fields, want) in [
        ("TE: trailers\r\n", true),
        ("TE: gzip, Trailers\r\n", true),
        ("TE: gzip\r\n", false),
        ("", false),
    ] {
        let head = http2_request(&request("GET /x", fields), &passage(&[])).unwrap();
        assert_eq!(head.headers().contains_key("te"), want, "{fields:?}");
    }
}

#[test]
fn an_upgrade_is_said_anew() {
    let asked = request(
        "GET /x",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n",
    );
    let mut out = BytesMut::new();
    assert_eq!(
        http1_request(&mut out, &asked, &passage(&[]), true, None),
        Framing::Empty
    );
    let head = text(out);
    assert!(head.starts_with("GET /x HTTP/1.1\r\n"));
    for (name, want) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "k"),
        ("sec-websocket-version", "13"),
    ] {
        assert_eq!(values(&head, name), [want]);
    }
    // From an extended CONNECT: a GET with a key of ours (RFC 8441 section 5).
    let mut asked = http2(
        Method::CONNECT,
        BodyKind::Open,
        &[
            ("sec-websocket-key", "theirs"),
            ("sec-websocket-version", "13"),
        ],
    );
    asked.upgrade = Some(Upgrade::Connect("websocket".to_owned()));
    let mut out = BytesMut::new();
    assert_eq!(
        http1_request(&mut out, &asked, &passage(&[]), true, Some("ours")),
        Framing::Empty
    );
    let head = text(out);
    assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
    assert_eq!(values(&head, "sec-websocket-key"), ["ours"]);
    assert_eq!(values(&head, "transfer-encoding"), [""; 0]);
}

#[test]
fn a_websocket_key_is_sixteen_bytes_in_base64() {
    for (random, key) in [
        (0, "AAAAAAAAAAAAAAAAAAAAAA=="),
        (u128::MAX, "/////////////////////w=="),
        (1, "AAAAAAAAAAAAAAAAAAAAAQ=="),
        (
            0x6461_7461_2062_7974_6573_2078_7878_7878,
            "ZGF0YSBieXRlcyB4eHh4eA==",
        ),
    ] {
        assert_eq!(websocket_key(random), key);
    }
}

#[test]
fn a_target_that_http_2_cannot_say_is_no_request() {
    let mut odd = passage(&[]);
    odd.target = b"/a b";
    assert!(http2_request(&request("GET /x", ""), &odd).is_none());
    let mut asked = request("GET /x", "");
    asked.authority = Bytes::from_static(b"a b");
    assert!(http2_request(&asked, &passage(&[])).is_none());
}

// ---- Responses ----

fn response(status: u16, body: BodyKind, fields: &str) -> Response {
    let text = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
    let parsed = parse_response(&mut BytesMut::from(&text[..]), &LIMITS, true);
    Response {
        body,
        ..parsed.expect(&text).expect("a whole head").response
    }
}

/// The head for an HTTP/1 client, and what follows.
fn to_client(
    response: &Response,
    version: Version,
    to_head: bool,
    after: After,
) -> (String, Framing, After) {
    let mut out = BytesMut::new();
    let (framing, after) = http1_response(&mut out, response, version, to_head, after, None);
    (text(out), framing, after)
}

#[test]
fn a_response_is_framed_for_its_client() {
    use BodyKind::{Empty, Length, Open, UntilClose};
    use Version::{Http10, Http11};
    const CL: &str = "Content-Length: 5\r\n";
    for (status, version, to_head, body, fields, want, framing) in [
        (
            200,
            Http11,
            false,
            Length(5),
            CL,
            "content-length: 5",
            Framing::Length(5),
        ),
        (
            200,
            Http11,
            false,
            Empty,
            "",
            "content-length: 0",
            Framing::Empty,
        ),
        (
            200,
            Http11,
            false,
            Open,
            "",
            "transfer-encoding: chunked",
            Framing::Chunked,
        ),
        (
            200,
            Http11,
            false,
            UntilClose,
            "",
            "transfer-encoding: chunked",
            Framing::Chunked,
        ),
        (
            200,
            Http10,
            false,
            Length(5),
            CL,
            "content-length: 5",
            Framing::Length(5),
        ),
        (200, Http10, false, Open, "", "", Framing::Raw),
        (200, Http10, false, UntilClose, "", "", Framing::Raw),
        // What a GET would have had.
        (
            200,
            Http11,
            true,
            Empty,
            CL,
            "content-length: 5",
            Framing::Empty,
        ),
        (200, Http11, true, Empty, "", "", Framing::Empty),
        (
            304,
            Http11,
            false,
            Empty,
            CL,
            "content-length: 5",
            Framing::Empty,
        ),
        (304, Http11, false, Empty, "", "", Framing::Empty),
        // Never (RFC 9110 section 8.6).
        (204, Http11, false, Empty, CL, "", Framing::Empty),
        (204, Http11, true, Empty, CL, "", Framing::Empty),
        (103, Http11, false, Empty, CL, "", Framing::Empty),
        (204, Http11, false, Open, "", "", Framing::Empty),
        (304, Http11, false, Open, "", "", Framing::Empty),
    ] {
        let answer = response(status, body, fields);
        let (head, got, _) = to_client(&answer, version, to_head, After::Keep);
        let lines: Vec<&str> = head
            .lines()
            .filter(|line| {
                line.starts_with("content-length") || line.starts_with("transfer-encoding")
            })
            .collect();
        assert_eq!(
            (lines.concat(), got),
            (want.to_owned(), framing),
            "{status} {version:?} {body:?} {to_head}"
        );
        let head = http2_response(answer, to_head, None);
        let length = head.headers().get("content-length").is_some();
        assert_eq!(
            length,
            want == "content-length: 5",
            "HTTP/2: {status} {body:?} {to_head}"
        );
    }
}

#[test]
fn the_connection_field_says_what_comes_after() {
    use Version::{Http10, Http11};
    for (version, body, after, want, then) in [
        (
            Http11,
            BodyKind::Length(1),
            After::Keep,
            &[][..],
            After::Keep,
        ),
        (
            Http11,
            BodyKind::Length(1),
            After::Close,
            &["close"],
            After::Close,
        ),
        (Http11, BodyKind::UntilClose, After::Keep, &[], After::Keep),
        (
            Http10,
            BodyKind::Length(1),
            After::Keep,
            &["keep-alive"],
            After::Keep,
        ),
        (
            Http10,
            BodyKind::Length(1),
            After::Close,
            &["close"],
            After::Close,
        ),
        // Its end is the end of the connection.
        (
            Http10,
            BodyKind::Open,
            After::Keep,
            &["close"],
            After::Close,
        ),
    ] {
        let answer = response(200, body, "Connection: keep-alive, close\r\n");
        let (head, _, got) = to_client(&answer, version, false, after);
        assert_eq!(
            (&values(&head, "connection")[..], got),
            (want, then),
            "{version:?} {body:?} {after:?}"
        );
    }
    let (head, _, after) = to_client(
        &response(101, BodyKind::Empty, ""),
        Http11,
        false,
        After::Upgrade,
    );
    assert_eq!(
        (values(&head, "connection"), after),
        (vec!["Upgrade"], After::Upgrade)
    );
    // An interim response says nothing of the end.
    let (head, ..) = to_client(
        &response(100, BodyKind::Empty, ""),
        Http11,
        false,
        After::Close,
    );
    assert_eq!(values(&head, "connection"), [""; 0]);
}

#[test]
fn fields_between_worker_and_gateway_stay_there() {
    let fields = "Connection: keep-alive, X-Private\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\n\
                  TE: x\r\nX-Private: 1\r\nX-Public: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-Request-ID: w\r\nTrailer: x\r\n";
    let answer = response(200, BodyKind::Empty, fields);
    let (head, ..) = to_client(&answer, Version::Http11, false, After::Keep);
    let map = http2_response(answer, false, None).headers().clone();
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "te",
        "x-private",
        "transfer-encoding",
    ] {
        assert_eq!(values(&head, name), [""; 0], "{head}");
        assert!(!map.contains_key(name), "{name}");
    }
    for (name, want) in [
        ("x-public", &["2"][..]),
        ("set-cookie", &["a", "b"]),
        ("x-request-id", &["w"]),
        ("trailer", &["x"]),
    ] {
        assert_eq!(values(&head, name), want);
        assert_eq!(map.get_all(name).iter().collect::<Vec<_>>(), want);
    }
}

#[test]
fn an_http_2_response_passes_to_http_2_without_its_framing() {
    let of = |status, body, fields| Response {
        status,
        fields: Fields::Http2(map(fields)),
        body,
    };
    for (status, body, to_head, kept) in [
        (200, BodyKind::Length(5), false, true),
        (200, BodyKind::Empty, true, true),
        (304, BodyKind::Empty, false, true),
        (200, BodyKind::Open, false, false),
        (204, BodyKind::Empty, false, false),
        (204, BodyKind::Empty, true, false),
        (103, BodyKind::Empty, false, false),
    ] {
        let head = http2_response(
            of(
                status,
                body,
                &[
                    ("content-length", "5"),
                    ("connection", "x"),
                    ("grpc-status", "0"),
                ],
            ),
            to_head,
            None,
        );
        assert_eq!(
            head.headers().contains_key("content-length"),
            kept,
            "{status} {body:?}"
        );
        assert!(
            !head.headers().contains_key("connection")
                && head.headers().contains_key("grpc-status")
        );
    }
    assert_eq!(
        http2_response(of(1000, BodyKind::Empty, &[]), false, None).status(),
        502
    );
}

#[test]
fn trailers_that_frame_or_route_are_not_written() {
    for (name, may) in [
        ("grpc-status", true),
        ("x", true),
        ("content-type", true),
        ("content-length", false),
        ("transfer-encoding", false),
        ("host", false),
        ("connection", false),
        ("keep-alive", false),
        ("te", false),
        ("upgrade", false),
        ("trailer", false),
    ] {
        assert_eq!(Known::of(name.as_bytes()).may_trail(), may, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// A worker reads one message with the framing that is used, whatever a client sends.
    #[test]
    fn what_is_forwarded_is_read_as_it_was_meant(
        method in "[A-Z]{1,7}",
        lines in prop::collection::vec((prop::sample::select(vec![
            "Connection", "Keep-Alive", "TE", "Upgrade", "Expect", "Forwarded", "X-Forwarded-For", "X-Request-ID", "Cookie",
            "Trailer", "Sec-WebSocket-Key", "Content-Type", "X-A", "HTTP2-Settings", "Proxy-Connection",
        ]), "[!-~]([ -~\t]{0,12}[!-~])?"), 0..8),
        framing in prop::sample::select(vec!["", "Content-Length: 0\r\n", "Content-Length: 7\r\n", "Transfer-Encoding: chunked\r\n"]),
    ) {
        prop_assume!(!["CONNECT", "TRACE"].contains(&&method[..]));
        let fields: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let asked = request(&format!("{method} /x"), &format!("{fields}{framing}"));
        let (head, framing) = to_worker(&asked, &[]);
        let mut buf = BytesMut::from(&head[..]);
        let seen = parse_request(&mut buf, &LIMITS).unwrap().unwrap();
        prop_assert!(buf.is_empty() && seen.keep_alive && seen.request.upgrade.is_none());
        let want = match seen.request.body {
            BodyKind::Empty => Framing::Empty,
            BodyKind::Length(length) => Framing::Length(length),
            BodyKind::Open | BodyKind::UntilClose => Framing::Chunked,
        };
        prop_assert_eq!(framing, want);
        prop_assert_eq!(seen.request.body, asked.body);
        prop_assert_eq!(values(&head, "x-forwarded-for"), ["192.0.2.1"]);
        prop_assert_eq!(values(&head, "x-request-id"), ["id-1"]);
    }
}
