//! Has every word of the access log's `end` a test of what the client saw, what the line says and what was counted?
//!
//! A word of docs/access-log.md that is not in [`words`] fails `every_word_that_is_documented_is_tested`, and one that the
//! code has and the page has not fails in the gateway's own tests. The limits have more to them in files of their own.

use std::net::Ipv4Addr;

use e2e::gateway::Plan;
use e2e::h2_client::request;
use e2e::h2_scripts::{h2, h2_mirroring, h2_silent};
use e2e::scripts::{closing, replying, saying, silent, upgrading};
use e2e::websocket::opening;
use e2e::{Gateway, Raw, Script, TempDir, Tls, Worker, eventually, frames, grpc};
use serde_json::Value;

mod told;

/// Makes a test of each word, from the function of that name in `told`.
macro_rules! words {
    ($($word:ident)*) => {
        /// All that `end` can be.
        const WORDS: &[&str] = &[$(stringify!($word)),*];

        $(#[tokio::test]
        async fn $word() {
            told::$word().await;
        })*
    };
}

words! {
    ok
    client_gone client_timeout
    bad_head bad_path bad_host bad_body
    denied
    rate_limited route_full body_too_large buffers_full memory_full
    maintenance
    no_file no_method file_broken
    intercepted
    no_route not_implemented
    no_worker busy
    connect
    worker_lost worker_timeout bad_answer
    stopping
    connection_denied connections_max connections_per_client_max streams_max proxy_protocol
    handshake_failed
}

#[test]
fn every_word_that_is_documented_is_tested() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/access-log.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.split("### The words of `end`").nth(1).unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let mut documented: Vec<&str> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split(','))
        .map(|word| word.trim().trim_matches('`'))
        .collect();
    let mut tested = WORDS.to_vec();
    documented.sort_unstable();
    tested.sort_unstable();
    assert_eq!(documented, tested);
}

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
<top>
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none<listener>, limits: { <limits> } }
  https: { bind: "127.0.0.1:0"<listener>, limits: { <limits> }, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
  grpc:  { bind: "127.0.0.1:0"<listener>, limits: { <limits> }, protocol: grpc, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app:    { ports: <app><pool> }
  agents: { ports: <agents>, protocol: h2c<pool> }
routes:
  - { path: <path>, name: app, to: app, on: [http, https]<route> }
  - { path: <path>, name: agents, to: agents, on: [grpc]<route> }
<more>
"#;

/// A gateway in front of two workers, and what is special about it.
struct House {
    app: Worker,
    agents: Worker,
    marks: Vec<(&'static str, String)>,
}

/// A gateway that runs.
struct Open {
    gateway: Gateway,
    app: Worker,
    agents: Worker,
}

impl House {
    async fn of(app: Script, agents: Script) -> House {
        House {
            app: Worker::start(app).await,
            agents: Worker::start(agents).await,
            marks: Vec::new(),
        }
    }

    /// Whose workers answer well.
    async fn usual() -> House {
        House::of(replying(200), h2_mirroring()).await
    }

    /// Puts a text in the place of `<name>`.
    fn with(mut self, name: &'static str, text: impl Into<String>) -> House {
        self.marks.push((name, text.into()));
        self
    }

    fn plan(&self) -> Plan {
        let marks = self.marks.iter();
        let mut plan = marks.fold(Gateway::with(YAML), |plan, (name, text)| {
            plan.text(name, text)
        });
        for name in ["top", "listener", "limits", "pool", "route", "more"] {
            plan = plan.text(name, "");
        }
        plan.text("path", "/")
            .ports("app", [self.app.port()])
            .ports("agents", [self.agents.port()])
    }

    async fn open(self) -> Open {
        Open {
            gateway: self.plan().start().await,
            app: self.app,
            agents: self.agents,
        }
    }
}

/// What a client sends.
#[derive(Default)]
struct Sent {
    method: &'static str,
    target: &'static str,
    fields: Vec<String>,
    body: &'static str,
}

fn get(target: &'static str) -> Sent {
    Sent {
        method: "GET",
        target,
        ..Sent::default()
    }
}

impl Open {
    /// Asks with HTTP/1.1, HTTP/2 and gRPC: each client has the status, or gRPC's number, and `Retry-After` where trying
    /// again helps; the log has a line for each, and each is counted.
    async fn tells(&self, sent: &Sent, word: &str, status: u16, later: bool, grpc: &str) {
        let fields: Vec<&str> = sent.fields.iter().map(String::as_str).collect();
        self.tells_http(sent, word, status, later).await;
        let mut call = grpc::call(sent.target);
        put(&mut call, &fields);
        let mut client = self.gateway.h2("grpc").await;
        let reply = client.fetch(call, grpc::frame("hello")).await;
        assert_eq!(reply.status, 200, "{word}: a call's answer is 200");
        assert_eq!(reply.grpc_status(), Some(grpc), "{word}");
        assert!(reply.trailers.is_empty(), "{word}: trailers only");
        told(&self.gateway, "grpc", word, 200).await;
    }

    /// The same where there are no such calls.
    async fn tells_http(&self, sent: &Sent, word: &str, status: u16, later: bool) {
        let fields: Vec<&str> = sent.fields.iter().map(String::as_str).collect();
        let mut client = self.gateway.http().await;
        let reply = client
            .ask(sent.method, sent.target, &fields, sent.body.as_bytes())
            .await;
        assert_eq!(reply.status(), status, "{word} over HTTP/1.1");
        assert_eq!(
            reply.field("retry-after").is_some(),
            later,
            "{word}: {}",
            reply.head
        );
        told(&self.gateway, "http", word, status).await;
        let mut asked = request(sent.method, sent.target);
        put(&mut asked, &fields);
        let mut client = self.gateway.h2("https").await;
        let reply = client.fetch(asked, sent.body).await;
        assert_eq!(reply.status, status, "{word} over HTTP/2");
        let seen = reply.headers.contains_key("retry-after");
        assert_eq!(seen, later, "{word}: {:?}", reply.headers);
        told(&self.gateway, "https", word, status).await;
    }

    /// Takes the only place at both workers.
    async fn occupy(&self) -> (Raw, e2e::Call) {
        let mut first = self.gateway.http().await;
        first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut client = self.gateway.h2("grpc").await;
        let call = client.call(grpc::call("/a.B/C"), true).await;
        self.app.until_seen(1).await;
        self.agents.until_seen(1).await;
        (first, call)
    }

    /// A line of the log and a refused connection, of each listener in turn.
    async fn closes(&self, word: &str, limit: &str, hold: bool) {
        let tls = self.gateway.tls();
        for listener in ["http", "https", "grpc"] {
            let port = self.gateway.port(listener);
            let _held = match (hold, listener) {
                (false, _) => None,
                (true, "http") => Some(Raw::tcp(port).await),
                (true, _) => Some(Raw::tls(port, &tls).await),
            };
            if hold {
                let open = format!(r#"portcullis_connections_open{{listener="{listener}"}}"#);
                let is_open =
                    || async { (self.gateway.metric(&open).await == Some(1.0)).then_some(()) };
                eventually("the first is in", is_open).await;
            }
            match listener {
                "http" => assert!(Raw::tcp(port).await.ended().await, "{word}: without a byte"),
                _ => assert!(
                    tls.connect(port).await.is_err(),
                    "{word}: without a handshake"
                ),
            }
            let line = line(&self.gateway, listener, word).await;
            assert_eq!(line["status"], 0, "{line}");
            assert_eq!(line["method"], "", "{line}");
            assert_eq!(line["client"], "127.0.0.1", "{line}");
            let counter = format!(
                r#"portcullis_connections_refused_total{{limit="{limit}",listener="{listener}"}}"#
            );
            counted(&self.gateway, &counter).await;
        }
        assert_eq!(self.app.count() + self.agents.count(), 0);
    }
}

fn put(request: &mut http::Request<()>, fields: &[&str]) {
    for field in fields {
        let (name, value) = field.split_once(": ").unwrap();
        let name = http::HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
}

async fn line(gateway: &Gateway, listener: &str, word: &str) -> Value {
    let found = || async {
        let lines = gateway.access_log(0).await;
        let mut lines = lines.into_iter();
        lines.find(|line| line["end"] == word && line["listener"] == listener)
    };
    eventually(&format!("a line with `{word}` of {listener}"), found).await
}

async fn counted(gateway: &Gateway, counter: &str) {
    let once = || async { (gateway.metric(counter).await == Some(1.0)).then_some(()) };
    eventually(counter, once).await;
}

/// The line of the log has this status, and the word was counted once.
async fn told(gateway: &Gateway, listener: &str, word: &str, status: u16) {
    let line = line(gateway, listener, word).await;
    assert_eq!(line["status"], status, "{line}");
    assert_eq!(line["client"], "127.0.0.1", "{line}");
    let counter =
        format!(r#"portcullis_requests_failed_total{{end="{word}",listener="{listener}"}}"#);
    counted(gateway, &counter).await;
}
