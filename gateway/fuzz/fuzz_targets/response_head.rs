//! Responses: the first byte says how the others are cut and whether the request was a HEAD, the rest is what a
//! worker sends.
//!
//! Promises: nothing panics, a head has one reading however it is cut, and written again it is read as the same.
#![no_main]

use bytes::BytesMut;
use gateway_fuzz::http1::head::{ParsedResponse, parse_response};
use gateway_fuzz::http1::write;
use gateway_fuzz::message::BodyKind;
use gateway_fuzz::reading::{LIMITS, lines, the_same_in_pieces};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((how, wire)) = data.split_first() else {
        return;
    };
    let to_head = how & 1 == 1;
    the_same_in_pieces(wire, usize::from(how >> 1), &move |buf| {
        let http10 = buf.starts_with(b"HTTP/1.0");
        Ok(parse_response(buf, &LIMITS, to_head)?.map(|parsed| {
            if !http10 {
                check(&parsed, to_head);
            }
            let response = &parsed.response;
            (
                response.status.to_string(),
                lines(&response.fields),
                response.body,
            )
        }))
    });
});

fn check(first: &ParsedResponse, to_head: bool) {
    let response = &first.response;
    let status = response.status;
    assert!((100..1000).contains(&status));
    if to_head || status < 200 || status == 204 || status == 304 {
        assert_eq!(response.body, BodyKind::Empty);
    }
    assert!(!first.keep_alive || response.body != BodyKind::UntilClose);
    let mut again = BytesMut::new();
    write::status_line(&mut again, status);
    for (name, value) in lines(&response.fields) {
        write::field(&mut again, &name, &value);
    }
    again.extend_from_slice(b"\r\n");
    let mut limits = LIMITS;
    limits.head_bytes *= 2;
    let second = parse_response(&mut again, &limits, to_head)
        .expect("what was accepted is accepted again")
        .expect("the head is whole");
    assert!(again.is_empty());
    assert_eq!(first.keep_alive, second.keep_alive);
    assert_eq!(first.upgrade, second.upgrade);
    assert_eq!(status, second.response.status);
    assert_eq!(response.body, second.response.body);
    assert_eq!(lines(&response.fields), lines(&second.response.fields));
}
