use std::time::Duration;

use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;
use crate::pool::testing::health;

const SECOND: Duration = Duration::from_secs(1);

fn get() -> Check {
    Check::Http {
        method: "GET".into(),
        path: "/healthz".into(),
        host: None,
        expect: (200, 399),
    }
}

/// A server that answers every connection with these bytes after it has read a head, and gives the
/// heads back.
async fn server(answer: &'static str) -> (SocketAddr, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (heads, received) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n")
                && stream.read_buf(&mut head).await.unwrap_or(0) > 0
            {}
            let _ = heads.try_send(String::from_utf8_lossy(&head).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (addr, received)
}

async fn http_check(answer: &'static str) -> Result<(), String> {
    let (addr, _) = server(answer).await;
    check(addr, WorkerProtocol::Http1, b"", None, &health(get(), 1, 3)).await
}

#[tokio::test]
async fn a_request_is_good_when_its_status_is_expected() {
    for (answer, result) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Ok(())),
        ("HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", Ok(())),
        ("HTTP/1.0 204 No Content\r\n\r\n", Ok(())),
        (
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            Ok(()),
        ),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 No\r\n\r\n",
            Err("status 503"),
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            Err("status 101"),
        ),
        ("HTTP/1.1 500 Oops\r\n\r\n", Err("status 500")),
        (
            "HTTP/1.1 200 OK\r\n",
            Err("connection closed before the response"),
        ),
        ("", Err("connection closed before the response")),
        (
            "SSH-2.0-x\r\n\r\n",
            Err("no HTTP response: invalid HTTP version"),
        ),
    ] {
        assert_eq!(
            http_check(answer).await,
            result.map_err(String::from),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_request_is_small_and_names_its_host() {
    let (addr, mut heads) = server("HTTP/1.1 200 OK\r\n\r\n").await;
    let named = Check::Http {
        method: "HEAD".into(),
        path: "/up".into(),
        host: Some("api.example".into()),
        expect: (200, 200),
    };
    for (check_, line, host) in [
        (get(), "GET /healthz HTTP/1.1\r\n", addr.to_string()),
        (named, "HEAD /up HTTP/1.1\r\n", "api.example".into()),
    ] {
        check(
            addr,
            WorkerProtocol::Http1,
            b"",
            None,
            &health(check_, 1, 3),
        )
        .await
        .unwrap();
        let head = heads.recv().await.unwrap();
        assert!(head.starts_with(line), "{head}");
        assert!(head.contains(&format!("\r\nhost: {host}\r\n")), "{head}");
        assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    }
}

#[tokio::test]
async fn an_endless_head_is_cut_off() {
    let endless: &'static str =
        Box::leak(format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(64 * 1024)).into_boxed_str());
    assert_eq!(
        http_check(endless).await,
        Err("response head too large".into())
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_fails_in_time_though_it_passes_a_tcp_check() {
    let port = super::super::testing::Port::at("127.0.0.1");
    let (listener, addr) = (port.listen(), port.addr);
    for protocol in [WorkerProtocol::Http1, WorkerProtocol::H2c] {
        let mut health = health(get(), 1, 3);
        health.timeout = Duration::from_millis(50);
        assert_eq!(
            check(addr, protocol, b"", None, &health).await,
            Err("no answer within 0.05 s".into())
        );
        health.check = Check::Tcp;
        assert_eq!(check(addr, protocol, b"", None, &health).await, Ok(()));
    }
    drop(listener);
    assert!(
        check(
            addr,
            WorkerProtocol::Http1,
            b"",
            None,
            &health(Check::Tcp, 1, 3)
        )
        .await
        .unwrap_err()
        .starts_with("no connection")
    );
}

/// An HTTP/2 server that answers everything the same way.
#[derive(Clone)]
struct Answer {
    status: u16,
    head: Option<&'static str>,
    body: &'static [u8],
    trailer: Option<&'static str>,
}

async fn h2_server(
    answer: Answer,
) -> (
    SocketAddr,
    tokio::sync::mpsc::Receiver<(Request<()>, Vec<u8>)>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (requests, received) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let (answer, requests) = (answer.clone(), requests.clone());
            tokio::spawn(async move {
                let (head, mut body) = request.into_parts();
                let mut received = Vec::new();
                while let Some(Ok(data)) = body.data().await {
                    received.extend_from_slice(&data);
                }
                let _ = requests.try_send((Request::from_parts(head, ()), received));
                let mut response = http::Response::builder()
                    .status(answer.status)
                    .header("content-type", "application/grpc");
                if let Some(status) = answer.head {
                    response = response.header("grpc-status", status);
                }
                let bare = answer.body.is_empty() && answer.trailer.is_none();
                let mut sender = respond
                    .send_response(response.body(()).unwrap(), bare)
                    .unwrap();
                if !bare {
                    sender
                        .send_data(Bytes::from_static(answer.body), answer.trailer.is_none())
                        .unwrap();
                }
                if let Some(status) = answer.trailer {
                    let trailers = [("grpc-status", status)]
                        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
                    sender
                        .send_trailers(trailers.into_iter().collect())
                        .unwrap();
                }
            });
        }
    });
    (addr, received)
}

#[tokio::test]
async fn h2c_workers_are_asked_in_http2() {
    for (status, result) in [(200, Ok(())), (503, Err("status 503".to_string()))] {
        let (addr, mut requests) = h2_server(Answer {
            status,
            head: None,
            body: b"",
            trailer: None,
        })
        .await;
        assert_eq!(
            check(addr, WorkerProtocol::H2c, b"", None, &health(get(), 1, 3)).await,
            result
        );
        let (request, _) = requests.recv().await.unwrap();
        assert_eq!(
            (request.method(), request.uri().path()),
            (&Method::GET, "/healthz")
        );
        assert_eq!(
            request.uri().authority().unwrap().as_str(),
            addr.to_string()
        );
    }
}

#[tokio::test]
async fn the_grpc_health_protocol_is_spoken() {
    let ok = Some("0");
    for (head, body, trailer, result) in [
        (None, &b"\0\0\0\0\x02\x08\x01"[..], ok, Ok(())),
        (None, b"\0\0\0\0\x02\x08\x02", ok, Err("not serving")),
        (None, b"\0\0\0\0\x02\x08\x03", ok, Err("service unknown")),
        (None, b"\0\0\0\0\0", ok, Err("serving status unknown")),
        (None, b"", ok, Err("answer is no health message")),
        (
            None,
            b"\x01\0\0\0\x02\x08\x01",
            ok,
            Err("answer is no health message"),
        ),
        (None, b"\0\0\0\0\x02\x08\x01", None, Err("no grpc-status")),
        (None, b"", Some("14"), Err("grpc-status 14")),
        (
            Some("12"),
            b"",
            None,
            Err("grpc-status 12: the worker has no health service"),
        ),
        (Some("5"), b"", None, Err("grpc-status 5: service unknown")),
    ] {
        let (addr, mut requests) = h2_server(Answer {
            status: 200,
            head,
            body,
            trailer,
        })
        .await;
        let check_ = Check::Grpc {
            service: "a.B".into(),
        };
        assert_eq!(
            check(addr, WorkerProtocol::H2c, b"", None, &health(check_, 1, 3)).await,
            result.map_err(String::from),
            "{body:?}"
        );
        let (request, message) = requests.recv().await.unwrap();
        assert_eq!(
            (request.method(), request.uri().path()),
            (&Method::POST, "/grpc.health.v1.Health/Check")
        );
        assert_eq!(request.headers()["content-type"], "application/grpc");
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(message, b"\0\0\0\0\x05\x0a\x03a.B");
    }
}

#[tokio::test]
async fn a_grpc_answer_is_bounded_and_an_http1_server_fails() {
    let (addr, _) = h2_server(Answer {
        status: 200,
        head: None,
        body: &[0; ANSWER_BYTES_MAX + 1],
        trailer: Some("0"),
    })
    .await;
    let grpc = health(
        Check::Grpc {
            service: String::new(),
        },
        1,
        3,
    );
    assert_eq!(
        check(addr, WorkerProtocol::H2c, b"", None, &grpc).await,
        Err("answer too large".into())
    );
    let (addr, _) = server("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert!(
        check(addr, WorkerProtocol::H2c, b"", None, &grpc)
            .await
            .unwrap_err()
            .starts_with("HTTP/2: ")
    );
}

#[test]
fn a_long_service_name_has_a_long_length() {
    assert_eq!(&health_request("")[..], b"\0\0\0\0\0");
    let long = "x".repeat(300);
    let message = health_request(&long);
    assert_eq!(&message[..8], b"\0\0\0\x01\x2f\x0a\xac\x02");
    assert_eq!(message.len(), 5 + 303);
}

#[test]
fn unknown_fields_of_a_health_message_are_passed_over() {
    let message = b"\x12\x02ab\x1d1234\x2112345678\x28\x05\x08\x01";
    let mut framed = vec![0, 0, 0, 0, message.len() as u8];
    framed.extend(message);
    assert_eq!(serving_status(&framed), Some(SERVING));
}

#[test]
fn who_fails_is_checked_at_its_own_interval() {
    let now = Instant::now();
    let health = health(Check::Tcp, 1, 3);
    let mut schedule = Schedule::new(2);
    assert_eq!(schedule.next_at(), None);
    for (passes, least, most) in [(true, 4, 6), (false, 0, 2)] {
        schedule.begin_anew(0, now);
        assert_eq!(schedule.take_due(now, |_| true), Some(0));
        assert_eq!(schedule.take_due(now, |_| true), None);
        schedule.done(0, passes, &health, now, u64::MAX / 3);
        let next = schedule.next_at().unwrap();
        assert!(next > now + least * SECOND && next < now + most * SECOND);
    }
    // Planned already: not sooner for being told again, but at once for a new process.
    schedule.begin(0, now);
    assert!(schedule.next_at().unwrap() > now);
    schedule.begin_anew(0, now);
    assert_eq!(schedule.next_at(), Some(now));
    // One that is gone is dropped.
    assert_eq!(schedule.take_due(now, |_| false), None);
    assert_eq!(schedule.next_at(), None);
}

#[test]
fn only_so_many_checks_are_under_way() {
    let now = Instant::now();
    let mut schedule = Schedule::new(IN_FLIGHT_MAX + 10);
    (0..IN_FLIGHT_MAX + 10).for_each(|i| schedule.begin(i, now));
    let taken: Vec<_> = std::iter::from_fn(|| schedule.take_due(now, |_| true)).collect();
    assert_eq!(taken.len(), IN_FLIGHT_MAX);
    assert_eq!(schedule.next_at(), None);
    schedule.done(taken[0], true, &health(Check::Tcp, 1, 3), now, 0);
    assert!(schedule.take_due(now, |_| true).is_some());
}

proptest! {
    #[test]
    fn no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = serving_status(&bytes);
        let mut framed = vec![0, 0, 0, 0, bytes.len() as u8];
        framed.extend(&bytes);
        let _ = serving_status(&framed);
        let _ = final_status(&mut BytesMut::from(&bytes[..]));
    }
}
