//! Where do an agent and we stand? Numbers, tokens and what was handed out.

use uuid::Uuid;

use super::{Result, Tx, find, one, outbox, rows, run};
use crate::domain::event::Topic;
use crate::domain::sequence::Acknowledged;

/// One end of the exchange with a computer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The number of its next message; None before first contact.
    pub expected: Option<i64>,
    /// The number of our next message.
    pub next_out: i64,
    /// The token it should show.
    pub token: Option<Uuid>,
    /// The one before.
    pub previous_token: Option<Uuid>,
    /// The types it understands; None until it has told.
    pub client_types: Option<Vec<String>>,
    /// Their digest.
    pub client_types_digest: Option<Vec<u8>>,
}

/// What the end of an exchange leaves behind.
#[derive(Clone, Debug)]
pub struct Update<'a> {
    /// The number of the agent's next message.
    pub expected: i64,
    /// The number of our next message.
    pub next_out: i64,
    /// The token that stays valid until the new one is seen.
    pub previous_token: Option<Uuid>,
    /// The types it understands, and their digest, where it has told.
    pub client_types: Option<(&'a [String], &'a [u8])>,
    /// The message API it was written for, where it has told.
    pub client_api: Option<&'a str>,
    /// Messages that were not stored.
    pub refused: i64,
}

/// A message that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub number: i64,
    /// Its type.
    pub message_type: String,
    /// All of it, in bpickle.
    pub body: Vec<u8>,
}

/// Where we stand with a computer. Its row must be locked.
///
/// # Errors
///
/// The database's.
pub async fn state(tx: &Tx<'_>, computer: i64) -> Result<State> {
    let sql = "select expected, next_out, token, previous_token, client_types, \
               client_types_digest from exchange where computer_id = $1";
    let Some(row) = find(tx, sql, &[&computer]).await? else {
        return Ok(State::default());
    };
    Ok(State {
        expected: row.try_get(0)?,
        next_out: row.try_get(1)?,
        token: row.try_get(2)?,
        previous_token: row.try_get(3)?,
        client_types: row.try_get(4)?,
        client_types_digest: row.try_get(5)?,
    })
}

/// Stores where we stand, and returns the new token.
///
/// # Errors
///
/// The database's.
pub async fn update(tx: &Tx<'_>, computer: i64, update: &Update<'_>) -> Result<Uuid> {
    let (types, digest) = update.client_types.unzip();
    let sql = "insert into exchange (computer_id, expected, next_out, token, previous_token, \
                   client_types, client_types_digest, client_api, last_at, refused_messages) \
               values ($1, $2, $3, gen_random_uuid(), $4, $5, $6, $7, now(), $8) \
               on conflict (computer_id) do update set \
                   expected = excluded.expected, next_out = excluded.next_out, \
                   token = excluded.token, previous_token = excluded.previous_token, \
                   client_types = coalesce(excluded.client_types, exchange.client_types), \
                   client_types_digest = \
                       coalesce(excluded.client_types_digest, exchange.client_types_digest), \
                   client_api = coalesce(excluded.client_api, exchange.client_api), \
                   last_at = now(), \
                   refused_messages = exchange.refused_messages + excluded.refused_messages \
               returning token";
    let row = one(
        tx,
        sql,
        &[
            &computer,
            &update.expected,
            &update.next_out,
            &update.previous_token,
            &types,
            &digest,
            &update.client_api,
            &update.refused,
        ],
    )
    .await?;
    outbox::put_of(tx, Topic::ComputerReported, computer).await?;
    Ok(row.try_get(0)?)
}

/// What was handed out and is not acknowledged, in order.
///
/// # Errors
///
/// The database's.
pub async fn kept(tx: &Tx<'_>, computer: i64) -> Result<Vec<Kept>> {
    let sql = "select number, type, body from outgoing_message where computer_id = $1 \
               order by number";
    let mut kept = Vec::new();
    for row in rows(tx, sql, &[&computer]).await? {
        kept.push(Kept {
            number: row.try_get(0)?,
            message_type: row.try_get(1)?,
            body: row.try_get(2)?,
        });
    }
    Ok(kept)
}

/// Carries out an acknowledgement on what is `kept`, and returns what is still to be said.
///
/// # Errors
///
/// The database's.
pub async fn acknowledge(
    tx: &Tx<'_>,
    computer: i64,
    mut kept: Vec<Kept>,
    acknowledged: Acknowledged,
) -> Result<Vec<Kept>> {
    match acknowledged {
        Acknowledged::Before(number) => {
            if kept.first().is_some_and(|first| first.number < number) {
                let sql = "delete from outgoing_message where computer_id = $1 and number < $2";
                run(tx, sql, &[&computer, &number]).await?;
                kept.retain(|message| message.number >= number);
            }
        }
        Acknowledged::From(number) => {
            if kept.is_empty() {
                return Ok(kept);
            }
            // Two steps, because numbers that overlap would meet each other on the way.
            let lowest = kept[0].number;
            let sql = "update outgoing_message set number = -1 - number where computer_id = $1";
            run(tx, sql, &[&computer]).await?;
            let sql = "update outgoing_message set number = -1 - number - $2 + $3 \
                       where computer_id = $1";
            run(tx, sql, &[&computer, &lowest, &number]).await?;
            for message in &mut kept {
                message.number = message.number - lowest + number;
            }
        }
    }
    Ok(kept)
}

/// Hands out a message under a number; the computer must be locked.
///
/// # Errors
///
/// The database's.
pub async fn hand_out(
    tx: &Tx<'_>,
    computer: i64,
    message: &Kept,
    activity: Option<i64>,
) -> Result<()> {
    let sql = "insert into outgoing_message (computer_id, number, type, body, activity_id) \
               values ($1, $2, $3, $4, $5)";
    run(
        tx,
        sql,
        &[
            &computer,
            &message.number,
            &message.message_type,
            &message.body,
            &activity,
        ],
    )
    .await?;
    Ok(())
}
