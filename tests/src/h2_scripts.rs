//! How does an h2c worker behave? Each function is one behaviour, ready for `Worker::start`.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::task::JoinSet;

use crate::frames;
use crate::h2_client::push;
use crate::message::Message;
use crate::raw::Raw;
use crate::worker::{Conn, Gate, Script, Seen, by_hand};

/// What an HTTP/2 handler returns.
pub type Handled = Result<(), h2::Error>;

/// Serves each stream with the closure, streams side by side; a reset by the gateway is written down.
pub fn h2<Handle, Done>(handle: Handle) -> Script
where
    Handle: Fn(Stream) -> Done + Clone + Send + Sync + 'static,
    Done: Future<Output = Handled> + Send + 'static,
{
    by_hand(move |conn| serve(conn, handle.clone(), None))
}

/// A stream from the gateway.
pub struct Stream {
    /// The request.
    pub request: Request<RecvStream>,
    /// Where the answer goes.
    pub answer: SendResponse<Bytes>,
    /// Where a script writes down what it saw.
    pub seen: Seen,
}

async fn serve<Handle, Done>(
    conn: Conn,
    handle: Handle,
    goaway_after: Option<usize>,
) -> io::Result<()>
where
    Handle: Fn(Stream) -> Done,
    Done: Future<Output = Handled> + Send + 'static,
{
    let Conn { wire, seen, .. } = conn;
    let mut h2 = Builder::new()
        .handshake(wire.into_io())
        .await
        .map_err(io::Error::other)?;
    let (mut streams, mut served) = (JoinSet::new(), 0);
    loop {
        tokio::select! {
            accepted = h2.accept() => {
                // The end of the connection, clean or not, is each stream's to see and to write down.
                let Some(Ok((request, answer))) = accepted else { break };
                seen.note(described(&request));
                let handled = handle(Stream { request, answer, seen: seen.clone() });
                let seen = seen.clone();
                streams.spawn(async move {
                    if let Err(error) = handled.await {
                        seen.note_reset(error.reason().map_or(error.to_string(), |r| format!("{r:?}")));
                    }
                });
                served += 1;
                if Some(served) == goaway_after {
                    h2.graceful_shutdown();
                }
            }
            Some(_) = streams.join_next() => {}
        }
    }
    while streams.join_next().await.is_some() {}
    Ok(())
}

/// An HTTP/2 request in the words of HTTP/1, so that tests read both alike: the start line, then
/// `authority`, `scheme` and `protocol` as fields of these names in angle brackets, then the fields.
pub fn described(request: &Request<RecvStream>) -> Message {
    let target = request
        .uri()
        .path_and_query()
        .map_or("*", |target| target.as_str());
    let mut head = format!("{} {target} HTTP/2.0\r\n", request.method());
    let uri = request.uri();
    let protocol = request
        .extensions()
        .get::<h2::ext::Protocol>()
        .map(h2::ext::Protocol::as_str);
    for (name, value) in [
        ("<authority>", uri.authority().map(|a| a.as_str())),
        ("<scheme>", uri.scheme_str()),
        ("<protocol>", protocol),
    ] {
        if let Some(value) = value {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    for (name, value) in request.headers() {
        head.push_str(&format!(
            "{name}: {}\r\n",
            String::from_utf8_lossy(value.as_bytes())
        ));
    }
    head.push_str("\r\n");
    Message {
        head,
        ..Message::default()
    }
}

/// 200 with the request's head, as [`described`], as the body.
pub fn h2_echoing_head() -> Script {
    h2(|mut stream| async move {
        let head = described(&stream.request).head;
        let mut tx = stream.answer.send_response(Response::new(()), false)?;
        push(&mut tx, head.into(), true).await
    })
}

/// 200 at once, then each piece of the request's body as it comes, then its trailers if it had any.
/// For gRPC this is the bidirectional echo: the trailers then carry `grpc-status: 0`.
pub fn h2_mirroring() -> Script {
    h2(|mut stream| async move {
        let mut response = Response::new(());
        let kind = stream.request.headers().get("content-type").cloned();
        let is_grpc = kind.as_ref().is_some_and(|kind| kind == "application/grpc");
        if let Some(kind) = kind {
            response.headers_mut().insert("content-type", kind);
        }
        let mut tx = stream.answer.send_response(response, false)?;
        let rx = stream.request.body_mut();
        while let Some(piece) = next(rx, &mut tx).await? {
            push(&mut tx, piece, false).await?;
        }
        match rx.trailers().await? {
            Some(trailers) => tx.send_trailers(trailers),
            None if is_grpc => tx.send_trailers(trailer("grpc-status", "0")),
            None => tx.send_data(Bytes::new(), true),
        }
    })
}

/// The next piece of a request, minding a reset of the whole stream meanwhile.
async fn next(
    rx: &mut RecvStream,
    tx: &mut h2::SendStream<Bytes>,
) -> Result<Option<Bytes>, h2::Error> {
    let piece = tokio::select! {
        piece = rx.data() => piece.transpose()?,
        reset = poll_fn(|cx| tx.poll_reset(cx)) => return Err(reset?.into()),
    };
    if let Some(piece) = &piece {
        rx.flow_control().release_capacity(piece.len())?;
    }
    Ok(piece)
}

/// Reads the request to its end, then answers 200 with this body.
pub fn h2_replying(body: impl Into<Bytes>) -> Script {
    let body = body.into();
    h2(move |mut stream| {
        let body = body.clone();
        async move {
            read_all(stream.request.body_mut()).await?;
            let mut tx = stream
                .answer
                .send_response(Response::new(()), body.is_empty())?;
            push(&mut tx, body, true).await
        }
    })
}

/// Reads the request to its end, then answers 200 with its body.
pub fn h2_collecting() -> Script {
    h2(|mut stream| async move {
        let body = read_all(stream.request.body_mut()).await?;
        let mut tx = stream
            .answer
            .send_response(Response::new(()), body.is_empty())?;
        push(&mut tx, body.into(), true).await
    })
}

/// Answers each call with trailers only.
pub fn grpc_trailers_only(status: &'static str, message: &'static str) -> Script {
    h2(move |mut stream| async move {
        let response = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", status)
            .header("grpc-message", message)
            .body(())
            .expect("a test's values are valid");
        stream.answer.send_response(response, true).map(drop)
    })
}

/// Reads a whole call, then sends these messages and `grpc-status: 0` in the trailers.
pub fn grpc_streaming(messages: Vec<Vec<u8>>) -> Script {
    h2(move |mut stream| {
        let messages = messages.clone();
        async move {
            read_all(stream.request.body_mut()).await?;
            let head = Response::builder()
                .header("content-type", "application/grpc")
                .body(());
            let head = head.expect("a test's values are valid");
            let mut tx = stream.answer.send_response(head, false)?;
            for message in messages {
                push(&mut tx, crate::grpc::frame(message), false).await?;
            }
            tx.send_trailers(trailer("grpc-status", "0"))
        }
    })
}

/// Sends `flood` bytes of body at once while it reads nothing until the gate opens.
pub fn h2_deaf(flood: usize, gate: &Gate) -> Script {
    let gate = gate.clone();
    h2(move |mut stream| {
        let gate = gate.clone();
        async move {
            let head = Response::builder()
                .header("content-type", "application/grpc")
                .body(());
            let mut tx = stream.answer.send_response(head.expect("valid"), false)?;
            push(&mut tx, vec![0; flood].into(), false).await?;
            gate.passed().await;
            read_all(stream.request.body_mut()).await?;
            tx.send_trailers(trailer("grpc-status", "0"))
        }
    })
}

/// Sends a head and `flood` bytes that nobody may be reading, and answers each piece of the request
/// by writing it down at once as a request named `heard N`.
pub fn h2_flooding_and_hearing(flood: usize) -> Script {
    h2(move |mut stream| async move {
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .body(());
        let mut tx = stream.answer.send_response(head.expect("valid"), false)?;
        let flooding = async {
            push(&mut tx, vec![0; flood].into(), false).await?;
            tx.send_trailers(trailer("grpc-status", "0"))
        };
        let seen = stream.seen.clone();
        let rx = stream.request.body_mut();
        let hearing = async {
            while let Some(piece) = rx.data().await.transpose()? {
                rx.flow_control().release_capacity(piece.len())?;
                let head = format!("heard {} \r\n\r\n", piece.len());
                seen.note(Message {
                    head,
                    ..Message::default()
                });
            }
            Ok(())
        };
        tokio::try_join!(flooding, hearing).map(drop)
    })
}

/// Takes the call, says nothing, and writes down how it was ended.
pub fn h2_silent() -> Script {
    h2(|mut stream| async move {
        let reset = poll_fn(|cx| stream.answer.poll_reset(cx)).await?;
        Err(reset.into())
    })
}

/// Resets each stream with this code after the head and one message of the answer.
pub fn h2_resetting(reason: Reason) -> Script {
    h2(move |mut stream| async move {
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .body(());
        let mut tx = stream.answer.send_response(head.expect("valid"), false)?;
        push(&mut tx, crate::grpc::frame("one"), false).await?;
        // The reset must not overtake the message.
        tokio::task::yield_now().await;
        tx.send_reset(reason);
        Ok(())
    })
}

/// Refuses the first `count` streams (REFUSED_STREAM: not processed, RFC 9113 section 8.7), all
/// connections together, then answers 200 with `ok`. Only what was processed counts as seen.
pub fn h2_refusing(count: usize) -> Script {
    let refused = Arc::new(AtomicUsize::new(0));
    h2(move |mut stream| {
        let refuse = refused.fetch_add(1, Ordering::SeqCst) < count;
        async move {
            if refuse {
                stream.answer.send_reset(Reason::REFUSED_STREAM);
                return Ok(());
            }
            read_all(stream.request.body_mut()).await?;
            let mut tx = stream.answer.send_response(Response::new(()), false)?;
            tx.send_data("ok".into(), true)
        }
    })
}

/// Ends each connection gracefully after it has taken `count` streams, which are answered 200.
pub fn h2_going_away_after(count: usize) -> Script {
    let handle = |mut stream: Stream| async move {
        read_all(stream.request.body_mut()).await?;
        let mut tx = stream.answer.send_response(Response::new(()), false)?;
        tx.send_data("ok".into(), true)
    };
    by_hand(move |conn| serve(conn, handle, Some(count)))
}

/// On the first `count` connections: takes one request, says GOAWAY with last stream 0 (nothing was
/// processed, so anything may be sent again) and closes. Afterwards answers 200 with `ok`.
pub fn h2_going_away_at_once(count: usize) -> Script {
    let then = |mut stream: Stream| async move {
        read_all(stream.request.body_mut()).await?;
        let mut tx = stream.answer.send_response(Response::new(()), false)?;
        tx.send_data("ok".into(), true)
    };
    let turned_away = Arc::new(AtomicUsize::new(0));
    by_hand(move |conn| {
        let turned_away = turned_away.clone();
        async move {
            // Counted when a request came, not on connecting: a probe for a listener costs nothing.
            if turned_away.load(Ordering::SeqCst) >= count {
                return serve(conn, then, None).await;
            }
            let mut raw = Raw::over(conn.wire.into_parts().0);
            raw.try_send(frames::frame(frames::SETTINGS, 0, 0, b""))
                .await;
            let mut wire = raw.into_wire();
            wire.exact(24).await?;
            loop {
                let head = wire.exact(9).await?;
                let length = usize::from(head[1]) << 8 | usize::from(head[2]);
                wire.exact(length).await?;
                if head[3] == frames::HEADERS {
                    break;
                }
            }
            turned_away.fetch_add(1, Ordering::SeqCst);
            wire.write(frames::frame(frames::GOAWAY, 0, 0, &[0; 8]))
                .await?;
            wire.half_close().await?;
            wire.to_end().await.map(drop)
        }
    })
}

/// Reads a request's body to its end.
pub async fn read_all(rx: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = rx.data().await {
        let piece = piece?;
        rx.flow_control().release_capacity(piece.len())?;
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// A single trailer.
pub fn trailer(name: &'static str, value: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, HeaderValue::from_static(value));
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2_client::request;
    use crate::{H2, Worker, grpc};

    #[tokio::test]
    async fn a_call_is_mirrored_in_both_directions_with_its_trailers() {
        let worker = Worker::start(h2_mirroring()).await;
        let mut client = H2::tcp(worker.port()).await;
        let mut call = client.call(grpc::call("/echo"), false).await;
        call.send(grpc::frame("one")).await;
        assert_eq!(call.exact(8).await, grpc::frame("one"));
        call.send(grpc::frame("two")).await;
        assert_eq!(call.exact(8).await, grpc::frame("two"));
        call.finish();
        assert_eq!(call.rest().await.unwrap().grpc_status(), Some("0"));
        assert_eq!(worker.requests()[0].target(), "/echo");
    }

    #[tokio::test]
    async fn five_mebibytes_go_both_ways() {
        let worker = Worker::start(h2_mirroring()).await;
        let body = vec![7; 5 << 20];
        let reply = H2::tcp(worker.port())
            .await
            .fetch(request("POST", "/"), body.clone())
            .await;
        assert!(reply.body == body);
    }

    #[tokio::test]
    async fn refused_and_turned_away_streams_say_so() {
        let worker = Worker::start(h2_refusing(1)).await;
        let mut client = H2::tcp(worker.port()).await;
        let error = client.try_fetch(request("GET", "/"), "").await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
        assert_eq!(client.fetch(request("GET", "/"), "").await.text(), "ok");

        let worker = Worker::start(h2_going_away_at_once(1)).await;
        assert!(
            H2::tcp(worker.port())
                .await
                .try_fetch(request("GET", "/"), "")
                .await
                .is_err()
        );
        let reply = H2::tcp(worker.port())
            .await
            .fetch(request("GET", "/"), "")
            .await;
        assert_eq!(reply.text(), "ok");

        let worker = Worker::start(h2_going_away_after(1)).await;
        let mut client = H2::tcp(worker.port()).await;
        assert_eq!(client.fetch(request("GET", "/"), "").await.text(), "ok");
        client.until_closed_by_peer().await;
    }

    #[tokio::test]
    async fn a_cancelled_call_is_written_down() {
        let worker = Worker::start(h2_silent()).await;
        let mut client = H2::tcp(worker.port()).await;
        let mut call = client.call(grpc::call("/x"), false).await;
        worker.until_seen(1).await;
        call.cancel();
        crate::eventually("the worker sees the cancel", || async {
            (worker.resets() == ["CANCEL"]).then_some(())
        })
        .await;
    }
}
