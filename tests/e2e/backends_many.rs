//! Does what is asked of the services cost what is answered, however much there is beside it? Rows that the database
//! fetched are counted, not time.

use std::path::Path;

use e2e::bpickle::{Pickle, d, i, l, t, u};
use e2e::house::network;
use e2e::person::{AccessKey, EMAIL};
use e2e::{Browser, Database, House, Raw, Rest, Service, eventually, free_range};
use serde_json::{Value, json};

use crate::backends_api::Described;

/// From now on the database counts anew what is fetched. It knows by then what everybody sees, so that an index may answer
/// alone; a session of a worker can be in the way of that for a moment.
async fn count_anew(house: &House) {
    let database = &house.database;
    eventually("what is there is seen by all", || async {
        database.sql("vacuum analyze");
        let sql = "select bool_and(relallvisible = relpages) from pg_class \
                   where relname in ('activity', 'computer', 'network_traffic')";
        (database.sql(sql) == "t").then_some(())
    })
    .await;
    database.sql("select pg_stat_reset()");
}

/// Rows of a table that were fetched, one by one or by a look at all of them. The services end first: what their
/// sessions counted is told with their end at the latest.
async fn fetched(house: &mut House, table: &str) -> i64 {
    for service in &mut house.services {
        service.stop();
    }
    let database = &house.database;
    eventually("their sessions are over", || async {
        let sql = "select count(*) from pg_stat_activity \
                   where application_name = 'backends' and datname = current_database()";
        (database.sql(sql) == "0").then_some(())
    })
    .await;
    let sql = format!(
        "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relname = '{table}'"
    );
    database.sql(&sql).parse().expect("a number")
}

/// A hundred orders to three hundred computers each, and few of another account, the oldest and the latest of all.
const ORDERS: &str = "\
    insert into computer (account_id, accepted, title, hostname) \
        select 1, true, 'c' || n, 'h' from generate_series(1, 300) n; \
    insert into computer (account_id, accepted, title, hostname) \
        select id, true, 'theirs', 'h' from account where name = 'acme'; \
    insert into activity (computer_id, type, summary, fields, status) \
        select id, 'shutdown', 'hers', 'd;', 'succeeded' from computer where title = 'theirs'; \
    insert into activity (type, summary, fields, status, creator_id) \
        select 'group', 'order' || n, 'd;', 'group', person.id \
        from generate_series(1, 100) n, person where email = 'ada@edge.test'; \
    insert into activity (computer_id, parent_id, type, summary, result_text, status) \
        select computer.id, one.id, 'shutdown', one.summary, repeat('said ', 60), \
            case when computer.title = 'c7' then 'failed' else 'succeeded' end \
        from activity one, computer where one.type = 'group' and computer.account_id = 1 \
        order by one.id, computer.id; \
    insert into activity (computer_id, type, summary, fields, status) \
        select id, 'shutdown', 'hers', 'd;', 'succeeded' from computer where title = 'theirs'";

#[tokio::test]
async fn a_list_of_activities_costs_what_it_shows_however_many_there_are() {
    let mut house = House::start().await;
    house.database.schema(&[], &["account", "acme"], "");
    let eve = "eve@edge.test";
    house.database.person_of("acme", eve, "administrator");
    house.database.sql(ORDERS);
    let key = AccessKey::of(&house.database, &house.settings(), EMAIL);
    let (rest, hers) = (house.rest().await, Rest::log_in(&house.gateway, eve).await);
    let browser = house.browser().await;
    let her_browser = Browser::sign_in(&house.gateway, eve).await;
    let group = house
        .database
        .sql("select max(id) from activity where type = 'group'");
    let computer = house
        .database
        .sql("select id from computer where title = 'c7'");
    count_anew(&house).await;

    for (path, rows, more) in [
        ("/activities".to_owned(), 100, true),
        ("/activities?from=200".to_owned(), 100, true),
        ("/activities?status=failed".to_owned(), 100, true),
        ("/activities?status=scheduled".to_owned(), 0, false),
        (format!("/activities?computer={computer}"), 100, false),
        (format!("/activities/{group}"), 100, true),
        ("/activities?text=ORDER50".to_owned(), 100, true),
        (
            "/activities?text=order50&status=failed".to_owned(),
            2,
            false,
        ),
        ("/activities?text=hers".to_owned(), 0, false),
    ] {
        let page = browser.get(&path).await.text();
        let shown = page.matches("<td class=\"name\">").count();
        assert_eq!(
            (shown, page.contains("rel=\"next\"")),
            (rows, more),
            "{path}"
        );
    }
    let page = her_browser.get("/activities").await.text();
    assert_eq!(page.matches("<td class=\"name\">").count(), 2, "{page}");
    for (path, count, shown) in [
        ("/activities?limit=50".to_owned(), 30_100, 50),
        (
            "/activities?limit=50&query=status:failed".to_owned(),
            200,
            50,
        ),
        (
            "/activities?limit=50&query=status:unapproved".to_owned(),
            0,
            0,
        ),
        ("/activities?limit=50&query=der50".to_owned(), 301, 50),
        ("/activities/parents?limit=50".to_owned(), 100, 50),
        (
            format!("/activities?limit=50&query=parent-id:{group}"),
            300,
            50,
        ),
        (
            format!("/activities?limit=50&query=computer:{computer}%20status:failed"),
            100,
            50,
        ),
    ] {
        let (status, page) = rest.get(&path).await;
        assert_eq!((status, &page["count"]), (200, &json!(count)), "{path}");
        assert_eq!(
            page["results"].as_array().map(Vec::len),
            Some(shown),
            "{path}"
        );
    }
    let (_, page) = hers.get("/activities").await;
    assert_eq!(page["count"], 2, "{page}");
    let (_, list) = key
        .call(&house.gateway, "GetActivities", &[("limit", "50")])
        .await;
    assert_eq!(list.as_array().map(Vec::len), Some(50));

    // A page fetches a row twice at most: to find it, and to show it. There are 30,102.
    let rows = fetched(&mut house, "activity").await;
    assert!(rows < 5_000, "{rows} rows were fetched");
}

#[tokio::test]
async fn a_word_is_found_wherever_it_stands_in_what_was_ordered() {
    let house = House::start().await;
    let rest = house.rest().await;
    house.database.sql(
        "insert into computer (account_id, accepted, title, hostname) values (1, true, 'c', 'h'); \
         insert into activity (computer_id, type, summary, fields) \
             select id, 'shutdown', repeat('é', n) || ' needle ' || n, 'd;' \
             from computer, unnest(array[0, 192, 193, 199, 200, 300]) n; \
         insert into activity (computer_id, type, summary, fields) \
             select id, 'shutdown', repeat('é', 300) || ' hay', 'd;' from computer",
    );
    for (word, count) in [
        ("NEEDLE", 6),
        ("needle%20300", 1),
        ("hay", 1),
        ("ee", 6),
        ("neet", 0),
    ] {
        for query in [
            word.to_owned(),
            format!("{word}%20status:undelivered"),
            format!("{word}%20computer:1"),
        ] {
            let (status, page) = rest.get(&format!("/activities?query={query}")).await;
            assert_eq!(
                (status, &page["count"]),
                (200, &json!(count)),
                "{query}: {page}"
            );
            let (_, page) = rest
                .get(&format!("/activities?limit=1&query={query}"))
                .await;
            assert_eq!(page["count"], count, "{query}: {page}");
        }
    }
}

#[tokio::test]
async fn a_groups_status_is_found_by_it_however_its_children_stand() {
    let house = House::start().await;
    let rest = house.rest().await;
    house.database.sql(
        "insert into computer (account_id, accepted, title, hostname) \
             select 1, true, 'c' || n, 'h' from generate_series(1, 2) n",
    );
    let states = [
        "undelivered",
        "delivered",
        "succeeded",
        "failed",
        "canceled",
    ];
    let of = |a: &str, b: &str| match (a, b) {
        ("undelivered", "undelivered") => "undelivered",
        (a, b)
            if [a, b]
                .iter()
                .any(|one| ["undelivered", "delivered"].contains(one)) =>
        {
            "delivered"
        }
        (a, b) if [a, b].contains(&"failed") => "failed",
        ("canceled", "canceled") => "canceled",
        _ => "succeeded",
    };
    let mut expected = vec![
        ("scheduled", "later".to_owned()),
        ("succeeded", "of nobody".to_owned()),
    ];
    for a in states {
        for b in states {
            let summary = format!("{a} {b}");
            house.database.sql(&format!(
                "with one as (insert into activity (type, summary, fields, status, creator_id) \
                     select 'group', '{summary}', 'd;', 'group', id from person returning id) \
                 insert into activity (computer_id, parent_id, type, summary, status) \
                 select computer.id, one.id, 'shutdown', 'x', \
                     case title when 'c1' then '{a}' else '{b}' end from computer, one"
            ));
            expected.push((of(a, b), summary));
        }
    }
    house.database.sql(
        "insert into activity (type, summary, fields, status, creator_id) \
             select 'group', 'of nobody', 'd;', 'group', id from person; \
         with one as (insert into activity (type, summary, fields, status, creator_id, deliver_after) \
             select 'group', 'later', 'd;', 'group', id, now() + interval '1 hour' from person \
             returning id) \
         insert into activity (computer_id, parent_id, type, summary, deliver_after) \
         select computer.id, one.id, 'shutdown', 'x', now() + interval '1 hour' from computer, one",
    );
    let (_, all) = rest.get("/activities/parents").await;
    for status in ["scheduled"].into_iter().chain(states) {
        let mut wanted: Vec<&str> = expected
            .iter()
            .filter(|(of, _)| *of == status)
            .map(|(_, summary)| summary.as_str())
            .collect();
        wanted.sort_unstable();
        let path = format!("/activities/parents?query=status:{status}");
        let (_, found) = rest.get(&path).await;
        let shown = all["results"].as_array().expect("a list").iter();
        let shown = json!({"results": shown
            .filter(|one| one["activity_status"] == status)
            .collect::<Vec<_>>()});
        for list in [&found, &shown] {
            let results = list["results"].as_array().expect("a list").iter();
            let mut summaries: Vec<&str> =
                results.filter_map(|one| one["summary"].as_str()).collect();
            summaries.sort_unstable();
            assert_eq!(summaries, wanted, "{status}");
        }
        assert_eq!(found["count"], json!(wanted.len()), "{status}");
    }
    // No group is of a computer or of a group.
    for of in ["computer:1", "parent-id:1"] {
        let path = format!("/activities/parents?query=status:failed%20{of}");
        let (status, found) = rest.get(&path).await;
        assert_eq!((status, &found["count"]), (200, &json!(0)), "{of}: {found}");
    }
}

#[tokio::test]
async fn a_long_script_is_kept_once_for_all_that_run_it() {
    const COMPUTERS: i64 = 301;
    let mut house = House::start().await;
    let described = Described::by(&house).await;
    let rest = house.rest().await;
    let (mut agent, id) = house.computer("web-1").await;
    house.database.sql(
        "insert into computer (account_id, accepted, title, hostname) \
             select 1, true, 'web-x' || n, 'h' from generate_series(1, 300) n; \
         update outbox_relay set seen_at = now(); delete from outbox",
    );
    count_anew(&house).await;
    let code = format!("echo {}\n", "x".repeat(300 * 1024));
    let script = json!({"title": "Long", "code": format!("#!/bin/sh\n{code}"), "username": "root",
                        "time_limit": 60});
    let (_, script) = described.post(&rest, "/scripts", &script).await;
    let path = format!("/scripts/{}/execute", script["id"]);
    let (status, group) = described.post(&rest, &path, &json!({"query": "web"})).await;
    assert_eq!(status, 200, "{group}");
    let body = json!({"activity_ids": [group["id"]]});
    let (status, again) = described.post(&rest, "/activities/reapply", &body).await;
    assert_eq!(status, 200, "{again}");
    let stored = "select type, count(*), count(fields), sum(octet_length(fields)) / 300000 \
                  from activity group by type order by type";
    let children = 2 * COMPUTERS;
    assert_eq!(
        house.database.sql(stored),
        format!("execute-script|{children}|0|\ngroup|2|2|2")
    );
    let notes =
        "select count(*), count(distinct subject) from outbox where topic = 'activity.ordered'";
    assert_eq!(house.database.sql(notes), format!("{children}|{COMPUTERS}"));

    // One of them alone again, of the group that is one already.
    let sql = format!("select max(id) from activity where computer_id = {id}");
    let child: i64 = house.database.sql(&sql).parse().expect("a number");
    let body = json!({"activity_ids": [child]});
    let (status, answer) = described.post(&rest, "/activities/reapply", &body).await;
    assert_eq!((status, &answer["count"]), (200, &json!(1)), "{answer}");
    let orders = agent.exchange(&house.way()).await.expect("an exchange");
    let codes = orders
        .iter()
        .filter(|order| order.at("type") == Some(&u("execute-script")));
    let codes: Vec<&str> = codes
        .map(|order| order.at("code").expect("code").text())
        .collect();
    assert_eq!(codes.len(), 3);
    assert!(codes.iter().all(|told| *told == code));

    // Whether a relay lives is looked at for an order, not for each of its computers.
    let looks = fetched(&mut house, "outbox_relay").await;
    assert!(looks < 50, "{looks} looks");
}

#[tokio::test]
async fn removing_computers_costs_what_they_leave_behind() {
    // Nobody else looks through computers meanwhile.
    let mut house = House::with(&[("PINGSERVER__REFRESH", "1h")]).await;
    let rest = house.rest().await;
    house.database.sql(
        "insert into computer (account_id, accepted, title, hostname) \
             select 1, true, 'c' || n, 'h' from generate_series(1, 3000) n; \
         update outbox_relay set seen_at = now(); delete from outbox",
    );
    count_anew(&house).await;
    let ids = house
        .database
        .sql("select string_agg(id::text, ',') from computer where id % 10 = 0");
    let ids: Vec<i64> = ids
        .split(',')
        .map(|id| id.parse().expect("a number"))
        .collect();
    let (status, answer) = rest
        .post("/computers:delete", &json!({"computer_ids": ids}))
        .await;
    assert_eq!((status, answer), (204, Value::Null));
    let told = "select count(distinct subject) from outbox where topic = 'computer.removed'";
    assert_eq!(house.database.sql(told), ids.len().to_string());
    let rows = fetched(&mut house, "computer").await;
    // To look through all for each that goes would be 900,000.
    assert!(rows < 100_000, "{rows} rows were fetched");
    let sql = "select seq_scan from pg_stat_user_tables where relname = 'outbox_relay'";
    let looks: i64 = house.database.sql(sql).parse().expect("a number");
    assert!(looks < 50, "{looks} looks");
}

/// What grows with time and does not go with its computer, and how a row of it is written of `id` at `at`.
const MEASURED: [(&str, &str, &str); 5] = [
    ("free_space_sample", "", "'/', at, 1"),
    ("load_sample", "", "at, 1"),
    ("memory_sample", "", "at, 1, 1"),
    (
        "network_interface_history",
        "(computer_id, name, mac_address, flags, since, until, gone)",
        "'eth0', 'm', 1, at, at, false",
    ),
    ("network_traffic", "", "'eth0', at, 1, 1"),
];
/// Rows of each that a computer has then.
const ROWS: i64 = 1600;

/// Computers with these titles that have measured for a while.
fn measured(database: &Database, titles: &[&str]) {
    for title in titles {
        database.sql(&format!(
            "insert into computer (account_id, accepted, title, hostname) values (1, true, '{title}', 'h')"
        ));
    }
    for (table, columns, values) in MEASURED {
        database.sql(&format!(
            "insert into {table} {columns} select computer.id, {values} from computer, \
                 (select now() - n * interval '5 minutes' as at from generate_series(1, {ROWS}) n) n"
        ));
    }
}

/// How many rows there are of each.
fn left(database: &Database) -> Vec<i64> {
    let counts = MEASURED.map(|(table, ..)| format!("(select count(*) from {table})"));
    let counts = database.sql(&format!("select {}", counts.join(", ")));
    let counts = counts.split('|');
    counts
        .map(|count| count.parse().expect("a number"))
        .collect()
}

async fn to_be_swept(service: &Service) -> String {
    let told = Raw::tcp(service.port()).await.get("/metrics").await.text();
    let told = told
        .lines()
        .find_map(|line| line.strip_prefix("backends_sweep_waiting "));
    told.expect("it is told").to_owned()
}

#[tokio::test]
async fn computers_are_gone_at_once_and_what_they_measured_by_and_by() {
    // A broker that is not there: who sweeps needs none.
    let nobody = "amqp://guest:guest@127.0.0.1:1/x";
    let settings = [
        ("BROKER__URL", nobody),
        ("BROKER__HOSTAGENT_URL", nobody),
        ("STORE__STATEMENT_TIMEOUT", "3s"),
    ];
    let house = House::with(&settings).await;
    let (rest, browser) = (house.rest().await, house.browser().await);
    let database = &house.database;
    measured(database, &["first", "second", "stays"]);
    // Some rows cost milliseconds, so that all of them at once take longer than a statement may, and a portion much less.
    database.sql(
        "create function slowly() returns trigger language plpgsql as \
             $$ begin \
                 perform pg_sleep(0.02) where floor(extract(epoch from old.at) / 300) % 20 = 0; \
                 return old; \
             end $$; \
         create trigger slowly before delete on network_traffic \
             for each row execute function slowly()",
    );
    let id = |title: &str| -> i64 {
        let sql = format!("select id from computer where title = '{title}'");
        database.sql(&sql).parse().expect("a number")
    };
    let (first, second) = (id("first"), id("second"));
    let body = json!({"computer_ids": [first, second]});
    let answer = rest.post("/computers:delete", &body).await;
    assert_eq!(answer, (204, Value::Null));
    for id in [first, second] {
        let (status, _) = rest.get(&format!("/computers/{id}")).await;
        assert_eq!(status, 404);
        for page in ["", "/interfaces"] {
            let page = browser.get(&format!("/computers/{id}{page}")).await;
            assert_eq!(page.status(), 404);
        }
    }
    let (_, list) = rest.get("/computers").await;
    assert_eq!(list["count"], 1, "{list}");
    assert_eq!(left(database), [3 * ROWS; 5]);

    // A row in the middle cannot go yet. Who sweeps is killed while it waits for that.
    let held = database.hold(&format!(
        "select from network_traffic where computer_id = {second} and at = ( \
             select at from network_traffic where computer_id = {second} \
             order by at offset 600 limit 1) for update"
    ));
    let relay = || Service::at("outbox-relay", database, free_range(1), &settings);
    let mut killed = relay();
    eventually("one computer is swept, of the other much is", || async {
        let one = database.sql("select string_agg(id::text, ' ') from removed_computer");
        (one == second.to_string() && database.waiting() == "1").then_some(())
    })
    .await;
    assert_eq!(to_be_swept(&killed).await, "1");
    killed.kill();
    assert_eq!(database.sql("select count(*) from removed_computer"), "1");
    let mut next = relay();
    drop(held);
    eventually("nothing is left of either", || async {
        (to_be_swept(&next).await == "0" && left(database) == [ROWS; 5]).then_some(())
    })
    .await;
    assert_eq!(database.sql("select count(*) from removed_computer"), "0");
    let stays = database.sql("select distinct computer_id from network_traffic");
    assert_eq!(stays, id("stays").to_string());
    next.stop();
}

#[tokio::test]
async fn whatever_stays_behind_a_computer_is_swept_also_where_there_is_no_broker() {
    let house = House::start().await;
    let database = &house.database;
    // A new table of what computers tell has a foreign key, or its place in `MEASURED`, which this test sees swept.
    let sql = "select string_agg(relname, ' ' order by relname) from pg_class \
               join pg_attribute on attrelid = pg_class.oid and attname = 'computer_id' \
               where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace \
                   and not exists (select from pg_constraint where contype = 'f' \
                       and conrelid = pg_class.oid and confrelid = 'computer'::regclass \
                       and conkey = array[attnum])";
    let without = MEASURED.map(|(table, ..)| table).join(" ");
    assert_eq!(database.sql(sql), without);
    measured(database, &["web-1", "web-2"]);
    // By hand, as an operator may.
    database.sql("delete from computer where title = 'web-1'");
    let api = &house.services[3];
    eventually("nothing is left of it", || async {
        (to_be_swept(api).await == "0" && left(database) == [ROWS; 5]).then_some(())
    })
    .await;
    assert_eq!(database.sql("select count(*) from removed_computer"), "0");
}

#[tokio::test]
async fn an_exchange_that_meets_the_removal_of_its_computer_leaves_nothing_behind() {
    let house = House::start().await;
    let database = &house.database;
    let (mut agent, id) = house.computer("web-1").await;
    agent.report(network("192.0.2.1"));
    agent.exchange(&house.way()).await.expect("an exchange");
    agent.report(network("192.0.2.2"));
    let float = |text: &str| Pickle::Float(text.to_owned());
    let at = || float("1795406100.0");
    for (kind, list, row) in [
        ("memory-info", "memory-info", t([at(), i(5), i(6)])),
        (
            "load-average",
            "load-averages",
            t([i(1_795_406_100), float("0.25")]),
        ),
        ("free-space", "free-space", t([at(), u("/"), i(9)])),
    ] {
        agent.report(d([(list, l([row])), ("type", u(kind))]));
    }
    let removal = database.hold(&format!("delete from computer where id = {id}"));
    let way = house.way();
    let meeting = agent.exchange(&way);
    let removing = async {
        eventually("it waits for who removes", || async {
            (database.waiting() == "1").then_some(())
        })
        .await;
        removal.commit();
    };
    let (answer, ()) = tokio::join!(meeting, removing);
    let told = answer.expect("an answer");
    assert_eq!(told[0].at("type"), Some(&u("unknown-id")), "{told:?}");
    eventually("nothing is to be swept", || async {
        (database.sql("select count(*) from removed_computer") == "0").then_some(())
    })
    .await;
    assert_eq!(left(database), [0; 5]);
}

#[tokio::test]
async fn the_traffic_of_a_day_is_shown_out_of_that_of_months() {
    let mut house = House::start().await;
    let browser = house.browser().await;
    house.database.sql(
        "insert into computer (account_id, accepted, title, hostname) values (1, true, 'c', 'h'); \
         insert into network_traffic select computer.id, name, now() - n * interval '5 minutes', \
             1000, 2000 from computer, unnest(array['eth0', 'lo', 'wlan0']) name, \
             generate_series(1, 20000) n where name <> 'wlan0' or n > 1000",
    );
    let id = house.database.sql("select id from computer");
    count_anew(&house).await;
    let page = browser.get(&format!("/computers/{id}")).await.text();
    let (_, traffic) = page
        .split_once("Network traffic")
        .expect("its part of the page");
    assert!(
        traffic.contains("eth0") && !traffic.contains("wlan0"),
        "{traffic}"
    );
    // 288 steps of eth0, and the last of each. What is read in an index alone counts, too.
    let rows = fetched(&mut house, "network_traffic").await;
    let sql = "select idx_tup_read from pg_stat_user_indexes where relname = 'network_traffic'";
    let read: i64 = house.database.sql(sql).parse().expect("a number");
    let enough = 288..1_000;
    assert!(
        enough.contains(&rows) && enough.contains(&read),
        "{rows} rows were fetched, {read} read in the index"
    );
}

#[tokio::test]
async fn an_activity_tells_how_many_children_it_has_and_the_list_tells_all_of_them() {
    let house = House::start().await;
    let described = Described::by(&house).await;
    let rest = house.rest().await;
    house.database.sql(
        "insert into computer (account_id, accepted, title, hostname) \
             select 1, true, 'c' || n, 'h' from generate_series(1, 1200) n; \
         insert into activity (type, summary, fields, status, creator_id) \
             select 'group', 'x', 'd;', 'group', id from person; \
         insert into activity (computer_id, parent_id, type, summary, status) \
             select computer.id, activity.id, 'shutdown', 'x', \
                 case when title = 'c7' then 'failed' else 'succeeded' end \
             from computer, activity",
    );
    let group = house.database.sql("select min(id) from activity");
    let (_, one) = described.get(&rest, &format!("/activities/{group}")).await;
    assert_eq!(one["children"].as_array().map(Vec::len), Some(1000));
    assert_eq!(one["children_count"], 1200);
    assert_eq!(
        one["children_statuses"],
        json!({"failed": 1, "succeeded": 1199})
    );
    let (mut offset, mut seen) = (0, std::collections::BTreeSet::new());
    loop {
        let path = format!("/activities?query=parent-id:{group}&limit=500&offset={offset}");
        let (_, page) = described.get(&rest, &path).await;
        assert_eq!(page["count"], 1200);
        let results = page["results"].as_array().expect("a list").iter();
        seen.extend(results.filter_map(|child| child["id"].as_i64()));
        offset += 500;
        if page["next"].is_null() {
            break;
        }
    }
    assert_eq!((seen.len(), offset), (1200, 1500));
    let child = format!("/activities/{}", seen.first().expect("a child"));
    let (_, child) = described.get(&rest, &child).await;
    assert_eq!(child["children_count"], 0, "{child}");
    assert_eq!(child["children_statuses"], json!({}));
}

/// The schema as it was before activities named their account.
fn schema_of_before(database: &Database) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../backends/migrations");
    let files = std::fs::read_dir(folder).expect("migrations");
    let names = files.map(|file| file.expect("a file").path());
    let mut before: Vec<_> = names
        .map(|path| {
            (
                path.file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned(),
                path,
            )
        })
        .filter(|(name, _)| name.as_str() < "0065")
        .collect();
    before.sort();
    database.sql("create table schema_migration (number integer primary key, name text not null, applied_at timestamptz not null default now())");
    for (name, path) in before {
        database.sql(&std::fs::read_to_string(path).expect("SQL"));
        let (number, name) = name.split_once('_').expect("number and name");
        let number: i32 = number.parse().expect("a number");
        database.sql(&format!(
            "insert into schema_migration values ({number}, '{name}')"
        ));
    }
}

#[tokio::test]
async fn activities_of_before_come_to_their_accounts_as_they_were() {
    let database = Database::empty();
    schema_of_before(&database);
    database.sql(
        "insert into account (name, title) values ('acme', 'Acme'); \
         insert into person (account_id, email, name, role) \
             select id, name || '@edge.test', name, 'viewer' from account; \
         insert into computer (account_id, accepted, title, hostname) \
             select id, true, name, 'h' from account; \
         insert into activity (computer_id, type, summary, fields, modified_at) \
             select id, 'shutdown', 'alone ' || title, 'd;', '2001-01-01' from computer; \
         insert into activity (type, summary, fields, status, creator_id, modified_at) \
             select 'group', 'by ' || name, '', 'group', id, '2001-01-01' from person; \
         insert into activity (type, summary, fields, status, modified_at) \
             values ('group', 'by nobody', '', 'group', '2001-01-01'), \
                 ('group', 'by nobody, of nobody', '', 'group', '2001-01-01'); \
         insert into activity (computer_id, parent_id, type, summary, fields, modified_at) \
             select computer.id, one.id, 'shutdown', 'child ' || computer.title, 'd;', '2001-01-01' \
             from computer, activity one where one.summary = 'by nobody' and title = 'acme'",
    );
    database.schema(&[], &["migrate"], "");
    let told = "select string_agg(summary || ' ' || account.name, ', ' order by summary), \
                    count(distinct modified_at), min(modified_at)::date \
                from activity join account on account.id = account_id";
    assert_eq!(
        database.sql(told),
        "alone acme acme, alone standalone standalone, by acme acme, by nobody acme, \
         by standalone standalone, child acme acme|1|2001-01-01"
    );
    database.sql("update activity set summary = summary where summary = 'child acme'");
    let changed = "select count(*) from activity where modified_at > now() - interval '1 day'";
    assert_eq!(database.sql(changed), "1", "changes are noted again");
}
