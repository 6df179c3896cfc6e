//! Do host agents behind the edge get an identity, their orders, and are they heard?

use e2e::hostagent::{Cmd, Command, Info, Instance};
use e2e::{
    Broker, Database, Gateway, H2, HostAgent, Message, Raw, Relay, Service, SignedIn, eventually,
};

mod children;
mod orders;
mod streams;

const YAML: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  grpc: { bind: "127.0.0.1:0", protocol: grpc, tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  hostagent-messenger: { ports: <messengers>, protocol: h2c }
routes:
  - { path: /, to: hostagent-messenger, on: [grpc] }
"#;

/// Nothing is found by looking: whatever arrives was told.
const BY_NOTES_ALONE: (&str, &str) = ("HOSTAGENT_MESSENGER__POLL", "1h");

struct House {
    gateway: Gateway,
    pages: Service,
    messengers: Vec<Service>,
    first: u16,
    _relay: Service,
    broker: Broker,
    somebody: SignedIn,
    database: Database,
}

impl House {
    async fn with(count: u16) -> House {
        let (database, broker) = (Database::fresh(), Broker::fresh());
        database.sql("update account set registration_key = 'right'");
        let first = e2e::free_range(count);
        let settings = broker.with(&[BY_NOTES_ALONE]);
        let at = |port| Service::patient("hostagent-messenger", &database, port, &settings);
        let messengers: Vec<_> = (first..first + count).map(at).collect();
        let more = broker.with(&[]);
        let pages = Service::at("appserver", &database, e2e::free_range(1), &more);
        let relay = Service::at(
            "outbox-relay",
            &database,
            e2e::free_range(1),
            &broker.with(&[]),
        );
        let gateway = Gateway::with(YAML)
            .ports("messengers", first..first + count)
            .start()
            .await;
        let house = House {
            gateway,
            pages,
            messengers,
            first,
            _relay: relay,
            broker,
            somebody: database.signed_in(),
            database,
        };
        house.until_told().await;
        house
    }

    /// A relay works, every messenger listens.
    async fn until_told(&self) {
        for messenger in &self.messengers {
            eventually("all are connected to the broker", || async {
                let health = Raw::tcp(messenger.port()).await.get("/health").await.text();
                let relay = "select seen_at > now() - interval '1 minute' from outbox_relay";
                let told = health.contains("broker-hostagent: connected");
                (told && self.database.sql(relay) == "t").then_some(())
            })
            .await;
        }
    }

    async fn h2(&self) -> H2 {
        self.gateway.h2("grpc").await
    }

    async fn page(&self, path: &str) -> String {
        let mut raw = Raw::tcp(self.pages.port()).await;
        let reply = raw.ask("GET", path, &[&self.somebody.cookie], b"").await;
        assert_eq!(reply.status(), 200, "{path}");
        reply.text()
    }

    async fn order(&self, uid: &str, form: &str) -> u16 {
        let form = format!("{form}&form_token={}", self.somebody.form_token);
        let path = format!("/hosts/{uid}/order");
        self.send(&self.somebody.cookie, &path, &form, &[])
            .await
            .status()
    }

    /// Sends a form, as it is.
    async fn send(&self, cookie: &str, path: &str, form: &str, more: &[&str]) -> Message {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let fields = [&[cookie, kind][..], more].concat();
        let mut raw = Raw::tcp(self.pages.port()).await;
        raw.ask("POST", path, &fields, form.as_bytes()).await
    }

    fn rows(&self, sql: &str) -> String {
        self.database.sql(sql)
    }

    async fn until(&self, sql: &str, rows: &str) {
        eventually(&format!("{sql} gives {rows}"), || async {
            (self.rows(sql) == rows).then_some(())
        })
        .await;
    }

    /// The worker that holds the one stream that there is.
    fn holder(&self) -> usize {
        let worker = self.rows("select worker from wsl_host where stream is not null");
        let place = worker.split_once('@').map(|(label, _machine)| label);
        let port = place.and_then(|label| label.rsplit(':').next()?.parse().ok());
        let port: u16 = port.expect(&worker);
        usize::from(port - self.first)
    }
}

fn started(command: &Command) -> &str {
    match &command.cmd {
        Some(Cmd::Start(named)) => &named.id,
        other => panic!("not a start: {other:?}"),
    }
}

const HOSTS: &str = "select hostname, accepted, stream is not null from wsl_host order by 1";
const STATES: &str = "select state, error from wsl_command order by number";

#[tokio::test]
async fn a_host_gets_its_identity_an_order_and_is_heard_of_its_progress() {
    let house = House::with(2).await;
    let mut host = HostAgent::new(house.h2().await, "win<b>1", Some("right")).await;
    house.until(HOSTS, "win<b>1|t|t").await;
    let instances = "select id, version_id, running, managed from wsl_instance order by id";
    house.until(instances, "Ubuntu|24.04|f|t").await;

    assert_eq!(
        house
            .order(&host.info.uid, "what=start&instance=Ubuntu")
            .await,
        303
    );
    let command = host.command().await.expect("an order");
    assert_eq!(started(&command), "Ubuntu");
    house.until(STATES, "sent|").await;
    for (state, stored) in [
        (0, "queued|"),
        (1, "in_progress|"),
        (2, "succeeded|"),
        (1, "succeeded|"),
    ] {
        assert_eq!(host.status(&command.request_id, state, "").await, "0");
        assert_eq!(house.rows(STATES), stored, "stored before it was answered");
    }
    host.info.instances[0].state = 1;
    host.info.unmanaged_instances.push(Instance {
        id: "Debian".to_owned(),
        ..Instance::default()
    });
    host.tell().await;
    house
        .until(instances, "Debian||f|f\nUbuntu|24.04|t|t")
        .await;
    let page = house.page("/hosts").await;
    assert!(
        page.contains("win&lt;b&gt;1") && page.contains("2, 1 running"),
        "{page}"
    );
    let page = house.page(&format!("/hosts/{}", host.info.uid)).await;
    for part in [
        "runs, default",
        "not managed",
        ">succeeded</span></td>",
        "connected",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }

    // All that can be ordered, in the order in which it was given.
    for form in [
        "what=install&instance=Noble",
        "what=set_default&instance=Noble",
        "what=stop&instance=Noble",
        "what=uninstall&instance=Noble&sure=yes",
        "what=shutdown_host&sure=yes",
    ] {
        assert_eq!(house.order(&host.info.uid, form).await, 303);
    }
    let mut came = Vec::new();
    for _ in 0..5 {
        came.push(host.command().await.expect("an order").cmd.expect("one"));
    }
    assert!(
        matches!(
            came[..],
            [
                Cmd::Install(_),
                Cmd::SetDefault(_),
                Cmd::Stop(_),
                Cmd::Uninstall(_),
                Cmd::ShutdownHost(_)
            ]
        ),
        "{came:?}"
    );
    assert_eq!(
        house
            .order(&host.info.uid, "what=format_disk&instance=C")
            .await,
        400
    );
    assert_eq!(house.order(&host.info.uid, "what=start").await, 400);
}

#[tokio::test]
async fn only_a_wrong_key_or_account_puts_an_agent_out_of_work() {
    let house = House::with(1).await;
    const PERMISSION_DENIED: &str = "7";
    let refused = |info: Info| async {
        let mut host = HostAgent::connect(house.h2().await, info).await;
        host.command().await.expect_err("no identity")
    };
    let wrong_key = HostAgent::info("a", Some("wrong"));
    assert_eq!(refused(wrong_key).await, PERMISSION_DENIED);
    let nobody = Info {
        account_name: "nobody".to_owned(),
        ..HostAgent::info("a", Some("right"))
    };
    assert_eq!(refused(nobody).await, PERMISSION_DENIED);
    assert_eq!(house.rows(HOSTS), "");
    // What is too long to be read is no reason to rest.
    const OUT_OF_RANGE: &str = "11";
    let long = Info {
        token: "x".repeat(2 << 20),
        ..HostAgent::info("a", Some("right"))
    };
    assert_eq!(refused(long).await, OUT_OF_RANGE);

    // An identity that nobody has, or that is none, is replaced by a new one.
    for uid in ["8e9c2f4e-6f3a-4a51-9a40-2f5f5f2c9f11", "nonsense"] {
        let mut info = HostAgent::info("lost", Some("right"));
        info.uid = uid.to_owned();
        let mut host = HostAgent::connect(house.h2().await, info).await;
        host.take_identity().await;
        assert_ne!(host.info.uid, uid);
        house
            .until(
                "select count(*) from wsl_host where stream is not null",
                "1",
            )
            .await;
        house.rows("delete from wsl_host");
    }
    // Without a key it waits: it has its identity, and gets no orders before somebody accepts it.
    let mut host = HostAgent::new(house.h2().await, "waits", None).await;
    house.until(HOSTS, "waits|f|t").await;
    assert_eq!(
        house
            .order(&host.info.uid, "what=start&instance=Ubuntu")
            .await,
        404
    );
    assert_eq!(house.order(&host.info.uid, "what=accept").await, 303);
    assert_eq!(
        house
            .order(&host.info.uid, "what=start&instance=Ubuntu")
            .await,
        303
    );
    host.command().await.expect("an order");
    // A status of nobody's order is no reason to refuse, which would stop it.
    for request in ["", "nonsense", "8e9c2f4e-6f3a-4a51-9a40-2f5f5f2c9f11"] {
        assert_eq!(host.status(request, 2, "").await, "0");
    }
    // The registration was answered and the answer lost: it is the same host.
    let info = HostAgent::info("twice", Some("right"));
    let mut lost = HostAgent::connect(house.h2().await, info).await;
    lost.command().await.expect("an identity");
    drop(lost);
    let _twice = HostAgent::new(house.h2().await, "twice", Some("right")).await;
    house.until(HOSTS, "twice|t|t\nwaits|t|t").await;
}

#[tokio::test]
async fn a_name_brings_nobody_the_identity_of_another() {
    let house = House::with(1).await;
    let come = async |key: Option<&str>| {
        let info = HostAgent::info("WIN-7", key);
        HostAgent::connect(house.h2().await, info).await
    };
    let rows = "select accepted, last_info_at is not null from wsl_host order by 1, 2";
    // Somebody without a key takes a name and goes; then comes the one whose name it is.
    let mut early = come(None).await;
    let taken = early.identity().await;
    drop(early);
    let mut host = come(Some("right")).await;
    host.take_identity().await;
    assert_ne!(host.info.uid, taken);
    house.until(rows, "t|t").await;
    // What the one was told is worth nothing any more, and the name neither.
    let mut again = HostAgent::info("WIN-7", None);
    again.uid = taken.clone();
    let mut again = HostAgent::connect(house.h2().await, again).await;
    again.take_identity().await;
    assert!(again.info.uid != taken && again.info.uid != host.info.uid);
    house.until(rows, "f|t\nt|t").await;

    // One that has the key and has not said yet that it has its identity does not lose it to somebody without.
    house.rows("delete from wsl_host");
    let mut slow = come(Some("right")).await;
    let own = slow.identity().await;
    let mut late = come(None).await;
    late.take_identity().await;
    assert_ne!(late.info.uid, own);
    house.until(rows, "f|t\nt|f").await;
    slow.info.uid = own;
    slow.tell().await;
    house.until(rows, "f|t\nt|t").await;
}

#[tokio::test]
async fn two_machines_of_one_name_that_come_at_once_are_two() {
    let house = House::with(1).await;
    let come = async || {
        let info = HostAgent::info("cloned", Some("right"));
        HostAgent::connect(house.h2().await, info).await
    };
    let mut one = come().await;
    one.info.uid = one.identity().await;
    let mut other = come().await;
    other.info.uid = other.identity().await;
    assert_ne!(one.info.uid, other.info.uid);
    // The last one was taken for the one before, which is given another identity when it tells, on the same stream.
    other.tell().await;
    house.until(HOSTS, "cloned|t|t").await;
    one.tell().await;
    one.take_identity().await;
    house.until(HOSTS, "cloned|t|t\ncloned|t|t").await;
    assert_ne!(one.info.uid, other.info.uid);
}

#[tokio::test]
async fn a_host_too_many_comes_again_and_is_not_put_out_of_work() {
    let house = House::with(1).await;
    house.rows("update account set pending_max = 1");
    let first = HostAgent::new(house.h2().await, "first", None).await;
    house.until(HOSTS, "first|f|t").await;
    let info = HostAgent::info("second", None);
    let mut second = HostAgent::connect(house.h2().await, info.clone()).await;
    const RESOURCE_EXHAUSTED: &str = "8";
    assert_eq!(
        second.command().await.expect_err("there is no room"),
        RESOURCE_EXHAUSTED
    );
    assert_eq!(house.rows(HOSTS), "first|f|t");
    // With the key there is always room, and for those who wait already, too.
    let _keyed = HostAgent::new(house.h2().await, "keyed", Some("right")).await;
    house.until(HOSTS, "first|f|t\nkeyed|t|t").await;
    // As soon as somebody decides, the next one may wait.
    assert_eq!(house.order(&first.info.uid, "what=accept").await, 303);
    let mut second = HostAgent::connect(house.h2().await, info).await;
    second.take_identity().await;
    house.until(HOSTS, "first|t|t\nkeyed|t|t\nsecond|f|t").await;
}

#[tokio::test]
async fn a_newer_stream_takes_the_place_of_the_older_wherever_that_is() {
    let house = House::with(2).await;
    let h2 = |port: u16| H2::tcp(port);
    let (a, b) = (house.first, house.first + 1);
    let mut old = HostAgent::new(h2(a).await, "moves", Some("right")).await;
    house.until(HOSTS, "moves|t|t").await;
    const ABORTED: &str = "10";
    for port in [b, b, a] {
        let mut new = HostAgent::connect(h2(port).await, old.info.clone()).await;
        assert_eq!(old.command().await.expect_err("it is closed"), ABORTED);
        assert_eq!(
            house
                .order(&new.info.uid, "what=start&instance=Ubuntu")
                .await,
            303
        );
        let command = new.command().await.expect("orders go to the new one");
        assert_eq!(
            new.status(&command.request_id, 2, "no such instance").await,
            "0"
        );
        old = new;
    }
    assert_eq!(
        house.rows(STATES),
        ["failed|no such instance"; 3].join("\n")
    );
    assert_eq!(house.rows(HOSTS), "moves|t|t");
    // Forgotten, it is told to go, and gets a new identity when it comes again.
    assert_eq!(
        house.order(&old.info.uid, "what=forget&sure=yes").await,
        303
    );
    assert_eq!(old.command().await.expect_err("it is closed"), ABORTED);
    let mut again = HostAgent::connect(h2(a).await, old.info.clone()).await;
    again.take_identity().await;
    assert_ne!(again.info.uid, old.info.uid);
}

#[tokio::test]
async fn a_worker_that_is_killed_loses_no_order() {
    let mut house = House::with(2).await;
    let mut host = HostAgent::new(house.h2().await, "win", Some("right")).await;
    house.until(HOSTS, "win|t|t").await;
    // One that the agent has said it has, one that it has not, and one that comes while nobody holds it.
    assert_eq!(
        house.order(&host.info.uid, "what=start&instance=One").await,
        303
    );
    let one = host.command().await.expect("an order");
    assert_eq!(host.status(&one.request_id, 0, "").await, "0");
    assert_eq!(
        house.order(&host.info.uid, "what=start&instance=Two").await,
        303
    );
    house.until(STATES, "queued|\nsent|").await;
    let holder = house.holder();
    house.messengers[holder].kill();
    assert_eq!(
        house
            .order(&host.info.uid, "what=start&instance=Three")
            .await,
        303
    );
    host.until_over().await;

    let mut host = HostAgent::connect(house.h2().await, host.info.clone()).await;
    assert_eq!(
        started(&host.command().await.expect("not confirmed")),
        "Two"
    );
    assert_eq!(started(&host.command().await.expect("new")), "Three");
    // The agent tells the rest of the first over its new connection.
    assert_eq!(host.status(&one.request_id, 2, "").await, "0");
    assert_eq!(house.rows(STATES), "succeeded|\nsent|\nsent|");
    // Back in its place, the worker knows that it holds nobody.
    let port = house.messengers[holder].port();
    let settings = house.broker.with(&[BY_NOTES_ALONE]);
    house.messengers[holder] = Service::at("hostagent-messenger", &house.database, port, &settings);
    assert_eq!(house.rows(HOSTS), "win|t|t");
}

#[tokio::test]
async fn without_notes_orders_are_found_by_looking() {
    let database = Database::fresh();
    database.sql("update account set registration_key = 'right'");
    let settings = [("HOSTAGENT_MESSENGER__POLL", "50ms")];
    let port = e2e::free_range(1);
    let _messenger = Service::at("hostagent-messenger", &database, port, &settings);
    let mut host = HostAgent::new(H2::tcp(port).await, "win", Some("right")).await;
    database.sql(
        "insert into wsl_command (host_uid, kind, instance_id) \
         select uid, 'start', 'Ubuntu' from wsl_host",
    );
    assert_eq!(started(&host.command().await.expect("an order")), "Ubuntu");
}

// The relay works while the test starts a worker, which waits without giving way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_worker_did_not_hear_that_it_took_it_is_sent_all_the_same() {
    let database = Database::fresh();
    database.sql("update account set registration_key = 'right'");
    let relay = Relay::before(&database).await;
    let settings = [
        ("HOSTAGENT_MESSENGER__POLL", "50ms"),
        ("STORE__URL", relay.url()),
    ];
    let port = e2e::free_range(1);
    let _messenger = Service::at("hostagent-messenger", &database, port, &settings);
    let mut host = HostAgent::new(H2::tcp(port).await, "win", Some("right")).await;
    eventually("it is connected", || async {
        (database.sql(HOSTS) == "win|t|t").then_some(())
    })
    .await;
    for round in 0..3 {
        // The next commit is that of taking the order: it is stored as sent, and the worker hears nothing of it.
        relay.lose_next_commit();
        database.sql(&format!(
            "insert into wsl_command (host_uid, kind, instance_id) \
             select uid, 'start', 'One{round}' from wsl_host"
        ));
        let command = host.command().await.expect("an order");
        assert_eq!(started(&command), format!("One{round}"));
        assert!(relay.has_lost());
        assert_eq!(host.status(&command.request_id, 2, "").await, "0");
    }
    assert_eq!(database.sql(STATES), ["succeeded|"; 3].join("\n"));
    // Nothing came twice.
    database.sql(
        "insert into wsl_command (host_uid, kind, instance_id) \
         select uid, 'start', 'Last' from wsl_host",
    );
    assert_eq!(started(&host.command().await.expect("an order")), "Last");
}

#[tokio::test]
async fn a_host_that_left_while_the_database_was_away_is_known_to_have_left() {
    let database = Database::fresh();
    database.sql("update account set registration_key = 'right'");
    let settings = [
        ("HOSTAGENT_MESSENGER__POLL", "50ms"),
        // A database that does not answer is one that is away.
        ("STORE__STATEMENT_TIMEOUT", "3s"),
    ];
    let port = e2e::free_range(1);
    let messenger = Service::at("hostagent-messenger", &database, port, &settings);
    let host = HostAgent::new(H2::tcp(port).await, "win", Some("right")).await;
    eventually("it is connected", || async {
        (database.sql(HOSTS) == "win|t|t").then_some(())
    })
    .await;
    let held = database.hold("lock table wsl_host in access exclusive mode");
    drop(host);
    eventually("its end cannot be stored", || async {
        let log = messenger.log();
        log.contains("a host that left counts as connected")
            .then_some(())
    })
    .await;
    drop(held);
    eventually("it is stored all the same", || async {
        (database.sql(HOSTS) == "win|t|f").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_status_that_cannot_be_stored_now_is_kept_and_stored_later() {
    let house = House::with(1).await;
    let port = e2e::free_range(1);
    // A database that does not answer is one that is away.
    let settings = house.broker.with(&[("STORE__STATEMENT_TIMEOUT", "3s")]);
    let _slow = Service::at("hostagent-messenger", &house.database, port, &settings);
    let mut host = HostAgent::new(H2::tcp(port).await, "win", Some("right")).await;
    assert_eq!(
        house
            .order(&host.info.uid, "what=start&instance=Ubuntu")
            .await,
        303
    );
    let command = host.command().await.expect("an order");
    let held = house
        .database
        .hold("lock table wsl_command in access exclusive mode");
    assert_eq!(
        host.status(&command.request_id, 2, "").await,
        "0",
        "kept by the broker"
    );
    drop(held);
    house.until(STATES, "succeeded|").await;
}

#[tokio::test]
async fn an_agent_of_pythons_grpcio_does_what_it_is_ordered() {
    let house = House::with(1).await;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace");
    let python = root.join(".venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `make test`",
        python.display()
    );
    let mut agent = tokio::process::Command::new(python);
    agent
        .arg(root.join("tests/clients/hostagent.py"))
        .args(["--key", "right", "--orders", "2"])
        .arg(format!("127.0.0.1:{}", house.gateway.port("grpc")))
        .arg(house.gateway.file("ca.pem"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    let agent = agent.spawn().expect("Python can be started");
    house.until(HOSTS, "python-host|t|t").await;
    let uid = house.rows("select uid from wsl_host");
    assert_eq!(house.order(&uid, "what=start&instance=Ubuntu").await, 303);
    assert_eq!(house.order(&uid, "what=start&instance=Debian").await, 303);
    house
        .until(STATES, "succeeded|\nfailed|there is no Debian")
        .await;
    house
        .until("select id, running from wsl_instance", "Ubuntu|t")
        .await;
    let output = e2e::within("its end", agent.wait_with_output())
        .await
        .expect("its end");
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{error}");
    house.until(HOSTS, "python-host|t|f").await;
}
