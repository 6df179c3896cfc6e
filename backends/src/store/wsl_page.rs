//! What do people look at? WSL hosts, as the pages show them.

use uuid::Uuid;

use super::{Result, Tx, find, one, rows, shown};

/// A host in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Who it is.
    pub uid: Uuid,
    /// Its name.
    pub hostname: String,
    /// False while it waits to be accepted.
    pub accepted: bool,
    /// It has a stream.
    pub connected: bool,
    /// Since when it has, or had its last; UTC.
    pub since: Option<String>,
    /// When it told of itself last, UTC.
    pub last_info: Option<String>,
    /// When it came first, UTC.
    pub registered: String,
    /// Its instances, and those that run.
    pub instances: (i64, i64),
    /// Its default instance.
    pub default_instance: Option<String>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its identity on the host.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Of its operating system.
    pub version_id: String,
    /// It runs.
    pub running: bool,
    /// The agent looks after it.
    pub managed: bool,
    /// Since when it is so, UTC.
    pub since: String,
    /// The computer that it is, where it registered as one.
    pub computer: Option<Computer>,
}

/// A computer that is an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computer {
    /// Its number.
    pub id: i64,
    /// Its name for people.
    pub title: String,
    /// False while it waits to be accepted.
    pub accepted: bool,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Its number.
    pub request_id: Uuid,
    /// What.
    pub kind: String,
    /// The instance.
    pub instance: String,
    /// How far it is.
    pub state: String,
    /// What went wrong.
    pub error: String,
    /// When it was given, UTC.
    pub created: String,
    /// When its state changed last, UTC.
    pub changed: String,
}

fn columns() -> String {
    format!(
        "uid, hostname, accepted, stream is not null, {}, {}, {}, \
         (select count(*) from wsl_instance where host_uid = uid), \
         (select count(*) from wsl_instance where host_uid = uid and running), \
         default_instance_id",
        shown("case when stream is not null then connected_at else disconnected_at end"),
        shown("last_info_at"),
        shown("registered_at")
    )
}

fn listed(row: &tokio_postgres::Row) -> Result<Listed> {
    Ok(Listed {
        uid: row.try_get(0)?,
        hostname: row.try_get(1)?,
        accepted: row.try_get(2)?,
        connected: row.try_get(3)?,
        since: row.try_get(4)?,
        last_info: row.try_get(5)?,
        registered: row.try_get(6)?,
        instances: (row.try_get(7)?, row.try_get(8)?),
        default_instance: row.try_get(9)?,
    })
}

/// Hosts of an account by name, those that wait first, with this in the name, `most` from `offset`.
///
/// # Errors
///
/// The database's.
pub async fn hosts(
    tx: &Tx<'_>,
    account: i64,
    text: &str,
    offset: i64,
    most: i64,
) -> Result<Vec<Listed>> {
    let text = text.trim().replace('\0', "\u{fffd}");
    let sql = format!(
        "select {} from wsl_host where account_id = $1 \
             and ($2::text = '' or strpos(lower(hostname), lower($2)) > 0) \
         order by accepted, hostname, uid offset $3 limit $4",
        columns()
    );
    let found = rows(tx, &sql, &[&account, &text, &offset, &most]).await?;
    found.iter().map(listed).collect()
}

/// How many hosts an account has.
///
/// # Errors
///
/// The database's.
pub async fn count(tx: &Tx<'_>, account: i64) -> Result<i64> {
    let sql = "select count(*) from wsl_host where account_id = $1";
    Ok(one(tx, sql, &[&account]).await?.try_get(0)?)
}

/// One host of an account.
///
/// # Errors
///
/// The database's.
pub async fn host(tx: &Tx<'_>, account: i64, uid: Uuid) -> Result<Option<Listed>> {
    let sql = format!(
        "select {} from wsl_host where account_id = $1 and uid = $2",
        columns()
    );
    let row = find(tx, &sql, &[&account, &uid]).await?;
    row.as_ref().map(listed).transpose()
}

/// The host of this number in an account.
///
/// # Errors
///
/// The database's.
pub async fn numbered(tx: &Tx<'_>, account: i64, number: i64) -> Result<Option<Uuid>> {
    let sql = "select uid from wsl_host where account_id = $1 and number = $2";
    let row = find(tx, sql, &[&account, &number]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// A host as a computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// As in the list.
    pub listed: Listed,
    /// Its number, which no computer has.
    pub number: i64,
    /// It has had no stream for a while.
    pub offline: bool,
}

/// These hosts of an account.
///
/// # Errors
///
/// The database's.
pub async fn these(tx: &Tx<'_>, account: i64, uids: &[Uuid]) -> Result<Vec<Numbered>> {
    let sql = format!(
        "select {}, number, stream is null \
             and coalesce(disconnected_at, registered_at) < now() - interval '5 minutes' \
         from wsl_host where account_id = $1 and uid = any($2)",
        columns()
    );
    let mut found = Vec::new();
    for row in rows(tx, &sql, &[&account, &uids]).await? {
        found.push(Numbered {
            listed: listed(&row)?,
            number: row.try_get(10)?,
            offline: row.try_get(11)?,
        });
    }
    Ok(found)
}

/// A computer and the host that it lives on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    /// The computer's number.
    pub computer: i64,
    /// The host.
    pub host: Uuid,
    /// Which instance of the host the computer is, where the host tells of it.
    pub instance: Option<String>,
}

/// Both are accepted, and of one account: what a computer of another says counts nothing. `$1` is the account.
fn ties(condition: &str) -> String {
    format!(
        "select computer.id, uid, wsl_instance.id from wsl_host join computer \
             on hostagent_uid = uid::text and computer.account_id = wsl_host.account_id \
         left join wsl_instance on host_uid = uid and wsl_instance.id = wsl_instance_id \
         where wsl_host.account_id = $1 and wsl_host.accepted and computer.accepted \
             and {condition} order by title, computer.id"
    )
}

fn tie(row: &tokio_postgres::Row) -> Result<Tie> {
    Ok(Tie {
        computer: row.try_get(0)?,
        host: row.try_get(1)?,
        instance: row.try_get(2)?,
    })
}

/// The hosts that these computers of an account live on.
///
/// # Errors
///
/// The database's.
pub async fn parents(tx: &Tx<'_>, account: i64, computers: &[i64]) -> Result<Vec<Tie>> {
    let found = rows(tx, &ties("computer.id = any($2)"), &[&account, &computers]).await?;
    found.iter().map(tie).collect()
}

/// The computers that live on these hosts of an account, by title.
///
/// # Errors
///
/// The database's.
pub async fn children(tx: &Tx<'_>, account: i64, uids: &[Uuid]) -> Result<Vec<Tie>> {
    let found = rows(tx, &ties("uid = any($2)"), &[&account, &uids]).await?;
    found.iter().map(tie).collect()
}

/// The instances of a host, each with the computer that registered as it last; one that is accepted goes before
/// those that wait. What a computer of another account says counts nothing.
///
/// # Errors
///
/// The database's.
pub async fn instances(tx: &Tx<'_>, uid: Uuid) -> Result<Vec<Instance>> {
    let sql = format!(
        "select instance.id, name, version_id, running, managed, {}, \
             child.id, child.title, child.accepted \
         from wsl_instance instance join wsl_host on uid = host_uid left join lateral ( \
             select id, title, accepted from computer \
             where hostagent_uid = host_uid::text and wsl_instance_id = instance.id \
                 and account_id = wsl_host.account_id \
             order by accepted desc, id desc limit 1) child on true \
         where host_uid = $1 order by instance.id",
        shown("since")
    );
    let mut instances = Vec::new();
    for row in rows(tx, &sql, &[&uid]).await? {
        let computer = match row.try_get::<_, Option<i64>>(6)? {
            None => None,
            Some(id) => Some(Computer {
                id,
                title: row.try_get(7)?,
                accepted: row.try_get(8)?,
            }),
        };
        instances.push(Instance {
            id: row.try_get(0)?,
            name: row.try_get(1)?,
            version_id: row.try_get(2)?,
            running: row.try_get(3)?,
            managed: row.try_get(4)?,
            since: row.try_get(5)?,
            computer,
        });
    }
    Ok(instances)
}

/// How many orders a host was given.
///
/// # Errors
///
/// The database's.
pub async fn order_count(tx: &Tx<'_>, uid: Uuid) -> Result<i64> {
    let sql = "select count(*) from wsl_command where host_uid = $1";
    Ok(one(tx, sql, &[&uid]).await?.try_get(0)?)
}

/// Orders to a host, the latest first, `most` from `offset`.
///
/// # Errors
///
/// The database's.
pub async fn ordered(tx: &Tx<'_>, uid: Uuid, offset: i64, most: i64) -> Result<Vec<Ordered>> {
    let sql = format!(
        "select request_id, kind, instance_id, state, left(error, 2000), {}, {} \
         from wsl_command where host_uid = $1 order by number desc offset $2 limit $3",
        shown("created_at"),
        shown("changed_at")
    );
    let mut ordered = Vec::new();
    for row in rows(tx, &sql, &[&uid, &offset, &most]).await? {
        ordered.push(Ordered {
            request_id: row.try_get(0)?,
            kind: row.try_get(1)?,
            instance: row.try_get(2)?,
            state: row.try_get(3)?,
            error: row.try_get(4)?,
            created: row.try_get(5)?,
            changed: row.try_get(6)?,
        });
    }
    Ok(ordered)
}
