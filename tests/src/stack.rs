//! Which database stands behind the services under test? A real PostgreSQL of the test run's own.
//!
//! The first test that asks starts one server (`scripts/postgres.sh`) in a directory of its own, on a
//! free port, and makes the schema once; every test gets a database of its own, copied from that. The
//! server ends with the test's process, however that ends. A missing PostgreSQL is a failure that
//! says how to install it. The services are built when what lies there is older than their source.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime};

use crate::eventually::patience;
use crate::gateway::binary;
use crate::ports::free_range;
use crate::raw::Raw;

const NAME: &str = "portcullis-postgres";

/// A program of the crate `backends`, built when it is missing or older than its source.
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(build);
    binary(name)
}

pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the crate lies in the workspace")
        .to_owned()
}

fn build() {
    let test = std::env::current_exe().expect("a running program knows its file");
    let dir = test
        .parent()
        .and_then(Path::parent)
        .expect("tests run in target/*/deps");
    let programs = [
        "schema",
        "pingserver",
        "appserver",
        "message-server",
        "api",
        "outbox-relay",
        "hostagent-messenger",
        "package-search",
        "package-upload",
    ];
    let built = programs
        .map(|name| modified(&dir.join(name)))
        .into_iter()
        .min()
        .flatten();
    let source = root().join("backends");
    if built.is_some()
        && built > newest(&source.join("src")).max(newest(&source.join("migrations")))
    {
        return;
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // As the tests are built: with other features every dependency would be built again.
    cargo.args(["build", "--quiet", "--workspace", "--bins", "--tests"]);
    if dir.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(root()).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "the services cannot be built: run  cargo build --workspace"
    );
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}

fn newest(dir: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    let times = entries.map(|entry| match entry.path() {
        path if path.is_dir() => newest(&path),
        path => modified(&path),
    });
    times.max().flatten()
}

/// A database of one test, with the schema in it.
pub struct Database {
    url: String,
    /// It goes with its server, which is not the one that tests share.
    apart: bool,
}

impl Database {
    /// A fresh one.
    pub fn fresh() -> Database {
        let server = server();
        let name = format!("t{:016x}", fastrand::u64(..));
        psql(
            &server.url,
            &format!("create database {name} template base"),
        );
        Database {
            url: at(&server.url, &name),
            apart: false,
        }
    }

    /// The one for services, made on a server of a test's own.
    pub(crate) fn with_schema(server: &str) -> Database {
        psql(server, "create database base");
        let url = at(server, "base");
        migrate(&url);
        Database { url, apart: true }
    }

    /// The one at this address, of a server of a test's own.
    pub(crate) fn bare(url: &str) -> Database {
        Database {
            url: url.to_owned(),
            apart: true,
        }
    }

    /// A fresh one without anything in it.
    pub fn empty() -> Database {
        let server = server();
        let name = format!("t{:016x}", fastrand::u64(..));
        psql(&server.url, &format!("create database {name}"));
        Database {
            url: at(&server.url, &name),
            apart: false,
        }
    }

    /// How to connect.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs SQL; rows come as lines, fields with `|` between them, no value as nothing.
    pub fn sql(&self, sql: &str) -> String {
        psql(&self.url, sql)
    }

    /// Runs `schema` with these words, and gives it a line to read. What it said.
    pub fn schema(&self, settings: &[(&str, &str)], words: &[&str], line: &str) -> String {
        let mut child = Command::new(program("schema"))
            .args(words)
            .env("BACKENDS_STORE__URL", self.url())
            .envs(with_key(settings))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`schema` can be started");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // It may have ended without reading.
        let _ = writeln!(stdin, "{line}");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "schema {words:?}: {error}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Runs SQL in a transaction that stays open until the value is dropped, or committed.
    pub fn hold(&self, sql: &str) -> Held {
        let mut child = psql_command(&self.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql can be started");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        writeln!(stdin, "begin; {sql};\n\\echo held").expect("psql reads");
        let mut lines = BufReader::new(stdout).lines();
        let held = lines.any(|line| line.is_ok_and(|line| line == "held"));
        assert!(held, "psql ended before it held: {sql}");
        Held(child, Some(stdin))
    }

    /// How many statements wait for a lock in this database.
    pub fn waiting(&self) -> String {
        let name = self.url.rsplit('/').next().unwrap_or_default();
        psql(
            &server().url,
            &format!(
                "select count(*) from pg_stat_activity \
                 where datname = '{name}' and wait_event_type = 'Lock'"
            ),
        )
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.apart {
            return;
        }
        let (_, name) = self.url.rsplit_once('/').unwrap_or_default();
        // A failed test has said enough; what is left goes with the server.
        let _ = psql_command(&server().url)
            .args(["-c", &format!("drop database {name} with (force)")])
            .output();
    }
}

/// The key with which tests encrypt secrets in the database.
pub const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Settings as variables; secrets are kept in the database unless something else is said of them.
fn with_key(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all: Vec<_> = settings
        .iter()
        .map(|(key, value)| (format!("BACKENDS_{key}"), (*value).to_owned()))
        .collect();
    if !settings.iter().any(|(key, _)| key.starts_with("SECRET__")) {
        all.push(("BACKENDS_SECRET__KEY".to_owned(), KEY.to_owned()));
    }
    all
}

/// A transaction that is open.
pub struct Held(Child, Option<ChildStdin>);

impl Held {
    /// Commits in place of undoing it.
    pub fn commit(mut self) {
        if let Some(stdin) = &mut self.1 {
            writeln!(stdin, "commit;").expect("psql reads");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The end of its input is the end of psql, and that of its transaction.
        self.1.take();
        let _ = self.0.wait();
    }
}

/// A process of the crate `backends` on a port of its own, killed on drop.
pub struct Service {
    child: Child,
    port: u16,
    log: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// Starts a worker on a free port.
    pub fn start(program: &str, database: &Database) -> Service {
        Service::at(program, database, free_range(1), &[])
    }

    /// Starts a worker on this port, with settings as in `("STORE__CONNECTIONS_MAX", "2")`.
    pub fn at(name: &str, database: &Database, port: u16, settings: &[(&str, &str)]) -> Service {
        until_ready(name, Service::spawn(name, database, port, settings, &[]))
    }

    /// As [`Service::at`]; told to stop, it waits for what is in flight longer than a test does.
    pub fn patient(
        name: &str,
        database: &Database,
        port: u16,
        settings: &[(&str, &str)],
    ) -> Service {
        let drain = (patience() * 4).as_secs().to_string();
        let more = ["--drain", &drain];
        until_ready(name, Service::spawn(name, database, port, settings, &more))
    }

    /// As [`Service::at`], not waiting until it is ready.
    pub fn begun(name: &str, database: &Database, port: u16, settings: &[(&str, &str)]) -> Service {
        Service::spawn(name, database, port, settings, &[]).0
    }

    fn spawn(
        name: &str,
        database: &Database,
        port: u16,
        settings: &[(&str, &str)],
        more: &[&str],
    ) -> (Service, mpsc::Receiver<()>) {
        let mut child = Command::new(program(name))
            .args(["--port", &port.to_string()])
            .args(more)
            .env("BACKENDS_STORE__URL", database.url())
            .envs(with_key(settings))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a service can be started");
        let stderr = child.stderr.take().expect("stderr is piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (tell, ready) = mpsc::channel();
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.starts_with("ready ") {
                    let _ = tell.send(());
                }
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        (Service { child, port, log }, ready)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Begins to send a large request, until it is read and so much of it is sent.
    pub async fn begin(&self, path: &str, length: usize, sent: &[u8]) -> Raw {
        let mut raw = Raw::tcp(self.port()).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        raw.send(head).await;
        assert_eq!(raw.head().await.status(), 100, "it is being read");
        raw.try_send(sent).await;
        raw
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.join("\n")
    }

    /// Memory that it has in use, bytes.
    pub fn memory(&self) -> usize {
        self.told("VmRSS:")
    }

    /// Most memory that it ever had in use, bytes.
    pub fn memory_peak(&self) -> usize {
        self.told("VmHWM:")
    }

    fn told(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
        kib.expect("the kernel tells it") * 1024
    }

    /// Time of a processor that it has used.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("it lives");
        // Its name stands in parentheses and may hold anything; the 12th and the 13th field behind are of the program and of
        // the kernel.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = ticks
            .map(|ticks| ticks.parse::<f64>().expect("a number"))
            .sum();
        let told = Command::new("getconf").arg("CLK_TCK").output();
        let told = told
            .ok()
            .and_then(|told| String::from_utf8(told.stdout).ok());
        let each_second = told.and_then(|text| text.trim().parse().ok());
        Duration::from_secs_f64(ticks / each_second.unwrap_or(100.0))
    }

    /// Kills it as the kernel would: no goodbye.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Tells it to stop.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.is_ok_and(|status| status.success()));
    }

    /// Whether it has ended; panics where it did so with an error.
    pub fn ended(&mut self) -> bool {
        let status = self.child.try_wait().expect("our own child");
        let failed = status.filter(|status| !status.success());
        assert!(failed.is_none(), "{failed:?}\n{}", self.log());
        status.is_some()
    }

    /// Tells it to stop and waits until it has.
    pub fn stop(&mut self) {
        self.terminate();
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

fn until_ready(name: &str, (service, ready): (Service, mpsc::Receiver<()>)) -> Service {
    if ready.recv_timeout(patience()).is_err() {
        panic!("{name} is not ready:\n{}", service.log());
    }
    service
}

struct Server {
    url: String,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let url = start();
        psql(&url, "create database base");
        migrate(&at(&url, "base"));
        Server { url }
    })
}

fn migrate(database: &str) {
    let output = Command::new(program("schema"))
        .arg("migrate")
        .env("BACKENDS_STORE__URL", database)
        .output()
        .expect("`schema` can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn start() -> String {
    remove_leftovers(NAME);
    let dir = std::env::temp_dir().join(format!("{NAME}-{}", std::process::id()));
    let (script, port) = (root().join("scripts/postgres.sh"), free_range(1));
    let at = dir.clone();
    // A thread of its own, which never ends: the server stops when the thread that started it does.
    std::thread::spawn(move || {
        let log = std::env::temp_dir().join(format!("{NAME}-{}.log", std::process::id()));
        let log = std::fs::File::create(log).expect("a log can be made");
        let mut child = Command::new(script)
            .arg(at)
            .args([&port.to_string(), "fleeting"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one more handle"))
            .stderr(log)
            .spawn()
            .expect("scripts/postgres.sh can be started");
        let _ = child.wait();
        std::thread::park();
    });
    let end = Instant::now() + patience();
    loop {
        if let Ok(url) = std::fs::read_to_string(dir.join("url")) {
            let url = url.trim().to_owned();
            let answer = psql_command(&url).args(["-c", "select 1"]).output();
            if answer.is_ok_and(|output| output.status.success()) {
                return url;
            }
        }
        let log = dir.with_extension("log");
        assert!(
            Instant::now() < end,
            "PostgreSQL does not start (as root, scripts/setup.sh installs it):\n{}",
            std::fs::read_to_string(log).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Directories of test runs that are over: nobody could remove them while the server still wrote.
pub(crate) fn remove_leftovers(of: &str) {
    let entries = std::fs::read_dir(std::env::temp_dir());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix(&format!("{of}-"))
            .and_then(|rest| rest.split(['-', '.']).next())
            .map(str::to_owned);
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn at(url: &str, database: &str) -> String {
    let (server, _) = url.rsplit_once('/').expect("an address with a database");
    format!("{server}/{database}")
}

pub(crate) fn psql_command(url: &str) -> Command {
    let mut command = Command::new("psql");
    command
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url])
        .stdin(Stdio::null());
    command
}

fn psql(url: &str, sql: &str) -> String {
    let output = psql_command(url)
        .args(["-c", sql])
        .output()
        .expect("psql can be started: as root, scripts/setup.sh installs it");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sql}\n{error}");
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}
