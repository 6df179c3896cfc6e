//! Which keys has a route?

use super::{Form, Key, OFF, Section, key};

pub(super) const SECTIONS: &[Section] = &[Section {
    title: "Route",
    at: &["routes[]"],
    what: "Host and path, and what is done. A path covers itself and everything below it, by whole segments.",
    keys: ROUTE,
}];

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
        "set_headers",
        &[Form::Named(&[Form::Text("{host}")])],
        "none",
        "Fields set on the request in place of the client's; `{host}`, `{client}` and `{request_id}` are filled in.",
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
