//! Do people order by a host's page, and is what they order done, shown, and asked about where it destroys?

use e2e::HostAgent;
use e2e::hostagent::{Cmd, Command, Install, Instance, Named, Nothing};
use e2e::person::escaped;

use super::House;

/// The part of a page between two marks.
fn part<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let rest = page
        .split_once(from)
        .unwrap_or_else(|| panic!("no {from}: {page}"));
    rest.1.split_once(to).expect("its end").0
}

/// The value of an attribute.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(rest.split_once('"')?.0)
}

/// A form as a browser sends it when a button that says this is pressed: where to, and what; `more` was typed.
fn pressed(page: &str, button: &str, more: &[(&str, &str)]) -> Option<(String, String)> {
    let says = format!(">{button}</button>");
    let form = page.split("<form ").find(|form| {
        let form = form.split("</form>").next().unwrap_or_default();
        form.contains(&says)
    })?;
    let form = format!(" {}", form.split("</form>").next()?);
    let hidden = form.split("<input type=\"hidden\"").skip(1);
    let mut fields: Vec<(String, String)> = hidden
        .map(|tag| {
            let of = |name| attribute(tag.split('>').next().expect("a tag"), name);
            (
                of("name").expect("a name").to_owned(),
                of("value").expect("a value").to_owned(),
            )
        })
        .collect();
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.extend(more.iter().map(owned));
    let tag = form.split("<button").find(|tag| tag.contains(&says))?;
    let name = attribute(tag, "name").expect("a name").to_owned();
    fields.push((name, attribute(tag, "value").expect("a value").to_owned()));
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", escaped(value)));
    let action = attribute(&form, "action").expect("where to").to_owned();
    Some((action, pairs.collect::<Vec<_>>().join("&")))
}

impl House {
    /// Presses a button of an instance's row, or of the whole page, and the button of the page that asks whether they
    /// are sure, where one comes. What it asked.
    pub(super) async fn press(
        &self,
        uid: &str,
        row: Option<&str>,
        button: &str,
        more: &[(&str, &str)],
    ) -> Option<String> {
        let own = format!("/hosts/{uid}");
        let place = match row {
            Some(row) => self.instance_row(uid, row).await,
            None => self.page(&own).await,
        };
        let pressed_there = pressed(&place, button, more);
        let (action, form) = pressed_there.unwrap_or_else(|| panic!("no {button}: {place}"));
        let cookie = &self.somebody.cookie;
        let reply = self.send(cookie, &action, &form, &[]).await;
        assert_eq!(reply.status(), 303, "{form}");
        let next = reply.field("location").expect("where to").to_owned();
        if next == own || next == "/hosts" {
            return None;
        }
        assert!(next.starts_with(&format!("{own}/sure?")), "{next}");
        let asked = self.page(&next).await;
        let (action, form) = pressed(&asked, button, &[]).expect("the same again");
        let reply = self.send(cookie, &action, &form, &[]).await;
        assert_eq!(reply.status(), 303, "{form}");
        Some(asked)
    }

    /// The row of an instance on its host's page.
    pub(super) async fn instance_row(&self, uid: &str, instance: &str) -> String {
        let page = self.page(&format!("/hosts/{uid}")).await;
        let rows = part(&page, "id=\"instances\"", "</table>");
        part(rows, &format!(">{instance}</td>"), "</tr>").to_owned()
    }

    /// The row of an order on its host's page.
    async fn order_row(&self, uid: &str, request: &str) -> String {
        let page = self.page(&format!("/hosts/{uid}")).await;
        part(&page, &format!("title=\"{request}\""), "</tr>").to_owned()
    }

    /// The agent says how far an order is, and its host's page shows each step.
    pub(super) async fn carried_out(&self, host: &mut HostAgent, command: &Command, error: &str) {
        let end = if error.is_empty() {
            "succeeded"
        } else {
            "failed"
        };
        let uid = host.info.uid.clone();
        for (state, error, word) in [(0, "", "queued"), (1, "", "in progress"), (2, error, end)] {
            assert_eq!(host.status(&command.request_id, state, error).await, "0");
            let row = self.order_row(&uid, &command.request_id).await;
            assert!(row.contains(&format!(">{word}</span>")), "{word}: {row}");
            assert!(row.contains(error), "{row}");
        }
    }
}

fn named(id: &str) -> Named {
    Named { id: id.to_owned() }
}

/// A host with an instance that is stopped and its default, one that runs, and one that its agent does not look after.
pub(super) async fn three(house: &House) -> HostAgent {
    let mut host = HostAgent::new(house.h2().await, "win", Some("right")).await;
    let other = |id: &str, state| Instance {
        id: id.to_owned(),
        name: id.to_lowercase(),
        version_id: "12".to_owned(),
        state,
    };
    host.info.instances.push(other("Debian", 1));
    host.info.unmanaged_instances.push(other("Fedora", 0));
    host.tell().await;
    house.until("select count(*) from wsl_instance", "3").await;
    host
}

/// What somebody orders, and what comes of it.
struct Case {
    /// The row of the button; none for those of the host.
    row: Option<&'static str>,
    button: &'static str,
    /// What they type.
    typed: Vec<(&'static str, &'static str)>,
    /// What they are asked before.
    sure: Option<&'static str>,
    cmd: Cmd,
    /// What the agent says of it in the end.
    error: &'static str,
}

fn case(row: &'static str, button: &'static str, cmd: Cmd) -> Case {
    Case {
        row: (!row.is_empty()).then_some(row),
        button,
        typed: Vec::new(),
        sure: None,
        cmd,
        error: "",
    }
}

/// Every order that a host's page offers.
fn every_order() -> Vec<Case> {
    let (debian, fedora) = ("Debian (debian)", "Fedora (fedora)");
    let install = Install {
        id: "Noble & co".to_owned(),
        cloudinit: Some("#cloud-config\nusers:\n- ada\n".to_owned()),
        rootfs_url: Some("https://files.test/noble.tar.gz?a=b&c".to_owned()),
    };
    let plain = Install {
        id: "Ubuntu-24.04".to_owned(),
        ..Install::default()
    };
    let files = " https://files.test/noble.tar.gz?a=b&c";
    let configuration = "#cloud-config\r\nusers:\r\n- ada\r\n";
    let typed = |instance, files, configuration| {
        let fields = ["instance", "rootfs_url", "cloudinit"];
        let values = [instance, files, configuration];
        fields.into_iter().zip(values).collect()
    };
    vec![
        case("Ubuntu", "Start", Cmd::Start(named("Ubuntu"))),
        Case {
            error: "it hangs",
            ..case(debian, "Stop", Cmd::Stop(named("Debian")))
        },
        case(debian, "Make default", Cmd::SetDefault(named("Debian"))),
        case(fedora, "Make default", Cmd::SetDefault(named("Fedora"))),
        Case {
            typed: typed(" Noble & co ", files, configuration),
            ..case("", "Install", Cmd::Install(install))
        },
        Case {
            typed: typed("Ubuntu-24.04", "", ""),
            error: "already installed",
            ..case("", "Install", Cmd::Install(plain))
        },
        Case {
            sure: Some("Debian on win is removed"),
            ..case(debian, "Uninstall", Cmd::Uninstall(named("Debian")))
        },
        Case {
            sure: Some("Uninstall Fedora?"),
            ..case(fedora, "Uninstall", Cmd::Uninstall(named("Fedora")))
        },
        Case {
            sure: Some("Every instance stops"),
            ..case("", "Shut WSL down", Cmd::ShutdownHost(Nothing {}))
        },
    ]
}

#[tokio::test]
async fn every_order_of_a_hosts_page_reaches_its_agent_and_its_status_is_shown() {
    let house = House::with(2).await;
    let mut host = three(&house).await;
    let uid = host.info.uid.clone();
    for case in every_order() {
        let button = case.button;
        let asked = house.press(&uid, case.row, button, &case.typed).await;
        match (&asked, case.sure) {
            (Some(asked), Some(sure)) => assert!(asked.contains(sure), "{sure}: {asked}"),
            (asked, sure) => assert_eq!(asked.as_deref(), sure, "{button}"),
        }
        let command = host.command().await.expect("an order");
        assert_eq!(command.cmd, Some(case.cmd), "{button}");
        house.carried_out(&mut host, &command, case.error).await;
    }
    let count = house.rows("select count(*) from wsl_command");
    assert_eq!(count, every_order().len().to_string(), "each once");
    // An agent starts and stops only what it looks after, and the default needs not be made so.
    let fedora = house.instance_row(&uid, "Fedora (fedora)").await;
    let managed = fedora.contains(">Start<") || !fedora.contains("not managed");
    assert!(!managed, "{fedora}");
    let ubuntu = house.instance_row(&uid, "Ubuntu").await;
    let offered = ubuntu.contains("Make default") || !ubuntu.contains(", default");
    assert!(!offered, "{ubuntu}");
}

#[tokio::test]
async fn what_destroys_is_done_only_when_somebody_is_sure() {
    let house = House::with(1).await;
    let mut host = three(&house).await;
    let uid = host.info.uid.clone();
    for (form, title) in [
        (
            "what=uninstall&instance=A%26B%22%3Cb%3E",
            "Uninstall A&amp;B&quot;&lt;b&gt;?",
        ),
        ("what=shutdown_host", "Shut WSL down on win?"),
        ("what=forget", "Forget win?"),
    ] {
        let form = format!("{form}&form_token={}", house.somebody.form_token);
        let path = format!("/hosts/{uid}/order");
        let reply = house.send(&house.somebody.cookie, &path, &form, &[]).await;
        let next = reply.field("location").expect("where to").to_owned();
        assert!(
            next.starts_with(&format!("/hosts/{uid}/sure?what=")),
            "{next}"
        );
        let page = house.page(&next).await;
        assert!(
            page.contains(&format!("<h1>{title}</h1>")),
            "{title}: {page}"
        );
        // And a way back.
        assert!(
            page.contains(&format!("href=\"/hosts/{uid}\">Leave it")),
            "{page}"
        );
    }
    assert_eq!(house.rows("select count(*) from wsl_command"), "0");
    assert_eq!(house.rows(super::HOSTS), "win|t|t");

    let asked = house
        .press(&uid, None, "Forget", &[])
        .await
        .expect("a question");
    assert!(asked.contains("What is known of it goes"), "{asked}");
    const ABORTED: &str = "10";
    assert_eq!(host.command().await.expect_err("its stream ends"), ABORTED);
    assert_eq!(house.rows(super::HOSTS), "");
    // One that waits comes again: no question.
    let waits = HostAgent::new(house.h2().await, "waits", None).await;
    house.until(super::HOSTS, "waits|f|t").await;
    assert_eq!(
        house.press(&waits.info.uid, None, "Reject", &[]).await,
        None
    );
    assert_eq!(house.rows(super::HOSTS), "");
}

#[tokio::test]
async fn nobody_orders_from_another_site_without_the_word_or_in_a_lesser_role() {
    let house = House::with(1).await;
    let host = three(&house).await;
    let path = format!("/hosts/{}/order", host.info.uid);
    let cookie = &house.somebody.cookie;
    let word = format!("form_token={}", house.somebody.form_token);
    let session = |email: &str, role: &str| {
        house.database.person(email, role);
        house.rows(&format!(
            "insert into web_session (digest, person_id, form_token, expires_at) \
             select sha256('{role}'), id, '{role}', now() + interval '1 hour' from person \
             where email = '{email}'"
        ));
        format!("Cookie: __Host-session={role}")
    };
    let (operator, viewer) = (
        session("omar@edge.test", "operator"),
        session("vera@edge.test", "viewer"),
    );
    for what in [
        "start&instance=Ubuntu",
        "stop&instance=Debian",
        "install&instance=Noble",
        "set_default&instance=Debian",
        "uninstall&instance=Debian&sure=yes",
        "shutdown_host&sure=yes",
        "accept",
        "forget&sure=yes",
    ] {
        let form = format!("what={what}&{word}");
        for more in ["Origin: https://evil.test", "Sec-Fetch-Site: cross-site"] {
            let reply = house.send(cookie, &path, &form, &[more]).await;
            assert_eq!(reply.status(), 403, "{what} {more}");
        }
        for wrong in [format!("what={what}"), format!("what={what}&form_token=x")] {
            let reply = house.send(cookie, &path, &wrong, &[]).await;
            assert_eq!(reply.status(), 403, "{wrong}");
        }
        let reply = house
            .send(
                &viewer,
                &path,
                &format!("what={what}&form_token=viewer"),
                &[],
            )
            .await;
        assert_eq!(reply.status(), 403, "{what}");
    }
    for what in ["accept", "forget&sure=yes"] {
        let form = format!("what={what}&form_token=operator");
        assert_eq!(
            house.send(&operator, &path, &form, &[]).await.status(),
            403,
            "{what}"
        );
    }
    assert_eq!(house.rows("select count(*) from wsl_command"), "0");
    assert_eq!(house.rows(super::HOSTS), "win|t|t");
    // What they may not do is not offered.
    let mut raw = e2e::Raw::tcp(house.pages.port()).await;
    let own = format!("/hosts/{}", host.info.uid);
    let page = raw.ask("GET", &own, &[&viewer], b"").await.text();
    assert!(
        page.contains("Debian") && !page.contains("name=\"what\""),
        "{page}"
    );
    for (cookie, what, status) in [
        (&viewer, "uninstall&instance=Debian", 403),
        (&operator, "forget", 403),
        (&operator, "shutdown_host", 200),
    ] {
        let asked = format!("{own}/sure?what={what}");
        let reply = raw.ask("GET", &asked, &[cookie], b"").await;
        assert_eq!(reply.status(), status, "{what}");
    }
    let page = raw.ask("GET", &own, &[&operator], b"").await.text();
    assert!(
        page.contains("Uninstall") && !page.contains("Forget"),
        "{page}"
    );
    // A configuration may be long.
    let long = "a".repeat(1 << 20);
    let form = format!("what=install&instance=Long&cloudinit={long}&{word}");
    assert_eq!(house.send(cookie, &path, &form, &[]).await.status(), 303);
    let form = format!("what=install&instance=Long&cloudinit={long}a&{word}");
    assert_eq!(house.send(cookie, &path, &form, &[]).await.status(), 400);
    assert_eq!(
        house.rows("select length(cloudinit) from wsl_command"),
        "1048576"
    );
}
