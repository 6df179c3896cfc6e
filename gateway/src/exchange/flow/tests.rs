//! Does a body arrive whole, once, and in its own framing, or is the right side blamed?

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::pin;
use std::time::Instant;

use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::exchange::replay::Replay;
use crate::http1::head::Limits;
use crate::io::Scratch;
use crate::io::timer::Timers;
use crate::message::BodyKind;

const LIMITS: Limits = Limits {
    head_bytes: 1024,
    target_bytes: 0,
    fields: 8,
};
const FOREVER: Pace = Pace {
    read_rate_min: 0,
    write_rate_min: 0,
    read: Duration::ZERO,
    write: Duration::ZERO,
    bytes_max: 0,
};

/// Both ends of a connection, ours first.
async fn connection() -> (Rc<Stream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
    (
        Rc::new(Stream::plain(ours.unwrap(), &Scratch::new())),
        theirs.unwrap().0,
    )
}

/// A body that has arrived already.
async fn arrived(kind: BodyKind, wire: &str) -> (Source, TcpStream) {
    let (stream, peer) = connection().await;
    let source = Source::Http1 {
        stream,
        buf: BytesMut::from(wire),
        decoder: Decoder::new(kind, LIMITS),
    };
    (source, peer)
}

/// Frames by plan, then nothing.
struct Script(VecDeque<Frame>);

impl Script {
    fn of(pieces: &[&'static str], end: bool) -> Script {
        let data = pieces
            .iter()
            .map(|piece| Frame::Data(Bytes::from_static(piece.as_bytes())));
        Script(data.chain(end.then_some(Frame::End(None))).collect())
    }
}

impl Pull for Script {
    fn poll_pull(&mut self, _: &mut Context<'_>) -> Poll<Result<Frame, Cause>> {
        match self.0.pop_front() {
            Some(frame) => Poll::Ready(Ok(frame)),
            None => Poll::Pending,
        }
    }
}

/// What a sink of that framing writes, and how the pump ended.
async fn pumped(
    from: &mut impl Pull,
    framing: Framing,
    pace: Pace,
) -> (Result<(), FlowError>, String) {
    let (stream, mut peer) = connection().await;
    let mut sink = Sink::Http1 {
        stream,
        out: BytesMut::new(),
        framing,
    };
    let slot = Timers::new(Instant::now()).slot();
    let moved = Cell::new(0);
    let pump = async {
        let ended = pump(from, &mut sink, pace, &slot, &moved).await;
        drop(sink);
        ended
    };
    let mut text = String::new();
    let (ended, read) = tokio::join!(pump, peer.read_to_string(&mut text));
    read.unwrap();
    (ended, text)
}

/// The pieces up to the end or a failure, in words.
async fn pulled(from: &mut impl Pull, most: usize) -> Vec<String> {
    let mut words = Vec::new();
    while words.len() < most {
        words.push(match std::future::poll_fn(|cx| from.poll_pull(cx)).await {
            Ok(Frame::Data(data)) => String::from_utf8(data.to_vec()).unwrap(),
            Ok(Frame::End(trailers)) => format!("end{}", if trailers.is_some() { "+" } else { "" }),
            Err(cause) => format!("{cause:?}"),
        });
        if words.last().is_some_and(|word| word.starts_with("end")) {
            break;
        }
    }
    words
}

// ---- Sources ----

#[tokio::test]
async fn a_connection_that_ends_within_a_body_is_no_end() {
    for (kind, wire, want) in [
        (BodyKind::Length(5), "hell", vec!["hell", "Truncated"]),
        (BodyKind::Length(5), "hello", vec!["hello", "end"]),
        (BodyKind::Open, "5\r\nhel", vec!["hel", "Truncated"]),
        (BodyKind::Open, "5\r\nhello\r\n", vec!["hello", "Truncated"]),
        (
            BodyKind::Open,
            "5\r\nhello\r\n0\r\n",
            vec!["hello", "Truncated"],
        ),
        (
            BodyKind::Open,
            "5\r\nhello\r\n0\r\n\r\n",
            vec!["hello", "end"],
        ),
        (BodyKind::Open, "0\r\nx: y\r\n\r\n", vec!["end+"]),
        (BodyKind::UntilClose, "hello", vec!["hello", "end"]),
        (BodyKind::UntilClose, "", vec!["end"]),
        (BodyKind::Empty, "next", vec!["end"]),
    ] {
        let (mut source, peer) = arrived(kind, wire).await;
        drop(peer);
        assert_eq!(
            pulled(&mut source, want.len()).await,
            want,
            "{kind:?} {wire:?}"
        );
    }
}

#[tokio::test]
async fn what_comes_behind_a_body_is_left_for_the_next_request() {
    let (mut source, _peer) = arrived(BodyKind::Open, "1\r\nx\r\n0\r\n\r\nGET /").await;
    assert!(!source.is_done());
    pulled(&mut source, 9).await;
    assert!(source.is_done());
    assert_eq!(&source.into_buf()[..], b"GET /");
}

// ---- Replay ----

const HE_LLO: &str = "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";

async fn replay(wire: &str, limit: usize) -> (Replay, TcpStream) {
    let (source, peer) = arrived(BodyKind::Open, wire).await;
    (Replay::new(source, limit), peer)
}

#[tokio::test]
async fn a_body_within_the_limit_is_sent_again_from_its_first_byte() {
    for first in 0..4 {
        let (mut body, _peer) = replay(HE_LLO, 5).await;
        pulled(&mut body, first).await;
        for _ in 0..2 {
            assert!(body.rewind(), "after {first} pieces");
            assert!(!body.is_done());
            assert_eq!(
                pulled(&mut body, 9).await,
                ["he", "llo", "end"],
                "after {first} pieces"
            );
            assert!(body.is_done());
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_passes_once() {
    for (limit, pulls, again) in [
        (4, 0, true),
        (4, 1, true),
        (4, 2, false),
        (1, 1, false),
        (0, 0, true),
        (0, 1, false),
    ] {
        let (mut body, _peer) = replay(HE_LLO, limit).await;
        pulled(&mut body, pulls).await;
        assert_eq!(body.rewind(), again, "limit {limit}, {pulls} pieces");
    }
    let (mut body, _peer) = replay(HE_LLO, 4).await;
    assert_eq!(pulled(&mut body, 9).await, ["he", "llo", "end"]);
    assert!(body.is_done());
    assert!(!body.rewind());
}

/// A smaller piece after one that was let go must not make the rest look like the whole.
#[tokio::test]
async fn a_piece_that_fits_after_one_that_did_not_is_not_kept() {
    let (mut body, _peer) = replay("3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", 2).await;
    pulled(&mut body, 2).await;
    assert!(body.kept_bytes() == 0 && !body.rewind());
}

#[tokio::test]
async fn trailers_come_once() {
    let (mut body, _peer) = replay("2\r\nhe\r\n0\r\nx: y\r\n\r\n", 99).await;
    assert_eq!(pulled(&mut body, 1).await, ["he"]);
    assert!(body.rewind());
    assert_eq!(pulled(&mut body, 9).await, ["he", "end+"]);
    assert!(!body.rewind());
}

#[tokio::test]
async fn after_the_commit_nothing_is_kept() {
    let (mut body, _peer) = replay(HE_LLO, 99).await;
    body.commit_switch().set(true);
    pulled(&mut body, 1).await;
    assert!(!body.rewind());

    let (mut body, _peer) = replay(HE_LLO, 99).await;
    pulled(&mut body, 1).await;
    body.commit_switch().set(true);
    assert_eq!(pulled(&mut body, 9).await, ["llo", "end"]);
    assert!(body.kept_bytes() == 0 && !body.rewind());

    // What is being sent again comes whole, though.
    let (mut body, _peer) = replay(HE_LLO, 99).await;
    pulled(&mut body, 2).await;
    assert!(body.rewind());
    body.commit_switch().set(true);
    assert_eq!(pulled(&mut body, 9).await, ["he", "llo", "end"]);
}

#[tokio::test]
async fn the_source_can_be_taken_out_of_a_replay() {
    let (mut body, _peer) = replay(HE_LLO, 99).await;
    assert!(!body.is_empty());
    pulled(&mut body, 1).await;
    let mut source = body.take_source();
    assert_eq!(pulled(&mut source, 9).await, ["llo", "end"]);
    assert!(body.is_empty() && !body.rewind());
}

#[tokio::test]
async fn no_body_can_be_sent_again_for_ever() {
    let mut body = Replay::new(Source::Empty, 0);
    for _ in 0..3 {
        assert_eq!(pulled(&mut body, 9).await, ["end"]);
        assert!(body.is_done() && body.rewind());
    }
}

// ---- Sinks ----

#[tokio::test]
async fn each_framing_says_what_it_must() {
    for (framing, pieces, want) in [
        (Framing::Length(5), &["he", "llo"][..], "hello"),
        (Framing::Length(0), &[], ""),
        (Framing::Chunked, &["he", "llo"], HE_LLO),
        (Framing::Chunked, &[], "0\r\n\r\n"),
        (Framing::Raw, &["he", "llo"], "hello"),
        (Framing::Empty, &["he", "llo"], ""),
    ] {
        let (ended, wire) = pumped(&mut Script::of(pieces, true), framing, FOREVER).await;
        assert!(ended.is_ok(), "{framing:?}: {ended:?}");
        assert_eq!(wire, want, "{framing:?}");
    }
}

#[tokio::test]
async fn a_body_longer_or_shorter_than_announced_is_its_senders_fault() {
    for (pieces, end, want) in [
        (&["hello!"][..], true, "TooLarge"),
        (&["hello", "!"], true, "TooLarge"),
        (&["hell"], true, "Truncated"),
        (&[], true, "Truncated"),
    ] {
        let (ended, wire) = pumped(&mut Script::of(pieces, end), Framing::Length(5), FOREVER).await;
        let error = ended.expect_err("not five bytes");
        assert_eq!(
            (error.side, format!("{:?}", error.cause)),
            (Side::Source, want.to_owned())
        );
        assert!(wire.len() <= 5, "{wire:?}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_stopped() {
    let pace = Pace {
        bytes_max: 4,
        ..FOREVER
    };
    let (ended, wire) = pumped(
        &mut Script::of(&["he", "llo"], true),
        Framing::Chunked,
        pace,
    )
    .await;
    let error = ended.expect_err("five bytes");
    assert!(matches!(
        error,
        FlowError {
            side: Side::Source,
            cause: Cause::TooLarge
        }
    ));
    assert!(
        !wire.contains("llo") && !wire.ends_with("0\r\n\r\n"),
        "{wire:?}"
    );
    let (ended, _) = pumped(&mut Script::of(&["he", "ll"], true), Framing::Chunked, pace).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn wrong_framing_ends_a_body_without_an_end() {
    let (mut source, _peer) = arrived(BodyKind::Open, "2\r\nhe\r\nx\r\n").await;
    let (ended, wire) = pumped(&mut source, Framing::Chunked, FOREVER).await;
    let error = ended.expect_err("`x` is no size");
    assert!(matches!(
        error,
        FlowError {
            side: Side::Source,
            cause: Cause::Framing(_)
        }
    ));
    assert!(!wire.ends_with("0\r\n\r\n"), "{wire:?}");
}

#[tokio::test]
async fn trailers_pass_but_for_those_that_frame() {
    let mut map = HeaderMap::new();
    for name in [
        "grpc-status",
        "content-length",
        "transfer-encoding",
        "host",
        "connection",
        "te",
        "trailer",
        "keep-alive",
    ] {
        map.insert(name, "0".parse().unwrap());
    }
    let mut script = Script::of(&["x"], false);
    script.0.push_back(Frame::End(Some(Fields::Http2(map))));
    let (ended, wire) = pumped(&mut script, Framing::Chunked, FOREVER).await;
    assert!(ended.is_ok());
    assert_eq!(wire, "1\r\nx\r\n0\r\ngrpc-status: 0\r\n\r\n");
}

/// Pieces larger than what is gathered take another way to the connection.
#[tokio::test]
async fn large_pieces_and_small_ones_arrive_in_order() {
    let large: &'static str = Box::leak("0123456789abcdef".repeat(GATHER / 8).into_boxed_str());
    for pieces in [
        &["x", large, "y"][..],
        &[large, large],
        &[large, "x", "y", large],
    ] {
        let (ended, wire) = pumped(&mut Script::of(pieces, true), Framing::Chunked, FOREVER).await;
        assert!(ended.is_ok());
        let want: String = pieces
            .iter()
            .map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()))
            .collect();
        assert!(wire == format!("{want}0\r\n\r\n"), "{} bytes", wire.len());
    }
}

/// Sends `wire` and closes; what is received comes from it through a pump with a sink of `length` bytes.
async fn piped(
    wire: Vec<u8>,
    announced: u64,
    limit: Option<usize>,
) -> (Result<(), FlowError>, Vec<u8>, u64) {
    let (from, mut sender) = connection().await;
    let (to, mut receiver) = connection().await;
    let mut source = Source::Http1 {
        stream: from,
        buf: BytesMut::new(),
        decoder: Decoder::new(BodyKind::Length(announced), LIMITS),
    };
    let mut sink = Sink::Http1 {
        stream: to,
        out: BytesMut::from("head "),
        framing: Framing::Length(announced),
    };
    let slot = Timers::new(Instant::now()).slot();
    let moved = Cell::new(0);
    let pump = async {
        let ended = match limit {
            None => pump(&mut source, &mut sink, FOREVER, &slot, &moved).await,
            Some(limit) => {
                let mut replay = Replay::new(source, limit);
                pump(&mut replay, &mut sink, FOREVER, &slot, &moved).await
            }
        };
        drop(sink);
        ended
    };
    let send = async {
        // Whoever gives up half-way reads no more.
        let _ = sender.write_all(&wire).await;
        drop(sender);
    };
    let mut got = Vec::new();
    let (ended, (), read) = tokio::join!(pump, send, receiver.read_to_end(&mut got));
    read.unwrap();
    (ended, got, moved.get())
}

#[tokio::test]
async fn a_long_body_between_plain_connections_arrives_byte_for_byte() {
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    for limit in [None, Some(0), Some(100_000), Some(10_000_000)] {
        let mut wire = body.clone();
        wire.extend_from_slice(b"what comes behind it is not its own");
        let (ended, got, moved) = piped(wire, body.len() as u64, limit).await;
        assert!(ended.is_ok(), "{limit:?}: {ended:?}");
        assert_eq!(moved, body.len() as u64);
        assert!(
            got == [b"head ", &body[..]].concat(),
            "{limit:?}: {} bytes",
            got.len()
        );
    }
}

#[tokio::test]
async fn a_long_body_that_breaks_off_is_its_senders_fault() {
    let (ended, got, _) = piped(vec![b'x'; 1_000_000], 1_000_001, None).await;
    let error = ended.expect_err("a byte is missing");
    assert!(
        error.side == Side::Source && matches!(error.cause, Cause::Truncated),
        "{error:?}"
    );
    assert_eq!(got.len(), 1_000_005, "what came went on");
}

/// An empty DATA frame of HTTP/2 would be the last chunk in HTTP/1.
#[tokio::test]
async fn an_empty_data_frame_does_not_end_a_chunked_body() {
    let (ours, theirs) = tokio::io::duplex(4096);
    let client = async {
        let (mut send, connection) = h2::client::handshake(theirs).await.unwrap();
        let request = http::Request::post("http://a/").body(()).unwrap();
        let (_response, mut body) = send.send_request(request, false).unwrap();
        for (piece, end) in [
            ("", false),
            ("x", false),
            ("", false),
            ("y", false),
            ("", true),
        ] {
            body.send_data(Bytes::from_static(piece.as_bytes()), end)
                .unwrap();
        }
        let _ = connection.await;
    };
    let server = async {
        let mut connection = h2::server::handshake(ours).await.unwrap();
        let (request, _respond) = connection.accept().await.unwrap().unwrap();
        let mut source = Source::http2(request.into_body());
        tokio::select! {
            pumped = pumped(&mut source, Framing::Chunked, FOREVER) => pumped,
            _ = connection.accept() => panic!("the connection ended"),
        }
    };
    let (ended, wire) = tokio::select! {
        pumped = server => pumped,
        () = client => panic!("the client ended"),
    };
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(wire, "1\r\nx\r\n1\r\ny\r\n0\r\n\r\n");
}

// ---- Patience ----

#[tokio::test]
async fn a_silent_source_is_left_after_its_time_and_zero_means_never() {
    for (read, gives_up) in [(Duration::from_secs(5), true), (Duration::ZERO, false)] {
        let start = Instant::now();
        let timers = Timers::new(start);
        let slot = timers.slot();
        let (stream, _peer) = connection().await;
        let mut sink = Sink::Http1 {
            stream,
            out: BytesMut::new(),
            framing: Framing::Chunked,
        };
        let mut script = Script::of(&[], false);
        let moved = Cell::new(0);
        let pace = Pace { read, ..FOREVER };
        let mut pump = pin!(pump(&mut script, &mut sink, pace, &slot, &moved));
        for (after, over) in [(0, false), (4, false), (6, gives_up), (100_000, gives_up)] {
            timers.tick(start + Duration::from_secs(after));
            let polled = std::future::poll_fn(|cx| Poll::Ready(pump.as_mut().poll(cx))).await;
            match polled {
                Poll::Pending => assert!(!over, "after {after} s"),
                Poll::Ready(ended) => {
                    let error = ended.expect_err("nothing came");
                    assert!(
                        over && error.side == Side::Source && matches!(error.cause, Cause::Timeout)
                    );
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_the_sinks_fault() {
    let (stream, peer) = connection().await;
    // Unread bytes make the closing a reset, so that writing fails for certain.
    stream.write_all(b"unread").await.unwrap();
    peer.readable().await.unwrap();
    drop(peer);
    let mut sink = Sink::Http1 {
        stream,
        out: BytesMut::new(),
        framing: Framing::Raw,
    };
    let slot = Timers::new(Instant::now()).slot();
    let moved = Cell::new(0);
    let piece: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
    let mut script = Script::of(&[piece; 64], true);
    let error = pump(&mut script, &mut sink, FOREVER, &slot, &moved)
        .await
        .expect_err("nobody reads");
    assert!(
        error.side == Side::Sink && matches!(error.cause, Cause::Io(_)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_tunnel_ends_where_its_connection_ends() {
    let (stream, mut peer) = connection().await;
    peer.write_all(b"hello").await.unwrap();
    drop(peer);
    let mut source = Source::Raw {
        stream,
        buf: BytesMut::from("ahead "),
    };
    let (ended, wire) = pumped(&mut source, Framing::Raw, FOREVER).await;
    assert!(ended.is_ok());
    assert_eq!(wire, "ahead hello");
}
