//! Where does a body end? The decoder of HTTP/1 bodies.
//!
//! Promises: chunked coding is read exactly as RFC 9112 section 7.1 writes it (no bare LF, no space, sizes up to 16
//! digits, bounded extensions and trailers); data comes out without a copy. Does not: read sockets.

use bytes::{Buf, Bytes, BytesMut};

use super::head::{BadHead, Limits, parse_trailers};
use crate::message::{BodyKind, Http1Fields};

/// A chunk line with its extensions, bytes.
const CHUNK_LINE_MAX: usize = 4096;
/// All chunk extensions of a body, bytes: they carry nothing, so a flood of them is refused.
const EXTENSIONS_MAX: usize = 64 * 1024;

/// Reads one body.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    limits: Limits,
    extensions: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    ChunkLine,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    End,
}

/// A piece of a body.
#[derive(Debug)]
pub enum Piece {
    /// Data, never empty.
    Data(Bytes),
    /// The end, with trailers where there were some.
    End(Option<Http1Fields>),
    /// More must be read.
    More,
}

impl Decoder {
    /// A decoder for a body of that kind; `limits` bound the trailer section.
    pub fn new(kind: BodyKind, limits: Limits) -> Decoder {
        let state = match kind {
            BodyKind::Empty | BodyKind::Length(0) => State::End,
            BodyKind::Length(length) => State::Length(length),
            BodyKind::Open => State::ChunkLine,
            BodyKind::UntilClose => State::UntilClose,
        };
        Decoder {
            state,
            limits,
            extensions: 0,
        }
    }

    /// Whether the whole body was taken.
    pub fn is_done(&self) -> bool {
        self.state == State::End
    }

    /// Whether the connection's end is this body's end.
    pub fn ends_with_connection(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Bytes that follow as they are, up to the body's end; 0 where there is framing to be read.
    pub fn plain_left(&self) -> u64 {
        match self.state {
            State::Length(left) => left,
            _ => 0,
        }
    }

    /// `n` of [`Decoder::plain_left`] have passed without being looked at.
    pub fn pass(&mut self, n: u64) {
        if let State::Length(left) = self.state {
            self.state = match left.saturating_sub(n) {
                0 => State::End,
                left => State::Length(left),
            };
        }
    }

    /// Takes the next piece from the front of `buf`.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Piece, BadHead> {
        loop {
            match self.state {
                State::End => return Ok(Piece::End(None)),
                _ if buf.is_empty() => return Ok(Piece::More),
                State::UntilClose => return Ok(Piece::Data(buf.split().freeze())),
                State::Length(left) => {
                    let data = take(buf, left);
                    let left = left - data.len() as u64;
                    self.state = if left == 0 {
                        State::End
                    } else {
                        State::Length(left)
                    };
                    return Ok(Piece::Data(data));
                }
                State::Chunk(left) => {
                    let data = take(buf, left);
                    let left = left - data.len() as u64;
                    self.state = if left == 0 {
                        State::ChunkEnd
                    } else {
                        State::Chunk(left)
                    };
                    return Ok(Piece::Data(data));
                }
                State::ChunkEnd => match &buf[..] {
                    [b'\r', b'\n', ..] => {
                        buf.advance(2);
                        self.state = State::ChunkLine;
                    }
                    [b'\r'] => return Ok(Piece::More),
                    _ => return Err(BadHead::Malformed("chunk that does not end in CR LF")),
                },
                State::ChunkLine => match self.chunk_line(buf)? {
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Chunk(size),
                    None => return Ok(Piece::More),
                },
                State::Trailers => return self.trailers(buf),
            }
        }
    }

    /// `chunk-size [ chunk-ext ] CRLF`; `None` while incomplete.
    fn chunk_line(&mut self, buf: &mut BytesMut) -> Result<Option<u64>, BadHead> {
        let Some(end) = memchr::memchr(b'\n', &buf[..buf.len().min(CHUNK_LINE_MAX)]) else {
            check_chunk_start(buf)?;
            return if buf.len() >= CHUNK_LINE_MAX {
                Err(BadHead::Malformed("chunk line too long"))
            } else {
                Ok(None)
            };
        };
        let line = buf[..end]
            .strip_suffix(b"\r")
            .ok_or(BadHead::Malformed("chunk line that ends in a bare LF"))?;
        let digits = check_chunk_start(line)?;
        let size = line[..digits].iter().fold(0u64, |size, digit| {
            size << 4 | u64::from(hex(*digit).unwrap_or(0))
        });
        let extension = &line[digits..];
        if !extension.is_empty() {
            let text = extension.trim_ascii_start();
            if text.first() != Some(&b';')
                || extension
                    .iter()
                    .any(|c| *c != b'\t' && (*c < 0x20 || *c == 0x7f))
            {
                return Err(BadHead::Malformed("chunk extension"));
            }
            self.extensions += extension.len();
            if self.extensions > EXTENSIONS_MAX {
                return Err(BadHead::Malformed("too many chunk extensions"));
            }
        }
        buf.advance(end + 1);
        Ok(Some(size))
    }

    fn trailers(&mut self, buf: &mut BytesMut) -> Result<Piece, BadHead> {
        if buf.starts_with(b"\r\n") {
            buf.advance(2);
            self.state = State::End;
            return Ok(Piece::End(None));
        }
        match memchr::memmem::find(buf, b"\r\n\r\n") {
            Some(at) => {
                let section = buf.split_to(at + 4).freeze();
                let fields = parse_trailers(section, &self.limits)?;
                // Only now: a body whose trailers are refused has not come to its end.
                self.state = State::End;
                Ok(Piece::End(Some(fields)))
            }
            None if buf.len() > self.limits.head_bytes => Err(BadHead::TooLarge),
            None => Ok(Piece::More),
        }
    }
}

/// How many hexadecimal digits a chunk line begins with: 1 to 16. None at all is no size, not even 0.
fn check_chunk_start(line: &[u8]) -> Result<usize, BadHead> {
    let digits = line.iter().take_while(|c| hex(**c).is_some()).count();
    match digits {
        0 => Err(BadHead::Malformed("chunk size")),
        17.. => Err(BadHead::Malformed("chunk size")),
        // Above 2^63 no body is meant, and sums stay exact.
        16 if line[0] > b'7' => Err(BadHead::Malformed("chunk size")),
        _ => Ok(digits),
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn take(buf: &mut BytesMut, most: u64) -> Bytes {
    let n = usize::try_from(most).unwrap_or(usize::MAX).min(buf.len());
    buf.split_to(n).freeze()
}

#[cfg(test)]
mod tests;
