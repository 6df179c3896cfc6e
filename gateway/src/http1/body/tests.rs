//! Does a body end where its sender ended it, and nowhere else?

use proptest::prelude::*;

use super::*;
use crate::http1::write;
use crate::message::Fields;

const LIMITS: Limits = Limits {
    head_bytes: 256,
    target_bytes: 64,
    fields: 8,
};

/// Data, number of trailers and bytes left over; `None` while the body has not ended.
type Read = Result<Option<(Vec<u8>, usize, usize)>, BadHead>;

fn read(kind: BodyKind, pieces: &[&[u8]]) -> Read {
    let mut decoder = Decoder::new(kind, LIMITS);
    let (mut buf, mut data) = (BytesMut::new(), Vec::new());
    for (at, piece) in pieces.iter().enumerate() {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf)? {
                Piece::Data(more) => {
                    assert!(!more.is_empty());
                    data.extend_from_slice(&more);
                }
                Piece::End(trailers) => {
                    assert!(decoder.is_done());
                    let after: usize = pieces[at + 1..].iter().map(|piece| piece.len()).sum();
                    let trailers = trailers.map_or(0, |fields| fields.spans.len());
                    return Ok(Some((data, trailers, buf.len() + after)));
                }
                Piece::More => break,
            }
        }
    }
    assert!(!decoder.is_done());
    Ok(None)
}

/// The same answer for the bytes at once and one by one.
fn chunked(wire: &[u8]) -> Read {
    let whole = read(BodyKind::Open, &[wire]);
    let one_by_one: Vec<&[u8]> = wire.chunks(1).collect();
    let cut = read(BodyKind::Open, &one_by_one);
    match (&whole, &cut) {
        (Ok(whole), Ok(cut)) => assert_eq!(whole, cut, "{wire:?}"),
        (Err(_), Err(_)) => {}
        _ => panic!("{wire:?}: at once {whole:?}, one by one {cut:?}"),
    }
    whole
}

#[test]
fn a_length_is_counted_to_the_byte() {
    for (kind, wire, want) in [
        (BodyKind::Empty, "next", Some(("", 4))),
        (BodyKind::Length(0), "next", Some(("", 4))),
        (BodyKind::Length(5), "hello", Some(("hello", 0))),
        (BodyKind::Length(5), "hello\r\n", Some(("hello", 2))),
        (BodyKind::Length(5), "hell", None),
        (BodyKind::UntilClose, "hello", None),
        (BodyKind::Length(u64::MAX), "hello", None),
    ] {
        let got = read(kind, &[wire.as_bytes()]).unwrap();
        let want = want.map(|(data, left)| (data.as_bytes().to_vec(), 0, left));
        assert_eq!(got, want, "{kind:?}");
    }
    let decoder = Decoder::new(BodyKind::UntilClose, LIMITS);
    assert!(decoder.ends_with_connection() && !decoder.is_done());
    assert!(!Decoder::new(BodyKind::Length(1), LIMITS).ends_with_connection());
}

#[test]
fn chunks_are_read_as_the_grammar_writes_them() {
    for (wire, data, trailers, left) in [
        ("0\r\n\r\n", "", 0, 0),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", 0, 0),
        ("5\r\nhello\r\n0\r\n\r\nGET /", "hello", 0, 5),
        ("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello", 0, 0),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0, 0),
        ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0, 0),
        ("0000000000000005\r\nhello\r\n0000\r\n\r\n", "hello", 0, 0),
        ("5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello", 0, 0),
        ("5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", "hello", 0, 0),
        ("5 ;\ta\r\nhello\r\n0\r\n\r\n", "hello", 0, 0),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", 0, 0),
        ("0\r\nx: y\r\n\r\n", "", 1, 0),
        ("1\r\nx\r\n0\r\nx: y\r\nz:\r\n\r\nnext", "x", 2, 4),
    ] {
        let got = chunked(wire.as_bytes()).unwrap();
        assert_eq!(
            got,
            Some((data.as_bytes().to_vec(), trailers, left)),
            "{wire:?}"
        );
    }
}

#[test]
fn what_is_no_chunk_is_refused() {
    for wire in [
        // Sizes.
        "\r\n\r\n",
        "5\r\nhello\r\n\r\n\r\n",
        ";a\r\n\r\n",
        " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "\t5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5h\r\nhello\r\n",
        "5,5\r\nhello\r\n",
        "g\r\n",
        "00000000000000005\r\nhello\r\n",
        "8000000000000000\r\n",
        "ffffffffffffffff\r\n",
        "10000000000000005\r\nhello\r\n",
        // Line ends.
        "5\nhello\r\n",
        "5\r\r\nhello\r\n",
        "5\rhello\r\n",
        "5;a\nhello\r\n",
        "5;a\r;b\r\nhello\r\n",
        "5;a\r\r\nhello\r\n",
        "5;a\0\r\nhello\r\n",
        "5;a\x7f\r\nhello\r\n",
        "0\n\r\n",
        "\n",
        // Ends of chunks.
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello \r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        // Trailer sections.
        "0\r\nx : y\r\n\r\n",
        "0\r\n x: y\r\n\r\n",
        "0\r\nx: y\n\r\n\r\n",
        "0\r\nx: y\r\n\nz: y\r\n\r\n",
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\nHost: b\r\n\r\n",
        "0\r\nnonsense\r\n\r\n",
        "0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let got = chunked(wire.as_bytes());
        assert!(got.is_err(), "{wire:?}: {got:?}");
    }
}

#[test]
fn what_may_still_become_a_chunk_is_waited_for() {
    let wire = "5;a=b\r\nhello\r\n000\r\nx: y\r\n\r\n";
    for cut in 0..wire.len() {
        assert_eq!(chunked(&wire.as_bytes()[..cut]).unwrap(), None, "{cut}");
    }
    // The largest size there is.
    assert_eq!(chunked(b"7fffffffffffffff\r\nx").unwrap(), None);
}

#[test]
fn chunk_lines_extensions_and_trailers_are_bounded() {
    let line = |bytes: usize| format!("1;{}\r\nx\r\n", "e".repeat(bytes - 4));
    assert_eq!(chunked(line(CHUNK_LINE_MAX).as_bytes()).unwrap(), None);
    assert!(chunked(line(CHUNK_LINE_MAX + 1).as_bytes()).is_err());
    assert!(chunked(&vec![b'e'; 2 * CHUNK_LINE_MAX]).is_err());

    let full = EXTENSIONS_MAX / (CHUNK_LINE_MAX - 3);
    assert_eq!(
        chunked(line(CHUNK_LINE_MAX).repeat(full).as_bytes()).unwrap(),
        None
    );
    assert!(chunked(line(CHUNK_LINE_MAX).repeat(full + 1).as_bytes()).is_err());

    let trailers = |bytes: usize| format!("0\r\nx: {}\r\n\r\n", "t".repeat(bytes - 7));
    assert!(chunked(trailers(LIMITS.head_bytes).as_bytes()).is_ok());
    assert_eq!(
        chunked(trailers(LIMITS.head_bytes + 1).as_bytes()).unwrap_err(),
        BadHead::TooLarge
    );
    // One that never ends.
    let endless = format!("0\r\nx: {}", "t".repeat(LIMITS.head_bytes));
    assert_eq!(chunked(endless.as_bytes()).unwrap_err(), BadHead::TooLarge);
}

#[test]
fn a_body_with_refused_trailers_is_not_done() {
    let mut decoder = Decoder::new(BodyKind::Open, LIMITS);
    let mut buf = BytesMut::from(&b"0\r\nHost: b\r\n\r\n"[..]);
    assert!(decoder.decode(&mut buf).is_err());
    assert!(!decoder.is_done());
}

/// The grammar of RFC 9112 section 7.1 in the plainest words: data and what is left over, of a whole body.
fn naive(mut wire: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut data = Vec::new();
    loop {
        let end = wire.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(&wire[..end]).ok()?;
        let size = line.split(';').next()?.trim_end_matches([' ', '\t']);
        let plain = !line.contains(|c: char| c.is_ascii_control() && c != '\t');
        if !plain || size.is_empty() || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        wire = &wire[end + 2..];
        if size == 0 {
            break;
        }
        data.extend_from_slice(wire.get(..size)?);
        wire = wire.get(size..)?.strip_prefix(b"\r\n")?;
    }
    while let Some(end) = wire.windows(2).position(|pair| pair == b"\r\n") {
        wire = &wire[end + 2..];
        if end == 0 {
            return Some((data, wire.len()));
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_decoded(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6),
        trailers in prop::collection::vec(("x-[a-z]{1,5}", "[!-~]{0,8}"), 0..3),
        left in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let mut wire = BytesMut::new();
        for chunk in &chunks {
            write::chunk_size(&mut wire, chunk.len());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        write::chunk_size(&mut wire, 0);
        for (name, value) in &trailers {
            write::field(&mut wire, name.as_bytes(), value.as_bytes());
        }
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(&left);
        prop_assert_eq!(chunked(&wire).unwrap(), Some((chunks.concat(), trailers.len(), left.len())));
    }

    #[test]
    fn whatever_ends_ends_where_a_plain_reading_ends(
        words in prop::collection::vec(prop::sample::select(vec![
            "0", "1", "5", "a", "F", "hello", "\r\n", "\r\n", "\r", "\n", ";", ";a=b", " ", "\t", "x: y", "5\r\nhello\r\n", "0\r\n\r\n", "0\r\n", "\0", "é",
        ]), 0..24),
    ) {
        let wire = words.concat();
        if let Ok(Some((data, _, left))) = chunked(wire.as_bytes()) {
            prop_assert_eq!(naive(wire.as_bytes()), Some((data, left)));
        }
    }

    #[test]
    fn trailers_that_are_read_can_be_written_again(section in "([a-zA-Z-]{1,9}:[ \t]{0,2}[!-~]{0,9}[ \t]{0,2}\r\n){1,6}") {
        let wire = format!("0\r\n{section}\r\n");
        let mut decoder = Decoder::new(BodyKind::Open, LIMITS);
        let Ok(Piece::End(Some(first))) = decoder.decode(&mut BytesMut::from(&wire[..])) else { return Ok(()) };
        let of = |fields: Http1Fields| {
            let mut all = Vec::new();
            Fields::Http1(fields).for_each(|_, name, value| all.push((name.to_vec(), value.to_vec())));
            all
        };
        let first = of(first);
        let mut again = BytesMut::from(&b"0\r\n"[..]);
        for (name, value) in &first {
            write::field(&mut again, name, value);
        }
        again.extend_from_slice(b"\r\n");
        let Ok(Piece::End(Some(second))) = Decoder::new(BodyKind::Open, LIMITS).decode(&mut again) else {
            return Err(TestCaseError::fail("what was written is refused"));
        };
        prop_assert_eq!(first, of(second));
    }
}
