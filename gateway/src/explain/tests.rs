use super::*;
use crate::config::{Source, parse};

const TEXT: &str = r#"
listeners:
  http:  { bind: ":80" }
  https: { bind: ":443", tls: { certificates: [nowhere.pem] } }
  hops:  { bind: ":81", redirect_https: none, forwarded: { from: 192.0.2.0/24 }, forwarded_header: on }
  grpc:  { bind: ":6554", tls: { certificates: [nowhere.pem] }, protocol: grpc }
  shut:  { bind: ":8443", tls: { certificates: [nowhere.pem] }, allow: 10.0.0.0/8 }
pools:
  app: { ports: 1-2, worker_in_flight_max: 5 }
  api: { ports: 3, hold: off }
  agents: { ports: 4, protocol: h2c }
  closed: { ports: 5, maintenance: { retry_after: 10m, text: back at noon, allow: 10.0.0.0/8 } }
  backed: { ports: 6, hold: 7s, backup: { to: app, below: 2 }, sticky: { cookie: at } }
routes:
  - { path: /, to: app }
  - { path: /api, to: api, strip_prefix: true, set_headers: { X-FQDN: "{host}" } }
  - { path: /no, deny: 403 }
  - { path: /office, to: app, deny: 192.0.2.0/24 }
  - { path: /hop, to: app, on: [hops], allow: 198.51.100.0/24 }
  - { path: /few, to: app, rate: 10/m, in_flight_max: 3, body_bytes_max: 1KiB }
  - { path: /, to: agents, on: [grpc] }
  - { path: /closed, to: closed }
  - { path: /old, redirect: "https://{hostname}/new{rest}" }
  - path: /much
    to: backed
    buffer_request: 1MiB
    mirror: { to: api, share: 5% }
    set_headers: { X-Name: "{hostname}{rest}?{query} {listener} {route}" }
    remove_headers: [X-Debug]
    set_response_headers: { Strict-Transport-Security: max-age=1, X-Id: "{request_id}" }
    on: [https, hops]
"#;

fn ask(method: &str, url: &str) -> String {
    ask_with(method, url, &[])
}

fn ask_with(method: &str, url: &str, fields: &[&str]) -> String {
    let source = Source {
        name: "test".into(),
        text: TEXT.into(),
    };
    let config = parse(&source, &|_| None)
        .config
        .expect("a good configuration");
    let question = Question {
        from: "192.0.2.7".parse().unwrap(),
        tls_name: None,
        method: method.into(),
        url: url.into(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
    };
    explain(&config, &question, Instant::now()).unwrap_or_else(|error| format!("error: {error}"))
}

#[test]
fn what_is_told_is_what_would_be_done() {
    for (method, url, told) in [
        (
            "GET",
            "https://e.test/x",
            &[
                "`https`",
                "pool         `app`",
                "x-forwarded-for: 192.0.2.7",
                "held for up to 30s",
                "5 at once each; queued for up to 30s, then 503",
            ][..],
        ),
        (
            "GET",
            "https://e.test//api/./v2?q=1",
            &[
                "(normalised)",
                "rather than `/ -> app`: its path is shorter",
                "GET /v2?q=1",
                "x-fqdn: e.test",
                "503 with Retry-After: 5",
            ],
        ),
        (
            "POST",
            "http://e.test/x",
            &["308, Location: https://e.test/x"],
        ),
        ("GET", "https://e.test/no/x", &["403"]),
        (
            "GET",
            "https://e.test/office",
            &["403", "not for 192.0.2.7"],
        ),
        (
            "GET",
            "https://e.test:8443/",
            &["closed at once", "192.0.2.7 may not connect"],
        ),
        (
            "GET",
            "https://e.test/few",
            &[
                "10 in 60s per address, 1 at once",
                "3 of the route",
                "1024 bytes",
            ],
        ),
        ("GET", "https://e.test/x/%6Detrics", &["403"]),
        (
            "POST",
            "https://e.test:6554/a.B/C",
            &["gRPC over TLS", "`agents`", "grpc-status 14"],
        ),
        (
            "POST",
            "https://e.test:6554/metrics/C",
            &["trailers only, grpc-status 14"],
        ),
        (
            "GET",
            "https://e.test:444/",
            &["error: no TLS listener has port 444", "443 (https)"],
        ),
        ("GET", "ftp://e.test/", &["error: the scheme `ftp`"]),
        (
            "GET",
            "https://e.test/closed",
            &[
                "answer       503 with Retry-After: 600, \"back at noon\"",
                "`maintenance`",
            ],
        ),
        (
            "GET",
            "https://e.test/old/a/../b?q=1",
            &["answer       302, Location: https://e.test/new/b?q=1"],
        ),
        (
            "GET",
            "https://e.test/x//%2e%2e/metrics",
            &["403", "`deny_segments` (metrics)"],
        ),
        (
            "CONNECT",
            "https://e.test/",
            &["answer       405", "CONNECT is served to nobody"],
        ),
        (
            "POST",
            "https://e.test/much/x?q",
            &[
                "none up      held for up to 7s",
                "backup       `app` while fewer than 2 workers of `backed` are up",
                "x-name: e.test/x?q https /much -> backed\n",
                "x-debug: taken out",
                "x-request-id: ",
                "the cookie `at`",
                "up to 1048576 bytes",
                "5 % of such requests go to `api`",
                "comes back   strict-transport-security: max-age=1",
                "x-id: {request_id}",
            ],
        ),
    ] {
        let answer = ask(method, url);
        for part in told {
            assert!(
                answer.contains(part),
                "`{part}` is not in the answer for {method} {url}:\n{answer}"
            );
        }
    }
}

#[test]
fn whom_a_trusted_hop_tells_of_is_the_client() {
    for (field, told) in [
        (
            "X-Forwarded-For: 198.51.100.9",
            &[
                "client       198.51.100.9, as the hop 192.0.2.7 tells",
                "x-forwarded-for: 198.51.100.9, 192.0.2.7",
            ][..],
        ),
        (
            "X-Forwarded-For: 203.0.113.1",
            &["403", "not for 203.0.113.1"],
        ),
    ] {
        let answer = ask_with("GET", "http://e.test:81/hop", &[field]);
        for part in told {
            assert!(answer.contains(part), "`{part}` is not in:\n{answer}");
        }
    }
}

#[test]
fn a_promise_of_tls_is_told_to_no_one_who_came_without() {
    let answer = ask("GET", "http://e.test:81/much");
    assert!(!answer.contains("strict-transport-security"), "{answer}");
    assert!(
        answer.contains("forwarded: for=192.0.2.7;host=\"e.test:81\";proto=http"),
        "{answer}"
    );
}

#[test]
fn a_pool_in_maintenance_has_no_candidates() {
    let answer = ask("GET", "https://e.test/closed");
    assert!(!answer.contains("workers"), "{answer}");
}
