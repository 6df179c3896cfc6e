//! What was ordered, by whom, for which computers? Activities as clients of the API see them.
//!
//! An order for one computer or many is a parent without a computer and a child for each.

use std::time::SystemTime;

use super::{Result, Tx, activity, one, outbox, rows, run};
use crate::domain::activity::Wanted;
use crate::domain::event::Topic;
use crate::domain::order::Order;
use crate::domain::person::Person;

/// An activity, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Its number.
    pub id: i64,
    /// The group it belongs to.
    pub parent: Option<i64>,
    /// Its computer; none for a group.
    pub computer: Option<i64>,
    /// Number, name and e-mail address of who ordered it.
    pub creator: Option<(i64, String, String)>,
    /// The type of its message; `group` for a group.
    pub message_type: String,
    /// What it does.
    pub summary: String,
    /// Where it stands; for a group, where its children stand.
    pub status: String,
    /// ISO 8601.
    pub created: String,
    /// ISO 8601.
    pub modified: String,
    /// ISO 8601; none where it may be delivered at once.
    pub deliver_after: Option<String>,
    /// ISO 8601.
    pub delivered: Option<String>,
    /// ISO 8601.
    pub completed: Option<String>,
    /// What the computer said.
    pub result_code: Option<i64>,
    /// What the computer said.
    pub result_text: Option<String>,
    /// How many children stand where, for a group.
    pub children: Vec<(String, i64)>,
    /// Minutes over which deliveries are spread, for a group.
    pub delay_window: i32,
}

/// When an order is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Not before; at once where none is given.
    pub after: Option<SystemTime>,
    /// Each computer at a moment of its own within so many minutes from then on.
    pub window: i32,
}

const ISO: &str = "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'";

/// Where an activity stands, for clients; a group stands where its children do.
const STATUS: &str = "case \
    when activity.status = 'undelivered' and activity.deliver_after > now() then 'scheduled' \
    when activity.status <> 'group' then activity.status \
    when waiting > 0 and waiting = total and activity.deliver_after > now() then 'scheduled' \
    when waiting > 0 and waiting = total then 'undelivered' \
    when waiting + running > 0 then 'delivered' \
    when failed > 0 then 'failed' \
    when canceled = total and total > 0 then 'canceled' \
    else 'succeeded' end";

/// `$1` is the account. A group belongs to the account of who ordered it.
fn from() -> String {
    format!(
        "(select activity.id, activity.parent_id, activity.computer_id, person.id as person_id, \
             person.name, person.email, activity.type, activity.summary, {STATUS} as status, \
             activity.created_at, activity.modified_at, activity.deliver_after, \
             activity.delivered_at, activity.completed_at, activity.result_code, \
             activity.result_text, activity.deliver_delay_window, waiting, running, succeeded, failed, canceled \
         from activity \
         left join person on person.id = activity.creator_id \
         left join computer on computer.id = activity.computer_id \
         left join lateral (select count(*) as total, \
                 count(*) filter (where child.status = 'undelivered') as waiting, \
                 count(*) filter (where child.status = 'delivered') as running, \
                 count(*) filter (where child.status = 'succeeded') as succeeded, \
                 count(*) filter (where child.status = 'failed') as failed, \
                 count(*) filter (where child.status = 'canceled') as canceled \
             from activity child where child.parent_id = activity.id) as children \
             on activity.status = 'group' \
         where coalesce(computer.account_id, person.account_id) = $1) as seen"
    )
}

const CONDITION: &str = "($2::boolean is false or computer_id is null) \
    and ($3::bigint is null or parent_id = $3) and ($4::bigint is null or computer_id = $4) \
    and ($5::text is null or status = $5) and ($6::bigint[] is null or id = any($6)) \
    and ($7::text is null or strpos(lower(summary), lower($7)) > 0)";

/// Activities, the latest first, `most` from `offset`, and how many there are.
///
/// # Errors
///
/// The database's.
pub async fn list(
    tx: &Tx<'_>,
    account: i64,
    wanted: &Wanted,
    offset: i64,
    most: i64,
) -> Result<(i64, Vec<Activity>)> {
    let from = from();
    let values: super::Values<'_> = &[
        &account,
        &wanted.parents,
        &wanted.parent,
        &wanted.computer,
        &wanted.status,
        &wanted.ids,
        &wanted.word,
        &offset,
        &most,
    ];
    let sql = format!("select count(*) from {from} where {CONDITION}");
    let count = one(tx, &sql, &values[..7]).await?.try_get(0)?;
    let sql = format!(
        "select id, parent_id, computer_id, person_id, name, email, type, summary, status, \
             to_char(created_at at time zone 'UTC', {ISO}), \
             to_char(modified_at at time zone 'UTC', {ISO}), \
             case when deliver_after > created_at + interval '1 second' \
                 then to_char(deliver_after at time zone 'UTC', {ISO}) end, \
             to_char(delivered_at at time zone 'UTC', {ISO}), \
             to_char(completed_at at time zone 'UTC', {ISO}), \
             result_code, result_text, waiting, running, succeeded, failed, canceled, \
             deliver_delay_window \
         from {from} where {CONDITION} order by id desc offset $8 limit $9"
    );
    let found = rows(tx, &sql, values).await?;
    let activities = found.iter().map(activity_of).collect::<Result<_>>()?;
    Ok((count, activities))
}

/// The numbers of activities, the latest first, `most` of them.
///
/// # Errors
///
/// The database's.
pub async fn matching(tx: &Tx<'_>, account: i64, wanted: &Wanted, most: i64) -> Result<Vec<i64>> {
    let values: super::Values<'_> = &[
        &account,
        &wanted.parents,
        &wanted.parent,
        &wanted.computer,
        &wanted.status,
        &wanted.ids,
        &wanted.word,
        &most,
    ];
    let sql = format!(
        "select id from {} where {CONDITION} order by id desc limit $8",
        from()
    );
    let found = rows(tx, &sql, values).await?;
    found.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

fn activity_of(row: &tokio_postgres::Row) -> Result<Activity> {
    let creator = match row.try_get::<_, Option<i64>>(3)? {
        Some(id) => Some((id, row.try_get(4)?, row.try_get(5)?)),
        None => None,
    };
    let mut children = Vec::new();
    for (column, status) in [
        (16, "undelivered"),
        (17, "delivered"),
        (18, "succeeded"),
        (19, "failed"),
        (20, "canceled"),
    ] {
        if let Some(count) = row.try_get::<_, Option<i64>>(column)?.filter(|n| *n > 0) {
            children.push((status.to_owned(), count));
        }
    }
    Ok(Activity {
        id: row.try_get(0)?,
        parent: row.try_get(1)?,
        computer: row.try_get(2)?,
        creator,
        message_type: row.try_get(6)?,
        summary: row.try_get(7)?,
        status: row.try_get(8)?,
        created: row.try_get(9)?,
        modified: row.try_get(10)?,
        deliver_after: row.try_get(11)?,
        delivered: row.try_get(12)?,
        completed: row.try_get(13)?,
        result_code: row.try_get(14)?,
        result_text: row.try_get(15)?,
        children,
        delay_window: row.try_get(21)?,
    })
}

/// Orders something of computers, and returns the number of the group.
///
/// # Errors
///
/// The database's.
pub async fn order(
    tx: &Tx<'_>,
    person: &Person,
    computers: &[i64],
    order: &Order,
    deliver_after: Option<SystemTime>,
) -> Result<i64> {
    let timing = Timing {
        after: deliver_after,
        window: 0,
    };
    let group = begin(tx, person, &order.summary(), timing).await?;
    add(tx, person, group, computers, order, timing).await?;
    Ok(group)
}

/// Begins a group that has no children yet, and returns its number.
///
/// # Errors
///
/// The database's.
pub async fn begin(tx: &Tx<'_>, person: &Person, summary: &str, timing: Timing) -> Result<i64> {
    let sql = "insert into activity (type, summary, fields, status, creator_id, deliver_after, \
                   deliver_delay_window) \
               values ('group', $1, '', 'group', $2, coalesce($3, now()), $4) returning id";
    let values: super::Values<'_> = &[&summary, &person.id, &timing.after, &timing.window];
    Ok(one(tx, sql, values).await?.try_get(0)?)
}

/// Orders something of computers as part of a group.
///
/// # Errors
///
/// The database's.
pub async fn add(
    tx: &Tx<'_>,
    person: &Person,
    group: i64,
    computers: &[i64],
    order: &Order,
    timing: Timing,
) -> Result<()> {
    let (kind, summary, fields) = (order.message_type(), order.summary(), order.fields());
    let mut children = Vec::with_capacity(computers.len());
    for computer in computers {
        children.push(activity::order(tx, *computer, kind, &summary, &fields).await?);
    }
    let sql = "update activity set parent_id = $1, creator_id = $2, \
                   deliver_after = coalesce($3, deliver_after) \
                       + random() * make_interval(mins => $5) where id = any($4)";
    let values: super::Values<'_> = &[&group, &person.id, &timing.after, &children, &timing.window];
    run(tx, sql, values).await?;
    if let Order::Script(script) = order {
        let attached: Vec<i64> = script.attachments.values().copied().collect();
        let sql = "insert into activity_attachment (activity_id, attachment_id) \
                   select distinct child, attached from unnest($1::bigint[]) as child \
                   cross join unnest($2::bigint[]) as attached";
        run(tx, sql, &[&children, &attached]).await?;
    }
    Ok(())
}

/// Takes back what was not delivered: of these activities, and of the children of these groups. The
/// numbers of those that were taken back.
///
/// # Errors
///
/// The database's.
pub async fn cancel(tx: &Tx<'_>, account: i64, ids: &[i64]) -> Result<Vec<i64>> {
    // Locked in the order in which an exchange locks what it hands out.
    let sql = "with meant as ( \
                   select activity.id from activity join computer on computer.id = computer_id \
                   where account_id = $1 and (activity.id = any($2) or parent_id = any($2)) \
                       and status = 'undelivered' order by activity.id for update of activity) \
               update activity set status = 'canceled', completed_at = now() \
               from meant where activity.id = meant.id returning activity.id, computer_id";
    let (mut canceled, mut computers) = (Vec::new(), Vec::<i64>::new());
    for row in rows(tx, sql, &[&account, &ids]).await? {
        canceled.push(row.try_get(0)?);
        computers.push(row.try_get(1)?);
    }
    canceled.sort_unstable();
    computers.sort_unstable();
    computers.dedup();
    outbox::put_each(tx, Topic::ActivityChanged, &computers).await?;
    Ok(canceled)
}

/// Orders the same again for the same computers, as a group of its own; None where there is no such
/// activity, or none of its computers is left.
///
/// # Errors
///
/// The database's.
pub async fn again(tx: &Tx<'_>, person: &Person, id: i64) -> Result<Option<i64>> {
    // Not with their fields, in which a long script may stand: of all at once that would be too much.
    let sql = "select activity.id, computer_id, type, summary \
               from activity join computer on computer.id = computer_id \
               where account_id = $1 and accepted and (activity.id = $2 or parent_id = $2) \
               order by activity.id";
    let found = rows(tx, sql, &[&person.account, &id]).await?;
    let Some(first) = found.first() else {
        return Ok(None);
    };
    let summary: String = first.try_get(3)?;
    let sql = "insert into activity (type, summary, fields, status, creator_id) \
               values ('group', $1, '', 'group', $2) returning id";
    let group: i64 = one(tx, sql, &[&summary, &person.id]).await?.try_get(0)?;
    for row in &found {
        let (old, computer): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let (kind, summary): (String, String) = (row.try_get(2)?, row.try_get(3)?);
        let sql = "select fields from activity where id = $1";
        let fields: Vec<u8> = one(tx, sql, &[&old]).await?.try_get(0)?;
        let new = activity::order(tx, computer, &kind, &summary, &fields).await?;
        let sql = "update activity set parent_id = $1, creator_id = $2 where id = $3";
        run(tx, sql, &[&group, &person.id, &new]).await?;
        let sql = "insert into activity_attachment (activity_id, attachment_id) \
                   select $2, attachment_id from activity_attachment where activity_id = $1";
        run(tx, sql, &[&old, &new]).await?;
    }
    Ok(Some(group))
}

/// What a computer was told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The computer.
    pub computer: i64,
    /// The type of the message.
    pub message_type: String,
    /// What it does.
    pub summary: String,
    /// The message's other fields, in bpickle; nothing where it is not about packages, as scripts are long.
    pub fields: Vec<u8>,
    /// It was done.
    pub succeeded: bool,
}

/// What an activity told its computer, or the children of a group theirs; computers that are gone left out.
///
/// # Errors
///
/// The database's.
pub async fn told(tx: &Tx<'_>, account: i64, id: i64) -> Result<Vec<Told>> {
    let sql = "select computer_id, type, summary, \
                   case when type = 'change-packages' then fields else ''::bytea end, \
                   status = 'succeeded' \
               from activity join computer on computer.id = computer_id \
               where account_id = $1 and accepted and (activity.id = $2 or parent_id = $2) \
               order by activity.id";
    let mut told = Vec::new();
    for row in rows(tx, sql, &[&account, &id]).await? {
        told.push(Told {
            computer: row.try_get(0)?,
            message_type: row.try_get(1)?,
            summary: row.try_get(2)?,
            fields: row.try_get(3)?,
            succeeded: row.try_get(4)?,
        });
    }
    Ok(told)
}

/// One activity of an account.
///
/// # Errors
///
/// The database's.
pub async fn get(tx: &Tx<'_>, account: i64, id: i64) -> Result<Option<Activity>> {
    let wanted = Wanted {
        ids: Some(vec![id]),
        ..Wanted::default()
    };
    Ok(list(tx, account, &wanted, 0, 1).await?.1.pop())
}
