//! Do the metrics say what happened, under the names that are documented?

use std::collections::BTreeSet;
use std::path::Path;

use e2e::h2_client::request;
use e2e::h2_scripts::{grpc_streaming, grpc_trailers_only, h2_silent};
use e2e::scripts::{closing, held, replying, silent, upgrading};
use e2e::websocket::opening;
use e2e::worker::Gate;
use e2e::{Edge, Gateway, Worker, eventually, grpc};

/// Waits for a metric to have a value.
async fn is(gateway: &Gateway, line: &str, value: f64) {
    eventually(&format!("{line} is {value}"), || async {
        (gateway.metric(line).await == Some(value)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_are_counted_by_route_pool_class_and_protocol() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    for _ in 0..3 {
        gateway.http().await.get("/").await;
    }
    gateway
        .h2("https")
        .await
        .fetch(request("GET", "/"), "")
        .await;
    // Refused before a route was found.
    assert_eq!(gateway.http().await.get("/metrics").await.status(), 403);
    for (labels, count) in [
        (
            r#"class="2xx",listener="http",pool="app",protocol="HTTP/1.1",route="/ -> app""#,
            3.0,
        ),
        (
            r#"class="2xx",listener="https",pool="app",protocol="HTTP/2.0",route="/ -> app""#,
            1.0,
        ),
        (
            r#"class="4xx",listener="http",pool="",protocol="HTTP/1.1",route="""#,
            1.0,
        ),
    ] {
        is(
            &gateway,
            &format!("portcullis_requests_total{{{labels}}}"),
            count,
        )
        .await;
    }
    is(
        &gateway,
        r#"portcullis_requests_failed_total{end="denied",listener="http"}"#,
        1.0,
    )
    .await;
    is(
        &gateway,
        r#"portcullis_request_duration_seconds_count{listener="http",pool="app"}"#,
        3.0,
    )
    .await;
}

#[tokio::test]
async fn heads_that_are_refused_are_counted_by_the_word_of_the_log() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut bad = gateway.http().await;
    bad.send("GET / HTTP/1.1\r\n\r\n").await;
    bad.to_end().await;
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["end"], "bad_head");
    assert_eq!(line["detail"], "no Host");
    is(
        &gateway,
        r#"portcullis_requests_failed_total{end="bad_head",listener="http"}"#,
        1.0,
    )
    .await;
}

#[tokio::test]
async fn bytes_are_counted_both_ways() {
    let worker = Worker::start(e2e::scripts::mirroring()).await;
    let gateway = Edge::to(&worker).start().await;
    gateway.http().await.ask("POST", "/", &[], b"12345").await;
    for direction in ["in", "out"] {
        let line = format!(
            r#"portcullis_body_bytes_total{{direction="{direction}",listener="http",pool="app"}}"#
        );
        is(&gateway, &line, 5.0).await;
    }
}

#[tokio::test]
async fn a_kept_connection_costs_no_connecting() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    for _ in 0..3 {
        client.get("/").await;
    }
    let count =
        |phase: &str| format!(r#"portcullis_pool_{phase}_duration_seconds_count{{pool="app"}}"#);
    is(&gateway, &count("first_byte"), 3.0).await;
    assert_eq!(worker.connections(), 1, "the premise");
    is(&gateway, &count("connect"), 1.0).await;
    assert_eq!(
        gateway.metric(&count("wait")).await,
        None,
        "nobody had to wait"
    );
}

#[tokio::test]
async fn grpc_statuses_are_counted_whoever_said_them() {
    let trailers = Worker::start(grpc_streaming(vec![b"a".to_vec()])).await;
    let gateway = Edge::to(&trailers).h2c().start().await;
    let call = |path| grpc::call(path);
    gateway
        .h2("grpc")
        .await
        .fetch(call("/s/M"), grpc::frame(""))
        .await;
    let line =
        |code: &str| format!(r#"portcullis_grpc_responses_total{{code="{code}",pool="app"}}"#);
    is(&gateway, &line("OK"), 1.0).await;

    let only = Worker::start(grpc_trailers_only("16", "who are you")).await;
    let gateway = Edge::to(&only).h2c().start().await;
    gateway
        .h2("grpc")
        .await
        .fetch(call("/s/M"), grpc::frame(""))
        .await;
    is(&gateway, &line("UNAUTHENTICATED"), 1.0).await;

    let odd = Worker::start(grpc_trailers_only("99", "")).await;
    let gateway = Edge::to(&odd).h2c().start().await;
    gateway
        .h2("grpc")
        .await
        .fetch(call("/s/M"), grpc::frame(""))
        .await;
    is(&gateway, &line("other"), 1.0).await;

    // Nobody is there: the gateway's own word.
    let gateway = Edge::to_ports([e2e::free_range(1)])
        .h2c()
        .pool("hold: off")
        .start()
        .await;
    let reply = gateway.h2("grpc").await.fetch(call("/s/M"), "").await;
    assert_eq!(reply.grpc_status(), Some("14"));
    is(&gateway, &line("UNAVAILABLE"), 1.0).await;
}

#[tokio::test]
async fn who_is_held_is_counted_while_it_waits_and_afterwards() {
    let port = e2e::free_range(1);
    let gateway = Edge::to_ports([port]).start().await;
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let waiting = r#"portcullis_pool_waiting{pool="app",reason="hold"}"#;
    is(&gateway, waiting, 1.0).await;
    let _worker = Worker::start_on(port, replying(200)).await;
    assert_eq!(client.reply().await.status(), 200);
    is(&gateway, waiting, 0.0).await;
    is(&gateway, r#"portcullis_pool_held_total{pool="app"}"#, 1.0).await;
    is(
        &gateway,
        r#"portcullis_pool_wait_duration_seconds_count{pool="app",reason="hold"}"#,
        1.0,
    )
    .await;
    let line = gateway.access_log(1).await.remove(0);
    assert!(line["wait_ms"].as_f64() > Some(0.0), "{line}");
}

#[tokio::test]
async fn open_connections_streams_and_tunnels_are_counted_and_let_go() {
    let worker = Worker::start(upgrading()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    assert_eq!(client.reply().await.status(), 101);
    let line = |what: &str| format!(r#"portcullis_{what}_open{{listener="http"}}"#);
    is(&gateway, &line("tunnels"), 1.0).await;
    is(&gateway, &line("connections"), 1.0).await;
    is(&gateway, "portcullis_exchanges_in_flight", 1.0).await;
    is(
        &gateway,
        r#"portcullis_pool_in_flight{pool="app",kind="stream"}"#,
        1.0,
    )
    .await;
    drop(client);
    is(&gateway, &line("tunnels"), 0.0).await;
    is(&gateway, &line("connections"), 0.0).await;
    is(&gateway, "portcullis_exchanges_in_flight", 0.0).await;

    let worker = Worker::start(h2_silent()).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let mut client = gateway.h2("grpc").await;
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(client.call(grpc::call("/s/M"), true).await);
    }
    let line = r#"portcullis_streams_open{listener="grpc"}"#;
    is(&gateway, line, 3.0).await;
    calls.iter_mut().for_each(|call| call.cancel());
    is(&gateway, line, 0.0).await;
}

#[tokio::test]
async fn what_workers_fail_is_counted_by_reason() {
    // Nobody listens on the first port, and the pool is told that somebody does.
    let first = e2e::free_range(2);
    let _good = Worker::start_on(first + 1, replying(200)).await;
    let gateway = Edge::to_ports([first, first + 1])
        .pool("discovery: static, balance: round-robin, outlier: off")
        .start()
        .await;
    for _ in 0..4 {
        assert_eq!(gateway.http().await.get("/").await.status(), 200);
    }
    let line = |reason: &str| {
        format!(r#"portcullis_pool_attempts_failed_total{{pool="app",reason="{reason}"}}"#)
    };
    let refused = gateway.metric(&line("connect_refused")).await;
    assert!(refused >= Some(1.0), "{refused:?}");
    assert_eq!(
        gateway
            .metric(r#"portcullis_pool_retries_total{pool="app"}"#)
            .await,
        refused,
        "each was tried again"
    );

    let torn = Worker::start(closing()).await;
    let gateway = Edge::to(&torn)
        .pool("retry: { budget_percent: 0%, budget_min_per_second: 0 }")
        .start()
        .await;
    assert_eq!(gateway.http().await.get("/").await.status(), 502);
    is(&gateway, &line("connection_lost"), 1.0).await;
    is(
        &gateway,
        r#"portcullis_pool_retries_denied_total{pool="app"}"#,
        1.0,
    )
    .await;

    let late = Worker::start(silent()).await;
    let gateway = Edge::to(&late)
        .pool("response_timeout: 200ms")
        .start()
        .await;
    assert_eq!(gateway.http().await.get("/").await.status(), 504);
    is(&gateway, &line("response_timeout"), 1.0).await;
}

#[tokio::test]
async fn workers_are_counted_by_state() {
    let port = e2e::free_range(2);
    let worker = Worker::start_on(port, replying(200)).await;
    let gateway = Edge::to_ports([port, port + 1]).start().await;
    let up = r#"portcullis_pool_workers{pool="app",state="up"}"#;
    is(&gateway, up, 1.0).await;
    is(&gateway, r#"portcullis_pool_slots{pool="app"}"#, 2.0).await;
    worker.kill().await;
    is(&gateway, up, 0.0).await;
    is(
        &gateway,
        r#"portcullis_pool_workers_down_total{pool="app"}"#,
        1.0,
    )
    .await;
}

#[tokio::test]
async fn a_full_pool_shows_who_queues() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let gateway = Edge::to(&worker)
        .pool("worker_in_flight_max: 1")
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.http().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
    }
    let line = r#"portcullis_pool_waiting{pool="app",reason="queue"}"#;
    is(&gateway, line, 2.0).await;
    gate.open();
    for client in &mut clients {
        assert_eq!(client.reply().await.status(), 200);
    }
    is(&gateway, line, 0.0).await;
}

#[tokio::test]
async fn a_refused_reload_is_seen_until_the_next_one() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    is(&gateway, "portcullis_reload_refused", 0.0).await;
    gateway
        .reload(|yaml| yaml.replace("routes:", "rutes:"))
        .await;
    is(&gateway, "portcullis_reload_refused", 1.0).await;
    gateway
        .reload(|yaml| yaml.replace("rutes:", "routes:"))
        .await;
    is(&gateway, "portcullis_reload_refused", 0.0).await;
}

#[tokio::test]
async fn every_metric_is_documented_and_has_help() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    gateway.http().await.get("/").await;
    let text = gateway.admin("/metrics").await.text();
    let named = |mark: &str| -> BTreeSet<String> {
        let names = text.lines().filter_map(|line| line.strip_prefix(mark));
        names
            .filter_map(|rest| rest.split(' ').next())
            .map(str::to_owned)
            .collect()
    };
    let types = named("# TYPE ");
    assert!(types.len() > 40, "{types:?}");
    assert_eq!(types, named("# HELP "));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    for name in types {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}

#[tokio::test]
async fn workers_have_series_of_their_own_where_the_file_says_so() {
    let port = e2e::free_range(2);
    let _worker = Worker::start_on(port, replying(200)).await;
    for (top, told) in [("", None), ("metrics: { per_worker: true }", Some(1.0))] {
        let gateway = Edge::to_ports([port, port + 1]).top(top).start().await;
        assert_eq!(gateway.http().await.get("/").await.status(), 200);
        let line =
            |port: u16| format!(r#"portcullis_worker_up{{pool="app",worker="127.0.0.1:{port}"}}"#);
        assert_eq!(gateway.metric(&line(port)).await, told, "{top}");
        assert_eq!(
            gateway.metric(&line(port + 1)).await,
            None,
            "nobody is there"
        );
    }
}

#[tokio::test]
async fn haproxys_names_are_answered_where_the_file_says_so() {
    let worker = Worker::start(e2e::scripts::mirroring()).await;
    let gateway = Edge::to(&worker).start().await;
    gateway.http().await.get("/").await;
    assert!(!gateway.admin("/metrics").await.text().contains("haproxy_"));

    let gateway = Edge::to(&worker)
        .top("metrics: { haproxy_names: true }")
        .start()
        .await;
    let mut client = gateway.http().await;
    client.ask("POST", "/", &[], b"12345").await;
    client.get("/metrics").await;
    let server = format!("127.0.0.1:{}", worker.port());
    for (line, value) in [
        (r#"haproxy_frontend_http_requests_total{proxy="http"}"#, 2.0),
        (
            r#"haproxy_frontend_http_responses_total{proxy="http",code="2xx"}"#,
            1.0,
        ),
        (
            r#"haproxy_frontend_http_responses_total{proxy="http",code="4xx"}"#,
            1.0,
        ),
        (
            r#"haproxy_frontend_requests_denied_total{proxy="http"}"#,
            1.0,
        ),
        (r#"haproxy_frontend_bytes_in_total{proxy="http"}"#, 5.0),
        (r#"haproxy_frontend_current_sessions{proxy="http"}"#, 1.0),
        (
            r#"haproxy_backend_http_responses_total{proxy="app",code="2xx"}"#,
            1.0,
        ),
        (r#"haproxy_backend_bytes_out_total{proxy="app"}"#, 5.0),
        (r#"haproxy_backend_status{proxy="app",state="UP"}"#, 1.0),
        (r#"haproxy_backend_active_servers{proxy="app"}"#, 1.0),
        (r#"haproxy_backend_current_queue{proxy="app"}"#, 0.0),
        (
            &*format!(r#"haproxy_server_status{{proxy="app",server="{server}",state="UP"}}"#),
            1.0,
        ),
        ("haproxy_process_current_connections", 1.0),
    ] {
        is(&gateway, line, value).await;
    }
    let average = r#"haproxy_backend_response_time_average_seconds{proxy="app"}"#;
    assert!(gateway.metric(average).await > Some(0.0));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let text = gateway.admin("/metrics").await.text();
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = name.split(' ').next().unwrap();
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}
