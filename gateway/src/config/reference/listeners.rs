//! Which keys has a listener?

use super::routes::{COMPRESS, ERRORS, INTERCEPT_ERRORS};
use super::{Form, Key, OFF, Section, key};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Listener",
        at: &["listeners.NAME"],
        what: "An address that accepts connections, with its TLS and its protocol.",
        keys: LISTENER,
    },
    Section {
        title: "TLS of a listener",
        at: &["listeners.NAME.tls"],
        what: "Certificates, and how strict the handshake is.",
        keys: TLS,
    },
    Section {
        title: "Certificate",
        at: &["listeners.NAME.tls.certificates[]"],
        what: "A chain and a key in files of their own.",
        keys: &[
            key(
                "chain",
                &[Form::Text("certs/edge.pem")],
                "",
                "PEM file: the leaf first, then the intermediates. Required.",
            ),
            key(
                "key",
                &[Form::Text("certs/edge.key")],
                "",
                "PEM file with the private key. Required.",
            ),
            key(
                "ocsp",
                &[Form::Text("certs/edge.ocsp")],
                "",
                "DER file with what the authority says of it (OCSP), stapled for clients that ask, as long as it counts.",
            ),
        ],
    },
    Section {
        title: "Client certificates",
        at: &["listeners.NAME.tls.client_certificates"],
        what: "Whom a listener trusts. Workers get `X-Client-Cert-Subject` and `X-Client-Cert-Fingerprint`.",
        keys: CLIENT_CERTIFICATES,
    },
    Section {
        title: "Trusted peers",
        at: &["listeners.NAME.proxy_protocol", "listeners.NAME.forwarded"],
        what: "Whose word is taken.",
        keys: &[key(
            "from",
            &[Form::List(&[Form::Text("10.0.0.0/8")])],
            "",
            "Networks of these peers. Required.",
        )],
    },
    Section {
        title: "Limits of a listener",
        at: &["listeners.NAME.limits"],
        what: "What strangers may do. Every bound has a default.",
        keys: LIMITS,
    },
    Section {
        title: "Limits of HTTP/2",
        at: &["listeners.NAME.limits.http2"],
        what: "Bounds of an HTTP/2 connection.",
        keys: HTTP2,
    },
    Section {
        title: "Rate",
        at: &["listeners.NAME.rate", "routes[].rate"],
        what: "How often one client may ask: a bucket of tokens for each. More is answered 429 with `Retry-After`, on gRPC \
               RESOURCE_EXHAUSTED.",
        keys: RATE,
    },
    Section {
        title: "Whose rate",
        at: &["listeners.NAME.rate.per", "routes[].rate.per"],
        what: "Clients told apart by a field.",
        keys: &[key(
            "header",
            &[Form::Text("X-Key")],
            "",
            "Name of the field. Requests without it are counted by address. Required.",
        )],
    },
];

const LISTENER: &[Key] = &[
    key(
        "bind",
        &[Form::List(&[Form::Text(":443")])],
        "",
        "Addresses: `:443` is every one, `192.0.2.1:443` and `[2001:db8::1]:443` are one. Required.",
    ),
    key(
        "protocol",
        &[Form::Words(&["http", "grpc"])],
        "http",
        "`http`: HTTP/1.1, and HTTP/2 where TLS negotiates it. `grpc`: HTTP/2 only, and the gateway's own answers have the \
         form of gRPC.",
    ),
    key(
        "tls",
        &[Form::Keys],
        "",
        "TLS; without it the listener is plain.",
    ),
    key(
        "redirect_https",
        &[Form::Words(&["default", "all", "none"])],
        "default",
        "Plain listeners: `default` serves the routes that name the listener and redirects the rest, `all` redirects \
         everything, `none` serves everything. Without a TLS listener the default is `none`.",
    ),
    key(
        "redirect_port",
        &[Form::Number(1, 65_535)],
        "the port of the first TLS listener, else 443",
        "Port named in such redirects.",
    ),
    key(
        "proxy_protocol",
        &[OFF, Form::Keys],
        "off",
        "Balancers whose connections begin with a header of the PROXY protocol, v1 or v2, that names the client. It is \
         required from them and not looked for from others.",
    ),
    key(
        "forwarded",
        &[OFF, Form::Keys],
        "off",
        "Hops whose `X-Forwarded-For` is kept and continued, and whose `X-Forwarded-Proto`, `-Host` and `-Port` are kept. The \
         client is the last address that is not in these networks.",
    ),
    key(
        "forwarded_header",
        &[Form::Words(&["off", "on"])],
        "off",
        "`on`: workers get `Forwarded` (RFC 7239), too.",
    ),
    key(
        "allow",
        &[OFF, Form::List(&[Form::Text("10.0.0.0/8")])],
        "off",
        "The only networks that may connect. Of `allow` and `deny` the longest prefix that holds an address decides.",
    ),
    key(
        "deny",
        &[OFF, Form::List(&[Form::Text("10.6.0.0/16")])],
        "off",
        "Networks that may not connect.",
    ),
    key(
        "rate",
        &[OFF, Form::Rate, Form::Keys],
        "off",
        "How often one client may ask here.",
    ),
    ERRORS,
    INTERCEPT_ERRORS,
    COMPRESS,
    key("limits", &[Form::Keys], "", "Bounds, each with a default."),
];

const TLS: &[Key] = &[
    key(
        "certificates",
        &[Form::List(&[Form::Text("certs/edge.pem"), Form::Keys])],
        "",
        "A file holds the chain (leaf first) and its key; or both stand in files of their own. The first certificate is \
         the default. Required.",
    ),
    key(
        "unknown_names",
        &[Form::Words(&["default", "refuse"])],
        "default",
        "What a client gets that asks for a name which no certificate covers: the first certificate, or a fatal alert.",
    ),
    key(
        "min_version",
        &[Form::Words(&["1.2", "1.3"])],
        "1.2",
        "Oldest version spoken.",
    ),
    key(
        "watch",
        &[Form::Words(&["off", "on"])],
        "on",
        "Files that are replaced on the disk are picked up within seconds where they are sound; `off`: by a reload only.",
    ),
    key(
        "client_certificates",
        &[OFF, Form::Keys],
        "off",
        "What clients must show of themselves.",
    ),
];

const CLIENT_CERTIFICATES: &[Key] = &[
    key(
        "mode",
        &[Form::Words(&["off", "optional", "required"])],
        "",
        "`optional`: who shows none is served as any other, who shows a bad one is not. Required.",
    ),
    key(
        "ca",
        &[Form::Text("certs/clients.pem")],
        "",
        "PEM file with the authorities that may have issued them, at most 256. Required but for `mode: off`.",
    ),
    key(
        "crl",
        &[Form::List(&[Form::Text("certs/clients.crl")])],
        "",
        "PEM files with lists of revoked certificates. Where there is one, each certificate of a client's chain must be \
         covered by one.",
    ),
    key(
        "expired_crl",
        &[Form::Words(&["accept", "refuse"])],
        "refuse",
        "What becomes of clients once the list that covers them has run out (`nextUpdate`); `accept`: what is known goes on \
         being used.",
    ),
];

const HTTP2: &[Key] = &[
    key(
        "resets_max",
        &[Form::Number(1, 100_000)],
        "64",
        "Streams that the client has reset and that are not forgotten or not served yet; one more ends the connection \
         (ENHANCE_YOUR_CALM).",
    ),
    key(
        "errors_max",
        &[Form::Number(1, 1_000_000)],
        "256",
        "Streams that were reset for the client's errors, in the life of a connection; one more ends it.",
    ),
    key(
        "stream_window",
        &[Form::Size],
        "64KiB",
        "Window of a stream: what a slow worker can make the gateway hold of one request.",
    ),
    key(
        "connection_window",
        &[Form::Size],
        "all streams' together",
        "Window of a connection.",
    ),
    key(
        "frame_bytes_max",
        &[Form::Size],
        "16KiB",
        "Longest frame that is taken, 16 KiB to 16 MiB.",
    ),
    key(
        "send_bytes_max",
        &[Form::Size],
        "128KiB",
        "Bytes of a response that may wait for the client, per stream.",
    ),
];

const LIMITS: &[Key] = &[
    key(
        "connections_max",
        &[Form::Number(1, 10_000_000)],
        "50000",
        "Open connections of all clients together; one more is closed.",
    ),
    key(
        "connections_per_client_max",
        &[Form::Number(1, 10_000_000)],
        "10000",
        "Open connections of one client (IPv4 address, IPv6 /64); one more is closed.",
    ),
    key(
        "handshake_timeout",
        &[Form::Duration],
        "10s",
        "From accept to the end of the TLS handshake.",
    ),
    key(
        "first_byte_timeout",
        &[Form::Duration],
        "30s",
        "From there to the first byte of the first request.",
    ),
    key(
        "head_timeout",
        &[Form::Duration],
        "10s",
        "From the first byte of a request's head to its last.",
    ),
    key(
        "idle_timeout",
        &[Form::Duration],
        "75s",
        "Between requests on a kept connection; for HTTP/2, without an open stream.",
    ),
    key(
        "body_timeout",
        &[Form::Duration],
        "60s",
        "Between two pieces of a request's body, or two takes of a response by the client. Not for tunnels and gRPC.",
    ),
    key(
        "body_rate_min",
        &[Form::Size, OFF],
        "500",
        "Bytes that a client has to send or take per second, by the time that it was waited for; looked at once that is more than `body_timeout`. Not for tunnels and gRPC.",
    ),
    key(
        "tunnel_timeout",
        &[Form::Duration, OFF],
        "off",
        "A WebSocket without a byte either way.",
    ),
    key(
        "head_bytes_max",
        &[Form::Size],
        "32KiB",
        "A request's head; more is answered 431.",
    ),
    key(
        "target_bytes_max",
        &[Form::Size],
        "8KiB",
        "A request's target; more is answered 414.",
    ),
    key(
        "fields_max",
        &[Form::Number(8, 10_000)],
        "100",
        "Fields of a head; more is answered 431.",
    ),
    key(
        "body_bytes_max",
        &[Form::Size],
        "0",
        "A request's body; more is answered 413. 0 is no limit.",
    ),
    key(
        "streams_max",
        &[Form::Number(1, 100_000)],
        "128",
        "Streams at once on one HTTP/2 connection.",
    ),
    key(
        "field_bytes_max",
        &[OFF, Form::Size],
        "off",
        "One field of a request's head, name and value together; a longer one is answered 431. `off`: as long as the head.",
    ),
    key("http2", &[Form::Keys], "", "Bounds that only HTTP/2 has."),
];

const RATE: &[Key] = &[
    key(
        "per",
        &[Form::Words(&["address", "certificate"]), Form::Keys],
        "address",
        "Who is one client: an IPv4 address or IPv6 /64, the certificate that it shows, or a value of a field.",
    ),
    key(
        "requests",
        &[Form::Rate],
        "",
        "How many, in which time. Required.",
    ),
    key(
        "burst",
        &[Form::Number(1, 1_000_000)],
        "what comes in a second, at least 1",
        "Requests at once after a rest.",
    ),
    key(
        "keys_max",
        &[Form::Number(1, 1_000_000)],
        "100000",
        "Clients remembered, at about 64 bytes each; then the longest unused is forgotten.",
    ),
];
