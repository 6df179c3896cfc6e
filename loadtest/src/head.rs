//! What does the head of an HTTP/1.1 message say? Only what a load generator has to know.

use memchr::{memchr, memmem};

/// The head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head with its empty line.
    pub size: usize,
    /// Status code.
    pub status: u16,
    /// Bytes of the body; `None` where it is chunked or ends with the connection.
    pub length: Option<u64>,
    /// Whether the connection is closed after it.
    pub closes: bool,
}

impl Head {
    /// The head at the start of the buffer, if all of it is there and it is one.
    pub fn read(buffer: &[u8]) -> Option<Head> {
        let end = memmem::find(buffer, b"\r\n\r\n")?;
        let head = &buffer[..end + 2];
        let digits = std::str::from_utf8(head.get(9..12)?).ok()?;
        let status = digits.parse().ok()?;
        let length = match status {
            100..=199 | 204 | 304 => Some(0),
            _ => Head::content_length(head),
        };
        Some(Head {
            size: end + 4,
            status,
            length,
            closes: value(head, b"connection")
                .is_some_and(|value| value.eq_ignore_ascii_case(b"close")),
        })
    }

    /// The `Content-Length` of a head without its empty line.
    pub fn content_length(head: &[u8]) -> Option<u64> {
        let value = value(head, b"content-length")?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }
}

/// The value of a field, by its name in lower case.
fn value<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    let mut rest = &head[memchr(b'\n', head)? + 1..];
    while let Some(end) = memchr(b'\n', rest) {
        let line = &rest[..end];
        if let Some((start, after)) = line.split_at_checked(name.len())
            && after.first() == Some(&b':')
            && start.eq_ignore_ascii_case(name)
        {
            return Some(after[1..].trim_ascii());
        }
        rest = &rest[end + 1..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_all_of_it_is_there() {
        let text = b"HTTP/1.1 200 OK\r\nX: content-length: 9\r\ncontent-Length:  12 \r\n\r\nbody";
        let head = Head::read(text).unwrap();
        assert_eq!(
            head,
            Head {
                size: text.len() - 4,
                status: 200,
                length: Some(12),
                closes: false
            }
        );
        assert_eq!(Head::read(&text[..text.len() - 5]), None);
    }

    #[test]
    fn a_response_may_have_no_length_and_may_close() {
        let head = Head::read(b"HTTP/1.1 502 X\r\nConnection: Close\r\n\r\n").unwrap();
        assert_eq!((head.status, head.length, head.closes), (502, None, true));
        let head = Head::read(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert_eq!(head.length, Some(0));
        assert_eq!(Head::read(b"nonsense\r\n\r\n"), None);
    }
}
