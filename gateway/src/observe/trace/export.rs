//! How does the collector hear of spans? OTLP over HTTP, in batches.
//!
//! Promises: a collector that is away costs its spans, which are counted, and a bounded wait. Does not: try again; who
//! reads traces can do without some.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span as Wire, Status, span::SpanKind, status::StatusCode,
};
use prost::Message as _;

use super::span::{Span, Value};
use super::{Message, Settings};

/// Spans of a batch.
const BATCH: usize = 512;
/// A batch that is not full is sent after this long.
const GATHER: Duration = Duration::from_secs(1);
/// For the collector to take a batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two words about a collector that takes nothing.
const QUIET: Duration = Duration::from_secs(60);

/// Sends until nobody is left to end spans.
pub(super) fn run(
    settings: &Settings,
    spans: &Receiver<Message>,
    exported: &AtomicU64,
    dropped: &AtomicU64,
) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(true)
        .build()
        .into();
    let mut batch = Vec::new();
    let mut told: Option<Instant> = None;
    let mut send = |batch: &mut Vec<Wire>| {
        let count = batch.len() as u64;
        if count == 0 {
            return;
        }
        let body = request(settings, std::mem::take(batch)).encode_to_vec();
        let sent = agent
            .post(&settings.url)
            .header("content-type", "application/x-protobuf")
            .send(&body[..]);
        match sent {
            Ok(_) => exported.fetch_add(count, Ordering::Relaxed),
            Err(error) => {
                if told.is_none_or(|told| told.elapsed() > QUIET) {
                    told = Some(Instant::now());
                    tracing::warn!(%error, url = settings.url, "the collector takes no spans");
                }
                dropped.fetch_add(count, Ordering::Relaxed)
            }
        };
    };
    let mut since = Instant::now();
    loop {
        match spans.recv_timeout(GATHER.saturating_sub(since.elapsed())) {
            Ok(Message::Span(span)) => {
                if batch.is_empty() {
                    since = Instant::now();
                }
                batch.push(wire(*span));
                if batch.len() < BATCH {
                    continue;
                }
            }
            Ok(Message::Flush(done)) => {
                send(&mut batch);
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return send(&mut batch),
        }
        send(&mut batch);
        since = Instant::now();
    }
}

fn request(settings: &Settings, spans: Vec<Wire>) -> ExportTraceServiceRequest {
    let text = |name, value: &str| attribute(name, Value::Text(value.to_owned()));
    let version = env!("CARGO_PKG_VERSION");
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", &settings.service),
                    text("service.version", version),
                ],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "portcullis".to_owned(),
                    version: version.to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn wire(span: Span) -> Wire {
    let taken = u64::try_from(span.taken.as_nanos()).unwrap_or(u64::MAX);
    Wire {
        trace_id: span.trace_id.to_be_bytes().to_vec(),
        span_id: span.span_id.to_vec(),
        parent_span_id: span.parent.map_or_else(Vec::new, |id| id.to_vec()),
        // The caller sampled it (bit 0), and was somewhere else (bits 8 and 9).
        flags: 0x301,
        name: span.name,
        kind: SpanKind::Server as i32,
        start_time_unix_nano: span.began,
        end_time_unix_nano: span.began.saturating_add(taken),
        attributes: span
            .attributes
            .into_iter()
            .map(|(name, value)| attribute(name, value))
            .collect(),
        status: span.failed.map(|why| Status {
            message: why.to_owned(),
            code: StatusCode::Error as i32,
        }),
        ..Wire::default()
    }
}

fn attribute(name: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text),
        Value::Number(number) => any_value::Value::IntValue(number),
        Value::Real(number) => any_value::Value::DoubleValue(number),
    };
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
