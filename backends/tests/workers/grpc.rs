//! What does the hostagent messenger answer?

use backends::proto::demo::echo_client::EchoClient;
use backends::proto::demo::{CensusRequest, EchoReply, EchoRequest, FailRequest};
use backends::proto::health::HealthCheckRequest;
use backends::proto::health::health_check_response::ServingStatus;
use backends::proto::health::health_client::HealthClient;
use backends::service::hostagent_messenger::SERVICE;
use futures_util::stream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::running::{PATIENCE, Running, within};

async fn channel(worker: &Running) -> Channel {
    let url = format!("http://{}", worker.address);
    let endpoint = Endpoint::from_shared(url).expect("a URL");
    within(endpoint.timeout(PATIENCE).connect())
        .await
        .expect("it listens")
}

async fn start() -> (Running, EchoClient<Channel>) {
    let worker = Running::start(SERVICE).await;
    let client = EchoClient::new(channel(&worker).await);
    (worker, client)
}

fn text(text: &str) -> EchoRequest {
    EchoRequest {
        text: text.to_owned(),
        ..EchoRequest::default()
    }
}

/// All replies, and the status with which the stream ended.
async fn drain(mut replies: Streaming<EchoReply>) -> (Vec<EchoReply>, Result<(), Status>) {
    let mut got = Vec::new();
    loop {
        match within(replies.message()).await {
            Ok(Some(reply)) => got.push(reply),
            Ok(None) => return (got, Ok(())),
            Err(status) => return (got, Err(status)),
        }
    }
}

#[tokio::test]
async fn a_unary_call_is_echoed_with_the_workers_name() {
    let (worker, mut client) = start().await;
    let request = EchoRequest {
        payload: vec![7; 5_000_000].into(),
        ..text("hello")
    };
    let reply = client.unary(request.clone()).await;
    // A client takes 4 MiB unless it says otherwise, and that is the client's own business.
    assert_eq!(reply.expect_err("too large").code(), Code::OutOfRange);
    let mut client = client.max_decoding_message_size(8 << 20);
    let reply = client.unary(request).await.expect("a reply").into_inner();
    assert_eq!(
        (reply.text.as_str(), reply.payload_bytes),
        ("hello", 5_000_000)
    );
    assert_eq!(reply.port, u32::from(worker.address.port()));
    assert_eq!(reply.pid, std::process::id());
}

#[tokio::test]
async fn streams_of_every_kind_are_echoed() {
    let (_worker, mut client) = start().await;
    let three = || stream::iter(["a", "b", "c"].map(text));

    let collected = client.collect(three()).await.expect("a reply").into_inner();
    assert_eq!((collected.text.as_str(), collected.index), ("abc", 3));

    let expanded = client
        .expand(EchoRequest {
            count: 4,
            ..text("x")
        })
        .await;
    let (replies, end) = drain(expanded.expect("a stream").into_inner()).await;
    assert!(end.is_ok(), "{end:?}");
    let indices: Vec<u32> = replies.iter().map(|reply| reply.index).collect();
    assert_eq!(indices, [0, 1, 2, 3]);

    let chatted = client.chat(three()).await.expect("a stream").into_inner();
    let (replies, end) = drain(chatted).await;
    assert!(end.is_ok(), "{end:?}");
    let texts: Vec<&str> = replies.iter().map(|reply| reply.text.as_str()).collect();
    assert_eq!(texts, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_stream_ends_with_the_status_asked_for_and_its_trailer() {
    let (_worker, mut client) = start().await;
    let request = EchoRequest {
        count: 2,
        end_code: 10,
        ..text("x")
    };
    let replies = client.expand(request).await.expect("a stream").into_inner();
    let (replies, end) = drain(replies).await;
    let status = end.expect_err("an error at the end");
    assert_eq!((replies.len(), status.code()), (2, Code::Aborted));
    assert_eq!(
        status.metadata().get("x-echo-replies").expect("a trailer"),
        "2"
    );
}

#[tokio::test]
async fn a_failure_has_no_message_and_keeps_its_words() {
    let (_worker, mut client) = start().await;
    for (code, message) in [(5, "no such thing"), (7, "grüße, 100 %"), (14, "")] {
        let request = FailRequest {
            code,
            message: message.to_owned(),
        };
        let status = client.fail(request).await.expect_err("a failure");
        assert_eq!(status.code() as u32, code);
        assert_eq!(status.message(), message);
        assert_eq!(
            status.metadata().get("x-echo-failed").expect("metadata"),
            "as wished"
        );
    }
    let status = client.fail(FailRequest::default()).await;
    assert_eq!(
        status.expect_err("0 is no failure").code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn metadata_is_told_and_sent_back() {
    let (_worker, mut client) = start().await;
    let mut request = Request::new(text(""));
    request
        .metadata_mut()
        .insert("x-who", "me".parse().expect("ASCII"));
    let response = client.metadata(request).await.expect("a reply");
    assert_eq!(
        response.metadata().get("x-echo-x-who").expect("sent back"),
        "me"
    );
    let fields = response.into_inner().fields;
    assert!(
        fields
            .iter()
            .any(|field| field.name == "x-who" && field.value == "me")
    );
}

#[tokio::test]
async fn a_measure_beyond_its_bound_is_refused() {
    let (_worker, mut client) = start().await;
    for request in [
        EchoRequest {
            count: 100_001,
            ..text("")
        },
        EchoRequest {
            interval_ms: 60_001,
            ..text("")
        },
        EchoRequest {
            delay_ms: 600_001,
            ..text("")
        },
        EchoRequest {
            end_code: 17,
            ..text("")
        },
    ] {
        let status = client.expand(request).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn the_census_counts_streams_and_how_they_end() {
    let (_worker, mut client) = start().await;
    let request = EchoRequest {
        count: 100_000,
        interval_ms: 60_000,
        ..text("x")
    };
    let mut replies = client.expand(request).await.expect("a stream").into_inner();
    within(replies.message()).await.expect("the first reply");
    let census = client.census(CensusRequest {}).await.expect("a count");
    assert_eq!(census.into_inner().streams_open, 1);
    drop(replies);
    within(async {
        loop {
            let census = client
                .census(CensusRequest {})
                .await
                .expect("a count")
                .into_inner();
            if (census.streams_open, census.streams_cancelled) == (0, 1) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_stops_sends_its_streams_elsewhere() {
    let (worker, mut client) = start().await;
    let replies = client
        .chat(stream::pending())
        .await
        .expect("a stream")
        .into_inner();
    worker.say_stop();
    let (_, end) = drain(replies).await;
    assert_eq!(end.expect_err("an end").code(), Code::Unavailable);
    worker.stopped().await;
}

#[tokio::test]
async fn health_is_told_now_and_when_it_changes() {
    let worker = Running::start(SERVICE).await;
    let mut client = HealthClient::new(channel(&worker).await);
    let ask = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    for service in ["", "portcullis.demo.Echo"] {
        let state = client
            .check(ask(service))
            .await
            .expect("a state")
            .into_inner();
        assert_eq!(state.status(), ServingStatus::Serving, "{service:?}");
    }
    let status = client.check(ask("nobody")).await.expect_err("unknown");
    assert_eq!(status.code(), Code::NotFound);

    let mut states = client.watch(ask("")).await.expect("a stream").into_inner();
    for wanted in [ServingStatus::Serving, ServingStatus::NotServing] {
        let state = within(states.message()).await.expect("a state");
        assert_eq!(state.expect("not the end").status(), wanted);
        worker.say_stop();
    }
}
