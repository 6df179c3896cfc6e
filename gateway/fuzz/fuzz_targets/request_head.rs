//! Requests: the first byte says how the others are cut, the rest is what a client sends.
//!
//! Promises: nothing panics, a head has one reading however it is cut, and written again it is read as the same.
#![no_main]

use bytes::BytesMut;
use gateway_fuzz::http1::head::{ParsedRequest, parse_request, valid_authority};
use gateway_fuzz::http1::write;
use gateway_fuzz::message::{BodyKind, Version};
use gateway_fuzz::reading::{LIMITS, lines, the_same_in_pieces};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((step, wire)) = data.split_first() else {
        return;
    };
    the_same_in_pieces(wire, usize::from(*step), &|buf| {
        Ok(parse_request(buf, &LIMITS)?.map(|parsed| {
            check(&parsed);
            let request = &parsed.request;
            let line = format!(
                "{} {:?} {:?}",
                request.method, request.target, request.version
            );
            (line, lines(&request.fields), request.body)
        }))
    });
});

fn check(parsed: &ParsedRequest) {
    let first = &parsed.request;
    let target = &first.target[..];
    assert!(target == b"*" || target.starts_with(b"/"));
    assert!(target.iter().all(|c| c.is_ascii_graphic() && *c != b'#'));
    assert!(first.body != BodyKind::UntilClose);
    if first.version == Version::Http10 {
        assert!(first.body != BodyKind::Open && first.upgrade.is_none());
        return;
    }
    assert!(target == b"*" || valid_authority(&first.authority));
    let mut again = BytesMut::new();
    write::request_line(&mut again, first.method.as_str().as_bytes(), target);
    for (name, value) in lines(&first.fields) {
        write::field(&mut again, &name, &value);
    }
    again.extend_from_slice(b"\r\n");
    // Blanks and the target's form may have gone, but a space after each colon may have come.
    let mut limits = LIMITS;
    limits.head_bytes *= 2;
    let second = parse_request(&mut again, &limits)
        .expect("what was accepted is accepted again")
        .expect("the head is whole");
    assert!(again.is_empty());
    assert_eq!(parsed.keep_alive, second.keep_alive);
    let second = second.request;
    assert_eq!(first.method, second.method);
    assert_eq!(first.target, second.target);
    assert!(first.authority.eq_ignore_ascii_case(&second.authority));
    assert_eq!(first.body, second.body);
    assert_eq!(first.upgrade, second.upgrade);
    assert_eq!(first.expects_continue, second.expects_continue);
    assert_eq!(lines(&first.fields), lines(&second.fields));
}
