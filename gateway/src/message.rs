//! What is said? A request or response head, from HTTP/1 or HTTP/2, in the form both sides of an exchange share.
//!
//! Promises: reading a field allocates nothing; an HTTP/1 head keeps pointing into the bytes it was read from.
//! Does not: decide anything.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};

/// A request head.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method, as sent.
    pub method: Method,
    /// `Host` or `:authority` as sent, with its port; empty where HTTP/1.0 left it out.
    pub authority: Bytes,
    /// Path and query in origin form, as sent; `*` for `OPTIONS *`.
    pub target: Bytes,
    /// Version the client speaks.
    pub version: Version,
    /// All fields; `Host` among them where HTTP/1 sent one.
    pub fields: Fields,
    /// What follows the head.
    pub body: BodyKind,
    /// The client asked to leave HTTP.
    pub upgrade: Option<Upgrade>,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// A response head.
#[derive(Debug)]
pub struct Response {
    /// 100 to 999.
    pub status: u16,
    /// All fields.
    pub fields: Fields,
    /// What follows the head.
    pub body: BodyKind,
}

impl Response {
    /// `100 Continue`, of our own.
    pub fn go_on() -> Response {
        Response {
            status: 100,
            fields: Fields::empty(),
            body: BodyKind::Empty,
        }
    }
}

/// The versions spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0 (RFC 1945), as RFC 9112 treats it.
    Http10,
    /// HTTP/1.1 (RFC 9112).
    Http11,
    /// HTTP/2 (RFC 9113).
    Http2,
}

impl Version {
    /// As logs and metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2.0",
        }
    }
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// There is none.
    Empty,
    /// So many bytes.
    Length(u64),
    /// Its end is marked: chunked coding, or END_STREAM without a length.
    Open,
    /// It lasts until the connection closes (responses of HTTP/1 only).
    UntilClose,
}

/// A request to leave HTTP on this connection or stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// `Upgrade: <protocol>` of HTTP/1.1 (RFC 9110 section 7.8).
    Http1(Bytes),
    /// Extended CONNECT with `:protocol` (RFC 8441).
    Connect(String),
}

impl Upgrade {
    /// Whether a WebSocket is asked for.
    pub fn is_websocket(&self) -> bool {
        match self {
            Upgrade::Http1(name) => name.eq_ignore_ascii_case(b"websocket"),
            Upgrade::Connect(name) => name.eq_ignore_ascii_case("websocket"),
        }
    }
}

/// `X-Request-ID`.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Fields in their order, whatever they were read from.
#[derive(Clone, Debug)]
pub enum Fields {
    /// Ranges into the head's bytes.
    Http1(Http1Fields),
    /// As the `h2` crate gives them.
    Http2(HeaderMap),
}

/// Fields of an HTTP/1 head or trailer section.
#[derive(Clone, Debug, Default)]
pub struct Http1Fields {
    /// The head.
    pub bytes: Bytes,
    /// Where each field stands in it.
    pub spans: Vec<FieldSpan>,
}

/// A field: where its name and its value stand, and whether the gateway cares for it.
#[derive(Clone, Debug)]
pub struct FieldSpan {
    /// The name.
    pub name: Range<u32>,
    /// The value, without white space around it.
    pub value: Range<u32>,
    /// What it is.
    pub known: Known,
}

/// The fields that a gateway has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Any other.
    Other,
    /// `Host`.
    Host,
    /// `Connection`.
    Connection,
    /// `Content-Length`.
    ContentLength,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `Keep-Alive`, `Proxy-Connection`: of this connection only.
    HopByHop,
    /// `TE`.
    Te,
    /// `Upgrade`.
    Upgrade,
    /// `Expect`.
    Expect,
    /// `Forwarded`, `X-Forwarded-*`: ours to say.
    Forwarded,
    /// `X-Client-Cert-*`: ours to say.
    ClientCertificate,
    /// `X-Request-ID`.
    RequestId,
    /// `Content-Type`.
    ContentType,
    /// `Trailer`.
    Trailer,
    /// `HTTP2-Settings`: an h2c upgrade, which is not offered (RFC 9113 section 3.1).
    Http2Settings,
    /// `Sec-WebSocket-Key` and `-Accept`: of the HTTP/1 handshake only.
    WebSocketKey,
    /// One of these names with `_` for `-`: it passes nowhere.
    Disguised,
}

/// No name that is looked for is longer.
const LONGEST: usize = 64;

impl Known {
    /// Looks a name up, in any letter case.
    pub fn of(name: &[u8]) -> Known {
        /// By length.
        static TABLE: [(&[u8], Known); 19] = [
            (b"te", Known::Te),
            (b"host", Known::Host),
            (b"expect", Known::Expect),
            (b"upgrade", Known::Upgrade),
            (b"trailer", Known::Trailer),
            (b"forwarded", Known::Forwarded),
            (b"connection", Known::Connection),
            (b"keep-alive", Known::HopByHop),
            (b"content-type", Known::ContentType),
            (b"x-request-id", Known::RequestId),
            (b"content-length", Known::ContentLength),
            (b"http2-settings", Known::Http2Settings),
            (b"x-forwarded-for", Known::Forwarded),
            (b"x-forwarded-host", Known::Forwarded),
            (b"x-forwarded-port", Known::Forwarded),
            (b"proxy-connection", Known::HopByHop),
            (b"x-forwarded-proto", Known::Forwarded),
            (b"transfer-encoding", Known::TransferEncoding),
            (b"sec-websocket-key", Known::WebSocketKey),
        ];
        /// Where the names of a length begin in it.
        static OF_LENGTH: [u8; 21] = {
            let mut begins = [0; 21];
            let mut i = 0;
            while i < TABLE.len() {
                let mut length = TABLE[i].0.len() + 1;
                while length < begins.len() {
                    begins[length] = i as u8 + 1;
                    length += 1;
                }
                i += 1;
            }
            begins
        };
        static FIRST: [bool; 256] = {
            let mut first = [false; 256];
            let mut i = 0;
            while i < TABLE.len() {
                first[TABLE[i].0[0] as usize] = true;
                first[TABLE[i].0[0].to_ascii_uppercase() as usize] = true;
                i += 1;
            }
            first
        };
        if !name.first().is_some_and(|c| FIRST[*c as usize]) {
            return Known::Other;
        }
        if name.len() + 1 < OF_LENGTH.len() {
            let (from, to) = (OF_LENGTH[name.len()], OF_LENGTH[name.len() + 1]);
            for (text, known) in &TABLE[usize::from(from)..usize::from(to)] {
                if text.eq_ignore_ascii_case(name) {
                    return *known;
                }
            }
        }
        if name.len() > 12 && name[..12].eq_ignore_ascii_case(b"x-forwarded-") {
            return Known::Forwarded;
        }
        if name.len() > 14 && name[..14].eq_ignore_ascii_case(b"x-client-cert-") {
            return Known::ClientCertificate;
        }
        if name.eq_ignore_ascii_case(b"sec-websocket-accept") {
            return Known::WebSocketKey;
        }
        // Workers that hand fields on as variables (CGI, WSGI) read `_` as `-`.
        if name.contains(&b'_') && name.len() <= LONGEST {
            let mut dashed = [0; LONGEST];
            let dashed = &mut dashed[..name.len()];
            dashed.copy_from_slice(name);
            dashed
                .iter_mut()
                .filter(|c| **c == b'_')
                .for_each(|c| *c = b'-');
            if Known::of(dashed) != Known::Other {
                return Known::Disguised;
            }
        }
        Known::Other
    }

    /// Whether the field may stand in a trailer section that we write (RFC 9110 section 6.5.1).
    pub fn may_trail(self) -> bool {
        !matches!(
            self,
            Known::ContentLength
                | Known::TransferEncoding
                | Known::Host
                | Known::Connection
                | Known::HopByHop
                | Known::Te
                | Known::Upgrade
                | Known::Trailer
                | Known::Forwarded
                | Known::ClientCertificate
                | Known::Disguised
        )
    }
}

impl Fields {
    /// None at all.
    pub fn empty() -> Fields {
        Fields::Http1(Http1Fields::default())
    }

    /// Every field in order.
    pub fn for_each<'a>(&'a self, mut visit: impl FnMut(Known, &'a [u8], &'a [u8])) {
        match self {
            Fields::Http1(fields) => {
                for span in &fields.spans {
                    visit(
                        span.known,
                        fields.slice(&span.name),
                        fields.slice(&span.value),
                    );
                }
            }
            Fields::Http2(map) => {
                for (name, value) in map {
                    let name = name.as_str().as_bytes();
                    visit(Known::of(name), name, value.as_bytes());
                }
            }
        }
    }

    /// The first value of a field; `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        match self {
            Fields::Http1(fields) => fields
                .spans
                .iter()
                .find(|span| {
                    fields
                        .slice(&span.name)
                        .eq_ignore_ascii_case(name.as_bytes())
                })
                .map(|span| fields.slice(&span.value)),
            Fields::Http2(map) => map.get(name).map(|value| value.as_bytes()),
        }
    }

    /// Whether a field of that lower-case name is there, with that value if one is given.
    pub fn has(&self, name: &str, value: Option<&[u8]>) -> bool {
        let mut found = false;
        self.for_each(|_, field, text| {
            found |= field.eq_ignore_ascii_case(name.as_bytes())
                && value.is_none_or(|value| value == text);
        });
        found
    }

    /// The first value of a field that the gateway knows.
    pub fn known(&self, known: Known) -> Option<&[u8]> {
        match self {
            Fields::Http1(fields) => fields
                .spans
                .iter()
                .find(|span| span.known == known)
                .map(|span| fields.slice(&span.value)),
            Fields::Http2(map) => match known {
                Known::RequestId => map.get(&REQUEST_ID),
                Known::Te => map.get(http::header::TE),
                Known::ContentType => map.get(http::header::CONTENT_TYPE),
                _ => map
                    .iter()
                    .find(|(name, _)| Known::of(name.as_str().as_bytes()) == known)
                    .map(|(_, value)| value),
            }
            .map(|value| value.as_bytes()),
        }
    }

    /// Whether the content is gRPC of any kind.
    pub fn is_grpc(&self) -> bool {
        let value = self.known(Known::ContentType);
        // `application/grpc`, `application/grpc+proto`; not `application/grpc-web`, which has no trailers.
        value.is_some_and(|value| {
            value.len() >= 16
                && value[..16].eq_ignore_ascii_case(b"application/grpc")
                && matches!(value.get(16), None | Some(b'+' | b';' | b' '))
        })
    }

    /// As a map, for HTTP/2. Names that are no tokens cannot be here.
    pub fn into_map(self) -> HeaderMap {
        match self {
            Fields::Http2(map) => map,
            Fields::Http1(fields) => {
                let mut map = HeaderMap::with_capacity(fields.spans.len());
                for span in &fields.spans {
                    if let (Ok(name), Ok(value)) = (
                        http::HeaderName::from_bytes(fields.slice(&span.name)),
                        http::HeaderValue::from_maybe_shared(
                            fields
                                .bytes
                                .slice(span.value.start as usize..span.value.end as usize),
                        ),
                    ) {
                        map.append(name, value);
                    }
                }
                map
            }
        }
    }

    /// Adds a field behind the others; `name` is a token in lower case.
    pub fn append(&mut self, name: &'static str, value: &[u8]) {
        match self {
            Fields::Http1(fields) => {
                // The head is shared with whoever read it: what is added stands in a copy.
                let start = fields.bytes.len();
                let mut bytes = Vec::with_capacity(start + name.len() + value.len());
                bytes.extend_from_slice(&fields.bytes);
                bytes.extend_from_slice(name.as_bytes());
                bytes.extend_from_slice(value);
                let (middle, end) = (start + name.len(), bytes.len());
                fields.bytes = bytes.into();
                fields.spans.push(FieldSpan {
                    name: start as u32..middle as u32,
                    value: middle as u32..end as u32,
                    known: Known::of(name.as_bytes()),
                });
            }
            Fields::Http2(map) => {
                if let Ok(value) = http::HeaderValue::from_bytes(value) {
                    map.append(http::HeaderName::from_static(name), value);
                }
            }
        }
    }

    /// Bytes of the longest, name and value together; 0 where none can be longer than `bound`.
    pub fn longest(&self, bound: usize) -> usize {
        if let Fields::Http1(fields) = self
            && fields.bytes.len() <= bound
        {
            return 0;
        }
        let mut longest = 0;
        self.for_each(|_, name, value| longest = longest.max(name.len() + value.len()));
        longest
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Fields::Http1(fields) => fields.spans.len(),
            Fields::Http2(map) => map.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Http1Fields {
    /// The bytes of a range.
    pub fn slice(&self, range: &Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }
}

/// Whether a comma-separated list of tokens holds `token`, in any letter case (RFC 9110 section 5.6.1).
pub fn list_has(list: &[u8], token: &[u8]) -> bool {
    list.split(|c| *c == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_found_in_any_letter_case() {
        for (name, known) in [
            ("Host", Known::Host),
            ("CONTENT-length", Known::ContentLength),
            ("x-forwarded-for", Known::Forwarded),
            ("X-Forwarded-Anything", Known::Forwarded),
            ("X-Forwarder", Known::Other),
            ("X-Client-Cert-Subject", Known::ClientCertificate),
            ("x_client_cert_fingerprint", Known::Disguised),
            ("X-Client-Cert", Known::Other),
            ("te", Known::Te),
            ("Sec-WebSocket-Accept", Known::WebSocketKey),
            ("X_Forwarded_For", Known::Disguised),
            ("content_length", Known::Disguised),
            ("x_other", Known::Other),
            ("", Known::Other),
        ] {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn grpc_is_told_from_grpc_web() {
        for (value, grpc) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/grpc;charset=x", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/grp", false),
            ("", false),
            ("application/json", false),
        ] {
            let mut map = HeaderMap::new();
            map.insert("content-type", value.parse().unwrap());
            assert_eq!(Fields::Http2(map).is_grpc(), grpc, "{value}");
        }
    }

    #[test]
    fn a_token_is_found_in_a_list() {
        for (list, found) in [
            ("upgrade", true),
            ("keep-alive, Upgrade", true),
            ("keep-alive,UPGRADE\t, x", true),
            (",, upgrade", true),
            ("keep-alive,upgraded", false),
            ("keep-alive upgrade", false),
            ("\"upgrade\"", false),
            ("", false),
        ] {
            assert_eq!(list_has(list.as_bytes(), b"upgrade"), found, "{list:?}");
        }
    }

    #[test]
    fn websockets_are_known_in_both_ways_of_asking() {
        for (name, websocket) in [
            ("websocket", true),
            ("WebSocket", true),
            ("h2c", false),
            ("websocket, h2c", false),
            ("", false),
        ] {
            let http1 = Upgrade::Http1(Bytes::copy_from_slice(name.as_bytes()));
            assert_eq!(http1.is_websocket(), websocket, "{name}");
            assert_eq!(
                Upgrade::Connect(name.to_owned()).is_websocket(),
                websocket,
                "{name}"
            );
        }
    }

    /// `Host: a`, `X-A: 1`, `x-a: 2`, `Content-Type: application/grpc`, read from HTTP/1 and from HTTP/2.
    fn both() -> [Fields; 2] {
        let lines = [
            ("Host", "a"),
            ("X-A", "1"),
            ("x-a", "2"),
            ("Content-Type", "application/grpc"),
        ];
        let mut http1 = Http1Fields::default();
        let mut bytes = Vec::new();
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            let at = |bytes: &Vec<u8>| bytes.len() as u32;
            let start = at(&bytes);
            bytes.extend_from_slice(name.as_bytes());
            let middle = at(&bytes);
            bytes.extend_from_slice(value.as_bytes());
            http1.spans.push(FieldSpan {
                name: start..middle,
                value: middle..at(&bytes),
                known: Known::of(name.as_bytes()),
            });
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, value.parse().unwrap());
        }
        http1.bytes = bytes.into();
        [Fields::Http1(http1), Fields::Http2(map)]
    }

    #[test]
    fn fields_are_found_alike_whatever_they_were_read_from() {
        for mut fields in both() {
            fields.append("set-cookie", b"a=b");
            assert_eq!(fields.get("set-cookie"), Some(&b"a=b"[..]));
            assert_eq!(fields.len(), 5);
            assert!(!fields.is_empty() && fields.is_grpc());
            assert_eq!(fields.get("x-a"), Some(&b"1"[..]));
            assert_eq!(fields.get("x-b"), None);
            assert_eq!(fields.known(Known::Host), Some(&b"a"[..]));
            assert_eq!(fields.known(Known::Te), None);
            for (name, value, has) in [
                ("x-a", None, true),
                ("x-a", Some("1"), true),
                ("x-a", Some("2"), true),
                ("x-a", Some("3"), false),
                ("x-a", Some(""), false),
                ("x-b", None, false),
            ] {
                assert_eq!(
                    fields.has(name, value.map(str::as_bytes)),
                    has,
                    "{name} {value:?}"
                );
            }
            let map = fields.into_map();
            assert_eq!(map.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        }
        assert!(Fields::empty().is_empty() && !Fields::empty().is_grpc());
    }
}
