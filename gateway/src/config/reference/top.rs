//! Which keys stand at the top?

use super::routes::{
    ADD_HEADERS, ADD_RESPONSE_HEADERS, ERRORS, INTERCEPT_ERRORS, REMOVE_HEADERS,
    REMOVE_RESPONSE_HEADERS, SET_HEADERS, SET_RESPONSE_HEADERS,
};
use super::{Form, Key, OFF, Section, key};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Top",
        at: &[""],
        what: "The whole file.",
        keys: TOP,
    },
    Section {
        title: "Operators' doors",
        at: &["admin"],
        what: "Where operators ask and act: a unix socket, and an address where reading is free and changes need a token. Read at start only, but for the token.",
        keys: &[
            key(
                "socket",
                &[
                    Form::Words(&["auto", "off"]),
                    Form::Text("/run/portcullis/admin.sock"),
                ],
                "auto",
                "The unix socket. `auto` is `admin.sock` in the service's own directory (`RUNTIME_DIRECTORY`), else in `/run/portcullis`; where it cannot be had, that is told and there is none.",
            ),
            key(
                "socket_mode",
                &[Form::Text("0660")],
                "0660",
                "Permissions of the socket's file, in octal. Who may open it may change what runs.",
            ),
            key(
                "bind",
                &[OFF, Form::Text("127.0.0.1:9901")],
                "127.0.0.1:9901",
                "Address and port of `/healthz`, `/readyz`, `/metrics`, `/status` and the rest of the API. Reading needs no password: keep it on loopback.",
            ),
            key(
                "token",
                &[OFF, Form::Text("${TOKEN}")],
                "off",
                "What changes have to show, as `Authorization: Bearer`; 16 to 512 visible characters of ASCII. Without one, changes are taken over the socket alone.",
            ),
            key(
                "token_file",
                &[OFF, Form::Text("/etc/portcullis/token")],
                "off",
                "The same from the first line of a file, which is read at start and at every reload.",
            ),
        ],
    },
    Section {
        title: "Reload",
        at: &["reload"],
        what: "When the file is read again without anybody asking. SIGHUP and `portcullis reload` always do.",
        keys: &[key(
            "on_change",
            &[Form::Words(&["on", "off"])],
            "off",
            "Read the file again when it, or what it links to, has changed and then stayed the same for a second. A file with mistakes changes nothing, is told once and not read again before it changes.",
        )],
    },
    Section {
        title: "Access log",
        at: &["access_log"],
        what: "Where one line for each exchange goes.",
        keys: &[
            key(
                "to",
                &[
                    Form::Words(&["stdout", "syslog", "journald"]),
                    Form::Text("/var/log/portcullis/access.log"),
                    Form::Keys,
                ],
                "stdout",
                "Where lines go; `syslog` is `/dev/log`. A file that was renamed is begun anew, at once on SIGUSR1.",
            ),
            key(
                "file",
                &[Form::Text("/var/log/portcullis/access.log")],
                "",
                "Short for `to:` with a path.",
            ),
            key(
                "format",
                &[Form::Words(&["json", "haproxy", "combined"])],
                "json",
                "How a line is written: a JSON object, HAProxy's HTTP log format, NCSA's combined format.",
            ),
            key(
                "sample",
                &[Form::Text("10%")],
                "100%",
                "Share of the exchanges that are written, of those that ended well with a status below 500; all others always are.",
            ),
            key(
                "refused_per_second",
                &[Form::Number(0, 1_000_000)],
                "100",
                "Lines per second and data thread about bad heads, refused connections, failed handshakes and requests over a rate; the rest is counted.",
            ),
            key(
                "user_agent",
                &[Form::Words(&["off", "on"])],
                "off",
                "Whether lines have the client's `User-Agent`; the combined format has it always.",
            ),
        ],
    },
    Section {
        title: "Metrics",
        at: &["metrics"],
        what: "What `/metrics` tells besides what it always does, see [metrics.md](metrics.md).",
        keys: &[
            key(
                "per_worker",
                &[Form::Flag],
                "false",
                "Series of each worker that listens; a range may have a thousand.",
            ),
            key(
                "haproxy_names",
                &[Form::Flag],
                "false",
                "The names of HAProxy's exporter as well, for boards and alerts that ask for them.",
            ),
        ],
    },
    Section {
        title: "Traces",
        at: &["traces"],
        what: "A span of each sampled exchange goes to a collector, see [traces.md](traces.md). Read at start only.",
        keys: &[
            key(
                "otlp",
                &[Form::Text("http://127.0.0.1:4318")],
                "",
                "Where a collector takes OTLP over HTTP; without a path, `/v1/traces` is meant. Required.",
            ),
            key(
                "sample",
                &[Form::Text("1%")],
                "1%",
                "Share of the exchanges that begin a trace.",
            ),
            key(
                "parent_based",
                &[Form::Flag],
                "true",
                "An exchange that belongs to a trace is sampled when its caller was; else `sample` decides.",
            ),
            key(
                "service",
                &[Form::Text("portcullis")],
                "portcullis",
                "The `service.name` of the spans.",
            ),
        ],
    },
    Section {
        title: "Destination of the access log",
        at: &["access_log.to"],
        what: "One of `syslog` and `journald`.",
        keys: &[
            key(
                "syslog",
                &[Form::Text("udp://192.0.2.1:514")],
                "",
                "A local socket, `udp://ADDRESS:PORT` or `tcp://ADDRESS:PORT` that takes RFC 5424.",
            ),
            key(
                "facility",
                &[Form::Words(&[
                    "user", "daemon", "authpriv", "ftp", "local0", "local1", "local2", "local3",
                    "local4", "local5", "local6", "local7",
                ])],
                "local0",
                "Facility of syslog.",
            ),
            key(
                "journald",
                &[Form::Text("/run/systemd/journal/socket")],
                "",
                "The socket of the journal.",
            ),
        ],
    },
    Section {
        title: "Drain",
        at: &["drain"],
        what: "How the gateway stops.",
        keys: &[
            key(
                "deadline",
                &[Form::Duration, OFF],
                "30s",
                "On SIGTERM, what is not finished by then is cut.",
            ),
            key(
                "spread",
                &[Form::Duration, OFF],
                "10s",
                "Long streams are ended at moments spread over this time, so that their clients do not come back all at once: WebSockets (Close 1001) from the beginning on, calls of gRPC (UNAVAILABLE) towards the deadline. After an upgrade, both towards the end of `upgrade.deadline`.",
            ),
        ],
    },
    Section {
        title: "Process",
        at: &["process"],
        what: "As whom the gateway runs once its sockets are open, and what it may reach. Read at start only.",
        keys: PROCESS,
    },
    Section {
        title: "Upgrade",
        at: &["upgrade"],
        what: "How the process is replaced by another, which takes its sockets over; docs/upgrade.md tells how.",
        keys: UPGRADE,
    },
];

const PROCESS: &[Key] = &[
    key(
        "user",
        &[OFF, Form::Text("portcullis")],
        "off",
        "The user that it becomes, without any right of root, and no program that it starts gets more; `off` to stay who it is. Needs a start as root.",
    ),
    key(
        "group",
        &[OFF, Form::Text("portcullis")],
        "off",
        "Its group; `off` is the user's own.",
    ),
    key(
        "low_ports",
        &[Form::Words(&["on", "off"])],
        "off",
        "Of root's rights, the one to ports below 1024 is kept (CAP_NET_BIND_SERVICE), for reloads and upgrades that open another.",
    ),
    key(
        "landlock",
        &[Form::Words(&["off", "try", "require"])],
        "off",
        "The kernel holds the process, and those that replace it, to the folders of its configuration, certificates, logs and binary; the log tells which. `try` warns where the kernel is too old, `require` does not start.",
    ),
    key(
        "readable",
        &[Form::List(&[Form::Text("/srv/pages")])],
        "[]",
        "With `landlock`: more files and folders to read.",
    ),
    key(
        "writable",
        &[Form::List(&[Form::Text("/var/log/portcullis")])],
        "[]",
        "With `landlock`: more files and folders to read and write.",
    ),
];

const UPGRADE: &[Key] = &[
    key(
        "deadline",
        &[Form::Duration, OFF],
        "1h",
        "What the old process has in flight lives on so long; `off`: as long as it likes.",
    ),
    key(
        "start_timeout",
        &[Form::Duration],
        "60s",
        "The new process is given up when it does not serve by then; the old one serves on.",
    ),
    key(
        "socket",
        &[
            Form::Words(&["default", "off"]),
            Form::Text("/run/portcullis/upgrade.sock"),
        ],
        "default",
        "Where `portcullis upgrade` finds the running process. `default` is `upgrade.sock` in the directory that the service manager made (`RUNTIME_DIRECTORY`), or none.",
    ),
];

const TOP: &[Key] = &[
    key(
        "threads",
        &[Form::Words(&["auto"]), Form::Number(1, 1024)],
        "auto",
        "Data threads; `auto` is one for each core that the process may use. Read at start only.",
    ),
    key(
        "buffers_bytes_max",
        &[Form::Size],
        "256MiB",
        "Bytes of request bodies kept at once, by `buffer_request` and for retries (above 16 KiB each). Over it, requests of \
         such routes are answered 503 and others are not tried again.",
    ),
    key(
        "memory_max",
        &[Form::Words(&["auto"]), OFF, Form::Size],
        "auto",
        "Memory of the process (resident, not shared) above which new requests are answered 503 and their connections closed; \
         what runs goes on. `auto` is 85 % of the machine's, or of the control group's if that is less.",
    ),
    key(
        "deny_segments",
        &[Form::List(&[Form::Text("metrics")])],
        "[metrics]",
        "A request whose first or last path segment is one of these is denied, in every spelling.",
    ),
    key(
        "admin",
        &[OFF, Form::Text("127.0.0.1:9901"), Form::Keys],
        "127.0.0.1:9901",
        "Where operators ask and act. An address alone leaves the other keys at their defaults.",
    ),
    key(
        "reload",
        &[Form::Keys],
        "{ on_change: off }",
        "When the file is read again without anybody asking.",
    ),
    key(
        "access_log",
        &[
            Form::Words(&["stdout", "off", "syslog", "journald"]),
            Form::Text("/var/log/portcullis/access.log"),
            Form::Keys,
        ],
        "stdout",
        "One line for each exchange, see [access-log.md](access-log.md). Read at start only.",
    ),
    key(
        "metrics",
        &[Form::Keys],
        "{ per_worker: false, haproxy_names: false }",
        "What `/metrics` tells besides.",
    ),
    key(
        "traces",
        &[OFF, Form::Keys],
        "off",
        "Who hears of traces. Without them, `traceparent` passes as it is.",
    ),
    key(
        "drain",
        &[Form::Keys],
        "{ deadline: 30s, spread: 10s }",
        "How the gateway stops.",
    ),
    // Defaults for every route: what a route says of a field takes the place of what is said here.
    SET_HEADERS,
    ADD_HEADERS,
    REMOVE_HEADERS,
    SET_RESPONSE_HEADERS,
    ADD_RESPONSE_HEADERS,
    REMOVE_RESPONSE_HEADERS,
    ERRORS,
    INTERCEPT_ERRORS,
    key(
        "checks",
        &[Form::Named(&[
            OFF,
            Form::Text("127.0.0.1:5432"),
            Form::Keys,
        ])],
        "{}",
        "What the services need besides, by name: databases, brokers, Vaults. Told to operators; takes no worker out.",
    ),
    key(
        "process",
        &[Form::Keys],
        "{ user: off, landlock: off }",
        "As whom the gateway runs, and what it may reach.",
    ),
    key(
        "upgrade",
        &[Form::Keys],
        "{ deadline: 1h, start_timeout: 60s, socket: default }",
        "How the process is replaced by another.",
    ),
    key(
        "listeners",
        &[Form::Named(&[Form::Keys])],
        "",
        "Where connections come in, by name. Required.",
    ),
    key(
        "pools",
        &[Form::Named(&[Form::Keys])],
        "",
        "The named sets of workers. Required.",
    ),
    key(
        "routes",
        &[Form::List(&[Form::Keys])],
        "",
        "Which request goes where. The most specific route wins; the order has no meaning. Required.",
    ),
];
