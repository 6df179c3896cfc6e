//! What does the API tell of computers? Everything about a list of them, in few statements.

use std::collections::HashMap;

use super::{Result, Tx, activity, find, iso, one, outbox, rows, run, search};
use crate::domain::alert::Alert;
use crate::domain::event::{Event, Topic};
use crate::domain::person::Person;

/// A message without further fields, in bpickle.
const EMPTY: &[u8] = b"d;";
/// Largest hardware that is told of a computer, bytes; a longer one is as if it were not known.
const HARDWARE_BYTES_MAX: i32 = 1 << 20;

/// A computer for clients of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Computer {
    /// Its number.
    pub id: i64,
    /// Its name for people.
    pub title: String,
    /// What people noted.
    pub comment: String,
    /// Its name in the network.
    pub hostname: String,
    /// MiB.
    pub total_memory: Option<i64>,
    /// MiB.
    pub total_swap: Option<i64>,
    /// It waits for a restart.
    pub reboot_required: bool,
    /// ISO 8601.
    pub last_ping: Option<String>,
    /// ISO 8601.
    pub last_exchange: Option<String>,
    /// In order.
    pub tags: Vec<String>,
    /// Empty: the global one.
    pub access_group: String,
    /// Distributor, description, release, code name.
    pub distribution: [Option<String>; 4],
    /// Kind of virtual machine.
    pub vm_info: String,
    /// Kind of container.
    pub container_info: String,
    /// Of which it is a clone.
    pub clone_of: Option<i64>,
    /// JSON about the subscription.
    pub ubuntu_pro_info: Option<String>,
    /// ISO 8601.
    pub registered: String,
    /// It lives on a WSL host.
    pub is_wsl: bool,
    /// lshw's XML, where it was asked for and is of a size to be told.
    pub hardware: Option<String>,
}

/// An interface for clients of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip_address: String,
    /// Hardware address.
    pub mac_address: String,
    /// Broadcast address.
    pub broadcast_address: String,
    /// Netmask.
    pub netmask: String,
}

/// How many bytes [`computers`] tells of the hardware of these.
///
/// # Errors
///
/// The database's.
pub async fn hardware_bytes(tx: &Tx<'_>, account: i64, ids: &[i64]) -> Result<i64> {
    let sql = "select coalesce(sum(octet_length(hardware_info)), 0)::bigint from computer \
               where account_id = $1 and id = any($2) and octet_length(hardware_info) <= $3";
    one(tx, sql, &[&account, &ids, &HARDWARE_BYTES_MAX])
        .await?
        .try_get(0)
        .map_err(Into::into)
}

/// These computers, in the order of the numbers; those that are gone are left out.
///
/// # Errors
///
/// The database's.
pub async fn computers(
    tx: &Tx<'_>,
    account: i64,
    ids: &[i64],
    hardware: bool,
) -> Result<Vec<Computer>> {
    let sql = format!(
        "select computer.id, title, comment, hostname, total_memory_mib, total_swap_mib, \
             coalesce(reboot_required, false), {pinged}, {exchanged}, \
             array(select tag from computer_tag where computer_id = computer.id order by tag), \
             access_group, distributor, distribution, release, code_name, vm_info, \
             container_info, clone_of, ubuntu_pro_info, {registered}, \
             coalesce(hostagent_uid, '') <> '', \
             case when $3 and octet_length(hardware_info) <= $4 then hardware_info end \
         from unnest($2::bigint[]) with ordinality as wanted (id, place) \
         join computer on computer.id = wanted.id \
         left join computer_ping on computer_ping.computer_id = computer.id \
         left join exchange on exchange.computer_id = computer.id \
         where account_id = $1 order by place",
        pinged = iso("computer_ping.last_at"),
        exchanged = iso("exchange.last_at"),
        registered = iso("registered_at"),
    );
    let mut computers = Vec::new();
    let values: super::Values<'_> = &[&account, &ids, &hardware, &HARDWARE_BYTES_MAX];
    for row in rows(tx, &sql, values).await? {
        computers.push(Computer {
            id: row.try_get(0)?,
            title: row.try_get(1)?,
            comment: row.try_get(2)?,
            hostname: row.try_get(3)?,
            total_memory: row.try_get(4)?,
            total_swap: row.try_get(5)?,
            reboot_required: row.try_get(6)?,
            last_ping: row.try_get(7)?,
            last_exchange: row.try_get(8)?,
            tags: row.try_get(9)?,
            access_group: row.try_get(10)?,
            distribution: [
                row.try_get(11)?,
                row.try_get(12)?,
                row.try_get(13)?,
                row.try_get(14)?,
            ],
            vm_info: row.try_get(15)?,
            container_info: row.try_get(16)?,
            clone_of: row.try_get(17)?,
            ubuntu_pro_info: row.try_get(18)?,
            registered: row.try_get(19)?,
            is_wsl: row.try_get(20)?,
            hardware: row.try_get(21)?,
        });
    }
    Ok(computers)
}

/// The interfaces of computers, by computer.
///
/// # Errors
///
/// The database's.
pub async fn interfaces(tx: &Tx<'_>, ids: &[i64]) -> Result<HashMap<i64, Vec<Interface>>> {
    let sql = "select computer_id, name, coalesce(host(ip_address), '0.0.0.0'), mac_address, \
                   coalesce(host(broadcast_address), '0.0.0.0'), \
                   coalesce(host(netmask), '0.0.0.0') \
               from network_interface where computer_id = any($1) order by computer_id, name";
    let mut all: HashMap<i64, Vec<Interface>> = HashMap::new();
    for row in rows(tx, sql, &[&ids]).await? {
        all.entry(row.try_get(0)?).or_default().push(Interface {
            name: row.try_get(1)?,
            ip_address: row.try_get(2)?,
            mac_address: row.try_get(3)?,
            broadcast_address: row.try_get(4)?,
            netmask: row.try_get(5)?,
        });
    }
    Ok(all)
}

/// The annotations of computers, by computer.
///
/// # Errors
///
/// The database's.
pub async fn annotations(tx: &Tx<'_>, ids: &[i64]) -> Result<HashMap<i64, Vec<(String, String)>>> {
    let sql = "select computer_id, name, value from computer_annotation \
               where computer_id = any($1) order by computer_id, name";
    let mut all: HashMap<i64, Vec<(String, String)>> = HashMap::new();
    for row in rows(tx, sql, &[&ids]).await? {
        let pair = (row.try_get(1)?, row.try_get(2)?);
        all.entry(row.try_get(0)?).or_default().push(pair);
    }
    Ok(all)
}

/// The alerts that computers have, by computer.
///
/// # Errors
///
/// The database's.
pub async fn alerts(tx: &Tx<'_>, ids: &[i64]) -> Result<HashMap<i64, Vec<Alert>>> {
    let conditions = Alert::ALL.map(search::alert).join(", ");
    let sql = format!("select id, {conditions} from computer where id = any($1)");
    let mut all = HashMap::new();
    for row in rows(tx, &sql, &[&ids]).await? {
        let mut alerts = Vec::new();
        for (column, alert) in (1_usize..).zip(Alert::ALL) {
            if row.try_get(column)? {
                alerts.push(alert);
            }
        }
        all.insert(row.try_get(0)?, alerts);
    }
    Ok(all)
}

/// How many accepted computers of an account have which alert.
///
/// # Errors
///
/// The database's.
pub async fn alerted(tx: &Tx<'_>, account: i64) -> Result<Vec<(Alert, i64)>> {
    let counts = Alert::ALL.map(|one| format!("count(*) filter (where {})", search::alert(one)));
    let sql = format!(
        "select {} from computer where account_id = $1 and accepted",
        counts.join(", ")
    );
    let row = one(tx, &sql, &[&account]).await?;
    let counted = Alert::ALL.into_iter().enumerate();
    counted
        .map(|(column, alert)| Ok((alert, row.try_get(column)?)))
        .collect()
}

/// How many packages of a computer can be upgraded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upgrades {
    /// To versions that mend no weakness.
    pub regular: i64,
    /// To ones that do.
    pub security: i64,
}

/// How many packages can be upgraded, by computer; without those that never told of their packages.
///
/// # Errors
///
/// The database's.
pub async fn upgrades(tx: &Tx<'_>, ids: &[i64]) -> Result<HashMap<i64, Upgrades>> {
    // A package may have several newer versions, and counts once. Long ranges are parted as a whole: a look into them for
    // each package would unpack them each time.
    let sql = "select told.computer_id, \
                   count(name) filter (where not mends), count(name) filter (where mends) \
               from computer_packages told left join lateral ( \
                   select name, bool_or(security) as mends from ( \
                       select unnest(told.upgrades - told.security) as span, false as security \
                       union all \
                       select unnest(told.upgrades * told.security), true) as part \
                   join package on package.id >= lower(span) and package.id < upper(span) \
                   group by name) as newer on true \
               where told.computer_id = any($1) group by told.computer_id";
    let mut all = HashMap::new();
    for row in rows(tx, sql, &[&ids]).await? {
        let upgrades = Upgrades {
            regular: row.try_get(1)?,
            security: row.try_get(2)?,
        };
        all.insert(row.try_get(0)?, upgrades);
    }
    Ok(all)
}

/// Which of these numbers are accepted computers of an account, in the order given.
///
/// # Errors
///
/// The database's.
pub async fn known(tx: &Tx<'_>, account: i64, ids: &[i64], accepted: bool) -> Result<Vec<i64>> {
    let sql = "select computer.id \
               from unnest($2::bigint[]) with ordinality as wanted (id, place) \
               join computer using (id) where account_id = $1 and accepted = $3 order by place";
    let found = rows(tx, sql, &[&account, &ids, &accepted]).await?;
    found.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// A computer that waits, for clients of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its number.
    pub id: i64,
    /// Its name for people.
    pub title: String,
    /// Its name in the network.
    pub hostname: String,
    /// ISO 8601.
    pub created: String,
    /// Kind of virtual machine.
    pub vm_info: String,
    /// What it says of itself.
    pub tags: Vec<String>,
}

/// Computers that wait, `most` from `offset`, and how many there are.
///
/// # Errors
///
/// The database's.
pub async fn pending(
    tx: &Tx<'_>,
    account: i64,
    offset: i64,
    most: i64,
) -> Result<(i64, Vec<Pending>)> {
    let sql = "select count(*) from computer where account_id = $1 and not accepted";
    let count = one(tx, sql, &[&account]).await?.try_get(0)?;
    let sql = format!(
        "select id, title, hostname, {}, vm_info, \
             array(select tag from computer_tag where computer_id = computer.id order by tag) \
         from computer where account_id = $1 and not accepted order by id offset $2 limit $3",
        iso("registered_at")
    );
    let mut waiting = Vec::new();
    for row in rows(tx, &sql, &[&account, &offset, &most]).await? {
        waiting.push(Pending {
            id: row.try_get(0)?,
            title: row.try_get(1)?,
            hostname: row.try_get(2)?,
            created: row.try_get(3)?,
            vm_info: row.try_get(4)?,
            tags: row.try_get(5)?,
        });
    }
    Ok((count, waiting))
}

/// Computers that are told of by name when people change something of them; more are told of together.
const NAMED_MAX: usize = 100;

/// Notes that people changed something of these computers.
async fn changed(tx: &Tx<'_>, ids: &[i64]) -> Result<()> {
    if ids.len() > NAMED_MAX {
        return outbox::put(tx, &Event::of(Topic::ComputerChanged, "")).await;
    }
    outbox::put_each(tx, Topic::ComputerChanged, ids).await
}

/// Puts a tag on computers.
///
/// # Errors
///
/// The database's.
pub async fn add_tags(tx: &Tx<'_>, ids: &[i64], tags: &[String]) -> Result<()> {
    let sql = "insert into computer_tag select id, tag \
               from unnest($1::bigint[]) as id cross join unnest($2::text[]) as tag \
               on conflict do nothing";
    run(tx, sql, &[&ids, &tags]).await?;
    changed(tx, ids).await
}

/// Takes tags off computers.
///
/// # Errors
///
/// The database's.
pub async fn remove_tags(tx: &Tx<'_>, ids: &[i64], tags: &[String]) -> Result<()> {
    let sql = "delete from computer_tag where computer_id = any($1) and tag = any($2)";
    run(tx, sql, &[&ids, &tags]).await?;
    changed(tx, ids).await
}

/// Moves computers into an access group.
///
/// # Errors
///
/// The database's.
pub async fn set_access_group(tx: &Tx<'_>, ids: &[i64], group: &str) -> Result<()> {
    let sql = "update computer set access_group = $2 where id = any($1)";
    run(tx, sql, &[&ids, &group]).await?;
    changed(tx, ids).await
}

/// Gives a computer another title.
///
/// # Errors
///
/// The database's.
pub async fn rename(tx: &Tx<'_>, id: i64, title: &str) -> Result<()> {
    let sql = "update computer set title = $2 where id = $1";
    run(tx, sql, &[&id, &title]).await?;
    changed(tx, &[id]).await
}

/// Notes something of computers under a name.
///
/// # Errors
///
/// The database's.
pub async fn annotate(tx: &Tx<'_>, ids: &[i64], name: &str, value: &str) -> Result<()> {
    let sql = "insert into computer_annotation (computer_id, name, value) \
               select id, $2, $3 from unnest($1::bigint[]) as id \
               on conflict (computer_id, name) \
               do update set value = excluded.value, told_by_agent = false";
    run(tx, sql, &[&ids, &name, &value]).await?;
    changed(tx, ids).await
}

/// Takes a note away.
///
/// # Errors
///
/// The database's.
pub async fn unannotate(tx: &Tx<'_>, ids: &[i64], name: &str) -> Result<()> {
    let sql = "delete from computer_annotation where computer_id = any($1) and name = $2";
    run(tx, sql, &[&ids, &name]).await?;
    changed(tx, ids).await
}

/// Computers that are removed by one statement: each takes what it reported and its activities along, and a statement has its
/// time.
const REMOVED_AT_ONCE: usize = 20;

/// Forgets computers with all they reported; what they measured, which is much, is left to be swept ([`super::removed`]).
///
/// # Errors
///
/// The database's.
pub async fn remove(tx: &Tx<'_>, person: &Person, ids: &[i64]) -> Result<u64> {
    let sql = "delete from computer where account_id = $1 and id = any($2) returning id";
    let mut removed = Vec::<i64>::new();
    for some in ids.chunks(REMOVED_AT_ONCE) {
        for row in rows(tx, sql, &[&person.account, &some]).await? {
            removed.push(row.try_get(0)?);
        }
    }
    outbox::put_each(tx, Topic::ComputerRemoved, &removed).await?;
    Ok(removed.len() as u64)
}

/// Lets a computer that waits take the place of one that is known, which keeps its number, title, tags and history, and
/// has the identity and host name of the one that waits. True where both are there.
///
/// # Errors
///
/// The database's.
pub async fn replace(tx: &Tx<'_>, account: i64, waiting: i64, known: i64) -> Result<bool> {
    let sql = "select secure_id, insecure_id, hostname, machine_id, vm_info, container_info, \
               hostagent_uid, installation_request_id, wsl_instance_id \
               from computer where account_id = $1 and id = $2 and not accepted for update";
    let Some(row) = find(tx, sql, &[&account, &waiting]).await? else {
        return Ok(false);
    };
    let sql = "select from computer where account_id = $1 and id = $2 and accepted for update";
    if find(tx, sql, &[&account, &known]).await?.is_none() {
        return Ok(false);
    }
    // What was handed out belongs to the old identity, and orders that were under way end with it.
    run(
        tx,
        "delete from outgoing_message where computer_id = $1",
        &[&known],
    )
    .await?;
    run(tx, "delete from exchange where computer_id = $1", &[&known]).await?;
    let sql = "update activity set status = 'failed', completed_at = now(), \
               result_text = 'the computer was replaced' \
               where computer_id = $1 and status = 'delivered'";
    if run(tx, sql, &[&known]).await? > 0 {
        outbox::put_of(tx, Topic::ActivityChanged, known).await?;
    }
    let sql = "update exchange set computer_id = $2 where computer_id = $1";
    run(tx, sql, &[&waiting, &known]).await?;
    let sql = "update outgoing_message set computer_id = $2 where computer_id = $1";
    run(tx, sql, &[&waiting, &known]).await?;
    run(tx, "delete from computer where id = $1", &[&waiting]).await?;
    let sql = "update computer set secure_id = $2, insecure_id = $3, hostname = $4, \
               machine_id = $5, vm_info = $6, container_info = $7, hostagent_uid = $8, \
               installation_request_id = $9, wsl_instance_id = $10, accepted_at = now() \
               where id = $1";
    let (secure, insecure): (uuid::Uuid, i64) = (row.try_get(0)?, row.try_get(1)?);
    let hostname: String = row.try_get(2)?;
    let machine: Option<String> = row.try_get(3)?;
    let (vm, container): (String, String) = (row.try_get(4)?, row.try_get(5)?);
    let host: [Option<String>; 3] = [row.try_get(6)?, row.try_get(7)?, row.try_get(8)?];
    let [uid, request, instance] = &host;
    let values: super::Values<'_> = &[
        &known, &secure, &insecure, &hostname, &machine, &vm, &container, uid, request, instance,
    ];
    run(tx, sql, values).await?;
    outbox::put_of(tx, Topic::ComputerRemoved, waiting).await?;
    outbox::put_of(tx, Topic::ComputerAccepted, known).await?;
    // What the one before told only as it changed is void, but not before all of it is told anew.
    let summary = "Report everything again";
    activity::order(tx, known, "resynchronize", summary, EMPTY).await?;
    Ok(true)
}
