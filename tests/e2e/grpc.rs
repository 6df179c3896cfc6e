//! Do gRPC calls of every kind work, and do agents survive every failure?

use std::time::Duration;

use e2e::grpc::{call, frame, messages};
use e2e::h2_scripts::{grpc_streaming, grpc_trailers_only, h2_mirroring, h2_resetting, h2_silent};
use e2e::{Edge, Gateway, Script, Worker, eventually, for_a_while};
use h2::Reason;

async fn edge(script: Script) -> (Worker, Gateway) {
    let worker = Worker::start(script).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    (worker, gateway)
}

#[tokio::test]
async fn a_unary_call_is_answered_with_its_status() {
    let (worker, gateway) = edge(h2_mirroring()).await;
    let reply = gateway
        .h2("grpc")
        .await
        .fetch(call("/s/Unary"), frame("hello"))
        .await;
    assert_eq!(messages(&reply.body), [b"hello".to_vec()]);
    assert_eq!(reply.trailers["grpc-status"], "0");
    assert_eq!(reply.headers["content-type"], "application/grpc");
    let seen = worker.requests().remove(0);
    assert_eq!((seen.method(), seen.target()), ("POST", "/s/Unary"));
    assert_eq!(
        seen.field("te"),
        Some("trailers"),
        "grpc servers ask for it"
    );
    assert_eq!(seen.field("<authority>"), Some("edge.test"));
}

#[tokio::test]
async fn a_server_stream_comes_message_by_message() {
    let script = grpc_streaming(vec![b"one".to_vec(), vec![7; 100_000], b"three".to_vec()]);
    let (_worker, gateway) = edge(script).await;
    let reply = gateway
        .h2("grpc")
        .await
        .fetch(call("/s/Server"), frame("go"))
        .await;
    assert_eq!(
        messages(&reply.body),
        [b"one".to_vec(), vec![7; 100_000], b"three".to_vec()]
    );
    assert_eq!(reply.grpc_status(), Some("0"));
}

#[tokio::test]
async fn a_client_stream_arrives_whole() {
    let (worker, gateway) = edge(h2_mirroring()).await;
    let mut call = gateway
        .h2("grpc")
        .await
        .call(call("/s/Client"), false)
        .await;
    for n in 0..100 {
        call.send(frame(format!("message {n}"))).await;
    }
    call.finish();
    let reply = call.rest().await.unwrap();
    assert_eq!(messages(&reply.body).len(), 100);
    assert_eq!(worker.count(), 1);
}

#[tokio::test]
async fn both_directions_take_turns() {
    let (_worker, gateway) = edge(h2_mirroring()).await;
    let mut call = gateway
        .h2("grpc")
        .await
        .call(call("/s/Connect"), false)
        .await;
    assert_eq!(
        call.head().await.unwrap().status(),
        200,
        "before the first message"
    );
    for n in 0..50 {
        let message = frame(format!("turn {n}"));
        call.send(message.clone()).await;
        assert_eq!(call.exact(message.len()).await, message);
    }
    call.finish();
    assert_eq!(call.rest().await.unwrap().grpc_status(), Some("0"));
}

#[tokio::test]
async fn a_workers_trailers_only_answer_stays_one() {
    let (_worker, gateway) = edge(grpc_trailers_only("5", "no%20such%20host")).await;
    let reply = gateway
        .h2("grpc")
        .await
        .fetch(call("/s/Unary"), frame("x"))
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.headers["grpc-status"], "5",
        "in the head, as the worker had it"
    );
    assert_eq!(reply.headers["grpc-message"], "no%20such%20host");
    assert!(reply.body.is_empty() && reply.trailers.is_empty());
}

#[tokio::test]
async fn a_cancel_reaches_the_worker() {
    let (worker, gateway) = edge(h2_silent()).await;
    let mut call = gateway
        .h2("grpc")
        .await
        .call(call("/s/Connect"), false)
        .await;
    worker.until_seen(1).await;
    call.cancel();
    eventually("the worker sees the cancel", || async {
        (worker.resets() == ["CANCEL"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_vanishes_ends_its_calls_at_the_worker() {
    let (worker, gateway) = edge(h2_silent()).await;
    let mut client = gateway.h2("grpc").await;
    let call = client.call(call("/s/Connect"), false).await;
    worker.until_seen(1).await;
    drop(call);
    client.vanish();
    eventually("the worker sees the end", || async {
        (worker.resets().len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reset_by_the_worker_reaches_the_client_with_its_code() {
    for reason in [
        Reason::CANCEL,
        Reason::ENHANCE_YOUR_CALM,
        Reason::INTERNAL_ERROR,
    ] {
        let (_worker, gateway) = edge(h2_resetting(reason)).await;
        let mut call = gateway
            .h2("grpc")
            .await
            .call(call("/s/Connect"), false)
            .await;
        let error = loop {
            match call.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("{reason:?} was shown as a clean end"),
            }
        };
        assert_eq!(error.reason(), Some(reason));
    }
}

#[tokio::test]
async fn with_no_worker_a_call_is_unavailable_and_never_a_bare_status() {
    let gateway = Edge::to_ports([e2e::free_range(1)])
        .h2c()
        .pool("hold: off")
        .start()
        .await;
    let mut client = gateway.h2("grpc").await;
    for _ in 0..3 {
        let reply = client.fetch(call("/s/Unary"), frame("x")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["content-type"], "application/grpc");
        assert_eq!(
            reply.headers["grpc-status"], "14",
            "trailers-only UNAVAILABLE"
        );
        assert!(reply.body.is_empty());
    }
}

#[tokio::test]
async fn a_call_is_held_until_a_worker_comes() {
    let port = e2e::free_range(1);
    let gateway = Edge::to_ports([port]).h2c().pool("hold: 30s").start().await;
    let mut client = gateway.h2("grpc").await;
    let mut call = client.call(call("/s/Connect"), false).await;
    call.send(frame("early")).await;
    for_a_while(Duration::from_millis(300)).await;
    assert!(!call.has_head().await, "held");
    let _worker = Worker::start_on(port, h2_mirroring()).await;
    assert_eq!(call.exact(10).await, frame("early"));
}

#[tokio::test]
async fn every_answer_of_the_gateways_own_can_be_survived_by_an_agent() {
    let worker = Worker::start(h2_mirroring()).await;
    let yaml = r#"
admin: { bind: "127.0.0.1:0" }
listeners:
  grpc: { bind: "127.0.0.1:0", protocol: grpc, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] }, limits: { body_bytes_max: 100 } }
pools:
  app: { ports: <app>, protocol: h2c }
routes:
  - { path: /landscape.HostAgent, to: app, on: [grpc] }
"#;
    let gateway = Gateway::with(yaml)
        .ports("app", [worker.port()])
        .start()
        .await;
    let mut client = gateway.h2("grpc").await;
    // No route, denied, too large: 403 and 404 would be PERMISSION_DENIED and UNIMPLEMENTED.
    for (path, body) in [
        ("/other.Service/X", 1),
        ("/x/metrics", 1),
        ("/landscape.HostAgent/Connect", 1_000),
    ] {
        let reply = client.fetch(call(path), frame(vec![0; body])).await;
        assert_eq!(reply.status, 200, "{path}");
        let status = reply.grpc_status().unwrap_or("none").to_owned();
        assert!(
            !["0", "3", "7", "12", "none"].contains(&status.as_str()),
            "{path}: {status}"
        );
    }
    let reply = client
        .fetch(call("/landscape.HostAgent/Connect"), frame("ok"))
        .await;
    assert_eq!(reply.grpc_status(), Some("0"));
}

#[tokio::test]
async fn a_worker_that_dies_under_a_call_makes_it_unavailable() {
    let worker = Worker::start(h2_silent()).await;
    let gateway = Edge::to(&worker)
        .h2c()
        .pool("hold: off, retry: { attempts_max: 0 }")
        .start()
        .await;
    let mut call = gateway.h2("grpc").await.call(call("/s/Unary"), false).await;
    worker.until_seen(1).await;
    worker.kill().await;
    let reply = call.head().await.expect("an answer, not a reset");
    assert_eq!(reply.headers()["grpc-status"], "14");
}

#[tokio::test]
async fn a_long_idle_stream_is_not_cut() {
    let worker = Worker::start(h2_mirroring()).await;
    let gateway = Edge::to(&worker)
        .h2c()
        .pool("response_timeout: 200ms, body_timeout: 200ms, idle_timeout: 200ms")
        .limits(
            "idle_timeout: 200ms, body_timeout: 200ms, first_byte_timeout: 1s, head_timeout: 200ms",
        )
        .start()
        .await;
    let mut call = gateway
        .h2("grpc")
        .await
        .call(call("/s/Connect"), false)
        .await;
    call.send(frame("one")).await;
    assert_eq!(call.exact(8).await, frame("one"));
    for_a_while(Duration::from_secs(2)).await;
    call.send(frame("two")).await;
    assert_eq!(call.exact(8).await, frame("two"));
    call.finish();
    assert_eq!(call.rest().await.unwrap().grpc_status(), Some("0"));
}

#[tokio::test]
async fn calls_share_a_connection_without_waiting_for_each_other() {
    let (worker, gateway) = edge(h2_mirroring()).await;
    let mut client = gateway.h2("grpc").await;
    let mut calls = Vec::new();
    for n in 0..50 {
        let mut call = client.call(call("/s/Connect"), false).await;
        call.send(frame(format!("{n:03}"))).await;
        calls.push(call);
    }
    for (n, call) in calls.iter_mut().enumerate().rev() {
        assert_eq!(call.exact(8).await, frame(format!("{n:03}")));
    }
    assert_eq!(worker.count(), 50);
}
