//! Does the demo start, live through the loss of what it needs, and leave nothing behind? And do the other scripts do
//! what an operator expects of them?

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use e2e::{TempDir, Vault, eventually, free_range, patience};
use serde_json::json;

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the crate lies in the workspace")
        .to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Lies where the logs of the demo are and is none of them.
const SOMEBODYS_LOG: &str = "api-notes.log";
/// Is one of a demo before.
const LAST_LOG: &str = "api-9080.err.log";

/// Where it keeps its data and its logs, below a directory of its own. People have such names.
const DATA: &str = "its data";
const LOGS: &str = "its logs";

/// Where the users postgres and rabbitmq can go, whose servers root starts.
fn everybodys_directory() -> PathBuf {
    let ours = std::fs::metadata("/proc/self").expect("it is mounted");
    match ours.uid() {
        0 => PathBuf::from("/var/tmp"),
        _ => std::env::temp_dir(),
    }
}

/// The demo as `make demo` runs it, with the programs that were built with this test, on ports of its own.
struct Demo {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    /// Not below the directory of a test: other users must be able to go there.
    dir: PathBuf,
    https: u16,
    mark: String,
}

impl Demo {
    fn start() -> Demo {
        let mark = format!(
            "portcullis-demo-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        );
        let dir = everybodys_directory().join(&mark);
        let logs = dir.join(LOGS);
        std::fs::create_dir_all(&logs).expect("a fresh directory can be made");
        for name in [SOMEBODYS_LOG, LAST_LOG] {
            std::fs::write(logs.join(name), "as it was").expect("a file can be written");
        }
        let https = free_range(1);
        let mut child = command(&dir, &mark, https, SHIFTS)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("scripts/demo.sh can be started");
        let said = Arc::new(Mutex::new(Vec::new()));
        let (out, error) = (child.stdout.take(), child.stderr.take());
        listen(out.expect("piped"), &said);
        listen(error.expect("piped"), &said);
        Demo {
            child,
            said,
            dir,
            https,
            mark,
        }
    }

    fn said(&self) -> String {
        let lines = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        lines.join("\n")
    }

    /// Waits for a part of what it says; building up all of it takes its time.
    async fn until_said(&mut self, part: &str) {
        let end = Instant::now() + patience() * 10;
        while !self.said().contains(part) {
            let ended = self.child.try_wait().expect("our own child");
            let waits = ended.is_none() && Instant::now() < end;
            assert!(
                waits,
                "`{part}` is never said ({ended:?}):\n{}",
                self.said()
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// The process that it names before these words.
    fn process_before(&self, words: &str) -> String {
        let said = self.said();
        let (before, _) = said.split_once(words).expect(words);
        let digits = before.trim_end_matches(|c: char| !c.is_ascii_digit());
        let number = digits.rsplit(|c: char| !c.is_ascii_digit()).next();
        number.expect("a number").to_owned()
    }

    /// Asks through the edge; the status and the answer.
    fn ask(&self, path: &str, more: &[&str]) -> (String, String) {
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "20", "--cacert", "certs/ca.pem"])
            .args(["-w", "\n%{http_code}"])
            .args(more)
            .arg(format!("https://localhost:{}{path}", self.https))
            .current_dir(root())
            .output()
            .expect("curl: run  scripts/setup.sh");
        let said = text(&output.stdout);
        let (answer, status) = said.rsplit_once('\n').unwrap_or_default();
        (status.to_owned(), answer.to_owned())
    }

    /// Signs in, which needs the database and the secret of the Vault.
    fn signs_in(&self) -> Option<()> {
        let password = std::fs::read_to_string(self.dir.join(DATA).join("admin-password"))
            .expect("it was made");
        let body = format!(
            r#"{{"email": "admin@localhost", "password": "{}"}}"#,
            password.trim()
        );
        let more = ["-H", "Content-Type: application/json", "-d", &body];
        let (status, answer) = self.ask("/api/v2/login", &more);
        (status == "200" && answer.contains("token")).then_some(())
    }

    /// Processes that it started, or that one of them did: they live in its directory, or know its name.
    fn processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("it is mounted").flatten() {
            let at = entry.path();
            let lives_there =
                std::fs::read_link(at.join("cwd")).is_ok_and(|it| it.starts_with(&self.dir));
            let environment = std::fs::read(at.join("environ")).unwrap_or_default();
            if lives_there || text(&environment).contains(&self.mark) {
                let words = std::fs::read(at.join("cmdline")).unwrap_or_default();
                found.push(format!(
                    "{} {}",
                    at.display(),
                    text(&words).replace('\0', " ")
                ));
            }
        }
        found
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // What it started hears of its end from the kernel.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn listen(from: impl std::io::Read + Send + 'static, said: &Arc<Mutex<Vec<String>>>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            said.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    });
}

/// By how much the ports of the demo that runs may be higher. Below 13,200 no other test has workers or nodes.
const SHIFTS: Range<u16> = 3_041..4_000;
/// The same of those that are refused beside it: where it has none of its own, wherever it is.
const REFUSED_SHIFTS: Range<u16> = 1_001..2_000;

/// By how much a demo's ports must be higher so that nobody has one of them. The port of the messenger is odd: connections that
/// go out are given even ones first.
fn free_shift(among: Range<u16>) -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let all_free = |shift: &u16| ports_with(*shift).all(is_free);
    // All of them, from one that chance picks: another demo on this machine leaves few.
    let mut shifts: Vec<u16> = among.step_by(2).collect();
    let first = fastrand::usize(..shifts.len());
    shifts.rotate_left(first);
    let free = shifts.into_iter().find(all_free);
    free.expect("1000 free ports side by side")
}

/// Those of a demo's workers and of its admin listener.
fn ports_with(shift: u16) -> impl Iterator<Item = u16> {
    let usual = (8070..=9101).chain([9901, 50052]);
    usual.map(move |port| port + shift)
}

/// The port that the Vault of a demo would take where it does not have the usual one: somebody may want it for something
/// else.
fn first_port_of_the_vault() -> u16 {
    let mut ports = 7200..7300;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("a free port")
}

fn command(dir: &Path, mark: &str, https: u16, shifts: Range<u16>) -> Command {
    let test = std::env::current_exe().expect("a running program knows its file");
    let built = test
        .parent()
        .and_then(Path::parent)
        .expect("tests run in target/*/deps");
    let name = built.file_name().expect("a directory").to_string_lossy();
    let profile = if name == "debug" { "dev" } else { &*name };
    let mut command = Command::new(root().join("scripts/demo.sh"));
    command
        .current_dir(root())
        .env("PROFILE", profile)
        .env("CARGO_TARGET_DIR", built.parent().expect("target"))
        .env("HTTP_PORT", first_port_of_the_vault().to_string())
        .env("HTTPS_PORT", https.to_string())
        .env("GRPC_PORT", free_range(1).to_string())
        .env("SHIFT", free_shift(shifts).to_string())
        .env("WORKERS", "1")
        .env("DATA", dir.join(DATA))
        .env("LOGS", dir.join(LOGS))
        .env("RESTART", "1")
        .env("READY_SECONDS", "300")
        .env("RUNTIME_DIRECTORY", dir)
        .env("DEMO_MARK", mark)
        .stdin(Stdio::null());
    command
}

/// The certificates, which `make demo` makes before; they are left alone where they are good.
fn certificates() {
    let made = Command::new(root().join("scripts/certs.sh")).output();
    let made = made.expect("scripts/certs.sh can be started");
    assert!(made.status.success(), "{}", text(&made.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_lives_through_the_end_of_what_it_needs_and_leaves_nothing_behind() {
    certificates();
    e2e::stack::program("schema");
    refuses_where_no_port_is_left();
    advises_ports_that_no_other_demo_has();
    // Somebody has the usual port of a Vault, if nobody else the test.
    let usual = TcpListener::bind(("127.0.0.1", 8200)).ok();
    let mut demo = Demo::start();
    demo.until_said("demo: the Vault is on 127.0.0.1:").await;
    drop(usual);
    let said = demo.said();
    let (_, port) = said.split_once("the Vault is on 127.0.0.1:").expect("said");
    // Elsewhere in the range of workers another demo would take it for one of its own.
    assert!(port.starts_with("72"), "{said}");
    demo.until_said("ready http=localhost:").await;
    demo.signs_in().expect("all of it is there");
    can_be_copied(&demo);
    let logs = demo.dir.join(LOGS);
    let somebodys = std::fs::read_to_string(logs.join(SOMEBODYS_LOG));
    assert_eq!(somebodys.expect("it is not ours to remove"), "as it was");
    assert!(!logs.join(LAST_LOG).exists(), "logs of another demo");
    another_with_its_directories_is_refused(&demo);
    watches_without_starting_processes(&demo).await;

    let servers = [
        ("PostgreSQL", "      (PostgreSQL;"),
        ("RabbitMQ", " is RabbitMQ"),
        ("the Vault", " the Vault;"),
    ];
    for (_, words) in servers {
        let process = demo.process_before(words);
        let killed = Command::new("kill").args(["-KILL", &process]).status();
        assert!(
            killed.is_ok_and(|status| status.success()),
            "{process}: {}",
            demo.said()
        );
    }
    for (name, _) in servers {
        demo.until_said(&format!("demo: {name} (process ")).await;
    }
    // The edge and the services stay up, and answer what they can.
    let (status, answer) = demo.ask("/ping", &["-d", "insecure_id=1"]);
    assert_eq!(status, "200", "{answer}\n{}", demo.said());
    for (name, _) in servers {
        demo.until_said(&format!("demo: {name} is back")).await;
    }
    eventually("all of it is there again", || async { demo.signs_in() }).await;
    assert!(!demo.said().contains("workers left"), "{}", demo.said());

    assert!(demo.processes().len() > 10, "{:#?}", demo.processes());
    let process = demo.child.id().to_string();
    let told = Command::new("kill").args(["-TERM", &process]).status();
    assert!(told.is_ok_and(|status| status.success()));
    demo.until_said("everything started here is stopped").await;
    let status = demo.child.wait().expect("our own child");
    assert!(status.success(), "{status}: {}", demo.said());
    eventually("no process is left over", || async {
        demo.processes().is_empty().then_some(())
    })
    .await;
}

/// A shell that starts a process for each look uses up the numbers of processes, and may wait for ever when one comes again.
async fn watches_without_starting_processes(demo: &Demo) {
    let process = format!("/proc/{}", demo.child.id());
    let read = |file: &str| std::fs::read_to_string(format!("{process}/{file}")).expect("it lives");
    let looks = || {
        let status = read("status");
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary_ctxt_switches:"));
        let number = line.and_then(|line| line.split_whitespace().last());
        let number = number.and_then(|number| number.parse::<u64>().ok());
        number.expect("a number")
    };
    // Page faults of children that it has waited for: no process is without.
    let children = || {
        let stat = read("stat");
        let (_, fields) = stat.rsplit_once(')').expect("its name is in brackets");
        fields.split_whitespace().nth(8).map(str::to_owned)
    };
    let (first, before) = (looks(), children());
    eventually("it looks again and again", || async {
        (looks() >= first + 10).then_some(())
    })
    .await;
    assert_eq!(children(), before);
}

/// It would remove the addresses of servers, and logs, that the one that runs needs.
fn another_with_its_directories_is_refused(demo: &Demo) {
    let nowhere = TempDir::new();
    let same = [("DATA", DATA), ("LOGS", LOGS)];
    for (name, folder) in same {
        let at = demo.dir.join(folder);
        let output = command(nowhere.path(), "none", free_range(1), REFUSED_SHIFTS)
            .env(name, &at)
            .output();
        let output = output.expect("scripts/demo.sh can be started");
        let said = text(&output.stderr);
        let told = format!("another demo uses {}: set ", at.display());
        assert!(
            !output.status.success() && said.contains(&told),
            "{told}: {said}"
        );
    }
    assert!(demo.dir.join(DATA).join("postgres/url").exists());
}

/// A line that it gives to try is one that the shell understands.
fn can_be_copied(demo: &Demo) {
    let said = demo.said();
    let line = said
        .lines()
        .find(|line| line.contains(" pocket "))
        .expect("a line to try");
    let (command, _) = line.split_once(" pocket ").expect("its arguments");
    let output = Command::new("bash")
        .args(["-c", &format!("{command} registration-key copied")])
        .current_dir(root())
        .output()
        .expect("bash is there");
    assert!(
        output.status.success(),
        "{command}: {}",
        text(&output.stderr)
    );
}

/// A list of reserved ports like the kernel's, with what is remembered of it.
struct Reserved {
    dir: TempDir,
}

impl Reserved {
    fn new(list: &str) -> Reserved {
        let dir = TempDir::new();
        std::fs::write(dir.path().join("list"), list).expect("our own directory");
        Reserved { dir }
    }

    /// What is reserved after this.
    fn after(&self, words: &[&str]) -> String {
        let output = Command::new(root().join("scripts/reserved-ports.sh"))
            .args(words)
            .env("RESERVED_PORTS", self.dir.path().join("list"))
            .env("RESERVED_PORTS_STATE", self.dir.path().join("state"))
            .output()
            .expect("scripts/reserved-ports.sh can be started");
        assert!(output.status.success(), "{}", text(&output.stderr));
        self.list()
    }

    fn list(&self) -> String {
        let list = std::fs::read_to_string(self.dir.path().join("list"));
        list.expect("it was written").trim().to_owned()
    }
}

/// A process that does nothing, and ends with this value.
struct Idle(Child);

impl Idle {
    fn start() -> Idle {
        let child = Command::new("sleep").arg("600").spawn();
        Idle(child.expect("sleep is there"))
    }

    fn id(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As the demo watches those that it started: whoever is taken for dead is waited for, and then nobody is watched.
#[test]
fn a_process_is_not_taken_for_dead_while_it_goes_to_sleep_and_wakes_up() {
    let demo = std::fs::read_to_string(root().join("scripts/demo.sh")).expect("it is there");
    let start = demo.find("\nlives() {").expect("the demo looks so");
    let end = start + demo[start..].find("\n}").expect("it ends") + 2;
    let looks = format!(
        "{}\n{}",
        &demo[start..end],
        r#"
        # It wakes up some thousand times in a second.
        python3 -c 'import select
while True: select.select([], [], [], 0.0001)' &
        restless=$!
        dead=0
        for ((i = 0; i < 5000; i++)); do
            lives "$restless" || dead=$((dead + 1))
        done
        kill "$restless"
        wait "$restless"
        echo "taken for dead: $dead"
        ! lives "$restless" && ! lives 1 && echo "who ended, and who is of others, is not"
        "#
    );
    let out = Command::new("bash").args(["-c", &looks]).output();
    let out = out.expect("bash can be started");
    assert_eq!(
        text(&out.stdout),
        "taken for dead: 0\nwho ended, and who is of others, is not\n",
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn ports_are_reserved_for_as_long_as_somebody_needs_them() {
    let reserved = Reserved::new("100-200\n");
    let (one, other) = (Idle::start(), Idle::start());
    let list = reserved.after(&["take", &one.id(), "8070-9101,50052"]);
    assert_eq!(list, "100-200,8070-9101,50052");
    let list = reserved.after(&["take", &other.id(), "9070-10101,51052"]);
    assert_eq!(list, "100-200,8070-10101,50052,51052");
    // The first one goes first; what the other has in common with it stays.
    let list = reserved.after(&["give", &one.id()]);
    assert_eq!(list, "100-200,9070-10101,51052");
    assert_eq!(reserved.after(&["give", &other.id()]), "100-200");

    // What somebody else reserves meanwhile is theirs, and who was killed is forgotten.
    reserved.after(&["take", &one.id(), "8070-9101"]);
    std::fs::write(reserved.dir.path().join("list"), "100-200,7000,8070-9101\n").expect("ours");
    drop(one);
    let list = reserved.after(&["take", &other.id(), "9070-9080"]);
    assert_eq!(list, "100-200,7000,9070-9080");
    // A list that replaces all of it is kept as it is, with what is needed.
    std::fs::write(reserved.dir.path().join("list"), "300,9070-9075\n").expect("ours");
    let last = Idle::start();
    let list = reserved.after(&["take", &last.id(), "400"]);
    assert_eq!(list, "300,400,9070-9080");
    reserved.after(&["give", &last.id()]);
    assert_eq!(reserved.after(&["give", &other.id()]), "300,9070-9075");
    // Whoever has nothing gives nothing back.
    assert_eq!(reserved.after(&["give", &other.id()]), "300,9070-9075");
}

/// Where every port that a database may have is taken, it says so and starts nothing.
fn refuses_where_no_port_is_left() {
    // Those that somebody has are taken as well.
    let _taken: Vec<_> = (5432..=5499)
        .map(|port| TcpListener::bind(("127.0.0.1", port)))
        .collect();
    let dir = TempDir::new();
    let output = command(dir.path(), "none", free_range(1), REFUSED_SHIFTS).output();
    let output = output.expect("scripts/demo.sh can be started");
    let said = text(&output.stderr);
    assert!(!output.status.success(), "{said}");
    let told = "every port from 5432 to 5499 is taken, and PostgreSQL needs one";
    assert!(said.contains(told), "{said}");
}

/// Where its ports are taken, those that it advises are none of a demo with the usual ones, and no two of them are the same.
fn advises_ports_that_no_other_demo_has() {
    let (shift, https) = (free_shift(REFUSED_SHIFTS), free_range(1));
    let _taken = [8070 + shift, https]
        .map(|port| TcpListener::bind(("127.0.0.1", port)).expect("it was free"));
    let dir = TempDir::new();
    let output = command(dir.path(), "none", https, REFUSED_SHIFTS)
        .env("SHIFT", shift.to_string())
        .output();
    let output = output.expect("scripts/demo.sh can be started");
    let said = text(&output.stderr);
    assert!(!output.status.success(), "{said}");
    let advised = |name: &str| -> u16 {
        let (_, after) = said.split_once(&format!(" {name}=")).expect(name);
        let value = after.split_whitespace().next().expect(name);
        value.parse().expect(name)
    };
    // Its servers take free ones among these, whatever it was asked for.
    let servers = (5432..=5499).chain(5672..=5699).chain(7200..=7299);
    let mut others: HashSet<u16> = servers.chain([80, 443, 6554, 8200]).collect();
    others.extend(ports_with(0));
    let public = ["HTTP_PORT", "HTTPS_PORT", "GRPC_PORT"].map(advised);
    for port in ports_with(advised("SHIFT")).chain(public) {
        assert!(others.insert(port), "{port} is taken: {said}");
    }
}

#[test]
fn what_the_demo_is_asked_for_wrongly_is_told() {
    for (name, value, told) in [
        (
            "SHIFT",
            "20000",
            "SHIFT=20000 is not a number from 0 to 15483",
        ),
        // Another number to a shell than to the edge.
        (
            "SHIFT",
            "0100",
            "SHIFT=0100 is not a number from 0 to 15483",
        ),
        (
            "RESTART",
            "soon",
            "RESTART=soon is neither a number of seconds nor off",
        ),
        (
            "READY_SECONDS",
            "0",
            "READY_SECONDS=0 is not a number of seconds",
        ),
        ("WORKERS", "none", "WORKERS=none is not a number"),
        ("HTTPS_PORT", "70000", "HTTPS_PORT=70000 is not a port"),
        ("CONFIG", "/nowhere/x", "there is no /nowhere/x"),
    ] {
        let dir = TempDir::new();
        let output = command(dir.path(), "none", free_range(1), REFUSED_SHIFTS)
            .env(name, value)
            .output();
        let output = output.expect("scripts/demo.sh can be started");
        let said = text(&output.stderr);
        assert!(
            !output.status.success() && said.contains(told),
            "{told}: {said}"
        );
    }
}

/// One of the scripts that run a server, which does not; what it says.
fn refuses(script: &str, directory: &Path) -> String {
    // Should it run the server all the same.
    let output = Command::new("timeout")
        .arg(patience().as_secs().to_string())
        .arg(root().join("scripts").join(script))
        .arg(directory)
        .arg(free_range(1).to_string())
        .stdin(Stdio::null())
        .output();
    let output = output.expect("timeout is there");
    text(&output.stderr)
}

/// Whoever names a wrong folder loses nothing: neither files, nor the right to go there.
#[test]
fn a_folder_of_somebody_else_is_left_as_it_is() {
    let seen = |path: &Path| {
        let it = path.metadata().expect("it is still there");
        (it.uid(), it.gid(), it.mode())
    };
    for script in ["postgres.sh", "rabbitmq.sh", "vault.sh"] {
        let dir = TempDir::new();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("our own directory");
        let letter = data.join("letter");
        std::fs::write(&letter, "as it was").expect("our own directory");
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), everybody).expect("our own directory");
        let before = [dir.path(), &data, &letter].map(seen);
        let said = refuses(script, dir.path());
        let told = format!("{} is not empty, and no ", dir.path().display());
        assert!(said.contains(&told), "{said}");
        assert_eq!([dir.path(), &data, &letter].map(seen), before, "{script}");
        let there = std::fs::read_dir(dir.path()).expect("it is still there");
        assert_eq!(there.count(), 1, "{script}");
    }

    // As a server of ours would have it, but for the data.
    let dir = TempDir::new();
    dir.write("password", &"0".repeat(36));
    std::fs::create_dir(dir.path().join("data")).expect("our own directory");
    let letter = dir.write("data/letter", "as it was");
    let said = refuses("postgres.sh", dir.path());
    assert!(said.contains("/data is no database: "), "{said}");
    assert!(letter.exists());
}

#[tokio::test]
async fn a_vault_whose_first_start_was_cut_off_is_completed_by_the_next() {
    let mut vault = Vault::start().await;
    vault.put("kept", "as it was").await;
    vault.kill();
    // It is the last that a first start writes.
    std::fs::remove_file(vault.directory().join("secret-id")).expect("it was made");
    vault.up().await;
    let secret = vault.secret("kept").await;
    assert_eq!(secret.as_deref(), Some("as it was"));
    let read = |name: &str| {
        let text = std::fs::read_to_string(vault.directory().join(name)).expect("it was made");
        text.trim().to_owned()
    };
    let login = json!({"role_id": read("role-id"), "secret_id": read("secret-id")});
    let (status, answer) = vault.ask("POST", "auth/approle/login", &login).await;
    assert_eq!(status, 200, "{answer}");

    // A key is told once, so nobody can open it without.
    vault.kill();
    std::fs::remove_file(vault.directory().join("unseal-key")).expect("it was made");
    let said = refuses("vault.sh", &vault.directory());
    let told = format!("remove {} to begin anew", vault.directory().display());
    assert!(said.contains(&told), "{said}");
}

#[test]
fn every_script_is_read_by_the_shell_without_a_complaint() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("scripts"))
        .expect("it is there")
        .flatten()
    {
        let path = entry.path();
        // Editors leave files there, too.
        if path.extension().is_none_or(|ending| ending != "sh") {
            continue;
        }
        let first = std::fs::read_to_string(&path).expect("a script is text");
        assert!(
            first.starts_with("#!/usr/bin/env bash\n"),
            "{}",
            path.display()
        );
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{} can be run", path.display());
        let output = Command::new("bash").arg("-n").arg(&path).output();
        let output = output.expect("bash is there");
        let quiet = output.status.success() && output.stderr.is_empty();
        assert!(quiet, "{}", text(&output.stderr));
        count += 1;
    }
    assert!(count > 9, "{count} scripts");
}

fn set_up(path: &Path) -> Output {
    let mut command = Command::new(root().join("scripts/setup.sh"));
    let output = command.current_dir(root()).env("PATH", path).output();
    output.expect("scripts/setup.sh can be started")
}

/// `make test` has installed all of it before.
#[test]
fn the_set_up_asks_for_what_is_missing_and_nothing_else() {
    let dir = TempDir::new();
    let path = std::env::var_os("PATH").expect("a PATH");
    for folder in std::env::split_paths(&path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            // The first of a name counts; the others are there already.
            let _ = symlink(entry.path(), dir.path().join(entry.file_name()));
        }
    }
    let asked = dir.path().join("asked");
    let apt = dir.path().join("apt-get");
    let _ = std::fs::remove_file(&apt);
    let script = format!("#!/bin/sh\necho \"$*\" >>{}\n", asked.display());
    std::fs::write(&apt, script).expect("a program that is asked in place of Debian's");
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&apt, all).expect("our own file");

    let output = set_up(dir.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "setup: all there\n");
    assert!(!asked.exists(), "nothing is missing");

    std::fs::remove_file(dir.path().join("cmake")).expect("it is installed");
    let output = set_up(dir.path());
    let id = Command::new("id").arg("-u").output().expect("id is there");
    if text(&id.stdout).trim() == "0" {
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(
            text(&output.stdout),
            "setup: installing cmake\nsetup: all there\n"
        );
        let asked = std::fs::read_to_string(&asked).expect("it was asked");
        assert_eq!(asked, "install -y --no-install-recommends cmake\n");
    } else {
        let said = text(&output.stderr);
        assert!(
            said.contains("missing: as root run  apt-get install cmake"),
            "{said}"
        );
        assert!(!output.status.success() && !asked.exists());
    }
}

/// A package by itself has other features than within the workspace, so that most of what is below is built again.
#[test]
fn what_make_builds_has_the_features_of_the_whole_workspace() {
    let mut make = Command::new("make");
    make.args(["--dry-run", "--no-print-directory", "demo", "bench", "test"]);
    let output = make.current_dir(root()).output().expect("make is there");
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let builds: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("cargo build"))
        .collect();
    assert_eq!(builds.len(), 3, "{said}");
    for line in builds {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words.contains(&"--workspace"), "{line}");
        assert!(
            !words.contains(&"-p") && !words.contains(&"--package"),
            "{line}"
        );
    }
}
