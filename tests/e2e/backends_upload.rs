//! Do uploads get in whole, checked, or not at all?

use std::path::Path;

use e2e::package::{Deb, Uploader, changes, schema};
use e2e::{Database, Message, Raw, Service, TempDir, eventually, free_range};

const POCKET: &str = "standalone/ubuntu/noble/staging";
const SUITE: &str = "noble-staging";

/// A folder of repositories, its database and an uploader's desk.
struct House {
    database: Database,
    folder: TempDir,
    desk: TempDir,
}

impl House {
    /// With a pocket that takes what nobody signed.
    fn open() -> House {
        let house = House::new();
        schema(&house.database, &["pocket", POCKET, "--allow-unsigned"]);
        house
    }

    fn new() -> House {
        House {
            database: Database::fresh(),
            folder: TempDir::new(),
            desk: TempDir::new(),
        }
    }

    fn worker(&self, more: &[(&str, &str)]) -> Service {
        let folder = self.folder.path().display().to_string();
        let mut settings = vec![
            ("REPOSITORY__DIRECTORY", folder.as_str()),
            ("REPOSITORY__LOOK", "50ms"),
        ];
        settings.extend_from_slice(more);
        Service::at("package-upload", &self.database, free_range(1), &settings)
    }

    /// Builds a package on the desk.
    fn deb(&self, deb: &Deb<'_>) -> String {
        deb.build(self.desk.path())
    }

    fn changes(&self, files: &[&str]) -> String {
        changes(self.desk.path(), SUITE, files)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.desk.path().join(name)).expect("it was built")
    }

    /// The packages that the suite offers, `NAME VERSION`, and each lies there as its index says.
    fn offered(&self) -> Vec<String> {
        let root = self.folder.path().join("standalone/ubuntu");
        let index = root.join(format!("dists/{SUITE}/main/binary-amd64/Packages"));
        let Ok(text) = std::fs::read_to_string(index) else {
            return Vec::new();
        };
        let mut offered = Vec::new();
        for paragraph in text.split("\n\n").filter(|one| !one.is_empty()) {
            let field = |name: &str| {
                let prefix = format!("{name}: ");
                let line = paragraph
                    .lines()
                    .find_map(|line| line.strip_prefix(&prefix));
                line.unwrap_or_else(|| panic!("no {name}: {paragraph}"))
            };
            let file = root.join(field("Filename"));
            assert_eq!(sha256(&file), field("SHA256"));
            offered.push(format!("{} {}", field("Package"), field("Version")));
        }
        offered
    }

    fn in_pool(&self) -> usize {
        fn count(dir: &Path) -> usize {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let counts = entries.map(|entry| match entry.path() {
                path if path.is_dir() => count(&path),
                _ => 1,
            });
            counts.sum()
        }
        count(&self.folder.path().join("standalone/ubuntu/pool"))
    }

    fn waiting(&self) -> usize {
        let incoming = self.folder.path().join(".incoming");
        let dirs = std::fs::read_dir(incoming).into_iter().flatten().flatten();
        dirs.map(|dir| std::fs::read_dir(dir.path()).into_iter().flatten().count())
            .sum()
    }
}

fn sha256(file: &Path) -> String {
    let told = e2e::package::run(std::process::Command::new("sha256sum").arg(file));
    told.split(' ').next().unwrap_or_default().to_owned()
}

/// One PUT, byte for byte as dput sends it, on a connection of its own.
async fn put(port: u16, path: &str, body: &[u8]) -> Message {
    let mut raw = Raw::tcp(port).await;
    raw.send(head(path, body.len())).await;
    raw.try_send(body).await;
    raw.reply_to("PUT").await
}

fn head(path: &str, length: usize) -> String {
    format!(
        "PUT {path} HTTP/1.1\r\nHost: localhost:38443\r\nUser-Agent: dput\r\n\
         Connection: close\r\nContent-Length: {length}\r\n\r\n"
    )
}

fn at(name: &str) -> String {
    format!("/upload/{POCKET}/{name}")
}

#[tokio::test]
async fn an_upload_is_offered_once_its_changes_has_come() {
    let house = House::open();
    let worker = house.worker(&[]);
    let mut files = Vec::new();
    for (at, compression) in ["xz", "gzip", "zstd", "none"].into_iter().enumerate() {
        let name = format!("hello-{compression}");
        let deb = Deb {
            name: &name,
            version: "1:2.0-1",
            architecture: ["all", "amd64"][at % 2],
            compression,
            ..Deb::default()
        };
        files.push(house.deb(&deb));
    }
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    for name in &names {
        // The edge may have stripped the prefix.
        let path = format!("/{POCKET}/{name}");
        let reply = put(worker.port(), &path, &house.bytes(name)).await;
        assert_eq!((reply.status(), reply.text().as_str()), (201, ""), "{name}");
    }
    assert_eq!((house.waiting(), house.in_pool()), (4, 0));
    assert_eq!(house.offered(), [""; 0]);
    let changes = house.changes(&names);
    let reply = put(worker.port(), &at("x.changes"), changes.as_bytes()).await;
    assert_eq!(reply.status(), 201, "{}", reply.text());
    let wanted = ["gzip", "none", "xz", "zstd"].map(|name| format!("hello-{name} 1:2.0-1"));
    assert_eq!(house.offered(), wanted);
    assert_eq!((house.waiting(), house.in_pool()), (0, 4));
    let release = house.folder.path().join("standalone/ubuntu/dists");
    let release = release.join(SUITE).join("Release");
    let release = std::fs::read_to_string(release).expect("it is shown");
    for line in [
        "Suite: noble-staging\n",
        "Components: main\n",
        "Architectures: amd64 arm64\n",
        " main/binary-arm64/Packages.gz\n",
    ] {
        assert!(release.contains(line), "{line}: {release}");
    }
    // Again, as by an uploader who did not hear the answer.
    let reply = put(worker.port(), &at("x.changes"), changes.as_bytes()).await;
    assert_eq!(reply.status(), 201);
    let uploads = "select count(*), min(changes) from repository_upload";
    assert_eq!(house.database.sql(uploads), "1|x.changes");
    let metrics = Raw::tcp(worker.port()).await.get("/metrics").await.text();
    for line in ["stored\"} 4", "imported\"} 1", "repeated\"} 1"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn names_that_are_none_and_pockets_that_are_not_there_are_refused_after_the_body() {
    let house = House::open();
    let worker = house.worker(&[]);
    let body = vec![b'x'; 3 << 20];
    for (path, status) in [
        (at("..%2f..%2fx.deb"), 400),
        (at("%2e%2e"), 400),
        (at(".hidden"), 400),
        (at("-rf"), 400),
        (at("a%00b"), 400),
        (at("a%0ab"), 400),
        (at("x.deb/"), 404),
        (at(&"x".repeat(200)), 400),
        ("/upload/standalone/ubuntu/noble/x.deb".into(), 404),
        ("/upload/standalone/ubuntu/noble/other/x.deb".into(), 404),
        ("/upload/other/ubuntu/noble/staging/x.deb".into(), 404),
        ("/upload/../../etc/passwd".into(), 400),
        ("/".into(), 404),
    ] {
        let reply = put(worker.port(), &path, &body).await;
        assert_eq!(reply.status(), status, "{path}");
    }
    let reply = Raw::tcp(worker.port()).await.get(&at("x.deb")).await;
    assert_eq!(reply.status(), 405);
    assert_eq!(house.waiting(), 0);
}

#[tokio::test]
async fn a_changes_that_is_not_right_brings_nothing_in_and_says_why() {
    let house = House::open();
    let worker = house.worker(&[]);
    let name = house.deb(&Deb::default());
    let other = house.deb(&Deb {
        name: "absent",
        ..Deb::default()
    });
    let right = house.changes(&[&name]);
    let deb = house.bytes(&name);
    assert_eq!(put(worker.port(), &at(&name), &deb).await.status(), 201);
    std::fs::write(house.desk.path().join("wrong_1_all.deb"), "no package").expect("a file");
    put(worker.port(), &at("wrong_1_all.deb"), b"no package").await;
    std::fs::copy(
        house.desk.path().join(&name),
        house.desk.path().join("misnamed_1.0-1_all.deb"),
    )
    .expect("a copy");
    put(worker.port(), &at("misnamed_1.0-1_all.deb"), &deb).await;
    let foreign = house.deb(&Deb {
        architecture: "riscv64",
        ..Deb::default()
    });
    put(worker.port(), &at(&foreign), &house.bytes(&foreign)).await;
    let md5 = right
        .lines()
        .find_map(|line| line.strip_suffix(&format!(" net optional {name}")));
    let md5 = md5.expect("a line of Files").trim().split(' ').next();
    let zeros = right.replace(md5.expect("a digest"), &"0".repeat(32));
    let sha1 = right.lines().skip_while(|line| *line != "Checksums-Sha1:");
    let sha1 = sha1.skip(1).find_map(|line| line.trim().split(' ').next());
    let other_sha1 = right.replace(sha1.expect("a digest"), &"0".repeat(40));
    let (size, longer) = (deb.len(), deb.len() + 1);
    let other_size = right.replace(&format!(" {size} "), &format!(" {longer} "));
    let of_files = format!(" {size} net optional ");
    let two_sizes = right.replace(&of_files, &format!(" {longer} net optional "));
    for wrong in [&zeros, &other_sha1, &other_size, &two_sizes] {
        assert_ne!(*wrong, right);
    }
    for (text, said) in [
        (
            right.replace("noble-staging", "noble-proposed"),
            "takes noble-staging",
        ),
        (
            right.replace("Architecture: all", "Architecture: source all"),
            "only binary",
        ),
        (
            right.replace(&name, "hello_1.0.dsc"),
            "only binary packages",
        ),
        (right.replace(&name, "../hello.deb"), "no plain file name"),
        (zeros, "size or checksums differ"),
        (other_sha1, "size or checksums differ"),
        (other_size, "size or checksums differ"),
        (two_sizes, "two sizes of"),
        (
            house.changes(&[&name, &other]),
            "absent_1.0-1_all.deb did not come",
        ),
        (house.changes(&["wrong_1_all.deb"]), "no ar archive"),
        (house.changes(&["misnamed_1.0-1_all.deb"]), "must be called"),
        (house.changes(&[&foreign]), "not riscv64"),
        (format!("{right}\n{right}"), "one paragraph"),
        ("nonsense".into(), "cannot be read"),
        (String::new(), "one paragraph"),
    ] {
        let reply = put(worker.port(), &at("a.changes"), text.as_bytes()).await;
        assert_eq!(reply.status(), 400, "{said}: {}", reply.text());
        assert!(reply.text().contains(said), "{said}: {}", reply.text());
    }
    let reply = put(worker.port(), &at("a.changes"), &[0xff; 9]).await;
    assert_eq!(reply.status(), 400);
    let reply = put(worker.port(), &at("a.changes"), &vec![b'x'; 2 << 20]).await;
    assert_eq!(reply.status(), 413);
    assert_eq!((house.in_pool(), house.offered().len()), (0, 0));
    let reply = put(worker.port(), &at("a.changes"), right.as_bytes()).await;
    assert_eq!(reply.status(), 201, "{}", reply.text());
    assert_eq!(house.offered(), ["hello 1.0-1"]);
}

#[tokio::test]
async fn only_those_whose_certificate_is_known_upload() {
    let house = House::new();
    let (known, stranger) = (Uploader::new("known"), Uploader::new("stranger"));
    let certificate = known.certificate().display().to_string();
    let said = schema(&house.database, &["pocket", POCKET, "--key", &certificate]);
    assert!(said.contains("1 certificates may sign"), "{said}");
    let worker = house.worker(&[]);
    let name = house.deb(&Deb::default());
    put(worker.port(), &at(&name), &house.bytes(&name)).await;
    let text = house.changes(&[&name]);
    let signed = known.sign(&text);
    for (text, status) in [
        (text.clone(), 403),
        (stranger.sign(&text), 403),
        (signed.replace("urgency=medium", "urgency=urgent"), 403),
        (format!("Distribution: evil\n\n{signed}"), 400),
        (format!("{signed}\nDistribution: evil\n"), 400),
        (signed.clone(), 201),
    ] {
        let reply = put(worker.port(), &at("a.changes"), text.as_bytes()).await;
        assert_eq!(reply.status(), status, "{}", reply.text());
        assert_eq!(house.offered().len(), usize::from(status == 201));
    }
    let signer = house
        .database
        .sql("select length(signer) from repository_upload");
    assert_eq!(signer, "40", "the fingerprint of who signed it");

    // Whose certificate is taken away uploads no more, not even what was there.
    let other = stranger.certificate().display().to_string();
    schema(&house.database, &["pocket", POCKET, "--key", &other]);
    let reply = put(worker.port(), &at("a.changes"), signed.as_bytes()).await;
    assert_eq!(reply.status(), 403);
    // Without any certificate nobody uploads.
    schema(&house.database, &["pocket", POCKET]);
    let reply = put(
        worker.port(),
        &at("a.changes"),
        stranger.sign(&text).as_bytes(),
    )
    .await;
    assert_eq!(reply.status(), 403);
}

#[tokio::test]
async fn a_key_that_has_expired_or_was_revoked_uploads_no_more() {
    let house = House::new();
    let (good, revoked) = (Uploader::new("good"), Uploader::new("revoked"));
    let old = Uploader::of_2020("old", "never");
    let expired = Uploader::of_2020("expired", "1y");
    let pocket = |uploader: &Uploader| {
        let file = uploader.certificate().display().to_string();
        schema(&house.database, &["pocket", POCKET, "--key", &file])
    };
    // One that was good when the operator named it, and is what it is now.
    let becomes = |uploader: &Uploader| {
        let certificate = std::fs::read_to_string(uploader.certificate()).expect("exported");
        let sql = "update repository_uploader set certificate =";
        house.database.sql(&format!("{sql} '{certificate}'"));
    };
    pocket(&good);
    let worker = house.worker(&[]);
    let name = house.deb(&Deb::default());
    let reply = put(worker.port(), &at(&name), &house.bytes(&name)).await;
    assert_eq!(reply.status(), 201);
    let text = house.changes(&[&name]);
    let upload = async |signed: &str| {
        let reply = put(worker.port(), &at("a.changes"), signed.as_bytes()).await;
        (reply.status(), reply.text())
    };

    becomes(&expired);
    let (status, said) = upload(&expired.sign(&text)).await;
    assert_eq!(status, 403, "{said}");
    assert!(said.contains("by a key that may upload here"), "{said}");
    let by_revoked = revoked.sign(&text);
    revoked.revoke();
    becomes(&revoked);
    assert_eq!(upload(&by_revoked).await.0, 403);
    assert_eq!((house.in_pool(), house.offered().len()), (0, 0));
    // The operator is told at once.
    for uploader in [&expired, &revoked] {
        let output = std::process::Command::new(e2e::stack::program("schema"))
            .args(["pocket", POCKET, "--key"])
            .arg(uploader.certificate())
            .env("BACKENDS_STORE__URL", house.database.url())
            .output()
            .expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        let told = said.contains("no key of the certificate may sign now");
        assert!(!output.status.success() && told, "{said}");
    }
    // A key of the same age that has no end, and a signature of the same age, are good.
    pocket(&old);
    let (status, said) = upload(&old.sign(&text)).await;
    assert_eq!(status, 201, "{said}");
    assert_eq!(house.offered(), ["hello 1.0-1"]);
}

#[tokio::test]
async fn a_version_keeps_its_content() {
    let house = House::open();
    let worker = house.worker(&[]);
    let name = house.deb(&Deb::default());
    put(worker.port(), &at(&name), &house.bytes(&name)).await;
    put(
        worker.port(),
        &at("1.changes"),
        house.changes(&[&name]).as_bytes(),
    )
    .await;
    assert_eq!(house.offered(), ["hello 1.0-1"]);
    let first = house.changes(&[&name]);
    let name = house.deb(&Deb {
        text: "something else\n",
        ..Deb::default()
    });
    put(worker.port(), &at(&name), &house.bytes(&name)).await;
    let reply = put(
        worker.port(),
        &at("2.changes"),
        house.changes(&[&name]).as_bytes(),
    )
    .await;
    assert_eq!(reply.status(), 409, "{}", reply.text());
    assert!(reply.text().contains("another version"), "{}", reply.text());
    assert_eq!(house.offered(), ["hello 1.0-1"]);
    // Another pocket may offer what is in the pool; nothing is sent again.
    let other = "standalone/ubuntu/noble/proposed";
    schema(&house.database, &["pocket", other, "--allow-unsigned"]);
    let text = first.replace("noble-staging", "noble-proposed");
    let path = format!("/upload/{other}/3.changes");
    let reply = put(worker.port(), &path, text.as_bytes()).await;
    assert_eq!(reply.status(), 201, "{}", reply.text());
    assert_eq!(house.in_pool(), 1);
}

#[tokio::test]
async fn uploads_that_come_at_once_to_two_workers_do_not_mix() {
    let house = House::open();
    let workers = [house.worker(&[]), house.worker(&[])];
    // Two of one name, and two more, piece by piece.
    let one = house.deb(&Deb::default());
    let (first, first_text) = (house.bytes(&one), house.changes(&[&one]));
    house.deb(&Deb {
        text: "another\n",
        ..Deb::default()
    });
    let (second, second_text) = (house.bytes(&one), house.changes(&[&one]));
    assert_ne!(first, second);
    let mut parts = Vec::new();
    for (worker, bytes) in workers.iter().zip([&first, &second]) {
        let mut raw = Raw::tcp(worker.port()).await;
        raw.send(head(&at(&one), bytes.len())).await;
        raw.send(&bytes[..bytes.len() / 2]).await;
        parts.push((raw, bytes));
    }
    for (raw, bytes) in &mut parts {
        raw.send(&bytes[bytes.len() / 2..]).await;
        assert_eq!(raw.reply_to("PUT").await.status(), 201);
    }
    let [a, b] = &workers;
    let (path, other) = (at("1.changes"), at("2.changes"));
    let (a, b) = tokio::join!(
        put(a.port(), &path, first_text.as_bytes()),
        put(b.port(), &other, second_text.as_bytes())
    );
    let mut ends = [a.status(), b.status()];
    ends.sort_unstable();
    assert_eq!(ends, [201, 409], "one of them has the version");
    assert_eq!(house.offered(), ["hello 1.0-1"]);

    let uploads = (0..8).map(|number| {
        let version = format!("2.{number}");
        let name = house.deb(&Deb {
            version: &version,
            compression: "none",
            ..Deb::default()
        });
        let (port, bytes) = (workers[number % 2].port(), house.bytes(&name));
        let text = house.changes(&[&name]);
        async move {
            assert_eq!(put(port, &at(&name), &bytes).await.status(), 201);
            let path = at(&format!("{number}.changes"));
            let reply = put(port, &path, text.as_bytes()).await;
            assert_eq!(reply.status(), 201, "{}", reply.text());
        }
    });
    futures_util::future::join_all(uploads).await;
    assert_eq!(house.offered().len(), 9);
    assert_eq!(house.in_pool(), 9);
}

#[tokio::test]
async fn a_worker_that_is_killed_leaves_no_half_repository() {
    let house = House::open();
    let mut worker = house.worker(&[]);
    let name = house.deb(&Deb::default());
    let (bytes, text) = (house.bytes(&name), house.changes(&[&name]));
    // In the middle of a file.
    let mut raw = Raw::tcp(worker.port()).await;
    raw.send(head(&at(&name), bytes.len())).await;
    raw.send(&bytes[..bytes.len() / 2]).await;
    eventually("half a file lies there", || async {
        (house.waiting() == 1).then_some(())
    })
    .await;
    worker.kill();
    let mut worker = house.worker(&[("REPOSITORY__EXPIRE", "1ms")]);
    eventually("what nobody will finish is gone", || async {
        (house.waiting() == 0).then_some(())
    })
    .await;
    worker.stop();

    // In the middle of an import, with its package in the pool.
    let mut worker = house.worker(&[]);
    assert_eq!(put(worker.port(), &at(&name), &bytes).await.status(), 201);
    house.database.sql(
        "create function wait() returns trigger language plpgsql as \
         $$ begin perform pg_advisory_xact_lock(77); return new; end $$",
    );
    house.database.sql(
        "create trigger wait before insert on repository_upload \
         for each row execute function wait()",
    );
    let held = house.database.hold("select pg_advisory_xact_lock(77)");
    let mut raw = Raw::tcp(worker.port()).await;
    raw.send(head(&at("a.changes"), text.len())).await;
    raw.send(&text).await;
    eventually("its package is in the pool", || async {
        (house.database.waiting() == "1" && house.in_pool() == 1).then_some(())
    })
    .await;
    worker.kill();
    drop(held);
    assert!(raw.reply_or_end().await.is_none(), "nobody could answer");
    let uploads = "select count(*) from repository_upload";
    eventually("its transaction is undone", || async {
        (house.database.waiting() == "0").then_some(())
    })
    .await;
    assert_eq!(house.database.sql(uploads), "0");
    let worker = house.worker(&[]);
    assert_eq!(house.offered(), [""; 0]);
    // The uploader tries again: the files are still there, the .changes is enough.
    let reply = put(worker.port(), &at("a.changes"), text.as_bytes()).await;
    assert_eq!(reply.status(), 201, "{}", reply.text());
    assert_eq!((house.offered().len(), house.in_pool()), (1, 1));
}

#[tokio::test]
async fn what_was_imported_and_not_shown_is_shown_by_the_next_worker() {
    let house = House::open();
    let mut worker = house.worker(&[]);
    let name = house.deb(&Deb::default());
    put(worker.port(), &at(&name), &house.bytes(&name)).await;
    put(
        worker.port(),
        &at("a.changes"),
        house.changes(&[&name]).as_bytes(),
    )
    .await;
    worker.stop();
    // As if it had been killed between the commit and the link.
    let dists = house.folder.path().join("standalone/ubuntu/dists");
    std::fs::remove_dir_all(&dists).expect("it is there");
    assert_eq!(house.offered(), [""; 0]);
    let _worker = house.worker(&[]);
    eventually("it is shown", || async {
        (house.offered() == ["hello 1.0-1"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sizes_are_bounded_and_what_is_never_completed_expires() {
    let house = House::open();
    let worker = house.worker(&[
        ("REPOSITORY__FILE_BYTES_MAX", "100000"),
        ("REPOSITORY__INCOMING_BYTES_MAX", "250000"),
        ("REPOSITORY__INCOMING_FILES_MAX", "4"),
    ]);
    let port = worker.port();
    let big = vec![b'x'; 100_001];
    let reply = put(port, &at("big.deb"), &big).await;
    assert_eq!(reply.status(), 413);
    assert!(
        reply.text().contains("at most 100000 bytes"),
        "{}",
        reply.text()
    );
    // Without a length it is met on the way.
    let mut raw = Raw::tcp(port).await;
    let chunked = format!(
        "PUT {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n",
        at("big.deb")
    );
    raw.send(chunked).await;
    raw.send(&big).await;
    raw.try_send("\r\n0\r\n\r\n").await;
    assert_eq!(raw.reply_to("PUT").await.status(), 413);
    // One that is absurdly long is not read to its end.
    let mut raw = Raw::tcp(port).await;
    raw.send(head(&at("huge.deb"), 1 << 40)).await;
    assert_eq!(raw.reply_to("PUT").await.status(), 413);
    // One that does not come on is given up.
    let impatient = house.worker(&[("REPOSITORY__PIECE_TIMEOUT", "300ms")]);
    let mut raw = Raw::tcp(impatient.port()).await;
    raw.send(head(&at("slow.deb"), 1000)).await;
    raw.send("x").await;
    assert_eq!(raw.reply_to("PUT").await.status(), 408);
    assert_eq!(house.waiting(), 0);

    for (name, status) in [
        ("a.deb", 201),
        ("b.deb", 201),
        ("c.deb", 507),
        ("d.deb", 507),
    ] {
        let mut body = vec![b'x'; 100_000];
        body[0] = name.as_bytes()[0];
        assert_eq!(put(port, &at(name), &body).await.status(), status, "{name}");
    }
    for (name, status) in [("e.deb", 201), ("f.deb", 201), ("g.deb", 507)] {
        assert_eq!(put(port, &at(name), b"x").await.status(), status, "{name}");
    }
    assert_eq!(house.waiting(), 4);
    let _tidy = house.worker(&[("REPOSITORY__EXPIRE", "1ms")]);
    eventually("they expire", || async {
        (house.waiting() == 0).then_some(())
    })
    .await;
}
