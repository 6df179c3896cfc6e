//! Do people see what computers report, behind the edge, and only those who may?

use std::collections::BTreeSet;
use std::path::Path;

use e2e::bpickle::{Pickle, d, i, l, s, t, u};
use e2e::house::network;
use e2e::person::{EMAIL, LOOKS};
use e2e::{Agent, Browser, House, Message, eventually};

/// Sends the form with which somebody decides about a computer that waits.
async fn decide(browser: &Browser<'_>, form: &str) -> Message {
    browser.submit("/pending/decide", form).await
}

/// The part of a page between two marks.
fn part<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let rest = page
        .split_once(from)
        .unwrap_or_else(|| panic!("no {from}: {page}"))
        .1;
    rest.split_once(to).expect("its end").0
}

#[tokio::test]
async fn long_lists_are_turned_over_page_by_page() {
    let house = House::start().await;
    let browser = house.browser().await;
    for (path, accepted) in [("/pending", false), ("/computers", true)] {
        house.database.sql(&format!(
            "insert into computer (account_id, accepted, title, hostname) \
             select 1, {accepted}, 'c' || lpad(n::text, 3, '0') || '{path}', 'h' from generate_series(1, 101) n"
        ));
        let titles = async |at: &str| {
            let page = browser.get(at).await.text();
            let shown = (1..=101).filter(|n| page.contains(&format!("c{n:03}{path}")));
            (shown.count(), page)
        };
        let (first, page) = titles(path).await;
        assert_eq!(first, 100, "{page}");
        let next = format!("{path}?from=100");
        assert!(page.contains(&format!("href=\"{next}\">More")), "{page}");
        assert!(!page.contains(">Back</a>"), "{page}");
        let (last, page) = titles(&next).await;
        assert_eq!(last, 1, "{page}");
        assert!(
            page.contains(&format!("href=\"{path}?from=0\">Back")),
            "{page}"
        );
        assert!(!page.contains(">More</a>"), "{page}");
    }
}

/// More than fits into one part of each list. What was reported and ordered is of `zero` and `zebra`.
const LISTS: &str = "\
    insert into computer (account_id, accepted, title, hostname) values (1, true, 'zero', 'x'); \
    insert into computer (account_id, accepted, title, hostname) \
        select 1, true, 'item' || lpad(n::text, 4, '0'), case when n <= 150 then 'Web' else 'db' end \
        from generate_series(1, 205) n; \
    insert into computer_tag select id, 'a b&c' from computer where title between 'item0031' and 'item9999'; \
    insert into activity (type, summary, fields, status, creator_id) \
        select 'group', 'all of them', '', 'group', id from person; \
    insert into activity (computer_id, parent_id, type, summary, fields, status) \
        select (select min(id) from computer), (select id from activity), 'shutdown', \
            'item' || lpad(n::text, 4, '0'), '', case when n <= 105 then 'failed' else 'succeeded' end \
        from generate_series(1, 220) n; \
    insert into network_interface_history (computer_id, name, mac_address, flags, since, until, gone) \
        select (select min(id) from computer), 'item' || lpad(n::text, 4, '0'), '', 0, now(), now(), true \
        from generate_series(1, 130) n; \
    insert into wsl_host (account_id, accepted, hostname) \
        select 1, true, 'item' || lpad(n::text, 4, '0') from generate_series(1, 120) n; \
    insert into wsl_host (account_id, accepted, hostname) values (1, true, 'zebra'); \
    insert into wsl_command (host_uid, kind, instance_id) \
        select uid, 'start', 'item' || lpad(n::text, 4, '0') \
        from wsl_host, generate_series(1, 120) n where hostname = 'zebra'; \
    insert into package (hash, kind, name, version, section, summary, description) \
        select decode(lpad(to_hex(n), 40, '0'), 'hex'), 1, 'item' || lpad(n::text, 4, '0'), '1', '', \
            case when n <= 110 then 'Few & small' else 'many' end, '' from generate_series(1, 230) n; \
    insert into computer_packages (computer_id, installed, reported_at) \
        select min(computer.id), int8multirange(int8range(min(package.id), max(package.id) + 1)), now() \
        from computer, package";

/// The items that a page names.
fn items(page: &str) -> BTreeSet<String> {
    let parts = page.split("item").skip(1);
    parts
        .filter_map(|part| part.get(..4))
        .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

/// Where a link of this kind leads.
fn link(page: &str, rel: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("rel=\"{rel}\" href=\""))?;
    Some(
        rest.split_once('"')
            .expect("its end")
            .0
            .replace("&amp;", "&"),
    )
}

#[tokio::test]
async fn lists_are_searched_in_whatever_letters() {
    let house = House::start().await;
    let browser = house.browser().await;
    // The database knows small and capital letters of ASCII at least, of others where its locale does.
    house.database.sql(
        "insert into computer (account_id, accepted, title, hostname) \
         values (1, true, 'École WEST', 'h1'); \
         insert into wsl_host (account_id, accepted, hostname) values (1, true, 'École WEST'); \
         insert into activity (computer_id, type, summary, fields) \
         select id, 'execute-script', 'Run École WEST', 'd;' from computer",
    );
    for list in ["computers", "hosts", "activities"] {
        for text in ["%C3%89cole", "west", "WeSt", "cole%20w"] {
            let path = format!("/{list}?text={text}");
            let page = browser.get(&path).await.text();
            let table = page.split("<main").nth(1).unwrap_or_default();
            assert!(table.contains("École WEST"), "{path}");
        }
        let page = browser.get(&format!("/{list}?text=east")).await.text();
        let table = page.split("<main").nth(1).unwrap_or_default();
        assert!(!table.contains("École WEST"), "{list}");
    }
}

#[tokio::test]
async fn every_list_is_turned_over_to_its_end_and_keeps_what_was_asked() {
    let house = House::start().await;
    let browser = house.browser().await;
    house.database.sql(LISTS);
    let id = house.database.sql("select min(id) from computer");
    let group = house.database.sql("select min(id) from activity");
    let zebra = house
        .database
        .sql("select uid from wsl_host where hostname = 'zebra'");
    for (path, count, parts) in [
        ("/computers".to_owned(), 205, 3),
        ("/computers?text=wEB".to_owned(), 150, 2),
        ("/computers?tag=a%20b%26c".to_owned(), 175, 2),
        ("/computers?tag=a%20b%26c&text=web".to_owned(), 120, 2),
        // 220 and the group itself.
        ("/activities".to_owned(), 220, 3),
        ("/activities?status=failed&text=ITEM".to_owned(), 105, 2),
        (
            format!("/activities?status=succeeded&computer={id}"),
            115,
            2,
        ),
        (format!("/activities/{group}"), 220, 3),
        (format!("/computers/{id}/interfaces"), 130, 2),
        ("/hosts?text=Item".to_owned(), 120, 2),
        (format!("/hosts/{zebra}"), 120, 3),
        (
            "/packages?state=installed&text=few%20%26".to_owned(),
            110,
            2,
        ),
        (
            format!("/computers/{id}/packages?state=available&text="),
            0,
            1,
        ),
        (format!("/computers/{id}/packages?state=installed"), 230, 3),
    ] {
        let (mut seen, mut at, mut walked) = (BTreeSet::new(), path.clone(), vec![path.clone()]);
        loop {
            let page = browser.get(&at).await.text();
            let (_, main) = page.split_once("<main").expect("its content");
            for item in items(main) {
                assert!(seen.insert(item.clone()), "{item} is there twice: {at}");
            }
            let back = link(&page, "prev");
            assert_eq!(back.is_some(), walked.len() > 1, "{at}: {back:?}");
            let Some(next) = link(&page, "next") else {
                break;
            };
            let asked = path.split_once('?').map_or("", |(_, asked)| asked);
            for one in asked.split('&').filter(|one| !one.ends_with('=')) {
                assert!(next.contains(one), "{next} asks for {one}");
            }
            walked.push(next.clone());
            at = next;
        }
        assert_eq!((seen.len(), walked.len()), (count, parts), "{walked:?}");
    }
    // From a computer's page all of it is reached.
    let page = browser.get(&format!("/computers/{id}")).await.text();
    for path in [
        format!("/computers/{id}/interfaces"),
        format!("/activities?computer={id}"),
    ] {
        assert!(page.contains(&format!("href=\"{path}\"")), "{path}: {page}");
    }
    // Whoever turned too far is told so, and finds back.
    for path in [
        "/computers?from=4000",
        "/hosts?from=4000",
        "/activities?from=4000",
        "/packages?from=4000",
    ] {
        let page = browser.get(path).await.text();
        assert!(page.contains("Here is nothing any more."), "{path}: {page}");
        assert!(link(&page, "prev").is_some(), "{path}");
    }
}

#[tokio::test]
async fn a_computer_goes_down_only_when_somebody_is_sure() {
    let house = House::start().await;
    let browser = house.browser().await;
    let (mut agent, id) = house.computer("<b>web-1").await;
    let path = format!("/computers/{id}/order");
    let reply = browser.submit(&path, "order=shutdown").await;
    let sure = format!("/computers/{id}/sure");
    assert_eq!(
        (reply.status(), reply.field("location")),
        (303, Some(sure.as_str()))
    );
    let page = browser.get(&sure).await.text();
    for part in [
        "&lt;b&gt;web-1 goes down",
        "name=\"order\" value=\"shutdown\"",
        "name=\"sure\" value=\"yes\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(house.database.sql("select count(*) from activity"), "0");
    let reply = browser.submit(&path, "order=shutdown&sure=yes").await;
    assert!(
        reply
            .field("location")
            .is_some_and(|path| path.starts_with("/activities/"))
    );
    house
        .database
        .sql("update exchange set client_types = array['shutdown']");
    let orders = agent.exchange(&house.way()).await.expect("an exchange");
    assert_eq!(orders[0].at("type").expect("a type").text(), "shutdown");
    assert_eq!(orders[0].at("reboot"), Some(&Pickle::Bool(false)));
    assert_eq!(browser.get("/computers/77/sure").await.status(), 404);
    house.database.person("vera@edge.test", "viewer");
    let viewer = Browser::sign_in(&house.gateway, "vera@edge.test").await;
    assert_eq!(viewer.get(&sure).await.status(), 403);
}

#[tokio::test]
async fn a_computer_is_seen_with_its_network_and_what_that_was_before() {
    let house = House::start().await;
    let (way, browser) = (house.way(), house.browser().await);
    let mut agent = Agent::new("<b>web-1");
    agent.set_up(&way, None).await;
    let page = browser.get("/pending").await.text();
    assert!(
        page.contains("&lt;b&gt;web-1") && !page.contains("<b>web"),
        "{page}"
    );
    let id = part(&page, "name=\"id\" value=\"", "\"").to_owned();
    let done = decide(&browser, &format!("id={id}&decision=accept")).await;
    assert_eq!(
        (done.status(), done.field("location")),
        (303, Some("/pending"))
    );
    assert!(
        browser
            .get("/pending")
            .await
            .text()
            .contains("Nobody waits")
    );

    agent.exchange(&way).await.expect("it is told its types");
    agent.report(network("192.0.2.2"));
    agent.exchange(&way).await.expect("an exchange");
    agent.report(network("192.0.2.9"));
    let traffic = Pickle::Dict(vec![(
        s("eth0"),
        l([t([i(1_795_406_100), i(1 << 20), i(0)])]),
    )]);
    agent.report(d([
        ("activities", traffic),
        ("type", u("network-activity")),
    ]));
    agent.exchange(&way).await.expect("an exchange");

    let page = browser.get(&format!("/computers/{id}")).await.text();
    let interfaces = part(&page, "<table id=\"interfaces\">", "</table>");
    for cell in [
        ">eth0</td>",
        ">192.0.2.9</td>",
        ">02:fc:00:00:00:01</td>",
        ">192.0.2.255</td>",
        ">255.255.255.0</td>",
        ">UP BROADCAST RUNNING MULTICAST</td>",
        ">1000 Mbit/s, full duplex</td>",
    ] {
        assert!(interfaces.contains(cell), "{cell}: {interfaces}");
    }
    let changes = part(&page, "<table id=\"changes\">", "</table>");
    assert!(
        changes.contains(">192.0.2.2</td>") && changes.contains("then changed"),
        "{changes}"
    );
    // 1 MiB is what a look of 30 s found, as the mean over 300 s.
    for told in ["received 10.0 MiB", "at most 34.1 KiB/s"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    eventually("the list shows its address, tags and last ping", || async {
        // A pingserver learns of a new computer by and by, and takes no note of a ping before.
        agent.ping(&way).await;
        let page = browser.get("/computers?tag=blue").await.text();
        let row = part(&page, "<tbody>", "</tbody>").to_owned();
        let seen = row.contains("192.0.2.9") && row.contains(">green</a>");
        let today = house
            .database
            .sql("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD')");
        (seen && row.matches(&today).count() == 2).then_some(())
    })
    .await;
    let page = browser.get("/computers?tag=red").await.text();
    assert!(page.contains("No computer has this tag."), "{page}");
    assert_eq!(browser.get("/computers/77").await.status(), 404);
    assert_eq!(browser.get("/computers/x").await.status(), 404);
}

#[tokio::test]
async fn a_computer_that_is_rejected_is_forgotten() {
    let house = House::start().await;
    let (way, browser) = (house.way(), house.browser().await);
    let mut agent = Agent::new("unwanted");
    agent.set_up(&way, None).await;
    let id = house.database.sql("select id from computer");
    let done = decide(&browser, &format!("id={id}&decision=reject")).await;
    assert_eq!(done.status(), 303);
    agent.exchange(&way).await.expect("an exchange");
    assert_eq!(agent.secure, None);
    assert_eq!(house.database.sql("select count(*) from computer"), "0");
}

#[tokio::test]
async fn nobody_sees_or_changes_anything_who_is_not_signed_in_or_comes_from_another_site() {
    let house = House::start().await;
    let browser = house.browser().await;
    Agent::new("web-1").set_up(&house.way(), None).await;
    let id = house.database.sql("select id from computer");
    let form = format!("id={id}&decision=accept");
    let token = browser.form_token().await;
    let signed = format!("{form}&form_token={token}");
    for cookie in [
        "X-None: 1",
        "Cookie: __Host-session=wrong",
        "Cookie: a=b; session=c",
    ] {
        let stranger = browser.with_cookie(cookie);
        for path in ["/", "/computers", "/pending", "/activities", "/nothing"] {
            let reply = stranger.get(path).await;
            let location = reply.field("location").unwrap_or_default();
            assert_eq!(reply.status(), 303, "{path}");
            assert!(
                location.starts_with("/login?next=%2F"),
                "{path}: {location}"
            );
        }
        assert_eq!(
            stranger
                .send("/pending/decide", &signed, &[])
                .await
                .status(),
            303
        );
    }
    assert_eq!(house.database.sql("select accepted from computer"), "f");

    // Signed in, but by a page of another site, or without the word that our pages hold.
    for field in ["Origin: https://evil.test", "Sec-Fetch-Site: cross-site"] {
        let reply = browser.send("/pending/decide", &signed, &[field]).await;
        assert_eq!(reply.status(), 403, "{field}");
    }
    let other = house.browser().await;
    let others = format!("{form}&form_token={}", other.form_token().await);
    for wrong in [&form, &format!("{form}&form_token="), &others] {
        let reply = browser.send("/pending/decide", wrong, &[]).await;
        assert_eq!(reply.status(), 403, "{wrong}");
    }
    house.database.person("omar@edge.test", "operator");
    let operator = Browser::sign_in(&house.gateway, "omar@edge.test").await;
    assert_eq!(decide(&operator, &form).await.status(), 403);
    assert!(!operator.get("/pending").await.text().contains("Accept"));
    assert_eq!(house.database.sql("select accepted from computer"), "f");

    let ours = browser
        .send("/pending/decide", &signed, &["Origin: https://edge.test"])
        .await;
    assert_eq!(ours.status(), 303);
    assert_eq!(house.database.sql("select accepted from computer"), "t");
    let page = browser.get("/computers").await;
    assert!(
        page.field("content-security-policy")
            .is_some_and(|value| value.contains("'none'"))
    );
}

/// The status of a reply, whether it is a page, and what it says.
fn refused(reply: &Message) -> (u16, bool, String) {
    let kind = reply.field("content-type").unwrap_or_default();
    (reply.status(), kind.starts_with("text/html"), reply.text())
}

#[tokio::test]
async fn a_refusal_tells_people_what_to_do_next_and_programs_one_line() {
    let house = House::start().await;
    let browser = house.browser().await;
    let long = format!("/computers?text={}", "a".repeat(256));
    for (path, status, told) in [
        ("/nothing", 404, "There is no such page"),
        ("/computers/77", 404, "what it showed is gone"),
        ("/computers?from=x", 400, "is not what this page takes"),
        (&long, 400, "is not what this page takes"),
        ("/pending/decide", 405, "Forms are sent to this address"),
    ] {
        let (said, page, text) = refused(&browser.open(path).await);
        assert_eq!((said, page), (status, true), "{path}: {text}");
        for part in [told, "href=\"/pending\"", "Sign out", ">All computers</a>"] {
            assert!(text.contains(part), "{path}: no {part} in {text}");
        }
        let (said, page, text) = refused(&browser.get(path).await);
        assert_eq!((said, page), (status, false), "{path}: {text}");
    }
    assert_eq!(browser.get("/nothing").await.text(), "not found\n");
    // Programs look there, whatever they say.
    for path in ["/repository/x", "/hash-id-databases/x"] {
        let (status, page, text) = refused(&browser.open(path).await);
        assert_eq!((status, page, text.as_str()), (404, false, "not found\n"));
    }

    // Signed in again in another tab: the old one's forms are of no use, and lead back to where they are made anew.
    let other = house.browser().await;
    let form = format!(
        "id=1&decision=accept&form_token={}",
        other.form_token().await
    );
    let from = [LOOKS, "Referer: https://edge.test/pending?from=0"];
    let reply = browser.send("/pending/decide", &form, &from).await;
    let (status, page, text) = refused(&reply);
    assert_eq!((status, page), (403, true), "{text}");
    for part in [
        "before you signed in again",
        "href=\"/pending?from=0\">Back",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    house.database.person("vera@edge.test", "viewer");
    let viewer = Browser::sign_in(&house.gateway, "vera@edge.test").await;
    let (status, page, text) = refused(&viewer.open("/computers/1/sure").await);
    assert_eq!((status, page), (403, true), "{text}");
    assert!(text.contains("It is not for your role."), "{text}");
    // Of another site, by nobody: no section of the house is shown.
    let stranger = browser.with_cookie("X-None: 1");
    let evil = [LOOKS, "Origin: https://evil.test"];
    let reply = stranger.send("/login", "email=a&password=b", &evil).await;
    let (status, page, text) = refused(&reply);
    assert_eq!((status, page), (403, true), "{text}");
    assert!(
        text.contains("href=\"/login\"") && !text.contains("/pending"),
        "{text}"
    );
}

#[tokio::test]
async fn nobody_is_sent_to_a_path_of_any_length() {
    let house = House::start().await;
    let browser = house.browser().await;
    let sql =
        "insert into wsl_host (account_id, accepted, hostname) values (1, true, 'h') returning uid";
    let uid = house.database.sql(sql);
    let order = format!("/hosts/{}/order", uid.lines().next().expect("a number"));
    for (letters, status) in [(2048, 303), (2049, 400), (3 << 20, 400)] {
        let instance = "a".repeat(letters);
        let form = format!("what=uninstall&instance={instance}");
        let reply = browser.submit(&order, &form).await;
        let head: usize = reply.fields("location").iter().map(|path| path.len()).sum();
        assert_eq!(reply.status(), status, "{letters}: {}", reply.text());
        assert!(head < 3000, "{letters}: {head}");
    }
    let stranger = browser.with_cookie("X-None: 1");
    let far = format!("/computers?text={}", "a".repeat(5000));
    let reply = stranger.get(&far).await;
    assert_eq!(reply.field("location"), Some("/login?next=%2F"));
    let form = format!("email={EMAIL}&password=correct+horse&next={far}");
    let reply = stranger.send("/login", &form, &[]).await;
    assert_eq!((reply.status(), reply.field("location")), (303, Some("/")));
}

#[tokio::test]
async fn a_session_begins_with_the_password_and_ends_when_it_is_ended() {
    let house = House::start().await;
    let browser = house.browser().await;
    let page = browser.get("/login?next=%2Fpending").await;
    assert_eq!(page.status(), 200);
    assert!(
        page.text().contains("name=\"next\" value=\"/pending\""),
        "{}",
        page.text()
    );
    let form = format!("email={EMAIL}&password=wrong&next=/pending");
    let reply = browser.send("/login", &form, &[]).await;
    assert_eq!((reply.status(), reply.field("set-cookie")), (403, None));
    assert!(reply.text().contains("wrong e-mail address or password"));
    let form = format!("email={EMAIL}&password=correct+horse&next=%2Fpending");
    let reply = browser.send("/login", &form, &[]).await;
    assert_eq!(
        (reply.status(), reply.field("location")),
        (303, Some("/pending"))
    );
    let form = format!("email={EMAIL}&password=correct+horse&next=%2F%2Fevil.test");
    let reply = browser.send("/login", &form, &[]).await;
    assert_eq!(reply.field("location"), Some("/"));
    let reply = browser
        .send("/login", &form, &["Origin: https://evil.test"])
        .await;
    assert_eq!(reply.status(), 403);

    assert_eq!(browser.get("/computers").await.status(), 200);
    assert_eq!(browser.send("/logout", "", &[]).await.status(), 403);
    assert_eq!(browser.submit("/logout", "x=y").await.status(), 303);
    assert_eq!(browser.get("/computers").await.status(), 303);
    // A new password ends what the old one opened.
    let browser = house.browser().await;
    house.database.administrator();
    assert_eq!(browser.get("/computers").await.status(), 303);
}

#[tokio::test]
async fn a_computer_is_told_what_to_do_from_its_page() {
    let house = House::start().await;
    let browser = house.browser().await;
    let (mut agent, id) = house.computer("web-1").await;
    let body = serde_json::json!({"title": "<Who>", "code": "#!/bin/sh\nid"});
    let (_, script) = house.rest().await.post("/scripts", &body).await;
    let page = browser.get(&format!("/computers/{id}")).await.text();
    assert!(page.contains("&lt;Who&gt;</option>"), "{page}");

    let path = format!("/computers/{id}/order");
    let form = format!("order=script&script={}", script["id"]);
    let reply = browser.submit(&path, &form).await;
    assert_eq!(reply.status(), 303, "{}", reply.text());
    let orders = agent.exchange(&house.way()).await.expect("an exchange");
    assert_eq!(orders[0].at("code").expect("code").text(), "id");
    let seen = reply
        .field("location")
        .expect("where it is seen")
        .to_owned();
    let page = browser.get(&seen).await.text();
    assert!(page.contains(">delivered</span></dd>"), "{page}");

    let reply = browser.submit(&path, "order=restart").await;
    let seen = reply
        .field("location")
        .expect("where it is seen")
        .to_owned();
    let page = browser.get(&seen).await.text();
    assert!(page.contains("Cancel what was not delivered"), "{page}");
    assert_eq!(
        browser
            .submit(&format!("{seen}/cancel"), "x=y")
            .await
            .status(),
        303
    );
    let page = browser.get(&seen).await.text();
    assert!(
        page.contains(">canceled</span></dd>") && !page.contains("Cancel what"),
        "{page}"
    );

    house.database.person("vera@edge.test", "viewer");
    let viewer = Browser::sign_in(&house.gateway, "vera@edge.test").await;
    let page = viewer.get(&format!("/computers/{id}")).await.text();
    assert!(!page.contains("value=\"restart\""), "{page}");
    assert_eq!(viewer.submit(&path, "order=restart").await.status(), 403);
}

#[tokio::test]
async fn an_agent_that_others_could_have_written_is_at_home() {
    let house = House::start().await;
    let words = ["registration-key", "right"];
    house.database.schema(&house.settings(), &words, "");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace");
    let output = tokio::process::Command::new("python3")
        .arg(root.join("tests/clients/agent.py"))
        .args([
            "--rounds", "3", "--pause", "0", "--title", "python", "--key", "right",
        ])
        .arg(format!("localhost:{}", house.gateway.port("https")))
        .arg(house.gateway.file("ca.pem"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true)
        .output()
        .await
        .expect("Python can be started: `make test` installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{error}");
    assert!(said.contains("accepted; orders wait"), "{said}");
    // Its registration came without the numbers of a computer; its report is the first that counts.
    let taken = house.database.sql("select expected from exchange");
    assert_ne!(taken, "0", "{said}");
}
