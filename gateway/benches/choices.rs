//! What do the three decisions of every request cost? Reading its head, choosing its route, choosing its worker.
//!
//! `cargo bench -p gateway`; every figure is for one request. The sizes say whether a choice grows with the configuration.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use bytes::BytesMut;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use gateway::config::model::{Config, ListenerId};
use gateway::config::{Source, parse, render};
use gateway::http1::head::{Limits, parse_request, parse_response};
use gateway::pool::{Kind, Pick, Pool, Want, WorkerId};
use gateway::route::path::normalise;
use gateway::route::table::{Query, RouteTable};

const LIMITS: Limits = Limits {
    head_bytes: 32 * 1024,
    target_bytes: 8 * 1024,
    fields: 100,
};

/// What libcurl agents send, and what a browser sends.
const AGENT: &[u8] =
    b"GET /ping HTTP/1.1\r\nHost: landscape.example.com\r\nUser-Agent: landscape-client/26.08\r\n\
Accept: */*\r\n\r\n";
const BROWSER: &[u8] = b"GET /overview/computers?page=2&sort=name HTTP/1.1\r\nHost: landscape.example.com\r\n\
Connection: keep-alive\r\nsec-ch-ua: \"Chromium\";v=\"140\", \"Not;A=Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\n\
sec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \
AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\nAccept: text/html,application/xhtml+xml,\
application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\n\
Sec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\nReferer: https://landscape.example.com/overview\r\n\
Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\n\
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: TwistedWeb/22.4.0\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
Content-Type: application/octet-stream\r\nContent-Length: 64\r\n\r\n";

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    for (name, wire) in [("agent", AGENT), ("browser", BROWSER)] {
        group.bench_function(name, |bench| {
            bench.iter_batched_ref(
                || BytesMut::from(wire),
                |buffer| black_box(parse_request(buffer, &LIMITS).expect("a good head")),
                BatchSize::SmallInput,
            );
        });
    }
    group.bench_function("response", |bench| {
        bench.iter_batched_ref(
            || BytesMut::from(RESPONSE),
            |buffer| black_box(parse_response(buffer, &LIMITS, false).expect("a good head")),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("path", |bench| {
        bench.iter(|| black_box(normalise(black_box(b"/api/v2/computers/17")).is_ok()));
    });
    group.finish();
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for count in [10, 1_000, 10_000] {
        let mut text = String::from(
            "listeners: { http: { bind: \":80\" } }\npools: { p: { ports: 9000 } }\nroutes:\n  - { path: /, to: p }\n",
        );
        for number in 1..count {
            // As in a real table: some by path alone, some below a host.
            let _ = match number % 2 {
                0 => writeln!(text, "  - {{ path: /api/v{number}/x, to: p }}"),
                _ => writeln!(
                    text,
                    "  - {{ path: /a, host: h{number}.example.com, to: p }}"
                ),
            };
        }
        let table = RouteTable::build(&config(&text));
        let last = format!("/api/v{}/x/below", (count - 1) / 2 * 2);
        for (name, host, path) in [
            ("path", "landscape.example.com", last.as_str()),
            ("host", "h1.example.com", "/a/b/c"),
            ("fallback", "landscape.example.com", "/a/b/c/d"),
        ] {
            group.bench_function(BenchmarkId::new(name, count), |bench| {
                bench.iter(|| {
                    let query = Query {
                        host: black_box(host),
                        path: black_box(path),
                        method: "GET",
                        header: &|_, _| false,
                    };
                    black_box(
                        table
                            .find(ListenerId(0), &query)
                            .expect("there is a route for all"),
                    )
                });
            });
        }
    }
    group.finish();
}

fn workers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("worker");
    for count in [10, 990, 10_000_u32] {
        for balance in ["least-loaded", "round-robin", "least-connections", "hash"] {
            let now = Instant::now();
            let key = if balance == "hash" {
                ", hash: address"
            } else {
                ""
            };
            let last = 20_000 + count - 1;
            let text = format!(
                "listeners: {{ http: {{ bind: \":80\" }} }}\n\
                 pools: {{ p: {{ ports: 20000-{last}, balance: {balance}{key} }} }}\n\
                 routes: [{{ path: /, to: p }}]\n"
            );
            let pool = Pool::new(config(&text).pools.remove(0), now);
            let all: Vec<_> = (0..count).map(|worker| (WorkerId(worker), true)).collect();
            pool.set_listening_all(&all, now);
            assert_eq!(pool.live(), count as usize);
            let mut random = fastrand::Rng::with_seed(7);
            group.bench_function(BenchmarkId::new(balance, count), |bench| {
                bench.iter(|| {
                    let want = Want {
                        key: Some(random.u64(..)),
                        home: None,
                        avoid: &[],
                        random: random.u64(..),
                        kind: Kind::Request,
                    };
                    // Reserved, and given back as it is dropped.
                    assert!(matches!(black_box(pool.pick(&want, now)), Pick::Worker(_)));
                });
            });
        }
    }
    group.finish();
}

fn config(text: &str) -> Config {
    let source = Source {
        name: "bench".to_owned(),
        text: text.to_owned(),
    };
    let checked = parse(&source, &|_| None);
    let problems = checked.problems;
    checked
        .config
        .unwrap_or_else(|| panic!("{}", render(&source, &problems[..1], false)))
}

criterion_group!(benches, heads, routes, workers);
criterion_main!(benches);
