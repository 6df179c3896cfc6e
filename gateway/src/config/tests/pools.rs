//! Sticky pools, backups and maintenance, as they are written.

use super::*;

fn pool(keys: &str) -> Pool {
    let text = small(&[("8079 }", &format!("8079, {keys} }}"))]);
    good(&text).pools.swap_remove(0)
}

/// The problem of a small file with this pool.
fn told(replace: Change<'_>) -> String {
    let text = small(replace);
    let checked = parsed(&text);
    sound(&text, &checked);
    assert!(checked.config.is_none(), "{text} is good");
    render(&source(&text), &checked.problems, false)
}

#[test]
fn a_sticky_pool_is_read_with_its_defaults() {
    assert_eq!(pool("sticky: off").sticky, None);
    let plain = Sticky {
        cookie: "at".into(),
        ttl: None,
        secure: Secure::Auto,
        http_only: true,
        same_site: SameSite::Lax,
        path: "/".into(),
        hide: false,
        secret: None,
    };
    assert_eq!(pool("sticky: { cookie: at }").sticky, Some(plain.clone()));
    let session = pool("sticky: { cookie: at, ttl: session }");
    assert_eq!(session.sticky, Some(plain));
    let full = pool(
        "sticky: { cookie: at, ttl: 1h, secure: on, httponly: off, samesite: none, path: /x, hide: on, \
         secret: 0123456789abcdef }",
    );
    let full = full.sticky.expect("sticky");
    assert_eq!(full.ttl, Some(Duration::from_secs(3600)));
    assert_eq!(
        (full.secure, full.http_only, full.same_site, full.hide),
        (Secure::Always, false, SameSite::None, true)
    );
    assert_eq!(full.path, "/x");
    assert!(full.secret.is_some());
    assert!(
        !format!("{full:?}").contains("0123"),
        "a secret is not shown"
    );
}

#[test]
fn maintenance_is_read_with_its_defaults() {
    assert_eq!(pool("maintenance: off").maintenance, None);
    let on = pool("maintenance: on").maintenance.expect("on");
    assert_eq!(on, Maintenance::default());
    let full = pool("maintenance: { retry_after: 2m, text: back at noon, allow: 10.0.0.0/8 }");
    let full = full.maintenance.expect("on");
    assert_eq!((full.retry_after, &full.text[..]), (120, "back at noon"));
    assert!(full.allow.contains("10.1.1.1".parse().unwrap()));
}

const THREE: (&str, &str) = (
    "routes:",
    "  b: { ports: 9001, backup: { to: c, below: 3 } }\n  c: { ports: 9002 }\nroutes:",
);

fn backups(replace: Change<'_>) -> Vec<(u16, u32)> {
    let config = good(&small(replace));
    let Action::Forward(forward) = &config.routes[0].action else {
        panic!("it forwards")
    };
    let pairs = forward.backups.iter().map(|b| (b.pool.0, b.below));
    pairs.collect()
}

#[test]
fn a_route_has_its_pools_backups_or_its_own() {
    assert_eq!(backups(&[]), []);
    assert_eq!(
        backups(&[THREE, ("8079 }", "8079, backup: b }")]),
        [(2, 1), (3, 3)]
    );
    assert_eq!(
        backups(&[THREE, ("to: app }", "to: app, backup: c }")]),
        [(3, 1)]
    );
    let both = [
        THREE,
        ("8079 }", "8079, backup: c }"),
        ("to: app }", "to: app, backup: { to: b, below: 2 } }"),
    ];
    assert_eq!(backups(&both), [(2, 2), (3, 3)]);
    // The pool is its route's own backup in the end: the chain ends before it.
    let around = [
        ("routes:", "  b: { ports: 9001, backup: app }\nroutes:"),
        ("to: app }", "to: app, backup: b }"),
    ];
    assert_eq!(backups(&around), [(2, 1)]);
}

#[test]
fn mistakes_about_pools_are_told_with_their_fix() {
    let in_pool = |keys: &str| format!("8079, {keys} }}");
    for (keys, what, fix) in [
        ("sticky: {}", "`cookie` is missing", "add `cookie:`"),
        ("sticky: { cookie: a b }", "is not a name", "letters"),
        (
            "sticky: { cookie: a, path: x }",
            "not the path",
            "begins with `/`",
        ),
        (
            "sticky: { cookie: a, path: \"/;\" }",
            "not the path",
            "no `;`",
        ),
        (
            "sticky: { cookie: a, ttl: 0s }",
            "longer than zero",
            "default",
        ),
        (
            "sticky: { cookie: a, secret: short }",
            "shorter than 16",
            "openssl",
        ),
        (
            "sticky: { cookie: a, samesite: none, secure: off }",
            "browsers drop",
            "secure: on",
        ),
        ("sticky: { cokie: a }", "unknown key", "`cookie`"),
        (
            "maintenance: { retry_after: 500ms }",
            "not a time",
            "whole seconds",
        ),
        (
            "maintenance: { retry_after: 24h }",
            "not a time",
            "18 hours",
        ),
        (
            "maintenance: { text: \"100%\" }",
            "cannot be sent",
            "without `%`",
        ),
        (
            "maintenance: { allow: 10.0.0.1/8 }",
            "behind its first 8",
            "10.0.0.0/8",
        ),
        ("maintenance: later", "is not known", "`on`"),
        ("abort_on_close: yes", "is not known", "`on`"),
        ("backup: apps", "there is no pool `apps`", "`app`"),
        ("backup: app", "cannot stand in for itself", "another"),
        ("backup: agent", "does not speak", "same `protocol`"),
        ("backup: { to: b, below: 0 }", "out of bounds", "from 1"),
    ] {
        let told = told(&[("8079 }", &in_pool(keys))]);
        assert!(told.contains(what) && told.contains(fix), "{keys}:\n{told}");
    }
    let ring = told(&[
        ("8079 }", "8079, backup: b }"),
        ("routes:", "  b: { ports: 9001, backup: app }\nroutes:"),
    ]);
    assert!(ring.contains("stands in for itself in the end"), "{ring}");
    let no_use = told(&[("to: app ", "deny: 403, backup: app")]);
    assert!(
        no_use.contains("`routes[1].backup` has no effect"),
        "{no_use}"
    );
}

#[test]
fn buffers_and_mirrors_are_read_with_their_defaults() {
    let forward = |keys: &str| {
        let spare = ("routes:", "  b: { ports: 9001 }\nroutes:");
        let config = good(&small(&[
            spare,
            ("to: app }", &format!("to: app, {keys} }}")),
        ]));
        match &config.routes[0].action {
            Action::Forward(forward) => forward.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(forward("buffer_request: off").buffer_request, None);
    assert_eq!(
        forward("buffer_request: 1MiB").buffer_request,
        Some(1 << 20)
    );
    let short = forward("mirror: b").mirror.expect("a mirror");
    let defaults = Mirror {
        pool: PoolId(2),
        share: 100,
        body_bytes_max: 64 * 1024,
        in_flight_max: 100,
    };
    assert_eq!(short, defaults);
    let full =
        forward("mirror: { to: b, share: 5%, body_bytes_max: 1KiB, in_flight_max: 7 }").mirror;
    let full = full.expect("a mirror");
    assert_eq!(
        (full.share, full.body_bytes_max, full.in_flight_max),
        (5, 1024, 7)
    );
    for (keys, what) in [
        ("mirror: nobody", "there is no pool"),
        ("mirror: app", "its own requests twice"),
        ("mirror: { share: 5% }", "`to` is missing"),
        ("mirror: { to: agent, share: 0% }", "out of bounds"),
        ("buffer_request: 1GiB", "out of bounds"),
    ] {
        let told = told(&[("to: app }", &format!("to: app, {keys} }}"))]);
        assert!(told.contains(what), "{keys}:\n{told}");
    }
    let top = good(&format!("buffers_bytes_max: 1GiB\n{SMALL}"));
    assert_eq!(top.buffers_bytes_max, 1 << 30);
    assert_eq!(good(SMALL).buffers_bytes_max, 256 << 20);
}

#[test]
fn limits_of_http2_are_read_and_fit_together() {
    let limits = |keys: &str| {
        let text = small(&[("\":80\" }", &format!("\":80\", limits: {{ {keys} }} }}"))]);
        good(&text).listeners[0].limits.clone()
    };
    assert_eq!(limits("http2: {}"), ListenerLimits::default());
    let read = limits(
        "field_bytes_max: 2KiB, http2: { resets_max: 1, errors_max: 2, stream_window: 3KiB, \
         connection_window: 1MiB, frame_bytes_max: 32KiB, send_bytes_max: 6KiB }",
    );
    assert_eq!(read.field_bytes_max, Some(2048));
    assert_eq!(
        read.http2,
        Http2Limits {
            resets_max: 1,
            errors_max: 2,
            stream_window: 3 * 1024,
            connection_window: Some(1 << 20),
            frame_bytes_max: 32 * 1024,
            send_bytes_max: 6 * 1024,
        }
    );
    for (keys, what) in [
        ("frame_bytes_max: 1KiB", "out of bounds"),
        ("stream_window: 4GiB", "out of bounds"),
        ("connection_window: 1KiB", "out of bounds"),
        (
            "stream_window: 1MiB, connection_window: 100KiB",
            "one stream alone",
        ),
        ("resets_max: 0", "out of bounds"),
        ("reset_max: 5", "`resets_max`"),
    ] {
        let keys = format!("\":80\", limits: {{ http2: {{ {keys} }} }} }}");
        let told = told(&[("\":80\" }", &keys)]);
        assert!(told.contains(what), "{keys}:\n{told}");
    }
}
