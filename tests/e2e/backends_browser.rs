//! Does a real browser, behind the edge, show people all of it: on a phone and on a wall, without scripts, and live?

use std::time::{SystemTime, UNIX_EPOCH};

use e2e::bpickle::{Pickle, d, i, l, s, t, u};
use e2e::chromium::{DESK, PHONE, Screen, WALL};
use e2e::hostagent::Cmd;
use e2e::house::network;
use e2e::person::EMAIL;
use e2e::{
    AccessKey, Agent, Broker, Chromium, Gateway, H2, HostAgent, House, Postgres, Raw, Service,
    eventually, free_range, within,
};
use serde_json::{Value, json};

/// Letters on a wall are at least so large, pixels of 1920.
const WALL_LETTERS_MIN: f64 = 16.0;
/// Seconds between two reports of traffic.
const STEP: i64 = 300;

/// A house whose pages are told of what happens, and that takes WSL hosts.
struct Place {
    house: House,
    messenger: Service,
    /// The relay, and package search.
    _others: [Service; 2],
    _broker: Broker,
}

impl Place {
    async fn start() -> Place {
        let (broker, search) = (Broker::fresh(), free_range(1));
        let url = format!("http://127.0.0.1:{search}/v1/search");
        let settings = broker.with(&[("PACKAGE_SEARCH__URL", &url)]);
        let house = House::with(&settings).await;
        let at = |name, port| Service::at(name, &house.database, port, &settings);
        let one = |name| at(name, free_range(1));
        let (relay, messenger) = (one("outbox-relay"), one("hostagent-messenger"));
        let index = at("package-search", search);
        let pages = house.services[0].port();
        eventually("everybody listens and a relay works", || async {
            let said = Raw::tcp(pages).await.get("/health").await.text();
            let loaded = Raw::tcp(search).await.get("/health").await.status();
            let sql = "select seen_at > now() - interval '1 minute' from outbox_relay";
            let told = said.contains("broker: connected") && house.database.sql(sql) == "t";
            (told && loaded == 200).then_some(())
        })
        .await;
        Place {
            house,
            messenger,
            _others: [relay, index],
            _broker: broker,
        }
    }

    /// A computer that reports all that the pages show.
    async fn computer(&self, title: &str, tags: &str, last: u8) -> (Agent, i64) {
        let (mut agent, id) = self.house.computer(title).await;
        let name = format!("{title}.example.com");
        let kind = |name: &str| ("type", u(name));
        agent.report(d([("tags", u(tags)), kind("computer-tags")]));
        agent.report(d([
            ("hostname", u(&name)),
            ("total-memory", i(7936)),
            ("total-swap", i(2048)),
            kind("computer-info"),
        ]));
        agent.report(d([
            ("code-name", u("noble")),
            ("description", u("Ubuntu 24.04.3 LTS")),
            ("distributor-id", u("Ubuntu")),
            ("release", u("24.04")),
            kind("distribution-info"),
        ]));
        let processor = |number| {
            d([
                ("model", u("AMD EPYC 7763 64-Core Processor")),
                ("processor-id", i(number)),
                ("vendor", u("AuthenticAMD")),
            ])
        };
        agent.report(d([
            ("processors", l([processor(0), processor(1)])),
            kind("processor-info"),
        ]));
        agent.report(network(&format!("192.0.2.{}", last + 100)));
        agent
            .exchange(&self.house.way())
            .await
            .expect("an exchange");
        agent.report(interfaces(last));
        for message in traffic(now(), last) {
            agent.report(message);
        }
        agent
            .exchange(&self.house.way())
            .await
            .expect("an exchange");
        (agent, id)
    }

    /// A script is ordered from the computer's page, and ends like this.
    async fn script(&self, agent: &mut Agent, id: i64, script: &Value, end: Option<(i64, &str)>) {
        let browser = self.house.browser().await;
        let form = format!("order=script&script={}", script["id"]);
        let path = format!("/computers/{id}/order");
        assert_eq!(browser.submit(&path, &form).await.status(), 303);
        let orders = agent.exchange(&self.house.way()).await.expect("an order");
        let Some((status, text)) = end else {
            return;
        };
        let mut result = vec![
            (
                u("operation-id"),
                orders[0].at("operation-id").expect("a number").clone(),
            ),
            (u("result-text"), u(text)),
            (u("status"), i(status)),
            (u("type"), u("operation-result")),
        ];
        if status == 5 {
            result.push((u("result-code"), i(103)));
        }
        agent.report(Pickle::Dict(result));
        agent
            .exchange(&self.house.way())
            .await
            .expect("an exchange");
    }

    /// A WSL host with two instances, which waits to be accepted.
    async fn host(&self, name: &str) -> HostAgent {
        let address = ("127.0.0.1", self.messenger.port());
        let stream = tokio::net::TcpStream::connect(address).await;
        let mut info = HostAgent::info(name, None);
        let mut other = info.instances[0].clone();
        (other.id, other.name, other.state) = ("Debian".into(), "Debian".into(), 1);
        info.instances.push(other);
        let h2 = H2::over(stream.expect("it listens")).await;
        let mut host = HostAgent::connect(h2, info).await;
        host.take_identity().await;
        host
    }

    async fn stored_script(&self, title: &str, code: &str) -> Value {
        let body = json!({"title": title, "code": format!("#!/bin/sh\n{code}")});
        let (status, script) = self.house.rest().await.post("/scripts", &body).await;
        assert!(status < 300, "{script}");
        script
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_secs()).expect("a time")
}

/// Three interfaces: one with a link, one without, one of containers.
fn interfaces(last: u8) -> Pickle {
    let device = |name: &str, address: &str, flags, mac: u8| {
        let known = address != "0.0.0.0";
        d([
            (
                "broadcast_address",
                s(if known { "192.0.2.255" } else { address }),
            ),
            ("flags", i(flags)),
            ("interface", s(name)),
            ("ip_address", s(address)),
            (
                "mac_address",
                s(&format!("52:54:00:1a:{last:02x}:{mac:02x}")),
            ),
            ("netmask", s(if known { "255.255.255.0" } else { address })),
        ])
    };
    let speed = |name: &str, speed, duplex| {
        d([
            ("duplex", Pickle::Bool(duplex)),
            ("interface", s(name)),
            ("speed", i(speed)),
        ])
    };
    d([
        (
            "device-speeds",
            l([speed("enp1s0", 10_000, true), speed("enp2s0", 0, false)]),
        ),
        (
            "devices",
            l([
                device("enp1s0", &format!("192.0.2.{last}"), 4163, 1),
                device("enp2s0", "0.0.0.0", 4098, 2),
                device("docker0", "172.17.0.1", 4099, 3),
            ]),
        ),
        ("type", u("network-device")),
    ])
}

/// A day of traffic on two interfaces, which is more by day than by night, with an hour of silence.
fn traffic(now: i64, seed: u8) -> Vec<Pickle> {
    let end = now / STEP * STEP;
    let steps: Vec<i64> = (0..288).filter(|step| !(120..132).contains(step)).collect();
    let tuples = |busy: i64| -> Vec<Pickle> {
        let tuple = |step: &i64| {
            // A triangle with a noise that is the same every time.
            let day = 144 - (step - 144).abs();
            let noise = (step * 7919 + i64::from(seed) * 104_729) % 97;
            let received = (day * day + noise * 40) * 1024 * busy;
            t([
                i(end - step * STEP),
                i(received),
                i(received / 3 + noise * 4096),
            ])
        };
        steps.iter().map(tuple).collect()
    };
    let of = |name: &str, busy| {
        let tuples = tuples(busy);
        let message = |part: &[Pickle]| {
            let steps = Pickle::List(part.to_vec());
            let activities = Pickle::Dict(vec![(s(name), steps)]);
            d([("activities", activities), ("type", u("network-activity"))])
        };
        tuples.chunks(200).map(message).collect::<Vec<_>>()
    };
    [of("enp1s0", 400), of("docker0", 11)].concat()
}

/// Packages, and in which states the computer has them. The number of the one that it has not, `postgresql-16`.
async fn packages(place: &Place, agent: &mut Agent) -> Pickle {
    let known = [
        ("bash", "5.2.21-2ubuntu4", "GNU Bourne Again SHell"),
        (
            "curl",
            "8.5.0-2ubuntu10.6",
            "command line tool for transferring data with URL syntax",
        ),
        (
            "linux-image-6.8.0-85-generic",
            "6.8.0-85.85",
            "Signed kernel image generic",
        ),
        (
            "nginx",
            "1.24.0-2ubuntu7.5",
            "small, powerful, scalable web/proxy server",
        ),
        (
            "openssl",
            "3.0.13-0ubuntu3.6",
            "Secure Sockets Layer toolkit - cryptographic utility",
        ),
        (
            "postgresql-16",
            "16.10-0ubuntu0.24.04.1",
            "The World's Most Advanced Open Source Relational Database",
        ),
    ];
    let described = known.map(|(name, version, summary)| {
        d([
            ("description", u(summary)),
            ("installed-size", i(100_000)),
            ("name", u(name)),
            ("relations", l([])),
            ("section", u("admin")),
            ("size", i(50_000)),
            ("summary", u(summary)),
            ("type", i(65_537)),
            ("version", u(version)),
        ])
    });
    agent.report(d([
        ("packages", l(described)),
        ("request-id", i(1)),
        ("type", u("add-packages")),
    ]));
    let way = place.house.way();
    let answer = agent.exchange(&way).await.expect("an exchange");
    let ids = answer.iter().find_map(|message| message.at("ids"));
    let ids = ids.expect("their numbers").list();
    agent.report(d([
        ("available", Pickle::List(ids.to_vec())),
        ("available-upgrades", l([ids[4].clone()])),
        ("installed", Pickle::List(ids[..5].to_vec())),
        ("locked", l([ids[2].clone()])),
        ("security", l([ids[4].clone()])),
        ("type", u("packages")),
    ]));
    agent.exchange(&way).await.expect("an exchange");
    ids[5].clone()
}

/// What lives in a house that people look at.
struct Inhabitants {
    /// The number of a computer that reports everything.
    computer: i64,
    /// A group of one order, which is done.
    activity: String,
    /// A host that is accepted, and one that waits.
    hosts: [HostAgent; 2],
}

/// Computers, activities, hosts, and somebody who waits.
async fn inhabit(place: &Place) -> Inhabitants {
    let (mut web, id) = place
        .computer("web-1", "web, production, frankfurt", 11)
        .await;
    packages(place, &mut web).await;
    for (title, tags, last) in [
        ("web-2", "web, production, london", 12),
        ("db-1", "database, production, frankfurt", 21),
        ("build-agent-with-a-long-name-7", "build", 30),
    ] {
        place.computer(title, tags, last).await;
    }
    let way = place.house.way();
    web.report(d([
        ("flag", Pickle::Bool(true)),
        ("packages", l([u("linux-base")])),
        ("type", u("reboot-required-info")),
    ]));
    web.exchange(&way).await.expect("an exchange");
    eventually("its last ping is known", || async {
        web.ping(&way).await;
        let sql = "select count(*) from computer_ping where last_at is not null";
        (place.house.database.sql(sql) == "1").then_some(())
    })
    .await;
    let disks = place
        .stored_script("How full are the disks?", "df -h")
        .await;
    let table = "Filesystem      Size  Used Avail Use% Mounted on\n\
                 /dev/vda1        39G   12G   27G  31% /\n\
                 /dev/vdb1       196G  151G   36G  81% /srv/data\n";
    place.script(&mut web, id, &disks, Some((6, table))).await;
    let backup = place.stored_script("Nightly backup", "backup --all").await;
    let why = "backup: cannot reach backup.example.com: connection timed out";
    place.script(&mut web, id, &backup, Some((5, why))).await;
    place.script(&mut web, id, &disks, None).await;
    for title in ["laptop-ada", "laptop-omar", "kiosk-entrance-hall"] {
        Agent::new(title).set_up(&way, None).await;
    }
    let host = place.host("DESKTOP-7F3K2L9").await;
    let uid = host.info.uid.clone();
    eventually("the host is stored", || async {
        let sql = "select count(*) from wsl_instance";
        (place.house.database.sql(sql) == "2").then_some(())
    })
    .await;
    let waits = place.host("DESKTOP-WAITS").await;
    let sql = format!("update wsl_host set accepted = true where uid = '{uid}'");
    place.house.database.sql(&sql);
    let order = format!("/hosts/{uid}/order");
    let http = place.house.browser().await;
    assert_eq!(
        http.submit(&order, "what=start&instance=Ubuntu")
            .await
            .status(),
        303
    );

    let sql = "select min(id) from activity where type = 'group'";
    let activity = place.house.database.sql(sql);
    Inhabitants {
        computer: id,
        activity,
        hosts: [host, waits],
    }
}

/// Every page: its path, its name for pictures, and what it shows.
fn every_page(of: &Inhabitants) -> Vec<(String, &'static str, Vec<&'static str>)> {
    let (id, uid, activity) = (of.computer, &of.hosts[0].info.uid, &of.activity);
    vec![
        (
            "/computers".to_owned(),
            "computers",
            vec![
                "web-1",
                "192.0.2.11",
                "production",
                "Ubuntu 24.04.3 LTS",
                "restart",
            ],
        ),
        (
            format!("/computers/{id}"),
            "computer",
            vec![
                "web-1.example.com",
                "7.8 GiB",
                "enp1s0",
                "192.0.2.11",
                "52:54:00:1a:0b:01",
                "192.0.2.255",
                "255.255.255.0",
                "UP BROADCAST RUNNING MULTICAST",
                "10000 Mbit/s, full duplex",
                "no link",
                "Changes",
                "192.0.2.111",
                "then gone",
                "received",
                "at most",
                "/dev/vdb1",
                "delivered",
            ],
        ),
        (
            format!("/computers/{id}/packages"),
            "computer-packages",
            vec!["5 packages.", "nginx", "1.24.0-2ubuntu7.5"],
        ),
        (
            "/pending".to_owned(),
            "pending",
            vec!["kiosk-entrance-hall", "Accept"],
        ),
        (
            "/activities".to_owned(),
            "activities",
            vec![
                "How full are the disks?",
                "succeeded",
                "failed",
                "delivered",
            ],
        ),
        (
            format!("/activities/{activity}"),
            "activity",
            vec!["succeeded", "/srv/data"],
        ),
        (
            "/packages".to_owned(),
            "packages",
            vec!["5 packages.", "openssl"],
        ),
        (
            "/hosts".to_owned(),
            "hosts",
            vec!["DESKTOP-7F3K2L9", "waits to be accepted", "connected"],
        ),
        (
            format!("/hosts/{uid}"),
            "host",
            vec![
                "Ubuntu",
                "stopped, default",
                "Debian",
                "start",
                "Shut WSL down",
            ],
        ),
        (
            format!("/computers/{id}/interfaces"),
            "computer-interfaces",
            vec!["192.0.2.111", "then gone"],
        ),
        (
            format!("/computers/{id}/sure"),
            "computer-sure",
            vec!["web-1 goes down", "Leave it"],
        ),
        (
            format!("/hosts/{uid}/sure?what=uninstall&instance=Debian"),
            "host-sure",
            vec!["Debian on DESKTOP-7F3K2L9 is removed", "Leave it"],
        ),
    ]
}

/// A house into which nobody has moved yet.
async fn look_at_empty_pages(browser: &mut Chromium) {
    for (path, name, says) in [
        ("/computers", "computers", "There are no computers yet."),
        ("/pending", "pending", "Nobody waits."),
        ("/activities", "activities", "Nothing was ordered."),
        ("/packages", "packages", "No package is found."),
        ("/hosts", "hosts", "There are no WSL hosts yet."),
    ] {
        for screen in [PHONE, WALL] {
            browser.before(screen).await;
            browser.open(path).await;
            browser.shows(&[says]).await;
            browser.look(&format!("empty-{name}-{}", screen.name)).await;
        }
    }
}

#[tokio::test]
async fn every_page_looks_well_on_a_phone_and_on_a_wall_and_the_browser_complains_of_nothing() {
    let place = Place::start().await;
    let screens = [
        PHONE,
        PHONE.dark("phone-dark"),
        DESK,
        WALL,
        WALL.dark("wall-dark"),
    ];
    let mut browser = Chromium::start(&place.house.gateway).await;
    for screen in screens {
        browser.before(screen).await;
        browser.open("/login").await;
        browser.look(&format!("login-{}", screen.name)).await;
    }
    let mut browser = Chromium::signed_in(&place.house.gateway).await;
    look_at_empty_pages(&mut browser).await;
    let inhabitants = inhabit(&place).await;
    let pages = every_page(&inhabitants);
    for screen in screens {
        browser.before(screen).await;
        for (path, name, texts) in &pages {
            browser.open(path).await;
            browser.shows(texts).await;
            if *name == "host" {
                browser
                    .unfold("Its files and its first configuration")
                    .await;
            }
            let letters = browser.look(&format!("{name}-{}", screen.name)).await;
            if screen.width == WALL.width {
                assert!(
                    letters >= WALL_LETTERS_MIN,
                    "{name}: letters of {letters} px"
                );
            }
            if *name == "computer" {
                let heights = "[...document.querySelectorAll('svg polyline.received')] \
                               .map(line => line.getBoundingClientRect().height > 40)";
                // Before and after the hour of silence, on both interfaces.
                let drawn = browser.ask(heights).await;
                assert_eq!(drawn, json!([true, true, true, true]), "{}", screen.name);
            }
        }
    }
    browser.complains_of_nothing().await;
}

#[tokio::test]
async fn all_of_it_works_without_scripts() {
    let place = Place::start().await;
    let (mut web, id) = place.computer("web-1", "web, production", 11).await;
    place.computer("db-1", "database", 21).await;
    packages(&place, &mut web).await;
    place.stored_script("Uptime", "uptime").await;
    Agent::new("laptop-ada")
        .set_up(&place.house.way(), None)
        .await;
    Agent::new("unwanted")
        .set_up(&place.house.way(), None)
        .await;
    let mut host = place.host("DESKTOP-7F3K2L9").await;

    let mut browser = Chromium::start(&place.house.gateway).await;
    browser.without_scripts().await;
    browser.before(PHONE).await;
    // Who is not signed in comes back to where they wanted to go.
    let path = browser.open("/computers?tag=web").await;
    assert!(path.starts_with("/login"), "{path}");
    browser.fill("E-mail address", e2e::person::EMAIL).await;
    browser.fill("Password", "wrong").await;
    browser.press("Sign in").await;
    browser.shows(&["wrong e-mail address or password"]).await;
    browser.fill("Password", e2e::person::PASSWORD).await;
    assert_eq!(browser.press("Sign in").await, "/computers?tag=web");
    let shown = browser.text().await;
    assert!(
        shown.contains("web-1") && !shown.contains("db-1"),
        "{shown}"
    );
    browser.press("All").await;
    browser.shows(&["db-1"]).await;

    browser.press("Pending 2").await;
    browser.press_within("laptop-ada", "Accept").await;
    browser.press_within("unwanted", "Reject").await;
    browser.shows(&["Nobody waits.", "Computers 3"]).await;

    order_of_a_computer(&mut browser, &place, &mut web, id).await;
    browser.press("Packages").await;
    browser.choose("State", "Security upgrades").await;
    browser.fill("Name or summary", "ssl").await;
    browser.press("Search").await;
    browser.shows(&["1 package.", "openssl"]).await;

    order_of_a_host(&mut browser, &mut host).await;
    assert_eq!(browser.press("Sign out").await, "/login");
    let path = browser.open("/computers").await;
    assert!(path.starts_with("/login"), "{path}");
}

/// Somebody finds a computer and gives every order that its page offers.
async fn order_of_a_computer(browser: &mut Chromium, place: &Place, web: &mut Agent, id: i64) {
    browser.press("Computers 3").await;
    browser.fill("Title or host name", "DB-").await;
    let path = browser.press("Search").await;
    assert_eq!(path, "/computers?text=DB-");
    let shown = browser.text().await;
    assert!(
        shown.contains("db-1") && !shown.contains("laptop-ada"),
        "{shown}"
    );
    browser.press("Computers 3").await;
    assert_eq!(browser.press("web-1").await, format!("/computers/{id}"));
    browser.shows(&["enp1s0", "192.0.2.111", "received"]).await;
    browser.choose("Script", "Uptime").await;
    browser.press("Run script").await;
    browser.shows(&["Run script: Uptime", "undelivered"]).await;
    let orders = web.exchange(&place.house.way()).await.expect("an order");
    assert_eq!(orders[0].at("code"), Some(&u("uptime")));
    browser.press("Activities").await;
    browser.shows(&["1 delivered"]).await;
    browser.open(&format!("/computers/{id}")).await;
    browser.press("Restart").await;
    browser.press("Cancel what was not delivered").await;
    browser.shows(&["Restart computer", "canceled"]).await;
    browser.press("Activities").await;
    browser.choose("Status", "canceled").await;
    browser.fill("What was ordered", "restart").await;
    browser.press("Search").await;
    let shown = browser.text().await;
    assert!(
        shown.contains("Restart computer") && !shown.contains("Uptime"),
        "{shown}"
    );
    browser.open(&format!("/computers/{id}")).await;
    browser.press("Shut down").await;
    browser
        .shows(&["Shut down web-1?", "web-1 goes down"])
        .await;
    assert_eq!(browser.press("Leave it").await, format!("/computers/{id}"));
    browser.press("Shut down").await;
    browser.press("Shut down").await;
    browser.shows(&["Shutdown computer", "undelivered"]).await;
}

/// Somebody gives every order that a host's page offers, to one that waits first.
async fn order_of_a_host(browser: &mut Chromium, host: &mut HostAgent) {
    browser.press("WSL hosts").await;
    browser.press("DESKTOP-7F3K2L9").await;
    browser.press("Accept").await;
    browser.press_within("Ubuntu", "Start").await;
    browser.shows(&["start"]).await;
    let order = within("the order reaches the host", host.command()).await;
    let order = order.expect("an order");
    assert_eq!(host.status(&order.request_id, 2, "no such disk").await, "0");
    browser.press("WSL hosts").await;
    browser.press("DESKTOP-7F3K2L9").await;
    browser.shows(&["failed", "no such disk"]).await;

    // The rest of what a host can be told.
    for (row, button, sure) in [
        // The row of the instance that runs; orders name it, too.
        ("runs", "Stop", None),
        ("runs", "Make default", None),
        ("runs", "Uninstall", Some("Uninstall")),
        ("Identity", "Shut WSL down", Some("Shut WSL down")),
    ] {
        browser.press_within(row, button).await;
        if let Some(sure) = sure {
            browser.shows(&["Leave it"]).await;
            browser.press(sure).await;
        }
        let order = within("the order reaches the host", host.command()).await;
        let order = order.expect("an order");
        assert_eq!(host.status(&order.request_id, 2, button).await, "0");
    }
    browser.fill("Instance to install", "Noble").await;
    browser
        .unfold("Its files and its first configuration")
        .await;
    browser.fill("cloud-init", "#cloud-config").await;
    let path = browser.press("Install").await;
    let order = within("the order reaches the host", host.command()).await;
    let Some(Cmd::Install(install)) = order.expect("an order").cmd else {
        panic!("no installation");
    };
    assert_eq!(
        (install.id.as_str(), install.cloudinit.as_deref()),
        ("Noble", Some("#cloud-config"))
    );
    browser
        .shows(&["Stop", "Make default", "Uninstall", "Shut WSL down"])
        .await;
    browser.press("WSL hosts").await;
    browser.fill("Name", "desktop").await;
    browser.press("Search").await;
    assert_eq!(browser.press("DESKTOP-7F3K2L9").await, path);
    browser.press("Forget").await;
    browser.press("Forget").await;
    browser.shows(&["There are no WSL hosts yet."]).await;
}

/// The edge before one worker of the pages.
const PAGES: &str = r#"
threads: 2
admin: { bind: "127.0.0.1:0" }
listeners:
  https: { bind: "127.0.0.1:0", tls: { certificates: [ { chain: <dir>/edge.pem, key: <dir>/edge.key } ] } }
pools:
  appserver: { ports: <appserver> }
routes:
  - { path: /, to: appserver }
"#;

#[tokio::test]
async fn what_is_refused_is_told_on_a_page_that_leads_on() {
    let mut postgres = Postgres::start();
    let database = postgres.database();
    database.administrator();
    let settings = [("STORE__CONNECT_TIMEOUT", "1s")];
    let pages = Service::at("appserver", &database, free_range(1), &settings);
    let plan = Gateway::with(PAGES).ports("appserver", [pages.port()]);
    let gateway = plan.start().await;
    database.sql(
        "insert into computer (account_id, accepted, title, hostname) values (1, false, 'laptop-ada', 'h')",
    );
    let mut browser = Chromium::signed_in(&gateway).await;
    browser.without_scripts().await;
    browser.before(PHONE).await;
    browser.open("/pending").await;
    // As if somebody had signed in again in another tab.
    database.sql("update web_session set form_token = 'another'");
    browser.press("Accept").await;
    browser
        .shows(&["Nothing was changed", "before you signed in again"])
        .await;
    for screen in LOOKED {
        browser.before(screen).await;
        browser.look(&format!("refused-form-{}", screen.name)).await;
    }
    assert_eq!(browser.press("Back").await, "/pending");
    browser.press("Accept").await;
    browser.shows(&["Nobody waits.", "Computers 1"]).await;

    looks_well(&mut browser, "missing", "/computers/77", 404).await;
    browser.shows(&["Not found", "Sign out"]).await;
    assert_eq!(browser.press("All computers").await, "/computers");
    postgres.kill();
    looks_well(&mut browser, "away", "/computers", 503).await;
    browser
        .shows(&["Not to be had just now", "WSL hosts"])
        .await;
    browser.press("Try again").await;
    browser.shows(&["It is tried again by itself."]).await;
    // A screen on a wall has nobody who presses anything.
    postgres.restart();
    browser.until_it_shows("laptop-ada").await;
}

/// In the dark and in the light.
const LOOKED: [Screen; 3] = [WALL, PHONE.dark("phone-dark"), PHONE];

/// A page that is refused, which may load itself anew.
async fn looks_well(browser: &mut Chromium, name: &str, path: &str, status: u16) {
    for screen in LOOKED {
        browser.before(screen).await;
        browser.open_as(path, status).await;
        browser
            .look(&format!("refused-{name}-{}", screen.name))
            .await;
    }
}

#[tokio::test]
async fn an_open_page_of_computers_shows_what_has_changed_by_itself() {
    let place = Place::start().await;
    let way = place.house.way();
    let (mut web, id) = place.computer("web-1", "web", 11).await;
    let script = place.stored_script("Uptime", "uptime").await;
    let mut browser = Chromium::signed_in(&place.house.gateway).await;
    browser.before(WALL).await;
    let own = format!("/computers/{id}");
    live_at(&mut browser, &own).await;
    browser.ask("window.untouched = true").await;
    let shown = browser.text().await;
    assert!(!shown.contains("198.51.100.7"), "{shown}");
    web.report(network("198.51.100.7"));
    web.exchange(&way).await.expect("an exchange");
    browser.until_it_shows("198.51.100.7").await;
    place.script(&mut web, id, &script, None).await;
    browser.until_it_shows("delivered").await;
    assert_eq!(browser.ask(PINGED).await, json!("\u{2013}"));
    eventually("its last ping is known", || async {
        web.ping(&way).await;
        let sql = "select count(*) from computer_ping where last_at is not null";
        (place.house.database.sql(sql) == "1").then_some(())
    })
    .await;
    let today = place
        .house
        .database
        .sql("select to_char(last_at at time zone 'UTC', 'YYYY-MM-DD') from computer_ping");
    until_it_says(&mut browser, PINGED, &today).await;
    // It is the same page: nothing was loaded anew.
    assert_eq!(browser.ask("window.untouched").await, json!(true));

    // What changes on the list, and who waits.
    live_at(&mut browser, "/computers").await;
    browser.shows(&["web-1", "Computers 1"]).await;
    web.report(d([
        ("tags", u("moved, to-london")),
        ("type", u("computer-tags")),
    ]));
    web.exchange(&way).await.expect("an exchange");
    browser.until_it_shows("to-london").await;
    // A program gives it a tag and another title.
    let key = AccessKey::of(&place.house.database, &place.house.settings(), EMAIL);
    let titles = format!("computer_titles.{id}");
    for (action, arguments, shown) in [
        (
            "AddTagsToComputers",
            vec![("query", "web-1"), ("tags.1", "by-a-program")],
            "by-a-program",
        ),
        (
            "RenameComputers",
            vec![(titles.as_str(), "web-one")],
            "web-one",
        ),
    ] {
        let (status, answer) = key.call(&place.house.gateway, action, &arguments).await;
        assert_eq!(status, 200, "{answer}");
        browser.until_it_shows(shown).await;
    }
    live_at(&mut browser, "/pending").await;
    browser.shows(&["Nobody waits."]).await;
    Agent::new("laptop-ada").set_up(&way, None).await;
    browser.until_it_shows("laptop-ada").await;
    browser.shows(&["Pending 1"]).await;
    let http = place.house.browser().await;
    let waits = place.house.database.sql("select max(id) from computer");
    let form = format!("id={waits}&decision=accept");
    assert_eq!(http.submit("/pending/decide", &form).await.status(), 303);
    browser.until_it_shows("Nobody waits.").await;
    browser.shows(&["Computers 2", "Pending 0"]).await;
    browser.complains_of_nothing().await;
}

#[tokio::test]
async fn an_open_page_of_activities_shows_what_has_changed_by_itself() {
    let place = Place::start().await;
    let (mut web, id) = place.computer("web-1", "web", 11).await;
    let script = place.stored_script("How full are the disks?", "df").await;
    let mut browser = Chromium::signed_in(&place.house.gateway).await;
    live_at(&mut browser, "/activities").await;
    browser.shows(&["Nothing was ordered."]).await;
    place
        .script(&mut web, id, &script, Some((6, "plenty of room")))
        .await;
    browser.until_it_shows("How full are the disks?").await;
    browser.until_it_shows("1 succeeded").await;

    let http = place.house.browser().await;
    let reply = http
        .submit(&format!("/computers/{id}/order"), "order=restart")
        .await;
    let group = reply
        .field("location")
        .expect("where it is seen")
        .to_owned();
    live_at(&mut browser, &group).await;
    browser.shows(&["undelivered"]).await;
    // It is not told to an agent that does not know such an order: it fails at once.
    web.exchange(&place.house.way()).await.expect("an exchange");
    browser.until_it_shows("failed").await;
    browser.complains_of_nothing().await;
}

#[tokio::test]
async fn an_open_page_of_packages_shows_what_the_index_learns_and_keeps_what_is_written() {
    let place = Place::start().await;
    let (mut web, id) = place.computer("web-1", "web", 11).await;
    let mut browser = Chromium::signed_in(&place.house.gateway).await;
    live_at(&mut browser, "/packages").await;
    browser.shows(&["No package is found."]).await;
    // Somebody writes, and is not done: that stays, and everything around it is renewed.
    browser.fill("Name or summary", "half a wo").await;
    let postgresql = packages(&place, &mut web).await;
    browser.until_it_shows("5 packages.").await;
    browser.shows(&["openssl"]).await;
    let written = "document.activeElement.name + ' ' + document.activeElement.value";
    assert_eq!(browser.ask(written).await, json!("text half a wo"));
    browser.open(&format!("/computers/{id}/packages")).await;
    until_live(&mut browser).await;
    browser.shows(&["5 packages."]).await;
    web.report(d([("installed", l([postgresql])), ("type", u("packages"))]));
    web.exchange(&place.house.way()).await.expect("an exchange");
    browser.until_it_shows("postgresql-16").await;
    browser.complains_of_nothing().await;
}

#[tokio::test]
async fn an_open_page_of_hosts_shows_what_has_changed_by_itself() {
    let place = Place::start().await;
    let mut browser = Chromium::signed_in(&place.house.gateway).await;
    live_at(&mut browser, "/hosts").await;
    browser.shows(&["There are no WSL hosts yet."]).await;
    let mut host = place.host("DESKTOP-7F3K2L9").await;
    browser.until_it_shows("DESKTOP-7F3K2L9").await;
    let own = format!("/hosts/{}", host.info.uid);
    live_at(&mut browser, &own).await;
    browser.shows(&["waits to be accepted"]).await;
    let http = place.house.browser().await;
    let order = format!("{own}/order");
    assert_eq!(http.submit(&order, "what=accept").await.status(), 303);
    browser.until_it_shows("Instance to install").await;
    // With a form half filled in, all else goes on.
    browser.fill("Instance to install", "Nob").await;
    assert_eq!(
        http.submit(&order, "what=start&instance=Ubuntu")
            .await
            .status(),
        303
    );
    let command = within("the order reaches the host", host.command()).await;
    let command = command.expect("an order");
    for (state, error, shown) in [
        (0, "", "queued"),
        (1, "", "in progress"),
        (2, "no disk", "no disk"),
    ] {
        assert_eq!(host.status(&command.request_id, state, error).await, "0");
        browser.until_it_shows(shown).await;
    }
    host.info.instances[0].state = 1;
    host.tell().await;
    browser.until_it_shows("runs, default").await;
    let written = "document.querySelector('[name=instance][type=text]').value";
    assert_eq!(browser.ask(written).await, json!("Nob"));
    drop(host);
    browser.until_it_shows("not connected").await;
    browser.complains_of_nothing().await;
}

/// What stands beside `Last ping`.
const PINGED: &str = "[...document.querySelectorAll('dt')].find(e => e.textContent === 'Last ping').nextElementSibling.textContent";

/// Waits until the value of an expression contains this.
async fn until_it_says(browser: &mut Chromium, source: &str, part: &str) {
    let browser = tokio::sync::Mutex::new(browser);
    eventually(&format!("{source} says {part}"), || async {
        let said = browser.lock().await.ask(source).await;
        said.as_str()
            .is_some_and(|said| said.contains(part))
            .then_some(())
    })
    .await;
}

/// Opens a page and waits until it is told what happens.
async fn live_at(browser: &mut Chromium, path: &str) {
    browser.open(path).await;
    until_live(browser).await;
}

/// Waits until the page says that it is told what happens.
async fn until_live(browser: &mut Chromium) {
    let browser = tokio::sync::Mutex::new(browser);
    eventually("the page is live", || async {
        let source = "document.getElementById('live').textContent";
        let said = browser.lock().await.ask(source).await;
        (said == "live").then_some(())
    })
    .await;
}
