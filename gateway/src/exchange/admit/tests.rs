//! Is each request sent where the configuration says, and nowhere else?

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::config::{Source, parse, render};
use crate::http1::head::{Limits, parse_request};
use crate::observe::metrics::Metrics;

const TEXT: &str = r#"
listeners:
  http:   { bind: ":80" }
  https:  { bind: ":443", tls: { certificates: edge.pem } }
  all:    { bind: ":81", redirect_https: all, redirect_port: 8443 }
  none:   { bind: ":82", redirect_https: none }
pools: { a: { ports: 9000 }, b: { ports: 9001 } }
routes:
  - { path: /ping,    to: a, on: [http, https], name: ping }
  - { path: /upload,  to: b, on: [https, none], name: upload, strip_prefix: true }
  - { path: /closed,  deny: 410, on: [https], name: closed }
  - { path: /api,     to: a, on: [https], name: api, method: GET }
  - { path: /fleet,   to: b, on: [https], name: fleet, header: { X-Fleet: "*" } }
  - { exact: /only,   to: a, on: [https], name: only }
  - { path: /,        to: a, on: [https], name: host, host: "*.example.com" }
"#;

fn plan() -> Plan {
    let source = Source {
        name: "t".to_owned(),
        text: TEXT.to_owned(),
    };
    let checked = parse(&source, &|_| None);
    let shown = render(&source, &checked.problems, false);
    let config = checked.config.expect(&shown);
    let tls = config.listeners.iter().map(|_| None).collect();
    Plan::build(config, tls, &Metrics::new().unwrap(), None, Instant::now())
}

fn request(line: &str, fields: &str) -> Request {
    let limits = Limits {
        head_bytes: 8192,
        target_bytes: 4096,
        fields: 9,
    };
    let text = format!("{line} HTTP/1.0\r\n{fields}\r\n");
    let parsed = parse_request(&mut BytesMut::from(&text[..]), &limits);
    parsed.expect(line).expect("a whole head").request
}

/// The decision in words: route and target, status and location, or route and refusal.
fn decided(plan: &Plan, on: &str, line: &str, fields: &str) -> String {
    let at = plan
        .config
        .listeners
        .iter()
        .position(|listener| listener.name == on);
    let id = ListenerId(at.expect(on) as u16);
    let name = |route: RouteId| plan.route(route).name.clone();
    let client = IpAddr::from([192, 0, 2, 7]);
    match decide(plan, id, client, &request(line, fields)) {
        Decision::Forward {
            route,
            target: None,
        } => name(route),
        Decision::Forward {
            route,
            target: Some(target),
        } => {
            format!("{} as {}", name(route), String::from_utf8(target).unwrap())
        }
        Decision::Answer { route } => format!("{} itself", name(route)),
        Decision::Redirect { status, location } => format!("{status} {location}"),
        Decision::Refuse { route, failure } => {
            let route = route.map_or(String::new(), |route| format!("{}: ", name(route)));
            format!("{route}{} {}", failure.word(), failure.answer().status)
        }
    }
}

fn table(on: &str, cases: &[(&str, &str)]) {
    let plan = plan();
    for (line, want) in cases {
        assert_eq!(
            decided(&plan, on, line, "Host: h\r\n"),
            *want,
            "{on}: {line}"
        );
    }
}

#[test]
fn a_request_goes_where_its_route_says_with_the_bytes_of_the_client() {
    table(
        "https",
        &[
            ("GET /ping", "ping"),
            ("POST /ping/x?y=/metrics", "ping"),
            ("GET /ping?", "ping"),
            ("GET /%70ing", "ping"),
            ("GET /api/x", "api"),
            ("GET /only", "only"),
            ("GET /only/", "only"),
        ],
    );
    let plan = plan();
    assert_eq!(
        decided(&plan, "https", "GET /fleet", "Host: h\r\nx-fleet: 1\r\n"),
        "fleet"
    );
    assert_eq!(
        decided(&plan, "https", "GET /x", "Host: A.Example.COM.:443\r\n"),
        "host"
    );
    assert_eq!(
        decided(&plan, "https", "OPTIONS *", "Host: a.example.com\r\n"),
        "host"
    );
}

#[test]
fn a_path_with_another_structure_is_sent_on_in_its_normal_form() {
    table(
        "https",
        &[
            ("GET //ping", "ping as /ping"),
            ("GET /x/../ping?a=b", "ping as /ping?a=b"),
            ("GET /ping/./x", "ping as /ping/x"),
            ("GET /ping/%2e%2e/api", "api as /api"),
            ("GET /ping\\x", "ping as /ping/x"),
        ],
    );
}

#[test]
fn a_prefix_is_taken_off_and_the_query_stays() {
    table(
        "https",
        &[
            ("PUT /upload/x?y", "upload as /x?y"),
            ("PUT /upload", "upload as /"),
            ("PUT /upload?y", "upload as /?y"),
            ("PUT /upload/", "upload as /"),
            ("PUT /%75pload/a%2Fb", "upload as /a%2Fb"),
            ("PUT //upload//x", "upload as /x"),
        ],
    );
}

#[test]
fn what_is_denied_is_denied_in_every_spelling_and_before_everything_else() {
    let spellings = [
        "/metrics",
        "/metrics/",
        "/metrics/x",
        "/ping/metrics",
        "/PING/METRICS",
        "/%6detrics",
        "/ping/%256detrics",
        "/x/../metrics",
        "//metrics",
        "/metrics;a=b",
        "/ping/metrics?x",
        "/metrics%2f",
        "/a\\metrics",
    ];
    let plan = plan();
    for on in ["https", "http", "all", "none"] {
        for path in spellings {
            let line = format!("GET {path}");
            assert_eq!(
                decided(&plan, on, &line, "Host: h\r\n"),
                "denied 403",
                "{on}: {path}"
            );
        }
    }
    table(
        "https",
        &[
            ("GET /closed/x", "closed: denied 410"),
            ("GET /ping/metrics/x", "ping"),
        ],
    );
}

#[test]
fn a_prefix_taken_off_does_not_lay_a_denied_path_bare() {
    for path in [
        "/upload/metrics/x",
        "/upload/%6detrics/x",
        "/upload/metrics;a/x",
        "/upload//metrics/x",
        "/upload/./metrics/x?y",
        "/upload/y/../metrics/x",
        "/upload/%256detrics/x",
    ] {
        table("https", &[(&format!("GET {path}"), "upload: denied 403")]);
    }
    table(
        "https",
        &[("GET /upload/x/metrics/y", "upload as /x/metrics/y")],
    );
}

#[test]
fn what_has_no_route_is_503_and_never_404() {
    table(
        "https",
        &[
            ("GET /", "no_route 503"),
            ("GET /pingpong", "no_route 503"),
            ("POST /api", "no_route 503"),
            ("GET /fleet", "no_route 503"),
            ("GET /only/x", "no_route 503"),
            ("OPTIONS *", "no_route 503"),
        ],
    );
    table(
        "none",
        &[
            ("GET /ping", "no_route 503"),
            ("GET /upload/x", "upload as /x"),
        ],
    );
}

#[test]
fn plain_requests_are_redirected_with_the_method_kept() {
    table(
        "http",
        &[
            ("GET /ping", "ping"),
            ("POST /ping", "ping"),
            ("GET /", "302 https://h/"),
            ("HEAD /a?b=c", "302 https://h/a?b=c"),
            ("POST /a", "308 https://h/a"),
            ("PUT /upload/x", "308 https://h/upload/x"),
            ("OPTIONS *", "308 https://h/"),
            ("GET //evil.example/x", "302 https://h//evil.example/x"),
        ],
    );
    table(
        "all",
        &[
            ("GET /ping", "302 https://h:8443/ping"),
            ("DELETE /ping", "308 https://h:8443/ping"),
        ],
    );
}

#[test]
fn a_redirect_goes_to_the_host_that_was_asked_for_and_needs_one() {
    let plan = plan();
    for (fields, want) in [
        ("Host: A.Example:80\r\n", "302 https://a.example/x"),
        ("Host: h.\r\n", "302 https://h/x"),
        ("Host: [::1]:80\r\n", "302 https://[::1]/x"),
        ("Host: 127.0.0.1\r\n", "302 https://127.0.0.1/x"),
        ("", "bad_host 400"),
    ] {
        assert_eq!(decided(&plan, "http", "GET /x", fields), want, "{fields:?}");
    }
}

#[test]
fn a_path_or_a_host_that_cannot_be_read_is_refused() {
    table(
        "https",
        &[
            ("GET /%zz", "bad_path 400"),
            ("GET /ping%", "bad_path 400"),
            ("GET /ping/%00", "bad_path 400"),
            ("GET /ping/%0d%0aX:y", "bad_path 400"),
            // Escapes of a query are the worker's affair.
            ("GET /ping?%zz", "ping"),
        ],
    );
    let plan = plan();
    for host in ["a..b", "a:99999", "a%41", "a,b", "[1.2.3.4]", "[::g]", "a*"] {
        let fields = format!("Host: {host}\r\n");
        let limits = Limits {
            head_bytes: 999,
            target_bytes: 99,
            fields: 9,
        };
        let text = format!("GET /ping HTTP/1.1\r\n{fields}\r\n");
        if parse_request(&mut BytesMut::from(&text[..]), &limits).is_ok() {
            assert_eq!(
                decided(&plan, "https", "GET /ping", &fields),
                "bad_host 400",
                "{host}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a worker is sent is a path that would be allowed and read the same if it came from a client.
    #[test]
    fn what_is_forwarded_is_not_denied(
        words in prop::collection::vec(prop::sample::select(vec![
            "/", "/", "//", ".", "..", "%2e", "%2f", "%5c", "\\", "%25", "25", ";", "a", "metrics", "%6detrics", "upload", "ping", "?",
        ]), 0..12),
        start in prop::sample::select(vec!["/", "/upload", "/upload/", "/ping/", "/x/../upload/"]),
    ) {
        let plan = plan();
        let whole = format!("{start}{}", words.concat());
        let request = request(&format!("GET {whole}"), "Host: h\r\n");
        if let Decision::Forward { target, .. } = decide(&plan, ListenerId(1), IpAddr::from([192, 0, 2, 7]), &request) {
            let sent = target.unwrap_or_else(|| request.target.to_vec());
            let path = sent.split(|c| *c == b'?').next().expect("split gives one");
            let normal = path::normalise(path).expect("what is sent on is a path");
            prop_assert_eq!(normal.forward(), None);
            prop_assert!(!normal.denied(&plan.config.deny_segments), "{} as {:?}", whole, sent);
        }
    }
}

#[test]
fn a_hash_key_is_the_value_that_the_pool_names() {
    for (cookies, name, want) in [
        ("id=1", "id", Some("1")),
        ("a=b; id=1; c=d", "id", Some("1")),
        ("a=b;id=1", "id", Some("1")),
        ("xid=2; id=1", "id", Some("1")),
        ("id=", "id", Some("")),
        ("idx=1", "id", None),
        ("ID=1", "id", None),
        ("", "id", None),
    ] {
        let got = cookie(cookies.as_bytes(), name);
        assert_eq!(got, want.map(str::as_bytes), "{cookies:?}");
    }
    // Two gateways must agree: these numbers are for ever (FNV-1a, 64 bits).
    assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv(b"a"), 0xaf63_dc4c_8601_ec8c);
}

fn limited(listener: &str, route: &str) -> Plan {
    let text = format!(
        "listeners: {{ l: {{ bind: \":80\"{listener} }} }}\npools: {{ p: {{ ports: 9000 }} }}\n\
         routes: [{{ path: /, to: p, name: r{route} }}, {{ path: /free, to: p, name: f }}]"
    );
    let name = "t".to_owned();
    let source = Source { name, text };
    let checked = parse(&source, &|_| None);
    let shown = render(&source, &checked.problems, false);
    let config = checked.config.expect(&shown);
    Plan::build(
        config,
        vec![None],
        &Metrics::new().unwrap(),
        None,
        Instant::now(),
    )
}

fn judged(plan: &Plan, from: [u8; 4], line: &str) -> &'static str {
    let request = request(line, "Host: h\r\n");
    let now = Instant::now();
    match judge(plan, ListenerId(0), IpAddr::from(from), None, &request, now) {
        Decision::Refuse { failure, .. } => failure.word(),
        _ => "served",
    }
}

#[test]
fn who_may_not_is_denied_and_costs_no_token() {
    let plan = limited("", ", allow: 10.0.0.0/8, rate: { requests: 1/h, burst: 1 }");
    for (from, path, word) in [
        ([192, 0, 2, 1], "/", "denied"),
        ([192, 0, 2, 1], "/free", "served"),
        ([10, 0, 0, 1], "/metrics", "denied"),
        ([10, 0, 0, 1], "/", "served"),
        ([10, 0, 0, 1], "/", "rate_limited"),
        ([10, 0, 0, 1], "/free", "served"),
        ([10, 0, 0, 2], "/", "served"),
        ([192, 0, 2, 1], "/", "denied"),
    ] {
        let line = format!("GET {path}");
        assert_eq!(judged(&plan, from, &line), word, "{from:?} {path}");
    }
}

#[test]
fn the_rate_of_a_listener_is_asked_first() {
    let plan = limited(", rate: { requests: 1/h, burst: 2 }", ", allow: 10.0.0.0/8");
    for word in ["denied", "denied", "rate_limited"] {
        assert_eq!(judged(&plan, [192, 0, 2, 1], "GET /"), word);
    }
}

#[test]
fn a_rate_counts_on_over_a_plan_that_does_not_change_it() {
    let rate = ", rate: { requests: 1/h, burst: 1 }";
    let rebuilt = |before: &Plan, after: Plan| {
        let metrics = Metrics::new().unwrap();
        let now = Instant::now();
        Plan::build(after.config, vec![None], &metrics, Some(before), now)
    };
    let first = limited(rate, rate);
    assert_eq!(judged(&first, [10, 0, 0, 1], "GET /"), "served");
    let same = rebuilt(&first, limited(rate, rate));
    assert_eq!(judged(&same, [10, 0, 0, 1], "GET /free"), "rate_limited");
    let only_route = rebuilt(&same, limited("", rate));
    assert_eq!(judged(&only_route, [10, 0, 0, 1], "GET /"), "rate_limited");
    let other = rebuilt(
        &only_route,
        limited("", ", rate: { requests: 2/h, burst: 1 }"),
    );
    assert_eq!(judged(&other, [10, 0, 0, 1], "GET /"), "served");
}
