//! Does each exchange leave one line that says what happened?

use e2e::h2_client::request;
use e2e::scripts::{echoing_head, mirroring, replying, saying_and_closing};
use e2e::{Edge, Gateway, Message, Raw, Worker, eventually, grpc};
use serde_json::Value;

const FIELDS: [&str; 17] = [
    "time",
    "listener",
    "client",
    "protocol",
    "method",
    "host",
    "path",
    "status",
    "route",
    "pool",
    "worker",
    "request_id",
    "bytes_in",
    "bytes_out",
    "duration_ms",
    "retries",
    "end",
];

fn has_all(line: &Value) {
    has_all_but(line, &[]);
}

fn has_all_but(line: &Value, but: &[&str]) {
    for field in FIELDS.iter().filter(|field| !but.contains(field)) {
        assert!(line.get(*field).is_some(), "`{field}` is missing in {line}");
    }
}

#[tokio::test]
async fn an_exchange_is_told_from_end_to_end() {
    let worker = Worker::start(mirroring()).await;
    let gateway = Edge::to(&worker).start().await;
    gateway
        .http()
        .await
        .ask("POST", "/a/b?c=d", &["X-Request-ID: my-id"], b"12345")
        .await;
    let line = gateway.access_log(1).await.remove(0);
    has_all(&line);
    for (field, value) in [
        ("listener", "http"),
        ("client", "127.0.0.1"),
        ("protocol", "HTTP/1.1"),
        ("method", "POST"),
        ("host", "edge.test"),
        ("pool", "app"),
        ("request_id", "my-id"),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert!(
        line["path"]
            .as_str()
            .is_some_and(|path| path.starts_with("/a/b")),
        "{line}"
    );
    assert!(
        line["worker"]
            .as_str()
            .is_some_and(|at| at.ends_with(&worker.port().to_string())),
        "{line}"
    );
    for (field, value) in [
        ("status", 200),
        ("bytes_in", 5),
        ("bytes_out", 5),
        ("retries", 0),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert!(line["duration_ms"].is_number(), "{line}");
}

#[tokio::test]
async fn http2_and_grpc_exchanges_are_told_alike() {
    let worker = Worker::start(e2e::h2_scripts::h2_mirroring()).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    gateway
        .h2("https")
        .await
        .fetch(request("PUT", "/x"), "abc")
        .await;
    gateway
        .h2("grpc")
        .await
        .fetch(grpc::call("/s/Unary"), grpc::frame("abc"))
        .await;
    let lines = gateway.access_log(2).await;
    // Lines of different connections come in no order of their own.
    for (listener, bytes) in [("https", 3), ("grpc", 8)] {
        let line = lines.iter().find(|line| line["listener"] == listener);
        let line = line.unwrap_or_else(|| panic!("no line of `{listener}` in {lines:?}"));
        has_all(line);
        assert_eq!(
            (&line["listener"], &line["protocol"]),
            (&listener.into(), &"HTTP/2.0".into()),
            "{line}"
        );
        assert_eq!(
            (&line["bytes_in"], &line["bytes_out"]),
            (&bytes.into(), &bytes.into()),
            "{line}"
        );
    }
}

#[tokio::test]
async fn the_workers_request_id_is_the_one_in_the_log() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let seen = Message {
        head: gateway.http().await.get("/").await.text(),
        ..Message::default()
    };
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["request_id"].as_str(), seen.field("x-request-id"));
}

#[tokio::test]
async fn each_exchange_of_a_connection_has_a_line_of_its_own() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    for n in 0..10 {
        client.get(&format!("/{n}")).await;
    }
    let lines = gateway.access_log(10).await;
    assert_eq!(lines.len(), 10);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["path"], format!("/{n}"), "{line}");
    }
}

#[tokio::test]
async fn what_the_gateway_answered_itself_is_told_too() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    gateway.http().await.get("/metrics").await;
    let mut bad = gateway.http().await;
    bad.send("GET / HTTP/1.1\r\n\r\n").await;
    bad.to_end().await;
    let lines = gateway.access_log(2).await;
    let mut statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [Some(400), Some(403)]);
    for line in &lines {
        assert!(
            line["worker"].as_str().unwrap_or_default().is_empty(),
            "no worker was asked: {line}"
        );
    }
}

#[tokio::test]
async fn ends_of_different_kinds_are_told_apart() {
    let whole = Worker::start(replying(200)).await;
    let torn = Worker::start(saying_and_closing(
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    ))
    .await;
    let mut ends = Vec::new();
    for worker in [&whole, &torn] {
        let gateway = Edge::to(worker).start().await;
        let mut client = gateway.http().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.reply_or_end().await;
        ends.push(gateway.access_log(1).await[0]["end"].to_string());
    }
    // A client of HTTP/1 that leaves looks like one that has only ended its sending; HTTP/2 tells.
    let silent = Worker::start(e2e::scripts::silent()).await;
    let gateway = Edge::to(&silent).start().await;
    let mut call = gateway
        .h2("https")
        .await
        .call(request("GET", "/"), true)
        .await;
    silent.until_seen(1).await;
    call.cancel();
    ends.push(gateway.access_log(1).await[0]["end"].to_string());
    assert!(
        ends[0] != ends[1] && ends[1] != ends[2] && ends[0] != ends[2],
        "{ends:?}"
    );
}

#[tokio::test]
async fn retries_are_counted() {
    let first = e2e::free_range(2);
    let _dying = Worker::start_on(first, e2e::scripts::closing()).await;
    let _good = Worker::start_on(first + 1, replying(200)).await;
    let gateway = Edge::to_ports([first, first + 1])
        .pool("balance: round-robin")
        .start()
        .await;
    for _ in 0..4 {
        gateway.http().await.get("/").await;
    }
    let lines = gateway.access_log(4).await;
    assert!(
        lines.iter().any(|line| line["retries"].as_u64() > Some(0)),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_client_cannot_write_lines_of_its_own() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let target = "/%0a{%22time%22:1}?x=\"}";
    gateway
        .http()
        .await
        .ask(
            "GET",
            target,
            &["X-Request-ID: \"}{\"", "User-Agent: \"}\u{7f}"],
            b"",
        )
        .await;
    gateway.http().await.get("/next").await;
    // Every line is JSON, or this panics; and there are exactly two.
    assert_eq!(gateway.access_log(2).await.len(), 2);
}

#[tokio::test]
async fn the_times_of_an_exchange_are_told_apart() {
    let port = e2e::free_range(1);
    let gateway = Edge::to_ports([port]).start().await;
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the request is held", || async {
        let held = gateway
            .metric(r#"portcullis_pool_waiting{pool="app",reason="hold"}"#)
            .await;
        (held == Some(1.0)).then_some(())
    })
    .await;
    let _worker = Worker::start_on(port, replying(200)).await;
    assert_eq!(client.reply().await.status(), 200);
    client.get("/").await;
    let lines = gateway.access_log(2).await;
    let ms = |line: &Value, field: &str| {
        line[field]
            .as_f64()
            .unwrap_or_else(|| panic!("{field}: {line}"))
    };
    let held = &lines[0];
    assert!(
        ms(held, "wait_ms") > 0.0 && ms(held, "connect_ms") > 0.0,
        "{held}"
    );
    assert!(
        ms(held, "wait_ms") + ms(held, "connect_ms") <= ms(held, "first_byte_ms")
            && ms(held, "first_byte_ms") <= ms(held, "duration_ms"),
        "{held}"
    );
    let kept = &lines[1];
    assert_eq!(
        (ms(kept, "wait_ms"), ms(kept, "connect_ms")),
        (0.0, 0.0),
        "{kept}"
    );
}

#[tokio::test]
async fn a_request_that_nobody_answered_has_no_first_byte() {
    let gateway = Edge::to_ports([e2e::free_range(1)])
        .pool("hold: off")
        .start()
        .await;
    assert_eq!(gateway.http().await.get("/").await.status(), 503);
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["end"], "no_worker");
    assert!(line.get("first_byte_ms").is_none(), "{line}");
}

#[tokio::test]
async fn a_grpc_call_is_told_with_its_status() {
    let worker = Worker::start(e2e::h2_scripts::grpc_trailers_only("5", "no")).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let mut client = gateway.h2("grpc").await;
    client.fetch(grpc::call("/s/M"), grpc::frame("")).await;
    assert_eq!(gateway.access_log(1).await[0]["grpc_status"], 5);
}

/// A gateway that writes its log to a file of its directory.
async fn logging_to_file(worker: &Worker, more: &str) -> Gateway {
    Edge::to(worker)
        .top(&format!("access_log: {{ to: <dir>/access.log{more} }}"))
        .start()
        .await
}

/// Waits for a file to have so many lines.
async fn lines_of(path: &std::path::Path, count: usize) -> Vec<String> {
    eventually(&format!("{} has {count} lines", path.display()), || async {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn a_file_that_was_renamed_is_begun_anew() {
    let worker = Worker::start(replying(200)).await;
    let gateway = logging_to_file(&worker, "").await;
    let path = gateway.file("access.log");
    gateway.http().await.get("/one").await;
    lines_of(&path, 1).await;
    std::fs::rename(&path, gateway.file("access.log.1")).unwrap();
    gateway.signal("USR1");
    eventually("the file is there again", || async {
        path.exists().then_some(())
    })
    .await;
    gateway.http().await.get("/two").await;
    assert!(lines_of(&path, 1).await[0].contains("/two"));
    // And without being told.
    std::fs::rename(&path, gateway.file("access.log.2")).unwrap();
    eventually("the file is begun anew", || async {
        gateway.http().await.get("/three").await;
        path.exists().then_some(())
    })
    .await;
    let old = std::fs::read_to_string(gateway.file("access.log.1")).unwrap();
    assert_eq!(old.lines().count(), 1, "{old}");
}

#[tokio::test]
async fn haproxy_s_format_is_written() {
    let worker = Worker::start(replying(200)).await;
    let gateway = logging_to_file(&worker, ", format: haproxy").await;
    gateway.http().await.get("/a?secret=1").await;
    gateway.https().await.get("/metrics").await;
    let mut bad = gateway.http().await;
    bad.send("nonsense\r\n\r\n").await;
    bad.to_end().await;
    let lines = lines_of(&gateway.file("access.log"), 3).await;
    let find = |part: &str| {
        let found = lines.iter().find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("{part} in {lines:#?}"))
    };
    let ok = find("GET /a HTTP/1.1");
    let words: Vec<&str> = ok.split(' ').collect();
    assert!(words[0].starts_with("127.0.0.1:"), "{ok}");
    assert_eq!(words[2], "http", "{ok}");
    assert_eq!(words[3], format!("app/127.0.0.1:{}", worker.port()), "{ok}");
    assert_eq!(words[4].split('/').count(), 5, "{ok}");
    assert_eq!(
        (words[5], &words[7..10]),
        ("200", &["-", "-", "----"][..]),
        "{ok}"
    );
    let denied = find("\"GET /metrics HTTP/1.1\"");
    assert!(
        denied.contains(" https~ https/<NOSRV> 0/-1/-1/-1/"),
        "{denied}"
    );
    assert!(
        denied.contains(" 403 ") && denied.contains(" PR-- "),
        "{denied}"
    );
    let refused = find("<BADREQ>");
    assert!(
        refused.contains(" 400 ") && refused.contains(" PR-- "),
        "{refused}"
    );
    assert!(!lines.concat().contains("secret"), "{lines:#?}");
}

#[tokio::test]
async fn the_combined_format_is_written() {
    let worker = Worker::start(replying(200)).await;
    let gateway = logging_to_file(&worker, ", format: combined").await;
    let fields = ["User-Agent: curl/8 \"x\"", "Referer: https://a/b?token=1"];
    gateway.http().await.ask("GET", "/a", &fields, b"").await;
    let line = lines_of(&gateway.file("access.log"), 1).await.remove(0);
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(
        line.contains("\"GET /a HTTP/1.1\" 200 ")
            && line.ends_with(r#" "https://a/b" "curl/8 \x22x\x22""#),
        "{line}"
    );
}

#[tokio::test]
async fn the_user_agent_is_told_only_where_it_is_asked_for() {
    let worker = Worker::start(replying(200)).await;
    for (more, agent) in [("", Value::Null), (", user_agent: on", "me/1".into())] {
        let gateway = logging_to_file(&worker, more).await;
        let fields = [
            "User-Agent: me/1",
            "Authorization: Bearer hush",
            "Cookie: hush",
        ];
        gateway
            .http()
            .await
            .ask("GET", "/?hush", &fields, b"")
            .await;
        let line = lines_of(&gateway.file("access.log"), 1).await.remove(0);
        assert!(!line.contains("hush"), "{line}");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["user_agent"], agent, "{line}");
    }
}

#[tokio::test]
async fn a_sample_leaves_out_what_went_well_and_nothing_else() {
    let worker = Worker::start(replying(200)).await;
    let gateway = logging_to_file(&worker, ", sample: 0%").await;
    for _ in 0..5 {
        assert_eq!(gateway.http().await.get("/fine").await.status(), 200);
        assert_eq!(gateway.http().await.get("/metrics").await.status(), 403);
    }
    let lines = lines_of(&gateway.file("access.log"), 5).await;
    assert!(
        lines.iter().all(|line| line.contains("denied")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn a_flood_of_refusals_does_not_fill_the_disk() {
    let worker = Worker::start(replying(200)).await;
    let gateway = logging_to_file(&worker, ", refused_per_second: 1").await;
    const FLOOD: usize = 30;
    for _ in 0..FLOOD {
        let mut bad = gateway.http().await;
        bad.send("nonsense\r\n\r\n").await;
        assert!(bad.to_end().await.len() > 10, "each is answered");
    }
    let line = "portcullis_access_log_lines_left_out_total";
    let left_out = eventually("some are left out", || async {
        gateway.metric(line).await.filter(|count| *count > 0.0)
    })
    .await as usize;
    let told = lines_of(&gateway.file("access.log"), FLOOD - left_out).await;
    assert_eq!(told.len() + left_out, FLOOD);
    // The next line that there is room for tells of them.
    eventually("it is told how many were left out", || async {
        let mut bad = gateway.http().await;
        bad.send("nonsense\r\n\r\n").await;
        bad.to_end().await;
        let text = std::fs::read_to_string(gateway.file("access.log")).unwrap();
        text.contains("\"left_out\":").then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_that_were_never_served_are_told_too() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).limits("connections_max: 1").start().await;
    let mut first = gateway.http().await;
    first.get("/").await;
    let mut second = gateway.http().await;
    assert!(second.ended().await);
    // Nothing in common.
    let strange = gateway.tls().alpn(&["nonsense"]);
    assert!(strange.connect(gateway.port("https")).await.is_err());
    let lines = gateway.access_log(3).await;
    let failed = lines
        .iter()
        .find(|line| line["detail"] == "no_shared_protocol");
    assert!(failed.is_some(), "{lines:#?}");
    for (end, listener) in [("connections_max", "http"), ("handshake_failed", "https")] {
        let line = lines.iter().find(|line| line["end"] == end);
        let line = line.unwrap_or_else(|| panic!("no `{end}` in {lines:#?}"));
        assert_eq!(line["listener"], listener, "{line}");
        assert_eq!(line["client"], "127.0.0.1", "{line}");
        assert_eq!(line["status"], 0, "{line}");
        has_all_but(line, &["worker"]);
    }
}

#[tokio::test]
async fn the_name_that_a_client_asked_for_is_told() {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).start().await;
    let named = gateway.tls().name("localhost");
    let mut client = Raw::tls(gateway.port("https"), &named).await;
    client.get("/named").await;
    let nameless = gateway.tls().without_sni();
    Raw::tls(gateway.port("https"), &nameless)
        .await
        .get("/nameless")
        .await;
    gateway.http().await.get("/plain").await;
    // Refused for its protocol, before and after which the name is known.
    let strange = gateway.tls().name("edge.test").alpn(&["nonsense"]);
    assert!(strange.connect(gateway.port("https")).await.is_err());
    // Not even a version in common: the TLS library has not looked at the name then.
    let mut old = Raw::tcp(gateway.port("https")).await;
    old.send(hello_of_tls_1_0("old.test")).await;
    old.to_end().await;
    // Gone before anything was said.
    let mut silent = Raw::tcp(gateway.port("https")).await;
    silent.half_close().await;
    silent.to_end().await;

    let lines = gateway.access_log(6).await;
    let name = |field: &str, value: &str| {
        let line = lines.iter().find(|line| line[field] == value);
        let line = line.unwrap_or_else(|| panic!("no `{value}` in {lines:#?}"));
        line["tls_name"].as_str().map(str::to_owned)
    };
    let told = Some("edge.test".to_owned());
    assert_eq!(name("path", "/named").as_deref(), Some("localhost"));
    assert_eq!(name("path", "/nameless"), None);
    assert_eq!(name("path", "/plain"), None);
    assert_eq!(name("detail", "no_shared_protocol"), told);
    let old = Some("old.test".to_owned());
    assert_eq!(name("detail", "no_shared_version"), old);
    assert_eq!(name("detail", "lost"), None);
}

/// The first message of a client that speaks TLS 1.0 and nothing newer (RFC 2246, with RFC 6066 section 3).
fn hello_of_tls_1_0(name: &str) -> Vec<u8> {
    let with_length = |body: Vec<u8>| [&(body.len() as u16).to_be_bytes()[..], &body].concat();
    let host = with_length(name.as_bytes().to_vec());
    let names = with_length([&[0][..], &host].concat());
    let extensions = [&[0, 0][..], &with_length(names)].concat();
    let signatures = [&[0, 13][..], &with_length(with_length(vec![4, 3, 4, 1]))].concat();
    let version = [3, 1];
    let hello = [
        &version[..],
        &[7; 32],
        &[0],
        &with_length(vec![0xc0, 0x13, 0, 0x2f]),
        &[1, 0],
        &with_length([extensions, signatures].concat()),
    ]
    .concat();
    let message = [&[1, 0][..], &with_length(hello)].concat();
    [&[22, 3, 1][..], &with_length(message)].concat()
}

#[tokio::test]
async fn a_log_server_gets_lines_by_udp_and_tcp() {
    let worker = Worker::start(replying(200)).await;
    let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let gateway = Edge::to(&worker)
        .top(&format!(
            "access_log: {{ to: {{ syslog: \"udp://{}\", facility: local3 }} }}",
            udp.local_addr().unwrap()
        ))
        .start()
        .await;
    gateway.http().await.get("/udp").await;
    let mut buf = [0; 4096];
    let n = e2e::within("a datagram comes", udp.recv(&mut buf))
        .await
        .unwrap();
    let text = std::str::from_utf8(&buf[..n]).unwrap();
    // 19 * 8 + 6
    assert!(text.starts_with("<158>1 "), "{text}");
    let (_, line) = text.split_once(" access - ").unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["path"], "/udp");

    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Edge::to(&worker)
        .top(&format!(
            "access_log: {{ to: {{ syslog: \"tcp://{}\" }}, format: haproxy }}",
            tcp.local_addr().unwrap()
        ))
        .start()
        .await;
    gateway.http().await.get("/tcp").await;
    let (mut stream, _) = e2e::within("it connects", tcp.accept()).await.unwrap();
    let mut seen = Vec::new();
    let message = e2e::within("a message comes", async {
        loop {
            use tokio::io::AsyncReadExt;
            stream.read_buf(&mut seen).await.unwrap();
            let text = String::from_utf8(seen.clone()).unwrap();
            if let Some((length, rest)) = text.split_once(' ')
                && rest.len() == length.parse::<usize>().unwrap()
            {
                return rest.to_owned();
            }
        }
    })
    .await;
    assert!(
        message.starts_with("<134>1 ") && message.ends_with("\"GET /tcp HTTP/1.1\""),
        "{message}"
    );
}

#[tokio::test]
async fn the_journal_gets_fields() {
    let worker = Worker::start(replying(200)).await;
    let dir = std::env::temp_dir().join(format!("portcullis-journal-{}", std::process::id()));
    let _ = std::fs::remove_file(&dir);
    let journal = tokio::net::UnixDatagram::bind(&dir).unwrap();
    let gateway = Edge::to(&worker)
        .top(&format!(
            "access_log: {{ to: {{ journald: {} }} }}",
            dir.display()
        ))
        .start()
        .await;
    gateway.http().await.get("/j?secret").await;
    let mut buf = [0; 8192];
    let n = e2e::within("an entry comes", journal.recv(&mut buf))
        .await
        .unwrap();
    let _ = std::fs::remove_file(&dir);
    let text = std::str::from_utf8(&buf[..n]).unwrap();
    for line in [
        "PRIORITY=6",
        "SYSLOG_IDENTIFIER=portcullis",
        "PORTCULLIS_PATH=/j",
        "PORTCULLIS_STATUS=200",
        "PORTCULLIS_POOL=app",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in {text}");
    }
    assert!(text.starts_with("MESSAGE={\"time\""), "{text}");
    assert!(!text.contains("secret"), "{text}");
}
