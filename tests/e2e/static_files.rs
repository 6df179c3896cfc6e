//! Are files served as clients of the web expect, and nothing beside them?

use std::fs;
use std::os::unix::fs::symlink;

use e2e::grpc::{call, frame};
use e2e::h2_client::request;
use e2e::scripts::replying;
use e2e::{Gateway, H2Reply, Message, TempDir, Worker, eventually};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0", redirect_https: none }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  app: { ports: <app> }
routes:
  - { path: /, to: app }
  - { path: /static, name: static, static: { root: <files>/root, cache: 1h } }
  - { path: /packed, static: { root: <files>/root, precompressed: true, index: off } }
  - { path: /links, static: { root: <files>/root, symlinks: true, dotfiles: true } }
  - { path: /short, static: <files>/root }
"#;

struct Site {
    gateway: Gateway,
    files: TempDir,
    _worker: Worker,
}

async fn site() -> Site {
    let files = TempDir::new();
    let path = |name: &str| files.path().join(name);
    fs::write(path("secret"), "secret").unwrap();
    fs::create_dir_all(path("root/sub")).unwrap();
    fs::write(path("root/a.txt"), "0123456789").unwrap();
    fs::write(path("root/a.txt.gz"), "packed").unwrap();
    fs::write(path("root/empty"), "").unwrap();
    fs::write(path("root/.hidden"), "hidden").unwrap();
    fs::write(path("root/sub/index.html"), "<p>sub</p>").unwrap();
    symlink("../secret", path("root/out")).unwrap();
    symlink("..", path("root/up")).unwrap();
    symlink("a.txt", path("root/in")).unwrap();
    let worker = Worker::start(replying(200)).await;
    let gateway = Gateway::with(YAML)
        .ports("app", [worker.port()])
        .text("files", &files.path().display().to_string())
        .start()
        .await;
    Site {
        gateway,
        files,
        _worker: worker,
    }
}

impl Site {
    async fn h1(&self, method: &str, target: &str, fields: &[&str]) -> Message {
        let mut client = self.gateway.http().await;
        client.ask(method, target, fields, b"").await
    }

    async fn h2(&self, method: &str, target: &str, fields: &[&str]) -> H2Reply {
        let mut asked = request(method, target);
        for field in fields {
            let (name, value) = field.split_once(": ").unwrap();
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            asked.headers_mut().insert(name, value.parse().unwrap());
        }
        self.gateway.h2("https").await.fetch(asked, "").await
    }

    /// Status, the fields of these names and the body, which are the same in both versions of HTTP.
    async fn both(
        &self,
        method: &str,
        target: &str,
        fields: &[&str],
        names: &[&str],
    ) -> (u16, Vec<Option<String>>, String) {
        let old = self.h1(method, target, fields).await;
        let of = |name: &&str| old.field(name).map(str::to_owned);
        let first = (old.status(), names.iter().map(of).collect(), old.text());
        let new = self.h2(method, target, fields).await;
        let of = |name: &&str| {
            let value = new.headers.get(*name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let second: (u16, Vec<_>, String) = (
            new.status.as_u16(),
            names.iter().map(of).collect(),
            new.text(),
        );
        assert_eq!(first, second, "{method} {target} {fields:?}");
        second
    }
}

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|v| Some((*v).to_owned())).collect()
}

#[tokio::test]
async fn a_file_comes_with_what_clients_need_to_keep_it() {
    let site = site().await;
    let names = [
        "content-type",
        "content-length",
        "cache-control",
        "accept-ranges",
        "x-content-type-options",
    ];
    let want = some(&[
        "text/plain; charset=utf-8",
        "10",
        "max-age=3600",
        "bytes",
        "nosniff",
    ]);
    let (status, seen, body) = site.both("GET", "/static/a.txt?v=1", &[], &names).await;
    assert_eq!(
        (status, seen, body.as_str()),
        (200, want.clone(), "0123456789")
    );
    let (status, seen, body) = site.both("HEAD", "/static/a.txt", &[], &names).await;
    assert_eq!((status, seen, body.as_str()), (200, want, ""));
    let reply = site.h1("GET", "/short/a.txt", &[]).await;
    assert_eq!(
        (reply.text(), reply.field("cache-control")),
        ("0123456789".to_owned(), None)
    );
    for name in ["etag", "last-modified", "date"] {
        assert_eq!(reply.fields(name).len(), 1, "{name}: {}", reply.head);
    }
    let reply = site.h1("GET", "/static/empty", &[]).await;
    assert_eq!(
        (reply.status(), reply.field("content-length")),
        (200, Some("0"))
    );
    // Data threads hand their lines over each in its own time.
    let lines = site.gateway.access_log(6).await;
    let of = |line: &&serde_json::Value| line["path"] == "/static/a.txt" && line["method"] == "GET";
    let line = lines.iter().find(of).unwrap();
    assert_eq!(
        (
            &line["route"],
            &line["status"],
            &line["bytes_out"],
            &line["end"]
        ),
        (&"static".into(), &200.into(), &10.into(), &"ok".into()),
        "{line}"
    );
}

#[tokio::test]
async fn who_has_it_is_told_so() {
    let site = site().await;
    let reply = site.h1("GET", "/static/a.txt", &[]).await;
    let (tag, date) = (
        reply.field("etag").unwrap().to_owned(),
        reply.field("last-modified").unwrap().to_owned(),
    );
    for condition in [
        format!("If-None-Match: {tag}"),
        format!("If-None-Match: W/{tag}"),
        format!("If-Modified-Since: {date}"),
    ] {
        let (status, seen, body) = site
            .both(
                "GET",
                "/static/a.txt",
                &[&condition],
                &["etag", "content-length"],
            )
            .await;
        assert_eq!((status, body.as_str()), (304, ""), "{condition}");
        assert_eq!(seen, [Some(tag.clone()), None], "{condition}");
    }
    let (status, _, body) = site
        .both("GET", "/static/a.txt", &["If-Match: \"other\""], &[])
        .await;
    assert_eq!((status, body.as_str()), (412, ""));
    // The connection goes on after an answer without a body.
    let mut client = site.gateway.http().await;
    let condition = format!("If-None-Match: {tag}");
    for want in [304, 304] {
        let reply = client.ask("GET", "/static/a.txt", &[&condition], b"").await;
        assert_eq!(reply.status(), want);
    }
    assert_eq!(client.get("/static/a.txt").await.text(), "0123456789");
    fs::write(site.files.path().join("root/a.txt"), "changed").unwrap();
    let reply = site.h1("GET", "/static/a.txt", &[&condition]).await;
    assert_eq!((reply.status(), reply.text().as_str()), (200, "changed"));
}

#[tokio::test]
async fn a_download_that_broke_off_goes_on() {
    let site = site().await;
    let reply = site.h1("GET", "/static/a.txt", &[]).await;
    let date = format!("If-Range: {}", reply.field("last-modified").unwrap());
    let tag = format!("If-Range: {}", reply.field("etag").unwrap());
    let names = ["content-range", "content-length"];
    for condition in [date.as_str(), tag.as_str(), "X-None: 1"] {
        let (status, seen, body) = site
            .both(
                "GET",
                "/static/a.txt",
                &["Range: bytes=4-", condition],
                &names,
            )
            .await;
        assert_eq!((status, body.as_str()), (206, "456789"), "{condition}");
        assert_eq!(seen, some(&["bytes 4-9/10", "6"]), "{condition}");
    }
    let (status, seen, body) = site
        .both("GET", "/static/a.txt", &["Range: bytes=-3"], &names)
        .await;
    assert_eq!((status, body.as_str()), (206, "789"));
    assert_eq!(seen, some(&["bytes 7-9/10", "3"]));
    let (status, seen, _) = site
        .both("GET", "/static/a.txt", &["Range: bytes=10-"], &names[..1])
        .await;
    assert_eq!((status, seen), (416, some(&["bytes */10"])));
    for ignored in ["Range: bytes=0-1,3-4", "Range: lines=1-2"] {
        let (status, _, body) = site.both("GET", "/static/a.txt", &[ignored], &names).await;
        assert_eq!((status, body.as_str()), (200, "0123456789"), "{ignored}");
    }
    // Another file than the one that the client began: from the beginning.
    let fields = ["Range: bytes=4-", "If-Range: \"other\""];
    let (status, _, body) = site.both("GET", "/static/a.txt", &fields, &names).await;
    assert_eq!((status, body.as_str()), (200, "0123456789"));
}

#[tokio::test]
async fn a_folder_is_its_index_and_never_a_list() {
    let site = site().await;
    let location = &["location"];
    let (status, seen, _) = site.both("GET", "/static/sub?x=1", &[], location).await;
    assert_eq!((status, seen), (301, some(&["/static/sub/?x=1"])));
    let (status, seen, _) = site.both("GET", "/static", &[], location).await;
    assert_eq!((status, seen), (301, some(&["/static/"])));
    let (status, seen, body) = site
        .both("GET", "/static/sub/", &[], &["content-type"])
        .await;
    assert_eq!((status, body.as_str()), (200, "<p>sub</p>"));
    assert_eq!(seen, some(&["text/html; charset=utf-8"]));
    for nothing in ["/static/", "/packed/sub", "/packed/sub/", "/packed"] {
        let (status, _, _) = site.both("GET", nothing, &[], &[]).await;
        assert_eq!(status, 404, "{nothing}");
    }
}

#[tokio::test]
async fn there_is_no_way_out_of_the_folder() {
    let site = site().await;
    let targets = [
        "/static/../secret",
        "/static/%2e%2e/secret",
        "/static/..%2fsecret",
        "/static/%2e%2e%2fsecret",
        "/static/%252e%252e/secret",
        "/static/sub/..%5c..%5csecret",
        "/static/..;/secret",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/out",
        "/static/up/secret",
        "/static/in",
        "/static/.hidden",
        "/static/%2ehidden",
        "/static/none",
        "/static/a.txt/",
        "/links/out",
        "/links/up/secret",
        "/links/up/root/a.txt",
    ];
    for target in targets {
        let old = site.h1("GET", target, &[]).await;
        let new = site.h2("GET", target, &[]).await;
        // What leaves the path of the route is the worker's.
        let elsewhere = !old.text().contains("secret") && old.text() == "ok";
        assert!(
            elsewhere || old.status() == 404,
            "{target}: {} {}",
            old.status(),
            old.text()
        );
        assert_eq!(new.status.as_u16(), old.status(), "{target} over HTTP/2");
        assert_eq!(new.text(), old.text(), "{target} over HTTP/2");
    }
    for (target, body) in [("/links/in", "0123456789"), ("/links/.hidden", "hidden")] {
        assert_eq!(site.h1("GET", target, &[]).await.text(), body, "{target}");
    }
    let reply = site.h1("GET", "/static/none", &[]).await;
    assert_eq!(reply.text(), "there is no such file\n");
    let lines = site.gateway.access_log(2 * targets.len() + 3).await;
    let none = lines.iter().find(|line| line["path"] == "/static/none");
    assert_eq!(none.unwrap()["end"], "no_file", "{none:?}");
}

#[tokio::test]
async fn only_reading_is_possible() {
    let site = site().await;
    let allow = &["allow"];
    for method in ["DELETE", "OPTIONS", "PATCH"] {
        let (status, seen, _) = site.both(method, "/static/a.txt", &[], allow).await;
        assert_eq!((status, seen), (405, some(&["GET, HEAD"])), "{method}");
    }
    let mut client = site.gateway.http().await;
    client
        .send("PUT /static/a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome")
        .await;
    assert_eq!(client.reply().await.status(), 405);
    assert!(client.ended().await);
    let line = site.gateway.access_log(1).await.remove(0);
    assert_eq!(line["end"], "no_method", "{line}");
    let reply = site
        .gateway
        .h2("https")
        .await
        .fetch(call("/static/x"), frame("x"))
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.grpc_status()),
        (200, Some("14"))
    );
}

#[tokio::test]
async fn a_packed_file_goes_to_who_takes_it() {
    let site = site().await;
    let names = ["content-encoding", "content-type", "vary"];
    let gzip = ["Accept-Encoding: gzip, deflate"];
    let (_, seen, body) = site.both("GET", "/packed/a.txt", &gzip, &names).await;
    assert_eq!(body, "packed");
    assert_eq!(
        seen,
        some(&["gzip", "text/plain; charset=utf-8", "accept-encoding"])
    );
    for fields in [&[][..], &["Accept-Encoding: br, gzip;q=0"]] {
        let (_, seen, body) = site.both("GET", "/packed/a.txt", fields, &names).await;
        assert_eq!((body.as_str(), &seen[0]), ("0123456789", &None));
        assert_eq!(seen[2].as_deref(), Some("accept-encoding"));
    }
    let reply = site.h1("GET", "/static/a.txt", &gzip).await;
    assert_eq!(reply.text(), "0123456789", "only where it is asked for");
    let tags = [
        site.h1("GET", "/packed/a.txt", &gzip).await,
        site.h1("GET", "/packed/a.txt", &[]).await,
    ]
    .map(|reply| reply.field("etag").unwrap().to_owned());
    assert_ne!(tags[0], tags[1]);
}

/// Bytes that tell where they stand.
fn pattern(length: usize) -> Vec<u8> {
    (0..length / 8)
        .flat_map(|at| (at as u64).to_le_bytes())
        .collect()
}

#[tokio::test]
async fn a_large_file_comes_whole() {
    let site = site().await;
    let large = pattern(3 << 20);
    fs::write(site.files.path().join("root/large"), &large).unwrap();
    let old = site.h1("GET", "/static/large", &[]).await;
    assert!(old.body == large, "{} bytes", old.body.len());
    let new = site.h2("GET", "/static/large", &[]).await;
    assert!(new.body == large, "{} bytes", new.body.len());
    let part = ["Range: bytes=1000000-1999999"];
    let old = site.h1("GET", "/static/large", &part).await;
    assert!(old.body == large[1_000_000..2_000_000]);
}

#[tokio::test]
async fn who_does_not_read_does_not_fill_the_memory() {
    let site = site().await;
    let path = site.files.path().join("root/huge");
    fs::File::create(&path).unwrap().set_len(256 << 20).unwrap();
    let resident = || async {
        let metric = site.gateway.metric("process_resident_memory_bytes ");
        metric.await.expect("the metric is told")
    };
    let before = resident().await;
    let mut open = Vec::new();
    for _ in 0..4 {
        // Each with a window of its own.
        let mut new = site.gateway.h2("https").await;
        let mut client = site.gateway.http().await;
        client
            .send("GET /static/huge HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        assert_eq!(client.head().await.status(), 200);
        let mut call = new.call(request("GET", "/static/huge"), true).await;
        assert_eq!(call.head().await.unwrap().status(), 200);
        open.push((client, call, new));
    }
    // All that fits is on its way by now: another request is served behind it.
    assert_eq!(site.h1("GET", "/static/a.txt", &[]).await.status(), 200);
    let grown = resident().await - before;
    assert!(grown < 32e6, "{grown} bytes for eight readers");
    // And what is read goes on.
    let (mut client, mut call, _new) = open.pop().unwrap();
    assert_eq!(client.exact(1 << 20).await, vec![0; 1 << 20]);
    let mut taken = 0;
    while taken < 16 * 1024 {
        taken += call.data().await.expect("more").expect("data").len();
    }
}

#[tokio::test]
async fn a_file_that_shrinks_is_not_taken_for_whole() {
    let site = site().await;
    let path = site.files.path().join("root/huge");
    let file = fs::File::create(&path).unwrap();
    file.set_len(64 << 20).unwrap();
    let mut client = site.gateway.http().await;
    client
        .send("GET /static/huge HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
    file.set_len(0).unwrap();
    let got = client.to_end().await.len();
    assert!(got < 64 << 20, "{got}");
    let broken = || async {
        let lines = site.gateway.access_log(1).await;
        (lines[0]["end"] == "file_broken").then_some(())
    };
    eventually("the log tells of it", broken).await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_stops_the_start_and_not_the_run() {
    let yaml = r#"
listeners: { http: { bind: ":80", redirect_https: none } }
pools: { app: { ports: 8080 } }
routes:
  - { path: /, static: { root: /nowhere/at/all } }
"#;
    let (code, said) = e2e::gateway::check(yaml);
    assert_eq!(code, 1);
    assert!(
        said.contains("`/nowhere/at/all` cannot be served") && said.contains("routes.yaml:5"),
        "{said}"
    );
    let site = site().await;
    let root = site.files.path().join("root");
    fs::rename(&root, site.files.path().join("away")).unwrap();
    let told = site.gateway.reload(|text| text).await;
    assert!(told.contains("refused"), "{told}");
    let reply = site.h1("GET", "/static/a.txt", &[]).await;
    assert_eq!(reply.status(), 500);
    fs::rename(site.files.path().join("away"), &root).unwrap();
    let reply = site.h1("GET", "/static/a.txt", &[]).await;
    assert_eq!(reply.status(), 200, "a folder can be put in place anew");
}
