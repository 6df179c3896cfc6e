//! Does apt install what was uploaded, through the edge? The real apt, with a state of its own.

use std::path::Path;
use std::process::Command;

use e2e::package::{Deb, Uploader, changes, run, schema};
use e2e::{Database, Gateway, Message, Service, TempDir, eventually, free_range};

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0" }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  appserver:      { ports: <appserver> }
  package-upload: { ports: <uploads> }
routes:
  - { path: /,                  to: appserver }
  - { path: /repository,        to: appserver, on: [http, https] }
  - { path: /hash-id-databases, to: appserver }
  - { path: /upload,            to: package-upload<strip> }
"#;

const POCKET: &str = "standalone/ubuntu/noble/staging";

struct House {
    database: Database,
    folder: TempDir,
    gateway: Gateway,
    services: Vec<Service>,
}

/// A repository behind the edge, signed by a key or not, with one package `hello`.
async fn house(key: Option<&Path>, strip: &str) -> House {
    let (database, folder) = (Database::fresh(), TempDir::new());
    schema(&database, &["pocket", POCKET, "--allow-unsigned"]);
    let databases = folder.path().join("databases");
    std::fs::create_dir(&databases).expect("a directory");
    let directory = folder.path().join("repositories").display().to_string();
    let (databases, key) = (
        databases.display().to_string(),
        key.map(|path| path.display().to_string())
            .unwrap_or_default(),
    );
    let settings = [
        ("REPOSITORY__DIRECTORY", directory.as_str()),
        ("REPOSITORY__HASH_ID_DATABASES", databases.as_str()),
        ("REPOSITORY__SIGNING_KEY", key.as_str()),
        ("REPOSITORY__LOOK", "50ms"),
    ];
    let services: Vec<Service> = ["package-upload", "package-upload", "appserver"]
        .map(|program| Service::at(program, &database, free_range(1), &settings))
        .into();
    let gateway = Gateway::with(YAML)
        .ports("uploads", [services[0].port(), services[1].port()])
        .ports("appserver", [services[2].port()])
        .text("strip", strip)
        .start()
        .await;
    House {
        database,
        folder,
        gateway,
        services,
    }
}

impl House {
    async fn put(&self, name: &str, body: &[u8]) -> Message {
        let mut raw = self.gateway.https().await;
        let head = format!(
            "PUT /upload/{POCKET}/{name} HTTP/1.1\r\nHost: localhost:38443\r\nUser-Agent: dput\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        raw.send([head.as_bytes(), body].concat()).await;
        raw.reply_to("PUT").await
    }

    /// Uploads a package; its bytes.
    async fn upload(&self, deb: &Deb<'_>) -> Vec<u8> {
        let desk = TempDir::new();
        let name = deb.build(desk.path());
        let bytes = std::fs::read(desk.path().join(&name)).expect("it was built");
        assert_eq!(self.put(&name, &bytes).await.status(), 201);
        let text = changes(desk.path(), "noble-staging", &[&name]);
        let reply = self.put(&format!("{name}.changes"), text.as_bytes()).await;
        assert_eq!(reply.status(), 201, "{}", reply.text());
        bytes
    }

    async fn get(&self, path: &str, fields: &[&str]) -> Message {
        self.gateway
            .http()
            .await
            .ask("GET", path, fields, b"")
            .await
    }

    fn url(&self, scheme: &str) -> String {
        let port = self.gateway.port(scheme);
        format!("{scheme}://localhost:{port}/repository/standalone/ubuntu")
    }
}

/// An apt with a state of its own, and one line of sources.
struct Apt {
    dir: TempDir,
}

impl Apt {
    fn new(house: &House, source: &str) -> Apt {
        let dir = TempDir::new();
        let root = dir.path().display().to_string();
        for sub in [
            "lists/partial",
            "archives/partial",
            "etc/parts",
            "etc/apt.conf.d",
            "etc/preferences.d",
            "down",
        ] {
            std::fs::create_dir_all(dir.path().join(sub)).expect("a directory");
        }
        dir.write("status", "");
        dir.write("sources.list", &format!("{source}\n"));
        let ca = house.gateway.file("ca.pem").display().to_string();
        dir.write(
            "apt.conf",
            &format!(
                "Dir \"{root}\";\nDir::Etc \"{root}/etc\";\nDir::Etc::sourcelist \"{root}/sources.list\";\n\
                 Dir::Etc::sourceparts \"{root}/etc/parts\";\nDir::Etc::trusted \"{root}/none.gpg\";\n\
                 Dir::Etc::trustedparts \"{root}/etc/parts\";\n\
                 Dir::State \"{root}\";\nDir::State::lists \"{root}/lists\";\n\
                 Dir::State::status \"{root}/status\";\nDir::Cache \"{root}\";\n\
                 Dir::Cache::archives \"{root}/archives\";\nDir::Log \"{root}\";\n\
                 APT::Architecture \"amd64\";\nAPT::Architectures \"amd64\";\n\
                 APT::Sandbox::User \"root\";\nAcquire::https::CaInfo \"{ca}\";\n\
                 Acquire::Languages \"none\";\nAcquire::Retries \"0\";\n"
            ),
        );
        Apt { dir }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        command
            .args(words)
            .env("APT_CONFIG", self.dir.path().join("apt.conf"))
            .env("LC_ALL", "C")
            .env_remove("http_proxy")
            .env_remove("https_proxy")
            .current_dir(self.dir.path().join("down"));
        command
    }

    async fn get(&self, words: &[&str]) -> String {
        let mut command = self.command(words);
        let done = tokio::task::spawn_blocking(move || run(&mut command));
        done.await.expect("apt-get does what it is told")
    }

    async fn fails(&self, words: &[&str]) -> String {
        let mut command = self.command(words);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("a task").expect("apt-get can be started");
        assert!(!output.status.success(), "{words:?} must fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn downloaded(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join("down").join(name)).expect("apt fetched it")
    }
}

#[tokio::test]
async fn apt_installs_what_was_uploaded_with_and_without_tls() {
    let house = house(None, "").await;
    // Names with signs that apt writes in another way.
    let bytes = house
        .upload(&Deb {
            name: "hello++",
            version: "1:1.0~rc1+b-2",
            ..Deb::default()
        })
        .await;
    for scheme in ["http", "https"] {
        let source = format!("deb [trusted=yes] {} noble-staging main", house.url(scheme));
        let apt = Apt::new(&house, &source);
        apt.get(&["update"]).await;
        apt.get(&["download", "hello++"]).await;
        // apt writes the epoch's colon in another way, too.
        assert_eq!(apt.downloaded("hello++_1%3a1.0~rc1+b-2_all.deb"), bytes);
        let plan = apt.get(&["install", "--simulate", "hello++"]).await;
        assert!(plan.contains("Inst hello++ (1:1.0~rc1+b-2"), "{plan}");
    }
}

#[tokio::test]
async fn apt_trusts_what_is_signed_and_nothing_else() {
    let keys = TempDir::new();
    let key = keys.path().join("repository.key");
    let database = Database::fresh();
    schema(&database, &["signing-key", &key.display().to_string()]);
    // Behind an edge that takes the prefix away.
    let house = house(Some(&key), ", strip_prefix: true").await;
    let bytes = house.upload(&Deb::default()).await;
    let source = |options: &str| format!("deb {options} {} noble-staging main", house.url("http"));
    let public = format!(
        "[signed-by={}]",
        keys.path().join("repository.key.asc").display()
    );
    let apt = Apt::new(&house, &source(&public));
    apt.get(&["update"]).await;
    apt.get(&["download", "hello"]).await;
    assert_eq!(apt.downloaded("hello_1.0-1_all.deb"), bytes);

    // The next upload is seen by the next update.
    house
        .upload(&Deb {
            version: "1.1-1",
            ..Deb::default()
        })
        .await;
    apt.get(&["update"]).await;
    let plan = apt.get(&["install", "--simulate", "hello"]).await;
    assert!(plan.contains("Inst hello (1.1-1"), "{plan}");

    let apt = Apt::new(&house, &source(""));
    let said = apt.fails(&["update"]).await;
    assert!(said.contains("NO_PUBKEY"), "{said}");
    let stranger = Uploader::new("stranger");
    let other = format!("[signed-by={}]", stranger.certificate().display());
    let said = Apt::new(&house, &source(&other)).fails(&["update"]).await;
    assert!(
        said.contains("not signed") || said.contains("NO_PUBKEY"),
        "{said}"
    );

    // The signature that stands apart is right, too.
    let base = "/repository/standalone/ubuntu/dists/noble-staging";
    let release = house.get(&format!("{base}/Release"), &[]).await;
    let apart = house.get(&format!("{base}/Release.gpg"), &[]).await;
    assert_eq!((release.status(), apart.status()), (200, 200));
    let text = keys.path().join("Release");
    std::fs::write(&text, &release.body).expect("a file");
    let signature = keys.path().join("Release.gpg");
    std::fs::write(&signature, &apart.body).expect("a file");
    let armored = keys.path().join("repository.key.asc");
    let ring = keys.path().join("ring.gpg");
    let home = TempDir::new();
    let mut gpg = Command::new("gpg");
    gpg.arg("--homedir")
        .arg(home.path())
        .args(["--batch", "--dearmor", "--output"]);
    run(gpg.arg(&ring).arg(&armored));
    let mut gpgv = Command::new("gpgv");
    run(gpgv.arg("--keyring").arg(&ring).arg(&signature).arg(&text));
}

#[tokio::test]
async fn files_are_served_by_ranges_and_conditions_and_nothing_is_listed() {
    let house = house(None, "").await;
    let bytes = house.upload(&Deb::default()).await;
    let base = "/repository/standalone/ubuntu";
    let path = format!("{base}/pool/main/h/hello/hello_1.0-1_all.deb");
    let whole = house.get(&path, &[]).await;
    assert_eq!((whole.status(), &whole.body), (200, &bytes));
    assert_eq!(whole.field("accept-ranges"), Some("bytes"));
    let part = house.get(&path, &["Range: bytes=10-19"]).await;
    assert_eq!((part.status(), &part.body[..]), (206, &bytes[10..20]));
    let range = format!("bytes 10-19/{}", bytes.len());
    assert_eq!(part.field("content-range"), Some(range.as_str()));
    let beyond = house.get(&path, &["Range: bytes=99999999-"]).await;
    assert_eq!(beyond.status(), 416);
    let modified = whole.field("last-modified").expect("a date");
    let same = format!("If-Modified-Since: {modified}");
    assert_eq!(house.get(&path, &[&same]).await.status(), 304);
    let head = house
        .gateway
        .http()
        .await
        .ask("HEAD", &path, &[], b"")
        .await;
    assert_eq!(head.status(), 200);
    assert_eq!(
        head.field("content-length"),
        Some(bytes.len().to_string().as_str())
    );

    for path in [
        "/repository".to_owned(),
        "/repository/".to_owned(),
        "/repository/standalone".to_owned(),
        base.to_owned(),
        format!("{base}/"),
        format!("{base}/pool"),
        format!("{base}/pool/"),
        format!("{base}/pool/main/h/hello"),
        format!("{base}/pool/main/h/hello/"),
        format!("{base}/dists/noble-staging"),
        format!("{base}/other/x"),
        format!("{base}/pool/none.deb"),
        format!("{base}/dists/.noble-staging@1-unsigned/Release"),
        format!("{base}/dists/%2enoble-staging@1-unsigned/Release"),
        "/repository/.incoming/1/x".to_owned(),
        "/repository/.incoming/parts/pool/x".to_owned(),
    ] {
        let reply = house.get(&path, &[]).await;
        assert_eq!(reply.status(), 404, "{path}");
        assert!(!reply.text().contains("hello"), "{path}");
    }
    // The edge does not let this through; the service does not rely on it.
    let climbing = format!("{base}/pool/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd");
    let mut raw = e2e::Raw::tcp(house.services[2].port()).await;
    assert_eq!(raw.get(&climbing).await.status(), 404);
    let posted = house
        .gateway
        .http()
        .await
        .ask("POST", &path, &[], b"x")
        .await;
    assert_eq!(posted.status(), 405);
}

#[tokio::test]
async fn an_index_can_still_be_had_by_its_digest_when_the_next_is_shown() {
    let house = house(None, "").await;
    let base = "/repository/standalone/ubuntu/dists/noble-staging";
    house.upload(&Deb::default()).await;
    let release = house.get(&format!("{base}/Release"), &[]).await.text();
    assert!(release.contains("Acquire-By-Hash: yes"), "{release}");
    let section = release.split_once("SHA256:\n").expect("digests").1;
    let line = section
        .lines()
        .find(|line| line.ends_with("binary-amd64/Packages.gz"));
    let digest = line
        .expect("an index")
        .trim()
        .split(' ')
        .next()
        .expect("a digest")
        .to_owned();
    house
        .upload(&Deb {
            version: "2.0-1",
            ..Deb::default()
        })
        .await;
    let now = house.get(&format!("{base}/Release"), &[]).await.text();
    assert!(!now.contains(&digest));
    let path = format!("{base}/main/binary-amd64/by-hash/SHA256/{digest}");
    let old = house.get(&path, &[]).await;
    assert_eq!(old.status(), 200);
    assert!(!old.body.is_empty());
}

#[tokio::test]
async fn databases_of_hashes_are_served_by_name() {
    let house = house(None, "").await;
    let name = "13a4b5c6-0000-4000-8000-000000000001_noble_amd64";
    let file = house.folder.path().join("databases").join(name);
    std::fs::write(file, b"SQLite format 3\0...").expect("a file");
    std::fs::write(house.folder.path().join("databases/secret"), "x").expect("a file");
    let mut raw = house.gateway.https().await;
    let reply = raw.get(&format!("/hash-id-databases/{name}")).await;
    assert_eq!((reply.status(), reply.body.len()), (200, 19));
    for name in [
        "secret",
        "",
        "x_noble_amd64",
        "..",
        "%2e%2e_noble_amd64",
        "../repositories",
    ] {
        let mut raw = house.gateway.https().await;
        let reply = raw.get(&format!("/hash-id-databases/{name}")).await;
        // What is no such path at all is for those who sign in, as every page is.
        assert!(
            [404, 303].contains(&reply.status()),
            "{name}: {}",
            reply.status()
        );
    }
    assert_eq!(
        house.database.sql("select count(*) from repository_pocket"),
        "1"
    );
}

#[tokio::test]
async fn the_real_dput_uploads_through_the_edge() {
    let house = house(None, "").await;
    let uploader = Uploader::new("maintainer");
    let certificate = uploader.certificate().display().to_string();
    schema(&house.database, &["pocket", POCKET, "--key", &certificate]);
    let desk = TempDir::new();
    let name = Deb::default().build(desk.path());
    let text = changes(desk.path(), "noble-staging", &[&name]);
    let port = house.gateway.port("https");
    desk.write(
        "dput.cf",
        &format!(
            "[lds]\nmethod = https\nfqdn = localhost:{port}\nincoming = /upload/{POCKET}\n\
             allow_unsigned_uploads = 0\n"
        ),
    );
    let dput = |file: &str| {
        let mut command = Command::new("dput");
        command
            .arg("--config")
            .arg(desk.path().join("dput.cf"))
            .args(["lds", file])
            .env("USER", "uploader")
            .env("SSL_CERT_FILE", house.gateway.file("ca.pem"))
            .env("GNUPGHOME", uploader.home())
            .env("HOME", desk.path())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("https_proxy")
            .stdin(std::process::Stdio::null())
            .current_dir(desk.path());
        tokio::task::spawn_blocking(move || command.output())
    };
    // A suite that this pocket does not take is refused with the reason.
    let wrong = changes(desk.path(), "noble-proposed", &[&name]);
    desk.write("wrong_1.0-1_amd64.changes", &uploader.sign(&wrong));
    let output = dput("wrong_1.0-1_amd64.changes").await.expect("a task");
    let output = output.expect("dput can be started: as root, run  scripts/setup.sh test");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("400"), "{said}");

    desk.write("hello_1.0-1_amd64.changes", &uploader.sign(&text));
    let output = dput("hello_1.0-1_amd64.changes")
        .await
        .expect("a task")
        .expect("dput");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let source = format!(
        "deb [trusted=yes] {} noble-staging main",
        house.url("https")
    );
    let apt = Apt::new(&house, &source);
    eventually("apt has the package", || async {
        apt.get(&["update"]).await;
        let plan = apt.get(&["install", "--simulate", "hello"]).await;
        plan.contains("Inst hello (1.0-1").then_some(())
    })
    .await;
}
