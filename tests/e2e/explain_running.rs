//! Does the running gateway tell what it would do with a request, and do nothing?

use e2e::scripts::named;
use e2e::{Gateway, Worker, eventually};

const YAML: &str = r#"
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app:   { ports: <app>, backup: spare }
  spare: { ports: <spare> }
routes:
  - { path: /, name: all, to: app, on: [http, https] }
  - { path: /no, deny: 403, on: [http] }
"#;

struct World {
    gateway: Gateway,
    workers: [Worker; 3],
}

impl World {
    async fn new() -> World {
        let workers = [
            Worker::start(named("one")).await,
            Worker::start(named("two")).await,
            Worker::start(named("spare")).await,
        ];
        let [one, two, spare] = workers.each_ref().map(Worker::port);
        let gateway = Gateway::with(YAML)
            .ports("app", [one, two])
            .ports("spare", [spare])
            .start()
            .await;
        World { gateway, workers }
    }

    fn worker(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.workers[at].port())
    }

    async fn ask(&self, words: &[&str], listener: &str, path: &str) -> String {
        let scheme = if listener == "https" { "https" } else { "http" };
        let url = format!("{scheme}://edge.test:{}{path}", self.gateway.port(listener));
        let words = [&["explain", "--running"][..], words, &["GET", &url]].concat();
        let told = self.gateway.cli(&words).await;
        assert_eq!(told.code, 0, "{told:?}");
        told.out
    }

    async fn tells(&self, parts: &[&str]) {
        eventually(&format!("it tells {parts:?}"), || async {
            let told = self.ask(&[], "http", "/x").await;
            parts.iter().all(|part| told.contains(part)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn who_may_get_a_request_now_is_told_and_why_others_may_not() {
    let world = World::new().await;
    let (one, two, spare) = (world.worker(0), world.worker(1), world.worker(2));
    world
        .tells(&[
            "listener     `http`",
            "`all`",
            "workers      2 of 2: ",
            &one,
            &two,
        ])
        .await;
    let told = world.ask(&["--from", "192.0.2.7"], "https", "/x?y=1").await;
    let file = world.gateway.file("edge.pem").display().to_string();
    for part in [&file[..], "GET /x?y=1", "x-forwarded-for: 192.0.2.7"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(world.ask(&[], "http", "/no").await.contains("403"));
    let told = world.gateway.cli(&["drain", &one]).await;
    assert_eq!(told.code, 0, "{told:?}");
    let out = format!("not {one}: draining, drained by an operator");
    world.tells(&["workers      1 of 2: ", &two, &out]).await;
    world.gateway.cli(&["drain", &two]).await;
    world
        .tells(&[
            "pool         `app`",
            "backup       `spare` while",
            "as now",
            "workers      1 of 1: ",
            &spare,
        ])
        .await;
    // Nothing of this was a request.
    assert_eq!(world.workers.iter().map(Worker::count).sum::<usize>(), 0);
    let picks = r#"portcullis_pool_picks_total{pool="spare"}"#;
    assert_eq!(world.gateway.metric(picks).await, Some(0.0));
}

#[tokio::test]
async fn maintenance_is_told_and_not_counted() {
    let world = World::new().await;
    let words = ["maintenance", "app", "on", "--text", "later"];
    let told = world
        .gateway
        .cli(&[&words[..], &["--allow", "192.0.2.0/24"]].concat())
        .await;
    assert_eq!(told.code, 0, "{told:?}");
    let told = world.ask(&[], "http", "/x").await;
    assert!(
        told.contains("503 with Retry-After: 60, \"later\""),
        "{told}"
    );
    assert!(told.contains("the pool is in `maintenance`"), "{told}");
    let told = world.ask(&["--from", "192.0.2.7"], "http", "/x").await;
    assert!(told.contains("workers      2 of 2: "), "{told}");
    let counted = r#"portcullis_pool_maintenance_refused_total{pool="app"}"#;
    assert_eq!(world.gateway.metric(counted).await, Some(0.0));
}

#[tokio::test]
async fn a_question_that_has_no_answer_is_refused_with_the_fix() {
    let world = World::new().await;
    for (query, error) in [
        ("", "`url` is missing"),
        ("?url=http%3A%2F%2Fa%2F&from=here", "`from` is no address"),
        ("?url=edge.test", "no absolute URL"),
        ("?url=http%3A%2F%2Fa%3A1%2F", "no plain listener has port 1"),
        ("?url=http%3A%2F%2Fa%2F&header=x", "no field"),
    ] {
        let reply = world.gateway.admin(&format!("/v1/explain{query}")).await;
        assert_eq!(reply.status(), 400, "{query}");
        assert!(reply.text().contains(error), "{query}: {}", reply.text());
        assert!(reply.text().contains("\"fix\""), "{}", reply.text());
    }
    let told = world
        .gateway
        .cli(&["explain", "--running", "GET", "http://a:1/"])
        .await;
    assert!(told.code == 1 && told.err.contains("port 1"), "{told:?}");
}
