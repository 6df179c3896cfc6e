//! Is what was acknowledged stored exactly once, and does everybody find back, when each worker, the database, the
//! broker and the Vault are killed under a fleet of 500 computers and a hundred hosts? By the fleet of `loadtest`, with the
//! real edge in front; beside it somebody orders by the pages, and somebody uploads packages.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::bpickle::{d, l};
use e2e::gateway::binary;
use e2e::package::{Deb, changes, schema};
use e2e::person::EMAIL;
use e2e::{
    AccessKey, Agent, Database, Gateway, Node, Postgres, Raw, Service, SignedIn, TempDir, Vault,
    Way, eventually, for_a_while, free_range, patience,
};
use serde_json::Value;

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  http:  { bind: "127.0.0.1:0" }
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
  grpc:  { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] }, protocol: grpc }
pools:
  appserver:           { ports: <appserver> }
  pingserver:          { ports: <pingserver> }
  message-system:      { ports: <message-server> }
  api:                 { ports: <api> }
  package-upload:      { ports: <package-upload> }
  hostagent-messenger: { ports: <hostagent-messenger>, protocol: h2c }
routes:
  - { path: /ping,           to: pingserver, on: [http, https] }
  - { path: /repository,     to: appserver,  on: [http, https] }
  - { path: /message-system, to: message-system }
  - { path: /api,            to: api }
  - { path: /upload,         to: package-upload }
  - { path: /,               to: appserver }
  - { path: /,               to: hostagent-messenger, on: [grpc] }
"#;

const CLIENTS: usize = 500;
const HOSTS: usize = 100;
const POCKET: &str = "standalone/ubuntu/noble/staging";
const SUITE: &str = "noble-staging";
/// Who is dead stays so for a while.
const DEAD: Duration = Duration::from_secs(2);

/// The kinds of workers, and how many there are of each.
const KINDS: [(&str, u16); 8] = [
    ("appserver", 1),
    ("pingserver", 2),
    ("message-server", 2),
    ("api", 1),
    ("package-search", 1),
    ("package-upload", 1),
    ("hostagent-messenger", 2),
    ("outbox-relay", 2),
];

/// Every worker, by kind.
struct Workers {
    database: Database,
    settings: Vec<(String, String)>,
    running: Vec<(&'static str, Service)>,
}

impl Workers {
    fn start(database: Database, settings: Vec<(String, String)>, search: u16) -> Workers {
        let mut workers = Workers {
            database,
            settings,
            running: Vec::new(),
        };
        for (kind, count) in KINDS {
            let first = if kind == "package-search" {
                search
            } else {
                free_range(count)
            };
            for port in first..first + count {
                workers.running.push((kind, workers.one(kind, port)));
            }
        }
        workers
    }

    fn one(&self, kind: &str, port: u16) -> Service {
        let settings: Vec<(&str, &str)> = self
            .settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        Service::at(kind, &self.database, port, &settings)
    }

    fn ports(&self, kind: &str) -> Vec<u16> {
        let of_kind = self.running.iter().filter(|(name, _)| *name == kind);
        of_kind.map(|(_, service)| service.port()).collect()
    }

    /// Kills every worker of these kinds, or one of each, and starts them again where they were after a while.
    async fn kill(&mut self, kinds: &[&str], all: bool) {
        let mut dead: Vec<usize> = Vec::new();
        for kind in kinds {
            let places = self.running.iter().enumerate();
            let places = places.filter(|(_, (name, _))| name == kind);
            let places: Vec<usize> = places.map(|(place, _)| place).collect();
            assert!(!places.is_empty(), "there is no {kind}");
            dead.extend(&places[..if all { places.len() } else { 1 }]);
        }
        for place in &dead {
            self.running[*place].1.kill();
        }
        for_a_while(DEAD).await;
        for place in dead {
            let (kind, port) = (self.running[place].0, self.running[place].1.port());
            self.running[place].1 = self.one(kind, port);
        }
    }

    /// Registers a computer with the key. Whoever is told to come later, by a worker that is busy, does.
    async fn register(&self, title: &str, way: &Way<'_>) {
        let register = Agent::new(title).register(Some("right"));
        let body = d([("messages", l([register]))]).write();
        let fields = ["X-Message-API: 3.3"];
        let mut status = 503;
        for _ in 0..20 {
            (status, _) = way.post("/message-system", &fields, &body).await;
            if status != 503 {
                break;
            }
            for_a_while(Duration::from_millis(500)).await;
        }
        let logs = || {
            let workers = self.running.iter();
            let workers = workers.filter(|(kind, _)| *kind == "message-server");
            let logs = workers.map(|(_, service)| service.log());
            let logs: Vec<String> = logs.collect();
            let lines = logs.iter().flat_map(|log| log.lines());
            let lines = lines.filter(|line| !line.contains("\"level\":\"INFO\""));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(status, 200, "{title}: {}", logs());
        let accepted = format!("select accepted from computer where title = '{title}'");
        assert_eq!(self.database.sql(&accepted), "t", "{title}");
    }

    fn number(&self, sql: &str) -> usize {
        self.database.sql(sql).parse().expect("a number")
    }

    /// Waits until the fleet got on: computers reported, and orders ended.
    async fn get_on(&self) {
        let look = || -> Vec<usize> {
            let sums = self.database.sql(
                "select (select coalesce(sum(expected), 0) from exchange), \
                        (select count(*) from activity where status = 'succeeded'), \
                        (select count(*) from wsl_command where state = 'succeeded')",
            );
            let sums = sums.split('|').map(|sum| sum.parse().expect("a number"));
            sums.collect()
        };
        let before = look();
        eventually("the fleet gets on", || async {
            // A look is a process.
            for_a_while(Duration::from_millis(250)).await;
            let now = look();
            let more = |at: usize, count| now[at] >= before[at] + count;
            (more(0, 50) && more(1, 3) && more(2, 3)).then_some(())
        })
        .await;
    }
}

/// What somebody did who goes on until told to stop: what was acknowledged, and what may have been done.
#[derive(Debug, Default)]
struct Done {
    acknowledged: Vec<String>,
    unsure: Vec<String>,
}

/// Orders by the pages, each time of another instance.
async fn order_by_pages(
    gateway: Arc<Gateway>,
    somebody: SignedIn,
    hosts: Vec<String>,
    stop: Arc<AtomicBool>,
) -> Done {
    let mut done = Done::default();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let instance = format!("page{number}");
        let form = format!(
            "what=install&instance={instance}&form_token={}",
            somebody.form_token
        );
        let path = format!("/hosts/{}/order", hosts[number % hosts.len()]);
        let fields = [
            somebody.cookie.as_str(),
            "Content-Type: application/x-www-form-urlencoded",
        ];
        let (status, _) = Way::Edge(&gateway)
            .post(&path, &fields, form.as_bytes())
            .await;
        match status {
            303 => done.acknowledged.push(instance),
            0 | 500.. => done.unsure.push(instance),
            other => panic!("{path}: {other}"),
        }
        for_a_while(Duration::from_millis(400)).await;
    }
    done
}

/// Uploads one package after the other; each until it is taken.
async fn upload(gateway: Arc<Gateway>, stop: Arc<AtomicBool>) -> Done {
    let desk = TempDir::new();
    let mut done = Done::default();
    for number in 0.. {
        let package = format!("up{number}");
        let deb = Deb {
            name: &package,
            compression: "none",
            ..Deb::default()
        };
        let file = deb.build(desk.path());
        let bytes = std::fs::read(desk.path().join(&file)).expect("it was built");
        let told = changes(desk.path(), SUITE, &[&file]);
        let name = format!("{package}.changes");
        loop {
            if stop.load(Ordering::Relaxed) {
                done.unsure.push(package);
                return done;
            }
            // The file anew each time: what became of it is not known.
            if put(&gateway, &file, &bytes).await == 201
                && put(&gateway, &name, told.as_bytes()).await == 201
            {
                break;
            }
            for_a_while(Duration::from_millis(300)).await;
        }
        done.acknowledged.push(package);
        for_a_while(Duration::from_millis(700)).await;
    }
    done
}

/// The status of a PUT as `dput` sends it; 0 without an answer.
async fn put(gateway: &Gateway, name: &str, body: &[u8]) -> u16 {
    let mut raw = gateway.https().await;
    let head = format!(
        "PUT /upload/{POCKET}/{name} HTTP/1.1\r\nHost: edge.test\r\nUser-Agent: dput\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    raw.try_send([head.as_bytes(), body].concat()).await;
    raw.reply_or_end().await.map_or(0, |reply| reply.status())
}

/// A page without trying again.
async fn get(gateway: &Gateway, path: &str, cookie: &str) -> (u16, String) {
    let mut raw: Raw = gateway.https().await;
    let head = format!("GET {path} HTTP/1.1\r\nHost: edge.test\r\n{cookie}\r\n\r\n");
    raw.try_send(head).await;
    let reply = raw.reply_or_end().await;
    reply.map_or((0, String::new()), |reply| (reply.status(), reply.text()))
}

/// Each of `done` is there as often as it was done: once where it was acknowledged, else at most once.
fn once(done: &Done, count: impl Fn(&str) -> usize) {
    for name in &done.acknowledged {
        assert_eq!(count(name), 1, "{name} was acknowledged");
    }
    for name in &done.unsure {
        assert!(count(name) <= 1, "{name} was done twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_computers_lose_and_double_nothing_whoever_is_killed() {
    // The real servers, and where things lie.
    let (mut postgres, mut node) = (Postgres::start(), Node::start());
    let mut vault = Vault::start().await;
    let (folder, desk) = (TempDir::new(), TempDir::new());
    let (database, broker) = (postgres.database(), node.broker());
    let search = free_range(1);
    let search_url = format!("http://127.0.0.1:{search}/v1/search");
    let directory = folder.path().display().to_string();
    let kept = vault.settings();
    let mut settings = broker.with(&[
        ("PINGSERVER__WRITE", "500ms"),
        ("STORE__CONNECT_TIMEOUT", "2s"),
        // What the Vault told is asked for anew all the time, so that its absence is felt.
        ("SECRET__CACHE", "300ms"),
        ("PACKAGE_SEARCH__URL", &search_url),
        ("REPOSITORY__DIRECTORY", &directory),
        ("REPOSITORY__LOOK", "500ms"),
    ]);
    settings.extend(kept.iter().map(|(key, value)| (*key, value.as_str())));
    let somebody = database.signed_in();
    let key = AccessKey::of(&database, &settings, EMAIL);
    database.schema(&settings, &["registration-key", "right"], "");
    schema(&database, &["pocket", POCKET, "--allow-unsigned"]);
    let lines = format!(
        "LANDSCAPE_API_KEY={}\nLANDSCAPE_API_SECRET={}\n",
        key.access, key.secret
    );
    let key_file = desk.write("api-key", &lines);
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let settings = settings.iter().map(owned).collect();

    // Every kind of worker, and the edge.
    let mut workers = Workers::start(database, settings, search);
    let mut plan = Gateway::with(YAML);
    for (kind, _) in KINDS {
        plan = plan.ports(kind, workers.ports(kind));
    }
    let gateway = Arc::new(plan.start().await);
    let mut fleet = tokio::process::Command::new(binary("loadtest"));
    let at = |listener: &str| format!("127.0.0.1:{}", gateway.port(listener));
    fleet
        .args(["fleet", "--json", "--clients", &CLIENTS.to_string()])
        .args(["--hosts", &HOSTS.to_string(), "--key", "right"])
        // It is told when its time is over.
        .args(["--seconds", "3600", "--settle", "120"])
        .args([
            "--ping-ms",
            "8000",
            "--exchange-ms",
            "8000",
            "--change",
            "0.4",
        ])
        .args(["--orders", "8", "--calls", "4", "--host-orders", "6"])
        .args(["--host-change-ms", "10000", "--host-wait-ms", "4000"])
        .args([
            "--target",
            &at("https"),
            "--http",
            &at("http"),
            "--grpc",
            &at("grpc"),
        ])
        .args(["--database", workers.database.url()])
        .arg("--api-key")
        .arg(&key_file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let fleet = fleet.spawn().expect("loadtest can be started");

    let all = format!("{CLIENTS}|{HOSTS}");
    let mut turns = 0;
    while workers.database.sql(
        "select (select count(*) from computer join exchange on id = computer_id where accepted), \
                (select count(*) from wsl_host where stream is not null)",
    ) != all
    {
        turns += 1;
        assert!(turns < 600, "not all of the fleet comes");
        for_a_while(Duration::from_millis(250)).await;
    }
    let hosts = workers.database.sql("select uid from wsl_host limit 20");
    let hosts: Vec<String> = hosts.lines().map(str::to_owned).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let cookie = somebody.cookie.clone();
    let ordering = order_by_pages(Arc::clone(&gateway), somebody, hosts, Arc::clone(&stop));
    let ordering = tokio::spawn(ordering);
    let uploading = tokio::spawn(upload(Arc::clone(&gateway), Arc::clone(&stop)));
    workers.get_on().await;

    // Some of a kind go while others serve, the only ones while the edge holds what comes.
    workers
        .kill(
            &["message-server", "pingserver", "hostagent-messenger"],
            false,
        )
        .await;
    workers.get_on().await;
    workers
        .kill(
            &["api", "appserver", "package-search", "package-upload"],
            true,
        )
        .await;
    workers
        .kill(
            &[
                "message-server",
                "pingserver",
                "hostagent-messenger",
                "outbox-relay",
            ],
            true,
        )
        .await;
    workers.get_on().await;

    // Signed calls and registration keys live on by what the Vault told before; workers that are new have to be told.
    for port in workers.ports("message-server") {
        workers
            .register(&format!("early-{port}"), &Way::Port(port))
            .await;
    }
    vault.kill();
    for_a_while(DEAD).await;
    let ordered = "select count(*) from activity";
    let before = workers.number(ordered);
    let (status, answer) = key.call(&gateway, "GetComputers", &[]).await;
    assert_eq!(status, 200, "{answer}");
    workers.register("newcomer", &Way::Edge(&gateway)).await;
    workers.get_on().await;
    assert!(workers.number(ordered) > before, "calls order on");
    vault.up().await;

    node.kill();
    for_a_while(DEAD).await;
    workers.get_on().await;
    node.restart();
    postgres.kill();
    for_a_while(DEAD).await;
    postgres.restart();
    workers.get_on().await;
    // All at once, and back in the order of a machine that starts.
    vault.kill();
    node.kill();
    postgres.kill();
    for (_, service) in &mut workers.running {
        service.kill();
    }
    for_a_while(DEAD).await;
    postgres.restart();
    let kinds = KINDS.map(|(kind, _)| kind);
    workers.kill(&kinds, true).await;
    vault.up().await;
    node.restart();
    workers.get_on().await;

    stop.store(true, Ordering::Relaxed);
    let (ordered, uploaded) = (ordering.await, uploading.await);
    let pid = fleet.id().expect("it lives").to_string();
    let told = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(told.is_ok_and(|status| status.success()));
    let ended = tokio::time::timeout(patience() * 12, fleet.wait_with_output()).await;
    let output = ended.expect("the fleet ends").expect("its output");
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    let outcome: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{error}"));
    println!("{outcome:#}");

    // Every computer and every host: all that was acknowledged, once and in order, and nothing else.
    assert!(output.status.success(), "{outcome:#}\n{error}");
    for (place, count) in [("/converged", CLIENTS), ("/compared", CLIENTS)]
        .into_iter()
        .chain([("/hosts/converged", HOSTS), ("/hosts/compared", HOSTS)])
        .chain([("/hosts/streams_open", HOSTS), ("/problems_total", 0)])
    {
        assert_eq!(
            outcome.pointer(place),
            Some(&count.into()),
            "{place}: {outcome:#}"
        );
    }
    for (place, least) in [
        ("/messages_acknowledged", 1000),
        ("/orders_given", 50),
        ("/orders_done", 50),
        ("/hosts/orders_given", 50),
        ("/hosts/orders_taken", 50),
        ("/hosts/statuses_answered", 150),
        ("/hosts/reconnects", HOSTS as u64),
        ("/requests/call/answered", 50),
    ] {
        let count = outcome.pointer(place).and_then(Value::as_u64);
        assert!(count >= Some(least), "{place}: {outcome:#}");
    }
    // Nobody was told a lie while somebody was away: neither that a key is wrong, nor that nobody is known.
    for (kind, told) in outcome["requests"].as_object().expect("by kind") {
        for cause in told["errors"].as_object().expect("by cause").keys() {
            let passes = ["cut", "timeout", "connect", "tls", "status 14", "status 10"];
            let passes = passes.contains(&cause.as_str()) || cause.starts_with("status 50");
            assert!(passes, "{kind}: {cause}: {outcome:#}");
        }
    }

    // What was ordered by the pages, and what was uploaded.
    let (ordered, uploaded) = (ordered.expect("it lived"), uploaded.expect("it lived"));
    assert!(ordered.acknowledged.len() > 10, "{ordered:?}");
    assert!(uploaded.acknowledged.len() > 3, "{uploaded:?}");
    once(&ordered, |instance| {
        workers.number(&format!(
            "select count(*) from wsl_command \
             where kind = 'install' and instance_id = '{instance}'"
        ))
    });
    let index = format!("/repository/standalone/ubuntu/dists/{SUITE}/main/binary-amd64/Packages");
    let (status, packages) = get(&gateway, &index, &cookie).await;
    assert_eq!(status, 200);
    once(&uploaded, |package| {
        let line = format!("Package: {package}");
        packages.lines().filter(|one| *one == line).count()
    });
    for page in ["/computers", "/hosts", "/activities", "/packages"] {
        assert_eq!(get(&gateway, page, &cookie).await.0, 200, "{page}");
    }
    // Nothing waits to be told, and nothing was told twice that counts.
    eventually("the outbox is empty", || async {
        (workers.number("select count(*) from outbox") == 0).then_some(())
    })
    .await;
}
