//! What shall computers do, and how did it end?

use super::{Result, Tx, find, one, outbox, rows, run};
use crate::domain::event::Topic;
use crate::domain::report::OperationResult;

/// An activity that can be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its number, which is the operation's.
    pub id: i64,
    /// The type of its message.
    pub message_type: String,
    /// The message's other fields, in bpickle.
    pub fields: Vec<u8>,
}

/// Orders an activity; it is delivered at the computer's next exchange, and its pings say that it waits.
///
/// # Errors
///
/// The database's.
pub async fn order(
    tx: &Tx<'_>,
    computer: i64,
    message_type: &str,
    summary: &str,
    fields: &[u8],
) -> Result<i64> {
    let sql = "insert into activity (account_id, computer_id, type, summary, fields) \
               select account_id, id, $2, $3, $4 from computer where id = $1 returning id";
    let row = one(tx, sql, &[&computer, &message_type, &summary, &fields]).await?;
    outbox::put_of(tx, Topic::ActivityOrdered, computer).await?;
    Ok(row.try_get(0)?)
}

/// Was an activity of this type and summary ordered in the last day?
///
/// # Errors
///
/// The database's.
pub async fn ordered_lately(
    tx: &Tx<'_>,
    computer: i64,
    message_type: &str,
    summary: &str,
) -> Result<bool> {
    let sql = "select exists (select from activity where computer_id = $1 and type = $2 \
               and summary = $3 and created_at > now() - interval '1 day')";
    let row = one(tx, sql, &[&computer, &message_type, &summary]).await?;
    Ok(row.try_get(0)?)
}

/// The activities whose time has come, in the order of their numbers.
///
/// # Errors
///
/// The database's.
pub async fn due(tx: &Tx<'_>, computer: i64, most: i64) -> Result<Vec<Due>> {
    let sql = "select one.id, one.type, coalesce(one.fields, parent.fields) \
               from activity one left join activity parent on parent.id = one.parent_id \
               where one.computer_id = $1 and one.status = 'undelivered' \
                   and one.deliver_after <= now() \
               order by one.id limit $2 for update of one";
    let mut due = Vec::new();
    for row in rows(tx, sql, &[&computer, &most]).await? {
        due.push(Due {
            id: row.try_get(0)?,
            message_type: row.try_get(1)?,
            fields: row.try_get(2)?,
        });
    }
    Ok(due)
}

/// The computer has been told.
///
/// # Errors
///
/// The database's.
pub async fn delivered(tx: &Tx<'_>, id: i64) -> Result<()> {
    let sql = "update activity set status = 'delivered', delivered_at = now() where id = $1 \
               returning computer_id";
    changed(tx, one(tx, sql, &[&id]).await?.try_get(0)?).await
}

/// It can never be delivered.
///
/// # Errors
///
/// The database's.
pub async fn failed(tx: &Tx<'_>, id: i64, why: &str) -> Result<()> {
    let sql = "update activity set status = 'failed', completed_at = now(), result_text = $2 \
               where id = $1 returning computer_id";
    changed(tx, one(tx, sql, &[&id, &why]).await?.try_get(0)?).await
}

/// Tells that an activity of a computer is further.
async fn changed(tx: &Tx<'_>, computer: i64) -> Result<()> {
    outbox::put_of(tx, Topic::ActivityChanged, computer).await
}

/// The message's other fields, in bpickle, of an activity of this type that the computer was given, whatever became of it.
///
/// # Errors
///
/// The database's.
pub async fn delivered_fields(
    tx: &Tx<'_>,
    computer: i64,
    id: i64,
    message_type: &str,
) -> Result<Option<Vec<u8>>> {
    let sql = "select coalesce(one.fields, parent.fields) \
               from activity one left join activity parent on parent.id = one.parent_id \
               where one.id = $1 and one.computer_id = $2 and one.type = $3 \
                   and one.delivered_at is not null";
    let row = find(tx, sql, &[&id, &computer, &message_type]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// The computer says how an activity of its own ended. False for one that is not delivered, is over,
/// or belongs to another computer: that is no error, and nothing changes.
///
/// # Errors
///
/// The database's.
pub async fn completed(tx: &Tx<'_>, computer: i64, result: &OperationResult) -> Result<bool> {
    let status = if result.succeeded {
        "succeeded"
    } else {
        "failed"
    };
    let sql = "update activity set status = $3, completed_at = now(), result_code = $4, \
               result_text = $5 where id = $1 and computer_id = $2 and status = 'delivered'";
    let count = run(
        tx,
        sql,
        &[
            &result.operation,
            &computer,
            &status,
            &result.code,
            &result.text,
        ],
    )
    .await?;
    if count == 1 {
        changed(tx, computer).await?;
    }
    Ok(count == 1)
}

/// The content of an attachment, for a computer with an activity that names it, or whose group does.
///
/// # Errors
///
/// The database's.
pub async fn attachment(tx: &Tx<'_>, id: i64, secure: uuid::Uuid) -> Result<Option<Vec<u8>>> {
    let sql = "select content from attachment where id = $1 and exists ( \
                   select from computer join activity on activity.computer_id = computer.id \
                   join activity_attachment on attachment_id = $1 \
                       and activity_id in (activity.id, activity.parent_id) \
                   where computer.accepted and secure_id = $2)";
    let row = find(tx, sql, &[&id, &secure]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}
