//! What does the worker see, and what does the client see? Heads as they are passed on.
//!
//! Promises: fields of one connection stay on it (RFC 9110 section 7.6.1), a stranger's `X-Forwarded-*` never passes (a trusted hop's does), anybody's
//! `X-Client-Cert-*` neither,
//! framing is written anew for each side, `Host` goes on byte by byte. Does not: route or send.

use bytes::{BufMut, Bytes, BytesMut};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use crate::exchange::fields::Made;
use crate::exchange::flow::Framing;
use crate::exchange::origin::{self, Origin};
use crate::http1::write;
use crate::message::{
    BodyKind, Fields, Known, REQUEST_ID, Request, Response, Upgrade, Version, list_has,
};
use crate::tls::identity::Identity;

/// What the gateway tells a worker about a request.
pub struct Passage<'a> {
    /// Target as the worker shall see it.
    pub target: &'a [u8],
    /// The address of who connected.
    pub client: &'a str,
    /// What a trusted hop told; goes before what is known of the connection.
    pub origin: Option<&'a Origin>,
    /// `Forwarded` is sent, too.
    pub forwarded: bool,
    /// The client came by TLS.
    pub tls: bool,
    /// Port the client came to.
    pub port: u16,
    /// The request's id.
    pub request_id: &'a str,
    /// A cookie that the worker shall not see.
    pub hidden_cookie: Option<&'a str>,
    /// The worker is reached over TLS.
    pub to_tls: bool,
    /// What the client's certificate says.
    pub certificate: Option<&'a Identity>,
    /// Our place in the trace as `traceparent`, and whether `tracestate` belongs to it.
    pub trace: Option<(&'a str, bool)>,
    /// What the route changes about the fields.
    pub made: &'a Made<'a>,
}

impl Passage<'_> {
    /// What the client spoke to whoever took its connection.
    pub fn proto(&self) -> &[u8] {
        let ours: &[u8] = if self.tls { b"https" } else { b"http" };
        self.told(|origin| origin.proto.as_deref()).unwrap_or(ours)
    }

    fn chain(&self) -> &[u8] {
        self.told(|origin| Some(&origin.chain[..]))
            .unwrap_or(self.client.as_bytes())
    }

    fn told(&self, what: impl Fn(&Origin) -> Option<&[u8]>) -> Option<&[u8]> {
        self.origin.and_then(what)
    }
}

/// The names that `Connection` fields take off this message.
struct Nominated<'a>(Vec<&'a [u8]>);

impl<'a> Nominated<'a> {
    fn of(fields: &'a Fields) -> Nominated<'a> {
        let mut names = Vec::new();
        fields.for_each(|known, _, value| {
            if known == Known::Connection {
                for name in value.split(|c| *c == b',').map(<[u8]>::trim_ascii) {
                    let usual = [&b"close"[..], b"keep-alive", b"upgrade", b""];
                    if !usual.iter().any(|word| name.eq_ignore_ascii_case(word)) {
                        names.push(name);
                    }
                }
            }
        });
        Nominated(names)
    }

    fn has(&self, name: &[u8]) -> bool {
        self.0
            .iter()
            .any(|nominated| nominated.eq_ignore_ascii_case(name))
    }
}

/// Whether a worker may take `name` for the field that we set: in any letter case, and with `_` for `-` (CGI, WSGI).
fn reads_as(set: &[u8], name: &[u8]) -> bool {
    let plain = |c: u8| {
        if c == b'_' {
            b'-'
        } else {
            c.to_ascii_lowercase()
        }
    };
    set.len() == name.len() && set.iter().zip(name).all(|(a, b)| plain(*a) == plain(*b))
}

/// Whether the route sets or removes the field, in whatever spelling a worker may take for it.
fn taken(made: &Made<'_>, name: &[u8]) -> bool {
    let is = |own: &str| reads_as(own.as_bytes(), name);
    made.set.iter().any(|(set, _)| is(set)) || made.remove.iter().any(|gone| is(gone))
}

/// Every request field that passes.
fn each_request_field(
    request: &Request,
    passage: &Passage<'_>,
    mut visit: impl FnMut(Known, &[u8], &[u8]),
) {
    let nominated = Nominated::of(&request.fields);
    request.fields.for_each(|known, name, value| {
        let ours = match known {
            Known::Other | Known::Expect | Known::ContentType | Known::Trailer => false,
            // The key belongs to the upgrade of HTTP/1; over HTTP/2 there is none, and one is made.
            Known::WebSocketKey => matches!(request.upgrade, Some(Upgrade::Connect(_))),
            _ => true,
        };
        let ours = ours || is_of_another_trace(passage, name);
        if !ours && !nominated.has(name) && !taken(passage.made, name) {
            match passage.hidden_cookie {
                Some(hidden) if name.eq_ignore_ascii_case(b"cookie") => {
                    let left = without_cookie(value, hidden);
                    if !left.is_empty() {
                        visit(known, name, &left);
                    }
                }
                _ => visit(known, name, value),
            }
        }
    });
}

/// Whether a field tells of the place in a trace that was ours to tell.
fn is_of_another_trace(passage: &Passage<'_>, name: &[u8]) -> bool {
    passage.trace.is_some_and(|(_, keeps_state)| {
        name.eq_ignore_ascii_case(b"traceparent")
            || (!keeps_state && name.eq_ignore_ascii_case(b"tracestate"))
    })
}

/// The cookies of a field but those of one name.
fn without_cookie(value: &[u8], name: &str) -> Vec<u8> {
    let is_it = |pair: &&[u8]| {
        let rest = pair.strip_prefix(name.as_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&b'='))
    };
    let pairs = value.split(|c| *c == b';').map(<[u8]>::trim_ascii);
    let left: Vec<&[u8]> = pairs.filter(|p| !p.is_empty() && !is_it(p)).collect();
    left.join(&b"; "[..])
}

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static CERT_SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
static CERT_FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The fields that the gateway sets, but for those that the route sets.
fn each_own_field(
    request: &Request,
    passage: &Passage<'_>,
    mut visit: impl FnMut(&'static HeaderName, &[u8]),
) {
    let mut visit = |name: &'static HeaderName, value: &[u8]| {
        if !passage.made.set.iter().any(|(set, _)| name == set) {
            visit(name, value);
        }
    };
    visit(&FORWARDED_FOR, passage.chain());
    visit(&FORWARDED_PROTO, passage.proto());
    let host = passage.told(|origin| origin.host.as_deref());
    let host = host.unwrap_or(&request.authority);
    if !host.is_empty() {
        visit(&FORWARDED_HOST, host);
    }
    match passage.told(|origin| origin.port.as_deref()) {
        Some(port) => visit(&FORWARDED_PORT, port),
        None => visit(
            &FORWARDED_PORT,
            itoa::Buffer::new().format(passage.port).as_bytes(),
        ),
    }
    if passage.forwarded {
        let value = origin::forwarded(passage.chain(), host, passage.proto());
        visit(&header::FORWARDED, &value);
    }
    if let Some(certificate) = passage.certificate {
        visit(&CERT_SUBJECT, certificate.subject.as_bytes());
        visit(&CERT_FINGERPRINT, certificate.fingerprint.as_bytes());
    }
    visit(&REQUEST_ID, passage.request_id.as_bytes());
    if let Some((traceparent, _)) = passage.trace {
        visit(&TRACEPARENT, traceparent.as_bytes());
    }
}

/// Writes a request head for an HTTP/1.1 worker; returns how its body must be framed. `websocket_key` is the key of
/// an upgrade that began as an extended CONNECT.
pub fn http1_request(
    out: &mut BytesMut,
    request: &Request,
    passage: &Passage<'_>,
    upgrade: bool,
    websocket_key: Option<&str>,
) -> Framing {
    out.reserve(1024);
    let method = if websocket_key.is_some() {
        "GET"
    } else {
        request.method.as_str()
    };
    write::request_line(out, method.as_bytes(), passage.target);
    write::field(out, b"host", &request.authority);
    let mut cookies: Option<Vec<u8>> = None;
    let http2 = matches!(request.fields, Fields::Http2(_));
    each_request_field(request, passage, |_, name, value| {
        // RFC 9113 section 8.2.3: crumbs of a cookie are put together again.
        if http2 && name == b"cookie" {
            match &mut cookies {
                Some(all) => {
                    all.extend_from_slice(b"; ");
                    all.extend_from_slice(value);
                }
                None => cookies = Some(value.to_vec()),
            }
        } else {
            write::field(out, name, value);
        }
    });
    if let Some(cookies) = cookies {
        write::field(out, b"cookie", &cookies);
    }
    each_own_field(request, passage, |name, value| {
        write::field(out, name.as_str().as_bytes(), value)
    });
    passage.made.write_http1(out);
    if upgrade {
        out.put_slice(b"connection: Upgrade\r\nupgrade: websocket\r\n");
        if let Some(key) = websocket_key {
            write::field(out, b"sec-websocket-key", key.as_bytes());
        }
    }
    let framing = match request.body {
        _ if upgrade => Framing::Empty,
        BodyKind::Length(length) => {
            write::number_field(out, b"content-length", length);
            Framing::Length(length)
        }
        BodyKind::Open | BodyKind::UntilClose => {
            out.put_slice(b"transfer-encoding: chunked\r\n");
            Framing::Chunked
        }
        BodyKind::Empty => {
            // RFC 9110 section 8.6: a method that anticipates content says that there is none.
            if [Method::POST, Method::PUT, Method::PATCH].contains(&request.method) {
                out.put_slice(b"content-length: 0\r\n");
            }
            Framing::Empty
        }
    };
    out.put_slice(b"\r\n");
    framing
}

/// Makes a request head for an HTTP/2 worker; `None` when its target cannot be said in HTTP/2.
pub fn http2_request(request: &Request, passage: &Passage<'_>) -> Option<http::Request<()>> {
    let authority = match &request.authority[..] {
        b"" => Bytes::from_static(b"localhost"),
        _ => request.authority.clone(),
    };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(match passage.to_tls {
        true => Scheme::HTTPS,
        false => Scheme::HTTP,
    });
    parts.authority = Some(Authority::from_maybe_shared(authority).ok()?);
    parts.path_and_query = Some(PathAndQuery::try_from(passage.target).ok()?);
    let uri = Uri::from_parts(parts).ok()?;
    let mut head = http::Request::new(());
    *head.method_mut() = request.method.clone();
    *head.uri_mut() = uri;
    *head.version_mut() = http::Version::HTTP_2;
    let map = head.headers_mut();
    map.reserve(request.fields.len() + 8);
    // Copied, not shared: what the session's compression remembers (RFC 7541 section 2.3.2) would else keep whole buffers of
    // clients' connections, and for longer than these live.
    each_request_field(request, passage, |_, name, value| {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            map.append(name, value);
        }
    });
    // RFC 9110 section 10.1.4: the one thing `TE` says that outlives a connection; gRPC asks for it.
    if request
        .fields
        .known(Known::Te)
        .is_some_and(|te| list_has(te, b"trailers"))
    {
        map.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let BodyKind::Length(length) = request.body {
        map.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    each_own_field(request, passage, |name, value| {
        if let Ok(mut value) = HeaderValue::from_bytes(value) {
            // Never said twice, so it is of no use in the table of what was said (RFC 7541 section 7.1.3), where it would take
            // the place of what is.
            value.set_sensitive(*name == REQUEST_ID || *name == TRACEPARENT);
            map.insert(name, value);
        }
    });
    passage.made.apply_http2(map);
    Some(head)
}

/// Whether a response field passes to the client, its framing apart.
fn passes(known: Known) -> bool {
    matches!(
        known,
        Known::Other | Known::ContentType | Known::RequestId | Known::Trailer | Known::Expect
    ) || known == Known::WebSocketKey
}

/// Fields of one connection of HTTP/1 (RFC 9113 section 8.2.2).
static OF_A_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// How the connection goes on after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Another request may follow.
    Keep,
    /// It is closed.
    Close,
    /// It is a tunnel.
    Upgrade,
}

/// Writes a response head for an HTTP/1 client; returns how its body must be framed and what `after` came to.
pub fn http1_response(
    out: &mut BytesMut,
    response: &Response,
    version: Version,
    to_head: bool,
    after: After,
    made: Option<&Made<'_>>,
) -> (Framing, After) {
    out.reserve(512);
    write::status_line(out, response.status);
    let nominated = Nominated::of(&response.fields);
    let mut length = None;
    response.fields.for_each(|known, name, value| {
        if known == Known::ContentLength {
            length = Some(value);
        } else if passes(known)
            && !nominated.has(name)
            && !made.is_some_and(|made| made.takes(name))
        {
            write::field(out, name, value);
        }
    });
    if let Some(made) = made {
        made.write_http1(out);
    }
    let informational = response.status < 200;
    let bodiless = informational || response.status == 204 || response.status == 304 || to_head;
    let framing = match response.body {
        _ if bodiless => {
            // What a GET would have had (RFC 9110 section 8.6); never beside 1xx and 204.
            if let Some(length) = length.filter(|_| !informational && response.status != 204) {
                write::field(out, b"content-length", length);
            }
            Framing::Empty
        }
        BodyKind::Empty => {
            out.put_slice(b"content-length: 0\r\n");
            Framing::Empty
        }
        BodyKind::Length(length) => {
            write::number_field(out, b"content-length", length);
            Framing::Length(length)
        }
        BodyKind::Open | BodyKind::UntilClose if version == Version::Http10 => Framing::Raw,
        BodyKind::Open | BodyKind::UntilClose => {
            out.put_slice(b"transfer-encoding: chunked\r\n");
            Framing::Chunked
        }
    };
    let after = if framing == Framing::Raw {
        After::Close
    } else {
        after
    };
    match after {
        After::Upgrade => out.put_slice(b"connection: Upgrade\r\nupgrade: websocket\r\n"),
        After::Close if !informational => out.put_slice(b"connection: close\r\n"),
        After::Keep if version == Version::Http10 => out.put_slice(b"connection: keep-alive\r\n"),
        After::Keep | After::Close => {}
    }
    out.put_slice(b"\r\n");
    (framing, after)
}

/// Makes a response head for an HTTP/2 client.
pub fn http2_response(
    response: Response,
    to_head: bool,
    made: Option<&Made<'_>>,
) -> http::Response<()> {
    let status =
        http::StatusCode::from_u16(response.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    *head.version_mut() = http::Version::HTTP_2;
    // Never beside 1xx and 204 (RFC 9110 section 8.6), not even where the request was a HEAD.
    let keep_length = response.status >= 200
        && response.status != 204
        && (to_head || response.status == 304 || matches!(response.body, BodyKind::Length(_)));
    match response.fields {
        Fields::Http2(mut map) => {
            for name in &OF_A_CONNECTION {
                map.remove(name);
            }
            if !keep_length {
                map.remove(header::CONTENT_LENGTH);
            }
            *head.headers_mut() = map;
        }
        fields => {
            let nominated = Nominated::of(&fields);
            let map = head.headers_mut();
            map.reserve(fields.len());
            fields.for_each(|known, name, value| {
                let passes =
                    (passes(known) && known != Known::WebSocketKey && !nominated.has(name))
                        || (known == Known::ContentLength && keep_length);
                if let (true, Ok(name), Ok(value)) = (
                    passes,
                    HeaderName::from_bytes(name),
                    HeaderValue::from_bytes(value),
                ) {
                    map.append(name, value);
                }
            });
        }
    }
    if let Some(made) = made {
        made.apply_http2(head.headers_mut());
    }
    head
}

/// The fields of a response that pass, as a map that can be changed, in the response's place.
pub(super) fn into_map(response: &mut Response) -> &mut HeaderMap {
    if let Fields::Http1(_) = &response.fields {
        let nominated = Nominated::of(&response.fields);
        let mut map = HeaderMap::with_capacity(response.fields.len() + 4);
        response.fields.for_each(|known, name, value| {
            let stays = passes(known) && !nominated.has(name);
            if let (true, Ok(name), Ok(value)) = (
                stays || known == Known::ContentLength,
                HeaderName::from_bytes(name),
                HeaderValue::from_bytes(value),
            ) {
                map.append(name, value);
            }
        });
        response.fields = Fields::Http2(map);
    }
    match &mut response.fields {
        Fields::Http2(map) => map,
        Fields::Http1(_) => unreachable!("they were made a map above"),
    }
}

/// A `Sec-WebSocket-Key` (RFC 6455 section 4.1): 16 random bytes in base64.
pub fn websocket_key(random: u128) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut key = String::with_capacity(24);
    for sextet in 0..21 {
        key.push(char::from(
            ALPHABET[(random >> (122 - sextet * 6)) as usize & 63],
        ));
    }
    // 128 bits are 21 sextets and 2 bits.
    key.push(char::from(ALPHABET[((random & 3) << 4) as usize]));
    key.push_str("==");
    key
}

#[cfg(test)]
mod tests;
