//! What does the messenger answer as a stub? An Echo service, and the health protocol.
//!
//! `proto/echo.proto` says what each call does. Streams end with UNAVAILABLE when the worker stops,
//! so that agents come back to another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, future, stream};
use tonic::metadata::{AsciiMetadataKey, KeyAndValueRef, MetadataMap};
use tonic::{Code, Request, Response, Status, Streaming};

use super::health::Doctor;
use crate::proto::demo::echo_server::{Echo, EchoServer};
use crate::proto::demo::{
    CensusReply, CensusRequest, EchoReply, EchoRequest, FailRequest, Field, MetadataReply,
};
use crate::proto::health::health_server::HealthServer;
use crate::worker::Worker;

/// Most replies of one Expand.
const REPLIES_MAX: u32 = 100_000;
/// Longest time between two replies, milliseconds.
const INTERVAL_MS_MAX: u32 = 60_000;
/// Longest time before the first reply, milliseconds.
const DELAY_MS_MAX: u32 = 600_000;
/// Text that Collect keeps; the rest is counted only.
const COLLECT_TEXT_MAX: usize = 64 * 1024;
/// Largest message, either way. Above the usual 4 MiB, so that limits on the way show themselves.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The name under which the health protocol knows the Echo service.
const ECHO: &str = "portcullis.demo.Echo";

/// The routes of a stub.
pub fn routes(worker: &Worker) -> Router {
    let echo = EchoServer::new(Messenger {
        worker: worker.clone(),
        census: Arc::default(),
    })
    .max_decoding_message_size(MESSAGE_BYTES_MAX)
    .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let health = HealthServer::new(Doctor::new(worker, ECHO));
    tonic::service::Routes::new(echo)
        .add_service(health)
        .into_axum_router()
}

/// The Echo service of one worker.
#[derive(Debug)]
struct Messenger {
    worker: Worker,
    census: Arc<Census>,
}

type Replies = BoxStream<'static, Result<EchoReply, Status>>;

#[tonic::async_trait]
impl Echo for Messenger {
    type ExpandStream = Replies;
    type ChatStream = Replies;

    async fn unary(&self, request: Request<EchoRequest>) -> Result<Response<EchoReply>, Status> {
        let request = request.into_inner();
        let open = self.census.open();
        pause(bounded(request.delay_ms, DELAY_MS_MAX, "delay_ms")?).await;
        open.finish();
        Ok(Response::new(reply(&self.worker, request, 0)))
    }

    async fn collect(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoReply>, Status> {
        let mut messages = request.into_inner();
        let open = self.census.open();
        let (mut text, mut bytes, mut count) = (String::new(), 0, 0);
        while let Some(message) = messages.message().await? {
            if text.len() + message.text.len() <= COLLECT_TEXT_MAX {
                text.push_str(&message.text);
            }
            bytes += message.payload.len() as u64;
            count += 1;
        }
        open.finish();
        let request = EchoRequest {
            text,
            ..EchoRequest::default()
        };
        Ok(Response::new(EchoReply {
            payload_bytes: bytes,
            ..reply(&self.worker, request, count)
        }))
    }

    async fn expand(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<Self::ExpandStream>, Status> {
        let request = request.into_inner();
        let count = bounded(request.count, REPLIES_MAX, "count")?;
        let interval = bounded(request.interval_ms, INTERVAL_MS_MAX, "interval_ms")?;
        let delay = bounded(request.delay_ms, DELAY_MS_MAX, "delay_ms")?;
        let end = end_of(request.end_code)?;
        let worker = self.worker.clone();
        let replies = stream::iter(0..count).then(move |index| {
            let reply = reply(&worker, request.clone(), index);
            async move {
                pause(if index == 0 { delay } else { interval }).await;
                Ok(reply)
            }
        });
        Ok(Response::new(self.until_stop(replies, end)))
    }

    async fn chat(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Self::ChatStream>, Status> {
        let worker = self.worker.clone();
        let replies = request
            .into_inner()
            .enumerate()
            .map(move |(index, message)| {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                Ok(reply(&worker, message?, index))
            });
        Ok(Response::new(self.until_stop(replies, Status::ok(""))))
    }

    async fn fail(&self, request: Request<FailRequest>) -> Result<Response<EchoReply>, Status> {
        let FailRequest { code, message } = request.into_inner();
        if !(1..=16).contains(&code) {
            return Err(Status::invalid_argument("code is a status from 1 to 16"));
        }
        let code = Code::from(i32::try_from(code).unwrap_or_default());
        let mut metadata = MetadataMap::new();
        metadata.insert("x-echo-failed", "as wished".parse().expect("visible ASCII"));
        Err(Status::with_metadata(code, message, metadata))
    }

    async fn metadata(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<MetadataReply>, Status> {
        let fields: Vec<Field> = request.metadata().iter().map(field).collect();
        let mut response = Response::new(MetadataReply {
            fields,
            port: self.worker.address.port().into(),
            pid: self.worker.pid,
        });
        for entry in request.metadata().iter() {
            // Names that end in "-bin" keep their type only under their own map; text is enough here.
            if let KeyAndValueRef::Ascii(name, value) = entry {
                let name = AsciiMetadataKey::from_bytes(format!("x-echo-{name}").as_bytes());
                if let Ok(name) = name {
                    response.metadata_mut().append(name, value.clone());
                }
            }
        }
        Ok(response)
    }

    async fn census(&self, _: Request<CensusRequest>) -> Result<Response<CensusReply>, Status> {
        Ok(Response::new(self.census.count()))
    }
}

impl Messenger {
    /// A stream of replies that ends with `end` and how many there were, with UNAVAILABLE when the
    /// worker stops, or silently when the caller goes away: the census tells which.
    fn until_stop<S>(&self, replies: S, end: Status) -> Replies
    where
        S: Stream<Item = Result<EchoReply, Status>> + Send + 'static,
    {
        let open = self.census.open();
        let stop = self.worker.stopping();
        let mut sent = 0_u64;
        let stopped = stream::once(stop).map(|()| Err(Status::unavailable("worker stops")));
        let ended = stream::once(future::ready(Err(Status::ok(""))));
        let merged = stream::select(replies.chain(ended), stopped);
        let mut end = Some((open, end));
        merged
            .map(move |item| {
                let status = match item {
                    Ok(reply) => {
                        sent += 1;
                        return Ok(reply);
                    }
                    Err(status) => status,
                };
                let Some((open, wished)) = end.take() else {
                    return Err(status);
                };
                // An inbound stream that broke is the caller's going away.
                if status.code() == Code::Ok || status.code() == Code::Unavailable {
                    open.finish();
                }
                Err(last_words(status, wished, sent))
            })
            .boxed()
    }
}

/// The status that ends a stream, with the number of replies as a trailer.
fn last_words(status: Status, wished: Status, sent: u64) -> Status {
    let mut status = match status.code() {
        Code::Ok => wished,
        _ => status,
    };
    let count = sent.to_string().parse().expect("digits are ASCII");
    status.metadata_mut().insert("x-echo-replies", count);
    status
}

fn reply(worker: &Worker, request: EchoRequest, index: u32) -> EchoReply {
    EchoReply {
        text: request.text,
        payload_bytes: request.payload.len() as u64,
        payload: request.payload,
        index,
        port: worker.address.port().into(),
        pid: worker.pid,
    }
}

fn field(entry: KeyAndValueRef<'_>) -> Field {
    let (name, value) = match entry {
        KeyAndValueRef::Ascii(name, value) => (name.as_str(), value.as_encoded_bytes()),
        KeyAndValueRef::Binary(name, value) => (name.as_str(), value.as_encoded_bytes()),
    };
    Field {
        name: name.to_owned(),
        value: String::from_utf8_lossy(value).into_owned(),
    }
}

fn bounded(value: u32, max: u32, name: &str) -> Result<u32, Status> {
    if value <= max {
        Ok(value)
    } else {
        Err(Status::invalid_argument(format!("{name} is at most {max}")))
    }
}

fn end_of(code: u32) -> Result<Status, Status> {
    let code = i32::try_from(bounded(code, 16, "end_code")?).unwrap_or_default();
    Ok(Status::new(
        Code::from(code),
        if code == 0 { "" } else { "as wished" },
    ))
}

async fn pause(ms: u32) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
    }
}

/// How many calls are open, and how they ended.
#[derive(Debug, Default)]
struct Census {
    open: AtomicU64,
    cancelled: AtomicU64,
    finished: AtomicU64,
}

impl Census {
    fn open(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open {
            census: Arc::clone(self),
            finished: false,
        }
    }

    fn count(&self) -> CensusReply {
        CensusReply {
            streams_open: self.open.load(Ordering::Relaxed),
            streams_cancelled: self.cancelled.load(Ordering::Relaxed),
            streams_finished: self.finished.load(Ordering::Relaxed),
        }
    }
}

/// One open call; dropped without [`Open::finish`] it counts as cancelled.
#[derive(Debug)]
struct Open {
    census: Arc<Census>,
    finished: bool,
}

impl Open {
    fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.census.open.fetch_sub(1, Ordering::Relaxed);
        let how = if self.finished {
            &self.census.finished
        } else {
            &self.census.cancelled
        };
        how.fetch_add(1, Ordering::Relaxed);
    }
}
