//! Which Windows machines have WSL instances, and what are they told to do?
//!
//! An order is stored first and told afterwards: it waits here until the worker that holds the host's
//! stream takes it. What was sent over a stream that broke before the host said that it has it is sent
//! again on the next.

use uuid::Uuid;

use super::{Result, Tx, find, one, outbox, rows, run};
use crate::domain::event::{Event, Topic};
use crate::domain::wsl::{Command, Host, Instance, Order, Progress};

/// A host as its stream needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Who it is.
    pub uid: Uuid,
    /// False while an administrator has not decided.
    pub accepted: bool,
}

/// The host with this identity in this account.
///
/// # Errors
///
/// The database's.
pub async fn known(tx: &Tx<'_>, account: i64, uid: Uuid) -> Result<Option<Known>> {
    let sql = "select uid, accepted from wsl_host where uid = $1 and account_id = $2 \
               for no key update";
    let row = find(tx, sql, &[&uid, &account]).await?;
    row.map(|row| {
        Ok(Known {
            uid: row.try_get(0)?,
            accepted: row.try_get(1)?,
        })
    })
    .transpose()
}

/// How many hosts of an account wait.
///
/// # Errors
///
/// The database's.
pub async fn pending(tx: &Tx<'_>, account: i64) -> Result<i64> {
    let sql = "select count(*) from wsl_host where account_id = $1 and not accepted";
    Ok(one(tx, sql, &[&account]).await?.try_get(0)?)
}

/// A new host, with an identity that nobody was told before. One of this name that never came with its identity is taken
/// for the same, and gone: the message that assigned it was lost. Names are anybody's, and an identity is all that a host shows
/// later: so none is told twice, and one that is accepted is taken the place of by one that is accepted itself.
///
/// # Errors
///
/// The database's.
pub async fn create(tx: &Tx<'_>, account: i64, hostname: &str, accepted: bool) -> Result<Uuid> {
    let sql = "delete from wsl_host where account_id = $1 and hostname = $2 \
                   and last_info_at is null and (not accepted or $3) returning uid";
    for row in rows(tx, sql, &[&account, &hostname, &accepted]).await? {
        let gone: Uuid = row.try_get(0)?;
        outbox::put(tx, &Event::of(Topic::HostChanged, gone)).await?;
    }
    let sql = "insert into wsl_host (account_id, hostname, accepted) values ($1, $2, $3) \
               returning uid";
    let row = one(tx, sql, &[&account, &hostname, &accepted]).await?;
    let uid = row.try_get(0)?;
    outbox::put(tx, &Event::of(Topic::HostChanged, uid)).await?;
    Ok(uid)
}

/// Accepts a host that waits. True where one did.
///
/// # Errors
///
/// The database's.
pub async fn accept(tx: &Tx<'_>, uid: Uuid) -> Result<bool> {
    let sql = "update wsl_host set accepted = true where uid = $1 and not accepted";
    let accepted = run(tx, sql, &[&uid]).await? == 1;
    if accepted {
        outbox::put(tx, &Event::of(Topic::HostChanged, uid)).await?;
    }
    Ok(accepted)
}

/// Forgets a host with its instances and orders. True where there was one. An agent that still comes
/// under this identity is given a new one.
///
/// # Errors
///
/// The database's.
pub async fn remove(tx: &Tx<'_>, uid: Uuid) -> Result<bool> {
    let removed = run(tx, "delete from wsl_host where uid = $1", &[&uid]).await? == 1;
    if removed {
        // Whoever holds its stream ends it.
        outbox::put(tx, &Event::of(Topic::HostConnected, uid)).await?;
        outbox::put(tx, &Event::of(Topic::HostChanged, uid)).await?;
    }
    Ok(removed)
}

/// From now on this is the stream of a host; any before is to be closed by its worker. What was sent and
/// not confirmed waits again. False where there is no such host any more.
///
/// # Errors
///
/// The database's.
pub async fn connected(tx: &Tx<'_>, uid: Uuid, stream: Uuid, worker: &str) -> Result<bool> {
    let sql = "update wsl_host set stream = $2, worker = $3, connected_at = now() where uid = $1";
    if run(tx, sql, &[&uid, &stream, &worker]).await? == 0 {
        return Ok(false);
    }
    let sql = "update wsl_command set state = 'waiting', changed_at = now() \
               where host_uid = $1 and state = 'sent'";
    run(tx, sql, &[&uid]).await?;
    outbox::put(tx, &Event::of(Topic::HostConnected, uid)).await?;
    outbox::put(tx, &Event::of(Topic::HostChanged, uid)).await?;
    Ok(true)
}

/// A stream has ended. Nothing happens where the host has another one by now.
///
/// # Errors
///
/// The database's.
pub async fn disconnected(tx: &Tx<'_>, uid: Uuid, stream: Uuid) -> Result<()> {
    let sql = "update wsl_host set stream = null, worker = null, disconnected_at = now() \
               where uid = $1 and stream = $2";
    if run(tx, sql, &[&uid, &stream]).await? == 1 {
        outbox::put(tx, &Event::of(Topic::HostChanged, uid)).await?;
    }
    Ok(())
}

/// The streams of a worker with one of these names, which is no more, are over. Returns how many.
///
/// # Errors
///
/// The database's.
pub async fn forget_streams(tx: &Tx<'_>, names: &[String]) -> Result<u64> {
    let sql = "update wsl_host set stream = null, worker = null, disconnected_at = now() \
               where worker = any($1)";
    let count = run(tx, sql, &[&names]).await?;
    if count > 0 {
        outbox::put(tx, &Event::of(Topic::HostChanged, "")).await?;
    }
    Ok(count)
}

/// Which of these hosts have this stream? The others have another one, or are gone.
///
/// # Errors
///
/// The database's.
pub async fn current(tx: &Tx<'_>, held: &[(Uuid, Uuid)]) -> Result<Vec<Uuid>> {
    let (uids, streams): (Vec<Uuid>, Vec<Uuid>) = held.iter().copied().unzip();
    let sql = "select wsl_host.uid from wsl_host \
               join unnest($1::uuid[], $2::uuid[]) as held (uid, stream) \
                   on held.uid = wsl_host.uid and held.stream = wsl_host.stream";
    let found = rows(tx, sql, &[&uids, &streams]).await?;
    found.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Replaces what is known of a host by what it tells.
///
/// # Errors
///
/// The database's.
pub async fn told(tx: &Tx<'_>, uid: Uuid, host: &Host) -> Result<()> {
    let sql = "update wsl_host set hostname = $2, default_instance_id = $3, last_info_at = now() \
               where uid = $1";
    run(tx, sql, &[&uid, &host.hostname, &host.default_instance]).await?;
    let ids: Vec<&str> = host.instances.keys().map(String::as_str).collect();
    let of = |text: fn(&Instance) -> &str| host.instances.values().map(text).collect::<Vec<_>>();
    let flags = |flag: fn(&Instance) -> bool| host.instances.values().map(flag).collect::<Vec<_>>();
    let sql = "delete from wsl_instance where host_uid = $1 and id <> all($2)";
    run(tx, sql, &[&uid, &ids]).await?;
    let sql = "insert into wsl_instance (host_uid, id, name, version_id, running, managed) \
               select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::bool[], $6::bool[]) \
               on conflict (host_uid, id) do update set name = excluded.name, \
                   version_id = excluded.version_id, running = excluded.running, \
                   managed = excluded.managed, since = now() \
               where (wsl_instance.name, wsl_instance.version_id, wsl_instance.running, \
                      wsl_instance.managed) is distinct from \
                     (excluded.name, excluded.version_id, excluded.running, excluded.managed)";
    run(
        tx,
        sql,
        &[
            &uid,
            &ids,
            &of(|one| &one.name),
            &of(|one| &one.version_id),
            &flags(|one| one.running),
            &flags(|one| one.managed),
        ],
    )
    .await?;
    outbox::put(tx, &Event::of(Topic::HostChanged, uid)).await
}

/// Orders something from a host that is accepted, and returns under which number; None where there is no
/// such host. It is carried out when the host is connected, in the order in which orders were given.
///
/// # Errors
///
/// The database's.
pub async fn order(tx: &Tx<'_>, uid: Uuid, order: &Order) -> Result<Option<Uuid>> {
    let (cloudinit, rootfs_url) = match order {
        Order::Install {
            cloudinit,
            rootfs_url,
            ..
        } => (cloudinit.as_deref(), rootfs_url.as_deref()),
        _ => (None, None),
    };
    let sql = "insert into wsl_command (host_uid, kind, instance_id, cloudinit, rootfs_url) \
               select uid, $2, $3, $4, $5 from wsl_host where uid = $1 and accepted \
               returning request_id";
    let (kind, instance) = (order.kind(), order.instance());
    let Some(row) = find(tx, sql, &[&uid, &kind, &instance, &cloudinit, &rootfs_url]).await? else {
        return Ok(None);
    };
    outbox::put(tx, &Event::of(Topic::HostOrdered, uid)).await?;
    outbox::put(tx, &Event::of(Topic::HostChanged, uid)).await?;
    Ok(Some(row.try_get(0)?))
}

/// Which of these hosts have orders that wait?
///
/// # Errors
///
/// The database's.
pub async fn waited_for(tx: &Tx<'_>, uids: &[Uuid]) -> Result<Vec<Uuid>> {
    let sql = "select distinct host_uid from wsl_command \
               where state = 'waiting' and host_uid = any($1)";
    let found = rows(tx, sql, &[&uids]).await?;
    found.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Takes the oldest orders that wait for a host, at most so many, for its stream. Those of `unsent` wait again first
/// where they count as sent. None where the host has another stream by now.
///
/// # Errors
///
/// The database's.
pub async fn take(
    tx: &Tx<'_>,
    uid: Uuid,
    stream: Uuid,
    most: i64,
    unsent: &[Uuid],
) -> Result<Option<Vec<Command>>> {
    let sql = "select from wsl_host where uid = $1 and stream = $2 for no key update";
    if find(tx, sql, &[&uid, &stream]).await?.is_none() {
        return Ok(None);
    }
    if !unsent.is_empty() {
        let sql = "update wsl_command set state = 'waiting', changed_at = now() \
                   where host_uid = $1 and request_id = any($2) and state = 'sent'";
        run(tx, sql, &[&uid, &unsent]).await?;
    }
    let sql = "with next as ( \
                   select request_id from wsl_command \
                   where host_uid = $1 and state = 'waiting' order by number limit $2), \
               taken as ( \
                   update wsl_command set state = 'sent', sent_at = now(), changed_at = now() \
                   from next where wsl_command.request_id = next.request_id \
                   returning wsl_command.request_id, kind, instance_id, cloudinit, rootfs_url, \
                       number) \
               select request_id, kind, instance_id, cloudinit, rootfs_url from taken \
               order by number";
    let mut commands = Vec::new();
    for row in rows(tx, sql, &[&uid, &most]).await? {
        let (kind, instance): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        let order = Order::of(&kind, &instance, row.try_get(3)?, row.try_get(4)?);
        let request_id = row.try_get(0)?;
        match order {
            Some(order) => commands.push(Command { request_id, order }),
            // Nothing that we stored; it must not keep what follows from being done.
            None => {
                progress(tx, request_id, Progress::Failed, "the order cannot be read").await?;
            }
        }
    }
    Ok(Some(commands))
}

/// How far an order is. False where it is further already, or unknown: nothing changes then.
///
/// # Errors
///
/// The database's.
pub async fn progress(
    tx: &Tx<'_>,
    request_id: Uuid,
    progress: Progress,
    error: &str,
) -> Result<bool> {
    let sql = "update wsl_command set state = $2, error = $3, changed_at = now() \
               where request_id = $1 and state = any($4) returning host_uid";
    let (word, follows) = (progress.word(), progress.follows());
    let Some(row) = find(tx, sql, &[&request_id, &word, &error, &follows]).await? else {
        return Ok(false);
    };
    let uid: Uuid = row.try_get(0)?;
    outbox::put(tx, &Event::of(Topic::HostChanged, uid)).await?;
    Ok(true)
}
