//! Which computers are ours? Registered, accepted, rejected, told from each other.

use std::time::Duration;

use uuid::Uuid;

use super::{Result, Tx, find, one, outbox, run};
use crate::domain::event::Topic;
use crate::domain::register::{Account, Register};

/// So long after the last exchange and the last ping of an identity nobody has it any more: four times the interval of exchanges
/// that agents have by themselves.
const SILENT: Duration = Duration::from_secs(3600);

/// Who a computer is, in the exchange and in pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Our number for it.
    pub id: i64,
    /// The secret of the exchange.
    pub secure: Uuid,
    /// What it pings with.
    pub insecure: i64,
}

/// A computer as an exchange needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computer {
    /// Who it is.
    pub ids: Ids,
    /// False while an administrator has not decided.
    pub accepted: bool,
    /// Its name for people.
    pub title: String,
    /// Number of the account that it belongs to.
    pub account: i64,
}

/// The identity of this database.
///
/// # Errors
///
/// The database's.
pub async fn server_identity(tx: &Tx<'_>) -> Result<Uuid> {
    let row = one(tx, "select uuid from server_identity", &[]).await?;
    Ok(row.try_get(0)?)
}

/// The computer with this identity, locked: its exchanges come one after the other.
///
/// # Errors
///
/// The database's.
pub async fn lock(tx: &Tx<'_>, secure: Uuid) -> Result<Option<Computer>> {
    let sql = "select id, secure_id, insecure_id, accepted, title, account_id from computer \
               where secure_id = $1 for no key update";
    let Some(row) = find(tx, sql, &[&secure]).await? else {
        return Ok(None);
    };
    Ok(Some(Computer {
        ids: Ids {
            id: row.try_get(0)?,
            secure: row.try_get(1)?,
            insecure: row.try_get(2)?,
        },
        accepted: row.try_get(3)?,
        title: row.try_get(4)?,
        account: row.try_get(5)?,
    }))
}

/// The computer that this registration repeats: it says the same of itself, and either waits still or
/// was accepted by its key and never came with the identity it was given (the answer was lost).
///
/// One that waits is the same where both tell the same machine id. Where one of them tells none (the daemon does not, and the
/// set-up program of the same computer does), names alone are no proof: they are anybody's, and whoever takes the place of one
/// that waits is accepted in its stead. So it is the same only where nobody is at that place, because nothing came from its
/// identity for an hour, or where the registration shows the key (`accepted`) and would be let in anyway. Else it is a
/// computer of its own. Two machine ids that differ are two computers.
///
/// It is locked, so that who accepts it at this moment accepts the one that is known, and as an exchange locks it, before what
/// is kept of exchanges.
///
/// # Errors
///
/// The database's.
pub async fn repeated(
    tx: &Tx<'_>,
    account: &Account,
    register: &Register,
    accepted: bool,
) -> Result<Option<i64>> {
    // The first look waits for who holds it; what that one has left behind only a second look sees.
    match look(tx, account, register, accepted).await? {
        Some(_) => look(tx, account, register, accepted).await,
        None => Ok(None),
    }
}

async fn look(
    tx: &Tx<'_>,
    account: &Account,
    register: &Register,
    accepted: bool,
) -> Result<Option<i64>> {
    let sql = "select id from computer \
               left join exchange on exchange.computer_id = id \
               left join computer_ping on computer_ping.computer_id = id \
               where account_id = $1 and title = $2 and hostname = $3 \
                 and case \
                     when accepted then $5 and expected is null \
                         and machine_id is not distinct from $4 \
                     when machine_id is not null and $4::text is not null then machine_id = $4 \
                     else $5 or coalesce(greatest(exchange.last_at, computer_ping.last_at) \
                         < now() - make_interval(secs => $6), true) end \
               order by accepted desc, (machine_id is not distinct from $4) desc, id limit 1 \
               for update of computer";
    let row = find(
        tx,
        sql,
        &[
            &account.id,
            &register.title,
            &register.hostname,
            &register.machine_id,
            &accepted,
            &SILENT.as_secs_f64(),
        ],
    )
    .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// How many computers of an account wait.
///
/// # Errors
///
/// The database's.
pub async fn pending(tx: &Tx<'_>, account: i64) -> Result<i64> {
    let sql = "select count(*) from computer where account_id = $1 and not accepted";
    Ok(one(tx, sql, &[&account]).await?.try_get(0)?)
}

/// Stores a registration: a new computer, or new identities for the `repeated` one, whose old
/// identities are void. One that waited and is `accepted` now waits no more.
///
/// # Errors
///
/// The database's.
pub async fn register(
    tx: &Tx<'_>,
    account: &Account,
    register: &Register,
    accepted: bool,
    repeated: Option<i64>,
) -> Result<Ids> {
    // What an exchange knew of it belongs to the old identity.
    if let Some(id) = repeated {
        run(tx, "delete from exchange where computer_id = $1", &[&id]).await?;
        run(
            tx,
            "delete from outgoing_message where computer_id = $1",
            &[&id],
        )
        .await?;
        let sql = "update computer set secure_id = gen_random_uuid(), \
                   insecure_id = ('x' || right(gen_random_uuid()::text, 12))::bit(48)::bigint, \
                   registered_at = now() where id = $1";
        run(tx, sql, &[&id]).await?;
        if accepted {
            accept(tx, id).await?;
        }
        describe(tx, id, register).await?;
        outbox::put_of(tx, Topic::ComputerRegistered, id).await?;
        return ids(tx, id).await;
    }
    let sql = "insert into computer (account_id, accepted, accepted_at, title, hostname) \
               select $1, $2, case when $2 then now() end, $3, $4 returning id";
    let row = one(
        tx,
        sql,
        &[&account.id, &accepted, &register.title, &register.hostname],
    )
    .await?;
    let id = row.try_get(0)?;
    describe(tx, id, register).await?;
    outbox::put_of(tx, Topic::ComputerRegistered, id).await?;
    ids(tx, id).await
}

async fn ids(tx: &Tx<'_>, id: i64) -> Result<Ids> {
    let sql = "select secure_id, insecure_id from computer where id = $1";
    let row = one(tx, sql, &[&id]).await?;
    Ok(Ids {
        id,
        secure: row.try_get(0)?,
        insecure: row.try_get(1)?,
    })
}

/// Stores what a registration says of a computer, but for who it is. An accepted one that tells no access group or no tags
/// keeps those that it has: administrators set them, and a set-up program that was told none says so. One that names a WSL host is the instance that the
/// order installed which it names, else the one whose name is its title: so Ubuntu Pro for WSL sets it up.
///
/// # Errors
///
/// The database's.
pub async fn describe(tx: &Tx<'_>, id: i64, register: &Register) -> Result<()> {
    let sql = "update computer set title = $2, hostname = $3, vm_info = $5, \
               access_group = case when accepted and $4 = '' then access_group else $4 end, \
               container_info = $6, ubuntu_pro_info = coalesce($7, ubuntu_pro_info), \
               juju_info = coalesce($8, juju_info), hostagent_uid = coalesce($9, hostagent_uid), \
               installation_request_id = coalesce($10, installation_request_id), \
               machine_id = coalesce($11, machine_id), \
               clone_of = coalesce((select original.id from computer original \
                   where original.secure_id = $12 and original.id <> $1 \
                     and original.account_id = computer.account_id), clone_of), \
               wsl_instance_id = case when $9::text is null then wsl_instance_id else coalesce( \
                   (select instance_id from wsl_command \
                    where host_uid = $13 and kind = 'install' and request_id::text = \
                        coalesce($14::uuid::text, installation_request_id)), $2) end \
               where id = $1 returning accepted";
    let uuid = |text: &Option<String>| Uuid::try_parse(text.as_deref()?).ok();
    let host = uuid(&register.hostagent_uid);
    let request = uuid(&register.installation_request_id);
    // As hosts are called here, however an agent writes it.
    let host_named = host.map(|uid| uid.to_string());
    let host_named = host_named.or_else(|| register.hostagent_uid.clone());
    let row = one(
        tx,
        sql,
        &[
            &id,
            &register.title,
            &register.hostname,
            &register.access_group,
            &register.vm_info,
            &register.container_info,
            &register.ubuntu_pro_info,
            &register.juju_info,
            &host_named,
            &register.installation_request_id,
            &register.machine_id,
            &register.clone_secure_id,
            &host,
            &request,
        ],
    )
    .await?;
    let accepted: bool = row.try_get(0)?;
    if accepted && register.tags.is_empty() {
        return Ok(());
    }
    set_tags(tx, id, &register.tags).await
}

/// These tags and no others.
///
/// # Errors
///
/// The database's.
pub async fn set_tags(tx: &Tx<'_>, id: i64, tags: &[String]) -> Result<()> {
    let sql = "delete from computer_tag where computer_id = $1 and tag <> all($2)";
    run(tx, sql, &[&id, &tags]).await?;
    let sql = "insert into computer_tag select $1, unnest($2::text[]) on conflict do nothing";
    run(tx, sql, &[&id, &tags]).await?;
    Ok(())
}

/// Accepts a computer that waits. True where one did.
///
/// # Errors
///
/// The database's.
pub async fn accept(tx: &Tx<'_>, id: i64) -> Result<bool> {
    let sql = "update computer set accepted = true, accepted_at = now() \
               where id = $1 and not accepted";
    let accepted = run(tx, sql, &[&id]).await? == 1;
    if accepted {
        outbox::put_of(tx, Topic::ComputerAccepted, id).await?;
    }
    Ok(accepted)
}

/// Forgets a computer that waits. True where one did.
///
/// # Errors
///
/// The database's.
pub async fn reject(tx: &Tx<'_>, id: i64) -> Result<bool> {
    let sql = "delete from computer where id = $1 and not accepted";
    let rejected = run(tx, sql, &[&id]).await? == 1;
    if rejected {
        outbox::put_of(tx, Topic::ComputerRemoved, id).await?;
    }
    Ok(rejected)
}
