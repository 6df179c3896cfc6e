//! Are the workers' metrics closed to strangers, in every spelling of the path?

use e2e::h2_client::request;
use e2e::scripts::echoing_head;
use e2e::{Edge, Worker, grpc};

const CLOSED: &[&str] = &[
    "/metrics",
    "/metrics/",
    "/metrics//",
    "/METRICS",
    "/MeTrIcS",
    "/%6detrics",
    "/%6Detrics",
    "/m%65trics",
    "/%6d%65%74%72%69%63%73",
    "/%4DETRICS",
    "//metrics",
    "/./metrics",
    "/%2e/metrics",
    "/x/../metrics",
    "/x/%2e%2e/metrics",
    "/x/.%2E/metrics",
    "/x/metrics",
    "/x/metrics/",
    "/x/metrics/.",
    "/x/metrics/%2e",
    "/x//metrics",
    "/x/metrics/y/..",
    "/x/metrics/y/../",
    "/metrics/x",
    "/metrics/x/y",
    "/metrics?x=1",
    "/x/metrics?x=1",
    "/x/metrics/?",
    "/metrics;v=1",
    "/x/metrics;v=1",
    "/metrics;v=1/x",
    "/x%2fmetrics",
    "/%2fmetrics",
    "/x/metrics%2f",
    "/metrics%2fx",
    "/x%2F..%2Fmetrics",
];

/// Refused in one way or another: what a worker would make of them, nobody knows.
const DOUBTFUL: &[&str] = &[
    "/metrics%00",
    "/x/metrics%00.html",
    "/x\\metrics",
    "/metrics#",
    "metrics",
];

const OPEN: &[&str] = &[
    "/metricsfoo",
    "/xmetrics",
    "/x/metrics/y",
    "/metric",
    "/?metrics",
    "/x?y=/metrics",
    "/metrics.html",
];

#[tokio::test]
async fn no_spelling_of_metrics_reaches_a_worker() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut leaks = Vec::new();
    let absolute = CLOSED.iter().map(|path| format!("http://edge.test{path}"));
    for target in CLOSED.iter().map(|path| (*path).to_owned()).chain(absolute) {
        for method in ["GET", "POST"] {
            let status = gateway
                .http()
                .await
                .ask(method, &target, &[], b"")
                .await
                .status();
            if status != 403 {
                leaks.push(format!("{method} {target}: {status}"));
            }
        }
    }
    for target in DOUBTFUL {
        let status = gateway
            .http()
            .await
            .ask("GET", target, &[], b"")
            .await
            .status();
        if !matches!(status, 400 | 403) {
            leaks.push(format!("{target}: {status}"));
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    assert_eq!(worker.count(), 0);
}

#[tokio::test]
async fn http2_has_no_way_around_it() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.h2("https").await;
    let mut leaks = Vec::new();
    for target in CLOSED {
        let status = client
            .fetch(request("GET", target), "")
            .await
            .status
            .as_u16();
        if status != 403 {
            leaks.push(format!("{target}: {status}"));
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    assert_eq!(worker.count(), 0);
}

#[tokio::test]
async fn on_the_grpc_port_the_denial_does_not_switch_an_agent_off() {
    let worker = Worker::start(e2e::h2_scripts::h2_mirroring()).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let mut client = gateway.h2("grpc").await;
    let reply = client
        .fetch(grpc::call("/x/metrics"), grpc::frame(""))
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.grpc_status(), Some("14"));
    assert_eq!(worker.count(), 0);
}

#[tokio::test]
async fn what_only_looks_like_it_is_served() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    for target in OPEN {
        assert_eq!(
            gateway.http().await.get(target).await.status(),
            200,
            "{target}"
        );
    }
}
