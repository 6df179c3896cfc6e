//! Is what a stranger may ask for bounded, and refused with the right words?

use e2e::h2_client::request;
use e2e::scripts::{mirroring, replying};
use e2e::{Edge, Gateway, Raw, Worker, eventually};

/// Whether a new connection is served; what is over the cap is closed or answered 503.
async fn served(gateway: &Gateway) -> Option<Raw> {
    let mut client = gateway.http().await;
    client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let reply = client.reply_or_end().await?;
    (reply.status() == 200).then_some(client)
}

#[tokio::test]
async fn connections_over_the_cap_are_not_served_until_one_leaves() {
    for cap in ["connections_max: 2", "connections_per_client_max: 2"] {
        let worker = Worker::start(replying(200)).await;
        let gateway = Edge::to(&worker).limits(cap).start().await;
        let first = served(&gateway).await.expect("the first");
        let second = served(&gateway).await.expect("the second");
        for _ in 0..5 {
            assert!(served(&gateway).await.is_none(), "{cap}");
        }
        drop(first);
        eventually("the place is free again", || async {
            served(&gateway).await
        })
        .await;
        drop(second);
    }
}

#[tokio::test]
async fn a_cap_of_one_listener_leaves_the_others_alone() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).limits("connections_max: 1").start().await;
    let _held = served(&gateway).await.expect("the first");
    assert!(served(&gateway).await.is_none());
    assert_eq!(gateway.https().await.get("/").await.status(), 200);
    assert_eq!(gateway.admin("/healthz").await.status(), 200);
}

#[tokio::test]
async fn what_is_too_large_is_named_as_such() {
    let worker = Worker::start(mirroring()).await;
    let gateway = Edge::to(&worker)
        .limits(
            "head_bytes_max: 4096, target_bytes_max: 1024, fields_max: 20, body_bytes_max: 1000",
        )
        .start()
        .await;
    let field = format!("X: {}", "a".repeat(5_000));
    let half = format!("X: {}", "a".repeat(2_500));
    let target = format!("/{}", "a".repeat(2_000));
    let many: Vec<String> = (0..30).map(|n| format!("X-{n}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (what, target, fields, body, status) in [
        ("one field", "/", &[field.as_str()][..], 0, 431),
        (
            "two fields together",
            "/",
            &[half.as_str(), half.as_str()][..],
            0,
            431,
        ),
        ("many fields", "/", &many[..], 0, 431),
        ("target", target.as_str(), &[][..], 0, 414),
        ("body", "/", &[][..], 1_001, 413),
        ("nothing", "/", &[half.as_str()][..], 1_000, 200),
    ] {
        let before = worker.count();
        let mut client = gateway.http().await;
        let reply = client.ask("POST", target, fields, &vec![b'x'; body]).await;
        assert_eq!(reply.status(), status, "too large: {what}");
        assert_eq!(
            worker.count() - before,
            usize::from(status == 200),
            "too large: {what}"
        );
    }
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_stopped() {
    let worker = Worker::start(mirroring()).await;
    let gateway = Edge::to(&worker)
        .limits("body_bytes_max: 1000")
        .start()
        .await;
    let mut client = gateway.http().await;
    let chunk = format!("258\r\n{}\r\n", "x".repeat(600));
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
        ))
        .await;
    client.try_send(format!("{chunk}0\r\n\r\n")).await;
    assert_eq!(client.reply().await.status(), 413);
    assert!(client.ended().await);
    let mut client = gateway.h2("https").await;
    let reply = client.try_fetch(request("POST", "/"), vec![0; 1200]).await;
    assert!(
        reply.as_ref().map_or(true, |reply| reply.status == 413),
        "{reply:?}"
    );
    assert_eq!(worker.count(), 0);
    // The connection carries other streams, so it lives on.
    assert_eq!(
        client
            .fetch(request("POST", "/"), vec![0; 1000])
            .await
            .body
            .len(),
        1000
    );
}

#[tokio::test]
async fn http2_heads_have_the_same_bounds() {
    let worker = Worker::start(mirroring()).await;
    let gateway = Edge::to(&worker)
        .limits("head_bytes_max: 4096, target_bytes_max: 1024, fields_max: 20")
        .start()
        .await;
    let mut large = request("GET", "/");
    large
        .headers_mut()
        .insert("x", "a".repeat(5_000).parse().unwrap());
    let mut many = request("GET", "/");
    for n in 0..30 {
        many.headers_mut().insert(
            http::HeaderName::try_from(format!("x-{n}")).unwrap(),
            "1".parse().unwrap(),
        );
    }
    let long = request("GET", &format!("/{}", "a".repeat(2_000)));
    for (what, request, status) in [
        ("field", large, 431),
        ("many fields", many, 431),
        ("target", long, 414),
    ] {
        let mut client = gateway.h2("https").await;
        let reply = client.try_fetch(request, "").await;
        assert!(
            reply.as_ref().map_or(true, |reply| reply.status == status),
            "{what}: {reply:?}"
        );
    }
    assert_eq!(worker.count(), 0);
}

#[tokio::test]
async fn a_connection_may_open_so_many_streams() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).limits("streams_max: 7").start().await;
    let mut client = gateway.h2("https").await;
    client.fetch(request("GET", "/"), "").await;
    assert_eq!(client.streams_max(), 7);
}

#[tokio::test]
async fn rapid_resets_of_one_client_leave_the_others_alone() {
    let worker = Worker::start(e2e::scripts::silent()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.h2("https").await;
    for _ in 0..20_000 {
        match client.try_call(request("GET", "/"), true).await {
            Ok(mut call) => call.cancel(),
            // Refused or closed: the defence is up.
            Err(_) => break,
        }
    }
    assert_eq!(gateway.admin("/healthz").await.status(), 200);
    // Another client is served as ever.
    let before = worker.count();
    let _call = gateway
        .h2("https")
        .await
        .call(request("GET", "/"), true)
        .await;
    worker.until_seen(before + 1).await;
}

#[tokio::test]
async fn bodies_that_nobody_reads_use_up_no_window() {
    let worker = Worker::start(e2e::h2_scripts::h2(|mut stream| async move {
        // Answers without reading the request.
        stream
            .answer
            .send_response(http::Response::new(()), true)
            .map(drop)
    }))
    .await;
    let gateway = Edge::to(&worker)
        .h2c()
        .limits("body_bytes_max: 50000")
        .start()
        .await;
    let mut client = gateway.h2("https").await;
    // The connection's window is 8 MiB: with a leak of one body in ten it would be used up.
    for n in 0..1500 {
        let target = ["/metrics", "/", "/upload"][n % 3];
        let body = vec![0; if n % 3 == 2 { 60_000 } else { 40_000 }];
        let answer = client.try_fetch(request("POST", target), body).await;
        assert!(
            answer.is_ok() || n % 3 == 2,
            "request {n} of {target}: {answer:?}"
        );
    }
    assert_eq!(client.fetch(request("GET", "/"), "").await.status, 200);
}
