//! How do bytes become fewer? Streaming encoders with bounded memory.
//!
//! Promises: a flush gives out all that was put in, so nothing is held back; windows are small (256 KiB) and encoders are
//! counted, so memory is bounded. Does not: decide which response is worth it, or speak HTTP.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::config::model::{Algorithm, Effort};

/// Responses compressed at once, by all data threads together: about 1 MiB each.
const ENCODERS_MAX: u64 = 128;
/// Window of every encoder, as a power of two: 256 KiB.
const WINDOW_LOG: u32 = 18;

/// Places for encoders, and how often there was none.
#[derive(Debug, Default)]
pub struct Places {
    taken: AtomicU64,
    skipped: AtomicU64,
}

impl Places {
    /// A place for one encoder; `None` while all are taken, which is counted.
    pub fn enter(self: &Arc<Places>) -> Option<Place> {
        if self.taken.fetch_add(1, Ordering::Relaxed) >= ENCODERS_MAX {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Place(self.clone()))
    }

    /// Responses that were sent as they are because every place was taken.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}

/// A place, given back on drop.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.taken.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a place is given back once");
    }
}

/// One response on its way.
pub struct Encoder {
    kind: Kind,
    _place: Place,
}

enum Kind {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl Encoder {
    /// Begins.
    pub fn new(algorithm: Algorithm, effort: Effort, place: Place) -> io::Result<Encoder> {
        let kind = match algorithm {
            Algorithm::Gzip => {
                let level = match effort {
                    Effort::Fast => 1,
                    Effort::Balanced => 5,
                    Effort::Small => 8,
                };
                let level = flate2::Compression::new(level);
                Kind::Gzip(flate2::write::GzEncoder::new(Vec::new(), level))
            }
            Algorithm::Brotli => {
                let quality = match effort {
                    Effort::Fast => 1,
                    Effort::Balanced => 4,
                    Effort::Small => 7,
                };
                let writer = brotli::CompressorWriter::new(Vec::new(), 4096, quality, WINDOW_LOG);
                Kind::Brotli(Box::new(writer))
            }
            Algorithm::Zstd => {
                let level = match effort {
                    Effort::Fast => 1,
                    Effort::Balanced => 3,
                    Effort::Small => 8,
                };
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.window_log(WINDOW_LOG)?;
                Kind::Zstd(Box::new(encoder))
            }
        };
        Ok(Encoder {
            kind,
            _place: place,
        })
    }

    /// Puts bytes in; some may come out.
    pub fn put(&mut self, data: &[u8]) -> io::Result<Bytes> {
        match &mut self.kind {
            Kind::Gzip(encoder) => encoder.write_all(data)?,
            Kind::Brotli(encoder) => encoder.write_all(data)?,
            Kind::Zstd(encoder) => encoder.write_all(data)?,
        }
        Ok(self.out())
    }

    /// All that was put in comes out, such that a reader can have it.
    pub fn flush(&mut self) -> io::Result<Bytes> {
        match &mut self.kind {
            Kind::Gzip(encoder) => encoder.flush()?,
            Kind::Brotli(encoder) => encoder.flush()?,
            Kind::Zstd(encoder) => encoder.flush()?,
        }
        Ok(self.out())
    }

    /// The end.
    pub fn finish(self) -> io::Result<Bytes> {
        Ok(match self.kind {
            Kind::Gzip(encoder) => encoder.finish()?,
            Kind::Brotli(encoder) => encoder.into_inner(),
            Kind::Zstd(encoder) => encoder.finish()?,
        }
        .into())
    }

    fn out(&mut self) -> Bytes {
        let out = match &mut self.kind {
            Kind::Gzip(encoder) => encoder.get_mut(),
            Kind::Brotli(encoder) => encoder.get_mut(),
            Kind::Zstd(encoder) => encoder.get_mut(),
        };
        std::mem::take(out).into()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const ALL: [Algorithm; 3] = [Algorithm::Gzip, Algorithm::Brotli, Algorithm::Zstd];
    const EFFORTS: [Effort; 3] = [Effort::Fast, Effort::Balanced, Effort::Small];

    fn encoder(algorithm: Algorithm, effort: Effort) -> Encoder {
        let place = Arc::new(Places::default()).enter().unwrap();
        Encoder::new(algorithm, effort, place).unwrap()
    }

    fn unpacked(algorithm: Algorithm, packed: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        // What was flushed can be read before the end has come.
        let _ = match algorithm {
            Algorithm::Gzip => flate2::read::GzDecoder::new(packed).read_to_end(&mut out),
            Algorithm::Brotli => brotli::Decompressor::new(packed, 4096).read_to_end(&mut out),
            Algorithm::Zstd => zstd::stream::read::Decoder::new(packed)
                .unwrap()
                .read_to_end(&mut out),
        };
        out
    }

    #[test]
    fn what_goes_in_comes_out() {
        let text = "the quick brown fox jumps over the lazy dog. ".repeat(5000);
        for algorithm in ALL {
            for effort in EFFORTS {
                let mut encoder = encoder(algorithm, effort);
                let mut packed = Vec::new();
                for piece in text.as_bytes().chunks(7001) {
                    packed.extend_from_slice(&encoder.put(piece).unwrap());
                }
                packed.extend_from_slice(&encoder.finish().unwrap());
                assert!(packed.len() < text.len() / 10, "{algorithm:?} {effort:?}");
                assert_eq!(
                    unpacked(algorithm, &packed),
                    text.as_bytes(),
                    "{algorithm:?}"
                );
            }
        }
    }

    #[test]
    fn a_flush_holds_nothing_back() {
        for algorithm in ALL {
            let mut encoder = encoder(algorithm, Effort::Balanced);
            let mut packed = encoder.put(b"first").unwrap().to_vec();
            packed.extend_from_slice(&encoder.flush().unwrap());
            assert_eq!(unpacked(algorithm, &packed), b"first", "{algorithm:?}");
            packed.extend_from_slice(&encoder.put(b" second").unwrap());
            packed.extend_from_slice(&encoder.flush().unwrap());
            assert_eq!(
                unpacked(algorithm, &packed),
                b"first second",
                "{algorithm:?}"
            );
        }
    }

    #[test]
    fn an_empty_body_is_a_whole_one() {
        for algorithm in ALL {
            let packed = encoder(algorithm, Effort::Fast).finish().unwrap();
            assert!(!packed.is_empty());
            assert_eq!(unpacked(algorithm, &packed), b"", "{algorithm:?}");
        }
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let places = Arc::new(Places::default());
        let taken: Vec<_> = (0..ENCODERS_MAX).map(|_| places.enter().unwrap()).collect();
        assert!(places.enter().is_none());
        assert_eq!(places.skipped(), 1);
        drop(taken);
        assert!(places.enter().is_some());
    }
}
