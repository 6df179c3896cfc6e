//! Does every failure have an answer that clients of the fleet can live with?

use std::collections::HashSet;

use super::*;

/// Every failure. A new one fails to compile here until it is in the list.
fn all() -> Vec<Failure> {
    fn listed(failure: Failure) -> Failure {
        match failure {
            Failure::BadHead(_) | Failure::BadPath | Failure::BadHost | Failure::Denied(_) => {}
            Failure::NoRoute
            | Failure::BodyTooLarge
            | Failure::BadBody
            | Failure::ClientTimeout => {}
            Failure::ClientGone | Failure::NoWorker | Failure::Busy | Failure::Connect => {}
            Failure::WorkerLost | Failure::BadAnswer | Failure::WorkerTimeout => {}
            Failure::NotImplemented | Failure::Stopping => {}
            Failure::Network | Failure::RateLimited(_) | Failure::RouteFull => {}
            Failure::Intercepted { .. } => {}
            Failure::NoFile | Failure::NoMethod | Failure::FileBroken => {}
            Failure::Maintenance | Failure::BuffersFull | Failure::MemoryFull => {}
        }
        failure
    }
    [
        Failure::BadHead(BadHead::Malformed("x")),
        Failure::BadHead(BadHead::TooLarge),
        Failure::BadHead(BadHead::TargetTooLong),
        Failure::BadHead(BadHead::Version),
        Failure::BadHead(BadHead::Coding),
        Failure::BadHead(BadHead::Method),
        Failure::BadPath,
        Failure::BadHost,
        Failure::Denied(403),
        Failure::Network,
        Failure::RateLimited(7),
        Failure::RouteFull,
        Failure::Maintenance,
        Failure::BuffersFull,
        Failure::MemoryFull,
        Failure::NoRoute,
        Failure::BodyTooLarge,
        Failure::BadBody,
        Failure::ClientTimeout,
        Failure::ClientGone,
        Failure::NoWorker,
        Failure::Busy,
        Failure::Connect,
        Failure::WorkerLost,
        Failure::BadAnswer,
        Failure::WorkerTimeout,
        Failure::NoFile,
        Failure::NoMethod,
        Failure::FileBroken,
        Failure::Intercepted {
            status: 500,
            retry_after: None,
        },
        Failure::NotImplemented,
        Failure::Stopping,
    ]
    .map(listed)
    .to_vec()
}

/// Agents of the fleet take a 404 for an old server and change their ways.
#[test]
fn no_failure_but_a_missing_file_answers_404() {
    for failure in all() {
        let status = failure.answer().status;
        assert!(
            (status != 404 || failure == Failure::NoFile) && (400..600).contains(&status),
            "{failure:?}: {status}"
        );
    }
}

#[test]
fn each_failure_has_its_status() {
    for (failure, status) in [
        (Failure::BadHead(BadHead::Malformed("x")), 400),
        (Failure::BadHead(BadHead::TooLarge), 431),
        (Failure::BadHead(BadHead::TargetTooLong), 414),
        (Failure::BadHead(BadHead::Version), 505),
        (Failure::BadHead(BadHead::Coding), 501),
        (Failure::BadHead(BadHead::Method), 405),
        (Failure::BadPath, 400),
        (Failure::BadHost, 400),
        (Failure::Denied(410), 410),
        (Failure::Network, 403),
        (Failure::RateLimited(7), 429),
        (Failure::RouteFull, 503),
        (Failure::NoRoute, 503),
        (Failure::BodyTooLarge, 413),
        (Failure::ClientTimeout, 408),
        (Failure::NoWorker, 503),
        (Failure::Busy, 503),
        (Failure::Connect, 503),
        (Failure::WorkerLost, 502),
        (Failure::BadAnswer, 502),
        (Failure::WorkerTimeout, 504),
    ] {
        assert_eq!(failure.answer().status, status, "{failure:?}");
    }
}

#[test]
fn a_503_and_a_429_say_when_to_come_again_and_nothing_else_does() {
    for failure in all() {
        let answer = failure.answer();
        assert_eq!(
            answer.retry_after.is_some(),
            matches!(answer.status, 503 | 429),
            "{failure:?}"
        );
        assert!(
            answer.retry_after.is_none_or(|seconds| seconds > 0),
            "{failure:?}"
        );
    }
}

#[test]
fn every_failure_has_a_word_of_its_own() {
    let mut words = HashSet::new();
    for failure in all() {
        let word = failure.word();
        assert!(
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{word}"
        );
        let first_of_its_kind = words.insert(word);
        // Who may not is denied, whatever says so.
        let kind_is_shared = matches!(failure, Failure::BadHead(_) | Failure::Network);
        assert!(
            first_of_its_kind || kind_is_shared,
            "{word} is the word of two failures"
        );
    }
}

#[test]
fn the_text_for_clients_names_no_address_and_no_path() {
    for failure in all() {
        let text = failure.answer().text;
        assert!(!text.is_empty() && text.len() < 80, "{failure:?}");
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_lowercase() || b" '".contains(&b)),
            "{text:?}"
        );
    }
}

/// Anything else would switch some fleets' agents off for good; one that asks too often must not ask again at once.
#[test]
fn on_grpc_everything_is_unavailable_but_asking_too_often() {
    for failure in all().into_iter().chain([Failure::Denied(429)]) {
        let code = match failure {
            Failure::RateLimited(_) | Failure::BuffersFull => "8",
            _ => "14",
        };
        assert_eq!(failure.answer().grpc.code(), code, "{failure:?}");
    }
    assert_eq!(Failure::RateLimited(7).answer().retry_after, Some(7));
}

/// After these nobody can say where the next request would begin.
#[test]
fn a_connection_whose_bytes_are_in_doubt_is_closed() {
    for failure in all() {
        let in_doubt = matches!(
            failure,
            Failure::BadHead(_)
                | Failure::BadBody
                | Failure::BodyTooLarge
                | Failure::ClientTimeout
                | Failure::ClientGone
        );
        assert!(!(in_doubt && failure.keeps_connection()), "{failure:?}");
    }
    for failure in [
        Failure::Denied(403),
        Failure::Network,
        Failure::RateLimited(7),
        Failure::RouteFull,
        Failure::NoRoute,
        Failure::NoWorker,
        Failure::WorkerTimeout,
    ] {
        assert!(failure.keeps_connection(), "{failure:?}");
    }
}

/// The page is what the end-to-end tests are compared with: each word in it has one of its own there.
#[test]
fn every_word_is_documented() {
    let page = include_str!("../../../../docs/access-log.md");
    let table = page.split("### The words of `end`").nth(1);
    let table = table.and_then(|rest| rest.split("\n## ").next());
    let table = table.expect("docs/access-log.md has the table of words");
    for failure in all() {
        let word = failure.word();
        assert!(
            table.contains(&format!("`{word}`")),
            "docs/access-log.md does not tell of `{word}`"
        );
    }
}
