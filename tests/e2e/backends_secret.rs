//! Are secrets kept where nobody reads them, and do the services live on when who keeps them is away?

use std::time::Duration;

use e2e::person::EMAIL;
use e2e::tls_front::{Front, TlsFront};
use e2e::{
    AccessKey, Agent, Authority, Database, House, Leaf, Raw, Rest, Service, TempDir, Vault, Way,
    eventually, for_a_while, free_range, patience,
};
use serde_json::json;

fn pairs<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect()
}

async fn health(service: &Service) -> (u16, String) {
    let mut raw = Raw::tcp(service.port()).await;
    let reply = raw.ask("GET", "/health", &[], b"").await;
    (reply.status(), reply.text())
}

/// Waits until a service says this of its Vault; it is healthy all the while.
async fn says(service: &Service, part: &str) {
    eventually(&format!("/health says `{part}`"), || async {
        let (status, text) = health(service).await;
        assert_eq!(status, 200, "{text}");
        text.contains(part).then_some(())
    })
    .await;
}

/// Every row of every table of a database, as text; bytes as hexadecimal digits.
fn dump(database: &Database) -> String {
    let tables = "select string_agg(tablename, ' ') from pg_tables where schemaname = 'public'";
    let tables = database.sql(tables);
    let rows = tables.split(' ').map(|table| {
        let sql = format!("select string_agg(one::text, E'\\n') from \"{table}\" as one");
        database.sql(&sql)
    });
    rows.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn what_is_kept_in_the_database_is_not_read_there() {
    let house = House::start().await;
    let settings = house.settings();
    let key = AccessKey::of(&house.database, &settings, EMAIL);
    let words = ["registration-key", "a registration key"];
    house.database.schema(&settings, &words, "");
    assert_eq!(key.call(&house.gateway, "GetComputers", &[]).await.0, 200);
    let rest = house.rest().await;
    assert_eq!(rest.get("/computers").await.0, 200);
    let names = "select string_agg(split_part(name, '/', 1), ' ' order by name) from stored_secret";
    assert_eq!(
        house.database.sql(names),
        "api-key registration-key token-signing"
    );
    let dump = dump(&house.database);
    assert!(dump.contains(&key.access), "the dump shows what is there");
    for secret in [&*key.secret, "a registration key", "correct horse"] {
        assert!(!dump.contains(secret), "{secret}");
        let hidden = secret.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        assert!(!dump.contains(&hidden.collect::<String>()), "{secret}");
    }
    assert!(dump.contains("$argon2id$"));
}

#[tokio::test]
async fn a_key_that_does_not_open_what_is_kept_is_refused_at_once() {
    let database = Database::fresh();
    database.administrator();
    AccessKey::of(&database, &[], EMAIL);
    let other = "ff".repeat(32);
    for (settings, told) in [
        (
            vec![("SECRET__KEY", other.as_str())],
            "is not opened by secret.key",
        ),
        (vec![("SECRET__KEY", "abc")], "64 hexadecimal digits"),
        (vec![], "is not opened by secret.key"),
    ] {
        let mut command = std::process::Command::new(e2e::stack::program("message-server"));
        command
            .args(["--port", "0"])
            .env("BACKENDS_STORE__URL", database.url());
        for (name, value) in settings {
            command.env(format!("BACKENDS_{name}"), value);
        }
        let output = command.output().expect("the program can be started");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains(told),
            "{told}: {error}"
        );
    }
    // A new key beside the old one opens what that sealed.
    let both = format!("{other} {}", e2e::stack::KEY);
    Service::at(
        "message-server",
        &database,
        free_range(1),
        &[("SECRET__KEY", &both)],
    );
}

#[tokio::test]
async fn a_registration_key_moves_behind_the_secrets_and_is_never_lost() {
    let database = Database::fresh();
    database.sql("update account set registration_key = 'from before'");
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let accepted = async |title: &str, key: &str| {
        let mut agent = Agent::new(title);
        agent.set_up(&way, Some(key)).await;
        let sql = format!("select count(*) from computer where accepted and title = '{title}'");
        database.sql(&sql) == "1"
    };
    // Nobody moved it yet: it counts where it is.
    assert!(accepted("a", "from before").await);
    let nobody = [("SECRET__CACHE", "1s")];
    let said = database.schema(&nobody, &["migrate"], "");
    assert!(
        said.contains("1 registration keys stand readable"),
        "{said}"
    );
    assert!(accepted("b", "from before").await);

    let said = database.schema(&[], &["migrate"], "");
    assert!(said.contains("1 registration keys moved"), "{said}");
    assert_eq!(database.sql("select registration_key from account"), "");
    assert!(accepted("c", "from before").await);
    assert!(!accepted("d", "another").await);
    // One set later wins over one that an interrupted move left behind.
    database.schema(&[], &["registration-key", "later"], "");
    database.sql("update account set registration_key = 'from before'");
    assert!(accepted("e", "later").await);
    assert!(!accepted("f", "from before").await);
    database.schema(&[], &["migrate"], "");
    assert!(accepted("g", "later").await);
    database.schema(&[], &["registration-key", "--none"], "");
    assert!(!accepted("h", "later").await);
    assert_eq!(
        database.sql("select count(*) from computer where title = 'h'"),
        "1",
        "it waits"
    );
}

#[tokio::test]
async fn the_services_work_on_while_the_vault_is_sealed_or_killed() {
    let mut vault = Vault::start().await;
    let settings = vault.settings();
    let mut settings = pairs(&settings);
    settings.push(("SECRET__CACHE", "100ms"));
    let house = House::with(&settings).await;
    let key = AccessKey::of(&house.database, &settings, EMAIL);
    house
        .database
        .schema(&settings, &["registration-key", "right"], "");
    assert_eq!(
        vault.secret(&format!("api-key/{}", key.access)).await,
        Some(key.secret.clone())
    );
    assert_eq!(
        vault.secret("registration-key/standalone").await,
        Some("right".to_owned())
    );
    let (messages, api) = (&house.services[2], &house.services[3]);
    says(api, "vault: ok").await;
    assert_eq!(key.call(&house.gateway, "GetComputers", &[]).await.0, 200);
    let rest = house.rest().await;
    let signing = vault.secret("token-signing").await.expect("it was made");
    assert_eq!(signing.len(), 172);
    assert_eq!(
        house.database.sql("select count(*) from stored_secret"),
        "0"
    );
    assert!(!dump(&house.database).contains(&key.secret));

    let works_on = async |round: &str| {
        let (status, answer) = key.call(&house.gateway, "GetComputers", &[]).await;
        assert_eq!(status, 200, "{round}: {answer}");
        assert_eq!(rest.get("/computers").await.0, 200, "{round}");
        assert_eq!(
            Rest::log_in(&house.gateway, EMAIL)
                .await
                .get("/person")
                .await
                .0,
            200
        );
        let mut agent = Agent::new(round);
        agent.set_up(&house.way(), Some("right")).await;
        let sql = format!("select accepted from computer where title = '{round}'");
        assert_eq!(house.database.sql(&sql), "t", "{round}");
    };
    works_on("open").await;
    vault.seal().await;
    says(api, "vault: sealed").await;
    says(messages, "vault: sealed").await;
    works_on("sealed").await;
    // What it never told cannot be told now, and says so as what passes.
    let made = rest.post("/credentials", &json!({})).await;
    assert_eq!(made.0, 503, "{}", made.1);
    vault.unseal().await;
    says(api, "vault: ok").await;
    works_on("unsealed").await;

    vault.kill();
    says(api, "vault: away").await;
    works_on("killed").await;
    vault.up().await;
    says(api, "vault: ok").await;
    says(messages, "vault: ok").await;
    works_on("back").await;
    let (status, made) = rest.post("/credentials", &json!({})).await;
    assert_eq!(status, 201, "{made}");
}

#[tokio::test]
async fn a_worker_that_starts_while_the_vault_is_away_serves_when_it_is_back() {
    let mut vault = Vault::start().await;
    let settings = vault.settings();
    let settings = pairs(&settings);
    vault.kill();
    let house = House::with(&settings).await;
    says(&house.services[3], "vault: away").await;
    let body = json!({"email": EMAIL, "password": e2e::person::PASSWORD});
    let (status, answer) = Rest::stranger(&house.gateway).post("/login", &body).await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (503, Some("ServiceUnavailable"))
    );
    // Whoever shows a key that cannot be compared is neither let in nor refused: the agent tries again.
    let fields = ["X-Message-API: 3.3"];
    let register = Agent::new("early").register(Some("right"));
    let body = e2e::bpickle::d([("messages", e2e::bpickle::l([register]))]).write();
    let (status, _) = house.way().post("/message-system", &fields, &body).await;
    assert_eq!(status, 503);
    assert_eq!(house.database.sql("select count(*) from computer"), "0");
    vault.up().await;
    says(&house.services[3], "vault: ok").await;
    assert_eq!(
        Rest::log_in(&house.gateway, EMAIL)
            .await
            .get("/computers")
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn a_login_that_comes_to_its_end_is_made_again() {
    let vault = Vault::start().await;
    let role = json!({"token_policies": "services", "token_ttl": "2s", "token_max_ttl": "2s"});
    let (status, answer) = vault.ask("POST", "auth/approle/role/services", &role).await;
    assert!((200..300).contains(&status), "{answer}");
    let settings = vault.settings();
    let mut settings = pairs(&settings);
    settings.push(("SECRET__CACHE", "1ms"));
    let house = House::with(&settings).await;
    let rest = house.rest().await;
    // Three lives of a login.
    for_a_while(Duration::from_secs(6)).await;
    vault.put("registration-key/standalone", "new").await;
    let mut agent = Agent::new("late");
    agent.set_up(&house.way(), Some("new")).await;
    let sql = "select accepted from computer where title = 'late'";
    assert_eq!(house.database.sql(sql), "t", "what was written now is read");
    assert_eq!(rest.get("/computers").await.0, 200);
    says(&house.services[3], "vault: ok").await;
}

#[tokio::test]
async fn a_secret_that_is_deleted_in_the_vault_is_not_there() {
    let vault = Vault::start().await;
    let settings = vault.settings();
    let mut settings = pairs(&settings);
    settings.push(("SECRET__CACHE", "1ms"));
    let house = House::with(&settings).await;
    let accepted = async |title: &str| {
        let mut agent = Agent::new(title);
        agent.set_up(&house.way(), Some("right")).await;
        let sql = format!("select accepted from computer where title = '{title}'");
        house.database.sql(&sql) == "t"
    };
    let words = ["registration-key", "right"];
    house.database.schema(&settings, &words, "");
    assert!(accepted("before").await);
    vault.delete("registration-key/standalone").await;
    assert!(!accepted("deleted").await);
    says(&house.services[2], "vault: ok").await;
    house.database.schema(&settings, &words, "");
    assert!(accepted("again").await);
    // What the services themselves forget is gone with all its versions.
    house
        .database
        .schema(&settings, &["registration-key", "--none"], "");
    assert_eq!(vault.secret("registration-key/standalone").await, None);
    assert!(!accepted("forgotten").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_wants_to_be_told_what_is_replaced_is_told_whatever_became_of_it() {
    let vault = Vault::start().await;
    vault.be_strict().await;
    let settings = vault.settings();
    let settings = pairs(&settings);
    let house = House::with(&settings).await;
    let key = AccessKey::of(&house.database, &settings, EMAIL);
    assert_eq!(key.call(&house.gateway, "GetComputers", &[]).await.0, 200);
    let rest = house.rest().await;
    let (status, made) = rest.post("/credentials", &json!({})).await;
    assert_eq!(status, 201, "{made}");
    assert!(vault.secret("token-signing").await.is_some());

    let name = "registration-key/standalone";
    let set = |database: &Database, key: &str| {
        database.schema(&settings, &["registration-key", key], "");
    };
    let written = async |key: &str, versions: u64| {
        set(&house.database, key);
        assert_eq!(vault.secret(name).await.as_deref(), Some(key));
        let version = vault.version(name).await;
        assert_eq!(version.unwrap_or(versions), versions, "{key}");
    };
    written("first", 1).await;
    written("in place of it", 2).await;
    vault.delete(name).await;
    assert_eq!(vault.secret(name).await, None);
    written("in place of what was deleted", 3).await;
    vault.destroy(name, 3).await;
    assert_eq!(vault.secret(name).await, None);
    written("in place of what was destroyed", 4).await;
    vault.forget(name).await;
    assert_eq!(vault.secret(name).await, None);
    written("where nothing is left to see", 1).await;

    // Two that know nothing of each other: neither is refused, and one comes after the other.
    let another = Database::fresh();
    let rounds = 10;
    for _ in 0..rounds {
        std::thread::scope(|scope| {
            scope.spawn(|| set(&house.database, "one"));
            scope.spawn(|| set(&another, "the other"));
        });
        let last = vault.secret(name).await.expect("both have written");
        assert!(["one", "the other"].contains(&&*last), "{last}");
    }
    let versions = 1 + 2 * rounds;
    let version = vault.version(name).await;
    assert_eq!(version.unwrap_or(versions), versions);
}

/// Of a token, seconds. It is renewed in the second half of it, also by a machine that stands still for a while.
const LIFE: u32 = 20;

#[tokio::test]
async fn a_token_is_renewed_as_long_as_it_may_be_and_its_end_is_told() {
    let vault = Vault::start().await;
    let ours = vault.settings();
    let ours = pairs(&ours);
    let by = |token: &str| {
        let login = ["SECRET__VAULT_ROLE_ID", "SECRET__VAULT_SECRET_ID_FILE"];
        let mut settings = ours.clone();
        settings.retain(|(key, _)| !login.contains(key));
        let mut settings: Vec<_> = settings
            .into_iter()
            .map(|(key, value)| (key, value.to_owned()))
            .collect();
        settings.push(("SECRET__VAULT_TOKEN", token.to_owned()));
        settings.push(("SECRET__CACHE", "1ms".to_owned()));
        settings
    };
    let database = Database::fresh();
    let renewed = vault.token(LIFE, true).await;
    let ends = vault.token(LIFE, false).await;
    let start = |token: &str| {
        let settings = by(token);
        Service::at("api", &database, free_range(1), &pairs(&settings))
    };
    let (renewed, ends) = (start(&renewed), start(&ends));
    let life = Duration::from_secs(LIFE.into());
    for_a_while(life).await;
    says(&ends, "vault: refuses us").await;
    if vault.renews().await {
        // One more life of the one that may be renewed.
        for_a_while(life).await;
        says(&renewed, "vault: ok").await;
        assert!(!renewed.log().contains("refuses us"), "{}", renewed.log());
    } else {
        says(&renewed, "vault: refuses us").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_is_spoken_to_over_tls_and_only_when_its_authority_is_ours() {
    let vault = Vault::start().await;
    let (ours, strangers) = (Authority::new("Ours"), Authority::new("Strangers"));
    let shown = ours.issue(&Leaf::server(&["127.0.0.1"]));
    let front = TlsFront::start(vault.port(), &shown, Front::default()).await;
    let dir = TempDir::new();
    let file = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).expect("a file");
        file.display().to_string()
    };
    let (ours, strangers) = (file("a.pem", &ours.pem), file("b.pem", &strangers.pem));
    let over = |host: &str, ca: &str| {
        let mut settings = vault.settings();
        settings.retain(|(key, _)| *key != "SECRET__VAULT_URL");
        let url = format!("https://{host}:{}", front.port());
        settings.push(("SECRET__VAULT_URL", url));
        settings.push(("SECRET__VAULT_CA", ca.to_owned()));
        settings
    };
    let settings = over("127.0.0.1", &ours);
    let house = House::with(&pairs(&settings)).await;
    let key = AccessKey::of(&house.database, &pairs(&settings), EMAIL);
    assert_eq!(
        vault.secret(&format!("api-key/{}", key.access)).await,
        Some(key.secret.clone())
    );
    assert_eq!(key.call(&house.gateway, "GetComputers", &[]).await.0, 200);
    says(&house.services[3], "vault: ok").await;
    assert!(!front.seen().is_empty());
    assert_eq!(front.failed(), [""; 0]);

    for (host, ca, told) in [
        (
            "127.0.0.1",
            &strangers,
            "`secret.vault_ca` does not name: put the certificate of the Vault's authority into that file",
        ),
        (
            "localhost",
            &ours,
            "name the Vault in `secret.vault_url` as its certificate does",
        ),
    ] {
        let settings = over(host, ca);
        let service = Service::at("api", &house.database, free_range(1), &pairs(&settings));
        says(&service, "vault: TLS: ").await;
        says(&service, told).await;
        assert!(service.log().contains(told), "{}", service.log());
        let mut raw = Raw::tcp(service.port()).await;
        let body = json!({"email": EMAIL, "password": e2e::person::PASSWORD}).to_string();
        let fields = ["Content-Type: application/json"];
        let reply = raw.ask("POST", "/api/v2/login", &fields, body.as_bytes());
        assert_eq!(reply.await.status(), 503);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_replaced_is_trusted_without_a_new_start() {
    let vault = Vault::start().await;
    let (before, now) = (Authority::new("Before"), Authority::new("Now"));
    let shown = now.issue(&Leaf::server(&["127.0.0.1"]));
    let front = TlsFront::start(vault.port(), &shown, Front::default()).await;
    let dir = TempDir::new();
    let replace = |text: &str| {
        let fresh = dir.write("fresh", text);
        std::fs::rename(fresh, dir.path().join("ca.pem")).expect("our own directory");
    };
    replace(&before.pem);
    let mut settings = vault.settings();
    settings.retain(|(key, _)| *key != "SECRET__VAULT_URL");
    let url = format!("https://127.0.0.1:{}", front.port());
    settings.push(("SECRET__VAULT_URL", url));
    let ca = dir.path().join("ca.pem").display().to_string();
    settings.push(("SECRET__VAULT_CA", ca));
    let database = Database::fresh();
    let service = Service::at("api", &database, free_range(1), &pairs(&settings));
    says(&service, "vault: TLS: ").await;
    replace(&now.pem);
    says(&service, "vault: ok").await;
    // Half of one takes the place of nothing.
    replace(&now.pem[..now.pem.len() / 2]);
    eventually("it is told", || async {
        let log = service.log();
        log.contains("those before serve on").then_some(())
    })
    .await;
    says(&service, "vault: ok").await;
}

#[tokio::test]
async fn a_token_that_is_replaced_in_its_file_is_taken_before_the_old_one_ends() {
    let vault = Vault::start().await;
    let dir = TempDir::new();
    let replace = |token: &str| {
        let fresh = dir.write("fresh", token);
        std::fs::rename(fresh, dir.path().join("token")).expect("our own directory");
    };
    // It ends after what two waits may last, and nobody can renew it.
    let life = patience() * 2;
    let seconds = u32::try_from(life.as_secs()).expect("not for ever");
    let old = vault.token(seconds, false).await;
    replace(&old);
    let mut settings = vault.settings();
    let login = ["SECRET__VAULT_ROLE_ID", "SECRET__VAULT_SECRET_ID_FILE"];
    settings.retain(|(key, _)| !login.contains(key));
    let file = dir.path().join("token").display().to_string();
    settings.push(("SECRET__VAULT_TOKEN_FILE", file));
    settings.push(("SECRET__CACHE", "1ms".to_owned()));
    let database = Database::fresh();
    let service = Service::at(
        "message-server",
        &database,
        free_range(1),
        &pairs(&settings),
    );
    says(&service, "vault: ok").await;
    replace(&vault.token(3600, false).await);
    eventually("the new one is taken", || async {
        let log = service.log();
        log.contains("logged in to the Vault anew").then_some(())
    })
    .await;
    assert!(vault.knows(&old).await, "the new one was taken before");
    for_a_while(life).await;
    eventually("the old one has ended", || async {
        (!vault.knows(&old).await).then_some(())
    })
    .await;
    vault.put("registration-key/standalone", "right").await;
    let way = Way::Port(service.port());
    Agent::new("after").set_up(&way, Some("right")).await;
    let sql = "select accepted from computer where title = 'after'";
    assert_eq!(database.sql(sql), "t", "what is written now is read");
    says(&service, "vault: ok").await;
    assert!(!service.log().contains("refuses us"), "{}", service.log());
}

#[tokio::test]
async fn a_vault_elsewhere_without_tls_is_warned_of() {
    let vault = Vault::start().await;
    let settings = vault.settings();
    let settings = pairs(&settings);
    let database = Database::fresh();
    let warning = "cross the network readable";
    let service = Service::at("api", &database, free_range(1), &settings);
    says(&service, "vault: ok").await;
    assert!(!service.log().contains(warning), "{}", service.log());
    // Not an address of this machine alone, though it leads there.
    let url = format!("http://0.0.0.0:{}", vault.port());
    let mut settings = settings;
    settings.retain(|(key, _)| *key != "SECRET__VAULT_URL");
    settings.push(("SECRET__VAULT_URL", &url));
    let service = Service::at("api", &database, free_range(1), &settings);
    assert!(service.log().contains(warning), "{}", service.log());
    says(&service, "vault: ok").await;
}
