//! Are traces passed on, and is a collector told of the gateway's part?

use e2e::h2_client::request;
use e2e::scripts::{echoing_head, replying};
use e2e::{Edge, Gateway, Message, Worker, eventually};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use prost::Message as _;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn sampled() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// A gateway whose spans go to `collector`.
async fn traced(worker: &Worker, collector: u16, more: &str) -> Gateway {
    Edge::to(worker)
        .top(&format!(
            "traces: {{ otlp: \"http://127.0.0.1:{collector}\"{more} }}"
        ))
        .start()
        .await
}

/// What the worker saw of a request with these fields.
async fn seen(gateway: &Gateway, fields: &[&str]) -> Message {
    let reply = gateway
        .http()
        .await
        .ask("GET", "/a?secret", fields, b"")
        .await;
    assert_eq!(reply.status(), 200);
    Message {
        head: reply.text(),
        ..Message::default()
    }
}

/// Spans that came to the collector, at least so many.
async fn spans(collector: &Worker, count: usize) -> Vec<Span> {
    eventually(&format!("{count} spans come"), || async {
        let spans: Vec<Span> = collector
            .requests()
            .iter()
            .flat_map(|request| {
                assert_eq!(request.target(), "/v1/traces");
                assert_eq!(
                    request.field("content-type"),
                    Some("application/x-protobuf")
                );
                ExportTraceServiceRequest::decode(&request.body[..])
                    .unwrap()
                    .resource_spans
            })
            .flat_map(|resource| {
                let attributes = resource.resource.unwrap().attributes;
                assert_eq!(text(&attributes, "service.name"), "portcullis");
                resource.scope_spans
            })
            .flat_map(|scope| scope.spans)
            .collect();
        (spans.len() >= count).then_some(spans)
    })
    .await
}

fn value<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.as_ref()?.value.as_ref()
}

fn text<'a>(attributes: &'a [KeyValue], name: &str) -> &'a str {
    match value(attributes, name) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{name} is {other:?} in {attributes:#?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn without_traces_what_the_client_sends_passes_as_it_is() {
    let worker = Worker::start(echoing_head()).await;
    let gateway = Edge::to(&worker).start().await;
    for parent in [sampled(), "nonsense".to_owned()] {
        let fields = [&*format!("traceparent: {parent}"), "tracestate: a=b"];
        let seen = seen(&gateway, &fields).await;
        assert_eq!(seen.fields("traceparent"), [parent.as_str()]);
        assert_eq!(seen.fields("tracestate"), ["a=b"]);
    }
    assert_eq!(seen(&gateway, &[]).await.field("traceparent"), None);
    let lines = gateway.access_log(3).await;
    assert!(
        lines.iter().all(|line| line.get("trace_id").is_none()),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_sampled_request_gets_a_span_between_its_caller_and_the_worker() {
    let worker = Worker::start(echoing_head()).await;
    let collector = Worker::start(replying(200)).await;
    let gateway = traced(&worker, collector.port(), ", sample: 0%").await;
    let fields = [&*format!("Traceparent: {}", sampled()), "tracestate: a=b"];
    let seen = seen(&gateway, &fields).await;
    let told = seen.field("traceparent").unwrap().to_owned();
    assert_eq!(seen.fields("traceparent").len(), 1);
    assert_eq!(seen.field("tracestate"), Some("a=b"));
    let parts: Vec<&str> = told.split('-').collect();
    assert_eq!((parts[0], parts[1], parts[3]), ("00", TRACE, "01"));
    assert_ne!(parts[2], PARENT, "the worker's caller is the gateway");

    let span = spans(&collector, 1).await.remove(0);
    assert_eq!(hex(&span.trace_id), TRACE);
    assert_eq!(hex(&span.parent_span_id), PARENT);
    assert_eq!(hex(&span.span_id), parts[2]);
    assert_eq!(span.name, "GET / -> app");
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    assert!(span.status.is_none(), "{span:?}");
    for (name, wanted) in [
        ("http.request.method", "GET"),
        ("url.path", "/a"),
        ("http.route", "/ -> app"),
        ("portcullis.pool", "app"),
        ("portcullis.listener", "http"),
        ("portcullis.end", "ok"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
    ] {
        assert_eq!(text(&span.attributes, name), wanted, "{name}");
    }
    let status = value(&span.attributes, "http.response.status_code");
    assert_eq!(status, Some(&Value::IntValue(200)));
    assert!(!format!("{span:?}").contains("secret"), "{span:#?}");
    let line = gateway.access_log(1).await.remove(0);
    assert_eq!(line["trace_id"], TRACE);
    eventually("it is counted", || async {
        let counted = gateway
            .metric("portcullis_trace_spans_exported_total")
            .await;
        (counted == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_is_not_sampled_passes_untouched() {
    let worker = Worker::start(echoing_head()).await;
    let collector = Worker::start(replying(200)).await;
    let gateway = traced(&worker, collector.port(), ", sample: 100%").await;
    let parent = format!("00-{TRACE}-{PARENT}-00");
    let not = seen(&gateway, &[&format!("traceparent: {parent}")]).await;
    assert_eq!(not.fields("traceparent"), [parent.as_str()]);
    // A trace of its own; what was sent is no trace.
    let own = seen(&gateway, &["traceparent: 00-nonsense", "tracestate: a=b"]).await;
    let begun = own.field("traceparent").unwrap().to_owned();
    assert!(begun.starts_with("00-") && begun.len() == 55, "{begun}");
    assert_eq!(own.field("tracestate"), None, "it belongs to another trace");
    let span = spans(&collector, 1).await.remove(0);
    assert!(begun.contains(&hex(&span.trace_id)));
    assert!(span.parent_span_id.is_empty(), "{span:?}");
}

#[tokio::test]
async fn a_failure_is_a_span_that_failed() {
    let collector = Worker::start(replying(200)).await;
    let gateway = Edge::to_ports([e2e::free_range(1)])
        .pool("hold: off")
        .top(&format!(
            "traces: {{ otlp: \"http://127.0.0.1:{}\", sample: 100% }}",
            collector.port()
        ))
        .start()
        .await;
    let reply = gateway
        .h2("https")
        .await
        .fetch(request("GET", "/"), "")
        .await;
    assert_eq!(reply.status, 503);
    let span = spans(&collector, 1).await.remove(0);
    let status = span.status.unwrap();
    assert_eq!(status.code, StatusCode::Error as i32);
    assert_eq!(status.message, "no_worker");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_no_requests() {
    let worker = Worker::start(replying(200)).await;
    let gateway = traced(&worker, e2e::free_range(1), ", sample: 100%").await;
    for _ in 0..5 {
        assert_eq!(gateway.http().await.get("/").await.status(), 200);
    }
    eventually("the spans are counted as lost", || async {
        let dropped = gateway.metric("portcullis_trace_spans_dropped_total").await;
        (dropped == Some(5.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_process_ends() {
    let worker = Worker::start(replying(200)).await;
    let collector = Worker::start(replying(200)).await;
    let mut gateway = traced(&worker, collector.port(), ", sample: 100%").await;
    gateway.http().await.get("/").await;
    gateway.terminate();
    assert!(gateway.exit().await.success());
    spans(&collector, 1).await;
}
