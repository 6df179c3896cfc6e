//! Paths and hosts: what stands up to the first line feed is a host, the rest a path.
//!
//! Promises: nothing panics, a normal form stands still, no dot segment or empty segment is left in it, what is sent
//! on is matched the same, and a denied word stays denied whatever is done to the path.
#![no_main]

use gateway_fuzz::route::{host, path};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (authority, target) = match data.iter().position(|c| *c == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (&b""[..], data),
    };
    check_host(authority);
    // A query is cut off before.
    check_path(target.split(|c| *c == b'?').next().unwrap_or(target));
});

fn check_host(authority: &[u8]) {
    let Ok(first) = host::parse(authority) else {
        return;
    };
    assert!(
        !first
            .name
            .bytes()
            .any(|b| b.is_ascii_uppercase() || b <= b' ')
    );
    let again = host::parse(first.name.as_bytes()).expect("a name that was read is a host");
    assert_eq!((&again.name, again.port), (&first.name, None));
}

fn check_path(bytes: &[u8]) {
    let Ok(first) = path::normalise(bytes) else {
        return;
    };
    let matched = first.matched();
    assert!(matched.starts_with('/') && matched.is_ascii() && !matched.contains('\\'));
    assert!(matched.bytes().all(|b| b >= b' ' && b != 0x7f));
    let (before, last) = matched[1..]
        .rsplit_once('/')
        .unwrap_or(("/", &matched[1..]));
    assert!(before == "/" || before.split('/').all(|s| !matches!(s, "" | "." | "..")));
    assert!(!matches!(last, "." | ".."));

    let sent = first.forward().unwrap_or(bytes);
    let again = path::normalise(sent).expect("what is sent on is a path");
    assert_eq!(again.forward(), None);
    assert_eq!(again.matched(), matched);

    let words = ["metrics".to_owned(), "status".to_owned()];
    assert_eq!(first.denied(&words), again.denied(&words));
    // The plainest spelling of the rule; there may be more that is denied, never less.
    let canonical = path::canonical(bytes).expect("what has a normal form has a canonical one");
    let again = path::normalise(canonical.as_bytes()).expect("the canonical form is a path");
    assert_eq!((again.matched(), again.forward()), (matched, None));
    assert_eq!(path::canonical(canonical.as_bytes()).as_deref(), Ok(&*canonical));
    let mut ends = matched[1..].trim_end_matches('/').split('/');
    let (front, back) = (ends.next(), ends.next_back());
    if [front, back]
        .iter()
        .flatten()
        .any(|s| words.iter().any(|w| s.eq_ignore_ascii_case(w)))
    {
        assert!(first.denied(&words), "{matched}");
    }
    for prefix in ["/", "/a", "/a/b"] {
        let below = match prefix {
            "/" => true,
            _ => matched
                .strip_prefix(prefix)
                .is_some_and(|r| r.is_empty() || r.starts_with('/')),
        };
        if below {
            let stripped = match path::below(sent, prefix) {
                b"" => b"/",
                rest => rest,
            };
            assert!(stripped.starts_with(b"/"));
            let rest = path::normalise(stripped).expect("what is left is a path");
            let want = matched
                .strip_prefix(prefix.trim_end_matches('/'))
                .unwrap_or(matched);
            assert_eq!(rest.matched(), if want.is_empty() { "/" } else { want });
        }
    }
}
