//! Do the workers of a pool stand in for each other, so that no client notices which one is up?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use e2e::grpc;
use e2e::h2_client::request;
use e2e::h2_scripts::{h2_going_away_after, h2_going_away_at_once, h2_refusing};
use e2e::scripts::{answering, by_hand, closing, held, named, reply, replying, slow};
use e2e::{Edge, Gate, Gateway, Worker, eventually, for_a_while};

/// Who answers `count` GETs, one after the other, each on a connection of its own.
async fn who(gateway: &Gateway, count: usize, fields: &[&str]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for _ in 0..count {
        let reply = gateway.http().await.ask("GET", "/", fields, b"").await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
        *tally.entry(reply.text()).or_default() += 1;
    }
    tally
}

async fn named_workers(count: u16) -> Vec<Worker> {
    Worker::start_range(count, |n| named(format!("w{n}"))).await
}

#[tokio::test]
async fn the_workers_share_the_load() {
    let workers = named_workers(4).await;
    for balance in ["least-loaded", "round-robin", "least-connections"] {
        let gateway = Edge::to_all(&workers)
            .pool(&format!("balance: {balance}"))
            .start()
            .await;
        let tally = who(&gateway, 200, &[]).await;
        assert_eq!(tally.len(), 4, "{balance}: {tally:?}");
        assert!(
            tally.values().all(|n| (10..=120).contains(n)),
            "{balance}: {tally:?}"
        );
    }
}

#[tokio::test]
async fn round_robin_takes_turns() {
    let workers = named_workers(3).await;
    // One thread, so that one sequence is seen.
    let yaml = r#"
threads: 1
admin: { bind: "127.0.0.1:0" }
listeners:
  http: { bind: "127.0.0.1:0", redirect_https: none }
pools:
  app: { ports: <app>, balance: round-robin }
routes:
  - { path: /, to: app, on: [http] }
"#;
    let gateway = Gateway::with(yaml)
        .ports("app", workers.iter().map(Worker::port))
        .start()
        .await;
    who(&gateway, 3, &[]).await;
    let tally = who(&gateway, 30, &[]).await;
    assert_eq!(
        tally.values().copied().collect::<Vec<_>>(),
        [10, 10, 10],
        "{tally:?}"
    );
}

#[tokio::test]
async fn the_same_key_goes_to_the_same_worker_while_it_is_up() {
    let mut workers = named_workers(4).await;
    let gateway = Edge::to_all(&workers)
        .pool("balance: hash, hash: { header: X-Key }")
        .start()
        .await;
    let mut homes = BTreeMap::new();
    for key in 0..40 {
        let field = format!("X-Key: key-{key}");
        let tally = who(&gateway, 4, &[&field]).await;
        assert_eq!(tally.len(), 1, "{field} went to {tally:?}");
        homes.insert(field, tally.into_keys().next().unwrap());
    }
    assert_eq!(
        homes.values().collect::<BTreeSet<_>>().len(),
        4,
        "keys are spread: {homes:?}"
    );
    workers.remove(1).kill().await;
    let mut moved = 0;
    for (field, home) in &homes {
        let tally = who(&gateway, 1, &[field]).await;
        let now = tally.keys().next().unwrap();
        assert_ne!(now, "w1");
        moved += usize::from(home != "w1" && home != now);
    }
    assert_eq!(moved, 0, "only the keys of the dead worker move");
}

#[tokio::test]
async fn a_new_worker_gets_traffic() {
    let first = e2e::free_range(3);
    let gateway = Edge::to_ports(first..first + 3).start().await;
    let _a = Worker::start_on(first, named("a")).await;
    eventually("the first worker is found", || async {
        who(&gateway, 1, &[]).await.contains_key("a").then_some(())
    })
    .await;
    let _b = Worker::start_on(first + 2, named("b")).await;
    eventually("the second worker is found", || async {
        who(&gateway, 1, &[]).await.contains_key("b").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_found_by_probing_gets_traffic_and_a_killed_one_gets_none() {
    let first = e2e::free_range(2);
    let gateway = Edge::to_ports(first..first + 2)
        .pool("discovery: probe")
        .start()
        .await;
    let a = Worker::start_on(first, named("a")).await;
    let b = Worker::start_on(first + 1, named("b")).await;
    eventually("both get traffic", || async {
        (who(&gateway, 10, &[]).await.len() == 2).then_some(())
    })
    .await;
    a.kill().await;
    assert_eq!(
        who(&gateway, 30, &[]).await.into_keys().collect::<Vec<_>>(),
        ["b"]
    );
    drop(b);
}

/// Clients that ask without a pause until they are stopped; what was not a 200 is kept.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    async fn start(gateway: &Gateway, clients: usize, method: &'static str) -> Load {
        let (stop, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let mut tasks = Vec::new();
        for n in 0..clients {
            let (stop, done) = (stop.clone(), done.clone());
            let port = gateway.port("http");
            let mut h2 = if n % 2 == 0 {
                None
            } else {
                Some(gateway.h2("https").await)
            };
            tasks.push(tokio::spawn(async move {
                let mut failed = Vec::new();
                let mut raw = e2e::Raw::tcp(port).await;
                while !stop.load(Ordering::SeqCst) {
                    let status = match &mut h2 {
                        Some(h2) => match h2.try_fetch(request(method, "/"), "").await {
                            Ok(reply) => reply.status.as_u16(),
                            Err(error) => {
                                failed.push(error.to_string());
                                return failed;
                            }
                        },
                        None => raw.ask(method, "/", &[], b"").await.status(),
                    };
                    if status != 200 {
                        failed.push(format!("status {status}"));
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                }
                failed
            }));
        }
        Load {
            stop,
            done,
            clients: tasks,
        }
    }

    /// Waits for so many more answers.
    async fn go_on(&self, more: usize) {
        let goal = self.done.load(Ordering::SeqCst) + more;
        let reached = || async { (self.done.load(Ordering::SeqCst) >= goal).then_some(()) };
        eventually(&format!("{more} more answers"), reached).await;
    }

    async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut failed = Vec::new();
        for client in self.clients {
            failed.extend(client.await.expect("a client finds what it asks for"));
        }
        failed
    }
}

#[tokio::test]
async fn a_worker_killed_under_load_costs_no_idempotent_request() {
    let mut workers =
        Worker::start_range(3, |n| slow(format!("w{n}"), Duration::from_millis(5))).await;
    let gateway = Edge::to_all(&workers)
        .pool("retry: { attempts_max: 3, budget_percent: 100 }")
        .start()
        .await;
    let load = Load::start(&gateway, 8, "GET").await;
    load.go_on(100).await;
    for _ in 0..3 {
        let port = workers.remove(0).kill().await;
        load.go_on(100).await;
        workers.push(Worker::start_on(port, slow("back", Duration::from_millis(5))).await);
        load.go_on(100).await;
    }
    let failed = load.stop().await;
    assert!(
        failed.is_empty(),
        "{} failed: {:?}",
        failed.len(),
        &failed[..failed.len().min(5)]
    );
}

#[tokio::test]
async fn a_pool_that_is_empty_for_two_seconds_costs_no_request() {
    let port = e2e::free_range(1);
    let worker = Worker::start_on(port, replying(200)).await;
    let gateway = Edge::to_ports([port]).pool("hold: 30s").start().await;
    let load = Load::start(&gateway, 6, "GET").await;
    load.go_on(50).await;
    worker.kill().await;
    for_a_while(Duration::from_secs(2)).await;
    let _worker = Worker::start_on(port, replying(200)).await;
    load.go_on(50).await;
    let failed = load.stop().await;
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn a_held_request_of_any_method_is_answered_when_a_worker_comes() {
    let port = e2e::free_range(1);
    let gateway = Edge::to_ports([port]).pool("hold: 30s").start().await;
    let mut post = gateway.http().await;
    post.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
        .await;
    let mut call = gateway
        .h2("https")
        .await
        .call(request("POST", "/"), false)
        .await;
    call.send("body").await;
    call.finish();
    for_a_while(Duration::from_millis(500)).await;
    assert!(!call.has_head().await, "held");
    let worker = Worker::start_on(port, e2e::scripts::mirroring()).await;
    assert_eq!(post.reply().await.text(), "body");
    assert_eq!(call.exact(4).await, b"body");
    assert_eq!(worker.count(), 2, "{:?}", worker.requests());
}

#[tokio::test]
async fn when_nobody_comes_the_answer_is_503_with_retry_after() {
    let port = e2e::free_range(1);
    for hold in ["off", "200ms"] {
        let gateway = Edge::to_ports([port])
            .pool(&format!("hold: {hold}"))
            .start()
            .await;
        let reply = gateway.http().await.get("/").await;
        assert_eq!(reply.status(), 503, "hold: {hold}");
        let after = reply.field("retry-after").unwrap_or("none");
        assert!(
            after.parse::<u32>().is_ok_and(|seconds| seconds > 0),
            "Retry-After: {after}"
        );
        assert!(
            !reply.text().contains("127.0.0.1") && !reply.text().contains(&port.to_string()),
            "{}",
            reply.text()
        );
        let reply = gateway
            .h2("https")
            .await
            .fetch(request("GET", "/"), "")
            .await;
        assert_eq!(reply.status, 503);
        assert!(reply.headers.contains_key("retry-after"));
    }
}

#[tokio::test]
async fn a_refused_connection_is_tried_elsewhere_whatever_the_method() {
    let first = e2e::free_range(2);
    let worker = Worker::start_on(first + 1, replying(200)).await;
    // Static: the gateway believes that both are up, so it finds out by connecting.
    let gateway = Edge::to_ports([first, first + 1])
        .pool("discovery: static, balance: round-robin")
        .start()
        .await;
    for _ in 0..20 {
        assert_eq!(
            gateway
                .http()
                .await
                .ask("POST", "/", &[], b"x")
                .await
                .status(),
            200
        );
    }
    assert_eq!(worker.count(), 20);
}

#[tokio::test]
async fn a_post_is_never_doubled() {
    let workers = Worker::start_range(3, |_| closing()).await;
    let gateway = Edge::to_all(&workers)
        .pool("outlier: { consecutive_failures: 0 }")
        .start()
        .await;
    for _ in 0..10 {
        assert_eq!(
            gateway
                .http()
                .await
                .ask("POST", "/", &[], b"pay")
                .await
                .status(),
            502
        );
    }
    for _ in 0..10 {
        let reply = gateway
            .h2("https")
            .await
            .fetch(request("POST", "/"), "pay")
            .await;
        assert_eq!(reply.status, 502);
    }
    assert_eq!(workers.iter().map(Worker::count).sum::<usize>(), 20);
}

#[tokio::test]
async fn an_idempotent_request_is_tried_on_another_worker() {
    let first = e2e::free_range(2);
    let dying = Worker::start_on(first, closing()).await;
    let _good = Worker::start_on(first + 1, replying(200)).await;
    let gateway = Edge::to_ports([first, first + 1])
        .pool("balance: round-robin, outlier: { consecutive_failures: 0 }, retry: { attempts_max: 3, budget_percent: 100, budget_min_per_second: 1000 }")
        .start()
        .await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        for _ in 0..4 {
            assert_eq!(
                gateway
                    .http()
                    .await
                    .ask(method, "/", &[], b"")
                    .await
                    .status(),
                200,
                "{method}"
            );
        }
    }
    assert!(dying.count() > 0, "the dying worker was asked, too");
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_begun_again() {
    let workers = Worker::start_range(2, |_| {
        e2e::scripts::saying_and_closing("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    })
    .await;
    let gateway = Edge::to_all(&workers).start().await;
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.to_end().await;
    assert_eq!(workers.iter().map(Worker::count).sum::<usize>(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_the_worker_closed_costs_no_get() {
    let worker = Worker::start(by_hand(|mut conn| async move {
        // Answers once as if the connection were kept, then closes it without a word.
        if conn.request().await?.is_some() {
            conn.wire.write(reply(200, "ok")).await?;
        }
        Ok(())
    }))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.status(), 200);
    }
    assert_eq!(worker.count(), 100);
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_whatever_the_method() {
    for script in [h2_refusing(1), h2_going_away_at_once(1)] {
        let worker = Worker::start(script).await;
        let gateway = Edge::to(&worker).h2c().start().await;
        let reply = gateway
            .h2("https")
            .await
            .fetch(request("POST", "/"), "pay")
            .await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "ok"));
        let reply = gateway
            .h2("grpc")
            .await
            .fetch(grpc::call("/s/Unary"), grpc::frame("x"))
            .await;
        assert_eq!(reply.text(), "ok");
    }
}

#[tokio::test]
async fn workers_that_end_their_connections_gracefully_cost_no_request() {
    let worker = Worker::start(h2_going_away_after(3)).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let mut client = gateway.h2("https").await;
    for n in 0..50 {
        let reply = client.fetch(request("POST", "/"), "pay").await;
        assert_eq!(reply.status, 200, "request {n}");
    }
    assert_eq!(worker.count(), 50, "and none came twice");
}

#[tokio::test]
async fn a_worker_has_no_more_in_flight_than_its_cap_and_the_rest_waits_its_turn() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let gateway = Edge::to(&worker)
        .pool("worker_in_flight_max: 2, queue: { time: 30s, requests_max: 3 }")
        .start()
        .await;
    let mut client = gateway.h2("https").await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..6 {
        calls.spawn(client.call(request("GET", "/"), true).await.rest());
    }
    // Two are at the worker and three wait; the one that finds the queue full is told so at once.
    let refused = e2e::within("the sixth is answered", calls.join_next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(refused.status, 503);
    assert!(refused.headers.contains_key("retry-after"));
    worker.until_seen(2).await;
    assert_eq!(worker.count(), 2);
    gate.open();
    while let Some(call) = calls.join_next().await {
        assert_eq!(call.unwrap().unwrap().status, 200);
    }
    assert_eq!(worker.count(), 5);
}

#[tokio::test]
async fn a_queued_request_does_not_wait_for_ever() {
    let gate = Gate::new();
    let worker = Worker::start(held(&gate)).await;
    let gateway = Edge::to(&worker)
        .pool("worker_in_flight_max: 1, queue: { time: 200ms, requests_max: 10 }")
        .start()
        .await;
    let mut first = gateway.http().await;
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    worker.until_seen(1).await;
    let reply = gateway.http().await.get("/").await;
    assert_eq!(
        (reply.status(), reply.field("retry-after").is_some()),
        (503, true)
    );
    gate.open();
    assert_eq!(first.reply().await.status(), 200);
}

#[tokio::test]
async fn a_health_check_takes_a_worker_out_and_brings_it_back() {
    let sick = Arc::new(AtomicBool::new(false));
    let state = sick.clone();
    let workers = Worker::start_range(2, |n| {
        let state = state.clone();
        answering(move |request| match request.target() {
            "/health" if n == 0 && state.load(Ordering::SeqCst) => reply(500, "sick"),
            "/health" => reply(200, "well"),
            _ => reply(200, format!("w{n}")),
        })
    })
    .await;
    let gateway = Edge::to_all(&workers)
        .pool("health: { http: /health, interval: 100ms, interval_failing: 100ms, rise: 1, fall: 2, timeout: 1s }")
        .start()
        .await;
    let both = || async { (who(&gateway, 20, &[]).await.len() == 2).then_some(()) };
    eventually("both are in", both).await;
    sick.store(true, Ordering::SeqCst);
    let one = || async {
        (who(&gateway, 20, &[]).await.into_keys().collect::<Vec<_>>() == ["w1"]).then_some(())
    };
    eventually("the sick one is out", one).await;
    sick.store(false, Ordering::SeqCst);
    eventually("the sick one is back", both).await;
}

#[tokio::test]
async fn a_worker_that_keeps_failing_rests() {
    let sick = Arc::new(AtomicBool::new(true));
    let state = sick.clone();
    let workers = Worker::start_range(3, |n| {
        let state = state.clone();
        answering(move |_| {
            if n == 0 && state.load(Ordering::SeqCst) {
                reply(503, "sick")
            } else {
                reply(200, "ok")
            }
        })
    })
    .await;
    let gateway = Edge::to_all(&workers)
        .pool("balance: round-robin, outlier: { consecutive_failures: 3, rest: 500ms }, retry: { attempts_max: 0 }")
        .start()
        .await;
    eventually("it is out", || async {
        for _ in 0..10 {
            if gateway.http().await.get("/").await.status() != 200 {
                return None;
            }
        }
        Some(())
    })
    .await;
    sick.store(false, Ordering::SeqCst);
    let before = workers[0].count();
    eventually("it is back", || async {
        gateway.http().await.get("/").await;
        (workers[0].count() > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_more_requests_are_held_than_the_pool_allows() {
    let port = e2e::free_range(1);
    let gateway = Edge::to_ports([port])
        .pool("hold: { time: 60s, requests_max: 1 }")
        .start()
        .await;
    let mut first = gateway.http().await;
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("one is held", || async {
        (gateway.status().await["pools"][0]["held"] == 1).then_some(())
    })
    .await;
    let reply = gateway.http().await.get("/").await;
    assert_eq!(
        (reply.status(), reply.field("retry-after").is_some()),
        (503, true)
    );
    let _worker = Worker::start_on(port, replying(200)).await;
    assert_eq!(first.reply().await.status(), 200);
}

#[tokio::test]
async fn a_cookie_keeps_a_client_at_its_worker() {
    let workers = named_workers(4).await;
    let gateway = Edge::to_all(&workers)
        .pool("balance: hash, hash: { cookie: session }")
        .start()
        .await;
    let mut homes = BTreeSet::new();
    for key in 0..40 {
        let mut home = BTreeSet::new();
        for others in ["", "a=b; ", "xsession=1; sessionx=2;"] {
            let field = format!("Cookie: {others}session=key-{key}; c=d");
            home.extend(who(&gateway, 1, &[&field]).await.into_keys());
        }
        // In HTTP/2 the crumbs of a cookie may come as fields of their own (RFC 9113 section 8.2.3).
        let mut request = request("GET", "/");
        for crumb in ["a=b".to_owned(), format!("session=key-{key}")] {
            request
                .headers_mut()
                .append("cookie", crumb.parse().unwrap());
        }
        let mut client = gateway.h2("https").await;
        home.insert(client.fetch(request, "").await.text());
        assert_eq!(home.len(), 1, "key-{key} went to {home:?}");
        homes.extend(home);
    }
    assert_eq!(homes.len(), 4, "keys are spread: {homes:?}");
}

#[tokio::test]
async fn an_address_keeps_a_client_at_its_worker() {
    let workers = named_workers(4).await;
    let gateway = Edge::to_all(&workers)
        .pool("balance: hash, hash: address")
        .start()
        .await;
    let mut homes = BTreeSet::new();
    for last in 1..40 {
        let mut home = BTreeSet::new();
        for _ in 0..3 {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 1, last], 0).into()).unwrap();
            let to = ([127, 0, 0, 1], gateway.port("http")).into();
            let mut client = e2e::Raw::over(socket.connect(to).await.unwrap());
            home.insert(client.get("/").await.text());
        }
        assert_eq!(home.len(), 1, "127.0.1.{last} went to {home:?}");
        homes.extend(home);
    }
    assert_eq!(homes.len(), 4, "addresses are spread: {homes:?}");
}

#[tokio::test]
async fn a_heavier_host_gets_more() {
    let port = e2e::free_range(1);
    let _light = Worker::start_at("127.0.0.1", port, named("light")).await;
    let _heavy = Worker::start_at("127.0.0.2", port, named("heavy")).await;
    let gateway = Edge::to_ports([port])
        .pool("balance: round-robin, hosts: [ { address: 127.0.0.1, weight: 100 }, { address: 127.0.0.2, weight: 300 } ]")
        .start()
        .await;
    eventually("both are in", || async {
        (who(&gateway, 8, &[]).await.len() == 2).then_some(())
    })
    .await;
    let tally = who(&gateway, 40, &[]).await;
    assert_eq!((tally["light"], tally["heavy"]), (10, 30), "{tally:?}");
}

#[tokio::test]
async fn a_worker_in_its_slow_start_serves_all_when_it_is_the_only_one() {
    let first = e2e::free_range(2);
    let old = Worker::start_on(first, named("old")).await;
    for balance in ["round-robin", "least-loaded"] {
        let gateway = Edge::to_ports(first..first + 2)
            .pool(&format!("balance: {balance}, slow_start: 3600s"))
            .start()
            .await;
        let tally = who(&gateway, 50, &[]).await;
        assert_eq!(tally["old"], 50, "however cold, it is the only one");
        let new = Worker::start_on(first + 1, named("new")).await;
        eventually("the new one is found", || async {
            (gateway.status().await["pools"][0]["live"] == 2).then_some(())
        })
        .await;
        // Both are cold: they share, and no request is lost to the lots that decide who is warm.
        assert_eq!(who(&gateway, 50, &[]).await.len(), 2, "{balance}");
        drop(new);
    }
    drop(old);
}

#[tokio::test]
async fn a_grpc_health_check_takes_a_worker_out_and_brings_it_back() {
    let sick = Arc::new(AtomicBool::new(false));
    let state = sick.clone();
    let workers = Worker::start_range(2, |n| {
        let state = state.clone();
        e2e::h2_scripts::h2(move |mut stream| {
            let state = state.clone();
            async move {
                let checked = stream.request.uri().path() == "/grpc.health.v1.Health/Check";
                let body = e2e::h2_scripts::read_all(stream.request.body_mut()).await?;
                let message = match checked {
                    // HealthCheckRequest { service: "agent" } and HealthCheckResponse { status }.
                    true if body.ends_with(b"\x0a\x05agent") => {
                        let serving = n == 1 || !state.load(Ordering::SeqCst);
                        vec![8, if serving { 1 } else { 2 }]
                    }
                    true => vec![8, 3],
                    false => format!("w{n}").into_bytes(),
                };
                let head = http::Response::builder().header("content-type", "application/grpc");
                let mut send = stream
                    .answer
                    .send_response(head.body(()).expect("a valid head"), false)?;
                send.send_data(grpc::frame(message), false)?;
                send.send_trailers(e2e::h2_scripts::trailer("grpc-status", "0"))
            }
        })
    })
    .await;
    let gateway = Edge::to_all(&workers)
        .h2c()
        .pool("health: { grpc: agent, interval: 100ms, interval_failing: 100ms, rise: 1, fall: 2, timeout: 1s }")
        .start()
        .await;
    let who = || async {
        let mut who = BTreeSet::new();
        let mut client = gateway.h2("grpc").await;
        for _ in 0..20 {
            let reply = client.fetch(grpc::call("/s/Unary"), grpc::frame("x")).await;
            assert_eq!(reply.grpc_status(), Some("0"), "{reply:?}");
            who.insert(String::from_utf8(grpc::messages(&reply.body).remove(0)).unwrap());
        }
        who
    };
    let both = || async { (who().await.len() == 2).then_some(()) };
    eventually("both are in", both).await;
    sick.store(true, Ordering::SeqCst);
    eventually("the sick one is out", || async {
        (who().await == BTreeSet::from(["w1".to_owned()])).then_some(())
    })
    .await;
    sick.store(false, Ordering::SeqCst);
    eventually("the sick one is back", both).await;
}

#[tokio::test]
async fn a_worker_on_any_port_of_a_wide_range_gets_traffic() {
    // On an address of its own: nobody else's workers are to be found there.
    let (host, first) = ("127.0.0.9", fastrand::u16(20_000..29_000));
    let (last, middle) = (first + 989, first + fastrand::u16(1..989));
    // A probed range is gone through slowly: one port of it must do.
    for (discovery, ports) in [("auto", &[first, middle, last][..]), ("probe", &[middle])] {
        let gateway = Edge::to_range(&format!("{first}-{last}"))
            .pool(&format!("hosts: {host}, discovery: {discovery}"))
            .start()
            .await;
        for port in ports {
            let worker = Worker::start_at(host, *port, named("here")).await;
            // Held until the worker is found.
            assert_eq!(who(&gateway, 1, &[]).await["here"], 1, "{discovery} {port}");
            worker.kill().await;
        }
    }
}

#[tokio::test]
async fn the_gateways_own_listeners_are_no_workers() {
    // An address of the loopback network that no other test has; the kernel chooses ports within the pool's range.
    let span = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let ports = span.split_whitespace().collect::<Vec<_>>().join("-");
    for discovery in ["auto", "probe"] {
        let gateway = Gateway::with(
            r#"
admin: { bind: "127.0.0.1:0" }
listeners:
  http: { bind: "127.0.0.77:0", redirect_https: none }
pools:
  app: { hosts: 127.0.0.77, ports: <ports>, discovery: <discovery>, hold: off }
routes:
  - { path: /, to: app, on: [http] }
"#,
        )
        .text("ports", &ports)
        .text("discovery", discovery)
        .start()
        .await;
        let port = gateway.port("http");
        for _ in 0..10 {
            let tcp = tokio::net::TcpStream::connect(("127.0.0.77", port)).await;
            // Forwarded to itself it would go round in circles.
            let reply = e2e::Raw::over(tcp.unwrap()).get("/").await;
            assert_eq!(reply.status(), 503, "{}", reply.text());
            for_a_while(Duration::from_millis(50)).await;
        }
        let workers = gateway.status().await["pools"][0]["workers"].to_string();
        assert!(
            !workers.contains(&format!("127.0.0.77:{port}\"")),
            "{workers}"
        );
    }
}

#[tokio::test]
async fn while_the_only_worker_restarts_requests_are_held_however_it_was_found() {
    for discovery in ["auto", "probe", "static"] {
        let port = e2e::free_range(1);
        let worker = Worker::start_on(port, replying(200)).await;
        let gateway = Edge::to_ports([port])
            .pool(&format!("discovery: {discovery}, hold: 60s"))
            .start()
            .await;
        assert_eq!(gateway.http().await.get("/").await.status(), 200);
        worker.kill().await;
        let mut client = gateway.http().await;
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
            .await;
        for_a_while(Duration::from_millis(500)).await;
        let _worker = Worker::start_on(port, e2e::scripts::mirroring()).await;
        assert_eq!(client.reply().await.text(), "body", "{discovery}");
    }
}
