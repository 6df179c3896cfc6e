//! Where does a WebSocket frame end? So that a frame of ours comes between two of the worker's (RFC 6455 section 5.2).
//!
//! Promises: looks at heads of frames only, whatever pieces they come in; what is no WebSocket is never between frames.
//! Does not: unmask, check or change anything.

use std::cell::Cell;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::exchange::flow::{Cause, Frame, Pull, Source};

/// A Close frame of a server with the status 1001, "going away" (RFC 6455 section 7.4.1).
const GOING_AWAY: &[u8] = &[0x88, 0x02, 0x03, 0xe9];
/// Two bytes, eight of length, four of mask.
const HEAD_MAX: usize = 14;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x08;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

/// How far one direction has come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_MAX],
    /// Bytes of a head that is not whole.
    have: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
    /// The peer has said that it closes: after that no frame may follow.
    closed: bool,
}

impl Frames {
    /// These bytes have come.
    pub fn advance(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = self.left.min(bytes.len() as u64);
            self.left -= skipped;
            bytes = &bytes[skipped as usize..];
            let Some((first, rest)) = bytes.split_first() else {
                return;
            };
            self.head[self.have] = *first;
            self.have += 1;
            bytes = rest;
            if self.have == self.head_length() {
                self.left = self.payload_length();
                self.closed |= self.head[0] & OPCODE == CLOSE;
                self.have = 0;
            }
        }
    }

    /// Whether a frame may be put in here.
    pub fn may_say(&self) -> bool {
        self.have == 0 && self.left == 0 && !self.closed
    }

    fn head_length(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.head[1] & MASKED != 0 { 4 } else { 0 };
        mask + match self.head[1] & LENGTH {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    fn payload_length(&self) -> u64 {
        let bytes = |count: usize| {
            self.head[2..2 + count]
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte))
        };
        match self.head[1] & LENGTH {
            126 => bytes(2),
            127 => bytes(8),
            short => u64::from(short),
        }
    }
}

/// What the worker says to a WebSocket, and our own last word when the gateway stops.
pub(super) struct Parting<'a> {
    source: Source,
    frames: Frames,
    /// The client shall hear that we go away.
    asked: &'a Cell<bool>,
    said: bool,
}

impl<'a> Parting<'a> {
    pub fn new(source: Source, asked: &'a Cell<bool>) -> Parting<'a> {
        Parting {
            source,
            frames: Frames::default(),
            asked,
            said: false,
        }
    }
}

impl Pull for Parting<'_> {
    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Cause>> {
        if self.asked.get() && !self.said && self.frames.may_say() {
            self.said = true;
            return Poll::Ready(Ok(Frame::Data(Bytes::from_static(GOING_AWAY))));
        }
        match ready!(self.source.poll_next(cx))? {
            // Nothing may follow a Close frame. A worker that talks on shares the thread with others.
            Frame::Data(_) if self.said => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Frame::Data(data) => {
                self.frames.advance(&data);
                Poll::Ready(Ok(Frame::Data(data)))
            }
            end => Poll::Ready(Ok(end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a payload of so many bytes, which are all those of a Close head.
    fn frame(first: u8, length: usize, mask: bool) -> Vec<u8> {
        let bit = if mask { MASKED } else { 0 };
        let mut frame = vec![first];
        match length {
            0..126 => frame.push(bit | length as u8),
            126..0x1_0000 => {
                frame.push(bit | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(bit | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0x88; length + if mask { 4 } else { 0 }]);
        frame
    }

    #[test]
    fn a_frame_is_over_with_its_last_byte_in_whatever_pieces_it_comes() {
        for length in [0, 1, 125, 126, 0xffff, 0x1_0000] {
            for mask in [false, true] {
                let bytes = frame(0x81, length, mask);
                for piece in [1, 3, 14, 4096, usize::MAX] {
                    let mut frames = Frames::default();
                    let last = bytes.len() - 1;
                    for piece in bytes[..last].chunks(piece) {
                        frames.advance(piece);
                        assert!(!frames.may_say(), "{length} {mask}");
                    }
                    frames.advance(&bytes[last..]);
                    assert!(frames.may_say(), "{length} {mask}");
                }
            }
        }
    }

    #[test]
    fn several_frames_in_one_piece_are_walked_through() {
        let mut frames = Frames::default();
        let mut bytes = frame(0x01, 300, false);
        bytes.extend(frame(0x89, 0, false));
        bytes.extend(frame(0x80, 5, false));
        frames.advance(&bytes);
        assert!(frames.may_say());
        frames.advance(&[0x81]);
        assert!(!frames.may_say());
    }

    #[test]
    fn after_the_peers_own_close_nothing_is_said() {
        let mut frames = Frames::default();
        frames.advance(&frame(0x88, 2, false));
        assert!(!frames.may_say());
    }

    #[test]
    fn the_greatest_length_is_waited_for() {
        let mut frames = Frames::default();
        frames.advance(&[0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        frames.advance(&[0; 1000]);
        assert!(!frames.may_say());
    }
}
