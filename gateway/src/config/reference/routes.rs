//! Which keys has a route?

use super::{Form, Key, OFF, Section, key};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Route",
        at: &["routes[]"],
        what: "Host and path, and what is done. A path covers itself and everything below it, by whole segments.",
        keys: ROUTE,
    },
    Section {
        title: "Rewrite by a pattern",
        at: &["routes[].rewrite"],
        what: "What is replaced in the path of a request. It is matched in the one spelling of RFC 3986: escapes that are not needed decoded, dot segments resolved. The first match is replaced; without one the path goes on as it came. What comes of it is checked like a path that a client sent.",
        keys: &[
            key(
                "match",
                &[Form::Text("^/a/(.*)$")],
                "",
                "A regular expression as the `regex` crate reads it, matched in linear time. Required.",
            ),
            key(
                "to",
                &[Form::Text("/b/$1")],
                "",
                "What takes the place of the match: `$1`, `${name}` for groups, `$$` for a dollar. Required.",
            ),
        ],
    },
    Section {
        title: "Redirect",
        at: &["routes[].redirect"],
        what: "Where clients are sent. Not on gRPC listeners.",
        keys: &[
            key(
                "to",
                &[Form::Text("https://{host}/new{rest}")],
                "",
                "A URL or a path, with placeholders. In front of the path only `{host}`, `{hostname}` and `{port}` can stand. Required.",
            ),
            key(
                "status",
                &[Form::Number(301, 308)],
                "302",
                "301, 302, 303, 307 or 308.",
            ),
            key(
                "keep_query",
                &[Form::Flag],
                "true where `to` has no query",
                "The query of the request is put behind `to`.",
            ),
        ],
    },
    Section {
        title: "Fixed answer",
        at: &["routes[].respond"],
        what: "The same answer for everybody. Not on gRPC listeners.",
        keys: &[
            key("status", &[Form::Number(200, 599)], "200", "The status."),
            key("body", &[Form::Text("ok")], "none", "The body."),
            key(
                "file",
                &[Form::Text("maintenance.html")],
                "none",
                "The body, in place of `body`: a file of at most 1 MiB, read at start and on reload.",
            ),
            key(
                "content_type",
                &[Form::Text("text/html; charset=utf-8")],
                "by the ending of `file`, or `text/plain; charset=utf-8`",
                "`Content-Type`.",
            ),
        ],
    },
];

pub(super) const SET_HEADERS: Key = key(
    "set_headers",
    &[Form::Named(&[Form::Text("{host}")])],
    "none",
    "Fields set on requests in place of the client's. `{host}`, `{hostname}`, `{client}`, `{request_id}`, `{method}`, `{path}`, `{rest}` (below the route's path), `{query}`, `{scheme}`, `{port}`, `{listener}` and `{route}` are filled in.",
);
pub(super) const ADD_HEADERS: Key = key(
    "add_headers",
    &[Form::Named(&[Form::List(&[Form::Text("{client}")])])],
    "none",
    "Fields added to those that the client sent.",
);
pub(super) const REMOVE_HEADERS: Key = key(
    "remove_headers",
    &[Form::List(&[Form::Text("X-Debug")])],
    "none",
    "Fields that do not go to workers.",
);
pub(super) const SET_RESPONSE_HEADERS: Key = key(
    "set_response_headers",
    &[Form::Named(&[Form::Text("max-age=31536000")])],
    "none",
    "Fields set on responses in place of the worker's, on answers of the gateway's own as well. `Strict-Transport-Security` is left out where the client did not come by TLS.",
);
pub(super) const ADD_RESPONSE_HEADERS: Key = key(
    "add_response_headers",
    &[Form::Named(&[Form::List(&[Form::Text("{request_id}")])])],
    "none",
    "Fields added to those that the worker sent.",
);
pub(super) const REMOVE_RESPONSE_HEADERS: Key = key(
    "remove_response_headers",
    &[Form::List(&[Form::Text("Server")])],
    "none",
    "Fields that do not go to clients.",
);

const ROUTE: &[Key] = &[
    key(
        "path",
        &[Form::Text("/api")],
        "",
        "The path and everything below it. One of `path` and `exact` is required.",
    ),
    key("exact", &[Form::Text("/api")], "", "The path alone."),
    key(
        "on",
        &[Form::List(&[Form::Text("https")])],
        "TLS listeners, and plain ones with `redirect_https: none`",
        "Listeners that it serves.",
    ),
    key(
        "host",
        &[Form::Text("example.com")],
        "any",
        "One name, or `*.example.com` for any below.",
    ),
    key(
        "method",
        &[Form::List(&[Form::Text("GET")])],
        "any",
        "Methods that it serves.",
    ),
    key(
        "header",
        &[Form::Named(&[Form::Text("*")])],
        "none",
        "Fields that a request must have; `*` is any value.",
    ),
    key(
        "to",
        &[Form::Text("api")],
        "",
        "A worker of this pool answers.",
    ),
    key(
        "deny",
        &[
            Form::Number(400, 599),
            OFF,
            Form::List(&[Form::Text("10.6.0.0/16")]),
        ],
        "off",
        "A number: everybody is answered so, in place of `to`. Networks: their requests are answered 403.",
    ),
    key(
        "redirect",
        &[Form::Text("https://{host}/new{rest}"), Form::Keys],
        "",
        "Clients are sent there, in place of `to`.",
    ),
    key(
        "respond",
        &[Form::Number(200, 599), Form::Keys],
        "",
        "The gateway answers so, in place of `to`.",
    ),
    key(
        "allow",
        &[OFF, Form::List(&[Form::Text("10.0.0.0/8")])],
        "off",
        "The only networks whose requests are served; others are answered 403.",
    ),
    key(
        "rate",
        &[OFF, Form::Rate, Form::Keys],
        "off",
        "How often one client may ask for it.",
    ),
    key(
        "in_flight_max",
        &[OFF, Form::Number(1, 1_000_000)],
        "off",
        "Requests at once, waiting ones and open streams included; one more is answered 503.",
    ),
    key(
        "body_bytes_max",
        &[Form::Size],
        "the listener's",
        "A request's body, in place of the listener's; 0 is no limit.",
    ),
    key(
        "strip_prefix",
        &[Form::Flag],
        "false",
        "`/upload/x` arrives as `/x`.",
    ),
    key(
        "rewrite",
        &[Form::Text("/new"), Form::Keys],
        "none",
        "This path takes the place of the route's: with `/new`, `/old/x` arrives as `/new/x`. `strip_prefix: true` is `/`.",
    ),
    SET_HEADERS,
    ADD_HEADERS,
    REMOVE_HEADERS,
    SET_RESPONSE_HEADERS,
    ADD_RESPONSE_HEADERS,
    REMOVE_RESPONSE_HEADERS,
    key(
        "buffer_request",
        &[OFF, Form::Size],
        "off",
        "The whole body is taken before a worker is reserved; a longer one streams on.",
    ),
    key(
        "mirror",
        &[Form::Text("shadow"), Form::Keys],
        "off",
        "Copies of requests go to another pool, too; its answers are thrown away.",
    ),
    key(
        "backup",
        &[Form::Text("spare"), Form::Keys],
        "the pool's",
        "A pool that stands in while no worker is up.",
    ),
    key(
        "response_timeout",
        &[Form::Duration],
        "the pool's",
        "From the end of a request to the head of its response.",
    ),
    key(
        "name",
        &[Form::Text("api")],
        "`/path -> POOL`",
        "In logs, metrics and messages.",
    ),
];
