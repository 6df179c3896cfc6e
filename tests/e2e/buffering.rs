//! Does a slow upload hold no worker, and does what is kept of uploads have a bound?

use e2e::grpc::{call, frame};
use e2e::h2_client::request;
use e2e::h2_scripts::h2_collecting;
use e2e::scripts::{by_hand, mirroring, reply};
use e2e::{Gateway, Script, Worker, eventually};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
buffers_bytes_max: <max>
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none, limits: { body_timeout: <patience> } }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app: { ports: <app>, worker_in_flight_max: 1 }
  h2: { ports: <h2>, protocol: h2c }
routes:
  - { path: /, to: app, on: [http, https], buffer_request: 100KiB }
  - { path: /small, to: app, on: [http, https], buffer_request: 100KiB, body_bytes_max: 1KiB }
  - { path: /direct, to: app, on: [http, https] }
  - { path: /h2, to: h2, on: [http, https], buffer_request: 100KiB }
"#;

struct Setup {
    gateway: Gateway,
    app: Worker,
    h2: Worker,
}

async fn start(app: Script, max: &str, patience: &str) -> Setup {
    let (app, h2) = (
        Worker::start(app).await,
        Worker::start(h2_collecting()).await,
    );
    let gateway = Gateway::with(YAML)
        .ports("app", [app.port()])
        .ports("h2", [h2.port()])
        .text("max", max)
        .text("patience", patience)
        .start()
        .await;
    Setup { gateway, app, h2 }
}

const KEPT: &str = "portcullis_buffers_bytes";

fn head(target: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_slow_upload_holds_no_worker() {
    let setup = start(mirroring(), "1MiB", "60s").await;
    let Setup { gateway, app, .. } = &setup;
    let mut slow = gateway.http().await;
    slow.send(head("/", 10)).await;
    slow.send("hello").await;
    let kept = || async { gateway.metric(KEPT).await };
    eventually("the first half is kept", || async {
        (kept().await == Some(5.0)).then_some(())
    })
    .await;
    // The only place of the only worker is free for others.
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
    assert_eq!(app.connections(), 1);
    slow.send("world").await;
    assert_eq!(slow.reply().await.text(), "helloworld");
    let request = app.requests().pop().unwrap();
    assert_eq!(request.field("content-length"), Some("10"));
    eventually("nothing is kept any more", || async {
        (kept().await == Some(0.0)).then_some(())
    })
    .await;
    // Two data threads write in any order.
    let lines = gateway.access_log(2).await;
    let line = lines.iter().find(|line| line["method"] == "POST").unwrap();
    assert_eq!(
        (&line["bytes_in"], &line["end"]),
        (&10.into(), &"ok".into()),
        "{line}"
    );
}

#[tokio::test]
async fn bodies_of_every_kind_arrive_as_they_were_sent() {
    let setup = start(mirroring(), "10MiB", "60s").await;
    let Setup { gateway, .. } = &setup;
    // Below the buffer, as long as it, and longer: those stream on.
    for length in [0, 1, 5000, 100 << 10, (100 << 10) + 1, 700 << 10] {
        let body: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        for target in ["/", "/h2"] {
            let sent = [head(target, length).into_bytes(), body.clone()].concat();
            let reply = gateway.http().await.exchange("POST", sent).await;
            assert!(reply.body == body, "{length} to {target}");
            let chunked = body.chunks(30_000).map(|chunk| {
                [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()
            });
            let chunked: Vec<u8> = chunked.flatten().collect();
            let start =
                format!("POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            let sent = [start.as_bytes(), &chunked, b"0\r\nT: 1\r\n\r\n"].concat();
            let reply = gateway.http().await.exchange("POST", sent).await;
            assert!(reply.body == body, "{length} in chunks to {target}");
            if target == "/" {
                assert_eq!(reply.trailer("t"), Some("1"), "{length}");
            }
            let reply = gateway
                .h2("https")
                .await
                .fetch(request("POST", target), body.clone())
                .await;
            assert!(reply.body == body, "{length} over HTTP/2 to {target}");
        }
    }
    eventually("nothing is kept any more", || async {
        (gateway.metric(KEPT).await == Some(0.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_waits_to_be_told_to_go_on_is_told_once() {
    let setup = start(mirroring(), "1MiB", "60s").await;
    let Setup { gateway, .. } = &setup;
    let mut client = gateway.http().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hi").await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), &reply.text()[..]), (200, "hi"));
}

#[tokio::test]
async fn an_upload_that_stops_is_408_and_reaches_no_worker() {
    let setup = start(mirroring(), "1MiB", "300ms").await;
    let Setup { gateway, app, .. } = &setup;
    let mut client = gateway.http().await;
    client.send(head("/", 10)).await;
    client.send("hello").await;
    assert_eq!(client.reply().await.status(), 408);
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["end"], "client_timeout", "{line}");
    assert_eq!(app.connections(), 0);
    assert_eq!(gateway.metric(KEPT).await, Some(0.0));
}

#[tokio::test]
async fn an_upload_that_is_too_long_is_413_and_reaches_no_worker() {
    let setup = start(mirroring(), "1MiB", "60s").await;
    let Setup { gateway, app, .. } = &setup;
    let chunk = format!("258\r\n{}\r\n", "x".repeat(600));
    let sent = format!(
        "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    let reply = gateway.http().await.exchange("POST", sent.into()).await;
    assert_eq!(reply.status(), 413);
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["end"], "body_too_large", "{line}");
    assert_eq!(app.connections(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let setup = start(mirroring(), "1MiB", "60s").await;
    let Setup { gateway, app, .. } = &setup;
    let mut client = gateway.http().await;
    client.send(head("/", 10)).await;
    client.send("hello").await;
    eventually("it is kept", || async {
        (gateway.metric(KEPT).await == Some(5.0)).then_some(())
    })
    .await;
    drop(client);
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["end"], "client_gone", "{line}");
    assert_eq!(gateway.metric(KEPT).await, Some(0.0));
    assert_eq!(app.connections(), 0);
}

#[tokio::test]
async fn over_the_bound_of_all_buffers_it_is_503() {
    let setup = start(mirroring(), "8KiB", "60s").await;
    let Setup { gateway, h2, .. } = &setup;
    let mut first = gateway.http().await;
    first.send(head("/", 8000)).await;
    first.send(vec![b'x'; 7000]).await;
    eventually("it is kept", || async {
        (gateway.metric(KEPT).await == Some(7000.0)).then_some(())
    })
    .await;
    let mut second = gateway.http().await;
    second.send(head("/", 2000)).await;
    second.send(vec![b'x'; 2000]).await;
    let reply = second.reply().await;
    assert_eq!(reply.status(), 503);
    assert!(reply.field("retry-after").is_some(), "{}", reply.head);
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["end"], "buffers_full", "{line}");
    assert!(gateway.metric("portcullis_buffers_refused_total").await >= Some(1.0));
    // Others are served: a call has no buffer, a route without the key neither.
    let reply = gateway
        .h2("https")
        .await
        .fetch(call("/h2/Call"), frame([7; 3000]))
        .await;
    assert_eq!(reply.status, 200);
    h2.until_seen(1).await;
    let sent = [head("/direct", 3000).into_bytes(), vec![b'x'; 3000]].concat();
    let reply = gateway.http().await.exchange("POST", sent).await;
    assert_eq!(reply.body.len(), 3000);
    first.send(vec![b'x'; 1000]).await;
    assert_eq!(first.reply().await.body.len(), 8000);
}

#[tokio::test]
async fn a_kept_body_is_sent_again_to_another_worker() {
    // The first worker of the first connection closes without an answer, which may be tried again for a PUT.
    let script = by_hand(|mut conn| async move {
        while let Some(request) = conn.request().await? {
            if conn.number == 0 {
                return Ok(());
            }
            conn.wire.write(reply(200, &request.body)).await?;
        }
        Ok(())
    });
    let setup = start(script, "1MiB", "60s").await;
    let Setup { gateway, app, .. } = &setup;
    let body = vec![b'x'; 90_000];
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n";
    let sent = [head.as_bytes(), &body].concat();
    let reply = gateway.http().await.exchange("PUT", sent).await;
    assert!(reply.status() == 200 && reply.body == body);
    assert_eq!(app.count(), 2);
}
