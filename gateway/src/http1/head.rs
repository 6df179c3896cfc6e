//! Where does a head end and what does it ask? Request and response heads of HTTP/1.
//!
//! Promises: what RFC 9112 leaves to tolerance is refused: bare LF and CR, obs-fold, a space before the colon, two
//! lengths, a length beside a coding, a request without exactly one valid Host. Nothing panics, whatever comes.
//! `httparse` finds the parts; the rules are here.

use bytes::{Bytes, BytesMut};
use http::Method;

use crate::message::{
    BodyKind, FieldSpan, Fields, Http1Fields, Known, Request, Response, Upgrade, Version, list_has,
};

/// Most fields in a head, whatever the configuration says.
const FIELDS_MAX: usize = 256;

/// Bounds on a head.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole head, bytes.
    pub head_bytes: usize,
    /// The target, bytes.
    pub target_bytes: usize,
    /// Fields; at most 256.
    pub fields: usize,
}

/// Why a head is refused, and with which status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// Not HTTP/1, or a form that is not accepted. 400.
    #[error("malformed head: {0}")]
    Malformed(&'static str),
    /// The head is over its limit. 431.
    #[error("the head is too large")]
    TooLarge,
    /// The target is over its limit. 414.
    #[error("the target is too long")]
    TargetTooLong,
    /// Not version 1.0 or 1.1. 505.
    #[error("HTTP version not supported")]
    Version,
    /// A transfer coding other than chunked. 501.
    #[error("transfer coding not implemented")]
    Coding,
    /// CONNECT, TRACE. 405.
    #[error("method not allowed")]
    Method,
}

impl BadHead {
    /// What is wrong with it, in a few words.
    pub fn cause(self) -> &'static str {
        match self {
            BadHead::Malformed(what) => what,
            BadHead::TooLarge => "the head is too large",
            BadHead::TargetTooLong => "the target is too long",
            BadHead::Version => "HTTP version not supported",
            BadHead::Coding => "transfer coding not implemented",
            BadHead::Method => "method not allowed",
        }
    }

    /// The status that tells the client.
    pub fn status(self) -> u16 {
        match self {
            BadHead::Malformed(_) => 400,
            BadHead::TooLarge => 431,
            BadHead::TargetTooLong => 414,
            BadHead::Version => 505,
            BadHead::Coding => 501,
            BadHead::Method => 405,
        }
    }
}

/// A request head and what the connection does after it.
#[derive(Debug)]
pub struct ParsedRequest {
    /// The request.
    pub request: Request,
    /// The client allows another request on this connection.
    pub keep_alive: bool,
}

/// A response head and what the connection does after it.
#[derive(Debug)]
pub struct ParsedResponse {
    /// The response.
    pub response: Response,
    /// The worker allows another request on this connection.
    pub keep_alive: bool,
    /// The protocol switched to, of a 101.
    pub upgrade: bool,
}

/// Takes one request head from the front of `buf`; `None` while it is incomplete.
pub fn parse_request(
    buf: &mut BytesMut,
    limits: &Limits,
) -> Result<Option<ParsedRequest>, BadHead> {
    // RFC 9112 section 2.2: an empty line before the request line is passed over.
    while buf.starts_with(b"\r\n") {
        let _ = buf.split_to(2);
    }
    if buf.is_empty() || (buf.len() == 1 && buf[0] == b'\r') {
        return Ok(None);
    }
    let mut slots = [const { std::mem::MaybeUninit::uninit() }; FIELDS_MAX];
    let mut raw = httparse::Request::new(&mut []);
    let parsed =
        raw.parse_with_uninit_headers(&buf[..buf.len().min(limits.head_bytes)], &mut slots);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => {
            check_partial(buf, limits)?;
            return Ok(None);
        }
        Err(error) => return Err(syntax(error, buf)),
    };
    let version = match raw.version {
        Some(0) => Version::Http10,
        _ => Version::Http11,
    };
    let method = Method::from_bytes(raw.method.unwrap_or("").as_bytes())
        .map_err(|_| BadHead::Malformed("method"))?;
    let target = span(buf, raw.path.unwrap_or("").as_bytes());
    if raw.headers.len() > limits.fields {
        return Err(BadHead::TooLarge);
    }
    let spans = spans(buf, raw.headers)?;
    let bytes = take_head(buf, length)?;
    if (target.end - target.start) as usize > limits.target_bytes {
        return Err(BadHead::TargetTooLong);
    }
    let target = bytes.slice(target.start as usize..target.end as usize);
    let fields = Http1Fields { bytes, spans };
    request(method, target, version, fields).map(Some)
}

/// Takes one response head from the front of `buf`; `None` while it is incomplete. `to_head` says that the request
/// was a HEAD.
pub fn parse_response(
    buf: &mut BytesMut,
    limits: &Limits,
    to_head: bool,
) -> Result<Option<ParsedResponse>, BadHead> {
    // The parser would pass over empty lines. Only requests may have them (RFC 9112 section 2.2): here they are what
    // a message before has left over.
    if matches!(buf.first(), Some(b'\r' | b'\n')) {
        return Err(BadHead::Malformed("status line"));
    }
    let mut slots = [const { std::mem::MaybeUninit::uninit() }; FIELDS_MAX];
    let mut raw = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut raw,
        &buf[..buf.len().min(limits.head_bytes)],
        &mut slots,
    );
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buf.len() >= limits.head_bytes => {
            return Err(BadHead::TooLarge);
        }
        Ok(httparse::Status::Partial) => {
            line_ends(buf)?;
            return Ok(None);
        }
        Err(error) => return Err(syntax(error, buf)),
    };
    let version = match raw.version {
        Some(0) => Version::Http10,
        _ => Version::Http11,
    };
    let status = raw.code.unwrap_or(0);
    if status < 100 {
        return Err(BadHead::Malformed("status"));
    }
    if raw.headers.len() > limits.fields {
        return Err(BadHead::TooLarge);
    }
    let spans = spans(buf, raw.headers)?;
    let bytes = take_head(buf, length)?;
    let fields = Http1Fields { bytes, spans };
    let connection = Connection::of(&fields, version);
    let body = response_body(&fields, status, version, to_head)?;
    let upgrade = status == 101;
    Ok(Some(ParsedResponse {
        response: Response {
            status,
            fields: Fields::Http1(fields),
            body,
        },
        keep_alive: connection.keep_alive && body != BodyKind::UntilClose && !upgrade,
        upgrade,
    }))
}

/// Reads the lines of a trailer section, from after the last chunk to the empty line.
pub fn parse_trailers(section: Bytes, limits: &Limits) -> Result<Http1Fields, BadHead> {
    if section.len() > limits.head_bytes {
        return Err(BadHead::TooLarge);
    }
    let mut slots = [httparse::EMPTY_HEADER; FIELDS_MAX];
    match httparse::parse_headers(&section, &mut slots) {
        Ok(httparse::Status::Complete((_, headers))) => {
            if headers.len() > limits.fields {
                return Err(BadHead::TooLarge);
            }
            let spans = spans(&section, headers)?;
            line_ends(&section)?;
            // RFC 9110 section 6.5.1: what frames or routes a message is no trailer.
            if spans.iter().any(|span| {
                matches!(
                    span.known,
                    Known::ContentLength
                        | Known::TransferEncoding
                        | Known::Host
                        | Known::Connection
                        | Known::Te
                )
            }) {
                return Err(BadHead::Malformed("field that may not be a trailer"));
            }
            Ok(Http1Fields {
                bytes: section,
                spans,
            })
        }
        Err(httparse::Error::TooManyHeaders) => Err(BadHead::TooLarge),
        Ok(httparse::Status::Partial) | Err(_) => Err(BadHead::Malformed("trailer section")),
    }
}

fn request(
    method: Method,
    target: Bytes,
    version: Version,
    fields: Http1Fields,
) -> Result<ParsedRequest, BadHead> {
    let connection = Connection::of(&fields, version);
    let body = request_body(&fields, version)?;
    let (authority, target) = authority_and_target(&method, target, version, &fields)?;
    let upgrade = match fields
        .spans
        .iter()
        .find(|span| span.known == Known::Upgrade)
    {
        Some(span)
            if connection.upgrade && version == Version::Http11 && body == BodyKind::Empty =>
        {
            let range = span.value.start as usize..span.value.end as usize;
            Some(Upgrade::Http1(fields.bytes.slice(range)))
        }
        _ => None,
    };
    let expects_continue = version == Version::Http11
        && body != BodyKind::Empty
        && fields.spans.iter().any(|s| {
            s.known == Known::Expect && fields.slice(&s.value).eq_ignore_ascii_case(b"100-continue")
        });
    Ok(ParsedRequest {
        request: Request {
            method,
            authority,
            target,
            version,
            fields: Fields::Http1(fields),
            body,
            upgrade,
            expects_continue,
        },
        keep_alive: connection.keep_alive,
    })
}

/// What the `Connection` field says.
struct Connection {
    keep_alive: bool,
    upgrade: bool,
}

impl Connection {
    fn of(fields: &Http1Fields, version: Version) -> Connection {
        let mut connection = Connection {
            keep_alive: version == Version::Http11,
            upgrade: false,
        };
        for span in fields
            .spans
            .iter()
            .filter(|span| span.known == Known::Connection)
        {
            let value = fields.slice(&span.value);
            if list_has(value, b"close") {
                connection.keep_alive = false;
            } else if version == Version::Http10 && list_has(value, b"keep-alive") {
                connection.keep_alive = true;
            }
            connection.upgrade |= list_has(value, b"upgrade");
        }
        // A later `close` wins over an earlier `keep-alive`.
        if fields
            .spans
            .iter()
            .any(|s| s.known == Known::Connection && list_has(fields.slice(&s.value), b"close"))
        {
            connection.keep_alive = false;
        }
        connection
    }
}

/// RFC 9112 section 6.3 for requests, with nothing left to choose.
fn request_body(fields: &Http1Fields, version: Version) -> Result<BodyKind, BadHead> {
    let length = content_length(fields)?;
    match transfer_coding(fields)? {
        Some(_) if version == Version::Http10 => {
            Err(BadHead::Malformed("Transfer-Encoding in HTTP/1.0"))
        }
        Some(_) if length.is_some() => Err(BadHead::Malformed(
            "Content-Length beside Transfer-Encoding",
        )),
        Some(Coding::Chunked) => Ok(BodyKind::Open),
        Some(Coding::Other) => Err(BadHead::Coding),
        None => Ok(match length {
            None | Some(0) => BodyKind::Empty,
            Some(length) => BodyKind::Length(length),
        }),
    }
}

fn response_body(
    fields: &Http1Fields,
    status: u16,
    version: Version,
    to_head: bool,
) -> Result<BodyKind, BadHead> {
    let length = content_length(fields)?;
    let coding = transfer_coding(fields)?;
    if to_head || status < 200 || status == 204 || status == 304 {
        return Ok(BodyKind::Empty);
    }
    match coding {
        Some(_) if length.is_some() => Err(BadHead::Malformed(
            "Content-Length beside Transfer-Encoding",
        )),
        Some(_) if version == Version::Http10 => {
            Err(BadHead::Malformed("Transfer-Encoding in HTTP/1.0"))
        }
        Some(Coding::Chunked) => Ok(BodyKind::Open),
        Some(Coding::Other) => Err(BadHead::Coding),
        None => Ok(match length {
            Some(0) => BodyKind::Empty,
            Some(length) => BodyKind::Length(length),
            None => BodyKind::UntilClose,
        }),
    }
}

fn content_length(fields: &Http1Fields) -> Result<Option<u64>, BadHead> {
    let mut length = None;
    for span in fields
        .spans
        .iter()
        .filter(|span| span.known == Known::ContentLength)
    {
        let value = fields.slice(&span.value);
        if length.is_some() {
            return Err(BadHead::Malformed("more than one Content-Length"));
        }
        if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
            return Err(BadHead::Malformed("Content-Length is not a number"));
        }
        length = Some(
            value
                .iter()
                .fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0')),
        );
    }
    Ok(length)
}

enum Coding {
    Chunked,
    Other,
}

fn transfer_coding(fields: &Http1Fields) -> Result<Option<Coding>, BadHead> {
    let mut coding = None;
    for span in fields
        .spans
        .iter()
        .filter(|span| span.known == Known::TransferEncoding)
    {
        if coding.is_some() {
            return Err(BadHead::Malformed("more than one Transfer-Encoding"));
        }
        let value = fields.slice(&span.value);
        coding = Some(if value.eq_ignore_ascii_case(b"chunked") {
            Coding::Chunked
        } else if value.rsplit(|c| *c == b',').next().is_some_and(|last| {
            last.trim_ascii().eq_ignore_ascii_case(b"chunked") && value.contains(&b',')
        }) {
            // A further coding under chunked: framed, but nobody here undoes it.
            Coding::Other
        } else if value.is_empty()
            || value
                .iter()
                .any(|c| !(c.is_ascii_alphanumeric() || b"-_.,; \t=\"".contains(c)))
        {
            return Err(BadHead::Malformed("Transfer-Encoding"));
        } else if value
            .to_ascii_lowercase()
            .windows(7)
            .any(|w| w == b"chunked")
        {
            return Err(BadHead::Malformed(
                "Transfer-Encoding does not end in chunked",
            ));
        } else {
            Coding::Other
        });
    }
    Ok(coding)
}

/// RFC 9112 section 3.2: the form of the target, and exactly one valid Host that agrees with it.
fn authority_and_target(
    method: &Method,
    target: Bytes,
    version: Version,
    fields: &Http1Fields,
) -> Result<(Bytes, Bytes), BadHead> {
    if *method == Method::CONNECT || *method == Method::TRACE {
        return Err(BadHead::Method);
    }
    let mut hosts = fields.spans.iter().filter(|span| span.known == Known::Host);
    let (first, second) = (hosts.next(), hosts.next());
    let has_host = first.is_some();
    let host = match (first, second) {
        (Some(_), Some(_)) => return Err(BadHead::Malformed("more than one Host")),
        (Some(span), None) => fields
            .bytes
            .slice(span.value.start as usize..span.value.end as usize),
        (None, _) if version == Version::Http11 => return Err(BadHead::Malformed("no Host")),
        (None, _) => Bytes::new(),
    };
    if !host.is_empty() && !valid_authority(&host) {
        return Err(BadHead::Malformed("Host"));
    }
    if target
        .iter()
        .any(|c| !(0x21..0x7f).contains(c) || *c == b'#')
    {
        return Err(BadHead::Malformed("character in the target"));
    }
    match target.first() {
        Some(b'/') => {
            if host.is_empty() && version == Version::Http11 {
                return Err(BadHead::Malformed("empty Host"));
            }
            Ok((host, target))
        }
        Some(b'*') if target.len() == 1 && *method == Method::OPTIONS => Ok((host, target)),
        Some(_) => absolute(method, has_host, host, target),
        None => Err(BadHead::Malformed("no target")),
    }
}

/// The absolute form (RFC 9112 section 3.2.2). Its authority must be the Host's: two readings are refused.
fn absolute(
    method: &Method,
    has_host: bool,
    host: Bytes,
    target: Bytes,
) -> Result<(Bytes, Bytes), BadHead> {
    let after = [&b"http://"[..], b"https://"]
        .iter()
        .find(|scheme| {
            target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme)
        })
        .map(|scheme| scheme.len())
        .ok_or(BadHead::Malformed("form of the target"))?;
    let end = target[after..]
        .iter()
        .position(|c| b"/?".contains(c))
        .map_or(target.len(), |at| after + at);
    let authority = target.slice(after..end);
    if !valid_authority(&authority) || (has_host && !host.eq_ignore_ascii_case(&authority)) {
        return Err(BadHead::Malformed("the target's authority is not the Host"));
    }
    let rest = target.slice(end..);
    let path = match rest.first() {
        Some(b'/') => rest,
        Some(_) => [b"/", &rest[..]].concat().into(),
        // RFC 9112 section 3.2.4: the server as a whole is meant.
        None if *method == Method::OPTIONS => Bytes::from_static(b"*"),
        None => Bytes::from_static(b"/"),
    };
    Ok((authority, path))
}

/// `host [":" port]` without user information (RFC 3986 section 3.2).
pub fn valid_authority(authority: &[u8]) -> bool {
    let (host, port) = match authority.iter().rposition(|c| *c == b':') {
        Some(at) if !authority.ends_with(b"]") => (&authority[..at], &authority[at + 1..]),
        _ => (authority, &b""[..]),
    };
    let host_ok = match host {
        [b'[', inner @ .., b']'] => {
            !inner.is_empty()
                && inner
                    .iter()
                    .all(|c| c.is_ascii_hexdigit() || b":.".contains(c))
        }
        _ => {
            !host.is_empty()
                && host
                    .iter()
                    .all(|c| c.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(c))
        }
    };
    host_ok && authority.len() <= 262 && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

/// A head that has not ended yet may already be hopeless.
fn check_partial(buf: &[u8], limits: &Limits) -> Result<(), BadHead> {
    // Only what the target itself shows counts: a long method must not make a target too long that would be taken
    // if the whole head came at once.
    let line = &buf[..memchr::memchr(b'\n', buf).unwrap_or(buf.len())];
    let target = line.splitn(3, |c| *c == b' ').nth(1).unwrap_or(b"");
    if target.len() > limits.target_bytes {
        return Err(BadHead::TargetTooLong);
    }
    if buf.len() >= limits.head_bytes {
        return Err(BadHead::TooLarge);
    }
    line_ends(buf)
}

/// Every LF follows a CR; a CR that no LF follows is refused by the parser.
fn line_ends(bytes: &[u8]) -> Result<(), BadHead> {
    for at in memchr::memchr_iter(b'\n', bytes) {
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(BadHead::Malformed("line that does not end in CR LF"));
        }
    }
    Ok(())
}

fn take_head(buf: &mut BytesMut, length: usize) -> Result<Bytes, BadHead> {
    line_ends(&buf[..length])?;
    Ok(buf.split_to(length).freeze())
}

fn syntax(error: httparse::Error, buf: &[u8]) -> BadHead {
    match error {
        httparse::Error::TooManyHeaders => BadHead::TooLarge,
        httparse::Error::Version if looks_like_http(buf) => BadHead::Version,
        httparse::Error::Version => BadHead::Malformed("version"),
        httparse::Error::Token => BadHead::Malformed("request line"),
        httparse::Error::HeaderName => BadHead::Malformed("field name"),
        httparse::Error::HeaderValue => BadHead::Malformed("field value"),
        httparse::Error::NewLine => BadHead::Malformed("line end"),
        httparse::Error::Status => BadHead::Malformed("status line"),
    }
}

/// Whether the first line is `method SP target SP HTTP/<digit>.<digit>`.
fn looks_like_http(buf: &[u8]) -> bool {
    let line = &buf[..memchr::memchr(b'\r', buf).unwrap_or(buf.len())];
    let mut parts = line.split(|c| *c == b' ');
    let (Some(_), Some(_), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn span(buf: &[u8], part: &[u8]) -> std::ops::Range<u32> {
    let start = (part.as_ptr() as usize).saturating_sub(buf.as_ptr() as usize) as u32;
    start..start + part.len() as u32
}

fn spans(buf: &[u8], headers: &[httparse::Header<'_>]) -> Result<Vec<FieldSpan>, BadHead> {
    let mut spans = Vec::with_capacity(headers.len());
    for header in headers {
        if header.name.is_empty() {
            return Err(BadHead::Malformed("field name"));
        }
        spans.push(FieldSpan {
            name: span(buf, header.name.as_bytes()),
            value: span(buf, header.value),
            known: Known::of(header.name.as_bytes()),
        });
    }
    Ok(spans)
}

#[cfg(test)]
mod tests;
