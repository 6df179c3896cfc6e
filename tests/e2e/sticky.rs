//! Does a client come back to the worker that served it?

use std::collections::BTreeSet;

use e2e::h2_client::request;
use e2e::scripts::{by_hand, echoing_head, named, reply, upgrading};
use e2e::websocket::opening;
use e2e::{Edge, Gate, Gateway, Script, Worker, eventually};

const STICKY: &str = "sticky: { cookie: at, secret: 0123456789abcdef }";

async fn named_workers(count: u16) -> Vec<Worker> {
    Worker::start_range(count, |n| named(format!("w{n}"))).await
}

/// Who answers, and the cookie that is set, if one is.
async fn ask(gateway: &Gateway, cookie: Option<&str>) -> (String, Option<String>) {
    let field = cookie.map(|cookie| format!("Cookie: theme=dark; {cookie}; x=y"));
    let fields: Vec<&str> = field.as_deref().into_iter().collect();
    let reply = gateway.http().await.ask("GET", "/", &fields, b"").await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    (reply.text(), reply.field("set-cookie").map(str::to_owned))
}

/// `at=...` of a `Set-Cookie`.
fn pair(set: &str) -> String {
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_client_comes_back_to_its_worker_and_is_given_no_second_cookie() {
    let workers = named_workers(4).await;
    let gateway = Edge::to_all(&workers).pool(STICKY).start().await;
    let mut homes = BTreeSet::new();
    for _ in 0..12 {
        let (home, set) = ask(&gateway, None).await;
        let set = set.expect("a client without a cookie gets one");
        let at = workers[home[1..].parse::<usize>().unwrap()].port();
        assert!(
            !set.contains(&at.to_string()),
            "the port can be read: {set}"
        );
        for _ in 0..5 {
            assert_eq!(
                ask(&gateway, Some(&pair(&set))).await,
                (home.clone(), None),
                "{set}"
            );
        }
        homes.insert(home);
    }
    assert!(homes.len() > 1, "new clients are spread: {homes:?}");
    let kept = gateway
        .metric(r#"portcullis_pool_sticky_kept_total{pool="app"}"#)
        .await;
    assert_eq!(kept, Some(60.0));
}

#[tokio::test]
async fn crumbs_of_a_cookie_over_http2_are_read_and_the_cookie_is_secure() {
    let workers = named_workers(4).await;
    let gateway = Edge::to_all(&workers).pool(STICKY).start().await;
    let mut client = gateway.h2("https").await;
    let first = client.fetch(request("GET", "/"), "").await;
    let set = first.headers["set-cookie"].to_str().unwrap();
    assert!(
        set.contains("; Secure") && set.contains("; HttpOnly"),
        "{set}"
    );
    for _ in 0..8 {
        let mut again = request("GET", "/");
        for crumb in ["theme=dark", &pair(set)] {
            again.headers_mut().append("cookie", crumb.parse().unwrap());
        }
        let reply = client.fetch(again, "").await;
        assert_eq!(reply.text(), first.text());
        assert!(!reply.headers.contains_key("set-cookie"));
    }
    let (_, plain) = ask(&gateway, None).await;
    assert!(!plain.unwrap().contains("Secure"), "it came in plain text");
}

#[tokio::test]
async fn a_killed_workers_client_gets_another_and_a_new_cookie() {
    let mut workers = named_workers(3).await;
    let gateway = Edge::to_all(&workers).pool(STICKY).start().await;
    let (home, set) = ask(&gateway, None).await;
    let old = pair(&set.unwrap());
    workers.remove(home[1..].parse().unwrap()).kill().await;
    let (next, set) = ask(&gateway, Some(&old)).await;
    assert_ne!(next, home);
    let new = pair(&set.expect("a new cookie"));
    assert_ne!(new, old);
    for _ in 0..5 {
        assert_eq!(ask(&gateway, Some(&new)).await, (next.clone(), None));
    }
    let moved = gateway
        .metric(r#"portcullis_pool_sticky_moved_total{pool="app"}"#)
        .await;
    assert_eq!(moved, Some(1.0));
}

/// Answers with its name, `/wait` only when the gate opens.
fn named_or_waiting(name: String, gate: &Gate) -> Script {
    let gate = gate.clone();
    by_hand(move |mut conn| {
        let (name, gate) = (name.clone(), gate.clone());
        async move {
            while let Some(request) = conn.request().await? {
                if request.target() == "/wait" {
                    gate.passed().await;
                }
                conn.wire.write(reply(200, &name)).await?;
            }
            Ok(())
        }
    })
}

/// An answer may arrive a moment before its place is given back.
async fn until_free(gateway: &Gateway) {
    eventually("every place is free", || async {
        let status = gateway.status().await;
        let workers = status["pools"][0]["workers"].as_array().unwrap().clone();
        let free = workers.iter().all(|worker| worker["requests"] == 0);
        free.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_full_workers_client_is_served_by_another() {
    let gate = Gate::new();
    let workers = Worker::start_range(2, |n| named_or_waiting(format!("w{n}"), &gate)).await;
    let gateway = Edge::to_all(&workers)
        .pool(STICKY)
        .pool("worker_in_flight_max: 1")
        .start()
        .await;
    let (home, set) = ask(&gateway, None).await;
    let cookie = pair(&set.unwrap());
    until_free(&gateway).await;
    let mut waiting = gateway.http().await;
    let request = format!("GET /wait HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
    waiting.send(request).await;
    let at: usize = home[1..].parse().unwrap();
    workers[at].until_seen(2).await;
    let (other, set) = ask(&gateway, Some(&cookie)).await;
    assert_ne!(other, home);
    assert!(set.is_some_and(|set| pair(&set) != cookie));
    gate.open();
    assert_eq!(waiting.reply().await.text(), home);
    until_free(&gateway).await;
    assert_eq!(ask(&gateway, Some(&cookie)).await, (home, None));
}

#[tokio::test]
async fn a_cookie_that_is_not_ours_is_replaced() {
    let workers = named_workers(2).await;
    let gateway = Edge::to_all(&workers).pool(STICKY).start().await;
    for odd in [
        "at=",
        "at=127.0.0.1:8080",
        "at=ffffffffffffffff",
        "at=\"0\"",
        "at",
        "att=0000000000000000",
    ] {
        let (_, set) = ask(&gateway, Some(odd)).await;
        assert!(set.is_some_and(|set| set.starts_with("at=")), "{odd}");
    }
}

#[tokio::test]
async fn names_are_the_same_in_every_gateway_and_after_a_reload() {
    let workers = named_workers(4).await;
    let one = Edge::to_all(&workers).pool(STICKY).start().await;
    let other = Edge::to_all(&workers).pool(STICKY).start().await;
    let (home, set) = ask(&one, None).await;
    let cookie = pair(&set.unwrap());
    for _ in 0..8 {
        assert_eq!(ask(&other, Some(&cookie)).await, (home.clone(), None));
    }
    let told = one
        .reload(|text| text.replace("sticky:", "hold: 7s, sticky:"))
        .await;
    assert!(told.contains("reloaded"), "{told}");
    for _ in 0..8 {
        assert_eq!(ask(&one, Some(&cookie)).await, (home.clone(), None));
    }
}

#[tokio::test]
async fn a_hidden_cookie_does_not_reach_the_worker() {
    let worker = Worker::start(echoing_head()).await;
    for (hide, seen) in [
        ("", "Cookie: theme=dark; at=0123456789abcdef; x=y"),
        (", hide: on", "Cookie: theme=dark; x=y"),
    ] {
        let gateway = Edge::to(&worker)
            .pool(&format!("sticky: {{ cookie: at{hide} }}"))
            .start()
            .await;
        let (head, _) = ask(&gateway, Some("at=0123456789abcdef")).await;
        assert!(head.contains(seen), "{hide}: {head}");
        let mut alone = gateway.http().await;
        let field = "Cookie: at=0123456789abcdef";
        let head = alone.ask("GET", "/", &[field], b"").await.text();
        assert_eq!(head.contains("Cookie"), hide.is_empty(), "{head}");
    }
}

#[tokio::test]
async fn a_websocket_is_sticky_too() {
    let workers = Worker::start_range(3, |_| upgrading()).await;
    let gateway = Edge::to_all(&workers).pool(STICKY).start().await;
    let mut client = gateway.http().await;
    client.send(opening("/")).await;
    let head = client.head().await;
    assert_eq!(head.status(), 101);
    let cookie = pair(head.field("set-cookie").expect("a cookie with the 101"));
    let home = workers.iter().position(|w| w.count() == 1).unwrap();
    for _ in 0..5 {
        let mut client = gateway.http().await;
        let opening = opening("/").replace("\r\n\r\n", &format!("\r\nCookie: {cookie}\r\n\r\n"));
        client.send(opening).await;
        let head = client.head().await;
        assert_eq!((head.status(), head.field("set-cookie")), (101, None));
    }
    assert_eq!(workers[home].count(), 6);
}
