//! Does the database hold what was acknowledged, once and in order? And who gives the orders?

use std::collections::HashMap;

use anyhow::Context as _;
use tokio_postgres::{Client, NoTls};

use super::agent::Agent;
use super::pickle::Value;

/// Problems that are told; the rest is counted.
const TOLD_MAX: usize = 20;

/// What does not agree.
#[derive(Debug, Default)]
pub struct Problems {
    pub first: Vec<String>,
    pub total: usize,
}

impl Problems {
    fn add(&mut self, problem: String) {
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
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("the database of --database")?;
    tokio::task::spawn_local(async move {
        // What went wrong is told by the statement that met it.
        let _ = connection.await;
    });
    Ok(client)
}

/// Orders a script of the computer with this identity. True where there is such a computer.
///
/// # Errors
///
/// The database's.
pub async fn order(client: &Client, secure: &str) -> anyhow::Result<bool> {
    let fields = Value::dict([
        ("attachments", Value::dict([])),
        ("code", Value::text("true")),
        ("interpreter", Value::text("/bin/sh")),
        ("time-limit", Value::Int(60)),
        ("username", Value::text("root")),
    ]);
    let sql = "insert into activity (computer_id, type, summary, fields) \
               select id, 'execute-script', 'loadtest', $2 from computer \
               where secure_id::text = $1 and accepted";
    Ok(client.execute(sql, &[&secure, &fields.write()]).await? == 1)
}

/// What the database knows of one computer.
#[derive(Debug, Default)]
struct Known {
    expected: Option<i64>,
    /// Addresses of its interface, the oldest first.
    addresses: Vec<String>,
    traffic: (i64, i64),
    /// Orders, and those whose result is the computer's own.
    orders: (i64, i64),
}

/// Compares all agents with what the database knows of them. How many were compared, and what does not
/// agree.
///
/// # Errors
///
/// The database's.
pub async fn compare(
    client: &Client,
    run: &str,
    agents: &[Agent],
) -> anyhow::Result<(usize, Problems)> {
    let known = known(client, run).await?;
    let mut problems = Problems::default();
    let mut compared = 0;
    for agent in agents {
        let Some(secure) = &agent.secure else {
            problems.add(format!("{} never registered", agent.title));
            continue;
        };
        let Some(known) = known.get(secure) else {
            problems.add(format!("{}: no such computer in the database", agent.title));
            continue;
        };
        compared += 1;
        agree(agent, known, &mut problems);
    }
    if known.len() > agents.len() {
        problems.add(format!(
            "{} computers for {} clients",
            known.len(),
            agents.len()
        ));
    }
    Ok((compared, problems))
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
    let results = i64::from(agent.results_kept);
    if known.orders != (results, results) {
        problems.add(format!(
            "{title}: {results} results were acknowledged; orders, and those that ended so: {:?}",
            known.orders
        ));
    }
}

async fn known(client: &Client, run: &str) -> anyhow::Result<HashMap<String, Known>> {
    let titles = format!("{run}-%");
    let mut known: HashMap<String, Known> = HashMap::new();
    let sql = "select secure_id::text, expected, \
                   (select count(*) from network_traffic where computer_id = computer.id), \
                   (select coalesce(sum(received), 0)::bigint from network_traffic \
                    where computer_id = computer.id), \
                   (select count(*) from activity where computer_id = computer.id \
                    and summary = 'loadtest'), \
                   (select count(*) from activity where computer_id = computer.id \
                    and summary = 'loadtest' and status = 'succeeded' \
                    and result_text = title || ' did ' || activity.id) \
               from computer left join exchange on computer_id = computer.id \
               where title like $1";
    for row in client.query(sql, &[&titles]).await? {
        let one = Known {
            expected: row.try_get(1)?,
            addresses: Vec::new(),
            traffic: (row.try_get(2)?, row.try_get(3)?),
            orders: (row.try_get(4)?, row.try_get(5)?),
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
    Ok(known)
}
