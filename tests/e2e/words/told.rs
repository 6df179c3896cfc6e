//! What brings each word about, and what is seen of it? One function for each word.

use super::*;

pub(super) async fn ok() {
    let open = House::usual().await.open().await;
    assert_eq!(open.gateway.http().await.get("/").await.status(), 200);
    let mut client = open.gateway.h2("https").await;
    assert_eq!(client.fetch(request("GET", "/"), "").await.status, 200);
    let mut client = open.gateway.h2("grpc").await;
    let reply = client.fetch(grpc::call("/a.B/C"), grpc::frame("x")).await;
    assert_eq!(reply.grpc_status(), Some("0"));
    for listener in ["http", "https", "grpc"] {
        assert_eq!(line(&open.gateway, listener, "ok").await["status"], 200);
    }
    let failed = open.gateway.admin("/metrics").await.text();
    let failed = failed
        .lines()
        .filter(|line| line.starts_with("portcullis_requests_failed_total"));
    assert_eq!(failed.filter(|line| !line.ends_with(" 0")).count(), 0);
}

pub(super) async fn client_gone() {
    let open = House::of(silent(), h2_silent())
        .await
        .with("pool", ", abort_on_close: on")
        .open()
        .await;
    let (mut first, mut call) = open.occupy().await;
    first.half_close().await;
    assert!(first.ended().await);
    told(&open.gateway, "http", "client_gone", 0).await;
    call.cancel();
    told(&open.gateway, "grpc", "client_gone", 0).await;
    let mut client = open.gateway.h2("https").await;
    let mut call = client.call(request("GET", "/"), true).await;
    open.app.until_seen(2).await;
    call.cancel();
    told(&open.gateway, "https", "client_gone", 0).await;
}

pub(super) async fn client_timeout() {
    let open = House::of(silent(), h2_silent())
        .await
        .with("limits", "body_timeout: 300ms")
        .open()
        .await;
    let mut client = open.gateway.http().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    assert_eq!(client.reply().await.status(), 408);
    told(&open.gateway, "http", "client_timeout", 408).await;
    let mut client = open.gateway.h2("https").await;
    let mut call = client.call(request("POST", "/"), false).await;
    call.send("half").await;
    assert_eq!(call.head().await.unwrap().status(), 408);
    told(&open.gateway, "https", "client_timeout", 408).await;
}

pub(super) async fn bad_head() {
    let open = House::usual()
        .await
        .with("limits", "fields_max: 20")
        .open()
        .await;
    let fields = (0..30).map(|n| format!("X-{n}: 1")).collect();
    let sent = Sent { fields, ..get("/") };
    open.tells(&sent, "bad_head", 431, false, "14").await;
}

pub(super) async fn bad_path() {
    let open = House::usual().await.open().await;
    open.tells(&get("/%00"), "bad_path", 400, false, "14").await;
}

pub(super) async fn bad_host() {
    let open = House::usual().await.open().await;
    let mut client = open.gateway.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a..b\r\n\r\n").await;
    assert_eq!(client.reply().await.status(), 400);
    told(&open.gateway, "http", "bad_host", 400).await;
    let doubled: http::Uri = "https://a..b/".parse().unwrap();
    let mut asked = request("GET", "/");
    *asked.uri_mut() = doubled.clone();
    let mut client = open.gateway.h2("https").await;
    assert_eq!(client.fetch(asked, "").await.status, 400);
    told(&open.gateway, "https", "bad_host", 400).await;
    let mut call = grpc::call("/");
    *call.uri_mut() = doubled;
    let mut client = open.gateway.h2("grpc").await;
    let reply = client.fetch(call, grpc::frame("x")).await;
    assert_eq!(reply.grpc_status(), Some("14"));
    told(&open.gateway, "grpc", "bad_host", 200).await;
}

pub(super) async fn bad_body() {
    let open = House::usual().await.open().await;
    let mut client = open.gateway.http().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
        .await;
    assert_eq!(client.reply().await.status(), 400);
    told(&open.gateway, "http", "bad_body", 400).await;
}

pub(super) async fn denied() {
    let open = House::usual().await.open().await;
    open.tells(&get("/metrics/x"), "denied", 403, false, "14")
        .await;
    assert_eq!(open.app.count() + open.agents.count(), 0);
}

pub(super) async fn rate_limited() {
    let open = House::usual()
        .await
        .with("route", ", rate: { requests: 1/h, burst: 1 }")
        .open()
        .await;
    assert_eq!(open.gateway.http().await.get("/").await.status(), 200);
    let mut client = open.gateway.h2("grpc").await;
    let reply = client.fetch(grpc::call("/a.B/C"), grpc::frame("x")).await;
    assert_eq!(reply.grpc_status(), Some("0"));
    open.tells(&get("/"), "rate_limited", 429, true, "8").await;
    for (listener, route) in [("http", "app"), ("https", "app"), ("grpc", "agents")] {
        let counter =
            format!(r#"portcullis_rate_limited_total{{listener="{listener}",route="{route}"}}"#);
        counted(&open.gateway, &counter).await;
    }
}

pub(super) async fn route_full() {
    let open = House::of(silent(), h2_silent())
        .await
        .with("route", ", in_flight_max: 1")
        .open()
        .await;
    let _first = open.occupy().await;
    open.tells(&get("/"), "route_full", 503, true, "14").await;
}

pub(super) async fn body_too_large() {
    let open = House::usual()
        .await
        .with("route", ", body_bytes_max: 3")
        .open()
        .await;
    let sent = Sent {
        method: "POST",
        body: "hello",
        ..get("/")
    };
    open.tells(&sent, "body_too_large", 413, false, "14").await;
    assert_eq!(open.app.count(), 0);
}

pub(super) async fn buffers_full() {
    let open = House::usual()
        .await
        .with("top", "buffers_bytes_max: 4KiB")
        .with("route", ", buffer_request: 4KiB")
        .open()
        .await;
    let mut first = open.gateway.http().await;
    first
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4096\r\n\r\n")
        .await;
    first.send(vec![b'x'; 4095]).await;
    let kept = || async {
        (open.gateway.metric("portcullis_buffers_bytes").await == Some(4095.0)).then_some(())
    };
    eventually("it is kept", kept).await;
    let sent = Sent {
        method: "POST",
        body: "hello",
        ..get("/")
    };
    open.tells_http(&sent, "buffers_full", 503, true).await;
    assert_eq!(open.app.count(), 0);
    // Calls have no buffer.
    let mut client = open.gateway.h2("grpc").await;
    let reply = client.fetch(grpc::call("/a.B/C"), grpc::frame("x")).await;
    assert_eq!(reply.grpc_status(), Some("0"));
}

pub(super) async fn memory_full() {
    // More than that it uses before anybody comes.
    let house = House::usual().await.with("top", "memory_max: 1MiB");
    let open = house.open().await;
    open.tells(&get("/"), "memory_full", 503, true, "14").await;
    assert_eq!(open.app.count() + open.agents.count(), 0);
    for (name, value) in [("full", 1.0), ("max_bytes", 1_048_576.0)] {
        let name = format!("portcullis_memory_{name}");
        assert_eq!(open.gateway.metric(&name).await, Some(value), "{name}");
    }
    assert!(open.gateway.stderr().contains("memory_max is reached"));
}

pub(super) async fn maintenance() {
    let closed = ", maintenance: { retry_after: 90s, text: back at noon }";
    let open = House::usual().await.with("pool", closed).open().await;
    open.tells(&get("/"), "maintenance", 503, true, "14").await;
    assert_eq!(open.app.count() + open.agents.count(), 0);
}

async fn files() -> (TempDir, Open) {
    let files = TempDir::new();
    let folder = files.path().display();
    let route = format!("  - {{ path: /static, static: {folder}, on: [http, https] }}");
    let open = House::usual().await.with("more", route).open().await;
    (files, open)
}

pub(super) async fn no_file() {
    let (_files, open) = files().await;
    open.tells_http(&get("/static/none"), "no_file", 404, false)
        .await;
}

pub(super) async fn no_method() {
    let (_files, open) = files().await;
    let sent = Sent {
        method: "DELETE",
        ..get("/static/none")
    };
    open.tells_http(&sent, "no_method", 405, false).await;
}

pub(super) async fn file_broken() {
    let (files, open) = files().await;
    std::fs::remove_dir_all(files.path()).unwrap();
    open.tells_http(&get("/static/none"), "file_broken", 500, false)
        .await;
}

pub(super) async fn intercepted() {
    let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\ninner";
    let agents = h2(|mut stream| async move {
        let busy = http::Response::builder().status(503).body(()).unwrap();
        stream.answer.send_response(busy, true).map(drop)
    });
    let open = House::of(saying(busy), agents)
        .await
        .with("route", ", intercept_errors: [5xx]")
        .open()
        .await;
    open.tells_http(&get("/"), "intercepted", 503, true).await;
}

pub(super) async fn no_route() {
    let open = House::usual().await.with("path", "/only").open().await;
    open.tells(&get("/other"), "no_route", 503, true, "14")
        .await;
}

pub(super) async fn not_implemented() {
    let worker = Worker::start(h2_mirroring()).await;
    let gateway = e2e::Edge::to(&worker).h2c().start().await;
    let mut client = gateway.h2("https").await;
    client.until_extended_connect().await;
    let mut call = client.call(e2e::streams::connect("/chat"), false).await;
    assert_eq!(call.head().await.unwrap().status(), 501);
    told(&gateway, "https", "not_implemented", 501).await;
    assert_eq!(worker.count(), 0);
}

pub(super) async fn no_worker() {
    let nobody = || format!("[{}]", e2e::free_range(1));
    let open = House::usual()
        .await
        .with("app", nobody())
        .with("agents", nobody())
        .with("pool", ", hold: off")
        .open()
        .await;
    open.tells(&get("/"), "no_worker", 503, true, "14").await;
}

pub(super) async fn busy() {
    let open = House::of(silent(), h2_silent())
        .await
        .with("pool", ", worker_in_flight_max: 1, queue: off")
        .open()
        .await;
    let _first = open.occupy().await;
    open.tells(&get("/"), "busy", 503, true, "14").await;
}

pub(super) async fn connect() {
    let nobody = || format!("[{}]", e2e::free_range(1));
    let open = House::usual()
        .await
        .with("app", nobody())
        .with("agents", nobody())
        .with(
            "pool",
            ", discovery: static, outlier: off, retry: off, hold: off",
        )
        .open()
        .await;
    open.tells(&get("/"), "connect", 503, true, "14").await;
}

const ONCE: &str = ", outlier: off, retry: off";

pub(super) async fn worker_lost() {
    let house = House::of(closing(), closing()).await.with("pool", ONCE);
    let open = house.open().await;
    open.tells(&get("/"), "worker_lost", 502, false, "14").await;
}

pub(super) async fn worker_timeout() {
    let open = House::of(silent(), h2_silent())
        .await
        .with("pool", format!("{ONCE}, response_timeout: 300ms"))
        .open()
        .await;
    // A call may take as long as its client waits.
    open.tells_http(&get("/"), "worker_timeout", 504, false)
        .await;
}

pub(super) async fn bad_answer() {
    let nonsense = saying("what? no\r\n\r\n");
    // Over HTTP/2 a worker that breaks its rules loses the session; what is left is too much of what is allowed.
    let endless = h2(|mut stream| async move {
        for _ in 0..100 {
            let hint = http::Response::builder().status(103).body(()).unwrap();
            stream.answer.send_informational(hint)?;
        }
        let reset = std::future::poll_fn(|cx| stream.answer.poll_reset(cx)).await?;
        Err(reset.into())
    });
    let house = House::of(nonsense, endless).await.with("pool", ONCE);
    let open = house.open().await;
    open.tells(&get("/"), "bad_answer", 502, false, "14").await;
}

pub(super) async fn stopping() {
    let open = House::of(upgrading(), h2_silent())
        .await
        .with("top", "drain: { deadline: 3s, spread: 500ms }")
        .open()
        .await;
    let mut socket = open.gateway.http().await;
    socket.send(opening("/")).await;
    assert_eq!(socket.reply().await.status(), 101);
    let mut client = open.gateway.h2("grpc").await;
    let call = client.call(grpc::call("/a.B/C"), false).await;
    open.agents.until_seen(1).await;
    open.gateway.terminate();
    assert_eq!(
        socket.exact(4).await,
        [0x88, 0x02, 0x03, 0xe9],
        "1001: going away"
    );
    socket.half_close().await;
    assert_eq!(call.rest().await.unwrap().grpc_status(), Some("14"));
    // There is nobody to ask for metrics any more.
    assert_eq!(line(&open.gateway, "http", "stopping").await["status"], 101);
    assert_eq!(line(&open.gateway, "grpc", "stopping").await["status"], 200);
}

pub(super) async fn connection_denied() {
    let house = House::usual().await.with("listener", ", deny: [127.0.0.1]");
    let open = house.open().await;
    open.closes("connection_denied", "network", false).await;
}

pub(super) async fn connections_max() {
    let house = House::usual().await.with("limits", "connections_max: 1");
    let open = house.open().await;
    open.closes("connections_max", "connections_max", true)
        .await;
}

pub(super) async fn connections_per_client_max() {
    let limits = "connections_per_client_max: 1";
    let open = House::usual().await.with("limits", limits).open().await;
    let word = "connections_per_client_max";
    open.closes(word, word, true).await;
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let other = e2e::raw::tcp_from(other, open.gateway.port("http")).await;
    assert_eq!(Raw::over(other).get("/").await.status(), 200);
}

pub(super) async fn streams_max() {
    let house = House::of(silent(), h2_silent()).await;
    let open = house.with("limits", "streams_max: 2").open().await;
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "edge.test"),
        (":path", "/a.B/C"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    for listener in ["https", "grpc"] {
        let tls = open.gateway.tls().alpn(&["h2"]);
        let mut client = Raw::tls(open.gateway.port(listener), &tls).await;
        client.send(frames::hello()).await;
        for stream in [1, 3, 5] {
            let head = frames::block(&fields);
            let head = frames::frame(frames::HEADERS, frames::END_HEADERS, stream, &head);
            client.send(head).await;
        }
        let refused = loop {
            let frame = frames::next(&mut client).await;
            if frame.kind == frames::RST_STREAM {
                break frame;
            }
        };
        // REFUSED_STREAM: nothing was done, and it may be asked again.
        assert_eq!(
            (refused.stream, &refused.payload[..]),
            (5, &[0, 0, 0, 7][..])
        );
        let line = line(&open.gateway, listener, "streams_max").await;
        assert_eq!(
            (&line["status"], &line["client"]),
            (&0.into(), &"127.0.0.1".into())
        );
        let counter = format!(r#"portcullis_streams_refused_total{{listener="{listener}"}}"#);
        counted(&open.gateway, &counter).await;
    }
}

pub(super) async fn proxy_protocol() {
    let from = ", proxy_protocol: { from: [127.0.0.0/8] }";
    let open = House::usual().await.with("listener", from).open().await;
    for listener in ["http", "https", "grpc"] {
        let mut client = Raw::tcp(open.gateway.port(listener)).await;
        client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(client.ended().await);
        let line = line(&open.gateway, listener, "proxy_protocol").await;
        assert_eq!(line["status"], 0, "{line}");
        let counter = format!(
            r#"portcullis_connections_refused_total{{limit="proxy_protocol",listener="{listener}"}}"#
        );
        counted(&open.gateway, &counter).await;
    }
    assert_eq!(open.app.count(), 0);
}

pub(super) async fn handshake_failed() {
    let open = House::usual().await.open().await;
    let strange: Tls = open.gateway.tls().alpn(&["nonsense"]);
    for listener in ["https", "grpc"] {
        assert!(strange.connect(open.gateway.port(listener)).await.is_err());
        let line = line(&open.gateway, listener, "handshake_failed").await;
        assert_eq!(
            (&line["status"], &line["detail"]),
            (&0.into(), &"no_shared_protocol".into())
        );
        let counter = format!(
            r#"portcullis_tls_handshake_failures_total{{listener="{listener}",reason="no_shared_protocol"}}"#
        );
        counted(&open.gateway, &counter).await;
    }
    assert_eq!(open.app.count(), 0);
}
