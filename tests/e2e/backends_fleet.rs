//! Does a fleet lose nothing and double nothing while workers are killed? By the fleet of `loadtest`.

use std::io;
use std::process::{Output, Stdio};

use e2e::gateway::binary;
use e2e::{Database, Gateway, Service, eventually, free_range, patience};
use serde_json::Value;

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0" }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
  grpc:  { bind: "127.0.0.1:0", protocol: grpc, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  pingserver:     { ports: <pings> }
  message-system: { ports: <messages> }
  hostagent:      { ports: <hosts>, protocol: h2c }
routes:
  - { path: /ping,           to: pingserver, on: [http, https] }
  - { path: /message-system, to: message-system, on: [https] }
  - { path: /,               to: hostagent,      on: [grpc] }
"#;

/// What a fleet said by its end, before which all that it did has to settle.
async fn ended(fleet: impl Future<Output = io::Result<Output>>) -> Output {
    let ended = tokio::time::timeout(patience() * 6, fleet).await;
    ended.expect("the fleet ends").expect("its output")
}

#[tokio::test]
async fn a_fleet_loses_nothing_and_doubles_nothing_while_workers_are_killed() {
    let database = Database::fresh();
    database.sql("update account set registration_key = 'right'");
    let messages = free_range(2);
    let fresh = [
        ("PINGSERVER__REFRESH", "100ms"),
        ("PINGSERVER__WRITE", "100ms"),
    ];
    let pings = Service::at("pingserver", &database, free_range(1), &fresh);
    let worker = |port| Service::at("message-server", &database, port, &[]);
    let mut workers = vec![worker(messages), worker(messages + 1)];
    let gateway = Gateway::with(YAML)
        .ports("pings", [pings.port()])
        .ports("messages", messages..messages + 2)
        .ports("hosts", [free_range(1)])
        .start()
        .await;
    let mut fleet = tokio::process::Command::new(binary("loadtest"));
    let http = format!("127.0.0.1:{}", gateway.port("http"));
    let https = format!("127.0.0.1:{}", gateway.port("https"));
    fleet
        // It is told when its time is over.
        .args(["fleet", "--json", "--clients", "30", "--seconds", "3600"])
        .args(["--ping-ms", "500", "--exchange-ms", "800", "--orders", "10"])
        .args(["--key", "right", "--target", &https, "--http", &http])
        .args(["--database", database.url()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let fleet = fleet.spawn().expect("loadtest can be started");
    let number = |sql: &str| -> u64 { database.sql(sql).parse().expect("a number") };
    let taken = || number("select coalesce(sum(expected), 0) from exchange");
    let mut before = taken();
    for round in 0..6 {
        eventually("the fleet is at work", || async {
            (taken() > before + 20).then_some(())
        })
        .await;
        let place = round % 2;
        workers[place].kill();
        workers[place] = worker(messages + u16::try_from(place).expect("small"));
        before = taken();
    }
    eventually("some of what was ordered is done", || async {
        let done = "select count(*) from activity where status = 'succeeded'";
        (number(done) > 10).then_some(())
    })
    .await;
    let pid = fleet.id().expect("it lives").to_string();
    let told = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(told.is_ok_and(|status| status.success()));
    let output = ended(fleet.wait_with_output()).await;
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    let outcome: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{error}"));
    assert!(output.status.success(), "{outcome:#}\n{error}");
    assert_eq!(outcome["converged"], 30, "{outcome:#}");
    assert_eq!(outcome["compared"], 30, "{outcome:#}");
    assert_eq!(outcome["problems_total"], 0, "{outcome:#}");
    let count = |key: &str| outcome[key].as_u64().expect("a number");
    assert!(count("messages_acknowledged") > 50, "{outcome:#}");
    assert!(count("orders_given") > 5, "{outcome:#}");
    assert_eq!(count("orders_done"), count("orders_given"), "{outcome:#}");
    let p50 = outcome["requests"]["exchange"]["p50"].as_f64();
    assert!(p50.is_some_and(|p50| p50 > 0.0), "{outcome:#}");
    drop((gateway, pings, workers));
}

#[tokio::test]
async fn a_small_fleet_of_computers_and_hosts_tells_how_far_it_is_and_what_it_saw() {
    let database = Database::fresh();
    database.sql("update account set registration_key = 'right'");
    let fresh = [
        ("PINGSERVER__REFRESH", "100ms"),
        ("PINGSERVER__WRITE", "100ms"),
        ("HOSTAGENT_MESSENGER__POLL", "100ms"),
    ];
    let one = |name: &str| Service::at(name, &database, free_range(1), &fresh);
    let workers = ["pingserver", "message-server", "hostagent-messenger"].map(one);
    let gateway = Gateway::with(YAML)
        .ports("pings", [workers[0].port()])
        .ports("messages", [workers[1].port()])
        .ports("hosts", [workers[2].port()])
        .start()
        .await;
    let at = |listener: &str| format!("127.0.0.1:{}", gateway.port(listener));
    let mut fleet = tokio::process::Command::new(binary("loadtest"));
    fleet
        .args([
            "fleet",
            "--clients",
            "4",
            "--hosts",
            "3",
            "--seconds",
            "8",
            "--key",
            "right",
        ])
        .args([
            "--ping-ms",
            "500",
            "--exchange-ms",
            "500",
            "--orders",
            "5",
            "--host-orders",
            "5",
        ])
        .args([
            "--target",
            &at("https"),
            "--http",
            &at("http"),
            "--grpc",
            &at("grpc"),
        ])
        .args(["--database", database.url()])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = ended(fleet.output()).await;
    let table = String::from_utf8_lossy(&output.stdout);
    let lines = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{table}\n{lines}");
    for part in [
        "clients            4 of 4 registered, 4 converged",
        "exchange           ",
        "stream             3 answered",
        "hosts              3 of 3 streams open, 3 converged, 0 reconnects",
        "database           4 computers and 3 hosts compared, 0 problems",
    ] {
        assert!(table.contains(part), "{part}:\n{table}");
    }
    // A line a second, the last of which has seen them all.
    let told: Vec<&str> = lines.lines().filter(|line| line.contains(" s  ")).collect();
    assert!(told.len() >= 3, "{lines}");
    for part in ["4/4 registered", "3/3 streams", "0 errors"] {
        assert!(told[told.len() - 1].contains(part), "{part}:\n{lines}");
    }
}
