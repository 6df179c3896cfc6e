//! Is a computer that is an instance of a host known as that, from its registration to every page?

use e2e::bpickle::{Pickle, d, s, u};
use e2e::hostagent::Instance;
use e2e::{HostAgent, Service, Way, eventually, free_range};

use super::House;
use super::orders::three;

/// A registration as the set-up program in an instance sends it: one request without numbers, names with underscores.
async fn registers(
    messages: &Service,
    title: &str,
    account: (&str, Option<&str>),
    more: &[(&str, &str)],
) -> Pickle {
    let (account, key) = account;
    let mut fields = vec![
        ("access_group", u("")),
        ("account_name", u(account)),
        ("computer_title", u(title)),
        ("container_info", u("wsl")),
        ("hostname", u(&format!("{title}.localdomain"))),
        ("machine_id", u("5923867a-2ec8-5ee6-9c4d-0d1cf6f0bbd7")),
        ("type", u("register")),
        ("ubuntu_pro_info", u("{}")),
        ("vm_info", s("")),
    ];
    fields.extend(key.map(|key| ("registration_password", u(key))));
    fields.extend(more.iter().map(|(name, value)| (*name, u(value))));
    let register = Pickle::Dict(
        fields
            .into_iter()
            .map(|(name, value)| (u(name), value))
            .collect(),
    );
    let body = d([("messages", Pickle::List(vec![register]))]).write();
    let way = Way::Port(messages.port());
    let (status, body) = way
        .post("/message-system", &["X-Message-API: 3.3"], &body)
        .await;
    assert_eq!(status, 200);
    Pickle::read(&body).at("messages").expect("messages").list()[0].clone()
}

/// With the account's key, and without.
const KEYED: (&str, Option<&str>) = ("standalone", Some("right"));
const KEYLESS: (&str, Option<&str>) = ("standalone", None);

/// A host whose instances can register as computers.
struct Family {
    house: House,
    messages: Service,
    host: HostAgent,
    uid: String,
}

impl Family {
    async fn new() -> Family {
        let house = House::with(1).await;
        let settings = house.broker.with(&[]);
        let messages = Service::at("message-server", &house.database, free_range(1), &settings);
        let host = three(&house).await;
        let uid = host.info.uid.clone();
        Family {
            house,
            messages,
            host,
            uid,
        }
    }

    /// An instance registers with its host's identity, and maybe more. The computer's number.
    async fn comes(
        &self,
        title: &str,
        account: (&str, Option<&str>),
        more: &[(&str, &str)],
    ) -> String {
        let own = [("hostagent_uid", self.uid.as_str())];
        let fields = if more.is_empty() { &own[..] } else { more };
        let answer = registers(&self.messages, title, account, fields).await;
        assert_eq!(answer.at("type").expect("a type").text(), "set-id");
        let sql = format!("select max(id) from computer where title = '{title}'");
        self.house.rows(&sql)
    }

    async fn row(&self, instance: &str) -> String {
        self.house.instance_row(&self.uid, instance).await
    }

    /// The computer's page tells which instance it is, and how that stands.
    async fn is_told(&self, computer: &str, instance: &str, state: &str) {
        let told = format!(
            "{instance} on <a href=\"/hosts/{}\">win</a>, {state}",
            self.uid
        );
        eventually(&format!("the page says {told}"), || async {
            let page = self.house.page(&format!("/computers/{computer}")).await;
            page.contains(&told).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_instance_that_registers_is_known_as_its_hosts_wherever_somebody_looks() {
    let mut family = Family::new().await;
    let uid = family.uid.clone();
    let noble = [("instance", "Noble")];
    family.house.press(&uid, None, "Install", &noble).await;
    let command = family.host.command().await.expect("an order");
    family
        .house
        .carried_out(&mut family.host, &command, "")
        .await;
    family.host.info.instances.push(Instance {
        id: "Noble".to_owned(),
        name: "noble".to_owned(),
        ..Instance::default()
    });
    family.host.tell().await;
    family
        .house
        .until("select count(*) from wsl_instance", "4")
        .await;

    // The one that was installed by an order names the order; another one has its instance's name for a title.
    let by_order = [
        ("hostagent_uid", uid.as_str()),
        ("installation_request_id", command.request_id.as_str()),
    ];
    let desk = family.comes("<desk>", KEYED, &by_order).await;
    let shouted = uid.to_uppercase();
    let debian = family
        .comes("Debian", KEYED, &[("hostagent_uid", &shouted)])
        .await;
    let noble = family.row("Noble (noble)").await;
    let linked = format!("<a href=\"/computers/{desk}\">&lt;desk&gt;</a>");
    assert!(noble.contains(&linked), "{noble}");
    let linked = format!("<a href=\"/computers/{debian}\">Debian</a>");
    assert!(family.row("Debian (debian)").await.contains(&linked));
    assert!(!family.row("Ubuntu").await.contains("/computers/"));
    family.is_told(&desk, "Noble", "stopped").await;
    family.is_told(&debian, "Debian", "runs").await;

    // Another title changes nothing; an instance that its host has no more is said to be gone.
    let rename = format!("update computer set title = 'renamed' where id = {debian}");
    family.house.rows(&rename);
    assert!(family.row("Debian (debian)").await.contains(">renamed</a>"));
    family.host.info.instances.retain(|one| one.id != "Debian");
    family.host.tell().await;
    family
        .is_told(&debian, "Debian", "not there any more")
        .await;
}

#[tokio::test]
async fn who_only_says_that_it_is_an_instance_takes_nobodys_place() {
    let family = Family::new().await;
    let debian = family.comes("Debian", KEYED, &[]).await;
    let linked = format!("<a href=\"/computers/{debian}\">Debian</a>");
    // One that waits goes behind one that counts, and is said to wait where there is none.
    family.comes("Debian", KEYLESS, &[]).await;
    family.comes("Fedora", KEYLESS, &[]).await;
    assert!(family.row("Debian (debian)").await.contains(&linked));
    assert!(
        family
            .row("Fedora (fedora)")
            .await
            .contains(">waits</span>")
    );
    // One of another account is none of ours.
    let other =
        "insert into account (name, title, registration_key) values ('other', 'Other', 'theirs')";
    family.house.rows(other);
    family.comes("Ubuntu", ("other", Some("theirs")), &[]).await;
    assert!(!family.row("Ubuntu").await.contains("/computers/"));
    // What no host is called is nobody's, and does no harm.
    let odd = family
        .comes("odd", KEYED, &[("hostagent_uid", "nonsense")])
        .await;
    let page = family.house.page(&format!("/computers/{odd}")).await;
    assert!(!page.contains("WSL instance"), "{page}");
}
