//! Which streams did our side of an HTTP/2 connection refuse? Read off the frames as they are written.
//!
//! Promises: no byte is kept or changed. The `h2` crate refuses a stream over the limit by itself and tells nobody; what it
//! writes is the only trace. Does not: understand more of a frame than its length, its type and a RST_STREAM's code.

/// RFC 9113 section 4.1: length (3), type (1), flags (1), stream (4).
const HEAD: usize = 9;
/// RFC 9113 section 6.4: a code of 4 bytes.
const RST_STREAM: u8 = 3;
const CODE: usize = 4;
/// RFC 9113 section 7.
const REFUSED_STREAM: [u8; CODE] = [0, 0, 0, 7];

/// Counts RST_STREAM frames with REFUSED_STREAM in what is written.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    seen: [u8; HEAD + CODE],
    filled: usize,
    /// Bytes of a frame that are of no interest.
    skip: usize,
    /// Refused since this was last taken.
    pub count: u32,
}

impl Refusals {
    /// Takes the next bytes, in pieces of any size.
    pub fn note(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.skip > 0 {
                let n = self.skip.min(data.len());
                self.skip -= n;
                data = &data[n..];
                continue;
            }
            let wanted = if self.filled < HEAD {
                HEAD
            } else {
                HEAD + CODE
            };
            let n = (wanted - self.filled).min(data.len());
            self.seen[self.filled..self.filled + n].copy_from_slice(&data[..n]);
            self.filled += n;
            data = &data[n..];
            self.look();
        }
    }

    fn look(&mut self) {
        if self.filled == HEAD {
            let length = u32::from_be_bytes([0, self.seen[0], self.seen[1], self.seen[2]]) as usize;
            if self.seen[3] == RST_STREAM && length == CODE {
                return;
            }
            self.skip = length;
            self.filled = 0;
        } else if self.filled == HEAD + CODE {
            self.count += u32::from(self.seen[HEAD..] == REFUSED_STREAM);
            self.filled = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn refused_streams_are_counted_however_the_bytes_are_cut() {
        let refused = frame(RST_STREAM, &REFUSED_STREAM);
        let wire = [
            frame(4, &[0; 18]),
            frame(0, &refused),
            refused.clone(),
            frame(RST_STREAM, &[0, 0, 0, 8]),
            frame(4, &[]),
            refused.clone(),
        ]
        .concat();
        for piece in 1..wire.len() {
            let mut refusals = Refusals::default();
            wire.chunks(piece).for_each(|piece| refusals.note(piece));
            assert_eq!(refusals.count, 2, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_frame_that_claims_another_length_is_passed_over() {
        let mut refusals = Refusals::default();
        refusals.note(&frame(RST_STREAM, &[0; 7]));
        refusals.note(&frame(RST_STREAM, &REFUSED_STREAM));
        assert_eq!(refusals.count, 1);
    }
}
