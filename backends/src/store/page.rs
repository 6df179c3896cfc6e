//! What do people look at? Computers and their reports, as the pages show them.

use std::collections::HashMap;
use std::net::IpAddr;

use uuid::Uuid;

use super::{Result, Tx, find, one, rows, shown};

/// A computer in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Our number for it.
    pub id: i64,
    /// Its name for people.
    pub title: String,
    /// Its name in the network.
    pub hostname: String,
    /// Its operating system.
    pub distribution: Option<String>,
    /// Its tags, in order.
    pub tags: Vec<String>,
    /// Its first addresses.
    pub addresses: Vec<String>,
    /// When it pinged last, UTC.
    pub last_ping: Option<String>,
    /// When it exchanged messages last, UTC.
    pub last_exchange: Option<String>,
    /// When it registered, UTC.
    pub registered: String,
    /// It waits for a restart.
    pub reboot_required: bool,
}

/// One computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// As in the list.
    pub listed: Listed,
    /// False while it waits to be accepted.
    pub accepted: bool,
    /// Memory, MiB.
    pub memory_mib: Option<i64>,
    /// Swap space, MiB.
    pub swap_mib: Option<i64>,
    /// Kind of virtual machine and container.
    pub virtualization: String,
    /// Models of its processors.
    pub processors: Vec<String>,
    /// The WSL instance that it is, where its host is of the same account.
    pub child: Option<Child>,
}

/// A WSL instance that is a computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its host.
    pub host: Uuid,
    /// The name of its host.
    pub hostname: String,
    /// Its identity on the host.
    pub instance: String,
    /// It runs; None where its host tells nothing of it.
    pub running: Option<bool>,
}

/// Which computers are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    accepted: bool,
    tag: Option<String>,
    /// A part of the title or the host name.
    text: Option<String>,
}

impl Sought {
    /// Accepted ones, with this tag and this in the title or the host name; empty texts ask for nothing.
    pub fn accepted(tag: &str, text: &str) -> Self {
        // PostgreSQL has no NUL in texts, so nothing is found with one.
        let given = |text: &str| (!text.is_empty()).then(|| text.replace('\0', "\u{fffd}"));
        Self {
            accepted: true,
            tag: given(tag),
            text: given(text.trim()),
        }
    }

    /// Those that wait to be accepted.
    pub fn waiting() -> Self {
        Self {
            accepted: false,
            tag: None,
            text: None,
        }
    }
}

/// An interface, now or before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip_address: Option<IpAddr>,
    /// Hardware address.
    pub mac_address: String,
    /// Broadcast address.
    pub broadcast_address: Option<IpAddr>,
    /// Netmask.
    pub netmask: Option<IpAddr>,
    /// The kernel's flags.
    pub flags: i32,
    /// Mbit/s.
    pub speed: Option<i32>,
    /// Both directions at once.
    pub full_duplex: Option<bool>,
    /// Since when it was so, UTC.
    pub since: String,
    /// Until when, UTC; None for now.
    pub until: Option<String>,
    /// It was gone afterwards; else it was changed.
    pub gone: bool,
}

/// Traffic of an interface in one span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The interface.
    pub interface: String,
    /// The end of the span, seconds since 1970.
    pub at: i64,
    /// Bytes in one look of the agent, as the mean over the span.
    pub received: i64,
    /// The same.
    pub sent: i64,
}

/// What has become of an activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Its number.
    pub id: i64,
    /// What it does.
    pub summary: String,
    /// Where it stands.
    pub status: String,
    /// When it was ordered, UTC.
    pub created: String,
    /// When it ended, UTC.
    pub completed: Option<String>,
    /// What the computer said.
    pub result: Option<String>,
}

fn columns() -> String {
    format!(
        "computer.id, title, hostname, distribution, \
         array(select tag from computer_tag where computer_id = computer.id order by tag), \
         array(select host(ip_address) from network_interface where computer_id = computer.id \
               and ip_address <> '0.0.0.0' order by name limit 3), \
         {}, (select {} from exchange where computer_id = computer.id), {}, \
         coalesce(reboot_required, false)",
        shown("last_at"),
        shown("exchange.last_at"),
        shown("registered_at")
    )
}

fn listed(row: &tokio_postgres::Row) -> Result<Listed> {
    Ok(Listed {
        id: row.try_get(0)?,
        title: row.try_get(1)?,
        hostname: row.try_get(2)?,
        distribution: row.try_get(3)?,
        tags: row.try_get(4)?,
        addresses: row.try_get(5)?,
        last_ping: row.try_get(6)?,
        last_exchange: row.try_get(7)?,
        registered: row.try_get(8)?,
        reboot_required: row.try_get(9)?,
    })
}

/// Computers of an account by title, `most` from `offset`.
///
/// # Errors
///
/// The database's.
pub async fn computers(
    tx: &Tx<'_>,
    account: i64,
    sought: &Sought,
    offset: i64,
    most: i64,
) -> Result<Vec<Listed>> {
    let sql = format!(
        "select {} from computer left join computer_ping on computer_id = computer.id \
         where account_id = $1 and accepted = $2 \
             and ($3::text is null or exists (select from computer_tag \
             where computer_id = computer.id and tag = $3)) \
             and ($4::text is null or strpos(lower(title), lower($4)) > 0 \
                 or strpos(lower(hostname), lower($4)) > 0) \
         order by title, computer.id offset $5 limit $6",
        columns()
    );
    let Sought {
        accepted,
        tag,
        text,
    } = sought;
    rows(tx, &sql, &[&account, accepted, tag, text, &offset, &most])
        .await?
        .iter()
        .map(listed)
        .collect()
}

/// The names of these computers, by number; those that the account does not have are left out.
///
/// # Errors
///
/// The database's.
pub async fn titles(tx: &Tx<'_>, account: i64, ids: &[i64]) -> Result<HashMap<i64, String>> {
    let sql = "select id, title from computer where account_id = $1 and id = any($2)";
    let found = rows(tx, sql, &[&account, &ids]).await?;
    found
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// How many computers an account has, and how many wait.
///
/// # Errors
///
/// The database's.
pub async fn counts(tx: &Tx<'_>, account: i64) -> Result<(i64, i64)> {
    let sql = "select count(*) filter (where accepted), count(*) filter (where not accepted) \
               from computer where account_id = $1";
    let row = one(tx, sql, &[&account]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// One computer of an account.
///
/// # Errors
///
/// The database's.
pub async fn computer(tx: &Tx<'_>, account: i64, id: i64) -> Result<Option<Detail>> {
    let sql = format!(
        "select {}, accepted, total_memory_mib, total_swap_mib, \
             concat_ws(' ', nullif(vm_info, ''), nullif(container_info, '')), \
             array(select model from processor where computer_id = computer.id order by number) \
         from computer left join computer_ping on computer_id = computer.id \
         where account_id = $1 and computer.id = $2",
        columns()
    );
    let Some(row) = find(tx, &sql, &[&account, &id]).await? else {
        return Ok(None);
    };
    Ok(Some(Detail {
        listed: listed(&row)?,
        accepted: row.try_get(10)?,
        memory_mib: row.try_get(11)?,
        swap_mib: row.try_get(12)?,
        virtualization: row.try_get(13)?,
        processors: row.try_get(14)?,
        child: child(tx, account, id).await?,
    }))
}

/// The WSL instance that a computer is.
async fn child(tx: &Tx<'_>, account: i64, computer: i64) -> Result<Option<Child>> {
    let sql = "select wsl_host.uid, wsl_host.hostname, wsl_instance_id, running \
               from computer join wsl_host on wsl_host.account_id = computer.account_id \
                   and wsl_host.uid = case when hostagent_uid \
                       ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' \
                       then hostagent_uid::uuid end \
               left join wsl_instance on host_uid = uid and wsl_instance.id = wsl_instance_id \
               where computer.account_id = $1 and computer.id = $2 \
                   and wsl_instance_id is not null and wsl_host.accepted";
    let row = find(tx, sql, &[&account, &computer]).await?;
    row.map(|row| {
        Ok(Child {
            host: row.try_get(0)?,
            hostname: row.try_get(1)?,
            instance: row.try_get(2)?,
            running: row.try_get(3)?,
        })
    })
    .transpose()
}

fn interface_columns() -> String {
    let since = shown("since");
    format!(
        "name, ip_address, mac_address, broadcast_address, netmask, flags, speed, full_duplex, {since}"
    )
}

fn interface(row: &tokio_postgres::Row, before: bool) -> Result<Interface> {
    Ok(Interface {
        name: row.try_get(0)?,
        ip_address: row.try_get(1)?,
        mac_address: row.try_get(2)?,
        broadcast_address: row.try_get(3)?,
        netmask: row.try_get(4)?,
        flags: row.try_get(5)?,
        speed: row.try_get(6)?,
        full_duplex: row.try_get(7)?,
        since: row.try_get(8)?,
        until: if before { row.try_get(9)? } else { None },
        gone: before && row.try_get(10)?,
    })
}

/// The interfaces of a computer.
///
/// # Errors
///
/// The database's.
pub async fn interfaces(tx: &Tx<'_>, computer: i64) -> Result<Vec<Interface>> {
    let sql = format!(
        "select {} from network_interface where computer_id = $1 order by name",
        interface_columns()
    );
    rows(tx, &sql, &[&computer])
        .await?
        .iter()
        .map(|row| interface(row, false))
        .collect()
}

/// What its interfaces were before, the latest first, `most` from `offset`.
///
/// # Errors
///
/// The database's.
pub async fn interface_history(
    tx: &Tx<'_>,
    computer: i64,
    offset: i64,
    most: i64,
) -> Result<Vec<Interface>> {
    let sql = format!(
        "select {}, {}, gone \
         from network_interface_history where computer_id = $1 order by until desc, id desc \
         offset $2 limit $3",
        interface_columns(),
        shown("until")
    );
    rows(tx, &sql, &[&computer, &offset, &most])
        .await?
        .iter()
        .map(|row| interface(row, true))
        .collect()
}

/// Its traffic in the last day that it reported, but for `lo`.
///
/// # Errors
///
/// The database's.
pub async fn traffic(tx: &Tx<'_>, computer: i64) -> Result<Vec<Step>> {
    // From interface to interface and to the last of each, as the primary key has them: all that was measured is much.
    let sql = "with recursive known (name) as ( \
                   (select interface from network_traffic where computer_id = $1 \
                    order by interface limit 1) \
                   union all \
                   select (select interface from network_traffic \
                           where computer_id = $1 and interface > known.name \
                           order by interface limit 1) \
                   from known where known.name is not null), \
               last (at) as ( \
                   select max((select at from network_traffic \
                       where computer_id = $1 and interface = known.name \
                       order by at desc limit 1)) from known) \
               select known.name, extract(epoch from step.at)::bigint, received, sent \
               from known cross join last cross join lateral ( \
                   select at, received, sent from network_traffic \
                   where computer_id = $1 and interface = known.name \
                       and at > last.at - interval '1 day' \
                   order by at limit 5000) as step \
               where known.name <> 'lo' order by known.name, step.at limit 5000";
    let mut steps = Vec::new();
    for row in rows(tx, sql, &[&computer]).await? {
        steps.push(Step {
            interface: row.try_get(0)?,
            at: row.try_get(1)?,
            received: row.try_get(2)?,
            sent: row.try_get(3)?,
        });
    }
    Ok(steps)
}

/// The latest activities of a computer.
///
/// # Errors
///
/// The database's.
pub async fn activities(tx: &Tx<'_>, computer: i64, most: i64) -> Result<Vec<Activity>> {
    let sql = format!(
        "select id, summary, status, {}, {}, left(result_text, 2000) \
         from activity where computer_id = $1 order by id desc limit $2",
        shown("created_at"),
        shown("completed_at")
    );
    let mut activities = Vec::new();
    for row in rows(tx, &sql, &[&computer, &most]).await? {
        activities.push(Activity {
            id: row.try_get(0)?,
            summary: row.try_get(1)?,
            status: row.try_get(2)?,
            created: row.try_get(3)?,
            completed: row.try_get(4)?,
            result: row.try_get(5)?,
        });
    }
    Ok(activities)
}
