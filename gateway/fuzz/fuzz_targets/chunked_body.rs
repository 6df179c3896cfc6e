//! Chunked bodies: the first byte says how the others are cut, the rest is what stands after the head.
//!
//! Promises: nothing panics, a body ends at the same byte however it is cut and where a plain reading of RFC 9112
//! section 7.1 ends it, and written again it is read as the same.
#![no_main]

use bytes::BytesMut;
use gateway_fuzz::http1::body::{Decoder, Piece};
use gateway_fuzz::http1::head::{BadHead, Limits};
use gateway_fuzz::http1::write;
use gateway_fuzz::message::{BodyKind, Fields};
use gateway_fuzz::reading::{LIMITS, Lines, lines};
use libfuzzer_sys::fuzz_target;

/// Data, trailers and bytes left over, or `None` where the body has not ended.
type Read = Result<Option<(Vec<u8>, Lines, usize)>, BadHead>;

fuzz_target!(|data: &[u8]| {
    let Some((step, wire)) = data.split_first() else {
        return;
    };
    let whole = read(wire, wire.len(), LIMITS);
    let cut = read(wire, usize::from(*step), LIMITS);
    assert_eq!(whole.is_err(), cut.is_err(), "refused only one way");
    let (Ok(whole), Ok(cut)) = (whole, cut) else {
        return;
    };
    assert_eq!(whole, cut);
    let Some((body, trailers, left)) = whole else {
        return;
    };
    assert_eq!(plain(wire), Some((body.clone(), left)));
    let again = written(&body, &trailers);
    // There may be a space after each colon that was not there before.
    let mut limits = LIMITS;
    limits.head_bytes *= 2;
    assert_eq!(
        read(&again, again.len(), limits),
        Ok(Some((body, trailers, 0)))
    );
});

fn read(wire: &[u8], step: usize, limits: Limits) -> Read {
    let mut decoder = Decoder::new(BodyKind::Open, limits);
    let (mut buf, mut body, mut rest) = (BytesMut::new(), Vec::new(), wire);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(step.clamp(1, rest.len()));
        rest = after;
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf)? {
                Piece::More => break,
                Piece::Data(more) => {
                    assert!(!more.is_empty(), "an empty piece");
                    body.extend_from_slice(&more);
                }
                Piece::End(trailers) => {
                    let trailers = trailers.map_or_else(Vec::new, |t| lines(&Fields::Http1(t)));
                    return Ok(Some((body, trailers, buf.len() + rest.len())));
                }
            }
        }
    }
    Ok(None)
}

/// Data and what is left over, in the plainest words.
fn plain(mut wire: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    loop {
        let (line, rest) = line(wire)?;
        let size = line.split(|c| *c == b';').next()?.trim_ascii_end();
        assert!(!size.is_empty() && size.iter().all(u8::is_ascii_hexdigit));
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        wire = rest;
        if size == 0 {
            break;
        }
        body.extend_from_slice(wire.get(..size)?);
        wire = wire.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let (line, rest) = line(wire)?;
        wire = rest;
        if line.is_empty() {
            return Some((body, wire.len()));
        }
    }
}

fn line(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = wire.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&wire[..end], &wire[end + 2..]))
}

fn written(body: &[u8], trailers: &Lines) -> Vec<u8> {
    let mut out = BytesMut::new();
    for chunk in body.chunks(7) {
        write::chunk_size(&mut out, chunk.len());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    write::chunk_size(&mut out, 0);
    for (name, value) in trailers {
        write::field(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    out.to_vec()
}
