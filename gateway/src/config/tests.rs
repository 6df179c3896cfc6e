//! Are all mistakes told, and only mistakes?

mod pools;

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::model::*;
use super::*;

const ROUTES_YAML: &str = include_str!("../../../routes.yaml");
const CHARM_YAML: &str = include_str!("../../../examples/landscape-charm.yaml");

fn source(text: &str) -> Source {
    Source {
        name: "routes.yaml".to_owned(),
        text: text.to_owned(),
    }
}

fn parsed(text: &str) -> Checked {
    parse(&source(text), &|_| None)
}

fn good(text: &str) -> Config {
    let checked = parsed(text);
    assert!(
        checked.problems.is_empty(),
        "{text}\n{}",
        render(&source(text), &checked.problems, false)
    );
    checked.config.expect("no problem, so a configuration")
}

/// Every place lies in the text, and a configuration is there exactly when nothing is an error.
fn sound(text: &str, checked: &Checked) {
    let failed = checked
        .problems
        .iter()
        .any(|problem| problem.severity == Severity::Error);
    assert_eq!(checked.config.is_none(), failed, "{text}");
    let lines: Vec<&str> = text.split('\n').collect();
    for Problem { place, what, .. } in &checked.problems {
        let line = lines
            .get((place.line as usize).wrapping_sub(1))
            .unwrap_or_else(|| panic!("{what}: no line {} in {text:?}", place.line));
        let width = line.chars().count();
        assert!(
            place.column >= 1 && (place.column - 1 + place.length) as usize <= width + 1,
            "{what}: {place:?} in {text:?}"
        );
    }
    render(&source(text), &checked.problems, false);
}

/// A small sound file; cases replace parts of it.
const SMALL: &str = "\
listeners:
  http: { bind: \":80\" }
  https: { bind: \":443\", tls: { certificates: [edge.pem] } }
  grpc: { bind: \":6554\", tls: { certificates: [edge.pem] }, protocol: grpc }
pools:
  app: { ports: 8070-8079 }
  agent: { ports: 50052, protocol: h2c }
routes:
  - { path: /, to: app }
  - { path: /, to: agent, on: [grpc] }
";

/// What is put in place of what.
type Change<'c> = &'c [(&'c str, &'c str)];

fn small(replace: Change<'_>) -> String {
    replace.iter().fold(SMALL.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old} is not in the small file");
        text.replace(old, new)
    })
}

#[test]
fn the_default_file_is_the_published_table() {
    let config = good(ROUTES_YAML);
    let pools: Vec<_> = config
        .pools
        .iter()
        .map(|pool| (pool.name.as_str(), pool.ports.clone()))
        .collect();
    let range = |first, last| vec![PortRange { first, last }];
    assert_eq!(
        pools,
        [
            ("appserver", range(8070, 8079)),
            ("pingserver", range(8080, 8089)),
            ("message-system", range(8090, 9079)),
            ("api", range(9080, 9098)),
            ("package-search", range(9099, 9099)),
            ("package-upload", range(9100, 9100)),
            ("hostagent-messenger", range(50052, 50052)),
        ]
    );
    assert!(
        config
            .pools
            .iter()
            .all(|pool| (pool.protocol == WorkerProtocol::H2c)
                == (pool.name == "hostagent-messenger"))
    );
    let routes: Vec<String> = config
        .routes
        .iter()
        .map(|route| shown(&config, route))
        .collect();
    assert_eq!(
        routes,
        [
            "http,https /ping -> pingserver",
            "http,https /repository -> appserver",
            "https /message-system -> message-system",
            "https /attachment -> message-system",
            "https /api -> api",
            "https /upload -> package-upload",
            "https /hash-id-databases -> appserver",
            "https / -> appserver",
            "grpc / -> hostagent-messenger",
        ]
    );
    let ports: Vec<_> = config
        .listeners
        .iter()
        .map(|l| (l.bind[0].port, l.redirect_https, l.redirect_port))
        .collect();
    let none = RedirectHttps::None;
    assert_eq!(
        ports,
        [
            (80, RedirectHttps::Default, 443),
            (443, none, 443),
            (6554, none, 443)
        ]
    );
    assert_eq!(config.deny_segments, ["metrics"]);
}

fn shown(config: &Config, route: &Route) -> String {
    let on: Vec<_> = route
        .on
        .iter()
        .map(|id| config.listeners[usize::from(id.0)].name.as_str())
        .collect();
    let PathMatch::Prefix(path) = &route.path else {
        panic!("{route:?}")
    };
    let Action::Forward(forward) = &route.action else {
        panic!("{route:?}")
    };
    format!(
        "{} {path} -> {}",
        on.join(","),
        config.pools[usize::from(forward.pool.0)].name
    )
}

#[test]
fn redirects_follow_the_port_of_https() {
    let env = |name: &str| match name {
        "HTTP_PORT" => Some("10080".to_owned()),
        "HTTPS_PORT" => Some("10443".to_owned()),
        _ => None,
    };
    let config = parse(&source(ROUTES_YAML), &env).config.expect("sound");
    assert_eq!(
        (
            config.listeners[0].bind[0].port,
            config.listeners[0].redirect_port
        ),
        (10080, 10443)
    );
}

#[test]
fn the_charm_example_sets_the_name_it_was_called_by() {
    let config = good(CHARM_YAML);
    let attach = config.routes.last().expect("routes");
    let Action::Forward(forward) = &attach.action else {
        panic!("{attach:?}")
    };
    assert_eq!(
        forward.changes.set,
        [("x-fqdn".to_owned(), Template(vec![Piece::Host]))]
    );
    assert_eq!(
        config.pools[usize::from(forward.pool.0)].ports,
        [PortRange {
            first: 53354,
            last: 53354
        }]
    );
}

#[test]
fn what_a_route_does_besides_forwarding_is_read_with_its_defaults() {
    let action = |does: &str| good(&small(&[("to: app ", does)])).routes[0].action.clone();
    let Action::Redirect(redirect) = action("redirect: /x") else {
        panic!("a redirect");
    };
    assert_eq!((redirect.status, redirect.keep_query), (302, true));
    let Action::Redirect(redirect) = action("redirect: { to: '/x?{query}', status: 308 }") else {
        panic!("a redirect");
    };
    assert_eq!((redirect.status, redirect.keep_query), (308, false));
    let Action::Respond(fixed) = action("respond: 204") else {
        panic!("an answer");
    };
    assert_eq!((fixed.status, fixed.body.bytes.len()), (204, 0));
    let Action::Respond(fixed) = action("respond: { body: ok }") else {
        panic!("an answer");
    };
    assert_eq!(
        (
            fixed.status,
            fixed.content_type.as_str(),
            &fixed.body.bytes[..]
        ),
        (200, "text/plain; charset=utf-8", &b"ok"[..])
    );
    let Action::Forward(forward) = action("to: app, rewrite: /new/") else {
        panic!("forwarded");
    };
    assert_eq!(forward.rewrite, Some(Rewrite::Prefix("/new".to_owned())));
    assert!(forward.changes.is_empty());
}

#[test]
fn what_is_compressed_is_read_with_its_defaults() {
    let compress = |does: &str| {
        let text = small(&[("to: app ", &format!("to: app, compress: {does} "))]);
        *good(&text).routes[0].compress.clone().expect("compress")
    };
    assert_eq!(compress("on"), Compress::default());
    assert_eq!(compress("off").algorithms, []);
    let own = compress("{ algorithms: gzip, min_bytes: 0, level: small }");
    assert_eq!(
        (own.algorithms, own.min_bytes, own.effort),
        (vec![Algorithm::Gzip], 0, Effort::Small)
    );
    assert_eq!(good(SMALL).routes[0].compress, None);
}

#[test]
fn a_folder_is_read_with_its_defaults() {
    let folder = |does: &str| match &good(&small(&[("to: app ", does)])).routes[0].action {
        Action::Static(folder) => folder.clone(),
        action => panic!("{action:?}"),
    };
    let short = folder("static: /srv/www");
    assert_eq!(short.root.as_os_str(), "/srv/www");
    assert_eq!(
        (short.index.as_deref(), short.cache, short.symlinks),
        (Some("index.html"), None, false)
    );
    let long = folder("static: { root: www, index: off, cache: 1h, symlinks: true }");
    assert_eq!(
        (long.index, long.cache, long.symlinks, long.dotfiles),
        (None, Some(Duration::from_secs(3600)), true, false)
    );
}

#[test]
fn pages_are_texts_or_files_by_how_they_begin() {
    let config = good(&small(&[
        ("listeners:", "intercept_errors: 5xx\nlisteners:"),
        (
            "to: app ",
            "to: app, errors: { 503: { html: a.html, json: '{}', text: a.txt }, 4xx: { html: ' <p>' } }, intercept_errors: off ",
        ),
    ]));
    let route = &config.routes[0];
    assert_eq!(config.intercept_errors, Some(vec![Statuses(500, 599)]));
    assert_eq!(route.intercept_errors, Some(Vec::new()));
    let pages = &route.errors.as_ref().expect("pages").0;
    let seen = |content: &Option<Content>| {
        let content = content.as_ref().expect("a page");
        (
            content.file.as_ref().map(|file| file.display().to_string()),
            String::from_utf8(content.bytes.to_vec()).unwrap(),
        )
    };
    assert_eq!(pages[0].statuses, Statuses(503, 503));
    assert_eq!(
        seen(&pages[0].html),
        (Some("a.html".to_owned()), String::new())
    );
    assert_eq!(seen(&pages[0].json), (None, "{}".to_owned()));
    assert_eq!(seen(&pages[0].text), (None, "a.txt".to_owned()));
    assert_eq!(seen(&pages[1].html), (None, " <p>".to_owned()));
}

#[test]
fn what_the_top_changes_holds_for_every_route_that_does_not_speak_of_it() {
    let config = good(&small(&[
        (
            "listeners:",
            "set_headers: { X-A: top, X-B: top }\nremove_response_headers: Server\nlisteners:",
        ),
        ("to: app ", "to: app, set_headers: { x-a: route } "),
    ]));
    let set = |at: usize| match &config.routes[at].action {
        Action::Forward(forward) => forward.changes.set.clone(),
        action => panic!("{action:?}"),
    };
    let pair = |name: &str, value: &str| {
        let text = Piece::Text(value.to_owned());
        (name.to_owned(), Template(vec![text]))
    };
    assert_eq!(set(0), [pair("x-b", "top"), pair("x-a", "route")]);
    assert_eq!(set(1), [pair("x-a", "top"), pair("x-b", "top")]);
    for changes in [&config.response_changes, &config.routes[0].response_changes] {
        assert_eq!(changes.as_ref().expect("changes").remove, ["server"]);
    }
    assert_eq!(good(SMALL).routes[0].response_changes, None);
}

/// The commented block at the end of the default file, as a file of its own.
#[test]
fn every_key_of_the_reference_is_known_and_its_default_is_true() {
    let (_, reference) = ROUTES_YAML
        .split_once("# threads: auto")
        .expect("the reference");
    let mut text = "threads: auto".to_owned();
    for line in reference.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        text.push_str(line.strip_prefix(' ').unwrap_or(line));
        text.push('\n');
    }
    let text = text
        .replace("NAME:", "a:")
        .replace("POOL", "a")
        .replace("    hash: address", "    #")
        .replace("    backup:", "    #")
        .replace("    mirror:", "    #")
        .replace("    redirect_https", "    #")
        .replace("    redirect_port", "    #")
        .replace("[https]", "[a]");
    let config = good(&text);
    assert_eq!(
        config.pools,
        [Pool::new(
            "a",
            vec![PortRange {
                first: 8080,
                last: 8089
            }]
        )]
    );
    assert_eq!(config.listeners[0].limits, ListenerLimits::default());
    assert_eq!(config.listeners[0].networks, None);
    assert_eq!(config.routes[0].networks, None);
    assert_eq!(config.listeners[0].rate, None);
    assert_eq!(config.routes[0].in_flight_max, None);
    assert_eq!(config.routes[0].body_bytes_max, Some(0));
    assert_eq!(
        config.routes[0].rate,
        Some(Rate::new(100, Duration::from_secs(1))),
        "`off` hides the defaults of the keys, so the reference has them in an example"
    );
    assert_eq!(config.drain, Drain::default());
    assert_eq!(config.upgrade, Upgrade::default());
    assert_eq!(config.process, Process::default());
    let written = |key: &str| reference.contains(&format!("{key}:"));
    for key in [
        "exact",
        "deny",
        "chain",
        "key",
        "file",
        "weight",
        "expect",
        "grpc",
        "redirect_https",
        "redirect_port",
        "hash",
    ] {
        assert!(
            written(key) || reference.contains(&format!("`{key}: ")),
            "{key} is not in the reference"
        );
    }
}

#[test]
fn every_key_reaches_the_model() {
    let config = good(
        "\
threads: 4
deny_segments: [Metrics, server-status]
admin: off
access_log: { file: /var/log/x.log }
drain: { deadline: 5m, spread: off }
process: { user: p, group: q, low_ports: on, landlock: require, readable: /srv, writable: [/a, b] }
upgrade: { deadline: off, start_timeout: 5s, socket: /run/x/upgrade.sock }
listeners:
  a:
    bind: [\":443\", \"127.0.0.1:444\", \"[::1]:0\"]
    tls: { certificates: [a.pem, { chain: b.crt, key: b.key }], unknown_names: refuse, min_version: 1.3, watch: off,
      client_certificates: { mode: optional, ca: ca.pem, crl: [one.crl, two.crl], expired_crl: accept } }
    limits: { head_timeout: 1s, body_bytes_max: 1GiB, tunnel_timeout: off, fields_max: 50 }
    allow: [10.0.0.0/8, \"2001:db8::/32\"]
    deny: 10.1.2.3
    rate: 600/m
  b: { bind: \":80\", redirect_https: none, redirect_port: 8443, proxy_protocol: { from: [10.0.0.0/8, \"fd00::/8\"] },
      forwarded: { from: 192.0.2.1 }, forwarded_header: on }
pools:
  p:
    ports: [8080, 8090-8099]
    hosts: [10.0.0.1, { address: \"fd00::1\", weight: 50 }]
    balance: hash
    hash: { header: X-Computer-ID }
    discovery: static
    health: { http: /up, method: head, host: x, expect: 200, interval: 1m, fall: 9 }
    outlier: off
    hold: 10s
    queue: { requests_max: 5 }
    worker_in_flight_max: 50
    slow_start: 30s
    retry: { attempts_max: 1, budget_percent: 5% }
  q: { ports: 9000, send_proxy: v2, balance: round-robin, hold: off, retry: off, health: grpc }
routes:
  - { exact: /healthz, host: \"*.Example.com\", method: [get, HEAD], header: { X-Fleet: \"*\", A: b }, to: p,
      set_headers: { X-FQDN: \"{host}\" }, response_timeout: 10s, strip_prefix: true, name: n, deny: [\"::ffff:192.0.2.0/120\"],
      rate: { per: { header: X-Key }, requests: 5/h, burst: 7, keys_max: 9 }, in_flight_max: 100, body_bytes_max: 4MiB }
  - { path: /internal, deny: 403, on: b }
",
    );
    assert_eq!(
        (config.threads, config.deny_segments.as_slice()),
        (
            4,
            ["metrics".to_owned(), "server-status".to_owned()].as_slice()
        )
    );
    assert!(config.admin.is_none());
    assert_eq!(config.access_log.to, LogTo::File("/var/log/x.log".into()));
    let (deadline, spread) = (Duration::from_secs(300), Duration::ZERO);
    assert_eq!(config.drain, Drain { deadline, spread });
    assert_eq!(
        config.process,
        Process {
            user: Some("p".into()),
            group: Some("q".into()),
            low_ports: true,
            landlock: Landlock::Require,
            readable: vec!["/srv".into()],
            writable: vec!["/a".into(), "b".into()],
        }
    );
    assert_eq!(
        config.upgrade,
        Upgrade {
            deadline: Duration::ZERO,
            start_timeout: Duration::from_secs(5),
            socket: UpgradeSocket::At("/run/x/upgrade.sock".into()),
        }
    );
    let a = &config.listeners[0];
    let binds: Vec<_> = a
        .bind
        .iter()
        .map(|bind| (bind.host.map(|host| host.to_string()), bind.port))
        .collect();
    assert_eq!(
        binds,
        [
            (None, 443),
            (Some("127.0.0.1".to_owned()), 444),
            (Some("::1".to_owned()), 0)
        ]
    );
    let tls = a.tls.as_ref().expect("tls");
    assert_eq!(
        (tls.unknown_names, tls.min_version, tls.watch),
        (UnknownNames::Refuse, TlsVersion::Tls13, false)
    );
    let clients = tls.client_certificates.as_ref().expect("whom to trust");
    assert_eq!(
        (
            clients.required,
            clients.ca.as_os_str(),
            clients.expired_crl
        ),
        (false, "ca.pem".as_ref(), true)
    );
    assert_eq!(
        clients.crls,
        ["one.crl", "two.crl"].map(std::path::PathBuf::from)
    );
    assert_eq!(
        (
            tls.certificates[0].chain.as_os_str(),
            tls.certificates[0].key.as_os_str()
        ),
        ("a.pem".as_ref(), "a.pem".as_ref())
    );
    assert_eq!(
        (
            tls.certificates[1].chain.as_os_str(),
            tls.certificates[1].key.as_os_str()
        ),
        ("b.crt".as_ref(), "b.key".as_ref())
    );
    assert_eq!(
        (
            a.limits.head_timeout,
            a.limits.body_bytes_max,
            a.limits.fields_max
        ),
        (Duration::from_secs(1), 1 << 30, 50)
    );
    assert_eq!(
        (
            config.listeners[1].redirect_https,
            config.listeners[1].redirect_port
        ),
        (RedirectHttps::None, 8443)
    );
    let trusted = config.listeners[1].proxy_protocol.as_ref();
    let trusted = trusted.expect("proxy_protocol");
    for (address, inside) in [("10.1.2.3", true), ("fd00::1", true), ("11.0.0.1", false)] {
        assert_eq!(trusted.contains(address.parse().unwrap()), inside);
    }
    let hop = config.listeners[1].forwarded.as_ref().expect("forwarded");
    assert!(hop.contains("192.0.2.1".parse().unwrap()));
    assert!(config.listeners[1].forwarded_header && !config.listeners[0].forwarded_header);
    assert_eq!(config.listeners[0].proxy_protocol, None);
    assert_eq!(config.listeners[0].forwarded, None);
    assert_eq!(
        (config.pools[0].send_proxy, config.pools[1].send_proxy),
        (None, Some(ProxyVersion::V2))
    );
    let p = &config.pools[0];
    assert_eq!(
        p.ports,
        [
            PortRange {
                first: 8080,
                last: 8080
            },
            PortRange {
                first: 8090,
                last: 8099
            }
        ]
    );
    assert_eq!((p.hosts[0].weight, p.hosts[1].weight), (100, 50));
    assert_eq!(
        p.balance,
        Balance::Hash(HashKey::Header("x-computer-id".to_owned()))
    );
    assert_eq!(p.discovery, Discovery::Static);
    let health = p.health.as_ref().expect("health");
    assert_eq!(
        (health.interval, health.fall, health.rise),
        (Duration::from_secs(60), 9, 1)
    );
    let (method, path, host) = ("HEAD".to_owned(), "/up".to_owned(), Some("x".to_owned()));
    assert_eq!(
        health.check,
        Check::Http {
            method,
            path,
            host,
            expect: (200, 200)
        }
    );
    assert_eq!(
        (
            p.outlier.consecutive_failures,
            p.hold.time,
            p.queue.requests_max
        ),
        (0, Duration::from_secs(10), 5)
    );
    assert_eq!(
        (p.worker_in_flight_max, p.slow_start),
        (Some(50), Duration::from_secs(30))
    );
    assert_eq!((p.retry.attempts_max, p.retry.budget_percent), (1, 5));
    let q = &config.pools[1];
    assert_eq!(
        (&q.balance, q.hold.time, q.retry.attempts_max),
        (&Balance::RoundRobin, Duration::ZERO, 0)
    );
    assert_eq!(
        q.health.as_ref().map(|health| &health.check),
        Some(&Check::Grpc {
            service: String::new()
        })
    );
    let r = &config.routes[0];
    assert_eq!(
        (r.name.as_str(), &r.path),
        ("n", &PathMatch::Exact("/healthz".to_owned()))
    );
    assert_eq!(r.host, HostMatch::Wildcard("example.com".to_owned()));
    assert_eq!(r.methods, ["GET", "HEAD"]);
    let header = |name: &str, value: Option<&str>| HeaderMatch {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    assert_eq!(r.headers, [header("a", Some("b")), header("x-fleet", None)]);
    assert_eq!(r.on, [ListenerId(0), ListenerId(1)]);
    let network = |address: &str, prefix| Network {
        address: address.parse().expect("an address"),
        prefix,
    };
    assert_eq!(
        a.networks,
        Some(Networks {
            allow: vec![network("10.0.0.0", 8), network("2001:db8::", 32)],
            deny: vec![network("10.1.2.3", 32)],
        })
    );
    assert_eq!(a.rate, Some(Rate::new(600, Duration::from_secs(60))));
    assert_eq!(a.rate.as_ref().map(|rate| rate.burst), Some(10));
    assert_eq!(
        r.rate,
        Some(Rate {
            per: RateKey::Header("x-key".to_owned()),
            requests: 5,
            every: Duration::from_secs(3600),
            burst: 7,
            keys_max: 9,
        })
    );
    assert_eq!(
        (r.in_flight_max, r.body_bytes_max),
        (Some(100), Some(4 << 20))
    );
    assert_eq!(
        r.networks,
        Some(Networks {
            allow: Vec::new(),
            deny: vec![network("192.0.2.0", 24)],
        })
    );
    assert_eq!(config.routes[1].networks, None, "`deny: 403` is a status");
    assert_eq!(
        (&config.routes[1].action, &config.routes[1].name[..]),
        (&Action::Deny(403), "/internal -> deny 403")
    );
    assert_eq!(
        good(SMALL).admin.and_then(|admin| admin.bind),
        Some(SocketAddr::from(([127, 0, 0, 1], 9901)))
    );
}

#[test]
fn checks_of_dependencies_are_read_in_every_form() {
    let checks = |written: &str| {
        let text = small(&[("listeners:", &format!("checks: {written}\nlisteners:"))]);
        good(&text).dependencies
    };
    assert_eq!(good(SMALL).dependencies, []);
    let postgres = |user: &str, database: &str| DependencyKind::Postgres {
        user: user.to_owned(),
        database: database.to_owned(),
    };
    let at = |address: &str| -> SocketAddr { address.parse().unwrap() };
    let usual = Dependency::new(
        "database",
        postgres("postgres", "postgres"),
        at("10.0.0.1:5432"),
    );
    for written in [
        "{ database: { postgres: 10.0.0.1 } }",
        "{ database: { postgres: \"10.0.0.1:5432\" } }",
        "{ database: { postgres: { address: 10.0.0.1 } } }",
        "{ database: { postgres: { address: \"10.0.0.1:5432\" }, interval: 5s, interval_failing: 1s, timeout: 2s, rise: 1, fall: 3, tls: off } }",
    ] {
        let usual = std::slice::from_ref(&usual);
        assert_eq!(checks(written), usual, "{written}");
    }
    for written in [
        "{ postgres: 10.0.0.1 }",
        "{ postgres: { address: 10.0.0.1 } }",
        "{ postgres: { postgres: 10.0.0.1 } }",
    ] {
        let named = Dependency {
            name: "postgres".to_owned(),
            ..usual.clone()
        };
        assert_eq!(checks(written), [named], "{written}");
    }
    for written in [
        "{}",
        "{ a: off }",
        "{ a: { amqp: off } }",
        "{ a: { amqp: { address: off } } }",
        "{ a: { tcp: off, fall: 5 } }",
        "{ vault: { address: off } }",
    ] {
        assert_eq!(checks(written), [], "{written}");
    }
    let all = checks(
        "{ a: { postgres: { address: \"[::1]:6432\", user: u, database: d }, tls: on }, b: { amqp: \"[fd00::1]\" }, vault: 10.0.0.2, c: { tcp: \"10.0.0.3:11\", interval: 1m, interval_failing: 2s, timeout: 3s, rise: 4, fall: 5 } }",
    );
    assert_eq!(all[0].kind, postgres("u", "d"));
    assert!(all[0].tls.as_ref().is_some_and(|tls| tls.verify));
    let addresses: Vec<_> = all.iter().map(|it| it.address.to_string()).collect();
    assert_eq!(
        addresses,
        [
            "[::1]:6432",
            "[fd00::1]:5672",
            "10.0.0.2:8200",
            "10.0.0.3:11"
        ]
    );
    let c = &all[3];
    let seconds = [c.interval, c.interval_failing, c.timeout].map(|it| it.as_secs());
    assert_eq!((seconds, c.rise, c.fall), ([60, 2, 3], 4, 5));
}

#[test]
fn operators_have_a_socket_and_an_address_unless_told_otherwise() {
    let admin = |written: &str| {
        let text = SMALL.replacen("listeners:", &format!("admin: {written}\nlisteners:"), 1);
        good(&text).admin
    };
    let short = admin("127.0.0.1:9001").unwrap();
    assert_eq!(short.bind, Some(SocketAddr::from(([127, 0, 0, 1], 9001))));
    assert_eq!(
        (short.socket, short.socket_mode),
        (AdminSocket::Usual, 0o660)
    );
    let long =
        admin("{ socket: /run/a.sock, socket_mode: 0600, bind: off, token: 0123456789abcdef }");
    let long = long.unwrap();
    assert_eq!(long.socket, AdminSocket::At("/run/a.sock".into()));
    assert_eq!((long.socket_mode, long.bind), (0o600, None));
    assert_eq!(
        long.token,
        Some(AdminToken::Text("0123456789abcdef".into()))
    );
    assert!(
        !format!("{long:?}").contains("0123456789abcdef"),
        "a token is not told by accident"
    );
    let file = admin("{ socket: off, token_file: a.token }").unwrap();
    assert_eq!(file.socket, AdminSocket::Off);
    assert!(matches!(file.token, Some(AdminToken::File(path, _)) if path == *"a.token"));
    assert!(admin("off").is_none());
}

/// What is changed in the small file, what must be told (on which line), and part of the fix.
#[test]
fn an_access_log_is_read_in_every_form() {
    let read = |log: &str| {
        let text = small(&[("listeners:", &format!("access_log: {log}\nlisteners:"))]);
        good(&text).access_log
    };
    let local = |path: &str| LogServer::Local(path.into());
    for (written, to) in [
        ("off", LogTo::Off),
        ("stdout", LogTo::Stdout),
        ("/var/log/x.log", LogTo::File("/var/log/x.log".into())),
        ("{ file: x.log }", LogTo::File("x.log".into())),
        ("{ to: logs/x.log }", LogTo::File("logs/x.log".into())),
        ("syslog", LogTo::Syslog(local("/dev/log"), 16)),
        ("journald", LogTo::Journald(None)),
        (
            "{ to: { journald: /x } }",
            LogTo::Journald(Some("/x".into())),
        ),
        (
            "{ to: { syslog: /x, facility: daemon } }",
            LogTo::Syslog(local("/x"), 3),
        ),
        (
            "{ to: { syslog: \"tcp://[::1]:601\" } }",
            LogTo::Syslog(LogServer::Tcp("[::1]:601".parse().unwrap()), 16),
        ),
    ] {
        let wanted = AccessLog {
            to,
            ..AccessLog::default()
        };
        assert_eq!(read(written), wanted, "{written}");
    }
    let all = read("{ format: combined, sample: 0.5%, refused_per_second: 0, user_agent: on }");
    let wanted = AccessLog {
        to: LogTo::Stdout,
        format: LogFormat::Combined,
        sample: 5_000,
        refused_per_second: 0,
        user_agent: true,
    };
    assert_eq!(all, wanted);
}

#[test]
fn metrics_and_traces_are_read() {
    let read = |keys: &str| good(&small(&[("listeners:", &format!("{keys}\nlisteners:"))]));
    let config = read("metrics: { haproxy_names: true }");
    assert_eq!(
        (config.metrics.per_worker, config.metrics.haproxy_names),
        (false, true)
    );
    assert_eq!(config.traces, None);
    for (otlp, url) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("http://[::1]:4318/x/y", "http://[::1]:4318/x/y"),
    ] {
        let config = read(&format!("traces: {{ otlp: \"{otlp}\", sample: 0.1% }}"));
        let wanted = Traces {
            url: url.to_owned(),
            sample: 1_000,
            parent_based: true,
            service: "portcullis".to_owned(),
        };
        assert_eq!(config.traces, Some(wanted));
    }
    assert_eq!(read("traces: off").traces, None);
}

#[test]
fn every_mistake_is_told_with_place_and_fix() {
    let cases: &[(Change<'_>, u32, &str, &str)] = &[
        // Ports.
        (
            &[("8070-8079", "[8070-8079, 8075]")],
            6,
            "port 8075 given a second time",
            "shorten",
        ),
        (
            &[("8070-8079 }", "8070-8079 }\n  b: { ports: 8079-8080 }")],
            7,
            "port 8079 already in pool `app` on line 6",
            "shorten",
        ),
        (
            &[(
                "8070-8079 }",
                "8070-8079, hosts: 10.0.0.1 }\n  b: { ports: 8000-9000, hosts: [10.0.0.2, 10.0.0.1] }",
            )],
            7,
            "ports 8070-8079 already in pool `app`",
            "shorten",
        ),
        (
            &[("8070-8079", "8079-8070")],
            6,
            "runs backwards",
            "`8070-8079`",
        ),
        (&[("8070-8079", "0-10")], 6, "port 0", "1 to 65535"),
        (
            &[("8070-8079", "65530-65536")],
            6,
            "no port `65536`",
            "1 to 65535",
        ),
        (
            &[("8070-8079", "[]")],
            6,
            "`pools.app.ports` is empty",
            "8080-8089",
        ),
        (
            &[("ports: 8070-8079", "protocol: http1")],
            6,
            "`pools.app`: `ports` is missing",
            "add `ports:`",
        ),
        (
            &[("8070-8079", "8070-8079, hosts: []")],
            6,
            "`pools.app.hosts` is empty",
            "leave it out",
        ),
        (
            &[("8070-8079", "8070-8079, hosts: localhost")],
            6,
            "not an address",
            "127.0.0.1",
        ),
        (
            &[("8070-8079", "8070-8079, hosts: [10.0.0.1, 10.0.0.1]")],
            6,
            "second time",
            "weight",
        ),
        (
            &[(
                "8070-8079",
                "8070-8079, hosts: { address: 10.0.0.1, weight: 0 }",
            )],
            6,
            "out of bounds",
            "from 1 to 1000",
        ),
        // Listeners.
        (
            &[("\":443\"", "\":80\"")],
            3,
            "port 80 is taken by listener `http`",
            "own address",
        ),
        (
            &[("\":443\"", "\"127.0.0.1:80\"")],
            3,
            "port 80 is taken by listener `http`",
            "own address",
        ),
        (
            &[("\":443\"", "\":9901\"")],
            3,
            "`admin`: port 9901 is taken by listener `https`",
            "own address",
        ),
        (
            &[("\":443\"", "\":8075\"")],
            3,
            "port 8075 lies inside ports 8070-8079 of pool `app`",
            "another port",
        ),
        (
            &[("\":80\"", "80")],
            2,
            "not an address to listen on",
            "\":80\"",
        ),
        (
            &[("\":80\"", "\"*:80\"")],
            2,
            "not an address to listen on",
            "\":80\"",
        ),
        (
            &[("\":80\"", "\"localhost:80\"")],
            2,
            "not an address to listen on",
            "127.0.0.1:80",
        ),
        (
            &[("\":80\"", "\":70000\"")],
            2,
            "not an address to listen on",
            "1 to 65535",
        ),
        (
            &[("\":80\"", "\"::1:80\"")],
            2,
            "not an address to listen on",
            "brackets",
        ),
        (
            &[("\":80\"", "[]")],
            2,
            "`listeners.http.bind` is empty",
            ":443",
        ),
        (
            &[("http: { bind: \":80\" }", "http: {}")],
            2,
            "`listeners.http`: `bind` is missing",
            "add `bind:`",
        ),
        (
            &[("\":80\" }", "\":80\", redirect_https: maybe }")],
            2,
            "`maybe` is not known",
            "`default`, `all`, `none`",
        ),
        (
            &[("\":443\",", "\":443\", redirect_https: all,")],
            3,
            "nothing to redirect",
            "remove",
        ),
        (
            &[("[edge.pem] } }", "[] } }")],
            3,
            "certificates` is empty",
            "PEM",
        ),
        (
            &[("[edge.pem] } }", "[{ chain: a }] } }")],
            3,
            "`key` is missing",
            "add `key:`",
        ),
        (
            &[("50052, protocol: h2c", "50052, protocol: h2c, tls: on")],
            7,
            "h2c is HTTP/2 without TLS",
            "protocol: h2",
        ),
        (
            &[("50052, protocol: h2c", "50052, tls: { name: \"a b\" }")],
            7,
            "is no name of a host",
            "as it stands in",
        ),
        (
            &[("[edge.pem] } }", "[edge.pem], watch: yes } }")],
            3,
            "`yes` is not known",
            "`off`, `on`",
        ),
        (
            &[(
                "[edge.pem] } }",
                "[edge.pem], client_certificates: { mode: required } } }",
            )],
            3,
            "does not say whom to trust",
            "ca: FILE",
        ),
        (
            &[(
                "[edge.pem] } }",
                "[edge.pem], client_certificates: { ca: ca.pem } } }",
            )],
            3,
            "`mode` is missing",
            "add `mode:`",
        ),
        (
            &[(
                "[edge.pem] } }",
                "[edge.pem], client_certificates: { mode: required, ca: ca.pem, expired_crl: on } } }",
            )],
            3,
            "`on` is not known",
            "`refuse`, `accept`",
        ),
        (
            &[(
                "[edge.pem] } }",
                "[edge.pem], client_certificates: { mode: maybe, ca: ca.pem } } }",
            )],
            3,
            "`maybe` is not known",
            "`off`, `optional`, `required`",
        ),
        (
            &[(
                "{ certificates: [edge.pem] } }",
                "{ certificate: [edge.pem] } }",
            )],
            3,
            "`certificates` is missing",
            "add",
        ),
        (
            &[("\":80\" }", "\":80\", limits: { head_timeout: 0s } }")],
            2,
            "must be longer than zero",
            "default",
        ),
        (
            &[("\":80\" }", "\":80\", limits: { head_timeout: 10 } }")],
            2,
            "`10` has no unit",
            "`10s`",
        ),
        (
            &[("\":80\" }", "\":80\", limits: { head_timeouts: 10s } }")],
            2,
            "unknown key `head_timeouts`",
            "did you mean `head_timeout`?",
        ),
        (
            &[("\":80\" }", "\":80\", limits: { head_bytes_max: 32k } }")],
            2,
            "unit `k` is not known",
            "32KiB",
        ),
        (
            &[(
                "\":80\" }",
                "\":80\", limits: { target_bytes_max: 64KiB } }",
            )],
            2,
            "does not fit",
            "raise",
        ),
        (
            &[(
                "\":80\" }",
                "\":80\", proxy_protocol: { from: [10.0.0.1/8] } }",
            )],
            2,
            "bits set behind its first 8",
            "`10.0.0.0/8`",
        ),
        (
            &[(
                "\":80\" }",
                "\":80\", proxy_protocol: { from: [10.0.0.0/8, balancer] } }",
            )],
            2,
            "`balancer` is not a network",
            "not resolved",
        ),
        (
            &[(
                "\":80\" }",
                "\":80\", proxy_protocol: { from: 10.0.0.0/33 } }",
            )],
            2,
            "not a length of a prefix",
            "0 to 32",
        ),
        (
            &[("\":80\" }", "\":80\", proxy_protocol: { from: [] } }")],
            2,
            "nobody would be trusted",
            "10.0.0.0/8",
        ),
        (
            &[("\":80\" }", "\":80\", proxy_protocol: {} }")],
            2,
            "`from` is missing",
            "add `from:`",
        ),
        (
            &[("\":80\" }", "\":80\", proxy_protocol: on }")],
            2,
            "expected `{ from: [10.0.0.0/8] }`",
            "comments",
        ),
        (
            &[("\":80\" }", "\":80\", forwarded: { from: [fd00::1/64] } }")],
            2,
            "bits set behind its first 64",
            "`fd00::/64`",
        ),
        (
            &[("\":80\" }", "\":80\", forwarded: { form: [10.0.0.0/8] } }")],
            2,
            "unknown key `form`",
            "did you mean `from`?",
        ),
        (
            &[("\":80\" }", "\":80\", forwarded_header: yes }")],
            2,
            "`yes` is not known",
            "`on`",
        ),
        (
            &[("8079 }", "8079, send_proxy: v3 }")],
            6,
            "`v3` is not known",
            "`v1`",
        ),
        // Pools.
        (
            &[("8079 }", "8079, balance: hash }")],
            6,
            "needs a key",
            "hash: address",
        ),
        (
            &[("8079 }", "8079, hash: address }")],
            6,
            "no effect",
            "balance: hash",
        ),
        (
            &[("8079 }", "8079, balance: least_loaded }")],
            6,
            "`least_loaded` is not known",
            "did you mean `least-loaded`?",
        ),
        (
            &[("8079 }", "8079, connect_timeout: 0s }")],
            6,
            "longer than zero",
            "default",
        ),
        (
            &[("8079 }", "8079, outlier: { rest: 10m, rest_max: 1m } }")],
            6,
            "shorter than `rest`",
            "grow",
        ),
        (
            &[("8079 }", "8079, health: { interval: 1s } }")],
            6,
            "needs one of",
            "http",
        ),
        (
            &[("8079 }", "8079, health: { http: /x, expect: 600 } }")],
            6,
            "range of statuses",
            "200-399",
        ),
        (
            &[("8079 }", "8079, protocl: h2c }")],
            6,
            "unknown key `protocl`",
            "did you mean `protocol`?",
        ),
        (
            &[("app: { ports: 8070-8079 }", "app: 8070-8079")],
            6,
            "expected the keys of a pool, found a single value",
            "comments",
        ),
        // Routes.
        (
            &[("to: app ", "to: ap ")],
            9,
            "there is no pool `ap`",
            "did you mean `app`?",
        ),
        (
            &[("to: app ", "to: app, on: [htps] ")],
            9,
            "there is no listener `htps`",
            "did you mean `https`?",
        ),
        (
            &[("path: /, to: app ", "to: app ")],
            9,
            "no `path`",
            "path: /",
        ),
        (
            &[("to: app ", "exact: /x, to: app ")],
            9,
            "one of `path` and `exact`",
            "below",
        ),
        (
            &[("path: /, to: app ", "path: / ")],
            9,
            "leads nowhere",
            "to: POOL",
        ),
        (
            &[("to: app ", "to: app, deny: 403 ")],
            9,
            "one of `to`, `deny`",
            "remove",
        ),
        (
            &[("to: app ", "deny: 403, strip_prefix: true ")],
            9,
            "no effect",
            "remove",
        ),
        (&[("to: app ", "deny: 200 ")], 9, "out of bounds", "400"),
        (
            &[("path: /, to: app ", "path: ping, to: app ")],
            9,
            "does not begin with a slash",
            "`/ping`",
        ),
        (
            &[("to: app }", "to: app }\n  - { path: /, to: agent }")],
            10,
            "equal to the one on line 9",
            "remove one",
        ),
        (
            &[(
                "to: app }",
                "method: GET, to: app }\n  - { path: /, method: [GET, POST], to: agent }",
            )],
            10,
            "equally well",
            "further condition",
        ),
        (
            &[(
                "to: app }",
                "header: { a: x }, to: app }\n  - { path: /, header: { b: x }, to: agent }",
            )],
            10,
            "equally well",
            "further condition",
        ),
        (
            &[
                ("\":80\" }", "\":80\", redirect_https: all }"),
                ("to: app ", "to: app, on: http "),
            ],
            9,
            "no request reaches",
            "redirect_https: default",
        ),
        (
            &[("path: /, to: app ", "path: /metrics, to: app ")],
            9,
            "no request reaches",
            "deny_segments",
        ),
        (
            &[("path: /, to: app ", "path: /METRICS/x, to: app ")],
            9,
            "no request reaches",
            "deny_segments",
        ),
        (
            &[("path: /, to: app ", "exact: /x/metrics, to: app ")],
            9,
            "no request reaches",
            "deny_segments",
        ),
        (
            &[("to: app ", "to: app, host: \"example.com:443\" ")],
            9,
            "port or a path",
            "alone",
        ),
        (
            &[("to: app ", "to: app, set_headers: { Host: x } ")],
            9,
            "belongs to the connection",
            "another",
        ),
        (
            &[("to: app ", "to: app, add_response_headers: { Trailer: x } ")],
            9,
            "belongs to the connection",
            "another",
        ),
        (
            &[("to: app ", "to: app, remove_headers: [X-Forwarded-For] ")],
            9,
            "the gateway's own",
            "set_headers",
        ),
        (
            &[(
                "listeners:",
                "set_response_headers: { grpc-status: 0 }\nlisteners:",
            )],
            1,
            "how the exchange went",
            "another",
        ),
        (
            &[(
                "to: app ",
                "to: app, compress: { types: [text/event-stream] } ",
            )],
            9,
            "pieces are waited for",
            "never compressed",
        ),
        (
            &[("to: app ", "to: app, compress: { types: [html] } ")],
            9,
            "not a media type",
            "*+json",
        ),
        (
            &[("to: app ", "to: app, compress: { algorithms: [deflate] } ")],
            9,
            "`deflate` is not known",
            "gzip",
        ),
        (
            &[("to: app ", "static: { index: x } ")],
            9,
            "`root` is missing",
            "root:",
        ),
        (
            &[("to: app ", "static: { root: /srv, index: a/b } ")],
            9,
            "not the name of a file",
            "`off`",
        ),
        (
            &[("to: agent,", "static: /srv,")],
            10,
            "would not understand",
            "deny: 503",
        ),
        (
            &[("to: app ", "to: app, errors: { 200: { text: x } } ")],
            9,
            "not the status of an error",
            "5xx",
        ),
        (
            &[("to: app ", "to: app, errors: { 503: { htm: x } } ")],
            9,
            "unknown key `htm`",
            "did you mean `html`?",
        ),
        (
            &[(
                "to: app ",
                "to: app, errors: { 5xx: { text: x }, 5XX: { text: y } } ",
            )],
            9,
            "a second time",
            "together",
        ),
        (
            &[("to: app ", "to: app, intercept_errors: [503, 401] ")],
            9,
            "what it needs",
            "leave it out",
        ),
        (
            &[("to: app ", "to: app, strip_prefix: true, rewrite: /x ")],
            9,
            "one of `rewrite` and `strip_prefix`",
            "rewrite: /",
        ),
        (
            &[("to: app ", "to: app, rewrite: /metrics ")],
            9,
            "no request reaches",
            "deny_segments",
        ),
        (
            &[("to: app ", "to: app, rewrite: { match: '(', to: / } ")],
            9,
            "not a regular expression",
            "look-around",
        ),
        (
            &[("to: app ", "redirect: 'https://{query}/' ")],
            9,
            "choose the host",
            "{hostname}",
        ),
        (
            &[("to: app ", "redirect: { to: /x, status: 304 } ")],
            9,
            "sends nobody",
            "308",
        ),
        (
            &[("to: app ", "redirect: { to: '/x?a', keep_query: true } ")],
            9,
            "query or a fragment",
            "{query}",
        ),
        (
            &[("to: app ", "redirect: /x, set_headers: { A: b } ")],
            9,
            "answers by itself",
            "remove",
        ),
        (
            &[("to: agent,", "redirect: /x,")],
            10,
            "would not understand",
            "deny: 503",
        ),
        (
            &[("to: app ", "respond: { status: 204, body: x } ")],
            9,
            "has no body",
            "another status",
        ),
        (
            &[("to: app ", "respond: { body: x, file: y } ")],
            9,
            "one of `body` and `file`",
            "remove",
        ),
        (
            &[("to: app ", "respond: { body: x, content_type: text } ")],
            9,
            "not a media type",
            "text/html",
        ),
        (
            &[("to: app ", "to: app, set_headers: { X: \"{hosts}\" } ")],
            9,
            "placeholder `hosts`",
            "did you mean `host`?",
        ),
        (
            &[(
                "to: app ",
                "to: app, name: n }\n  - { path: /b, to: app, name: n ",
            )],
            10,
            "called `n` already",
            "unique",
        ),
        (
            &[("to: app ", "to: app, method: [] ")],
            9,
            "`method` is empty",
            "every method",
        ),
        (
            &[("to: app ", "to: app, on: [] ")],
            9,
            "`on` is empty",
            "leave it out",
        ),
        // The whole.
        (
            &[("pools:", "pool:")],
            5,
            "unknown key `pool`",
            "did you mean `pools`?",
        ),
        (
            &[("listeners:", "admin: { bind: \":9901\" }\nlisteners:")],
            1,
            "not an address with a port",
            "127.0.0.1:9901",
        ),
        (
            &[("listeners:", "admin: { socket_mode: 0999 }\nlisteners:")],
            1,
            "`0999` are no permissions",
            "0660",
        ),
        (
            &[("listeners:", "admin: { token: short }\nlisteners:")],
            1,
            "16 to 512 visible characters",
            "openssl rand",
        ),
        (
            &[(
                "listeners:",
                "admin: { token: 0123456789abcdef, token_file: a }\nlisteners:",
            )],
            1,
            "both given",
            "leave one of them out",
        ),
        (
            &[("listeners:", "admin: { sockets: /a }\nlisteners:")],
            1,
            "unknown key `sockets`",
            "did you mean `socket`?",
        ),
        (
            &[(
                "listeners:",
                "admin: { socket: /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }\nlisteners:",
            )],
            1,
            "at most 90 bytes",
            "shorter",
        ),
        (
            &[("listeners:", "threads: many\nlisteners:")],
            1,
            "not a whole number",
            "1 to 1024",
        ),
        (
            &[("listeners:", "deny_segments: [/metrics]\nlisteners:")],
            1,
            "not a path segment",
            "no slash",
        ),
        (
            &[("listeners:", "drain: { deadline: 30 }\nlisteners:")],
            1,
            "no unit",
            "`30s`",
        ),
        (
            &[("listeners:", "process: { group: www-data }\nlisteners:")],
            1,
            "means nothing without `user`",
            "add `user: NAME`",
        ),
        (
            &[(
                "listeners:",
                "process: { user: a, landlock: yes }\nlisteners:",
            )],
            1,
            "landlock",
            "`require`",
        ),
        (
            &[("listeners:", "process: { user: \"0:0\" }\nlisteners:")],
            1,
            "is no name",
            "not a number",
        ),
        (
            &[("listeners:", "upgrade: { start_timeout: 0s }\nlisteners:")],
            1,
            "start_timeout",
            "",
        ),
        (
            &[("listeners:", "upgrade: { dedline: 1h }\nlisteners:")],
            1,
            "unknown key",
            "`deadline`",
        ),
        (
            &[("listeners:", "access_log: stdot\nlisteners:")],
            1,
            "not known",
            "did you mean `stdout`?",
        ),
        (
            &[(
                "listeners:",
                "traces: { otlp: \"https://a:4318\" }\nlisteners:",
            )],
            1,
            "not the address of a collector",
            "let a collector on this machine send on",
        ),
        (
            &[("listeners:", "traces: { sample: 1% }\nlisteners:")],
            1,
            "`otlp` is missing",
            "add `otlp:`",
        ),
        (
            &[("listeners:", "metrics: { per_workers: true }\nlisteners:")],
            1,
            "unknown key",
            "did you mean `per_worker`?",
        ),
        (
            &[("listeners:", "access_log: { to: off }\nlisteners:")],
            1,
            "not known",
            "known are",
        ),
        (
            &[("listeners:", "access_log: { to: x/y, file: z }\nlisteners:")],
            1,
            "there is `file` as well",
            "name one destination",
        ),
        (
            &[("listeners:", "access_log: { format: jsn }\nlisteners:")],
            1,
            "not known",
            "did you mean `json`?",
        ),
        (
            &[("listeners:", "access_log: { sample: 101% }\nlisteners:")],
            1,
            "not a percentage",
            "at most `100%`",
        ),
        (
            &[(
                "listeners:",
                "access_log: { to: { syslog: \"udp://logs:514\" } }\nlisteners:",
            )],
            1,
            "not a log server",
            "names are not resolved",
        ),
        (
            &[(
                "listeners:",
                "access_log: { to: { facility: local0 } }\nlisteners:",
            )],
            1,
            "one of `syslog` and `journald` is needed",
            "to: journald",
        ),
        (
            &[(
                "listeners:",
                "access_log: { to: { syslog: /dev/log, facility: local9 } }\nlisteners:",
            )],
            1,
            "not known",
            "did you mean `local0`?",
        ),
        // Rates.
        (
            &[("\":80\" }", "\":80\", rate: 100 }")],
            2,
            "`100` has no unit",
            "`100/s`",
        ),
        (
            &[("\":80\" }", "\":80\", rate: { burst: 5 } }")],
            2,
            "`listeners.http.rate`: `requests` is missing",
            "add `requests:`",
        ),
        (
            &[(
                "to: app }",
                "to: app, rate: { requests: 5/s, per: adress } }",
            )],
            9,
            "`adress` is not known",
            "did you mean `address`?",
        ),
        (
            &[("to: app }", "to: app, rate: { requests: 5/s, burst: 0 } }")],
            9,
            "out of bounds",
            "from 1",
        ),
        (
            &[("to: app }", "deny: 403, rate: 5/s }")],
            9,
            "has no effect on a route that denies",
            "remove",
        ),
        (
            &[("to: app }", "to: app, in_flight_max: 0 }")],
            9,
            "out of bounds",
            "from 1",
        ),
        (
            &[("to: app }", "to: app, body_bytes_max: 4MB }")],
            9,
            "unit `MB` is not known",
            "`4MiB`",
        ),
        (
            &[("to: app }", "deny: 403, body_bytes_max: 4MiB }")],
            9,
            "has no effect on a route that denies",
            "remove",
        ),
        // Networks.
        (
            &[("\":80\" }", "\":80\", allow: [10.0.0.0/8, 10.1.2.3/16] }")],
            2,
            "bits set behind its first 16",
            "`10.1.0.0/16`",
        ),
        (
            &[(
                "\":80\" }",
                "\":80\", allow: 10.0.0.0/8, deny: [10.0.0.0/8] }",
            )],
            2,
            "stands in `allow` too",
            "longest prefix",
        ),
        (
            &[("\":80\" }", "\":80\", allow: [] }")],
            2,
            "`listeners.http.allow` is empty",
            "10.0.0.0/8",
        ),
        (
            &[("to: app }", "to: app, deny: [403] }")],
            9,
            "`403` is not a network",
            "`deny: 403`",
        ),
        (
            &[("to: app }", "deny: 403, allow: 10.0.0.0/8 }")],
            9,
            "has no effect on a route that denies",
            "remove",
        ),
        (
            &[("to: app }", "deny: 10.0.0.0/8 }")],
            9,
            "leads nowhere",
            "`to: POOL`",
        ),
        // Checks of dependencies.
        (
            &[("listeners:", "checks: { a: { mysql: 3306 } }\nlisteners:")],
            1,
            "unknown key `mysql`",
            "known are",
        ),
        (
            &[(
                "listeners:",
                "checks: { a: { postgre: 10.0.0.1 } }\nlisteners:",
            )],
            1,
            "unknown key `postgre`",
            "`postgres`",
        ),
        (
            &[("listeners:", "checks: { a: { interval: 5s } }\nlisteners:")],
            1,
            "`checks.a` needs one of `postgres`, `amqp`, `vault` and `tcp`",
            "`a: { postgres:",
        ),
        (
            &[(
                "listeners:",
                "checks: { a: { postgres: 10.0.0.1, vault: 10.0.0.1 } }\nlisteners:",
            )],
            1,
            "`checks.a` needs one of",
            "postgres",
        ),
        (
            &[("listeners:", "checks: { a: 10.0.0.1 }\nlisteners:")],
            1,
            "`checks.a` does not say what is there",
            "`amqp`",
        ),
        (
            &[("listeners:", "checks: [10.0.0.1]\nlisteners:")],
            1,
            "`checks`: expected a map of checks by name",
            "",
        ),
        (
            &[(
                "listeners:",
                "checks: { a b: { tcp: \"10.0.0.1:1\" } }\nlisteners:",
            )],
            1,
            "not a name for a check",
            "letters",
        ),
        (
            &[("listeners:", "checks: { a: { tcp: 10.0.0.1 } }\nlisteners:")],
            1,
            "`checks.a.tcp`: `10.0.0.1` is not an address",
            "add the port",
        ),
        (
            &[(
                "listeners:",
                "checks: { a: { amqp: \"localhost:5672\" } }\nlisteners:",
            )],
            1,
            "is not an address",
            "`127.0.0.1:5672`",
        ),
        (
            &[(
                "listeners:",
                "checks: { a: { amqp: { address: \"10.0.0.1:0\" } } }\nlisteners:",
            )],
            1,
            "`checks.a.amqp.address`: `10.0.0.1:0` is not an address",
            "1 to 65535",
        ),
        (
            &[(
                "listeners:",
                "checks: { a: { vault: \"https://v:8200\" } }\nlisteners:",
            )],
            1,
            "is not an address",
            "`tls: on`",
        ),
        (
            &[(
                "listeners:",
                "checks: { a: { postgres: { user: b } } }\nlisteners:",
            )],
            1,
            "`checks.a.postgres`: `address` is missing",
            "add `address:`",
        ),
        (
            &[(
                "listeners:",
                "checks: { a: { amqp: { address: 10.0.0.1, user: b } } }\nlisteners:",
            )],
            1,
            "`checks.a.amqp`: unknown key `user`",
            "`address`",
        ),
        (
            &[(
                "listeners:",
                "checks: { a: { postgres: { address: 10.0.0.1, user: \"\" } } }\nlisteners:",
            )],
            1,
            "is not a name",
            "63 bytes",
        ),
        (
            &[(
                "listeners:",
                "checks: { vault: { address: 10.0.0.1, fall: 0 } }\nlisteners:",
            )],
            1,
            "`checks.vault.fall`: 0 is out of bounds",
            "from 1",
        ),
        (
            &[("\":80\"", "\":${PORT}\"")],
            2,
            "`PORT` is not set",
            "${PORT:-value}",
        ),
    ];
    for (replace, line, what, hint) in cases {
        let text = small(replace);
        let checked = parsed(&text);
        sound(&text, &checked);
        let found = checked
            .problems
            .iter()
            .find(|problem| problem.what.contains(what));
        let told = render(&source(&text), &checked.problems, false);
        let found = found.unwrap_or_else(|| panic!("{what} is not told of\n{text}\n{told}"));
        assert_eq!(found.severity, Severity::Error, "{told}");
        assert_eq!(found.place.line, *line, "{told}");
        assert!(found.hint.as_deref().unwrap_or("").contains(hint), "{told}");
    }
}

#[test]
fn doubts_are_warnings_and_do_not_stop_anybody() {
    let tls = ", tls: { certificates: [edge.pem] }";
    let cases: &[(Change<'_>, &str)] = &[
        (
            &[("\":6554\", tls: { certificates: [edge.pem] }", "\":6554\"")],
            "gRPC without TLS",
        ),
        (
            &[(
                "listeners:",
                "admin: { bind: \"0.0.0.0:9901\" }\nlisteners:",
            )],
            "from other machines",
        ),
        (
            &[("listeners:", "admin: { socket_mode: 0666 }\nlisteners:")],
            "everybody on this machine",
        ),
        (
            &[(
                "listeners:",
                "admin: { socket: off, bind: off }\nlisteners:",
            )],
            "neither a socket nor an address",
        ),
        (
            &[("path: /, to: app ", "path: /x/metrics, to: app ")],
            "only what is below",
        ),
        (
            &[
                ("\":80\" }", "\":80\", redirect_https: all }"),
                ("to: app ", "to: app, on: [http, https] "),
            ],
            "redirects everything",
        ),
        (
            &[
                ("\":80\" }", "\":80\", redirect_https: all }"),
                ("443\", tls: { certificates: [edge.pem] }", "443\""),
            ],
            "no listener takes HTTPS",
        ),
        (
            &[(
                "\":80\" }",
                "\":80\", forwarded: { from: [10.0.0.0/8, 0.0.0.0/0] } }",
            )],
            "trusts everybody",
        ),
        (
            &[(
                "\":80\" }",
                "\":80\", rate: { per: certificate, requests: 1/s } }",
            )],
            "a rate per certificate, but asks clients for none",
        ),
        (
            &[(
                "50052, protocol: h2c",
                "50052, protocol: h2, tls: { verify: off }",
            )],
            "takes whoever answers",
        ),
        (
            &[("50052, protocol: h2c", "50052")],
            "takes gRPC, but pool `agent` speaks HTTP/1.1",
        ),
    ];
    assert!(SMALL.contains(tls));
    for (replace, what) in cases {
        let text = small(replace);
        let checked = parsed(&text);
        sound(&text, &checked);
        let told = render(&source(&text), &checked.problems, false);
        let [problem] = checked.problems.as_slice() else {
            panic!("{text}\n{told}")
        };
        assert!(
            problem.what.contains(what) && problem.severity == Severity::Warning,
            "{told}"
        );
        assert!(checked.config.is_some());
    }
}

#[test]
fn what_looks_odd_but_is_right_is_not_told_of() {
    let cases: &[Change<'_>] = &[
        &[("8079 }", "8079 }\n  unused: { ports: 9099 }")],
        &[(
            "8079 }",
            "8079, hosts: 10.0.0.1 }\n  b: { ports: 8070-8079, hosts: 10.0.0.2 }",
        )],
        &[("8079 }", "8079 }\n  b: { ports: 8080-8089 }")],
        &[
            ("\":443\"", "\"127.0.0.1:443\""),
            ("\":6554\"", "\"127.0.0.2:443\""),
        ],
        &[("\":443\"", "\":0\""), ("\":6554\"", "\":0\"")],
        &[("\":443\"", "\"192.0.2.1:8075\"")],
        &[(
            "to: app }",
            "to: app }\n  - { path: /, method: GET, to: app }\n  - { path: /, method: POST, to: app }",
        )],
        &[(
            "to: app }",
            "to: app }\n  - { path: /, header: { a: x }, to: app }\n  - { path: /, header: { a: y }, to: app }",
        )],
        &[(
            "to: app }",
            "to: app }\n  - { path: /, header: { a: \"*\" }, to: app }\n  - { path: /, header: { a: y }, to: app }",
        )],
        &[(
            "to: app }",
            "to: app }\n  - { path: /, host: a.example, to: app }\n  - { exact: /, to: app }",
        )],
        &[(
            "to: app }",
            "to: app, on: https }\n  - { path: /, to: app, on: http }",
        )],
        &[("path: /, to: app ", "path: /metricsfoo, to: app ")],
        &[("path: /, to: app ", "path: /a/metrics/b, to: app ")],
        &[
            ("listeners:", "deny_segments: []\nlisteners:"),
            ("path: /, to: app ", "path: /metrics, to: app "),
        ],
        &[("8079 }", "8079, slow_start: 0s, hold: 0s }")],
        &[("[edge.pem] } }", "edge.pem } }")],
    ];
    for replace in cases {
        good(&small(replace));
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = small(&[
        ("\":80\"", "80"),
        ("8070-8079", "8079-8070"),
        ("to: app ", "to: ap "),
        ("routes:", "route:\nroutes:"),
    ]);
    let checked = parsed(&text);
    let lines: Vec<u32> = checked
        .problems
        .iter()
        .map(|problem| problem.place.line)
        .collect();
    assert_eq!(
        lines,
        [2, 6, 8, 10],
        "{}",
        render(&source(&text), &checked.problems, false)
    );
    assert!(checked.config.is_none());
}

#[test]
fn one_mistake_is_told_once() {
    for replace in [
        [("\":80\"", "80"), ("to: app ", "to: app, on: http ")],
        [
            ("app: { ports: 8070-8079 }", "app: { ports: x }"),
            ("path", "path"),
        ],
        [("app: { ports: 8070-8079 }", "app: x"), ("path", "path")],
        [
            ("https: { bind: \":443\"", "https: { bind: 443"),
            ("path", "path"),
        ],
    ] {
        let text = small(&replace);
        let checked = parsed(&text);
        assert_eq!(
            checked.problems.len(),
            1,
            "{}",
            render(&source(&text), &checked.problems, false)
        );
    }
}

#[test]
fn a_file_full_of_mistakes_is_cut_short() {
    let text = format!("routes:\n{}", "  - {}\n".repeat(5_000));
    let checked = parsed(&text);
    assert!(checked.problems.len() <= 200);
    sound(&text, &checked);
}

/// Told in the time of a test run, though each of the routes could be compared with each pool.
#[test]
fn many_wrong_names_cost_no_more_than_the_told_ones() {
    let pools: String = (0..2_000)
        .map(|n| format!("  pool-{n}: {{ ports: {} }}\n", 10_000 + n))
        .collect();
    let routes = "  - { path: /, to: nowhere-at-all }\n".repeat(20_000);
    let text = format!("listeners: {{ a: {{ bind: \":80\" }} }}\npools:\n{pools}routes:\n{routes}");
    let checked = parsed(&text);
    assert_eq!(checked.problems.len(), 200);
    assert!(checked.config.is_none());
}

#[test]
fn names_of_routes_are_unique_without_being_given() {
    let text = small(&[(
        "to: app }",
        "to: app }\n  - { path: /, header: { a: x }, to: app }\n  - { path: /, header: { a: y }, to: app }\n  - { path: /, method: GET, host: a.b, to: app }",
    )]);
    let names: Vec<String> = good(&text)
        .routes
        .into_iter()
        .map(|route| route.name)
        .collect();
    assert_eq!(
        names,
        [
            "/ -> app",
            "/ -> app #2",
            "/ -> app #3",
            "GET a.b/ -> app",
            "/ -> agent"
        ]
    );
}

/// Pieces of the language and of YAML, to get further than noise does.
fn pieces() -> impl Strategy<Value = String> {
    let words = [
        "listeners:",
        "pools:",
        "routes:",
        "admin:",
        "tls:",
        "{",
        "}",
        "[",
        "]",
        "- ",
        ", ",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "a",
        "b",
        "&x ",
        "*x",
        "!t ",
        "<<: ",
        "bind: \":80\"",
        "ports: 80-90",
        "ports: [1-2, 3]",
        "path: /",
        "to: a",
        "on: [a, b]",
        "hosts: ",
        "\"",
        "'",
        "|",
        ">",
        "${A}",
        "${A:-b}",
        "${",
        "#",
        "\t",
        "é",
        "\r\n",
        "\u{0}",
        "---",
        "null",
        "~",
        "9999999999999999999",
        "-1",
        "0",
        "health: ",
        "http: /x",
        "hold: off",
        "limits: ",
        "exact: /x/",
        "deny: 403",
        "host: \"*.x\"",
        "method: GET",
        "header: { a: b }",
        "set_headers: { x: \"{host}\" }",
        "? ",
        "%YAML 1.2\n",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..60)
        .prop_map(|words| words.concat())
}

/// The default file with a few bytes changed.
fn mutations() -> impl Strategy<Value = String> {
    let table = ROUTES_YAML
        .split("# ---- Every key")
        .next()
        .unwrap_or("")
        .to_owned();
    let length = table.len();
    prop::collection::vec((0..length, any::<u8>(), 0..3_u8), 1..6).prop_map(move |edits| {
        let mut bytes = table.clone().into_bytes();
        for (at, byte, kind) in edits {
            let at = at.min(bytes.len().saturating_sub(1));
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte % 128),
                _ => drop(bytes.remove(at)),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![any::<String>(), pieces(), mutations()]) {
        sound(&text, &parsed(&text));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        match Source::from_bytes("x", bytes) {
            Ok(source) => sound(&source.text, &parsed(&source.text)),
            Err(told) => {
                let (source, problem) = *told;
                let text = source.text.clone();
                sound(&text, &Checked { config: None, problems: vec![problem] });
            }
        }
    }
}
