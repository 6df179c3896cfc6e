//! What does one HTTP/1 message say? Kept as the bytes that came, read without mending anything.

/// A request or a response: its head to the byte, its body with the framing taken off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Start line and fields with every CRLF and the empty line; one char per byte (Latin-1).
    pub head: String,
    /// Body without chunk framing.
    pub body: Vec<u8>,
    /// Trailer fields after a chunked body, as they came; empty without.
    pub trailers: String,
}

/// Where a message ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After the head.
    None,
    /// After so many bytes.
    Length(usize),
    /// After the last chunk and its trailers.
    Chunked,
    /// With the connection.
    UntilClose,
}

impl Message {
    /// The start line without its CRLF.
    pub fn first_line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    /// Method of a request.
    pub fn method(&self) -> &str {
        self.word(0)
    }

    /// Target of a request, as it was sent.
    pub fn target(&self) -> &str {
        self.word(1)
    }

    /// Status of a response; 0 for what is none.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or_default()
    }

    /// First value of a field, found without regard to case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).first().copied()
    }

    /// All values of a field, in order.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        values(&self.head, name)
    }

    /// First value of a trailer field.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        values(&self.trailers, name).first().copied()
    }

    /// Body as text; what is not UTF-8 is shown as such.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// How a request's body is framed.
    pub fn request_framing(&self) -> Framing {
        self.declared_framing().unwrap_or(Framing::None)
    }

    /// How the body of the response to `method` is framed.
    pub fn reply_framing(&self, method: &str) -> Framing {
        let bodyless = matches!(self.status(), 100..=199 | 204 | 304) || method == "HEAD";
        if bodyless {
            return Framing::None;
        }
        self.declared_framing().unwrap_or(Framing::UntilClose)
    }

    fn declared_framing(&self) -> Option<Framing> {
        if self
            .field("transfer-encoding")
            .is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
        {
            return Some(Framing::Chunked);
        }
        // What is no number frames nothing; a test that sends such has its own reasons.
        self.field("content-length")?
            .parse()
            .ok()
            .map(Framing::Length)
    }

    fn word(&self, at: usize) -> &str {
        self.first_line().split(' ').nth(at).unwrap_or_default()
    }
}

fn values<'a>(lines: &'a str, name: &str) -> Vec<&'a str> {
    let named = |line: &'a str| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim_matches([' ', '\t']))
    };
    lines.split("\r\n").filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_without_mending() {
        let message = Message {
            head: "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie:b\r\n\r\n".into(),
            ..Message::default()
        };
        assert_eq!(message.status(), 200);
        assert_eq!(message.fields("SET-COOKIE"), ["a", "b"]);
        assert_eq!(message.reply_framing("GET"), Framing::UntilClose);
        assert_eq!(message.reply_framing("HEAD"), Framing::None);
    }
}
