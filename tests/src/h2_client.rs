//! Who speaks HTTP/2 to the gateway? A client that holds both directions of a stream by itself.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::poll_immediate;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::eventually::within;
use crate::wire::Io;

/// An HTTP/2 connection. Clones share it.
#[derive(Clone)]
pub struct H2 {
    send: SendRequest<Bytes>,
    driver: Arc<Driver>,
}

/// The task that moves the connection's frames; `ended` becomes true when it is over.
struct Driver {
    task: JoinHandle<()>,
    ended: watch::Receiver<bool>,
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct H2Reply {
    /// Status.
    pub status: StatusCode,
    /// Fields.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
    /// Trailers, empty without.
    pub trailers: HeaderMap,
    /// Statuses of the 1xx responses that came first.
    pub interim: Vec<u16>,
}

impl H2Reply {
    /// Body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `grpc-status` from the trailers or, for a trailers-only answer, from the head.
    pub fn grpc_status(&self) -> Option<&str> {
        let value = self
            .trailers
            .get("grpc-status")
            .or_else(|| self.headers.get("grpc-status"));
        value.and_then(|value| value.to_str().ok())
    }
}

impl H2 {
    /// Does the connection preface over an open connection.
    pub async fn over(io: impl Io + 'static) -> H2 {
        let shaken = within(
            "the HTTP/2 preface",
            Builder::new().enable_push(false).handshake(io),
        )
        .await;
        let (send, connection) = shaken.expect("the HTTP/2 preface");
        let (end, ended) = watch::channel(false);
        let task = tokio::spawn(async move {
            let _ = connection.await;
            end.send_replace(true);
        });
        H2 {
            send,
            driver: Arc::new(Driver { task, ended }),
        }
    }

    /// Over TCP with prior knowledge, for workers.
    pub async fn tcp(port: u16) -> H2 {
        H2::over(crate::raw::tcp(port).await).await
    }

    /// Opens a stream. With `end`, the request has no body.
    pub async fn call(&mut self, request: Request<()>, end: bool) -> Call {
        self.try_call(request, end)
            .await
            .expect("the connection takes a stream")
    }

    /// As [`H2::call`], where the connection may have ended.
    pub async fn try_call(&mut self, request: Request<()>, end: bool) -> Result<Call, h2::Error> {
        let mut send = within("a place for a stream", self.send.clone().ready()).await?;
        let (response, tx) = send.send_request(request, end)?;
        Ok(Call {
            tx,
            response: Some(response),
            rx: None,
            interim: Vec::new(),
        })
    }

    /// A whole exchange.
    pub async fn fetch(&mut self, request: Request<()>, body: impl Into<Bytes>) -> H2Reply {
        self.try_fetch(request, body)
            .await
            .expect("a whole response")
    }

    /// A whole exchange that may be reset. Body and answer are moved at the same time.
    pub async fn try_fetch(
        &mut self,
        request: Request<()>,
        body: impl Into<Bytes>,
    ) -> Result<H2Reply, h2::Error> {
        let body = body.into();
        let mut call = self.try_call(request, body.is_empty()).await?;
        let sending = async {
            if !body.is_empty() {
                // An early answer may end the sending; then the answer is what counts.
                let _ = push(&mut call.tx, body, true).await;
            }
        };
        let taking = take(&mut call.response, &mut call.rx, &mut call.interim);
        within("a whole exchange", async {
            tokio::join!(sending, taking).1
        })
        .await
    }

    /// Whether the gateway allows extended CONNECT (RFC 8441); waits for it to say so.
    pub async fn until_extended_connect(&self) {
        let allowed = || async {
            self.send
                .is_extended_connect_protocol_enabled()
                .then_some(())
        };
        crate::eventually("the gateway allows extended CONNECT", allowed).await;
    }

    /// Drops the connection without a word, as a machine does that loses its network.
    pub fn vanish(self) {
        self.driver.task.abort();
    }

    /// How many streams the gateway allows at once.
    pub fn streams_max(&self) -> usize {
        self.send.current_max_send_streams()
    }

    /// Waits for the peer to end the connection, which is kept in use.
    pub async fn until_closed_by_peer(&mut self) {
        let mut ended = self.driver.ended.clone();
        // An error means that the task is gone, and the connection with it.
        let _ = within(
            "the peer ends the connection",
            ended.wait_for(|ended| *ended),
        )
        .await;
    }
}

/// A GET, or another method without a body, of `https://edge.test`.
pub fn request(method: &str, target: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("https://edge.test{target}"))
        .version(http::Version::HTTP_2)
        .body(())
        .expect("a test's target is a valid URI")
}

/// A stream, both directions in the test's hands.
pub struct Call {
    tx: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    rx: Option<RecvStream>,
    interim: Vec<u16>,
}

impl Call {
    /// Sends as fast as the peer allows; returns when all is handed over.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) {
        let sent = within(
            "the peer takes data",
            push(&mut self.tx, bytes.into(), false),
        )
        .await;
        sent.expect("the stream takes data");
    }

    /// Sends, if the stream still takes it.
    pub async fn try_send(&mut self, bytes: impl Into<Bytes>) -> bool {
        let sent = push(&mut self.tx, bytes.into(), false);
        within("the peer takes data or refuses it", sent)
            .await
            .is_ok()
    }

    /// Ends the sending direction with this as the last frame.
    pub async fn finish_sending(&mut self, bytes: impl Into<Bytes>) {
        let sent = within(
            "the peer takes data",
            push(&mut self.tx, bytes.into(), true),
        )
        .await;
        sent.expect("the stream takes data");
    }

    /// Ends the sending direction.
    pub fn finish(&mut self) {
        self.tx
            .send_data(Bytes::new(), true)
            .expect("the stream is open for sending");
    }

    /// Ends the sending direction with trailers.
    pub fn finish_with(&mut self, trailers: HeaderMap) {
        self.tx
            .send_trailers(trailers)
            .expect("the stream is open for sending");
    }

    /// Cancels both directions.
    pub fn cancel(&mut self) {
        self.tx.send_reset(Reason::CANCEL);
    }

    /// Waits for the head of the response.
    pub async fn head(&mut self) -> Result<Response<()>, h2::Error> {
        let mut response = self.response.take().expect("the head is awaited once");
        let answered = within(
            "the head of a response",
            answer(&mut response, &mut self.interim),
        )
        .await?;
        let (parts, body) = answered.into_parts();
        self.rx = Some(body);
        Ok(Response::from_parts(parts, ()))
    }

    /// Whether the head has come by now.
    pub async fn has_head(&mut self) -> bool {
        let Some(response) = &mut self.response else {
            return true;
        };
        match poll_immediate(&mut *response).await {
            Some(Ok(answered)) => {
                self.rx = Some(answered.into_body());
                self.response = None;
                true
            }
            Some(Err(_)) => true,
            None => false,
        }
    }

    /// The next piece of the response body; `None` at its end. Waits for the head first.
    pub async fn data(&mut self) -> Option<Result<Bytes, h2::Error>> {
        if self.rx.is_none()
            && let Err(error) = self.head().await
        {
            return Some(Err(error));
        }
        let rx = self.rx.as_mut().expect("set above");
        within("a piece of a body", piece(rx)).await
    }

    /// Exactly so many bytes of the body; panics at its end.
    pub async fn exact(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            let more = self
                .data()
                .await
                .expect("more body")
                .expect("an open stream");
            all.extend_from_slice(&more);
        }
        assert_eq!(all.len(), count, "more than was asked for");
        all
    }

    /// The rest of the response.
    pub async fn rest(mut self) -> Result<H2Reply, h2::Error> {
        if self.response.is_some() {
            let taken = take(&mut self.response, &mut self.rx, &mut self.interim);
            return within("a whole response", taken).await;
        }
        let mut rx = self.rx.take().expect("the head has come");
        let (body, trailers) = within("the rest of a response", drain(&mut rx)).await?;
        let (status, headers) = (StatusCode::OK, HeaderMap::new());
        Ok(H2Reply {
            status,
            headers,
            body,
            trailers,
            interim: self.interim,
        })
    }

    /// Both directions apart, for tasks of their own.
    pub fn into_halves(self) -> (SendStream<Bytes>, ResponseFuture) {
        (
            self.tx,
            self.response.expect("the head was not awaited yet"),
        )
    }

    /// Waits until the peer resets the stream.
    pub async fn reset(&mut self) -> Reason {
        let reset = poll_fn(|cx| self.tx.poll_reset(cx));
        within("a reset", reset)
            .await
            .expect("a reset of this stream, not of the connection")
    }
}

async fn answer(
    response: &mut ResponseFuture,
    interim: &mut Vec<u16>,
) -> Result<Response<RecvStream>, h2::Error> {
    poll_fn(|cx| {
        while let Poll::Ready(Some(Ok(early))) = response.poll_informational(cx) {
            interim.push(early.status().as_u16());
        }
        std::pin::Pin::new(&mut *response).poll(cx)
    })
    .await
}

async fn take(
    response: &mut Option<ResponseFuture>,
    rx: &mut Option<RecvStream>,
    interim: &mut Vec<u16>,
) -> Result<H2Reply, h2::Error> {
    let mut waiting = response.take().expect("the head is awaited once");
    let (parts, body) = answer(&mut waiting, interim).await?.into_parts();
    let rx = rx.insert(body);
    let (body, trailers) = drain(rx).await?;
    let interim = std::mem::take(interim);
    Ok(H2Reply {
        status: parts.status,
        headers: parts.headers,
        body,
        trailers,
        interim,
    })
}

async fn drain(rx: &mut RecvStream) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut body = Vec::new();
    while let Some(more) = piece(rx).await {
        body.extend_from_slice(&more?);
    }
    Ok((body, rx.trailers().await?.unwrap_or_default()))
}

async fn piece(rx: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let more = rx.data().await?;
    if let Ok(bytes) = &more {
        // Fails only when the stream is over already.
        let _ = rx.flow_control().release_capacity(bytes.len());
    }
    Some(more)
}

/// Sends as the peer's window allows, never more than it does.
pub async fn push(
    tx: &mut SendStream<Bytes>,
    mut bytes: Bytes,
    end: bool,
) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        tx.reserve_capacity(bytes.len());
        let room = match poll_fn(|cx| tx.poll_capacity(cx)).await {
            Some(room) => room?,
            None => return Err(Reason::STREAM_CLOSED.into()),
        };
        let now = bytes.split_to(room.min(bytes.len()));
        tx.send_data(now, end && bytes.is_empty())?;
    }
    Ok(())
}
