//! Does the database hold what was acknowledged, once and in order? Content is compared, not only counted.
//!
//! Of computers: the number that the server expects next, the history of the interface report by report, traffic,
//! every order with whom it named and what its result says, and that a ping was written lately. Of hosts: identity,
//! stream, instances, and every order with its content and how the host said that it ended. Of orders: one that was
//! acknowledged is there once, one whose answer was lost at most once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::Context as _;
use tokio_postgres::{Client, NoTls, Row};

use super::agent::Agent;
use super::host::{Host, Taken};
use super::order::Given;
use super::pickle::Value;
use super::stream::Shared;

/// Problems that are told; the rest is counted.
const TOLD_MAX: usize = 20;
/// Before a connection is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What does not agree.
#[derive(Debug, Default)]
pub struct Problems {
    pub first: Vec<String>,
    pub total: usize,
}

impl Problems {
    pub fn add(&mut self, problem: String) {
        self.total += 1;
        if self.first.len() < TOLD_MAX {
            self.first.push(problem);
        }
    }
}

/// Connects.
///
/// # Errors
///
/// Nobody answers there.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let connected = tokio::time::timeout(PATIENCE, tokio_postgres::connect(url, NoTls)).await;
    let (client, connection) = connected
        .context("nobody answers in time")
        .and_then(|connected| Ok(connected?))
        .context("the database of --database")?;
    tokio::task::spawn_local(async move {
        // What went wrong is told by the statement that met it.
        let _ = connection.await;
    });
    Ok(client)
}

/// All that there is to compare with.
pub struct Ours<'a> {
    pub run: &'a str,
    pub agents: &'a [Agent],
    pub hosts: &'a [Shared],
    /// Orders of computers.
    pub given: &'a [Given],
    /// Orders of hosts.
    pub host_given: &'a [Given],
    /// Hosts showed a key, and so are accepted.
    pub key: bool,
    /// A ping of each agent must have been written within this time.
    pub settling: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Compared {
    pub computers: usize,
    pub hosts: usize,
    /// Hosts that have all that they should.
    pub hosts_good: usize,
    /// Places of agents whose ping nobody has written.
    pub unheard: Vec<usize>,
    pub problems: Problems,
}

/// Compares everything.
///
/// # Errors
///
/// The database's.
pub async fn compare(client: &Client, ours: &Ours<'_>) -> anyhow::Result<Compared> {
    let mut compared = Compared::default();
    computers(client, ours, &mut compared).await?;
    hosts(client, ours, &mut compared).await?;
    Ok(compared)
}

/// An order as the database has it.
#[derive(Debug)]
struct Order {
    id: i64,
    kind: String,
    username: String,
    status: String,
    result: Option<String>,
}

/// What the database knows of one computer.
#[derive(Debug, Default)]
struct Known {
    expected: Option<i64>,
    /// Addresses of its interface, the oldest first.
    addresses: Vec<String>,
    traffic: (i64, i64),
    orders: Vec<Order>,
    heard: bool,
}

async fn computers(
    client: &Client,
    ours: &Ours<'_>,
    compared: &mut Compared,
) -> anyhow::Result<()> {
    let known = known(client, ours).await?;
    let problems = &mut compared.problems;
    for (place, agent) in ours.agents.iter().enumerate() {
        for wrong in &agent.wrong {
            problems.add(format!("{}: {wrong}", agent.title));
        }
        let Some(secure) = &agent.secure else {
            problems.add(format!("{} never registered", agent.title));
            continue;
        };
        let Some(known) = known.get(secure) else {
            problems.add(format!("{}: no such computer in the database", agent.title));
            continue;
        };
        compared.computers += 1;
        agree(agent, known, problems);
        if !known.heard {
            problems.add(format!("{}: no ping of it was written lately", agent.title));
            compared.unheard.push(place);
        }
    }
    if known.len() > ours.agents.len() {
        problems.add(format!(
            "{} computers for {} clients",
            known.len(),
            ours.agents.len()
        ));
    }
    let mut stored: HashMap<&str, Vec<&str>> = HashMap::new();
    for (secure, known) in &known {
        for order in &known.orders {
            stored.entry(&order.username).or_default().push(secure);
        }
    }
    for given in ours.given {
        let of = stored
            .get(given.mark.as_str())
            .map_or(&[][..], Vec::as_slice);
        once(given, of, problems);
    }
    Ok(())
}

/// An acknowledged order is there once, and of whom it was ordered; another at most once.
fn once(given: &Given, of: &[&str], problems: &mut Problems) {
    let right = match of {
        [] => !given.acknowledged,
        [one] => *one == given.of,
        _ => false,
    };
    if !right {
        let word = if given.acknowledged {
            "acknowledged"
        } else {
            "not acknowledged"
        };
        problems.add(format!(
            "order {} of {} was {word}, and is stored {} times",
            given.mark,
            given.of,
            of.len()
        ));
    }
}

fn agree(agent: &Agent, known: &Known, problems: &mut Problems) {
    let title = &agent.title;
    if known.expected != Some(agent.next_number()) {
        problems.add(format!(
            "{title}: the server expects message {:?}, the client sends {} next",
            known.expected,
            agent.next_number()
        ));
    }
    let address = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        format!("10.{a}.{b}.{c}")
    };
    let wanted: Vec<String> = (0..agent.interfaces_kept).map(address).collect();
    if known.addresses != wanted {
        problems.add(format!(
            "{title}: {} reports of interfaces were acknowledged, the history has {}: {:?}",
            wanted.len(),
            known.addresses.len(),
            known.addresses
        ));
    }
    let steps = i64::from(agent.traffic_kept);
    if known.traffic != (steps, steps * (steps - 1) / 2) {
        problems.add(format!(
            "{title}: {steps} reports of traffic were acknowledged, the database has {:?}",
            known.traffic
        ));
    }
    let mut results = 0;
    for order in &known.orders {
        let Order { id, username, .. } = order;
        if agent.orders.get(id) != Some(username) {
            problems.add(format!("{title}: order {id} ({username}) never came"));
            continue;
        }
        let script = order.kind == "execute-script";
        let said = script.then(|| agent.result(*id, username));
        if order.status != "succeeded" || order.result != said {
            problems.add(format!(
                "{title}: order {id} ended as {}: {:?}",
                order.status, order.result
            ));
        }
        results += u32::from(script);
    }
    if known.orders.len() != agent.orders.len() || results != agent.results_kept {
        problems.add(format!(
            "{title}: {} orders came, {} results were acknowledged, {} orders are stored",
            agent.orders.len(),
            agent.results_kept,
            known.orders.len()
        ));
    }
}

async fn known(client: &Client, ours: &Ours<'_>) -> anyhow::Result<HashMap<String, Known>> {
    let titles = format!("{}-%", ours.run);
    let mut known: HashMap<String, Known> = HashMap::new();
    let sql = "select secure_id::text, expected, \
                   (select count(*) from network_traffic where computer_id = computer.id), \
                   (select coalesce(sum(received), 0)::bigint from network_traffic \
                    where computer_id = computer.id), \
                   exists (select from computer_ping where computer_id = computer.id \
                       and last_at > now() - make_interval(secs => $2)) \
               from computer left join exchange on computer_id = computer.id \
               where title like $1";
    let lately = ours.settling.as_secs_f64();
    for row in client.query(sql, &[&titles, &lately]).await? {
        let one = Known {
            expected: row.try_get(1)?,
            traffic: (row.try_get(2)?, row.try_get(3)?),
            heard: row.try_get(4)?,
            ..Known::default()
        };
        known.insert(row.try_get(0)?, one);
    }
    let sql = "select secure_id::text, host(ip_address) from ( \
                   select computer_id, id, ip_address from network_interface_history \
                   union all select computer_id, null, ip_address from network_interface \
               ) address join computer on computer.id = computer_id \
               where title like $1 order by computer_id, address.id nulls last";
    for row in client.query(sql, &[&titles]).await? {
        let secure: String = row.try_get(0)?;
        if let Some(known) = known.get_mut(&secure) {
            known.addresses.push(row.try_get(1)?);
        }
    }
    let sql = "select secure_id::text, one.id, one.type, coalesce(one.fields, parent.fields), \
                   one.status, one.result_text \
               from activity one join computer on computer.id = one.computer_id \
               left join activity parent on parent.id = one.parent_id \
               where title like $1 order by one.id";
    for row in client.query(sql, &[&titles]).await? {
        let secure: String = row.try_get(0)?;
        if let Some(known) = known.get_mut(&secure) {
            known.orders.push(order(&row)?);
        }
    }
    Ok(known)
}

fn order(row: &Row) -> anyhow::Result<Order> {
    let fields = Value::read(row.try_get::<_, &[u8]>(3)?);
    let username = fields
        .as_ref()
        .and_then(|fields| fields.at("username")?.as_str());
    Ok(Order {
        id: row.try_get(1)?,
        kind: row.try_get(2)?,
        username: username.unwrap_or_default().to_owned(),
        status: row.try_get(4)?,
        result: row.try_get(5)?,
    })
}

/// What the database knows of one host.
#[derive(Debug, Default)]
struct KnownHost {
    uid: String,
    accepted: bool,
    connected: bool,
    default: Option<String>,
    instances: BTreeMap<String, bool>,
    orders: Vec<HostOrder>,
}

/// An order of a host as the database has it.
#[derive(Debug)]
struct HostOrder {
    request_id: String,
    kind: String,
    instance: String,
    state: String,
    error: String,
}

async fn hosts(client: &Client, ours: &Ours<'_>, compared: &mut Compared) -> anyhow::Result<()> {
    if ours.hosts.is_empty() {
        return Ok(());
    }
    let known = known_hosts(client, ours.run).await?;
    let count: usize = known.values().map(Vec::len).sum();
    let problems = &mut compared.problems;
    if count > ours.hosts.len() {
        problems.add(format!("{count} hosts are stored for {}", ours.hosts.len()));
    }
    let mut stored: HashMap<&str, Vec<&str>> = HashMap::new();
    for known in known.values().flatten() {
        for order in &known.orders {
            let of = stored.entry(&order.request_id).or_default();
            of.push(&known.uid);
        }
    }
    let mut gave: HashMap<&str, Vec<&str>> = HashMap::new();
    for given in ours.host_given {
        let of = stored
            .get(given.mark.as_str())
            .map_or(&[][..], Vec::as_slice);
        once(given, of, problems);
        gave.entry(&given.of).or_default().push(&given.mark);
    }
    for host in ours.hosts {
        let host = host.borrow();
        let before = problems.total;
        match known.get(&host.hostname).map(Vec::as_slice) {
            Some([known]) => {
                compared.hosts += 1;
                let gave = gave.get(known.uid.as_str()).map_or(&[][..], Vec::as_slice);
                agree_host(&host, known, ours.key, gave, problems);
            }
            other => problems.add(format!(
                "{}: stored {} times",
                host.hostname,
                other.map_or(0, <[_]>::len)
            )),
        }
        compared.hosts_good += usize::from(problems.total == before);
    }
    Ok(())
}

fn agree_host(host: &Host, known: &KnownHost, key: bool, gave: &[&str], problems: &mut Problems) {
    let name = &host.hostname;
    for wrong in &host.wrong {
        problems.add(format!("{name}: {wrong}"));
    }
    if host.uid.as_ref() != Some(&known.uid) {
        problems.add(format!(
            "{name}: it is {:?}, stored is {}",
            host.uid, known.uid
        ));
    }
    if !known.connected {
        problems.add(format!("{name}: it has no stream"));
    }
    if key && !known.accepted {
        problems.add(format!("{name}: it showed the key, and waits"));
    }
    if known.default.as_ref() != Some(&host.default) || known.instances != host.instances {
        problems.add(format!(
            "{name}: it told {:?}, default {}; stored is {:?}, default {:?}",
            host.instances, host.default, known.instances, known.default
        ));
    }
    if !host.unsaid.is_empty() {
        problems.add(format!(
            "{name}: {} statuses were never answered",
            host.unsaid.len()
        ));
    }
    let mut taken: HashMap<&str, &Taken> = HashMap::new();
    for one in &host.taken {
        taken.insert(&one.request_id, one);
    }
    let count = known.orders.len();
    if count != taken.len() {
        problems.add(format!(
            "{name}: {} orders came, {count} are stored",
            taken.len()
        ));
    }
    for order in &known.orders {
        let id = &order.request_id;
        let Some(taken) = taken.get(id.as_str()) else {
            problems.add(format!("{name}: order {id} ({}) never came", order.state));
            continue;
        };
        let state = if taken.error.is_empty() {
            "succeeded"
        } else {
            "failed"
        };
        let same = (taken.kind, &taken.instance) == (order.kind.as_str(), &order.instance);
        if !same || !taken.answered || (order.state.as_str(), &order.error) != (state, &taken.error)
        {
            problems.add(format!("{name}: it took {taken:?}, stored is {order:?}"));
        }
    }
    // The fleet gives one after the other, so they come in that order.
    let own: HashSet<&str> = gave.iter().copied().collect();
    let came = host.taken.iter().map(|one| one.request_id.as_str());
    let came = came.filter(|id| own.contains(id));
    let gave = gave.iter().copied().filter(|mark| taken.contains_key(mark));
    if !came.eq(gave) {
        problems.add(format!(
            "{name}: orders came in another order than they were given"
        ));
    }
}

async fn known_hosts(
    client: &Client,
    run: &str,
) -> anyhow::Result<HashMap<String, Vec<KnownHost>>> {
    let names = format!("{run}-host%");
    let mut hosts: HashMap<String, (String, KnownHost)> = HashMap::new();
    let sql = "select uid::text, hostname, accepted, stream is not null, default_instance_id \
               from wsl_host where hostname like $1";
    for row in client.query(sql, &[&names]).await? {
        let uid: String = row.try_get(0)?;
        let known = KnownHost {
            uid: uid.clone(),
            accepted: row.try_get(2)?,
            connected: row.try_get(3)?,
            default: row.try_get(4)?,
            ..KnownHost::default()
        };
        hosts.insert(uid, (row.try_get(1)?, known));
    }
    let sql = "select host_uid::text, id, running from wsl_instance \
               join wsl_host on uid = host_uid where hostname like $1";
    for row in client.query(sql, &[&names]).await? {
        let uid: String = row.try_get(0)?;
        if let Some((_, known)) = hosts.get_mut(&uid) {
            known.instances.insert(row.try_get(1)?, row.try_get(2)?);
        }
    }
    let sql = "select host_uid::text, request_id::text, kind, instance_id, state, error \
               from wsl_command join wsl_host on uid = host_uid \
               where hostname like $1 order by wsl_command.number";
    for row in client.query(sql, &[&names]).await? {
        let uid: String = row.try_get(0)?;
        if let Some((_, known)) = hosts.get_mut(&uid) {
            known.orders.push(HostOrder {
                request_id: row.try_get(1)?,
                kind: row.try_get(2)?,
                instance: row.try_get(3)?,
                state: row.try_get(4)?,
                error: row.try_get(5)?,
            });
        }
    }
    let mut known: HashMap<String, Vec<KnownHost>> = HashMap::new();
    for (name, host) in hosts.into_values() {
        known.entry(name).or_default().push(host);
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(acknowledged: bool) -> Given {
        Given {
            mark: "order1".to_owned(),
            of: "a".to_owned(),
            acknowledged,
        }
    }

    #[test]
    fn an_acknowledged_order_is_there_once_and_another_at_most_once() {
        for (acknowledged, of, right) in [
            (true, vec!["a"], true),
            (true, vec!["b"], false),
            (true, vec![], false),
            (true, vec!["a", "a"], false),
            (false, vec![], true),
            (false, vec!["a"], true),
            (false, vec!["a", "a"], false),
        ] {
            let mut problems = Problems::default();
            once(&given(acknowledged), &of, &mut problems);
            assert_eq!(problems.total == 0, right, "{acknowledged} {of:?}");
        }
    }

    #[test]
    fn what_a_host_took_is_compared_with_what_is_stored() {
        use super::super::host::{Cmd, Command, Named};
        let mut host = Host::new("run", 1, "standalone", Some("key"));
        let named = |id: &str| Named { id: id.to_owned() };
        for (request_id, cmd) in [
            ("", Cmd::AssignHost(named("uid"))),
            ("1", Cmd::Start(named("Ubuntu"))),
            ("2", Cmd::Stop(named("Arch"))),
        ] {
            host.obey(Command {
                cmd: Some(cmd),
                request_id: request_id.to_owned(),
            });
        }
        while !host.unsaid.is_empty() {
            host.said();
        }
        let order = |id: &str, kind: &str, instance: &str, state: &str, error: &str| HostOrder {
            request_id: id.to_owned(),
            kind: kind.to_owned(),
            instance: instance.to_owned(),
            state: state.to_owned(),
            error: error.to_owned(),
        };
        let right = || KnownHost {
            uid: "uid".to_owned(),
            accepted: true,
            connected: true,
            default: Some("Ubuntu".to_owned()),
            instances: host.instances.clone(),
            orders: vec![
                order("1", "start", "Ubuntu", "succeeded", ""),
                order("2", "stop", "Arch", "failed", "there is no Arch"),
            ],
        };
        let problems = |known: &KnownHost, gave: &[&str]| {
            let mut problems = Problems::default();
            agree_host(&host, known, true, gave, &mut problems);
            problems.total
        };
        assert_eq!(problems(&right(), &["1", "2"]), 0);
        let changes: [fn(&mut KnownHost); 7] = [
            |known| known.uid.push('x'),
            |known| known.connected = false,
            |known| known.accepted = false,
            |known| known.instances.clear(),
            |known| known.orders.truncate(1),
            |known| known.orders[0].state = "sent".to_owned(),
            |known| known.orders[1].error.clear(),
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut known = right();
            change(&mut known);
            assert_ne!(problems(&known, &["1", "2"]), 0, "change {at}");
        }
        assert_eq!(problems(&right(), &["2", "1"]), 1, "another order");
    }
}
