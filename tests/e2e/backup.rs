//! Does another pool stand in where one has no worker, and no longer than needed?

use e2e::scripts::named;
use e2e::{Gateway, Worker, eventually};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http: { bind: "127.0.0.1:0", redirect_https: none }
pools:
  app:    { ports: <app>, hold: <hold>, backup: { to: spare, below: <below> } }
  spare:  { ports: <spare>, hold: <hold>, backup: last }
  last:   { ports: <last>, maintenance: <closed> }
routes:
  - { path: /, to: app }
  - { path: /own, name: own, to: app, backup: last }
"#;

/// Ports of `app` (two), `spare` and `last`, where nobody listens yet.
struct Pools {
    gateway: Gateway,
    app: [u16; 2],
    spare: u16,
    last: u16,
}

async fn start(below: u32, hold: &str, closed: &str) -> Pools {
    let first = e2e::free_range(4);
    let gateway = Gateway::with(YAML)
        .ports("app", [first, first + 1])
        .ports("spare", [first + 2])
        .ports("last", [first + 3])
        .text("below", &below.to_string())
        .text("hold", hold)
        .text("closed", closed)
        .start()
        .await;
    Pools {
        gateway,
        app: [first, first + 1],
        spare: first + 2,
        last: first + 3,
    }
}

impl Pools {
    async fn until_answered_by(&self, who: &str) {
        eventually(&format!("{who} answers"), || async {
            let reply = self.gateway.http().await.get("/").await;
            (reply.text() == who).then_some(())
        })
        .await;
    }

    async fn always_answered_by(&self, target: &str, who: &str) {
        for _ in 0..8 {
            assert_eq!(self.gateway.http().await.get(target).await.text(), who);
        }
    }
}

#[tokio::test]
async fn the_backup_serves_while_the_pool_is_empty_and_the_pool_when_it_is_back() {
    let pools = start(1, "30s", "off").await;
    let _spare = Worker::start_on(pools.spare, named("spare")).await;
    // At once, although requests of an empty pool are held for half a minute.
    pools.until_answered_by("spare").await;
    let line = pools.gateway.access_log(1).await.remove(0);
    assert_eq!(
        (&line["pool"], &line["route"], &line["end"]),
        (&"spare".into(), &"/ -> app".into(), &"ok".into()),
        "{line}"
    );
    let counted = r#"portcullis_pool_backed_up_total{pool="app"}"#;
    assert!(pools.gateway.metric(counted).await >= Some(1.0));

    let app = Worker::start_on(pools.app[0], named("app")).await;
    pools.until_answered_by("app").await;
    pools.always_answered_by("/", "app").await;
    app.kill().await;
    pools.always_answered_by("/", "spare").await;
}

#[tokio::test]
async fn requests_are_held_where_both_are_empty_and_go_where_a_worker_comes_up_first() {
    let pools = start(1, "60s", "off").await;
    let mut client = pools.gateway.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("it is held", || async {
        let held = r#"portcullis_pool_held_total{pool="app"}"#;
        (pools.gateway.metric(held).await >= Some(1.0)).then_some(())
    })
    .await;
    let _spare = Worker::start_on(pools.spare, named("spare")).await;
    assert_eq!(client.reply().await.text(), "spare");
    let line = pools.gateway.access_log(1).await.remove(0);
    assert_eq!(line["pool"], "spare", "{line}");
    assert!(line["wait_ms"].as_f64() > Some(0.0), "{line}");
}

#[tokio::test]
async fn nobody_up_anywhere_is_503_after_the_pools_hold() {
    let pools = start(1, "off", "off").await;
    let reply = pools.gateway.http().await.get("/").await;
    assert_eq!(reply.status(), 503);
    let line = pools.gateway.access_log(1).await.remove(0);
    assert_eq!(
        (&line["pool"], &line["end"]),
        (&"app".into(), &"no_worker".into()),
        "{line}"
    );
}

#[tokio::test]
async fn below_a_number_of_workers_the_backup_serves_although_some_are_up() {
    let pools = start(2, "30s", "off").await;
    let _one = Worker::start_on(pools.app[0], named("app")).await;
    // Nobody stands in yet: one worker is better than none.
    pools.until_answered_by("app").await;
    let _spare = Worker::start_on(pools.spare, named("spare")).await;
    pools.until_answered_by("spare").await;
    pools.always_answered_by("/", "spare").await;
    let _two = Worker::start_on(pools.app[1], named("app")).await;
    pools.until_answered_by("app").await;
    pools.always_answered_by("/", "app").await;
}

#[tokio::test]
async fn backups_have_backups_and_routes_their_own() {
    let pools = start(1, "30s", "off").await;
    let _last = Worker::start_on(pools.last, named("last")).await;
    pools.until_answered_by("last").await;
    let _spare = Worker::start_on(pools.spare, named("spare")).await;
    pools.until_answered_by("spare").await;
    pools.always_answered_by("/own", "last").await;
}

#[tokio::test]
async fn a_backup_in_maintenance_stands_in_for_nobody() {
    let pools = start(1, "off", "on").await;
    let _last = Worker::start_on(pools.last, named("last")).await;
    eventually("the worker is found", || async {
        let live = r#"portcullis_pool_workers_live{pool="last"}"#;
        (pools.gateway.metric(live).await == Some(1.0)).then_some(())
    })
    .await;
    assert_eq!(pools.gateway.http().await.get("/").await.status(), 503);
}
