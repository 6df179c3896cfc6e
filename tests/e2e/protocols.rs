//! Does a message come through unharmed, whatever each side speaks?

use bytes::Bytes;
use e2e::h2_client::request;
use e2e::h2_scripts::{h2_collecting, h2_mirroring, h2_replying, trailer};
use e2e::scripts::{answering, by_hand, closing, mirroring, reply, saying, saying_and_closing};
use e2e::{Edge, Gate, Gateway, H2, Raw, Script, Worker};
use http::HeaderMap;

/// How a client comes in.
#[derive(Clone, Copy, Debug)]
enum Front {
    H1,
    H1Tls,
    H2,
}

const FRONTS: [Front; 3] = [Front::H1, Front::H1Tls, Front::H2];

/// What the workers speak.
#[derive(Clone, Copy, Debug)]
enum Back {
    H1,
    H2c,
}

const BACKS: [Back; 2] = [Back::H1, Back::H2c];

impl Back {
    fn mirror(self) -> Script {
        match self {
            Back::H1 => mirroring(),
            Back::H2c => h2_mirroring(),
        }
    }

    async fn edge(self, worker: &Worker) -> Gateway {
        match self {
            Back::H1 => Edge::to(worker).start().await,
            Back::H2c => Edge::to(worker).h2c().start().await,
        }
    }
}

async fn h1(gateway: &Gateway, front: Front) -> Raw {
    match front {
        Front::H1 => gateway.http().await,
        _ => gateway.https().await,
    }
}

/// A POST with a `Content-Length`, the body sent and the answer read side by side.
async fn post(gateway: &Gateway, front: Front, body: &[u8]) -> (u16, Vec<u8>) {
    if let Front::H2 = front {
        let mut request = request("POST", "/");
        request
            .headers_mut()
            .insert("content-length", body.len().into());
        let reply = gateway
            .h2("https")
            .await
            .fetch(request, body.to_vec())
            .await;
        return (reply.status.as_u16(), reply.body);
    }
    let mut bytes = format!(
        "POST / HTTP/1.1\r\nHost: edge.test\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    let reply = h1(gateway, front).await.exchange("POST", bytes).await;
    (reply.status(), reply.body)
}

/// A POST without a length: chunked for HTTP/1.1, plain DATA for HTTP/2.
async fn post_stream(gateway: &Gateway, front: Front, body: &[u8]) -> (u16, Vec<u8>) {
    if let Front::H2 = front {
        let reply = gateway
            .h2("https")
            .await
            .fetch(request("POST", "/"), body.to_vec())
            .await;
        return (reply.status.as_u16(), reply.body);
    }
    let mut bytes =
        b"POST / HTTP/1.1\r\nHost: edge.test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(10_000) {
        bytes.extend_from_slice(format!("{:X}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    let reply = h1(gateway, front).await.exchange("POST", bytes).await;
    (reply.status(), reply.body)
}

/// Bytes in which a lost, doubled or moved piece shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

#[tokio::test]
async fn bodies_of_every_size_go_both_ways_in_every_pairing() {
    for back in BACKS {
        let worker = Worker::start(back.mirror()).await;
        let gateway = back.edge(&worker).await;
        for front in FRONTS {
            for size in [0, 1, 64 * 1024, 5 << 20] {
                let body = pattern(size);
                let (status, echo) = post(&gateway, front, &body).await;
                assert_eq!(status, 200, "{front:?} to {back:?}, {size} bytes");
                assert!(
                    echo == body,
                    "{front:?} to {back:?}: {size} bytes came back as {}",
                    echo.len()
                );
                let (status, echo) = post_stream(&gateway, front, &body).await;
                assert_eq!(status, 200, "{front:?} to {back:?}, {size} bytes streamed");
                assert!(
                    echo == body,
                    "{front:?} to {back:?}: {size} streamed bytes came back as {}",
                    echo.len()
                );
            }
        }
    }
}

#[tokio::test]
async fn many_requests_follow_each_other_on_one_connection() {
    for back in BACKS {
        let worker = Worker::start(back.mirror()).await;
        let gateway = back.edge(&worker).await;
        for front in [Front::H1, Front::H1Tls] {
            let mut client = h1(&gateway, front).await;
            for n in 0..50 {
                let body = pattern(n * 7);
                let reply = client.ask("POST", "/", &[], &body).await;
                assert!(
                    reply.status() == 200 && reply.body == body,
                    "{front:?} to {back:?}, request {n}"
                );
            }
        }
        let mut client = gateway.h2("https").await;
        for n in 0..50 {
            let body = pattern(n * 7);
            assert!(
                client.fetch(request("POST", "/"), body.clone()).await.body == body,
                "{back:?}"
            );
        }
        assert_eq!(worker.count(), 150);
        assert!(
            worker.connections() < 50,
            "connections are kept: {}",
            worker.connections()
        );
    }
}

#[tokio::test]
async fn http2_streams_run_side_by_side() {
    let gate = Gate::new();
    let worker = Worker::start(e2e::scripts::held(&gate)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.h2("https").await;
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(client.call(request("GET", "/"), true).await);
    }
    // None is answered yet, so all twenty are at the worker at the same time.
    worker.until_seen(20).await;
    gate.open();
    for call in calls {
        assert_eq!(call.rest().await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn head_is_answered_without_a_body_and_the_connection_goes_on() {
    for back in BACKS {
        let script = match back {
            Back::H1 => answering(|_| reply(200, "five!")),
            Back::H2c => e2e::h2_scripts::h2(|mut stream| async move {
                let head = http::Response::builder()
                    .header("content-length", "5")
                    .body(())
                    .unwrap();
                let no_body = stream.request.method() == "HEAD";
                let mut tx = stream.answer.send_response(head, no_body)?;
                if no_body {
                    Ok(())
                } else {
                    tx.send_data("five!".into(), true)
                }
            }),
        };
        let worker = Worker::start(script).await;
        let gateway = back.edge(&worker).await;
        for front in [Front::H1, Front::H1Tls] {
            let mut client = h1(&gateway, front).await;
            let head = client.ask("HEAD", "/", &[], b"").await;
            assert_eq!(
                (head.status(), head.field("content-length")),
                (200, Some("5")),
                "{back:?}"
            );
            assert_eq!(
                client.get("/").await.text(),
                "five!",
                "{front:?} to {back:?}"
            );
        }
        let mut client = gateway.h2("https").await;
        let head = client.fetch(request("HEAD", "/"), "").await;
        assert_eq!(
            (head.headers["content-length"].as_bytes(), head.body.len()),
            (&b"5"[..], 0),
            "{back:?}"
        );
        assert_eq!(
            client.fetch(request("GET", "/"), "").await.text(),
            "five!",
            "{back:?}"
        );
    }
}

#[tokio::test]
async fn answers_without_a_body_keep_the_connection_in_step() {
    let worker = Worker::start(answering(|request| match request.target() {
        "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "/304" => {
            b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\n".to_vec()
        }
        _ => reply(200, "ok"),
    }))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let (mut old, mut new) = (gateway.http().await, gateway.h2("https").await);
    for (target, status) in [
        ("/204", 204),
        ("/x", 200),
        ("/304", 304),
        ("/x", 200),
        ("/204", 204),
    ] {
        let reply = old.get(target).await;
        assert_eq!(reply.status(), status, "{target}");
        if status == 204 {
            assert_eq!(
                reply.field("transfer-encoding"),
                None,
                "RFC 9112 section 6.1"
            );
            assert_eq!(reply.field("content-length"), None, "RFC 9110 section 8.6");
        }
        let reply = new.fetch(request("GET", target), "").await;
        assert_eq!(
            (reply.status.as_u16(), reply.body.is_empty()),
            (status, status != 200),
            "{target}"
        );
    }
    assert_eq!(old.get("/304").await.field("etag"), Some("\"x\""));
}

#[tokio::test]
async fn interim_answers_are_passed_on() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let bytes = [
        hints.as_bytes(),
        b"HTTP/1.1 102 Processing\r\n\r\n",
        &reply(200, "ok"),
    ]
    .concat();
    let worker = Worker::start(saying(bytes)).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let early = client.reply().await;
    assert_eq!(
        (early.status(), early.field("link")),
        (103, Some("</a.css>"))
    );
    assert_eq!(client.reply().await.status(), 102);
    assert_eq!(client.reply().await.text(), "ok");
    let reply = gateway
        .h2("https")
        .await
        .fetch(request("GET", "/"), "")
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.interim, [103, 102]);
}

#[tokio::test]
async fn a_client_of_http_1_0_is_spared_interim_answers() {
    let worker = Worker::start(saying(
        [&b"HTTP/1.1 103 Early Hints\r\n\r\n"[..], &reply(200, "ok")].concat(),
    ))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.reply().await.status(), 200);
}

#[tokio::test]
async fn a_client_that_expects_100_is_told_to_go_on() {
    // One worker says 100 itself, the other just waits for the body.
    let saying_100 = by_hand(|mut conn| async move {
        while let Some(mut head) = conn.wire.head().await? {
            conn.wire.write("HTTP/1.1 100 Continue\r\n\r\n").await?;
            conn.wire.body(head.request_framing(), &mut head).await?;
            conn.seen.note(head.clone());
            conn.wire.write(reply(200, &head.body)).await?;
        }
        Ok(())
    });
    for (script, back) in [
        (saying_100, Back::H1),
        (mirroring(), Back::H1),
        (h2_collecting(), Back::H2c),
    ] {
        let worker = Worker::start(script).await;
        let gateway = back.edge(&worker).await;
        for front in [Front::H1, Front::H1Tls] {
            let mut client = h1(&gateway, front).await;
            client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").await;
            assert_eq!(client.reply().await.status(), 100, "{front:?} to {back:?}");
            client.send("body").await;
            let last = client.final_reply_to("PUT").await;
            assert_eq!(
                (last.status(), last.text().as_str()),
                (200, "body"),
                "{front:?} to {back:?}"
            );
            assert_eq!(
                client.get("/").await.status(),
                200,
                "the connection is in step"
            );
        }
    }
}

#[tokio::test]
async fn a_client_that_expects_100_may_be_turned_away() {
    let worker = Worker::start(by_hand(|mut conn| async move {
        if conn.wire.head().await?.is_some() {
            conn.wire
                .write("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await?;
            conn.wire.half_close().await?;
            conn.wire.to_end().await?;
        }
        Ok(())
    }))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client
        .send(
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\nExpect: 100-continue\r\n\r\n",
        )
        .await;
    assert_eq!(client.final_reply_to("PUT").await.status(), 413);
}

#[tokio::test]
async fn an_early_answer_comes_through_while_the_body_is_still_being_sent() {
    let early = by_hand(|mut conn| async move {
        if conn.wire.head().await?.is_some() {
            conn.wire.write(reply(413, "too large")).await?;
            conn.wire.half_close().await?;
            // Read on, as a server must that wants its answer to arrive (RFC 9112 section 9.6).
            conn.wire.to_end().await?;
        }
        Ok(())
    });
    let worker = Worker::start(early).await;
    let gateway = Edge::to(&worker).start().await;
    for front in FRONTS {
        let (status, _) = post(&gateway, front, &pattern(5 << 20)).await;
        assert_eq!(status, 413, "{front:?}");
    }
    // And while the client keeps its body back altogether.
    let mut client = gateway.http().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    assert_eq!(client.reply().await.status(), 413);
    let mut call = gateway
        .h2("https")
        .await
        .call(request("POST", "/"), false)
        .await;
    call.send("half").await;
    assert_eq!(call.head().await.unwrap().status(), 413);
}

#[tokio::test]
async fn trailers_go_both_ways_in_every_pairing() {
    for back in BACKS {
        let worker = Worker::start(back.mirror()).await;
        let gateway = back.edge(&worker).await;
        for front in [Front::H1, Front::H1Tls] {
            let mut client = h1(&gateway, front).await;
            client
                .send("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n")
                .await;
            let reply = client.reply().await;
            assert_eq!(
                (reply.text().as_str(), reply.trailer("x-sum")),
                ("abc", Some("6")),
                "{front:?} to {back:?}"
            );
            assert_eq!(
                client.ask("POST", "/", &[], b"next").await.text(),
                "next",
                "in step"
            );
        }
        let mut call = gateway
            .h2("https")
            .await
            .call(request("POST", "/"), false)
            .await;
        call.send("abc").await;
        call.finish_with(trailer("x-sum", "6"));
        let reply = call.rest().await.unwrap();
        assert_eq!(
            (reply.text().as_str(), reply.trailers["x-sum"].as_bytes()),
            ("abc", &b"6"[..]),
            "h2 to {back:?}"
        );
    }
}

#[tokio::test]
async fn a_body_of_http2_ends_once_whatever_its_last_frame_is() {
    let worker = Worker::start(mirroring()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.h2("https").await;
    for last in [
        "full frame",
        "empty frame",
        "trailers",
        "nothing but an empty frame",
    ] {
        let mut call = client.call(request("POST", "/"), false).await;
        if last != "nothing but an empty frame" {
            call.send("body").await;
        }
        match last {
            "full frame" => call.finish_sending("more").await,
            "trailers" => call.finish_with(trailer("x-sum", "6")),
            _ => call.finish(),
        }
        assert_eq!(call.rest().await.unwrap().status, 200, "{last}");
    }
    // A second end would be the first bytes of the next request on the kept connection.
    let heads: Vec<_> = worker
        .requests()
        .iter()
        .map(|seen| seen.first_line().to_owned())
        .collect();
    assert_eq!(heads, ["POST / HTTP/1.1"; 4]);
}

#[tokio::test]
async fn a_trailer_cannot_smuggle_a_framing_field() {
    let worker = Worker::start(mirroring()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: 7\r\nHost: b\r\nX-Ok: 1\r\n\r\n")
        .await;
    // Refused or dropped are both right (RFC 9110 section 6.5.1); passed on is not.
    if let Some(reply) = client.reply_or_end().await {
        assert!(matches!(reply.status(), 200 | 400), "{}", reply.status());
    }
    for seen in worker.requests() {
        assert_eq!(
            (seen.trailer("content-length"), seen.trailer("host")),
            (None, None)
        );
    }
}

#[tokio::test]
async fn a_client_may_close_its_sending_side_and_still_gets_its_answer() {
    let gate = Gate::new();
    let worker = Worker::start(e2e::scripts::held(&gate)).await;
    let gateway = Edge::to(&worker).start().await;
    for mut client in [gateway.http().await, gateway.https().await] {
        let before = worker.count();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.half_close().await;
        worker.until_seen(before + 1).await;
        gate.open();
        assert_eq!(client.reply().await.text(), "ok");
        assert!(client.ended().await);
    }
}

#[tokio::test]
async fn an_answer_is_passed_on_piece_by_piece() {
    let gate = Gate::new();
    let end = gate.clone();
    let worker = Worker::start(by_hand(move |mut conn| {
        let end = end.clone();
        async move {
            while conn.request().await?.is_some() {
                conn.wire
                    .write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
                    .await?;
                end.passed().await;
                conn.wire.write("3\r\ntwo\r\n0\r\n\r\n").await?;
            }
            Ok(())
        }
    }))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let mut old = gateway.http().await;
    old.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(old.head().await.status(), 200);
    assert_eq!(old.chunk().await.as_deref(), Some(&b"one"[..]));
    let mut new = gateway
        .h2("https")
        .await
        .call(request("GET", "/"), true)
        .await;
    assert_eq!(new.exact(3).await, b"one");
    gate.open();
    assert_eq!(old.chunk().await.as_deref(), Some(&b"two"[..]));
    assert_eq!(old.chunk().await, None);
    assert_eq!(new.exact(3).await, b"two");
}

#[tokio::test]
async fn a_request_is_passed_on_piece_by_piece() {
    for back in BACKS {
        let worker = match back {
            Back::H2c => Worker::start(h2_mirroring()).await,
            Back::H1 => {
                Worker::start(by_hand(|mut conn| async move {
                    conn.wire.head().await?;
                    conn.wire
                        .write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                        .await?;
                    while let Some(chunk) = conn.wire.chunk().await? {
                        let text = String::from_utf8_lossy(&chunk).into_owned();
                        conn.wire
                            .write(format!("{:x}\r\n{text}\r\n", text.len()))
                            .await?;
                    }
                    conn.wire.trailers().await?;
                    conn.wire.write("0\r\n\r\n").await
                }))
                .await
            }
        };
        let gateway = back.edge(&worker).await;
        let mut old = gateway.http().await;
        old.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            .await;
        assert_eq!(old.head().await.status(), 200, "{back:?}");
        assert_eq!(old.chunk().await.as_deref(), Some(&b"one"[..]), "{back:?}");
        old.send("3\r\ntwo\r\n0\r\n\r\n").await;
        assert_eq!(old.chunk().await.as_deref(), Some(&b"two"[..]), "{back:?}");
        let mut new = gateway
            .h2("https")
            .await
            .call(request("POST", "/"), false)
            .await;
        new.send("one").await;
        assert_eq!(new.exact(3).await, b"one", "{back:?}");
        new.finish();
        assert!(new.rest().await.is_ok(), "{back:?}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ] {
        let bytes = [head.as_bytes(), &pattern(100_000)].concat();
        let worker = Worker::start(saying_and_closing(bytes)).await;
        let gateway = Edge::to(&worker).start().await;
        assert!(
            gateway.http().await.get("/").await.body == pattern(100_000),
            "{head:?}"
        );
        let reply = gateway
            .h2("https")
            .await
            .fetch(request("GET", "/"), "")
            .await;
        assert!(reply.body == pattern(100_000), "{head:?}");
    }
}

#[tokio::test]
async fn an_answer_cut_short_is_not_shown_as_whole() {
    for torn in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    ] {
        let worker = Worker::start(saying_and_closing(torn)).await;
        let gateway = Edge::to(&worker).start().await;
        let mut client = gateway.http().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let got = client.reply_or_end().await;
        assert!(
            got.as_ref().is_none_or(|reply| reply.status() == 502),
            "{torn:?}: {got:?}"
        );
        let got = gateway
            .h2("https")
            .await
            .try_fetch(request("GET", "/"), "")
            .await;
        assert!(
            got.as_ref().map_or(true, |reply| reply.status == 502),
            "{torn:?}: {got:?}"
        );
    }
}

#[tokio::test]
async fn a_worker_that_closes_without_an_answer_is_a_502() {
    let worker = Worker::start(closing()).await;
    let gateway = Edge::to(&worker)
        .pool("retry: { attempts_max: 0 }")
        .start()
        .await;
    assert_eq!(
        gateway
            .http()
            .await
            .ask("POST", "/", &[], b"x")
            .await
            .status(),
        502
    );
    assert_eq!(
        gateway
            .h2("https")
            .await
            .fetch(request("POST", "/"), "x")
            .await
            .status,
        502
    );
}

#[tokio::test]
async fn a_worker_that_takes_too_long_is_a_504() {
    let worker = Worker::start(e2e::scripts::silent()).await;
    let gateway = Edge::to(&worker)
        .pool("response_timeout: 200ms, retry: { attempts_max: 0 }")
        .start()
        .await;
    assert_eq!(
        gateway
            .http()
            .await
            .ask("POST", "/", &[], b"x")
            .await
            .status(),
        504
    );
    assert_eq!(
        gateway
            .h2("https")
            .await
            .fetch(request("POST", "/"), "x")
            .await
            .status,
        504
    );
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_at_the_worker() {
    let worker = Worker::start(by_hand(|mut conn| async move {
        conn.request().await?;
        let rest = conn.wire.to_end().await?;
        conn.seen
            .note_reset(format!("left after {} bytes", rest.len()));
        Ok(())
    }))
    .await;
    let gateway = Edge::to(&worker).start().await;
    let mut call = gateway
        .h2("https")
        .await
        .call(request("GET", "/"), true)
        .await;
    worker.until_seen(1).await;
    call.cancel();
    e2e::eventually("the worker's connection is closed", || async {
        (!worker.resets().is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_empty_answer_over_http2_ends_its_stream() {
    let worker = Worker::start(h2_replying(Bytes::new())).await;
    let gateway = Edge::to(&worker).h2c().start().await;
    let mut client: H2 = gateway.h2("https").await;
    let reply = client.fetch(request("GET", "/"), "").await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
    assert_eq!(reply.trailers, HeaderMap::new());
    assert_eq!(gateway.http().await.get("/").await.status(), 200);
}
