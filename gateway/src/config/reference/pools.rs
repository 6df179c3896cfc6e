//! Which keys has a pool?

use super::{Form, Key, OFF, Section, key};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Pool",
        at: &["pools.NAME"],
        what: "A named set of workers: hosts times ranges of ports.",
        keys: POOL,
    },
    Section {
        title: "TLS of a pool",
        at: &["pools.NAME.tls", "checks.NAME.tls"],
        what: "How its workers prove who they are, health checks included.",
        keys: WORKER_TLS,
    },
    Section {
        title: "Certificate of the gateway's own",
        at: &[
            "pools.NAME.tls.client_certificate",
            "checks.NAME.tls.client_certificate",
        ],
        what: "A chain and a key in files of their own.",
        keys: &[
            key(
                "chain",
                &[Form::Text("certs/gateway.pem")],
                "",
                "PEM file: the leaf first, then the intermediates. Required.",
            ),
            key(
                "key",
                &[Form::Text("certs/gateway.key")],
                "",
                "PEM file with the private key. Required.",
            ),
        ],
    },
    Section {
        title: "Host of a pool",
        at: &["pools.NAME.hosts[]"],
        what: "A machine with workers.",
        keys: &[
            key(
                "address",
                &[Form::Text("10.0.0.2")],
                "",
                "IPv4 or IPv6 address. Required.",
            ),
            key(
                "weight",
                &[Form::Number(1, 1_000)],
                "100",
                "Share of each worker of this host.",
            ),
        ],
    },
    Section {
        title: "Hash key",
        at: &["pools.NAME.hash"],
        what: "What is hashed; one of these.",
        keys: &[
            key(
                "header",
                &[Form::Text("X-Computer-ID")],
                "",
                "A field's value.",
            ),
            key("cookie", &[Form::Text("session")], "", "A cookie's value."),
        ],
    },
    Section {
        title: "Health check",
        at: &["pools.NAME.health"],
        what: "Active checks beyond finding the listener. One of `tcp`, `http` and `grpc` says which.",
        keys: HEALTH,
    },
    Section {
        title: "Outlier detection",
        at: &["pools.NAME.outlier"],
        what: "A worker that fails in a row rests.",
        keys: OUTLIER,
    },
    Section {
        title: "Hold and queue",
        at: &["pools.NAME.hold", "pools.NAME.queue"],
        what: "Requests that wait. The default of `requests_max` is 10000 for `hold` and 1000 for `queue`.",
        keys: &[
            key(
                "time",
                &[Form::Duration, OFF],
                "30s",
                "Longest wait; then 503 with `Retry-After`.",
            ),
            key(
                "requests_max",
                &[Form::Number(1, 10_000_000)],
                "10000, 1000",
                "Requests that wait at once; one more is answered 503.",
            ),
        ],
    },
    Section {
        title: "Retries",
        at: &["pools.NAME.retry"],
        what: "When a request is tried again on another worker. One that may have been processed is repeated only when its \
               method is idempotent.",
        keys: RETRY,
    },
    Section {
        title: "Sticky",
        at: &["pools.NAME.sticky"],
        what: "How a client comes back to its worker.",
        keys: STICKY,
    },
    Section {
        title: "Backup",
        at: &["pools.NAME.backup", "routes[].backup"],
        what: "Who stands in, and when.",
        keys: &[
            key("to", &[Form::Text("spare")], "", "The pool. Required."),
            key(
                "below",
                &[Form::Number(1, 100_000)],
                "1",
                "It does while fewer workers than this are up.",
            ),
        ],
    },
    Section {
        title: "Mirror",
        at: &["routes[].mirror"],
        what: "Which requests are copied, and how many at once.",
        keys: MIRROR,
    },
    Section {
        title: "Maintenance",
        at: &["pools.NAME.maintenance"],
        what: "What is said while the pool is closed, and to whom not.",
        keys: MAINTENANCE,
    },
];

const POOL: &[Key] = &[
    key(
        "ports",
        &[Form::List(&[
            Form::Text("8080-8089"),
            Form::Number(1, 65_535),
        ])],
        "",
        "Ports and ranges of ports. Required.",
    ),
    key(
        "hosts",
        &[Form::List(&[Form::Text("127.0.0.1"), Form::Keys])],
        "127.0.0.1",
        "Machines with such workers.",
    ),
    key(
        "protocol",
        &[Form::Words(&["http1", "h2c", "h2"])],
        "http1",
        "What workers speak: HTTP/1.1, or HTTP/2 in plain text, as gRPC needs it.",
    ),
    key(
        "balance",
        &[Form::Words(&[
            "least-loaded",
            "round-robin",
            "least-connections",
            "hash",
        ])],
        "least-loaded",
        "`least-loaded` is the better of two random ones, `least-connections` the best of all.",
    ),
    key(
        "hash",
        &[Form::Words(&["address"]), Form::Keys],
        "",
        "With `balance: hash`: what of a request decides.",
    ),
    key(
        "discovery",
        &[Form::Words(&["auto", "probe", "static"])],
        "auto",
        "How live workers are found: the kernel's listen table for this machine and probing for others, probing always, or \
         not at all (every port is taken to be up).",
    ),
    key(
        "health",
        &[Form::Words(&["off", "tcp", "http", "grpc"]), Form::Keys],
        "off",
        "Active checks.",
    ),
    key("outlier", &[OFF, Form::Keys], "on", "Passive checks."),
    key(
        "hold",
        &[Form::Duration, OFF, Form::Keys],
        "30s",
        "What happens to requests while no worker is up.",
    ),
    key(
        "queue",
        &[Form::Duration, OFF, Form::Keys],
        "30s",
        "What happens to requests while every worker is at its cap.",
    ),
    key(
        "worker_in_flight_max",
        &[OFF, Form::Number(1, 1_000_000)],
        "off",
        "Exchanges one worker may have at once.",
    ),
    key(
        "slow_start",
        &[Form::Duration, OFF],
        "0s",
        "Time over which a new worker's share grows from a tenth to the whole.",
    ),
    key(
        "connect_timeout",
        &[Form::Duration],
        "3s",
        "For the TCP connection to a worker.",
    ),
    key(
        "response_timeout",
        &[Form::Duration],
        "305s",
        "From the end of a request to the head of its response; then 504. Not for gRPC.",
    ),
    key(
        "body_timeout",
        &[Form::Duration],
        "305s",
        "Between two pieces of a response's body. Not for tunnels and gRPC.",
    ),
    key(
        "idle_timeout",
        &[Form::Duration],
        "30s",
        "A kept connection to a worker is closed after this long without use.",
    ),
    key("retry", &[OFF, Form::Keys], "on", "Retries."),
    key(
        "head_bytes_max",
        &[Form::Size],
        "64KiB",
        "A response's head; more is answered 502.",
    ),
    key(
        "streams_max",
        &[Form::Number(1, 100_000)],
        "100",
        "Streams of one HTTP/2 connection to a worker.",
    ),
    key(
        "tls",
        &[Form::Words(&["off", "on"]), Form::Keys],
        "off, but on for `protocol: h2`",
        "Workers are spoken to over TLS; `on` trusts the system's authorities. The time for a connection holds for both.",
    ),
    key(
        "send_proxy",
        &[Form::Words(&["off", "v1", "v2"])],
        "off",
        "Each connection to a worker begins with a header of the PROXY protocol that names the client, and serves one \
         exchange.",
    ),
    key(
        "sticky",
        &[OFF, Form::Keys],
        "off",
        "A client comes back to the worker that served it, by a cookie of the gateway's.",
    ),
    key(
        "backup",
        &[Form::Text("spare"), Form::Keys],
        "none",
        "A pool that stands in while no worker is up. A route may name another.",
    ),
    key(
        "maintenance",
        &[Form::Words(&["off", "on"]), Form::Keys],
        "off",
        "Requests are answered 503 with `Retry-After`; open exchanges and streams go on.",
    ),
    key(
        "abort_on_close",
        &[Form::Words(&["off", "on"])],
        "off",
        "An HTTP/1 client that ends its side while it waits for the head of a response has left: the request is given up.",
    ),
];

const STICKY: &[Key] = &[
    key(
        "cookie",
        &[Form::Text("at")],
        "",
        "Name of the cookie. Required; no two pools of a site have the same.",
    ),
    key(
        "ttl",
        &[Form::Words(&["session"]), Form::Duration],
        "session",
        "How long it lasts, from when it was set; `session`: until the browser is closed.",
    ),
    key(
        "secure",
        &[Form::Words(&["auto", "on", "off"])],
        "auto",
        "`Secure`; `auto` where the client came by TLS.",
    ),
    key(
        "httponly",
        &[Form::Words(&["on", "off"])],
        "on",
        "`HttpOnly`.",
    ),
    key(
        "samesite",
        &[Form::Words(&["lax", "strict", "none"])],
        "lax",
        "`SameSite`.",
    ),
    key("path", &[Form::Text("/")], "/", "`Path`."),
    key(
        "hide",
        &[Form::Words(&["on", "off"])],
        "off",
        "Workers do not see the cookie.",
    ),
    key(
        "secret",
        &[Form::Text("${STICKY_SECRET}")],
        "none",
        "Keys the names of workers; 16 bytes or more, the same on every gateway. Without one a client can find out by trying \
         which address is meant.",
    ),
];

const MIRROR: &[Key] = &[
    key("to", &[Form::Text("shadow")], "", "The pool. Required."),
    key(
        "share",
        &[Form::Percent(100)],
        "100%",
        "How many of the requests.",
    ),
    key(
        "body_bytes_max",
        &[Form::Size],
        "64KiB",
        "Requests with a longer body are not copied.",
    ),
    key(
        "in_flight_max",
        &[Form::Number(1, 100_000)],
        "100",
        "Copies at once; one more is not made.",
    ),
];

const MAINTENANCE: &[Key] = &[
    key(
        "retry_after",
        &[Form::Duration],
        "60s",
        "What `Retry-After` says.",
    ),
    key(
        "text",
        &[Form::Text("back at noon")],
        "closed for maintenance",
        "What the client is told.",
    ),
    key(
        "allow",
        &[Form::List(&[Form::Text("10.0.0.0/8")])],
        "nobody",
        "Networks that are served nevertheless.",
    ),
];

const WORKER_TLS: &[Key] = &[
    key(
        "ca",
        &[Form::Text("certs/workers.pem")],
        "the system's authorities",
        "PEM file with the authorities that may have issued the workers' certificates, at most 256.",
    ),
    key(
        "client_certificate",
        &[Form::Text("certs/gateway.pem"), Form::Keys],
        "",
        "The gateway's own, for workers that ask for one: a file with chain and key, or both in files of their own.",
    ),
    key(
        "name",
        &[Form::Text("workers.example.com")],
        "the worker's address",
        "What workers are asked for (SNI) and must have in their certificates.",
    ),
    key(
        "verify",
        &[Form::Words(&["off", "on"])],
        "on",
        "`off`: whoever answers is taken for the worker.",
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
];

const HEALTH: &[Key] = &[
    key(
        "tcp",
        &[Form::Words(&["on", "true"])],
        "",
        "A connection is enough.",
    ),
    key("http", &[Form::Text("/ping")], "", "Path of a request."),
    key(
        "grpc",
        &[Form::Text("a service")],
        "",
        "`grpc.health.v1.Health/Check` for this service; \"\" for the whole server.",
    ),
    key(
        "method",
        &[Form::Text("GET")],
        "GET",
        "Method of an HTTP check.",
    ),
    key(
        "host",
        &[Form::Text("example.com")],
        "the worker's address",
        "`Host` of an HTTP check.",
    ),
    key(
        "expect",
        &[Form::Text("200-399"), Form::Number(100, 599)],
        "200-399",
        "Good statuses of an HTTP check.",
    ),
    key(
        "interval",
        &[Form::Duration],
        "5s",
        "Between checks of a worker that is up.",
    ),
    key(
        "interval_failing",
        &[Form::Duration],
        "1s",
        "Between checks of a worker that is down.",
    ),
    key("timeout", &[Form::Duration], "2s", "For one check."),
    key(
        "rise",
        &[Form::Number(1, 1_000)],
        "1",
        "Good checks in a row that bring a worker up.",
    ),
    key(
        "fall",
        &[Form::Number(1, 1_000)],
        "3",
        "Failed checks in a row that take it down.",
    ),
];

const OUTLIER: &[Key] = &[
    key(
        "consecutive_failures",
        &[Form::Number(0, 10_000)],
        "5",
        "Failures in a row (connection lost, timeout, 502, 503, 504) that eject; 0 turns it off.",
    ),
    key(
        "rest",
        &[Form::Duration],
        "10s",
        "First rest; the n-th in a row is n times as long.",
    ),
    key("rest_max", &[Form::Duration], "300s", "Longest rest."),
    key(
        "ejected_share_max",
        &[Form::Percent(100)],
        "50%",
        "Largest share of the live workers that may rest at once. One always stays.",
    ),
];

const RETRY: &[Key] = &[
    key(
        "attempts_max",
        &[Form::Number(0, 100)],
        "3",
        "Attempts after the first.",
    ),
    key(
        "budget_percent",
        &[Form::Percent(1_000)],
        "20%",
        "Retries may be this share of the requests. Connections refused before a byte was sent do not count.",
    ),
    key(
        "budget_min_per_second",
        &[Form::Number(0, 1_000_000)],
        "10",
        "Retries that are always allowed.",
    ),
    key(
        "body_bytes_max",
        &[Form::Size],
        "64KiB",
        "Bytes of a request's body that are kept for another attempt.",
    ),
];
