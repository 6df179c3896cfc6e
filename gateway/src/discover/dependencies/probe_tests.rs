use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(10);

fn postgres() -> DependencyKind {
    DependencyKind::Postgres {
        user: "somebody".into(),
        database: "some".into(),
    }
}

/// A server that reads what comes first and then answers; it tells what it has read on its connections, the last up to
/// their end.
async fn server(answers: &'static [&'static [u8]]) -> (SocketAddr, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut read = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut came = BytesMut::new();
            stream.read_buf(&mut came).await.unwrap();
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
            while stream.read_buf(&mut came).await.unwrap_or(0) > 0 {}
            read.push(came.to_vec());
        }
        read
    });
    (address, serving)
}

async fn word(
    kind: DependencyKind,
    answers: &'static [&'static [u8]],
) -> Result<&'static str, String> {
    let (address, _serving) = server(answers).await;
    let passed = check(address, &kind, None, Depth::Service, TIMEOUT).await?;
    if let Some(leaving) = passed.1 {
        leave(leaving).await;
    }
    Ok(passed.0)
}

#[tokio::test]
async fn a_postgres_is_left_as_it_wants_to_be_left() {
    let (address, serving) = server(&[b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"]).await;
    let passed = check(address, &postgres(), None, Depth::Service, TIMEOUT).await;
    leave(passed.unwrap().1.unwrap()).await;
    let read = serving.await.unwrap().remove(0);
    assert!(read.ends_with(b"X\0\0\0\x04"), "{read:?}");
    // One that asks for a password is told nothing more.
    let (address, serving) = server(&[b"R\0\0\0\x0c\0\0\0\x05salt"]).await;
    let passed = check(address, &postgres(), None, Depth::Service, TIMEOUT).await;
    leave(passed.unwrap().1.unwrap()).await;
    let read = serving.await.unwrap().remove(0);
    assert_eq!(read, wire_startup());
}

fn wire_startup() -> Vec<u8> {
    postgres::startup("somebody", "some")
}

#[tokio::test]
async fn whoever_answers_with_something_else_is_told_of() {
    for (kind, answer, told) in [
        (
            postgres(),
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "it does not speak PostgreSQL's protocol",
        ),
        (
            postgres(),
            b"",
            "it closes the connection without an answer",
        ),
        (
            postgres(),
            b"R\0\0",
            "it closes the connection within its answer",
        ),
        (
            DependencyKind::Amqp,
            b"AMQP\0\x01\0\0",
            "it does not speak AMQP 0-9-1, but 1-0-0",
        ),
        (
            DependencyKind::Amqp,
            b"\x01",
            "it closes the connection within its answer",
        ),
        (
            DependencyKind::Vault,
            b"SSH-2.0-x\r\n",
            "no HTTP response: malformed head: ",
        ),
        (
            DependencyKind::Vault,
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",
            "it closes the connection within its answer",
        ),
    ] {
        let answers: &'static [&'static [u8]] = Box::leak(Box::new([answer]));
        let reason = word(kind, answers).await.unwrap_err();
        assert!(reason.starts_with(told), "{reason}");
    }
}

#[tokio::test]
async fn a_vault_that_does_not_know_the_first_path_is_asked_for_the_next() {
    const NO: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    const OPEN: &[u8] =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{\"sealed\":false}\r\n0\r\n\r\n";
    const SEALED: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 503 No\r\n\r\n{\"sealed\":true}";
    assert_eq!(word(DependencyKind::Vault, &[NO, OPEN]).await, Ok(""));
    assert_eq!(word(DependencyKind::Vault, &[OPEN]).await, Ok(""));
    let sealed = word(DependencyKind::Vault, &[SEALED]).await.unwrap_err();
    assert!(sealed.starts_with("sealed: "), "{sealed}");
    let nothing = word(DependencyKind::Vault, &[NO, NO, NO])
        .await
        .unwrap_err();
    assert!(nothing.ends_with("status 404, 404, 404"), "{nothing}");
}

#[tokio::test]
async fn nobody_is_there_or_nothing_is_said() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    for kind in [
        DependencyKind::Tcp,
        postgres(),
        DependencyKind::Amqp,
        DependencyKind::Vault,
    ] {
        // Connections are taken by the kernel; nobody answers.
        let short = Duration::from_millis(50);
        let silent = check(address, &kind, None, Depth::Service, short).await;
        match (&kind, silent) {
            (DependencyKind::Tcp, Ok(_)) => {}
            (_, Err(reason)) => assert_eq!(reason, "no answer within 0.05 s"),
            (kind, Ok(_)) => panic!("{kind:?} said nothing"),
        }
    }
    drop(gone);
    let refused = check(address, &postgres(), None, Depth::Service, TIMEOUT).await;
    let refused = refused.err().unwrap();
    assert!(refused.starts_with("no connection: "), "{refused}");
}

#[tokio::test]
async fn a_server_that_drips_or_floods_is_bounded() {
    // One byte now and then, of a line that never ends.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dripping = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while stream.write_all(b"E").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let short = Duration::from_millis(100);
    let told = check(address, &postgres(), None, Depth::Service, short).await;
    assert_eq!(told.err().unwrap(), "no answer within 0.1 s");
    dripping.abort();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\n\r\n";
        let _ = stream.write_all(head).await;
        while stream.write_all(&[b' '; 4096]).await.is_ok() {}
    });
    let flood = check(
        address,
        &DependencyKind::Vault,
        None,
        Depth::Service,
        TIMEOUT,
    )
    .await;
    assert_eq!(flood.err().unwrap(), "its answer is too large");
}
