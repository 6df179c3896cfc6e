//! What do HTTP/2 frames look like when no library writes them? For what a library refuses to send.
//!
//! Field blocks are literals without indexing and without Huffman coding (RFC 7541 section 6.2.2).

use crate::raw::Raw;

/// What a client sends first: the preface and empty settings.
pub fn hello() -> Vec<u8> {
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, b""),
    ]
    .concat()
}

/// Frame types (RFC 9113 section 6).
pub const DATA: u8 = 0;
/// HEADERS.
pub const HEADERS: u8 = 1;
/// RST_STREAM.
pub const RST_STREAM: u8 = 3;
/// SETTINGS.
pub const SETTINGS: u8 = 4;
/// GOAWAY.
pub const GOAWAY: u8 = 7;
/// Flag of DATA and HEADERS; on SETTINGS the same bit means ACK.
pub const END_STREAM: u8 = 1;
/// Flag of HEADERS.
pub const END_HEADERS: u8 = 4;

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a test's frame is short")
        .to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A field block; names and values are shorter than 127 bytes.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "a short name or value");
            bytes.push(text.len() as u8);
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// A frame as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream, 0 for the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// The next frame.
pub async fn next(raw: &mut Raw) -> Frame {
    let head = raw.exact(9).await;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
    Frame {
        kind: head[3],
        flags: head[4],
        stream,
        payload: raw.exact(length).await,
    }
}

/// How the peer answers a bad request on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The stream was reset.
    Reset,
    /// The connection was ended.
    Closed,
    /// A response came; its status where it is one of the static table, else 0.
    Answered(u16),
}

/// Reads until the fate of stream 1 is known.
pub async fn verdict(raw: Raw) -> Verdict {
    let mut wire = raw.into_wire();
    loop {
        let Ok(head) = crate::within("a frame or the end", wire.exact(9)).await else {
            return Verdict::Closed;
        };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Ok(payload) = crate::within("a payload", wire.exact(length)).await else {
            return Verdict::Closed;
        };
        match head[3] {
            RST_STREAM => return Verdict::Reset,
            GOAWAY => return Verdict::Closed,
            HEADERS => return Verdict::Answered(static_status(&payload)),
            _ => {}
        }
    }
}

/// Statuses that stand in the static table (RFC 7541 appendix A), or as a literal with indexed name.
fn static_status(block: &[u8]) -> u16 {
    // A dynamic table size update may come first.
    let block = if block.first().is_some_and(|b| b & 0xe0 == 0x20) {
        &block[1..]
    } else {
        block
    };
    match block {
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8a, ..] => 206,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        _ => 0,
    }
}
