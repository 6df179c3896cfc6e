//! What are the bytes of HTTP/2 (RFC 9113)? As little of it as a load generator and an origin need.
//!
//! Frames are written into a buffer and read out of one; field blocks are made once and sent as they
//! are. Nothing here decodes a peer's table: of a response only the status and the bytes are known.

/// The client's first bytes.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's head.
pub const HEAD: usize = 9;
/// The window of a connection before anything was said.
pub const FIRST_WINDOW: i64 = 65_535;
/// Largest window there can be.
pub const WINDOW_MAX: u32 = 0x7fff_ffff;

/// Frame types.
pub mod kind {
    #![allow(missing_docs)]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
}

/// Flags of frames.
pub mod flag {
    #![allow(missing_docs)]
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 0x20;
}

/// Settings.
pub mod setting {
    #![allow(missing_docs)]
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
}

/// A whole frame in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'b> {
    /// One of [`kind`], or another.
    pub kind: u8,
    /// See [`flag`].
    pub flags: u8,
    /// 0 for the connection.
    pub stream: u32,
    /// What follows the head.
    pub payload: &'b [u8],
}

impl<'b> Frame<'b> {
    /// The first frame of the buffer, if all of it is there.
    pub fn read(buffer: &'b [u8]) -> Option<Frame<'b>> {
        let (head, rest) = buffer.split_at_checked(HEAD)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & WINDOW_MAX,
            payload: rest.get(..length)?,
        })
    }

    /// Bytes of it in the buffer.
    pub fn size(&self) -> usize {
        HEAD + self.payload.len()
    }

    /// Is this flag set?
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without padding and priority, of HEADERS and DATA.
    pub fn content(&self) -> &'b [u8] {
        let mut content = self.payload;
        if self.has(flag::PADDED)
            && let Some((padding, rest)) = content.split_first()
        {
            content = &rest[..rest.len().saturating_sub(usize::from(*padding))];
        }
        if self.kind == kind::HEADERS && self.has(flag::PRIORITY) {
            content = content.get(5..).unwrap_or_default();
        }
        content
    }

    /// The number of a WINDOW_UPDATE.
    pub fn increment(&self) -> i64 {
        match self.payload {
            [a, b, c, d] => i64::from(u32::from_be_bytes([*a, *b, *c, *d]) & WINDOW_MAX),
            _ => 0,
        }
    }
}

/// Appends a frame.
pub fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends SETTINGS.
pub fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let mut payload = Vec::with_capacity(settings.len() * 6);
    for (name, value) in settings {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    put(out, kind::SETTINGS, 0, 0, &payload);
}

/// Appends a WINDOW_UPDATE.
pub fn put_window(out: &mut Vec<u8>, stream: u32, increment: u32) {
    put(
        out,
        kind::WINDOW_UPDATE,
        0,
        stream,
        &increment.to_be_bytes(),
    );
}

/// Field blocks (RFC 7541) of literals that are never Huffman coded.
#[derive(Clone, Debug, Default)]
pub struct Block(Vec<u8>);

impl Block {
    /// Empty.
    pub fn new() -> Block {
        Block::default()
    }

    /// A field by its index alone.
    pub fn indexed(mut self, index: u8) -> Block {
        self.0.push(0x80 | index);
        self
    }

    /// A value under an indexed name, which the peer's table learns.
    pub fn learned(self, name: u8, value: &str) -> Block {
        self.literal(0x40, 6, name, value)
    }

    /// A value under an indexed name, which the peer's table does not learn.
    pub fn passing(self, name: u8, value: &str) -> Block {
        self.literal(0, 4, name, value)
    }

    /// A name and value that the peer's table learns.
    pub fn learned_name(mut self, name: &str, value: &str) -> Block {
        self.0.push(0x40);
        self.text(name).text(value)
    }

    /// A name and value that the peer's table does not learn.
    pub fn passing_name(mut self, name: &str, value: &str) -> Block {
        self.0.push(0);
        self.text(name).text(value)
    }

    /// The bytes.
    pub fn bytes(self) -> Vec<u8> {
        self.0
    }

    fn literal(mut self, mark: u8, bits: u8, name: u8, value: &str) -> Block {
        self.number(mark, bits, usize::from(name));
        self.text(value)
    }

    fn text(mut self, text: &str) -> Block {
        self.number(0, 7, text.len());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// An integer with a prefix of so many bits (RFC 7541 section 5.1).
    fn number(&mut self, mark: u8, bits: u8, value: usize) {
        let limit = (1_usize << bits) - 1;
        if value < limit {
            self.0.push(mark | value as u8);
            return;
        }
        self.0.push(mark | limit as u8);
        let mut rest = value - limit;
        while rest >= 128 {
            self.0.push(0x80 | (rest % 128) as u8);
            rest /= 128;
        }
        self.0.push(rest as u8);
    }
}

/// The status at the start of a response's field block; `None` where the encoder did something that
/// this cannot read (a table entry of its own).
pub fn status_of(block: &[u8]) -> Option<u16> {
    let mut block = block;
    // The peer may change the size of its table first (RFC 7541 section 6.3).
    while let Some((first, rest)) = block.split_first()
        && first & 0xe0 == 0x20
    {
        let mut rest = rest;
        if first & 0x1f == 0x1f {
            let end = rest.iter().position(|byte| byte & 0x80 == 0)?;
            rest = &rest[end + 1..];
        }
        block = rest;
    }
    match block {
        [0x88, ..] => Some(200),
        [0x89, ..] => Some(204),
        [0x8a, ..] => Some(206),
        [0x8b, ..] => Some(304),
        [0x8c, ..] => Some(400),
        [0x8d, ..] => Some(404),
        [0x8e, ..] => Some(500),
        [0x08 | 0x48 | 0x18, 3, digits @ ..] => {
            std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut out = Vec::new();
        put_settings(&mut out, &[(setting::ENABLE_PUSH, 0)]);
        put_window(&mut out, 0, 70_000);
        put(&mut out, kind::DATA, flag::END_STREAM, 5, b"abc");
        let settings = Frame::read(&out).unwrap();
        assert_eq!(
            (settings.kind, settings.payload),
            (kind::SETTINGS, &[0, 2, 0, 0, 0, 0][..])
        );
        let rest = &out[settings.size()..];
        let window = Frame::read(rest).unwrap();
        assert_eq!(window.increment(), 70_000);
        let data = Frame::read(&rest[window.size()..]).unwrap();
        assert_eq!((data.stream, data.content()), (5, &b"abc"[..]));
        assert!(data.has(flag::END_STREAM));
        assert_eq!(
            Frame::read(&out[out.len() - 11..]),
            None,
            "not all of it is there"
        );
    }

    #[test]
    fn padding_and_priority_are_no_content() {
        let mut out = Vec::new();
        let flags = flag::PADDED | flag::PRIORITY;
        put(
            &mut out,
            kind::HEADERS,
            flags,
            1,
            &[2, 0, 0, 0, 0, 9, 0x88, 7, 7],
        );
        assert_eq!(Frame::read(&out).unwrap().content(), [0x88]);
    }

    #[test]
    fn field_blocks_are_as_the_rfc_writes_them() {
        // RFC 7541, C.2.1 and C.1.2.
        let block = Block::new()
            .learned_name("custom-key", "custom-header")
            .bytes();
        assert_eq!(block, b"\x40\x0acustom-key\x0dcustom-header");
        let long = "x".repeat(1337);
        let block = Block::new().passing(4, &long).bytes();
        assert_eq!(block[..4], [0x04, 0x7f, 0xba, 0x09]);
        assert_eq!(Block::new().indexed(2).bytes(), [0x82]);
    }

    #[test]
    fn the_status_is_read_also_behind_a_change_of_the_table() {
        assert_eq!(status_of(&[0x88, 1]), Some(200));
        assert_eq!(status_of(&[0x20, 0x3f, 0xe1, 0x1f, 0x88]), Some(200));
        assert_eq!(status_of(b"\x48\x03503"), Some(503));
        assert_eq!(status_of(b"\x08\x03429"), Some(429));
        assert_eq!(status_of(&[0xbe]), None);
        assert_eq!(status_of(&[]), None);
    }
}
