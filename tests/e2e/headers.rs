//! Which fields does a worker see, and which does a client?

use e2e::h2_client::request;
use e2e::h2_scripts::h2_echoing_head;
use e2e::scripts::{echoing_head, saying};
use e2e::{Edge, Gateway, Message, Worker};

/// What the worker saw of a request with these fields.
async fn forwarded(gateway: &Gateway, fields: &[&str]) -> Message {
    let reply = gateway.http().await.ask("GET", "/a?b=c", fields, b"").await;
    assert_eq!(reply.status(), 200, "{fields:?}");
    Message {
        head: reply.text(),
        ..Message::default()
    }
}

#[tokio::test]
async fn host_and_target_go_on_unchanged() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    for (host, target) in [
        ("edge.test:8080", "/"),
        ("EDGE.test", "/a/b%20c/~d?x=%20&y=/../z//"),
        ("[::1]:80", "/?"),
        ("10.0.0.1", "/a;b=c,d"),
    ] {
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        let seen = Message {
            head: client.reply().await.text(),
            ..Message::default()
        };
        assert_eq!((seen.fields("host"), seen.target()), (vec![host], target));
        assert_eq!(seen.field("x-forwarded-host"), Some(host));
    }
    let mut new = request("GET", "/x?y");
    *new.uri_mut() = "https://edge.test:6554/x?y".parse().unwrap();
    let seen = gateway.h2("https").await.fetch(new, "").await;
    let seen = Message {
        head: seen.text(),
        ..Message::default()
    };
    assert_eq!(
        (seen.fields("host"), seen.target()),
        (vec!["edge.test:6554"], "/x?y")
    );
}

#[tokio::test]
async fn an_absolute_target_names_the_host() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client
        .send("GET http://real.test/x HTTP/1.1\r\nHost: other.test\r\n\r\n")
        .await;
    let reply = client.reply().await;
    // RFC 9112 section 3.2.2: the target's host wins. Refusing the contradiction is right as well.
    if reply.status() == 200 {
        let seen = Message {
            head: reply.text(),
            ..Message::default()
        };
        assert_eq!(
            (seen.fields("host"), seen.target()),
            (vec!["real.test"], "/x")
        );
    } else {
        assert_eq!(reply.status(), 400);
    }
}

#[tokio::test]
async fn the_gateway_alone_says_where_a_request_came_from() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let lies = [
        "X-Forwarded-For: 6.6.6.6",
        "x-forwarded-for: 7.7.7.7, 8.8.8.8",
        "X-Forwarded-Proto: gopher",
        "X-Forwarded-Host: evil.test",
        "X-Forwarded-Port: 1",
    ];
    let port = gateway.port("http").to_string();
    for fields in [&[][..], &lies[..]] {
        let seen = forwarded(&gateway, fields).await;
        for (name, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "edge.test"),
            ("x-forwarded-port", port.as_str()),
        ] {
            assert_eq!(seen.fields(name), [value], "{name} with {fields:?}");
        }
    }
    let seen = gateway.https().await.ask("GET", "/", &lies, b"").await;
    let seen = Message {
        head: seen.text(),
        ..Message::default()
    };
    assert_eq!(seen.fields("x-forwarded-proto"), ["https"]);
    assert_eq!(
        seen.fields("x-forwarded-port"),
        [gateway.port("https").to_string()]
    );
    assert_eq!(seen.fields("x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test]
async fn an_h2c_worker_learns_the_same() {
    let worker = Worker::start(h2_echoing_head()).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let mut old = gateway.http().await;
    let old = old
        .ask(
            "GET",
            "/x",
            &["X-Forwarded-For: 6.6.6.6", "Connection: X-A", "X-A: 1"],
            b"",
        )
        .await
        .text();
    let new = gateway
        .h2("https")
        .await
        .fetch(request("GET", "/x"), "")
        .await
        .text();
    for (head, proto) in [(old, "http"), (new, "https")] {
        let seen = Message {
            head,
            ..Message::default()
        };
        assert_eq!(seen.field("<authority>"), Some("edge.test"));
        assert_eq!(seen.fields("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen.fields("x-forwarded-proto"), [proto]);
        assert_eq!(seen.target(), "/x");
        for gone in [
            "connection",
            "x-a",
            "transfer-encoding",
            "upgrade",
            "keep-alive",
        ] {
            assert_eq!(seen.field(gone), None, "{gone} (RFC 9113 section 8.2.2)");
        }
        assert!(seen.fields("host").iter().all(|host| *host == "edge.test"));
    }
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_is_made() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let long = format!("X-Request-ID: {}", "a".repeat(300));
    for (sent, kept) in [
        ("X-Request-ID: 3f2c-AB_9", true),
        ("X-Request-ID: a b", false),
        ("X-Request-ID: \"x\"", false),
        ("X-Request-ID: é", false),
        ("X-Request-ID:", false),
        (long.as_str(), false),
        ("X-Other: 1", false),
    ] {
        let seen = forwarded(&gateway, &[sent]).await;
        let ids = seen.fields("x-request-id");
        assert_eq!(ids.len(), 1, "{sent}");
        assert!(!ids[0].is_empty(), "{sent}");
        assert_eq!(
            sent == format!("X-Request-ID: {}", ids[0]),
            kept,
            "{sent} became {}",
            ids[0]
        );
    }
    let two = forwarded(&gateway, &["X-Request-ID: one", "X-Request-ID: two"]).await;
    assert_eq!(two.fields("x-request-id").len(), 1);
    let (a, b) = (
        forwarded(&gateway, &[]).await,
        forwarded(&gateway, &[]).await,
    );
    assert_ne!(a.field("x-request-id"), b.field("x-request-id"));
}

#[tokio::test]
async fn what_was_meant_for_the_next_hop_ends_there() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let seen = forwarded(
        &gateway,
        &[
            "Connection: keep-alive, X-Secret",
            "connection: x-second",
            "X-Secret: 1",
            "X-Second: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "TE: gzip",
            "Upgrade: h2c",
            "X-Stays: 1",
        ],
    )
    .await;
    for gone in [
        "x-secret",
        "x-second",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "te",
    ] {
        assert_eq!(seen.field(gone), None, "{gone}");
    }
    assert_eq!(seen.field("x-stays"), Some("1"));
    let named = seen
        .field("connection")
        .unwrap_or_default()
        .to_ascii_lowercase();
    assert!(!named.contains("x-se"), "{named}");
}

#[tokio::test]
async fn connection_cannot_name_away_what_the_gateway_vouches_for() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let fields = [
        "Connection: X-Forwarded-For, X-Forwarded-Proto, Host, X-Request-ID",
        "X-Request-ID: me",
    ];
    let seen = forwarded(&gateway, &fields).await;
    assert_eq!(seen.fields("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.fields("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.fields("host"), ["edge.test"]);
    assert_eq!(seen.fields("x-request-id").len(), 1);
}

#[tokio::test]
async fn the_upgrade_to_h2c_is_not_for_strangers() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let fields = [
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
    ];
    let seen = forwarded(&gateway, &fields).await;
    assert_eq!(
        (seen.field("upgrade"), seen.field("http2-settings")),
        (None, None)
    );
}

#[tokio::test]
async fn everything_else_goes_through_in_order_and_to_the_byte() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let fields = [
        "X-Many: 1",
        "Authorization: Basic eA==",
        "x-many:2",
        "X-Computer-ID: a,b;c=\"d\"",
        "X-Many:\t 3 \t",
        "X-Empty:",
        "Cookie: a=1; b=2",
        "X-Latin: \u{e9}",
    ];
    let seen = forwarded(&gateway, &fields).await;
    assert_eq!(seen.fields("x-many"), ["1", "2", "3"]);
    assert_eq!(seen.fields("authorization"), ["Basic eA=="]);
    assert_eq!(seen.fields("x-computer-id"), ["a,b;c=\"d\""]);
    assert_eq!(seen.fields("x-empty"), [""]);
    assert_eq!(seen.fields("cookie"), ["a=1; b=2"]);
    assert!(seen.field("x-latin").is_some_and(|value| !value.is_empty()));
}

#[tokio::test]
async fn cookie_crumbs_of_http2_become_one_field() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut crumbs = request("GET", "/");
    crumbs
        .headers_mut()
        .append("cookie", "a=1".parse().unwrap());
    crumbs
        .headers_mut()
        .append("cookie", "b=2".parse().unwrap());
    let seen = gateway.h2("https").await.fetch(crumbs, "").await.text();
    let seen = Message {
        head: seen,
        ..Message::default()
    };
    assert_eq!(
        seen.fields("cookie"),
        ["a=1; b=2"],
        "RFC 9113 section 8.2.3"
    );
}

#[tokio::test]
async fn a_workers_hop_fields_do_not_reach_the_client() {
    let worker = Worker::start(saying(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Inner\r\nKeep-Alive: timeout=5\r\nX-Inner: 1\r\nProxy-Connection: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Outer: 1\r\nContent-Length: 2\r\n\r\nok",
    ))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let old = gateway.http().await.get("/").await;
    for gone in ["x-inner", "keep-alive", "proxy-connection"] {
        assert_eq!(old.field(gone), None, "{gone}");
    }
    assert_eq!(
        (old.fields("set-cookie"), old.field("x-outer")),
        (vec!["a=1", "b=2"], Some("1"))
    );
    let new = gateway
        .h2("https")
        .await
        .fetch(request("GET", "/"), "")
        .await;
    for gone in ["x-inner", "keep-alive", "proxy-connection", "connection"] {
        assert_eq!(new.headers.get(gone), None, "{gone}");
    }
    assert_eq!(new.headers.get_all("set-cookie").iter().count(), 2);
}

#[tokio::test]
async fn a_name_with_underscores_does_not_speak_for_the_gateway() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 6.6.6.6\r\nx_request-id: evil\r\nContent_Length: 9\r\nX_Other: kept\r\n\r\n")
        .await;
    let seen = client.reply().await.text().to_ascii_lowercase();
    for gone in ["x_forwarded_for", "6.6.6.6", "evil", "content_length"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    assert!(seen.contains("x_other: kept"), "{seen}");
}

const CHANGES: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
set_response_headers: { X-Top: "1", X-Frame-Options: DENY }
remove_headers: [X-Debug]
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app: { ports: <app> <protocol> }
routes:
  - path: /
    to: app
  - path: /changed
    name: changed
    to: app
    set_headers: { X-Set: "{scheme} {hostname} {method} {path} {rest} {query} {listener} {route} {client}" }
    add_headers: { X-Many: [a, b] }
    remove_headers: [Cookie]
    set_response_headers: { X-Top: "2", Server: edge }
    add_response_headers: { Set-Cookie: "z=1" }
    remove_response_headers: [X-Frame-Options, X-Powered-By]
"#;

async fn changing(worker: &Worker, protocol: &str) -> Gateway {
    Gateway::with(CHANGES)
        .ports("app", [worker.port()])
        .text("protocol", protocol)
        .start()
        .await
}

#[tokio::test]
async fn a_route_changes_what_its_worker_sees() {
    let old = Worker::start(echoing_head()).await;
    let new = Worker::start(h2_echoing_head()).await;
    for (worker, protocol) in [(&old, ""), (&new, ", protocol: h2c")] {
        let gateway = changing(worker, protocol).await;
        let fields = [
            "X-Set: mine",
            "x_set: mine",
            "X-Many: c",
            "Cookie: a=1",
            "X-Debug: 1",
        ];
        let target = "/changed/a%20b?c=d";
        let plain = gateway.http().await.ask("GET", target, &fields, b"").await;
        let mut asked = request("GET", target);
        for field in fields {
            let (name, value) = field.split_once(": ").unwrap();
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            asked.headers_mut().append(name, value.parse().unwrap());
        }
        let tls = gateway.h2("https").await.fetch(asked, "").await;
        for (head, scheme) in [(plain.text(), "http"), (tls.text(), "https")] {
            let seen = Message {
                head,
                ..Message::default()
            };
            let set = format!(
                "{scheme} edge.test GET /changed/a%20b /a%20b c=d {scheme} changed 127.0.0.1"
            );
            assert_eq!(seen.fields("x-set"), [set]);
            assert_eq!(seen.field("x_set"), None, "a worker may take it for X-Set");
            assert_eq!(seen.fields("x-many"), ["c", "a", "b"]);
            assert_eq!((seen.field("cookie"), seen.field("x-debug")), (None, None));
        }
        let other = forwarded(&gateway, &fields).await;
        assert_eq!(other.field("x-debug"), None, "a default of the file's top");
        assert_eq!(other.fields("cookie"), ["a=1"]);
    }
}

#[tokio::test]
async fn a_route_changes_what_its_clients_see() {
    let worker = Worker::start(saying(
        "HTTP/1.1 200 OK\r\nX-Powered-By: x\r\nServer: worker\r\nSet-Cookie: a=1\r\nX-Top: 0\r\nContent-Length: 2\r\n\r\nok",
    ))
    .await;
    let gateway = changing(&worker, "").await;
    let names = ["x-top", "x-frame-options", "server", "x-powered-by"];
    let cases = [
        ("/changed", [Some("2"), None, Some("edge"), None], 2),
        ("/", [Some("1"), Some("DENY"), Some("worker"), Some("x")], 1),
        // Answers of our own as well: this one is denied.
        ("/metrics", [Some("1"), Some("DENY"), None, None], 0),
    ];
    for (target, want, cookies) in cases {
        let old = gateway.http().await.get(target).await;
        assert_eq!(names.map(|name| old.field(name)), want, "{target}");
        assert_eq!(old.fields("set-cookie").len(), cookies, "{target}");
        assert_eq!(old.fields("x-top").len(), 1, "{target}");
        let mut client = gateway.h2("https").await;
        let new = client.fetch(request("GET", target), "").await;
        let seen = names.map(|name| new.headers.get(name).map(|value| value.to_str().unwrap()));
        assert_eq!(seen, want, "{target} over HTTP/2");
        let seen = new.headers.get_all("set-cookie").iter().count();
        assert_eq!(seen, cookies, "{target} over HTTP/2");
    }
}

#[tokio::test]
async fn a_handshake_and_a_call_are_changed_like_any_response() {
    let worker = Worker::start(e2e::scripts::upgrading()).await;
    let gateway = changing(&worker, "").await;
    let mut client = gateway.http().await;
    client.send(e2e::websocket::opening("/changed")).await;
    let head = client.head().await;
    assert_eq!((head.status(), head.fields("x-top")), (101, vec!["2"]));
    assert!(
        head.field("sec-websocket-accept").is_some(),
        "{}",
        head.head
    );
    let worker = Worker::start(e2e::h2_scripts::h2_mirroring()).await;
    let gateway = changing(&worker, ", protocol: h2c").await;
    let reply = gateway
        .h2("https")
        .await
        .fetch(e2e::grpc::call("/changed/x"), e2e::grpc::frame("x"))
        .await;
    assert_eq!(reply.headers["x-top"], "2");
    assert_eq!(reply.status.as_u16(), 200);
}
