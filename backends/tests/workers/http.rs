//! What do HTTP workers answer?

use backends::service::{Service, api, appserver, message_system, package_upload, pingserver};
use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::running::{Running, rest_of, within};

fn body_of(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a whole head").1
}

fn json_of(answer: &str) -> Value {
    serde_json::from_str(body_of(answer)).expect("a body of JSON")
}

#[tokio::test]
async fn a_worker_tells_what_it_saw() {
    let worker = Running::start(message_system::SERVICE).await;
    let answer = worker
        .send(concat!(
            "POST /message-system/a%20b?x=1 HTTP/1.1\r\nHost: edge.test\r\nX-One: 1\r\n",
            "X-Two: 2\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        ))
        .await;
    let seen = json_of(&answer);
    assert_eq!(seen["service"], "message-system");
    assert_eq!(seen["port"], worker.address.port());
    assert_eq!(seen["pid"], std::process::id());
    assert_eq!(seen["method"], "POST");
    assert_eq!(seen["target"], "/message-system/a%20b?x=1");
    assert_eq!(seen["version"], "HTTP/1.1");
    assert_eq!(
        (&seen["body"], &seen["body_bytes"]),
        (&"hello".into(), &5.into())
    );
    let fields: Vec<[String; 2]> =
        serde_json::from_value(seen["headers"].clone()).expect("pairs of text");
    let names: Vec<&str> = fields.iter().map(|field| field[0].as_str()).collect();
    assert_eq!(
        names,
        ["host", "x-one", "x-two", "connection", "content-length"]
    );
}

#[tokio::test]
async fn every_answer_names_its_worker() {
    let worker = Running::start(api::SERVICE).await;
    let line = format!("x-worker: api:{}\r\n", worker.address.port());
    for target in ["/", "/api/status/503", "/api/bytes/10", "/health"] {
        let answer = worker.get(target).await;
        assert!(answer.contains(&line), "{target}: {answer}");
    }
}

#[tokio::test]
async fn a_chunked_body_and_its_trailers_are_counted() {
    let worker = Running::start(package_upload::SERVICE).await;
    let answer = worker
        .send(concat!(
            "PUT /upload HTTP/1.1\r\nhost: t\r\nconnection: close\r\ntransfer-encoding: chunked\r\n",
            "trailer: x-sum\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nx-sum: 7\r\n\r\n",
        ))
        .await;
    let seen = json_of(&answer);
    assert_eq!(seen["body"], "abcdefg");
    assert_eq!(seen["trailers"], serde_json::json!([["x-sum", "7"]]));
}

#[tokio::test]
async fn wishes_are_granted() {
    let worker = Running::start(pingserver::SERVICE).await;
    for (target, status, part) in [
        ("/ping/health", 200, "ok\n"),
        ("/ping/sleep/1", 200, "slept 1 ms"),
        ("/sleep?ms=2", 200, "slept 2 ms"),
        ("/bytes/0", 200, "content-length: 0\r\n"),
        ("/bytes/100000", 200, "content-length: 100000\r\n"),
        ("/chunked/5", 200, "transfer-encoding: chunked\r\n"),
        ("/drip/3/1", 200, "\r\n2\r\n2\n\r\n"),
        ("/status/204", 204, ""),
        ("/status/503", 503, "503 Service Unavailable\n"),
        ("/header/9000", 200, &"x".repeat(9000)),
        ("/trailers", 200, "\r\nx-pieces: 3\r\n"),
        ("/early/401", 401, "not read\n"),
        ("/bytes/99999999999", 400, "at most"),
    ] {
        let answer = worker.get(target).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{target}: {answer}"
        );
        assert!(answer.contains(part), "{target}: {answer}");
    }
}

#[tokio::test]
async fn a_body_has_the_length_asked_for() {
    let worker = Running::start(pingserver::SERVICE).await;
    for length in [1, 63, 16_383, 16_384, 16_385, 300_000] {
        let answer = worker.get(&format!("/bytes/{length}")).await;
        assert_eq!(body_of(&answer).len(), length);
    }
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_body() {
    let worker = Running::start(package_upload::SERVICE).await;
    let mut stream = worker.connect().await;
    let head = "POST /upload/early HTTP/1.1\r\nhost: t\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut start = [0; 12];
    within(stream.read_exact(&mut start))
        .await
        .expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 413");
}

#[tokio::test]
async fn an_aborted_body_ends_short_of_its_length() {
    let worker = Running::start(pingserver::SERVICE).await;
    let answer = worker.get("/abort/5").await;
    assert!(answer.contains("content-length: 6\r\n"), "{answer}");
    assert_eq!(body_of(&answer), "abcde");
}

#[tokio::test]
async fn only_a_browser_gets_the_page() {
    let worker = Running::start(appserver::SERVICE).await;
    let ask = |target: &str, accept: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n");
        format!("{head}accept: {accept}\r\n\r\n")
    };
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    let page = worker.send(&ask("/", browser)).await;
    assert!(page.contains("content-type: text/html"), "{page}");
    assert!(page.contains(&format!("<b id=\"port\">{}</b>", worker.address.port())));
    for (target, accept) in [("/", "*/*"), ("/", "application/json"), ("/other", browser)] {
        let answer = worker.send(&ask(target, accept)).await;
        assert_eq!(
            json_of(&answer)["service"],
            "appserver",
            "{target} {accept}"
        );
    }
}

#[tokio::test]
async fn the_same_port_speaks_http2() {
    let worker = Running::start(api::SERVICE).await;
    let (client, connection) = within(h2::client::handshake(worker.connect().await))
        .await
        .expect("HTTP/2 with prior knowledge");
    tokio::spawn(connection);
    let mut client = within(client.ready()).await.expect("room for a stream");
    let request = http::Request::post("http://edge.test/api?q=1").body(());
    let (answer, mut body) = client
        .send_request(request.expect("a request"), false)
        .expect("sent");
    body.send_data(Bytes::from_static(b"hi"), true)
        .expect("sent");
    let mut answer = within(answer).await.expect("an answer").into_body();
    let mut text = Vec::new();
    while let Some(data) = within(answer.data()).await {
        let data = data.expect("a whole body");
        text.extend_from_slice(&data);
        answer
            .flow_control()
            .release_capacity(data.len())
            .expect("received");
    }
    let seen: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(seen["version"], "HTTP/2.0");
    assert_eq!(seen["authority"], "edge.test");
    assert_eq!(
        (&seen["target"], &seen["body"]),
        (&"/api?q=1".into(), &"hi".into())
    );
}

#[tokio::test]
async fn what_is_in_flight_is_finished_after_the_word_to_stop() {
    let worker = Running::start(pingserver::SERVICE).await;
    let mut stream = worker.connect().await;
    let head = "GET /drip/3/20 HTTP/1.1\r\nhost: t\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut start = [0; 12];
    within(stream.read_exact(&mut start))
        .await
        .expect("an answer");
    worker.say_stop();
    assert!(rest_of(&mut stream).await.ends_with("2\n\r\n0\r\n\r\n"));
    worker.stopped().await;
}

#[tokio::test]
async fn each_service_has_a_name_of_its_own() {
    let all: [Service; 4] = [
        appserver::SERVICE,
        pingserver::SERVICE,
        message_system::SERVICE,
        api::SERVICE,
    ];
    for service in all {
        let worker = Running::start(service).await;
        assert_eq!(json_of(&worker.get("/x").await)["service"], service.name);
    }
}
