use proptest::prelude::*;

use super::*;

fn bad(answer: Answer) -> String {
    match answer {
        Answer::Bad(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// A message of PostgreSQL.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

fn refused(code: &str, said: &str) -> Answer {
    let body = format!("SFATAL\0VFATAL\0C{code}\0M{said}\0Fpostmaster.c\0\0");
    postgres::answer(&message(b'E', body.as_bytes()))
}

#[test]
fn a_postgres_that_asks_for_a_password_serves() {
    for code in [3u32, 5, 10] {
        let asked = message(
            b'R',
            &[&code.to_be_bytes()[..], b"SCRAM-SHA-256\0\0"].concat(),
        );
        assert_eq!(postgres::answer(&asked), GOOD, "{code}");
    }
    let let_in = postgres::answer(&message(b'R', &[0; 4]));
    assert_eq!(let_in, Answer::Good("", b"X\0\0\0\x04"));
    let after_a_notice = [message(b'N', b"Mhello\0\0"), message(b'R', &[0, 0, 0, 5])].concat();
    assert_eq!(postgres::answer(&after_a_notice), GOOD);
}

#[test]
fn a_postgres_that_refuses_the_person_serves_and_one_that_refuses_everybody_does_not() {
    for code in ["28000", "28P01", "3D000", "42501"] {
        assert_eq!(refused(code, "no"), GOOD, "{code}");
    }
    for (code, said, told) in [
        (
            "57P03",
            "the database system is starting up",
            "not ready: the database system is starting up",
        ),
        (
            "53300",
            "sorry, too many clients already",
            "no connection is left: sorry, too many clients already",
        ),
        ("57P01", "shutting down", "error 57P01: shutting down"),
        ("XX000", "oh", "error XX000: oh"),
        ("", "", "it does not speak PostgreSQL's protocol"),
    ] {
        assert_eq!(bad(refused(code, said)), told);
    }
    assert_eq!(
        bad(postgres::answer(
            b"Ecould not fork new process for connection: no memory\n\0"
        )),
        "error: could not fork new process for connection: no memory"
    );
    for strange in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"SSH-2.0-x",
        b"R\xff\xff\xff\xff",
        b"\0",
    ] {
        let told = bad(postgres::answer(strange));
        assert_eq!(told, "it does not speak PostgreSQL's protocol");
    }
}

#[test]
fn who_comes_to_a_postgres_is_written_as_it_is_read() {
    let bytes = postgres::startup("landscape", "main");
    assert_eq!(number(&bytes), Some(bytes.len()));
    assert_eq!(&bytes[4..8], [0, 3, 0, 0]);
    assert!(bytes[8..].starts_with(b"user\0landscape\0database\0main\0"));
    assert!(bytes.ends_with(b"\0\0"));
    assert_eq!(postgres::tls(b'S'), Ok(()));
    assert!(postgres::tls(b'N').unwrap_err().contains("`ssl` is off"));
    assert!(postgres::tls(b'H').unwrap_err().contains("does not speak"));
}

/// A frame of AMQP with a method.
fn frame(method: &[u8]) -> Vec<u8> {
    let length = u32::try_from(method.len()).unwrap().to_be_bytes();
    [&[1, 0, 0][..], &length, method, &[0xce]].concat()
}

fn start() -> Vec<u8> {
    let mut method = vec![0, 10, 0, 10, 0, 9];
    for long in ["properties", "PLAIN AMQPLAIN", "en_US"] {
        method.extend(u32::try_from(long.len()).unwrap().to_be_bytes());
        method.extend(long.as_bytes());
    }
    frame(&method)
}

#[test]
fn a_broker_that_greets_serves() {
    assert_eq!(amqp::answer(&start()), GOOD);
    let whole = start();
    for end in 0..whole.len() {
        assert_eq!(amqp::answer(&whole[..end]), Answer::More, "{end}");
    }
}

#[test]
fn a_broker_that_does_not_greet_is_told_with_what_it_says() {
    assert_eq!(
        bad(amqp::answer(b"AMQP\0\x01\0\0")),
        "it does not speak AMQP 0-9-1, but 1-0-0"
    );
    let close = [&[0, 10, 0, 50, 1, 64, 8][..], b"shutdown", &[0, 0, 0, 0]].concat();
    assert_eq!(
        bad(amqp::answer(&frame(&close))),
        "it closes the connection: 320 shutdown"
    );
    let mut without_end = start();
    *without_end.last_mut().unwrap() = 0;
    let mut too_long = start();
    too_long[3] = 0x7f;
    for strange in [
        b"HTTP/1.1 400".to_vec(),
        b"\x01\0\x01".to_vec(),
        without_end,
        too_long,
        frame(&[0, 10, 0, 10, 0, 9]),
        frame(&[0, 20, 0, 10]),
    ] {
        assert_eq!(bad(amqp::answer(&strange)), "it does not speak AMQP");
    }
}

#[test]
fn a_vault_is_told_by_what_it_says_of_itself() {
    let [health, seal, init] = vault::PATHS;
    let open = br#"{"initialized":true,"sealed":false,"standby":false}"#;
    assert_eq!(vault::answer(health, 200, open), Some(GOOD));
    let standby = Answer::Good("standby", b"");
    assert_eq!(vault::answer(health, 429, open), Some(standby));
    assert!(matches!(
        vault::answer(health, 473, open),
        Some(Answer::Good(..))
    ));
    assert!(bad(vault::answer(health, 474, open).unwrap()).contains("active"));
    let sealed = br#"{"initialized":true,"sealed":true}"#;
    assert!(bad(vault::answer(health, 503, sealed).unwrap()).starts_with("sealed"));
    let new = br#"{"initialized":false,"sealed":true}"#;
    let plain = b"Client sent an HTTP request to an HTTPS server.\n";
    assert!(bad(vault::answer(health, 400, plain).unwrap()).contains("`tls:"));
    assert!(bad(vault::answer(health, 501, new).unwrap()).starts_with("not initialised"));
    // A server that does not know the path is asked for another.
    for (status, body) in [
        (404, &b""[..]),
        (503, b"<html>"),
        (200, b"[]"),
        (200, b"{\"sealed\":1}"),
    ] {
        assert_eq!(vault::answer(health, status, body), None);
    }
    assert_eq!(
        vault::answer(seal, 200, br#"{"sealed":false,"t":1}"#),
        Some(GOOD)
    );
    assert!(bad(vault::answer(seal, 200, br#"{"sealed":true}"#).unwrap()).starts_with("sealed"));
    assert_eq!(vault::answer(init, 200, br#"{"initialized":true}"#), None);
    assert!(vault::answer(init, 200, br#"{"initialized":false}"#).is_some());
}

/// Bytes that begin as an answer does, and any others.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let any = prop::collection::vec(any::<u8>(), 0..200);
    let begun = prop_oneof![
        Just(Vec::new()),
        Just(message(b'E', b"C28000\0Mno\0\0")),
        Just(message(b'R', &[0, 0, 0, 10])),
        Just(b"E\0\0".to_vec()),
        Just(start()),
        Just(b"\x01\0\0\0\0".to_vec()),
        Just(b"AMQP".to_vec()),
        Just(br#"{"sealed":"#.to_vec()),
    ];
    (begun, any, 0usize..300).prop_map(|(begun, any, end)| {
        let mut all = [begun, any].concat();
        all.truncate(end);
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic_and_what_was_decided_stays(bytes in bytes(), more in prop::collection::vec(any::<u8>(), 0..50)) {
        for answer in [postgres::answer, amqp::answer] {
            let first = answer(&bytes);
            if first != Answer::More {
                prop_assert_eq!(answer(&[&bytes[..], &more].concat()), first);
            }
        }
        for path in vault::PATHS {
            let _ = vault::answer(path, 200, &bytes);
        }
    }
}
