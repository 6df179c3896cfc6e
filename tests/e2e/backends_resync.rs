//! What a computer tells only as it changes: is it right again when the computer begins anew?

use e2e::bpickle::{Pickle, d, i, l, t, u};
use e2e::{Agent, Database, House, Raw, Service, Way};
use serde_json::json;

fn user(name: &str, uid: i64) -> Pickle {
    d([
        ("enabled", Pickle::Bool(true)),
        ("name", u(name)),
        ("primary-gid", i(uid + 50)),
        ("uid", i(uid)),
        ("username", u(name)),
    ])
}

fn group(name: &str, gid: i64) -> Pickle {
    d([("gid", i(gid)), ("name", u(name))])
}

fn names(of: &[&str]) -> Pickle {
    Pickle::List(of.iter().map(|name| u(name)).collect())
}

fn users(fields: Vec<(&str, Pickle)>) -> Pickle {
    let mut entries: Vec<_> = fields
        .into_iter()
        .map(|(key, value)| (u(key), value))
        .collect();
    entries.push((u("type"), u("users")));
    Pickle::Dict(entries)
}

fn mounts(points: &[&str]) -> Pickle {
    let mount = |point: &&str| {
        let mount = d([
            ("device", u("/dev/vda")),
            ("filesystem", u("ext4")),
            ("mount-point", u(point)),
            ("total-space", i(1000)),
        ]);
        t([i(1_795_406_100), mount])
    };
    let list = points.iter().map(mount).collect();
    d([
        ("mount-info", Pickle::List(list)),
        ("type", u("mount-info")),
    ])
}

fn annotations(told: &[(&str, &str)]) -> Pickle {
    let entries = told
        .iter()
        .map(|(name, value)| (u(name), u(value)))
        .collect();
    d([
        ("annotations", Pickle::Dict(entries)),
        ("type", u("computer-info")),
    ])
}

/// Everything that is told only as it changes.
fn all() -> [Pickle; 5] {
    [
        users(vec![
            ("create-users", l([user("ada", 1000), user("bob", 1001)])),
            ("create-groups", l([group("staff", 50), group("wheel", 51)])),
            (
                "create-group-members",
                d([
                    ("staff", names(&["ada", "bob"])),
                    ("wheel", names(&["bob"])),
                ]),
            ),
        ]),
        mounts(&["/", "/srv"]),
        annotations(&[("rack", "7")]),
        d([("installed", l([t([i(1), i(9)])])), ("type", u("packages"))]),
        d([
            ("free-space", l([t([i(1_795_406_100), u("/srv"), i(9)])])),
            ("type", u("free-space")),
        ]),
    ]
}

const USERS: &str =
    "select string_agg(username || ' ' || uid, ', ' order by username) from system_user";
const PRIMARY: &str =
    "select string_agg(username || ' ' || primary_gid, ', ' order by username) from system_user";
const GROUPS: &str = "select string_agg(name || ' ' || gid, ', ' order by name) from system_group";
const MEMBERS: &str = "select string_agg(group_name || ' ' || username, ', ' order by group_name, username) \
                       from system_group_member";
const MOUNTS: &str = "select string_agg(mount_point, ' ' order by mount_point) from mount";
const NOTES: &str = "select string_agg(name, ' ' order by name) from computer_annotation";
const PACKAGES: &str = "select installed from computer_packages";

async fn told(agent: &mut Agent, way: &Way<'_>, messages: impl IntoIterator<Item = Pickle>) {
    for message in messages {
        agent.report(message);
    }
    agent.exchange(way).await.expect("an exchange");
    assert!(agent.pending.is_empty());
}

fn check(database: &Database, rows: &[(&str, &str)]) {
    for (sql, want) in rows {
        assert_eq!(database.sql(sql), *want, "{sql}");
    }
    assert_eq!(database.sql("select refused_messages from exchange"), "0");
}

#[tokio::test]
async fn what_goes_away_among_users_and_groups_goes_away_here() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "users").await;
    told(&mut agent, &way, all()).await;
    let everybody = [
        (USERS, "ada 1000, bob 1001"),
        (PRIMARY, "ada 1050, bob 1051"),
        (GROUPS, "staff 50, wheel 51"),
        (MEMBERS, "staff ada, staff bob, wheel bob"),
    ];
    check(&database, &everybody);
    // One leaves a group, and somebody else comes in, in one message.
    let moved = users(vec![
        ("create-group-members", d([("wheel", names(&["ada"]))])),
        ("delete-group-members", d([("staff", names(&["bob"]))])),
        ("update-groups", l([group("wheel", 60)])),
        ("update-users", l([user("ada", 2000)])),
    ]);
    told(&mut agent, &way, [moved]).await;
    let now = [
        (USERS, "ada 2000, bob 1001"),
        (PRIMARY, "ada 2050, bob 1051"),
        (GROUPS, "staff 50, wheel 60"),
        (MEMBERS, "staff ada, wheel ada, wheel bob"),
    ];
    check(&database, &now);
    // A group goes with its members, a user out of every group.
    told(
        &mut agent,
        &way,
        [users(vec![("delete-groups", names(&["staff"]))])],
    )
    .await;
    let now = [(GROUPS, "wheel 60"), (MEMBERS, "wheel ada, wheel bob")];
    check(&database, &now);
    told(
        &mut agent,
        &way,
        [users(vec![("delete-users", names(&["bob", "nobody"]))])],
    )
    .await;
    let now = [
        (USERS, "ada 2000"),
        (GROUPS, "wheel 60"),
        (MEMBERS, "wheel ada"),
    ];
    check(&database, &now);
    // One that is made anew under the name of one that goes is there.
    let anew = users(vec![
        ("create-users", l([user("ada", 3000)])),
        ("delete-users", names(&["ada"])),
    ]);
    told(&mut agent, &way, [anew]).await;
    check(&database, &[(USERS, "ada 3000"), (MEMBERS, "")]);
}

#[tokio::test]
async fn a_row_that_does_not_fit_takes_no_other_along_and_nothing_is_asked_for_again() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "rows").await;
    let long = format!("/{}", "x".repeat(255));
    let free = |point: &str| t([i(1_795_406_100), u(point), i(9)]);
    let messages = [
        users(vec![
            ("create-users", l([user(&long, 1), user("ada", 1000)])),
            ("create-groups", l([group("staff", 50), group(&long, 51)])),
            (
                "create-group-members",
                d([("staff", names(&[&long, "ada"])), (&long, names(&["ada"]))]),
            ),
        ]),
        mounts(&[&long, "/", "/srv"]),
        annotations(&[("rack", "7"), (&long, "8")]),
        d([
            ("free-space", l([free(&long), free("/srv")])),
            ("type", u("free-space")),
        ]),
        d([
            ("installed", l([i(-1), t([i(1), i(9)])])),
            ("type", u("packages")),
        ]),
    ];
    let there = [
        (USERS, "ada 1000"),
        (GROUPS, "staff 50"),
        (MEMBERS, "staff ada"),
        (MOUNTS, "/ /srv"),
        (NOTES, "rack"),
        (PACKAGES, "{[1,10)}"),
        ("select mount_point from free_space_sample", "/srv"),
        ("select count(*) from activity", "0"),
    ];
    for begin_anew in [false, true] {
        let anew = begin_anew.then(|| d([("type", u("resynchronize"))]));
        told(&mut agent, &way, anew.into_iter().chain(messages.clone())).await;
        check(&database, &there);
    }
    let metrics = Raw::tcp(service.port()).await.get("/metrics").await.text();
    assert!(
        metrics.contains("backends_rows_left_out_total 16"),
        "{metrics}"
    );
    let log = service.log();
    assert!(log.contains("stored without rows that do not fit"), "{log}");
    // Where no row fits it is another kind of report: nothing is replaced, and it is asked for.
    agent.report(mounts(&[&long]));
    let said = agent.exchange(&way).await.expect("an exchange");
    assert_eq!(said[0].at("scopes"), Some(&l([u("disk")])));
    assert_eq!(database.sql(MOUNTS), "/ /srv");
}

#[tokio::test]
async fn a_computer_that_begins_anew_leaves_nothing_behind_that_is_gone() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "anew").await;
    let other = Agent::accepted(&database, &way, "other").await;
    told(&mut agent, &way, all()).await;
    // People noted something, too, and another computer has its own.
    database.sql(
        "insert into computer_annotation (computer_id, name, value) \
             select id, 'owner', 'us' from computer where title = 'anew'; \
         insert into system_user (computer_id, username, uid, enabled) \
             select id, 'eve', 1, true from computer where title = 'other'",
    );
    assert!(other.secure.is_some());
    let anew = [
        d([("type", u("resynchronize"))]),
        users(vec![
            ("create-users", l([user("ada", 1000)])),
            ("create-groups", l([group("staff", 50)])),
            ("create-group-members", d([("staff", names(&["ada"]))])),
        ]),
        mounts(&["/"]),
        d([("installed", l([i(7)])), ("type", u("packages"))]),
    ];
    told(&mut agent, &way, anew).await;
    let now = [
        (USERS, "ada 1000, eve 1"),
        (GROUPS, "staff 50"),
        (MEMBERS, "staff ada"),
        (MOUNTS, "/"),
        (NOTES, "owner"),
        (PACKAGES, "{[7,8)}"),
        // What was measured is history, and stays.
        ("select mount_point from free_space_sample", "/srv"),
    ];
    for (sql, want) in now {
        assert_eq!(database.sql(sql), want, "{sql}");
    }
}

#[tokio::test]
async fn an_order_to_report_again_makes_void_what_it_asks_for_and_nothing_else() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "scopes").await;
    told(&mut agent, &way, all()).await;
    let full = [
        (USERS, "ada 1000, bob 1001"),
        (MOUNTS, "/ /srv"),
        (NOTES, "rack"),
        (PACKAGES, "{[1,10)}"),
    ];
    for (scopes, gone) in [
        ("du6:scopeslu7:network;;", None),
        ("du6:scopeslu5:users;;", Some(USERS)),
        ("du6:scopeslu4:disk;;", Some(MOUNTS)),
        ("du6:scopeslu8:computer;;", Some(NOTES)),
        ("du6:scopeslu7:package;;", Some(PACKAGES)),
    ] {
        told(&mut agent, &way, all()).await;
        check(&database, &full);
        let answer = ordered(&database, &mut agent, &way, scopes).await;
        told(&mut agent, &way, [answer]).await;
        for (sql, before) in full {
            let empty = if sql == PACKAGES { "{}" } else { "" };
            let want = if gone == Some(sql) { empty } else { before };
            assert_eq!(database.sql(sql), want, "{scopes} {sql}");
        }
    }
    // Without scopes it is everything, also where people called the order off after it was delivered.
    told(&mut agent, &way, all()).await;
    let answer = ordered(&database, &mut agent, &way, "d;").await;
    database.sql("update activity set status = 'canceled' where status = 'delivered'");
    told(&mut agent, &way, [answer]).await;
    let nothing = [
        (USERS, ""),
        (GROUPS, ""),
        (MEMBERS, ""),
        (MOUNTS, ""),
        (NOTES, ""),
    ];
    check(&database, &nothing);
    // A number that is no such order, or another computer's, makes nothing void.
    told(&mut agent, &way, all()).await;
    database.sql(
        "insert into activity (computer_id, type, summary, fields, status, delivered_at) \
         select id, 'execute-script', 'x', 'd;', 'delivered', now() from computer",
    );
    let script = database
        .sql("select max(id) from activity")
        .parse()
        .expect("a number");
    for operation in [script, 1_000_000] {
        told(&mut agent, &way, [again(operation)]).await;
    }
    check(&database, &full);
}

fn again(operation: i64) -> Pickle {
    d([("operation-id", i(operation)), ("type", u("resynchronize"))])
}

/// Orders the agent to report again, and has it fetch the order. Its answer.
async fn ordered(database: &Database, agent: &mut Agent, way: &Way<'_>, fields: &str) -> Pickle {
    database.sql(&format!(
        "insert into activity (computer_id, type, summary, fields) \
         select id, 'resynchronize', 'x', '{fields}' from computer"
    ));
    let said = agent.exchange(way).await.expect("an exchange");
    assert_eq!(said.len(), 1, "{said:?}");
    again(said[0].at("operation-id").expect("a number").int())
}

#[tokio::test]
async fn what_is_told_whole_replaces_what_was_known_and_what_people_noted_stays() {
    let database = Database::fresh();
    let service = Service::start("message-server", &database);
    let way = Way::Port(service.port());
    let mut agent = Agent::accepted(&database, &way, "whole").await;
    let system = |fields: Vec<(&str, &str)>| {
        let mut entries: Vec<_> = fields
            .iter()
            .map(|(key, value)| (u(key), u(value)))
            .collect();
        entries.push((u("type"), u("distribution-info")));
        Pickle::Dict(entries)
    };
    let old = system(vec![
        ("code-name", "bookworm"),
        ("description", "Debian 12"),
        ("distributor-id", "Debian"),
        ("release", "12"),
    ]);
    told(
        &mut agent,
        &way,
        [old, annotations(&[("rack", "7"), ("row", "b")])],
    )
    .await;
    database.sql(
        "insert into computer_annotation (computer_id, name, value) \
         select id, 'owner', 'us' from computer",
    );
    // What people said under a name is not replaced by an agent, nor taken away.
    told(
        &mut agent,
        &way,
        [annotations(&[("owner", "me"), ("rack", "7")])],
    )
    .await;
    // The next one has no number before it is released.
    let new = system(vec![
        ("description", "Debian testing"),
        ("distributor-id", "Debian"),
    ]);
    told(&mut agent, &way, [new, annotations(&[("rack", "8")])]).await;
    let row = "select distributor, distribution, release, code_name from computer";
    assert_eq!(database.sql(row), "Debian|Debian testing||");
    let notes = "select name, value from computer_annotation order by name";
    assert_eq!(database.sql(notes), "owner|us\nrack|8");
}

#[tokio::test]
async fn a_computer_that_takes_the_place_of_another_is_told_to_report_everything() {
    let house = House::start().await;
    let (database, way) = (&house.database, house.way());
    let (mut before, known) = house.computer("before").await;
    told(&mut before, &way, all()).await;
    let mut after = Agent::new("after");
    after.set_up(&way, None).await;
    after.exchange(&way).await.expect("it waits");
    let waiting = database.sql("select id from computer where not accepted");
    let id: i64 = waiting.parse().expect("a number");
    let body = json!({"computer_ids": [id], "existing_ids": {waiting: known}});
    let (status, answer) = house
        .rest()
        .await
        .post("/pending-computers/accept", &body)
        .await;
    assert_eq!(status, 200, "{answer}");
    // Until it tells, the place has what was known.
    let is = |one: &&Pickle| one.at("type") == Some(&u("resynchronize"));
    // At first what it may tell. Its parts do so at once, and with the order in the same answer that would be thrown away,
    // while they believe that it was told.
    let said = after.exchange(&way).await.expect("an exchange");
    assert!(said.iter().find(is).is_none(), "{said:?}");
    let said = after.exchange(&way).await.expect("an exchange");
    let order = said.iter().find(is);
    let order = order.expect("it is told to").at("operation-id");
    let order = order.expect("a number").int();
    check(
        database,
        &[(USERS, "ada 1000, bob 1001"), (MOUNTS, "/ /srv")],
    );
    told(&mut after, &way, [again(order), mounts(&["/new"])]).await;
    check(database, &[(USERS, ""), (MOUNTS, "/new"), (PACKAGES, "{}")]);
}
