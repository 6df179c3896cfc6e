//! Which digests has a file? All that a `.changes` and an index of packages name, in one pass.

use std::fmt::Write as _;
use std::io::{self, Read};

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use crate::domain::repository::Digests;

/// Reads to the end.
///
/// # Errors
///
/// The reader's.
pub fn of(mut reader: impl Read) -> io::Result<Digests> {
    let (mut md5, mut sha1, mut sha256) = (Md5::new(), Sha1::new(), Sha256::new());
    let mut piece = vec![0; 128 * 1024];
    let mut size = 0;
    loop {
        let read = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(cause),
        };
        let bytes = piece.get(..read).unwrap_or_default();
        md5.update(bytes);
        sha1.update(bytes);
        sha256.update(bytes);
        size += read as u64;
    }
    Ok(Digests {
        size,
        md5: md5.finalize().into(),
        sha1: sha1.finalize().into(),
        sha256: sha256.finalize().into(),
    })
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
            // Writing into memory does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_the_published_ones() {
        let digests = of(&b"abc"[..]).expect("memory");
        assert_eq!(digests.size, 3);
        assert_eq!(hex(&digests.md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(
            hex(&digests.sha1),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(
            hex(&digests.sha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
