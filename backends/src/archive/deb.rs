//! What stands in a package? The text of its control file, read with bounds from hostile bytes.
//!
//! A package is an ar archive of three members (deb(5)): `debian-binary`, `control.tar` in one of
//! several compressions, `data.tar`. dpkg reads a narrow form of ar, with short names and nothing
//! special, and so does this: the general readers trust lengths that they are told, which here come
//! from strangers. Compressions and tar are read by libraries, within the bounds below.

use std::io::{self, Read};

use flate2::read::GzDecoder;
use lzma_rust2::XzReader;

/// Largest control archive, compressed, bytes.
const PACKED_MAX: u64 = 16 << 20;
/// Largest control archive, unpacked, bytes.
const UNPACKED_MAX: u64 = 64 << 20;
/// Largest control file, bytes.
const CONTROL_MAX: u64 = 1 << 20;
/// Memory for a dictionary of xz, KiB.
const XZ_MEMORY_KIB: u32 = 80 << 10;
/// Window of zstd, as a power of two: 32 MiB.
const ZSTD_WINDOW_LOG: u32 = 25;
/// Members between the control archive and that of the files.
const MORE_MEMBERS_MAX: usize = 8;
/// Files in a control archive.
const ENTRIES_MAX: usize = 1000;

/// Reads the control file's text out of a package.
///
/// # Errors
///
/// What is no package, in words for the uploader; what the file system did, in its own.
pub fn control(mut deb: impl Read) -> io::Result<String> {
    let mut magic = [0; 8];
    deb.read_exact(&mut magic).map_err(|_| wrong("too short"))?;
    if &magic != b"!<arch>\n" {
        return Err(wrong("no ar archive"));
    }
    let (name, size) = member(&mut deb)?;
    if name != "debian-binary" || size > 64 {
        return Err(wrong("its first member is not debian-binary"));
    }
    let mut format = String::new();
    body(&mut deb, size).read_to_string(&mut format)?;
    if !format.starts_with("2.") {
        return Err(wrong("a format that is not 2.x"));
    }
    pad(&mut deb, size)?;
    let (name, size) = member(&mut deb)?;
    if size > PACKED_MAX {
        return Err(wrong("its control archive is too large"));
    }
    let mut packed = body(&mut deb, size);
    let text = unpacked(&name, &mut packed)?;
    io::copy(&mut packed, &mut io::sink())?;
    drop(packed);
    pad(&mut deb, size)?;
    has_data(&mut deb)?;
    Ok(text)
}

/// Does an archive of files follow? Members whose names begin with `_` may stand before it.
fn has_data(deb: &mut impl Read) -> io::Result<()> {
    for _ in 0..MORE_MEMBERS_MAX {
        let (name, size) = member(deb)?;
        if name.starts_with("data.tar") {
            return Ok(());
        }
        if !name.starts_with('_') {
            break;
        }
        io::copy(&mut body(deb, size), &mut io::sink())?;
        pad(deb, size)?;
    }
    Err(wrong("its third member is not data.tar"))
}

/// Name and size of the next member.
fn member(deb: &mut impl Read) -> io::Result<(String, u64)> {
    let mut head = [0; 60];
    deb.read_exact(&mut head)
        .map_err(|_| wrong("a member is missing"))?;
    let text = std::str::from_utf8(&head).map_err(|_| wrong("a head of a member is no text"))?;
    let field = |from: usize, to: usize| text.get(from..to).map(str::trim_end).unwrap_or_default();
    if !text.ends_with("`\n") {
        return Err(wrong("a head of a member without its end"));
    }
    let digits = field(48, 58);
    let size = match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse().ok(),
        false => None,
    };
    let size = size.ok_or_else(|| wrong("the size of a member is no number"))?;
    // Some writers end a name with a slash.
    let name = field(0, 16);
    Ok((name.strip_suffix('/').unwrap_or(name).to_owned(), size))
}

fn body(deb: &mut impl Read, size: u64) -> impl Read {
    deb.take(size)
}

/// Members begin at even places.
fn pad(deb: &mut impl Read, size: u64) -> io::Result<()> {
    if size % 2 == 1 {
        deb.read_exact(&mut [0])?;
    }
    Ok(())
}

fn unpacked(name: &str, packed: impl Read) -> io::Result<String> {
    match name {
        "control.tar" => in_tar(packed),
        "control.tar.gz" => in_tar(GzDecoder::new(packed)),
        "control.tar.xz" => in_tar(XzReader::new_mem_limit(packed, true, XZ_MEMORY_KIB)),
        "control.tar.zst" => {
            let mut decoder = zstd::Decoder::new(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            in_tar(decoder)
        }
        _ => Err(wrong("its second member is not control.tar(.gz|.xz|.zst)")),
    }
}

fn in_tar(tar: impl Read) -> io::Result<String> {
    let mut archive = tar::Archive::new(tar.take(UNPACKED_MAX));
    for entry in archive.entries()?.take(ENTRIES_MAX) {
        let entry = entry?;
        let path = entry.path_bytes();
        if !matches!(&*path, b"./control" | b"control") || !entry.header().entry_type().is_file() {
            continue;
        }
        if entry.size() > CONTROL_MAX {
            return Err(wrong("its control file is too large"));
        }
        let mut text = Vec::new();
        entry.take(CONTROL_MAX).read_to_end(&mut text)?;
        return String::from_utf8(text).map_err(|_| wrong("its control file is not UTF-8"));
    }
    Err(wrong("no control file in its control archive"))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tar(name: &str, text: &[u8]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in [("./md5sums", &b"x"[..]), (name, text)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, text).expect("memory");
        }
        tar.into_inner().expect("memory")
    }

    fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut ar = b"!<arch>\n".to_vec();
        for (name, bytes) in members {
            let size = bytes.len();
            writeln!(ar, "{name:<16}0           0     0     100644  {size:<10}`").expect("memory");
            ar.extend_from_slice(bytes);
            if size % 2 == 1 {
                ar.push(b'\n');
            }
        }
        ar
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(bytes).expect("memory");
        gz.finish().expect("memory")
    }

    #[test]
    fn the_control_file_is_found_in_each_compression() {
        let tar = tar("./control", b"Package: x\n");
        let zst = zstd::encode_all(&tar[..], 1).expect("memory");
        for (name, packed) in [
            ("control.tar", tar.clone()),
            ("control.tar.gz", gz(&tar)),
            ("control.tar.gz/", gz(&tar)),
            ("control.tar.zst", zst),
        ] {
            let deb = ar(&[
                ("debian-binary", b"2.0\n"),
                (name, &packed),
                ("_extra", b"x"),
                ("data.tar.xz", b""),
            ]);
            assert_eq!(control(&deb[..]).expect(name), "Package: x\n");
        }
    }

    #[test]
    fn what_is_no_package_is_refused_with_its_reason() {
        let good = tar("control", b"Package: x\n");
        let none = tar("other", b"");
        let text = tar("control", b"\xff");
        let first = ("debian-binary", &b"2.0\n"[..]);
        for (deb, said) in [
            (b"".to_vec(), "too short"),
            (b"PK\x03\x04....".to_vec(), "no ar"),
            (ar(&[]), "missing"),
            (ar(&[("control.tar", &good)]), "debian-binary"),
            (ar(&[("debian-binary", b"3.0\n")]), "2.x"),
            (ar(&[first]), "missing"),
            (ar(&[first, ("data.tar", &good)]), "second member"),
            (ar(&[first, ("control.tar", &good)]), "missing"),
            (
                ar(&[first, ("control.tar", &good), ("other", b"")]),
                "third member",
            ),
            (ar(&[first, ("control.tar", &none)]), "no control file"),
            (ar(&[first, ("control.tar", &text)]), "UTF-8"),
        ] {
            let problem = control(&deb[..]).expect_err(said).to_string();
            assert!(problem.contains(said), "{said}: {problem}");
        }
        for (from, to) in [
            ("4         `", "9999999999`"),
            ("4         `", "-4        `"),
        ] {
            let deb = ar(&[first, ("control.tar", &good)]);
            let text = String::from_utf8(deb).expect("zeros are text");
            assert!(control(text.replacen(from, to, 1).as_bytes()).is_err());
        }
    }

    #[test]
    fn what_unpacks_to_more_than_it_may_is_refused() {
        let mut tar = tar("./other", b"");
        tar.truncate(tar.len() - 1024);
        let mut header = tar::Header::new_gnu();
        header.set_size(UNPACKED_MAX * 4);
        header.set_path("./big").expect("short");
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.resize(usize::try_from(UNPACKED_MAX).expect("small") + 4096, 0);
        let deb = ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &gz(&tar))]);
        assert!(deb.len() < 1 << 20);
        assert!(control(&deb[..]).is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        let tar = tar("./control", b"Package: x\n");
        let deb = ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &gz(&tar))]);
        let mut dice = fastrand::Rng::with_seed(7);
        for _ in 0..2000 {
            let mut deb = deb.clone();
            for _ in 0..dice.usize(1..5) {
                let at = dice.usize(..deb.len());
                deb[at] = dice.u8(..);
            }
            deb.truncate(dice.usize(..=deb.len()));
            let _ = control(&deb[..]);
        }
    }
}
