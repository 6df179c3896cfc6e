use super::*;

const ENDED: Ended = Ended {
    route: None,
    pool: None,
    status: 200,
    protocol: 1,
    taken: Duration::from_millis(2),
    bytes_in: 0,
    bytes_out: 0,
    end: "ok",
};

fn text(metrics: &Metrics) -> String {
    let mut text = Vec::new();
    metrics.text(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn an_exchange_is_counted_under_its_labels() {
    let metrics = Metrics::new().unwrap();
    let listener = metrics.listener("https", 3, 2);
    let named = || ("/x -> app", "app");
    let ok = Ended {
        route: Some(2),
        pool: Some(1),
        status: 204,
        protocol: 2,
        bytes_out: 17,
        ..ENDED
    };
    listener.exchange(&ok, named);
    listener.exchange(&ok, named);
    // The same route with another pool.
    listener.exchange(
        &Ended {
            pool: Some(0),
            ..ok
        },
        || ("/x -> app", "spare"),
    );
    let refused = Ended {
        status: 503,
        end: "no_route",
        ..ENDED
    };
    listener.exchange(&refused, || ("", ""));
    let text = text(&metrics);
    for line in [
        r#"portcullis_requests_total{class="2xx",listener="https",pool="app",protocol="HTTP/2.0",route="/x -> app"} 2"#,
        r#"portcullis_requests_total{class="2xx",listener="https",pool="spare",protocol="HTTP/2.0",route="/x -> app"} 1"#,
        r#"portcullis_requests_total{class="5xx",listener="https",pool="",protocol="HTTP/1.1",route=""} 1"#,
        r#"portcullis_requests_failed_total{end="no_route",listener="https"} 1"#,
        r#"portcullis_body_bytes_total{direction="out",listener="https",pool="app"} 34"#,
        r#"portcullis_request_duration_seconds_count{listener="https",pool="app"} 2"#,
        r#"portcullis_request_duration_seconds_bucket{listener="https",pool="app",le="0.0025"} 2"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn only_what_was_counted_has_a_series() {
    let metrics = Metrics::new().unwrap();
    let listeners: Vec<_> = ["a", "b", "c"]
        .map(|name| metrics.listener(name, 1000, 50))
        .into();
    listeners[1].exchange(
        &Ended {
            route: Some(999),
            ..ENDED
        },
        || ("r", "p"),
    );
    let text = text(&metrics);
    let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(series("portcullis_requests_total{"), 1);
    assert_eq!(series("portcullis_request_duration_seconds_count{"), 1);
    assert_eq!(series("portcullis_requests_failed_total{"), 0);
}

#[test]
fn a_new_plan_goes_on_counting_where_the_old_one_stood() {
    let metrics = Metrics::new().unwrap();
    for _ in 0..2 {
        let listener = metrics.listener("http", 1, 1);
        listener.exchange(
            &Ended {
                pool: Some(0),
                ..ENDED
            },
            || ("r", "p"),
        );
        metrics.pool("p").first_byte.observe(Duration::from_secs(1));
    }
    let text = text(&metrics);
    for line in [
        r#"pool="p",protocol="HTTP/1.1",route="r"} 2"#,
        r#"portcullis_request_duration_seconds_count{listener="http",pool="p"} 2"#,
        r#"portcullis_pool_first_byte_duration_seconds_sum{pool="p"} 2"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn grpc_statuses_and_failures_are_counted_by_name() {
    let metrics = Metrics::new().unwrap();
    let pool = metrics.pool("agents");
    for code in [0, 14, 14, 16, 17, 255] {
        pool.grpc(code);
    }
    pool.failed("connect_refused");
    let text = text(&metrics);
    for line in [
        r#"portcullis_grpc_responses_total{code="OK",pool="agents"} 1"#,
        r#"portcullis_grpc_responses_total{code="UNAVAILABLE",pool="agents"} 2"#,
        r#"portcullis_grpc_responses_total{code="UNAUTHENTICATED",pool="agents"} 1"#,
        r#"portcullis_grpc_responses_total{code="other",pool="agents"} 2"#,
        r#"portcullis_pool_attempts_failed_total{pool="agents",reason="connect_refused"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn a_refused_reload_shows_until_one_is_done() {
    let metrics = Metrics::new().unwrap();
    for (done, shown) in [(false, 1), (true, 0)] {
        metrics.reload(done);
        let line = format!("\nportcullis_reload_refused {shown}\n");
        assert!(text(&metrics).contains(&line), "{line}");
    }
}
