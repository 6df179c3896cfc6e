//! What the generator promises, against an origin of its own, without a proxy between them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use loadtest::load::Outcome;
use loadtest::origin::Origin;
use loadtest::peer::free_ports;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn loadtest(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("loadtest starts")
}

fn origin(origin: &Origin) -> Running {
    let text = serde_json::to_string(origin).expect("an origin is JSON");
    let mut running = Running(loadtest(&["origin", &text]));
    let out = running.0.stdout.take().expect("standard output");
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), "ready");
    running
}

fn run(scenario: &str) -> Outcome {
    let mut child = loadtest(&["run", "--json", "-"]);
    let mut input = child.stdin.take().expect("standard input");
    input.write_all(scenario.as_bytes()).expect("a scenario");
    drop(input);
    let output = child.wait_with_output().expect("the generator ends");
    assert!(output.status.success(), "{scenario}");
    serde_json::from_slice(&output.stdout).expect("an outcome")
}

/// Tests run side by side: each looks in a place of its own.
fn port(place: u16) -> u16 {
    let from = 20_000 + (std::process::id() % 100) as u16 * 100 + place * 10;
    free_ports(from, 1).expect("a free port")
}

fn echo(place: u16) -> (u16, Running) {
    let port = port(place);
    let running = origin(&Origin {
        echo: vec![port],
        slots: 1,
        ..Origin::default()
    });
    (port, running)
}

#[test]
fn calls_come_at_a_fixed_rate_and_each_is_answered_by_its_echo() {
    let (port, _origin) = echo(0);
    let outcome = run(&format!(
        "target: 127.0.0.1:{port}\nprotocol: grpc\nload: {{ open: {{ rate: 200, connections: 2 }} }}\n\
         requests: [{{ path: /bench.Echo/Say, body: 64 }}]\nwarm_up: 0.3\ntime: 1\n"
    ));
    assert_eq!((outcome.errors, outcome.first_error), (0, None));
    assert!(outcome.requests > 0 && outcome.latency.is_some());
}

#[test]
fn a_closed_loop_of_calls_may_be_mixed_and_long() {
    let (port, _origin) = echo(1);
    let outcome = run(&format!(
        "target: 127.0.0.1:{port}\nprotocol: grpc\nload: {{ closed: {{ connections: 2, streams: 5 }} }}\n\
         requests:\n  - {{ path: /bench.Echo/Say, body: 10 }}\n  - {{ path: /bench.Echo/Say, body: 20000 }}\n\
         warm_up: 0.1\ntime: 0.5\n"
    ));
    assert_eq!((outcome.errors, outcome.first_error), (0, None));
    assert!(outcome.bytes > 40_000, "{} bytes", outcome.bytes);
}

#[test]
fn what_is_not_answered_is_an_error_and_no_request() {
    let port = port(2);
    let _origin = origin(&Origin {
        http: vec![(port, port)],
        slots: 1,
        ..Origin::default()
    });
    // An origin of HTTP/1.1, which does not know what it is told.
    let outcome = run(&format!(
        "target: 127.0.0.1:{port}\nprotocol: http2\nload: {{ open: {{ rate: 50, connections: 1, deadline: 1 }} }}\n\
         warm_up: 0\ntime: 2\n"
    ));
    assert_eq!(outcome.requests, 0);
    assert!(outcome.errors > 0 && outcome.first_error.is_some());
}
