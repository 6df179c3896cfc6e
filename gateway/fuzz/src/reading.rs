//! What do two ways of reading the same bytes have in common? Helpers of the targets.

use bytes::BytesMut;

use crate::http1::body::{Decoder, Piece};
use crate::http1::head::{BadHead, Limits};
use crate::message::{BodyKind, Fields};

/// Small, so that inputs of a few hundred bytes reach them.
pub const LIMITS: Limits = Limits {
    head_bytes: 512,
    target_bytes: 96,
    fields: 12,
};

/// Names and values in their order.
pub type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// The fields of a head or a trailer section.
pub fn lines(fields: &Fields) -> Lines {
    let mut lines = Vec::new();
    fields.for_each(|_, name, value| lines.push((name.to_vec(), value.to_vec())));
    lines
}

/// What was read from a connection, and whether it was refused in the end.
#[derive(Debug, Default, PartialEq)]
pub struct Seen {
    /// Messages that were read whole: first line, fields, body, trailers.
    pub messages: Vec<(String, Lines, Vec<u8>, Lines)>,
    /// The bytes were refused.
    pub refused: bool,
}

/// A parser of heads: the first line in words, the fields, and what follows.
pub type Head = dyn Fn(&mut BytesMut) -> Result<Option<(String, Lines, BodyKind)>, BadHead>;

/// Reads messages until the bytes end or are refused; they come in pieces of `step` bytes.
pub fn read(wire: &[u8], step: usize, head: &Head) -> Seen {
    let mut seen = Seen::default();
    let mut buf = BytesMut::new();
    let mut body = None;
    for piece in wire.chunks(step.max(1)) {
        buf.extend_from_slice(piece);
        if feed(&mut buf, &mut body, &mut seen, head).is_err() {
            seen.refused = true;
            break;
        }
    }
    seen
}

type Begun = Option<(String, Lines, Vec<u8>, Decoder)>;

fn feed(buf: &mut BytesMut, body: &mut Begun, seen: &mut Seen, head: &Head) -> Result<(), BadHead> {
    loop {
        if body.is_none() {
            let before = buf.len();
            let Some((line, fields, kind)) = head(buf)? else {
                return Ok(());
            };
            assert!(buf.len() < before, "a head of no bytes");
            *body = Some((line, fields, Vec::new(), Decoder::new(kind, LIMITS)));
        }
        let Some((_, _, data, decoder)) = body else {
            return Ok(());
        };
        match decoder.decode(buf)? {
            Piece::More => return Ok(()),
            Piece::Data(more) => {
                assert!(!more.is_empty(), "an empty piece");
                data.extend_from_slice(&more);
            }
            Piece::End(trailers) => {
                assert!(decoder.is_done());
                let trailers = trailers.map_or_else(Vec::new, |t| lines(&Fields::Http1(t)));
                let (line, fields, data, _) = body.take().expect("a body was begun");
                seen.messages.push((line, fields, data, trailers));
            }
        }
    }
}

/// Reads the bytes at once and in pieces, and wants the same messages and the same end of it.
pub fn the_same_in_pieces(wire: &[u8], step: usize, head: &Head) {
    assert_eq!(read(wire, wire.len(), head), read(wire, step, head));
}
