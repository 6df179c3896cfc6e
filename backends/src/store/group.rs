//! What was ordered, by whom, for which computers? Activities as clients of the API see them.
//!
//! An order for one computer or many is a parent without a computer and a child for each.

use std::time::SystemTime;

use tokio_postgres::types::ToSql;

use super::{Result, Tx, iso, one, outbox, rows, rows_once, run};
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

/// Where an activity stands, for clients; a group stands where its children do, of which so many wait, run, …
const STATUS: &str = "case \
    when activity.status = 'undelivered' and activity.deliver_after > now() then 'scheduled' \
    when activity.status <> 'group' then activity.status \
    when waiting > 0 and running + succeeded + failed + canceled = 0 \
        then case when activity.deliver_after > now() then 'scheduled' else 'undelivered' end \
    when waiting + running > 0 then 'delivered' \
    when failed > 0 then 'failed' \
    when canceled > 0 and succeeded = 0 then 'canceled' \
    else 'succeeded' end";

/// The states of children, and what [`STATUS`] calls their numbers.
const CHILDREN: [(&str, &str); 5] = [
    ("undelivered", "waiting"),
    ("delivered", "running"),
    ("succeeded", "succeeded"),
    ("failed", "failed"),
    ("canceled", "canceled"),
];

/// How many children of `activity` stand where.
fn counted() -> String {
    let counts = CHILDREN.map(|(status, name)| {
        format!("count(*) filter (where child.status = '{status}') as {name}")
    });
    let counts = counts.join(", ");
    format!("(select {counts} from activity child where child.parent_id = activity.id)")
}

/// In place of these numbers whether there are any: to know where a group stands none is counted.
fn probed() -> String {
    let probes = CHILDREN.map(|(status, name)| {
        format!(
            "coalesce((select 1 from activity child where child.parent_id = activity.id \
             and child.status = '{status}' limit 1), 0) as {name}"
        )
    });
    format!("(select {})", probes.join(", "))
}

/// As much of a summary as the index of summaries has: an index takes no longer rows than a third of a page.
const SAID: &str = "left(summary, 200)";

/// What was ever ordered in an account, `$1`, as `said`: from one beginning of a summary to the next. They are few beside
/// the activities that have them.
fn said() -> String {
    let next = |from: &str| {
        format!("select {SAID} from activity where account_id = $1{from} order by {SAID} limit 1")
    };
    format!(
        "with recursive said (beginning) as (({}) union all \
             select ({}) from said where said.beginning is not null)",
        next(""),
        next(&format!(" and {SAID} > said.beginning"))
    )
}

/// Which activities are meant: a table and a condition over it for each kind that may be, and their values from
/// `$1` on. Each is answered by an index on its own, which no condition over all of them could be.
struct Meant<'a> {
    kinds: Vec<(String, String)>,
    values: Vec<&'a (dyn ToSql + Sync)>,
    /// Where a word is looked for among all that was ordered: a condition over `said`.
    word: Option<String>,
}

impl<'a> Meant<'a> {
    fn of(account: &'a i64, wanted: &'a Wanted) -> Self {
        let mut meant = Self {
            kinds: Vec::new(),
            values: Vec::new(),
            word: None,
        };
        let mut all = vec![format!("account_id = {}", meant.value(account))];
        if wanted.parents {
            all.push("activity.status = 'group'".to_owned());
        }
        if let Some(parent) = &wanted.parent {
            all.push(format!("parent_id = {}", meant.value(parent)));
        }
        if let Some(computer) = &wanted.computer {
            all.push(format!("computer_id = {}", meant.value(computer)));
        }
        if let Some(ids) = &wanted.ids {
            all.push(format!("id = any({})", meant.value(ids)));
        }
        if let Some(word) = &wanted.word {
            let word = meant.value(word);
            let holds = |text: &str| format!("strpos(lower({text}), lower({word}::text)) > 0");
            all.push(holds("summary"));
            if wanted.parent.is_none() && wanted.computer.is_none() && wanted.ids.is_none() {
                let cut = "length(beginning) = 200";
                meant.word = Some(format!("({} or {cut})", holds("beginning")));
                all.push(format!("{SAID} = beginning"));
            }
        }
        let (all, plain) = (all.join(" and "), "activity".to_owned());
        let Some(status) = &wanted.status else {
            meant.kinds.push((plain, all));
            return meant;
        };
        if wanted.parents && (wanted.parent.is_some() || wanted.computer.is_some()) {
            // No group has a computer or a group.
            meant.kinds.push((plain, format!("{all} and false")));
            return meant;
        }
        if !wanted.parents {
            let stands = match status.as_str() {
                // What is scheduled is kept as what is not delivered.
                "scheduled" => "activity.status = 'undelivered' and deliver_after > now()".into(),
                "undelivered" => {
                    "activity.status = 'undelivered' and deliver_after <= now()".into()
                }
                _ => format!("activity.status = {}", meant.value(status)),
            };
            meant.kinds.push((plain, format!("{all} and {stands}")));
        }
        // No group has a computer or a group.
        if wanted.parent.is_none() && wanted.computer.is_none() {
            let probed = format!("activity cross join lateral {} as children", probed());
            let stands = format!(
                "activity.status = 'group' and {STATUS} = {}",
                meant.value(status)
            );
            meant.kinds.push((probed, format!("{all} and {stands}")));
        }
        meant
    }

    fn value(&mut self, value: &'a (dyn ToSql + Sync)) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// The numbers of a part of them, the latest first.
    fn ids(&mut self, part: &'a Part) -> String {
        let (offset, most) = (self.value(&part.offset), self.value(&part.most));
        let reach = self.value(&part.reach);
        let latest = |from: &str| format!("(select id from {from} order by id desc limit {reach})");
        let kinds = self.kinds.iter().map(|(from, condition)| {
            let these = latest(&format!("{from} where {condition}"));
            match &self.word {
                None => these,
                // Of each beginning so many: the latest of all are among them.
                Some(word) => latest(&format!(
                    "said cross join lateral {these} as one where {word}"
                )),
            }
        });
        let kinds: Vec<String> = kinds.collect();
        format!(
            "{} select id from ({}) as meant order by id desc offset {offset} limit {most}",
            self.before(),
            kinds.join(" union all ")
        )
    }

    /// How many they are.
    fn count(&self) -> String {
        let counts = self.kinds.iter().map(|(from, condition)| match &self.word {
            None => format!("(select count(*) from {from} where {condition})"),
            // Counted for each beginning, so that each is looked for.
            Some(word) => format!(
                "(select coalesce(sum(here), 0)::bigint from said cross join lateral \
                     (select count(*) as here from {from} where {condition}) as one where {word})"
            ),
        });
        let counts: Vec<String> = counts.collect();
        format!("{} select {}", self.before(), counts.join(" + "))
    }

    fn before(&self) -> String {
        self.word.as_ref().map_or(String::new(), |_| said())
    }
}

/// A part of a list.
struct Part {
    offset: i64,
    most: i64,
    /// The end of both: what one kind has to give at most.
    reach: i64,
}

impl Part {
    fn new(offset: i64, most: i64) -> Self {
        let reach = offset.saturating_add(most);
        Self {
            offset,
            most,
            reach,
        }
    }
}

/// Activities, the latest first, `most` from `offset`.
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
) -> Result<Vec<Activity>> {
    let part = Part::new(offset, most);
    let mut meant = Meant::of(&account, wanted);
    let ids = meant.ids(&part);
    let sql = format!(
        "select activity.id, parent_id, computer_id, person.id, name, email, type, summary, \
             {STATUS}, {created}, {modified}, \
             case when deliver_after > activity.created_at + interval '1 second' \
                 then {after} end, \
             {delivered}, {completed}, result_code, result_text, \
             waiting, running, succeeded, failed, canceled, deliver_delay_window \
         from ({ids}) as part join activity using (id) \
         left join person on person.id = creator_id \
         left join lateral {counted} as children on activity.status = 'group' \
         order by activity.id desc",
        created = iso("activity.created_at"),
        modified = iso("modified_at"),
        after = iso("deliver_after"),
        delivered = iso("delivered_at"),
        completed = iso("completed_at"),
        counted = counted(),
    );
    let found = rows_once(tx, &sql, &meant.values).await?;
    found.iter().map(activity_of).collect()
}

/// How many activities there are. Those of an account are many: only for who must know.
///
/// # Errors
///
/// The database's.
pub async fn count(tx: &Tx<'_>, account: i64, wanted: &Wanted) -> Result<i64> {
    let meant = Meant::of(&account, wanted);
    let found = rows_once(tx, &meant.count(), &meant.values).await?;
    Ok(found.first().map_or(Ok(0), |row| row.try_get(0))?)
}

/// The numbers of activities, the latest first, `most` of them.
///
/// # Errors
///
/// The database's.
pub async fn matching(tx: &Tx<'_>, account: i64, wanted: &Wanted, most: i64) -> Result<Vec<i64>> {
    let part = Part::new(0, most);
    let mut meant = Meant::of(&account, wanted);
    let sql = meant.ids(&part);
    let found = rows_once(tx, &sql, &meant.values).await?;
    found.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

fn activity_of(row: &tokio_postgres::Row) -> Result<Activity> {
    let creator = match row.try_get::<_, Option<i64>>(3)? {
        Some(id) => Some((id, row.try_get(4)?, row.try_get(5)?)),
        None => None,
    };
    let mut children = Vec::new();
    for (column, (status, _)) in (16_usize..).zip(CHILDREN) {
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
    let sql = "insert into activity (account_id, type, summary, fields, status, creator_id, \
                   deliver_after, deliver_delay_window) \
               values ($1, 'group', $2, '', 'group', $3, coalesce($4, now()), $5) returning id";
    let values: super::Values<'_> = &[
        &person.account,
        &summary,
        &person.id,
        &timing.after,
        &timing.window,
    ];
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
    let fields = order.fields();
    // A script may be long: the group keeps it for all. A group of several orders keeps the first.
    let sql = "update activity set fields = $2 where id = $1 and fields = ''";
    let kept = run(tx, sql, &[&group, &fields]).await? == 1;
    let own = (!kept).then_some(fields);
    let sql = "insert into activity (account_id, parent_id, creator_id, computer_id, type, \
                   summary, fields, deliver_after) \
               select $1, $2, $3, computer, $5, $6, $7, \
                   coalesce($8, now()) + random() * make_interval(mins => $9) \
               from unnest($4::bigint[]) with ordinality as asked (computer, place) \
               order by place";
    let values: super::Values<'_> = &[
        &person.account,
        &group,
        &person.id,
        &computers,
        &order.message_type(),
        &order.summary(),
        &own,
        &timing.after,
        &timing.window,
    ];
    run(tx, sql, values).await?;
    if let Order::Script(script) = order {
        let attached: Vec<i64> = script.attachments.values().copied().collect();
        let sql = "insert into activity_attachment (activity_id, attachment_id) \
                   select distinct $1::bigint, attached from unnest($2::bigint[]) as attached";
        run(tx, sql, &[&group, &attached]).await?;
    }
    outbox::put_each(tx, Topic::ActivityOrdered, computers).await
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
                   select id from activity \
                   where account_id = $1 and (id = any($2) or parent_id = any($2)) \
                       and status = 'undelivered' order by id for update) \
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
    let sql = "select activity.id, computer_id \
               from activity join computer on computer.id = computer_id \
               where computer.account_id = $1 and accepted \
                   and (activity.id = $2 or parent_id = $2) \
               order by activity.id";
    let (mut old, mut computers) = (Vec::<i64>::new(), Vec::<i64>::new());
    for row in rows(tx, sql, &[&person.account, &id]).await? {
        old.push(row.try_get(0)?);
        computers.push(row.try_get(1)?);
    }
    if old.is_empty() {
        return Ok(None);
    }
    // What was said stays in the database, and what a group keeps for all its group keeps again.
    let sql = "insert into activity (account_id, type, summary, fields, status, creator_id) \
               select $1, 'group', one.summary, coalesce(one.fields, parent.fields), 'group', $3 \
               from activity one left join activity parent on parent.id = one.parent_id \
               where one.id = $2 returning id";
    let row = one(tx, sql, &[&person.account, &id, &person.id]).await?;
    let group: i64 = row.try_get(0)?;
    let sql = "insert into activity (account_id, parent_id, creator_id, computer_id, type, \
                   summary, fields) \
               select $1, $2, $3, computer_id, type, summary, \
                   case when id <> $5 then fields end \
               from activity where id = any($4) order by id";
    let values: super::Values<'_> = &[&person.account, &group, &person.id, &old, &id];
    run(tx, sql, values).await?;
    let sql = "insert into activity_attachment (activity_id, attachment_id) \
               select distinct $1::bigint, attachment_id from activity old \
               join activity_attachment on activity_id in (old.id, old.parent_id) \
               where old.id = any($2)";
    run(tx, sql, &[&group, &old]).await?;
    outbox::put_each(tx, Topic::ActivityOrdered, &computers).await?;
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
    let sql = "select one.computer_id, one.type, one.summary, \
                   case when one.type = 'change-packages' \
                       then coalesce(one.fields, parent.fields) else ''::bytea end, \
                   one.status = 'succeeded' \
               from activity one join computer on computer.id = one.computer_id \
               left join activity parent on parent.id = one.parent_id \
               where computer.account_id = $1 and accepted \
                   and (one.id = $2 or one.parent_id = $2) \
               order by one.id";
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
    Ok(list(tx, account, &wanted, 0, 1).await?.pop())
}
