//! Do a hundred reloads close no stream and fail no request, while a thousand streams of each kind are open?

use e2e::files::need_open_files;
use e2e::h2_scripts::h2_mirroring;
use e2e::scripts::{replying, upgrading};
use e2e::streams::{Events, Kind, carry};
use e2e::{Gateway, Load, Raw, Worker, eventually};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
reload: { on_change: on }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
  grpc:  { bind: "127.0.0.1:0", protocol: grpc, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app: { ports: <app> }
  ws: { ports: <ws> }
  agents: { ports: <agents>, protocol: h2c }
  events: { ports: <events> }
routes:
  - { path: /, to: app, on: [http, https] }
  - { path: /ws, to: ws, on: [http, https] }
  - { path: /events, to: events, on: [https] }
  - { path: /, to: agents, on: [grpc] }
"#;

/// Of each kind.
const STREAMS: usize = 1000;
const RELOADS: usize = 100;
/// On HTTP/1.1 a stream is a connection to the gateway and one of the gateway to a worker; so is the worker's side of a
/// stream on HTTP/2 whose worker speaks HTTP/1.1. The rest is for the tests that run beside this one.
const OPEN_FILES: u64 = (6 * STREAMS + 2000) as u64;

/// Who asks for the reload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Signal,
    Operator,
    /// Nobody: the file changed.
    File,
}

/// The configuration of the reload with this number.
fn changed(text: &str, n: usize, extra: u16) -> String {
    let mut text = text.to_owned();
    if n.is_multiple_of(2) {
        text.push_str("  - { path: /even, deny: 403, on: [http] }\n");
    }
    if n.is_multiple_of(3) {
        text = text.replacen("pools:\n", "pools:\n  spare: { ports: 1025 }\n", 1);
    }
    if n % 4 < 2 {
        // The pools of everything that is open.
        text = text.replace(" ports: [", " hold: 45s, ports: [");
    }
    if has_extra(n) {
        let listener =
            format!("\n  extra: {{ bind: \"127.0.0.1:{extra}\", redirect_https: none }}");
        text = text
            .replacen("\nlisteners:", &format!("\nlisteners:{listener}"), 1)
            .replace("on: [http, https]", "on: [http, https, extra]");
    }
    // Each is another text, so that a look at the file finds it changed.
    text.push_str(&format!("# {n}\n"));
    text
}

fn has_extra(n: usize) -> bool {
    n % 10 < 5
}

async fn reload(gateway: &Gateway, text: &str, by: By) {
    let word = match by {
        By::Signal => r#"reloaded by="signal""#,
        By::Operator => r#"reloaded by="operator""#,
        By::File => r#"reloaded by="file""#,
    };
    let before = gateway.stderr().matches(word).count();
    gateway.put("routes.yaml", text);
    match by {
        By::Signal => gateway.signal("HUP"),
        By::Operator => {
            let reply = gateway.ask("POST", "/v1/reload", "", "").await;
            assert_eq!(reply.status(), 200, "{}", reply.text());
        }
        By::File => {}
    }
    let told = || async { (gateway.stderr().matches(word).count() > before).then_some(()) };
    eventually(word, told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_close_no_stream_and_fail_no_request() {
    need_open_files(OPEN_FILES);
    let app = Worker::start(replying(200)).await;
    let ws = Worker::start(upgrading()).await;
    let agents = Worker::start(h2_mirroring()).await;
    let events = Events::new();
    let streaming = Worker::start(events.script()).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [app.port()])
        .ports("ws", [ws.port()])
        .ports("agents", [agents.port()])
        .ports("events", [streaming.port()])
        .start()
        .await;
    let good = std::fs::read_to_string(gateway.file("routes.yaml")).unwrap();
    let extra = e2e::free_range(1);
    let mut streams = Vec::new();
    for kind in Kind::ALL {
        streams.extend(kind.open(&gateway, &events, STREAMS).await);
    }
    let before = gateway.stderr().len();
    let mut load = Load::on(&gateway);
    let mut others: Option<Raw> = None;
    for n in 0..RELOADS {
        let by = match n % 10 {
            9 => By::File,
            odd if odd % 2 == 1 => By::Operator,
            _ => By::Signal,
        };
        reload(&gateway, &changed(&good, n, extra), by).await;
        let mut client = gateway.http().await;
        let expected = if n.is_multiple_of(2) { 403 } else { 200 };
        assert_eq!(client.get("/even").await.status(), expected, "reload {n}");
        match (has_extra(n), others.take()) {
            (true, None) => {
                let mut client = Raw::tcp(extra).await;
                assert_eq!(client.get("/").await.status(), 200, "reload {n}");
                others = Some(client);
            }
            (true, Some(mut client)) => {
                assert_eq!(client.get("/").await.status(), 200, "reload {n}");
                others = Some(client);
            }
            (false, Some(mut client)) => assert!(client.ended().await, "idle on a closed door"),
            (false, None) => {}
        }
        if n % 20 == 19 {
            load.goes_on(5).await;
            carry(&mut streams, &events, &format!("after {n}")).await;
        }
    }
    assert!(load.end().await >= 25, "there was load of every kind");
    let reloads = |result: &str| format!(r#"portcullis_reloads_total{{result="{result}"}}"#);
    let done = gateway.metric(&reloads("done")).await.unwrap_or_default();
    assert!(done >= RELOADS as f64, "{done}");
    let refused = gateway.metric(&reloads("refused")).await;
    assert_eq!(refused.unwrap_or_default(), 0.0);
    let said = gateway.stderr().split_off(before);
    // What this machine allows is no fault of a reload.
    let said = said
        .lines()
        .filter(|line| !line.contains("the limit of open files"));
    for line in said {
        let bad = ["WARN", "ERROR", "panicked"]
            .iter()
            .any(|word| line.contains(word));
        assert!(!bad, "{line}");
    }
    assert_eq!(streams.len(), Kind::ALL.len() * STREAMS);
    carry(&mut streams, &events, "to the end").await;
}
