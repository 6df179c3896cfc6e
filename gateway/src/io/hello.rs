//! Which name does a client ask for? The server name in a ClientHello (RFC 6066 section 3), read as it passes.
//!
//! Promises: nothing a client sends is more than a name of up to 255 letters, digits, `-`, `.` and `_`; what is kept while
//! the hello is not whole is bounded. Does not: choose or check anything. The TLS library reads the same bytes and
//! decides, but tells no name of a handshake that it refused.

/// The largest body of a record (RFC 8446 section 5.1); a hello that is longer has no name for us.
const HELLO_MAX: usize = 16 * 1024;
/// The longest name (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 255;
const RECORD_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What was seen of a client's first message.
#[derive(Debug, Default)]
pub struct Hello {
    /// Of the record that is being read: its header as far as it came.
    header: Vec<u8>,
    /// Bytes of its body that have not come yet.
    left: usize,
    /// The message without the headers of records.
    message: Vec<u8>,
    done: bool,
    name: Option<Box<str>>,
}

impl Hello {
    /// Reads on; once the hello has passed, or nothing can come of it, nothing more is looked at.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !self.done && !bytes.is_empty() {
            if self.left == 0 {
                bytes = self.take_header(bytes);
                continue;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(self.left));
            self.left -= piece.len();
            bytes = rest;
            self.message.extend_from_slice(piece);
            self.look();
        }
    }

    /// The name, in lower case; `None` where the client has asked for none, or none that could be one.
    pub fn into_name(self) -> Option<Box<str>> {
        self.name
    }

    fn take_header<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (piece, rest) = bytes.split_at(bytes.len().min(5 - self.header.len()));
        self.header.extend_from_slice(piece);
        if let [kind, _, _, high, low] = self.header[..] {
            self.left = usize::from(u16::from_be_bytes([high, low]));
            // No other record may come before the hello, and no empty one.
            if kind != RECORD_HANDSHAKE || self.left == 0 {
                self.end();
            }
            self.header.clear();
        }
        rest
    }

    fn look(&mut self) {
        let mut reader = Reader(&self.message);
        let (kind, length) = (reader.number(1), reader.number(3));
        match (kind, length) {
            (Some(kind), _) if kind != usize::from(CLIENT_HELLO) => self.end(),
            (_, Some(length)) if length > HELLO_MAX => self.end(),
            (_, Some(length)) if reader.0.len() >= length => {
                self.name = name(&reader.0[..length]);
                self.end();
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        self.done = true;
        (self.header, self.message) = (Vec::new(), Vec::new());
    }
}

/// The name in the body of a hello (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2).
fn name(hello: &[u8]) -> Option<Box<str>> {
    let mut reader = Reader(hello);
    reader.bytes(2 + 32)?; // version, random
    reader.list(1)?; // session
    reader.list(2)?; // suites
    reader.list(1)?; // compressions
    let mut extensions = Reader(reader.list(2)?);
    loop {
        let kind = extensions.number(2)?;
        let body = extensions.list(2)?;
        if kind != usize::from(SERVER_NAME) {
            continue;
        }
        let mut names = Reader(Reader(body).list(2)?);
        let is_host = names.number(1)? == usize::from(HOST_NAME);
        return names.list(2).filter(|_| is_host).and_then(plain);
    }
}

/// What may stand in a log without being looked at again.
fn plain(name: &[u8]) -> Option<Box<str>> {
    let fits = (1..=NAME_MAX).contains(&name.len())
        && name
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || b"-._".contains(c));
    let text = std::str::from_utf8(name).ok().filter(|_| fits)?;
    Some(text.to_ascii_lowercase().into())
}

/// Takes from the front; `None` where there is not enough.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let (piece, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(piece)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        let piece = self.bytes(bytes)?;
        Some(piece.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)))
    }

    /// What stands behind its length.
    fn list(&mut self, length_bytes: usize) -> Option<&'b [u8]> {
        let length = self.number(length_bytes)?;
        self.bytes(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::ServerName;

    /// What the TLS library sends as a client.
    fn sent(name: &'static str) -> Vec<u8> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut out = Vec::new();
        client.write_tls(&mut out).unwrap();
        out
    }

    fn read(pieces: &[&[u8]]) -> Option<String> {
        let mut hello = Hello::default();
        for piece in pieces {
            hello.take(piece);
        }
        hello.into_name().map(String::from)
    }

    /// The same message in records of so many bytes.
    fn in_records(whole: &[u8], bytes: usize) -> Vec<u8> {
        let record = |piece: &[u8]| {
            let length = (piece.len() as u16).to_be_bytes();
            [&[22, 3, 1][..], &length, piece].concat()
        };
        whole[5..].chunks(bytes).flat_map(record).collect()
    }

    #[test]
    fn the_name_is_found_however_the_hello_is_cut() {
        let whole = sent("Shop.Example.COM");
        let name = Some("shop.example.com".to_owned());
        assert_eq!(read(&[&whole]), name);
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(read(&bytes), name);
        for size in [1, 7, 100] {
            assert_eq!(read(&[&in_records(&whole, size)]), name, "{size}");
        }
        let more = [&whole[..], b"\x16\x03\x01\x00\x05hello"].concat();
        assert_eq!(read(&[&more]), name, "what comes behind is not looked at");
    }

    #[test]
    fn who_asks_for_no_name_has_none() {
        assert_eq!(read(&[&sent("192.0.2.1")]), None);
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[b"GET / HTTP/1.1\r\n\r\n"]), None);
        assert_eq!(read(&[b"\x16\x03\x01\x00\x00"]), None);
    }

    #[test]
    fn what_is_no_name_is_none() {
        let whole = sent("shop.example.com");
        let at = whole.windows(4).position(|w| w == b"shop").unwrap();
        for bad in [b'\n', b'"', b' ', 0, 0xff, b'/'] {
            let mut hello = whole.clone();
            hello[at] = bad;
            assert_eq!(read(&[&hello]), None, "{bad}");
        }
    }

    #[test]
    fn a_hello_of_nonsense_harms_nobody() {
        let whole = sent("shop.example.com");
        for end in 0..whole.len() {
            assert_eq!(read(&[&whole[..end]]), None, "cut at {end}");
        }
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let mut hello = whole.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..hello.len());
                hello[at] = random.u8(..);
            }
            // Whatever it says, it is a name or none.
            if let Some(name) = read(&[&hello]) {
                assert!(plain(name.as_bytes()).is_some(), "{name:?}");
            }
        }
    }

    #[test]
    fn what_never_ends_is_kept_in_bounds() {
        let mut hello = Hello::default();
        hello.take(b"\x16\x03\x01\x40\x00\x01\x00\xff\xff");
        assert!(hello.done && hello.message.is_empty(), "too long");
        let mut hello = Hello::default();
        hello.take(b"\x16\x03\x01\x40\x00\x01\x00\x40\x00");
        for _ in 0..100 {
            hello.take(b"\x16\x03\x01\x40\x00");
            hello.take(&[0; 16 * 1024]);
        }
        assert!(hello.done && hello.message.is_empty(), "whole at last");
    }
}
