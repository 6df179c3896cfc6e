//! Which keys do checks of dependencies have?

use super::{Form, Key, OFF, Section, key};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Check of a dependency",
        at: &["checks.NAME"],
        what: "Something that the services need, and what is asked of it: one of `postgres`, `amqp`, `vault` and `tcp`. Nobody \
               logs in. What comes of it is told in `/status`, `portcullis status`, the log and the metrics, and takes no \
               worker out. A check that is named after its kind may have its address alone: `postgres: 127.0.0.1:5432`.",
        keys: CHECK,
    },
    Section {
        title: "Address of a dependency",
        at: &["checks.NAME.tcp", "checks.NAME.amqp", "checks.NAME.vault"],
        what: "Where it is.",
        keys: &[ADDRESS],
    },
    Section {
        title: "Address of a PostgreSQL server",
        at: &["checks.NAME.postgres"],
        what: "Where it is, and who is said to come.",
        keys: &[
            ADDRESS,
            key(
                "user",
                &[Form::Text("landscape")],
                "postgres",
                "The role that is named at the door. It is not logged in; where no password is asked for, it should be there.",
            ),
            key(
                "database",
                &[Form::Text("landscape")],
                "postgres",
                "The database that is named.",
            ),
        ],
    },
];

const ADDRESS: Key = key(
    "address",
    &[OFF, Form::Text("127.0.0.1:5432")],
    "",
    "Address and port, for `tcp` with its port, else by default 5432, 5672 and 8200. `off`: it is not looked at. Names are not resolved.",
);

const CHECK: &[Key] = &[
    key(
        "tcp",
        &[OFF, Form::Text("127.0.0.1:6379"), Form::Keys],
        "",
        "A connection is enough, with `tls` a handshake.",
    ),
    key(
        "postgres",
        &[OFF, Form::Text("127.0.0.1:5432"), Form::Keys],
        "",
        "The beginning of a connection of PostgreSQL: up when it asks for a password or refuses the role; down while it \
         starts, recovers, stops or has no connection left.",
    ),
    key(
        "amqp",
        &[OFF, Form::Text("127.0.0.1:5672"), Form::Keys],
        "",
        "The greeting of AMQP 0-9-1. RabbitMQ logs a warning for each client that leaves after it: while the broker is up, it \
         is asked for every 30 s, and a connection is enough between.",
    ),
    key(
        "vault",
        &[OFF, Form::Text("127.0.0.1:8200"), Form::Keys],
        "",
        "`GET /v1/sys/health`, else `/v1/sys/seal-status`: up when it is unsealed, a standby is up, too.",
    ),
    key(
        "address",
        &[OFF, Form::Text("127.0.0.1:5432")],
        "",
        "The address of a check that is named after its kind.",
    ),
    key(
        "tls",
        &[Form::Words(&["off", "on"]), Form::Keys],
        "off",
        "It is spoken to over TLS; `on` trusts the system's authorities. PostgreSQL is asked for TLS first, as its clients do.",
    ),
    key(
        "interval",
        &[Form::Duration],
        "5s",
        "Between checks after one that passed.",
    ),
    key(
        "interval_failing",
        &[Form::Duration],
        "1s",
        "Between checks after one that failed.",
    ),
    key("timeout", &[Form::Duration], "2s", "For one check."),
    key(
        "rise",
        &[Form::Number(1, 1_000)],
        "1",
        "Good checks in a row after which it is up again.",
    ),
    key(
        "fall",
        &[Form::Number(1, 1_000)],
        "3",
        "Failed checks in a row after which it is down. The first check after the start decides alone.",
    ),
];
