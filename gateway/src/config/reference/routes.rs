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
    Section {
        title: "Folder of files",
        at: &["routes[].static"],
        what: "Files below the route's path, for GET and HEAD: with validators, conditions and single ranges. There is no way out of the folder, and no list of what is in it. Not on gRPC listeners.",
        keys: &[
            key(
                "root",
                &[Form::Text("/srv/www")],
                "",
                "The folder. Required.",
            ),
            key(
                "index",
                &[OFF, Form::Text("index.html")],
                "index.html",
                "The file that stands for a folder.",
            ),
            key(
                "cache",
                &[OFF, Form::Duration],
                "off",
                "`Cache-Control: max-age` of files.",
            ),
            key(
                "precompressed",
                &[Form::Flag],
                "false",
                "`x.zst`, `x.br` or `x.gz` beside `x` is sent to who takes it.",
            ),
            key(
                "dotfiles",
                &[Form::Flag],
                "false",
                "Files and folders whose names begin with a dot are served; `.well-known` always is.",
            ),
            key(
                "symlinks",
                &[Form::Flag],
                "false",
                "Symbolic links that stay within the folder are followed.",
            ),
        ],
    },
    Section {
        title: "Compression",
        at: &["listeners.NAME.compress", "routes[].compress"],
        what: "Which responses are compressed. Never calls of gRPC, WebSockets, streams of events, parts (206), what has a `Content-Encoding` or a digest, or what says `no-transform`. At most 128 at once; further ones pass as they are.",
        keys: &[
            key(
                "types",
                &[Form::List(&[Form::Text("text/*")])],
                "text, JSON, XML, JavaScript, WebAssembly",
                "Media types: `text/html`, `text/*`, `*+json`.",
            ),
            key(
                "min_bytes",
                &[Form::Size],
                "1KiB",
                "Shorter responses pass as they are, where their length is known.",
            ),
            key(
                "algorithms",
                &[Form::List(&[Form::Words(&["zstd", "br", "gzip"])])],
                "[zstd, br, gzip]",
                "In our order of preference; the client's goes first.",
            ),
            key(
                "level",
                &[Form::Words(&["fast", "balanced", "small"])],
                "balanced",
                "Time against size.",
            ),
        ],
    },
    Section {
        title: "Pages of a status",
        at: &[
            "errors.NAME",
            "listeners.NAME.errors.NAME",
            "routes[].errors.NAME",
        ],
        what: "What is read by whom. `{status}`, `{reason}`, `{message}`, `{request_id}` and `{retry_after}` are filled in, escaped; other braces stand for themselves. Files have at most 64 KiB and are read at start and on reload.",
        keys: &[
            key(
                "html",
                &[Form::Text("pages/503.html")],
                "a built-in page",
                "For who names HTML in `Accept`, as browsers do: a file, or a text that begins with `<`.",
            ),
            key(
                "json",
                &[Form::Text("pages/503.json")],
                "built-in",
                "For who names JSON in `Accept`, or sent JSON: a file, or a text that begins with a brace or a bracket. `{retry_after}` is `null` where there is none.",
            ),
            key(
                "text",
                &[Form::Text("try again later")],
                "a short sentence",
                "For everybody else.",
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

pub(super) const ERRORS: Key = key(
    "errors",
    &[Form::Named(&[Form::Keys])],
    "built-in forms",
    "What clients read of errors, by status (`503`, `5xx`). A route's pages go before its listener's, these before the top's.",
);
pub(super) const INTERCEPT_ERRORS: Key = key(
    "intercept_errors",
    &[
        OFF,
        Form::List(&[Form::Number(400, 599), Form::Words(&["4xx", "5xx"])]),
    ],
    "off",
    "Statuses of workers whose answers are replaced by such a page, on a route in place of its listener's, there in place of the top's. Never 401, 407 and 426, whose fields clients need, and never calls of gRPC.",
);

pub(super) const COMPRESS: Key = key(
    "compress",
    &[Form::Words(&["on", "off"]), Form::Keys],
    "off",
    "Responses are compressed for clients that take it; on a route in place of its listener's.",
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
        "static",
        &[Form::Text("/srv/www"), Form::Keys],
        "",
        "Files of a folder are served below the path, in place of `to`.",
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
    ERRORS,
    INTERCEPT_ERRORS,
    COMPRESS,
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
