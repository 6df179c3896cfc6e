//! Does a flood over HTTP/2 end its own connection, and nothing else?

use e2e::frames::{
    self, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, block, frame, hello,
};
use e2e::h2_client::request;
use e2e::scripts::replying;
use e2e::{Edge, Gateway, Raw, Worker, eventually};

async fn start(limits: &str) -> (Worker, Gateway) {
    let worker = Worker::start(replying(200)).await;
    let gateway = Edge::to(&worker).limits(limits).start().await;
    (worker, gateway)
}

async fn raw(gateway: &Gateway) -> Raw {
    let mut raw = Raw::tls(gateway.port("https"), &gateway.tls().alpn(&["h2"])).await;
    raw.send(hello()).await;
    raw
}

fn get(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "edge.test"),
        (":path", "/"),
    ];
    fields.extend_from_slice(more);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields))
}

/// The error code of the GOAWAY that ends the connection.
async fn ended_with(raw: &mut Raw) -> u32 {
    loop {
        let frame = frames::next(raw).await;
        if frame.kind == GOAWAY {
            let code = <[u8; 4]>::try_from(&frame.payload[4..8]).unwrap();
            return u32::from_be_bytes(code);
        }
    }
}

const ENHANCE_YOUR_CALM: u32 = 11;
const FRAME_SIZE_ERROR: u32 = 6;

async fn counted(gateway: &Gateway, reason: &str, count: f64) {
    let line =
        format!(r#"portcullis_connections_ended_total{{listener="https",reason="{reason}"}}"#);
    eventually(&format!("{line} {count}"), || async {
        (gateway.metric(&line).await == Some(count)).then_some(())
    })
    .await;
    // Everybody else is served.
    let reply = gateway
        .h2("https")
        .await
        .fetch(request("GET", "/"), "")
        .await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_end_the_connection() {
    for (limits, streams) in [("", 300u32), ("http2: { resets_max: 5 }", 20)] {
        let (_worker, gateway) = start(limits).await;
        let mut client = raw(&gateway).await;
        let flood = (0..streams).flat_map(|n| {
            let stream = 2 * n + 1;
            [
                get(stream, &[]),
                frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()),
            ]
            .concat()
        });
        client.try_send(flood.collect::<Vec<u8>>()).await;
        assert_eq!(ended_with(&mut client).await, ENHANCE_YOUR_CALM);
        counted(&gateway, "enhance_your_calm", 1.0).await;
    }
}

#[tokio::test]
async fn a_few_resets_are_nothing() {
    let (_worker, gateway) = start("http2: { resets_max: 5 }").await;
    let mut client = gateway.h2("https").await;
    for _ in 0..30 {
        let mut call = client.call(request("GET", "/"), true).await;
        call.cancel();
        assert_eq!(client.fetch(request("GET", "/"), "").await.status, 200);
    }
}

#[tokio::test]
async fn streams_full_of_errors_end_the_connection() {
    let (_worker, gateway) = start("http2: { errors_max: 3 }").await;
    let mut client = raw(&gateway).await;
    // A field of a connection is malformed in HTTP/2 (RFC 9113 section 8.2.2): each is an error of its stream.
    let flood = (0..20).flat_map(|n| get(2 * n + 1, &[("connection", "close")]));
    client.try_send(flood.collect::<Vec<u8>>()).await;
    assert_eq!(ended_with(&mut client).await, ENHANCE_YOUR_CALM);
    counted(&gateway, "enhance_your_calm", 1.0).await;
}

#[tokio::test]
async fn a_frame_that_is_too_long_ends_the_connection() {
    let (_worker, gateway) = start("http2: { frame_bytes_max: 20000 }").await;
    let mut client = raw(&gateway).await;
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "edge.test"),
        (":path", "/"),
    ];
    client
        .send(frame(HEADERS, END_HEADERS, 1, &block(&fields)))
        .await;
    client.send(frame(DATA, 0, 1, &[0; 20_000])).await;
    client
        .try_send(frame(DATA, END_STREAM, 1, &[0; 20_001]))
        .await;
    assert_eq!(ended_with(&mut client).await, FRAME_SIZE_ERROR);
    counted(&gateway, "frame_size_error", 1.0).await;
}

#[tokio::test]
async fn a_client_is_told_of_the_limits() {
    let limits = "streams_max: 7, head_bytes_max: 9KiB, \
                  http2: { stream_window: 100KiB, frame_bytes_max: 20000, connection_window: 3MiB }";
    let (_worker, gateway) = start(limits).await;
    let mut client = raw(&gateway).await;
    let settings = loop {
        let frame = frames::next(&mut client).await;
        if frame.kind == SETTINGS {
            break frame.payload;
        }
    };
    let told = |id: u16| {
        let pair = settings
            .chunks(6)
            .find(|pair| pair[..2] == id.to_be_bytes());
        pair.map(|pair| u32::from_be_bytes(pair[2..].try_into().unwrap()))
    };
    assert_eq!(
        [3, 4, 5, 6].map(told),
        [Some(7), Some(100 << 10), Some(20_000), Some(9 << 10)]
    );
    // The connection's window is told by WINDOW_UPDATE, from 65 535 up.
    let window = loop {
        let frame = frames::next(&mut client).await;
        if frame.kind == 8 && frame.stream == 0 {
            break u32::from_be_bytes(frame.payload[..].try_into().unwrap());
        }
    };
    assert_eq!(window + 65_535, 3 << 20);
}

#[tokio::test]
async fn a_field_that_is_too_long_is_431_whatever_the_protocol() {
    let (worker, gateway) = start("field_bytes_max: 1KiB").await;
    let long = "x".repeat(1025 - "x-long".len());
    for (value, status) in [(&long[1..], 200), (&long[..], 431)] {
        let field = format!("X-Long: {value}");
        let reply = gateway.http().await.ask("GET", "/", &[&field], b"").await;
        assert_eq!(reply.status(), status);
        let mut head = request("GET", "/");
        head.headers_mut().insert("x-long", value.parse().unwrap());
        let reply = gateway.h2("https").await.fetch(head, "").await;
        assert_eq!(reply.status.as_u16(), status);
    }
    let lines = gateway.access_log(4).await;
    let told = |listener: &str| {
        let mut lines = lines.iter();
        lines.any(|line| {
            (&line["listener"], &line["end"], &line["status"])
                == (&listener.into(), &"bad_head".into(), &431.into())
        })
    };
    assert!(told("http") && told("https"), "{lines:?}");
    assert_eq!(worker.count(), 2);
    let counted = r#"portcullis_requests_failed_total{end="bad_head",listener="https"}"#;
    assert_eq!(gateway.metric(counted).await, Some(1.0));
}
