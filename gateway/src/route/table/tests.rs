//! Does the most specific route win, as a naive reading of the rules says?

use proptest::prelude::*;

use super::*;
use crate::config::{Source, parse};

const HEAD: &str = "\
listeners:
  http: { bind: \":80\" }
  https: { bind: \":443\", tls: { certificates: [edge.pem] } }
pools: { p: { ports: 9000 } }
deny_segments: []
routes:
";

fn config(routes: &str) -> Config {
    let source = Source {
        name: "t".to_owned(),
        text: format!("{HEAD}{routes}"),
    };
    let checked = parse(&source, &|_| None);
    checked.config.unwrap_or_else(|| {
        panic!(
            "{}",
            crate::config::render(&source, &checked.problems, false)
        )
    })
}

/// A request: host, path, method and one field.
type Asked<'a> = (&'a str, &'a str, &'a str, Option<(&'a str, &'a str)>);

fn has(field: Option<(&str, &str)>) -> impl Fn(&str, Option<&str>) -> bool {
    let field = field.map(|(name, value)| (name.to_owned(), value.to_owned()));
    move |name, value| {
        field
            .as_ref()
            .is_some_and(|(n, v)| n == name && value.is_none_or(|value| value == v))
    }
}

fn found(config: &Config, on: u16, (host, path, method, field): Asked<'_>) -> Option<RouteId> {
    RouteTable::build(config).find(
        ListenerId(on),
        &Query {
            host,
            path,
            method,
            header: &has(field),
        },
    )
}

#[test]
fn the_most_specific_route_wins_whatever_its_place() {
    let config = config(
        "
  - { path: /, to: p, name: root }
  - { path: /ping, to: p, name: ping }
  - { path: /ping/deep, to: p, name: deep }
  - { exact: /ping, to: p, name: exact }
  - { path: /api, to: p, name: api }
  - { path: /api, method: POST, to: p, name: api-post }
  - { path: /api, header: { X-Fleet: \"*\" }, to: p, name: api-fleet }
  - { path: /api, header: { X-Fleet: blue }, to: p, name: api-blue }
  - { path: /, host: a.example.com, to: p, name: host }
  - { path: /only, host: b.example.com, to: p, name: only }
  - { path: /w, host: \"*.example.com\", to: p, name: wild }
  - { path: /w, host: \"*.deep.example.com\", to: p, name: wilder }
  - { path: /m, method: GET, to: p, name: get }
  - { path: /plain, on: http, to: p, name: plain }
",
    );
    let blue = Some(("x-fleet", "blue"));
    let red = Some(("x-fleet", "red"));
    let cases: &[(Asked<'_>, &str)] = &[
        (("x", "/", "GET", None), "root"),
        (("x", "/pingpong", "GET", None), "root"),
        (("x", "/ping", "GET", None), "exact"),
        (("x", "/ping/", "GET", None), "exact"),
        (("x", "/ping/x", "GET", None), "ping"),
        (("x", "/ping/deep", "GET", None), "deep"),
        (("x", "/ping/deep/a/b/c/d/e/", "GET", None), "deep"),
        (("x", "/ping/deeper", "GET", None), "ping"),
        (("x", "/api/v2", "GET", None), "api"),
        (("x", "/api/v2", "POST", blue), "api-post"),
        (("x", "/api/v2", "post", None), "api"),
        (("x", "/api", "GET", blue), "api-blue"),
        (("x", "/api", "GET", red), "api-fleet"),
        (("a.example.com", "/ping", "GET", None), "host"),
        (("a.example.com", "/w", "GET", None), "host"),
        (("b.example.com", "/only/x", "GET", None), "only"),
        (("b.example.com", "/w", "GET", None), "wild"),
        (("b.example.com", "/ping/x", "GET", None), "ping"),
        (("x.deep.example.com", "/w", "GET", None), "wilder"),
        (("y.x.deep.example.com", "/w", "GET", None), "wilder"),
        (("deep.example.com", "/w", "GET", None), "wild"),
        (("example.com", "/w", "GET", None), "root"),
        (("x", "/m", "GET", None), "get"),
        (("x", "/m", "PUT", None), "root"),
        (("", "/", "GET", None), "root"),
    ];
    for (asked, want) in cases {
        let id = found(&config, 1, *asked).unwrap_or_else(|| panic!("{asked:?}: nothing"));
        assert_eq!(config.routes[id.0 as usize].name, *want, "{asked:?}");
    }
    assert_eq!(
        found(&config, 0, ("x", "/ping", "GET", None)),
        None,
        "only routes that name the plain listener"
    );
    assert!(found(&config, 0, ("x", "/plain/x", "GET", None)).is_some());
    assert_eq!(
        found(&config, 9, ("x", "/", "GET", None)),
        None,
        "a listener that is not there"
    );
}

#[test]
fn the_default_file_routes_as_published() {
    let source = Source {
        name: "routes.yaml".to_owned(),
        text: include_str!("../../../../routes.yaml").to_owned(),
    };
    let config = parse(&source, &|_| None).config.expect("sound");
    for (on, path, want) in [
        (1, "/ping", Some("pingserver")),
        (0, "/ping", Some("pingserver")),
        (0, "/repository/standalone/ubuntu/dists", Some("appserver")),
        (0, "/message-system", None),
        (1, "/message-system", Some("message-system")),
        (1, "/attachment/12", Some("message-system")),
        (1, "/api/v2/x", Some("api")),
        (1, "/apiary", Some("appserver")),
        (1, "/upload/a/b", Some("package-upload")),
        (1, "/hash-id-databases/x", Some("appserver")),
        (1, "/account/standalone", Some("appserver")),
        (2, "/landscape.Agent/Connect", Some("hostagent-messenger")),
    ] {
        let id = found(&config, on, ("x", path, "GET", None));
        let pool = id.map(|id| match &config.routes[id.0 as usize].action {
            crate::config::model::Action::Forward(forward) => {
                config.pools[usize::from(forward.pool.0)].name.as_str()
            }
            action => panic!("{action:?}"),
        });
        assert_eq!(pool, want, "{on} {path}");
    }
}

/// What the rules say, word by word: every route is looked at, the greatest summary wins.
fn naive(
    config: &Config,
    on: ListenerId,
    (host, path, method, field): Asked<'_>,
) -> Option<RouteId> {
    let below = |path: &str, prefix: &str| {
        prefix == "/"
            || path == prefix
            || path
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    let bare = if path.len() > 1 {
        path.trim_end_matches('/')
    } else {
        path
    };
    let matches = |route: &&Route| {
        route.on.contains(&on)
            && match &route.host {
                HostMatch::Any => true,
                HostMatch::Exact(name) => name == host,
                HostMatch::Wildcard(suffix) => host
                    .strip_suffix(suffix.as_str())
                    .is_some_and(|rest| rest.ends_with('.')),
            }
            && match &route.path {
                PathMatch::Exact(exact) => exact == bare,
                PathMatch::Prefix(prefix) => below(bare, prefix),
            }
            && (route.methods.is_empty() || route.methods.iter().any(|m| m == method))
            && route
                .headers
                .iter()
                .all(|header| has(field)(&header.name, header.value.as_deref()))
    };
    let summary = |route: &Route| {
        let host = match &route.host {
            HostMatch::Any => (0, 0),
            HostMatch::Wildcard(suffix) => (1, suffix.len()),
            HostMatch::Exact(_) => (2, 0),
        };
        let path = match &route.path {
            PathMatch::Prefix(prefix) => (0, prefix.len()),
            PathMatch::Exact(_) => (1, 0),
        };
        let values = route
            .headers
            .iter()
            .filter(|header| header.value.is_some())
            .count();
        (
            host,
            path,
            !route.methods.is_empty(),
            route.headers.len(),
            values,
        )
    };
    let ids = config
        .routes
        .iter()
        .enumerate()
        .map(|(at, route)| (RouteId(at as u32), route));
    ids.filter(|(_, route)| matches(route))
        .max_by_key(|(_, route)| summary(route))
        .map(|(id, _)| id)
}

fn hosts() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["*", "a.x", "b.a.x", "*.x", "*.a.x", "*.b.a.x", "x"])
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "a%2Fb"]), 0..4)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

fn a_route() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec!["path", "path", "path", "exact"]);
    let method = prop::sample::select(vec!["", "", "method: GET, ", "method: [GET, POST], "]);
    let header = prop::sample::select(vec!["", "", "header: { f: \"*\" }, ", "header: { f: v }, "]);
    let on = prop::sample::select(vec!["[http]", "[https]", "[http, https]"]);
    (kind, hosts(), paths(), method, header, on).prop_map(
        |(kind, host, path, method, header, on)| {
            format!(
                "  - {{ {kind}: \"{path}\", host: \"{host}\", {method}{header}on: {on}, to: p }}\n"
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_finds_what_a_naive_search_finds(
        routes in prop::collection::vec(a_route(), 1..25),
        asked in prop::collection::vec((0..2_u16, prop::sample::select(vec!["x", "a.x", "b.a.x", "c.b.a.x", "y", ""]), paths(), any::<bool>(),
            prop::sample::select(vec!["GET", "POST", "PUT"]), prop::sample::select(vec![None, Some(("f", "v")), Some(("f", "w"))])), 1..20),
    ) {
        // Rivals would be refused, so each route is added only where the whole stays sound.
        let mut text = String::new();
        for route in routes {
            let source = Source { name: "t".to_owned(), text: format!("{HEAD}{text}{route}") };
            if parse(&source, &|_| None).config.is_some() {
                text.push_str(&route);
            }
        }
        prop_assume!(!text.is_empty());
        let config = config(&text);
        for (on, host, path, slash, method, field) in asked {
            let path = if slash && path != "/" { format!("{path}/") } else { path };
            let asked = (host, path.as_str(), method, field);
            prop_assert_eq!(found(&config, on, asked), naive(&config, ListenerId(on), asked), "{:?}\n{}", asked, text);
        }
    }
}

#[test]
fn ten_thousand_routes_are_found_each_in_its_place() {
    let routes: String = (0..10_000)
        .map(|n| {
            format!(
                "  - {{ path: /s{}/r{n}, host: \"{}\", to: p }}\n",
                n % 7,
                if n % 2 == 0 { "*" } else { "*.x" }
            )
        })
        .collect();
    let config = config(&routes);
    let table = RouteTable::build(&config);
    for n in 0..10_000_u32 {
        let (host, path) = (
            if n % 2 == 0 { "h" } else { "a.b.x" },
            format!("/s{}/r{n}/tail", n % 7),
        );
        let id = table.find(
            ListenerId(1),
            &Query {
                host,
                path: &path,
                method: "GET",
                header: &|_, _| false,
            },
        );
        assert_eq!(id, Some(RouteId(n)), "{path}");
    }
    let hostile = "/s".repeat(4_000);
    let query = Query {
        host: &"a.".repeat(120),
        path: &hostile,
        method: "GET",
        header: &|_, _| false,
    };
    assert_eq!(table.find(ListenerId(1), &query), None);
}
