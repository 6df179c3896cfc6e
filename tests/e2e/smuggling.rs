//! Is every doubt about where a message ends refused before a worker sees it (RFC 9112, RFC 9113)?

use e2e::frames::{self, END_HEADERS, END_STREAM, Verdict};
use e2e::scripts::{by_hand, echoing_head, reply, saying_and_closing};
use e2e::{Edge, Gateway, Raw, Worker};

/// (what is wrong, the bytes, the statuses that are right)
type Case = (&'static str, &'static str, &'static [u16]);

const BAD_HEADS: &[Case] = &[
    ("no Host", "GET / HTTP/1.1\r\n\r\n", &[400]),
    (
        "two Hosts",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        &[400],
    ),
    (
        "two equal Hosts",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        &[400],
    ),
    ("Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", &[400]),
    (
        "Host with a path",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        &[400],
    ),
    (
        "Host with a user",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        &[400],
    ),
    (
        "length and chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "chunked and length",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "differing lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        &[400],
    ),
    (
        "equal lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        &[400],
    ),
    (
        "length list",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd",
        &[400],
    ),
    (
        "signed length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd",
        &[400],
    ),
    (
        "negative length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        &[400],
    ),
    (
        "empty length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
        &[400],
    ),
    (
        "hexadecimal length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nabcd",
        &[400],
    ),
    (
        "length with a space inside",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4 4\r\n\r\nabcd",
        &[400],
    ),
    (
        "length beyond 64 bits",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551620\r\n\r\nabcd",
        &[400, 413],
    ),
    (
        "folded field",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
        &[400],
    ),
    (
        "folded first field",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        &[400],
    ),
    (
        "folded length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 4\r\n\r\nabcd",
        &[400],
    ),
    (
        "space before colon",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nabcd",
        &[400],
    ),
    (
        "tab before colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "field without a colon",
        "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
        &[400],
    ),
    (
        "field without a name",
        "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
        &[400],
    ),
    (
        "field name that is no token",
        "GET / HTTP/1.1\r\nHost: a\r\nX(y): 1\r\n\r\n",
        &[400],
    ),
    (
        "bare LF after the request line",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "bare LF after a field",
        "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
        &[400],
    ),
    (
        "bare LF at the end of the head",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        &[400],
    ),
    (
        "bare CR in a field",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n",
        &[400],
    ),
    (
        "bare CR in the target",
        "GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "NUL in a field",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\0\r\n\r\n",
        &[400],
    ),
    (
        "NUL in the target",
        "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "control byte in a field",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        &[400],
    ),
    (
        "chunked not last",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        &[400, 501],
    ),
    (
        "not chunked at all",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        &[400, 501],
    ),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        &[400, 501],
    ),
    (
        "chunked in two fields",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400, 501],
    ),
    (
        "chunked in quotes",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        &[400, 501],
    ),
    (
        "chunked with vertical tab",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "xchunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        &[400, 501],
    ),
    (
        "unknown coding before chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        &[501],
    ),
    (
        "empty transfer coding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
        &[400, 501],
    ),
    (
        "1.0 with chunked",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "space in the target",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    (
        "trailing space",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "leading space",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "tab for space",
        "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    ("no version", "GET /\r\nHost: a\r\n\r\n", &[400]),
    (
        "version 0.9",
        "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        &[400, 505],
    ),
    ("version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", &[505]),
    ("version 3.0", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", &[505]),
    (
        "version 1.11",
        "GET / HTTP/1.11\r\nHost: a\r\n\r\n",
        &[400, 505],
    ),
    (
        "version in lower case",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        &[400, 505],
    ),
    (
        "method that is no token",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "target without a slash",
        "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    ("star for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", &[405]),
    (
        "CONNECT",
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        &[405],
    ),
    (
        "TLS on a plain port",
        "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\n\r\n",
        &[400],
    ),
];

const BAD_CHUNKS: &[(&str, &str)] = &[
    ("size that is no number", "x\r\na\r\n0\r\n\r\n"),
    ("size with a sign", "+1\r\na\r\n0\r\n\r\n"),
    ("size with 0x", "0x1\r\na\r\n0\r\n\r\n"),
    ("size with a space before it", " 1\r\na\r\n0\r\n\r\n"),
    ("empty size", "\r\na\r\n0\r\n\r\n"),
    ("size beyond 64 bits", "10000000000000001\r\na\r\n0\r\n\r\n"),
    ("bare LF after the size", "1\na\r\n0\r\n\r\n"),
    ("bare CR after the size", "1\ra\r\n0\r\n\r\n"),
    ("no CRLF after the data", "1\r\nab\r\n0\r\n\r\n"),
    ("bare LF after the data", "1\r\na\n0\r\n\r\n"),
    ("bare LF in an extension", "1;x\ny\r\na\r\n0\r\n\r\n"),
    ("folded trailer", "0\r\nX: 1\r\n 2\r\n\r\n"),
    ("trailer without a colon", "0\r\nnonsense\r\n\r\n"),
    ("bare LF after the last chunk", "0\n\r\n\r\n"),
];

#[tokio::test]
async fn a_doubtful_head_is_refused_and_reaches_no_worker() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut wrong = Vec::new();
    for (what, bytes, right) in BAD_HEADS {
        // A request in the shadow of a bad one must not be served either.
        let shadow = "GET /shadow HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut client = gateway.http().await;
        client.try_send(format!("{bytes}{shadow}")).await;
        let status = client
            .reply_or_end()
            .await
            .map_or(0, |reply| reply.status());
        if !right.contains(&status) {
            wrong.push(format!("{what}: {status}, not {right:?}"));
        }
        if !client.ended().await {
            wrong.push(format!("{what}: the connection went on"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        String::from_utf8_lossy(&worker.bytes()),
        "",
        "not a byte reaches the worker"
    );
}

#[tokio::test]
async fn a_doubtful_chunk_ends_the_request_and_the_connection() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut wrong = Vec::new();
    for (what, bytes) in BAD_CHUNKS {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut client = gateway.http().await;
        client
            .try_send(format!(
                "{head}{bytes}GET /shadow HTTP/1.1\r\nHost: a\r\n\r\n"
            ))
            .await;
        // The head was in order and is on its way, so the worker's side is cut; the client is told.
        let status = client
            .reply_or_end()
            .await
            .map_or(0, |reply| reply.status());
        if status != 400 {
            wrong.push(format!("{what}: {status}, not 400"));
        }
        if !client.ended().await {
            wrong.push(format!("{what}: the connection went on"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A request counts when the worker has read it to its end.
    assert_eq!(worker.count(), 0, "{:?}", worker.requests());
}

#[tokio::test]
async fn a_good_request_before_a_bad_one_is_answered() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    client.send("GET /good HTTP/1.1\r\nHost: a\r\n\r\nGET /bad HTTP/1.1\r\n\r\nGET /no HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.reply().await.status(), 200);
    assert_eq!(client.reply().await.status(), 400);
    assert!(client.ended().await);
    assert_eq!(worker.count(), 1);
}

#[tokio::test]
async fn a_body_left_unread_is_not_taken_for_a_request() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let mut client = gateway.http().await;
    // The gateway answers this itself (denied), and does not read the body as the next request.
    let inner = "GET /inner HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = format!(
        "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        inner.len()
    );
    client.send(format!("{head}{inner}")).await;
    assert_eq!(client.reply().await.status(), 403);
    client.half_close().await;
    assert!(client.ended().await);
    assert_eq!(worker.count(), 0);
}

/// Fields beside `:method GET`, `:scheme https`, `:authority edge.test`, `:path /`.
const BAD_H2_FIELDS: &[(&str, &str, &str)] = &[
    ("transfer coding", "transfer-encoding", "chunked"),
    ("connection", "connection", "keep-alive"),
    ("upgrade", "upgrade", "websocket"),
    ("keep-alive", "keep-alive", "timeout=5"),
    ("proxy-connection", "proxy-connection", "keep-alive"),
    ("te other than trailers", "te", "gzip"),
    ("upper case", "X-Upper", "1"),
    ("CRLF in a value", "x", "1\r\nY: 2"),
    ("LF in a value", "x", "1\ny: 2"),
    ("CR in a value", "x", "1\ry"),
    ("NUL in a value", "x", "1\0"),
    ("colon in a name", "x: y", "1"),
    ("CRLF in a name", "x\r\ny", "1"),
    ("space in a name", "x y", "1"),
    ("empty name", "", "1"),
    ("unknown pseudo field", ":unknown", "1"),
    ("response pseudo field", ":status", "200"),
    ("second path", ":path", "/other"),
    ("second authority", ":authority", "other.test"),
    ("Host that differs", "host", "other.test"),
    ("length without a body", "content-length", "5"),
    ("length that is no number", "content-length", "+0"),
];

const BAD_H2_PSEUDO: &[(&str, [&str; 4])] = &[
    ("space in the path", ["GET", "https", "edge.test", "/a b"]),
    (
        "CRLF in the path",
        ["GET", "https", "edge.test", "/ HTTP/1.1\r\nX: y"],
    ),
    ("empty path", ["GET", "https", "edge.test", ""]),
    ("path without a slash", ["GET", "https", "edge.test", "x"]),
    (
        "space in the method",
        ["GET / HTTP/1.1", "https", "edge.test", "/"],
    ),
    (
        "CRLF in the authority",
        ["GET", "https", "edge.test\r\nX: y", "/"],
    ),
    (
        "user in the authority",
        ["GET", "https", "u@edge.test", "/"],
    ),
    (
        "path in the authority",
        ["GET", "https", "edge.test/x", "/"],
    ),
    ("TRACE", ["TRACE", "https", "edge.test", "/"]),
];

async fn h2_raw(gateway: &Gateway) -> Raw {
    let mut raw = Raw::tls(gateway.port("https"), &gateway.tls().alpn(&["h2"])).await;
    raw.send(frames::hello()).await;
    raw
}

async fn h2_fate(gateway: &Gateway, pseudo: [&str; 4], more: &[(&str, &str)]) -> Verdict {
    let names = [":method", ":scheme", ":authority", ":path"];
    let fields: Vec<_> = names
        .into_iter()
        .zip(pseudo)
        .chain(more.iter().copied())
        .collect();
    let mut raw = h2_raw(gateway).await;
    let flags = END_HEADERS | END_STREAM;
    raw.try_send(frames::frame(
        frames::HEADERS,
        flags,
        1,
        &frames::block(&fields),
    ))
    .await;
    frames::verdict(raw).await
}

#[tokio::test]
async fn http2_carries_nothing_that_http1_would_read_otherwise() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    let good = ["GET", "https", "edge.test", "/"];
    assert_eq!(
        h2_fate(&gateway, good, &[("x", "1")]).await,
        Verdict::Answered(200),
        "the control"
    );
    let mut wrong = Vec::new();
    for (what, name, value) in BAD_H2_FIELDS {
        if h2_fate(&gateway, good, &[(name, value)]).await == Verdict::Answered(200) {
            wrong.push(*what);
        }
    }
    for (what, pseudo) in BAD_H2_PSEUDO {
        if h2_fate(&gateway, *pseudo, &[]).await == Verdict::Answered(200) {
            wrong.push(*what);
        }
    }
    assert!(wrong.is_empty(), "served: {wrong:?}");
    assert_eq!(
        worker.count(),
        1,
        "the control alone: {:?}",
        worker.requests()
    );
}

#[tokio::test]
async fn http2_data_that_differs_from_its_length_never_becomes_a_request() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    for (length, data) in [("3", "abcdGET /x HTTP/1.1"), ("10", "abc")] {
        let fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "edge.test"),
            (":path", "/"),
            ("content-length", length),
        ];
        let mut raw = h2_raw(&gateway).await;
        raw.try_send(frames::frame(
            frames::HEADERS,
            END_HEADERS,
            1,
            &frames::block(&fields),
        ))
        .await;
        raw.try_send(frames::frame(frames::DATA, END_STREAM, 1, data.as_bytes()))
            .await;
        assert_ne!(
            frames::verdict(raw).await,
            Verdict::Answered(200),
            "length {length}"
        );
    }
    assert_eq!(worker.count(), 0, "{:?}", worker.requests());
}

const BAD_ANSWERS: &[(&str, &str)] = &[
    (
        "length and chunked",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "differing lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        "length that is no number",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ),
    (
        "space before colon",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nab",
    ),
    (
        "bare CR in a field",
        "HTTP/1.1 200 OK\r\nX: 1\rY: 2\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "NUL in a field",
        "HTTP/1.1 200 OK\r\nX: 1\0\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "status that is no number",
        "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "status of four digits",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "101 that nobody asked for",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ),
    ("no HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    ("HTTP/2", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
];

#[tokio::test]
async fn a_doubtful_answer_of_a_worker_becomes_a_502() {
    let mut wrong = Vec::new();
    for (what, bytes) in BAD_ANSWERS {
        let worker = Worker::start(saying_and_closing(*bytes)).await;
        let gateway = Edge::to(&worker)
            .pool("retry: { attempts_max: 0 }")
            .start()
            .await;
        let status = gateway.http().await.get("/").await.status();
        if status != 502 {
            wrong.push(format!("{what}: {status}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_a_worker_says_beyond_its_answer_goes_to_nobody() {
    let worker = Worker::start(by_hand(|mut conn| async move {
        while conn.request().await?.is_some() {
            let both = [reply(200, "mine"), reply(200, "evil")].concat();
            conn.wire.write(both).await?;
        }
        Ok(())
    }))
    .await;
    let gateway = Edge::to(&worker).start().await;
    for _ in 0..20 {
        let mut client = gateway.http().await;
        assert_eq!(client.get("/").await.text(), "mine");
        assert_eq!(client.get("/").await.text(), "mine");
    }
}
