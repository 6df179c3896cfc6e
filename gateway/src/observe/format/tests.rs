use std::net::SocketAddr;

use super::super::record::Counts;
use super::super::time::Moment;
use super::*;

fn record() -> Record<'static> {
    let client = SocketAddr::from(([10, 0, 1, 2], 33317));
    Record {
        protocol: "HTTP/1.1",
        method: "GET",
        host: "example.com",
        path: "/a/b",
        status: 200,
        route: "/ -> app",
        pool: "app",
        worker: Some(SocketAddr::from(([127, 0, 0, 1], 8080))),
        request_id: "id",
        bytes_out: 2750,
        duration_ms: 109.9,
        wait_ms: 10.0,
        hold_ms: 7.5,
        queue_ms: 2.5,
        connect_ms: 30.0,
        first_byte_ms: Some(109.0),
        retries: 1,
        counts: Counts {
            process: 7,
            listener: 3,
            pool: 12,
            worker: 2,
            ahead: 4,
            moved: true,
        },
        ..Record::new(Moment(1_795_456_799_999), "https", client)
    }
}

fn line(format: Format, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    format.write(&mut out, record);
    String::from_utf8(out).unwrap()
}

#[test]
fn json_tells_all_and_leaves_out_what_there_is_not() {
    let text = line(Format::Json, &record());
    assert!(
        text.starts_with(
            r#"{"time":"2026-11-23T17:59:59.999Z","listener":"https","client":"10.0.1.2","protocol""#
        ),
        "{text}"
    );
    assert!(
        text.contains(
            r#""wait_ms":10.0,"hold_ms":7.5,"queue_ms":2.5,"connect_ms":30.0,"first_byte_ms":109.0"#
        ),
        "{text}"
    );
    for absent in [
        "tls",
        "user_agent",
        "grpc_status",
        "left_out",
        "counts",
        "port",
    ] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
}

#[test]
fn haproxy_s_format_is_read_by_its_tools() {
    assert_eq!(
        line(Format::Haproxy, &record()),
        "10.0.1.2:33317 [23/Nov/2026:17:59:59.999] https app/127.0.0.1:8080 0/10/30/69/109 200 2750 - - ---- \
         7/3/12/2/+1 0/4 \"GET /a/b HTTP/1.1\""
    );
    let refused = Record {
        tls: "TLSv1.3",
        pool: "",
        worker: None,
        first_byte_ms: None,
        wait_ms: 0.0,
        status: 403,
        bytes_out: 0,
        end: "denied",
        retries: 0,
        counts: Counts {
            process: 7,
            listener: 3,
            ..Counts::default()
        },
        ..record()
    };
    assert_eq!(
        line(Format::Haproxy, &refused),
        "10.0.1.2:33317 [23/Nov/2026:17:59:59.999] https~ https/<NOSRV> 0/-1/-1/-1/109 403 0 - - PR-- \
         7/3/0/0/0 0/0 \"GET /a/b HTTP/1.1\""
    );
    let bad = Record {
        method: "",
        path: "",
        status: 0,
        end: "client_timeout",
        ..refused
    };
    let text = line(Format::Haproxy, &bad);
    assert!(text.contains(" -1 0 - - cR-- "), "{text}");
    assert!(text.ends_with(" \"<BADREQ>\""), "{text}");
}

#[test]
fn who_ended_it_is_told_in_haproxy_s_letters() {
    for (end, answered, wait, letters) in [
        ("ok", true, 0.0, "----"),
        ("client_gone", true, 0.0, "CD--"),
        ("client_gone", false, 0.0, "CH--"),
        ("worker_lost", false, 0.0, "SH--"),
        ("worker_lost", true, 0.0, "SD--"),
        ("worker_timeout", false, 0.0, "sH--"),
        ("no_worker", false, 9.0, "sQ--"),
        ("no_worker", false, 0.0, "SC--"),
        ("connect", false, 0.0, "SC--"),
        ("bad_answer", false, 0.0, "PH--"),
    ] {
        let record = Record {
            end,
            first_byte_ms: answered.then_some(20.0),
            wait_ms: wait,
            ..record()
        };
        let text = line(Format::Haproxy, &record);
        assert!(text.contains(&format!(" - - {letters} ")), "{end}: {text}");
    }
}

#[test]
fn the_combined_format_has_agent_and_referer() {
    let record = Record {
        user_agent: Some("curl/8 \"x\""),
        referer: Some("https://a/b"),
        ..record()
    };
    assert_eq!(
        line(Format::Combined, &record),
        "10.0.1.2 - - [23/Nov/2026:17:59:59 +0000] \"GET /a/b HTTP/1.1\" 200 2750 \"https://a/b\" \"curl/8 \\x22x\\x22\""
    );
}

#[test]
fn nobody_writes_lines_of_his_own() {
    let record = Record {
        path: "/\n\"} x\r\\\u{7f}ü",
        user_agent: Some("a\nb\""),
        host: "h\n",
        ..record()
    };
    for format in [Format::Json, Format::Haproxy, Format::Combined] {
        let text = line(format, &record);
        assert!(!text.contains(['\n', '\r']), "{text}");
        if format != Format::Json {
            assert_eq!(text.matches('"').count() % 2, 0, "{text}");
            assert!(text.is_ascii(), "{text}");
        }
    }
}
