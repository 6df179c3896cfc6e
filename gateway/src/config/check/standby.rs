//! Who stands in for a pool, and what is said while it is closed?
//!
//! Reads `backup:` of pools and routes and `maintenance:`. Whether a backup is there, speaks the same protocol and leads
//! back to where it began is asked once all pools are known.

use super::pools::Draft;
use super::trusted;
use crate::config::model::{Backup, Maintenance, Place, PoolId};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

/// A backup as written.
pub(super) struct Wanted {
    name: String,
    below: u32,
    place: Place,
}

/// `NAME`, or `{ to: NAME, below: 2 }`.
pub(super) fn backup(field: &Field<'_>, reader: &mut Reader) -> Option<Wanted> {
    let wanted = |name: &str, below, place| Wanted {
        name: name.to_owned(),
        below,
        place,
    };
    if matches!(&field.node.value, Value::Text(_)) {
        let name = reader.text(field, "the name of a pool")?;
        return Some(wanted(name, 1, field.node.place));
    }
    let mut keys = reader.keys(field, "the name of a pool, or `{ to: POOL, below: 2 }`")?;
    let to = keys.need(reader, "to");
    let mut below = 1;
    keys.set(reader, "below", &mut below, |r, f| r.number(f, 1..=100_000));
    keys.done(reader);
    let to = to?;
    let name = reader.text(&to, "the name of a pool")?;
    Some(wanted(name, below, to.node.place))
}

/// Finds the backup of each pool; tells those that are not there, that speak otherwise, or that lead back.
pub(super) fn settle(drafts: &mut [Draft], reader: &mut Reader) {
    let found: Vec<_> = drafts
        .iter()
        .enumerate()
        .map(|(at, draft)| find(draft.wanted.as_ref()?, at, drafts, reader))
        .collect();
    for (draft, found) in drafts.iter_mut().zip(found) {
        draft.backup = found;
    }
    for at in 0..drafts.len() {
        if let Some(wanted) = &drafts[at].wanted
            && follow(at, drafts).is_none()
        {
            let what = format!("pool `{}` stands in for itself in the end", drafts[at].name);
            reader.error(wanted.place, what, "a chain of backups has an end");
            drafts[at].backup = None;
        }
    }
}

/// The backups of a route: its own, or its pool's, and theirs in turn.
pub(super) fn chain(
    pool: PoolId,
    own: Option<&Wanted>,
    drafts: &[Draft],
    reader: &mut Reader,
) -> Vec<Backup> {
    let at = usize::from(pool.0);
    let Some(wanted) = own else {
        return follow(at, drafts).unwrap_or_default();
    };
    let Some(first) = find(wanted, at, drafts, reader) else {
        return Vec::new();
    };
    let mut chain = vec![first];
    // The route's word goes before the pool's: what comes to the route's pool again ends the chain.
    for next in follow(usize::from(first.pool.0), drafts).unwrap_or_default() {
        if next.pool == pool {
            break;
        }
        chain.push(next);
    }
    chain
}

fn find(wanted: &Wanted, from: usize, drafts: &[Draft], reader: &mut Reader) -> Option<Backup> {
    let Wanted { name, below, place } = wanted;
    let Some(at) = drafts.iter().position(|draft| draft.name == *name) else {
        let known: Vec<&str> = drafts.iter().map(|draft| draft.name.as_str()).collect();
        let hint = reader.suggest(name, &known);
        reader.error(*place, format!("there is no pool {}", quoted(name)), hint);
        return None;
    };
    if at == from {
        let what = format!("pool `{name}` cannot stand in for itself");
        reader.error(*place, what, "name another pool");
        return None;
    }
    if let (Some(one), Some(other)) = (&drafts[from].pool, &drafts[at].pool)
        && one.protocol != other.protocol
    {
        let what = format!(
            "pool `{name}` does not speak what pool `{}` speaks",
            one.name
        );
        reader.error(*place, what, "both need the same `protocol`");
        return None;
    }
    Some(Backup {
        pool: PoolId(u16::try_from(at).ok()?),
        below: *below,
    })
}

/// The backups behind a pool; `None` when they lead in a ring.
fn follow(from: usize, drafts: &[Draft]) -> Option<Vec<Backup>> {
    let mut chain: Vec<Backup> = Vec::new();
    let mut at = from;
    while let Some(backup) = drafts[at].backup {
        at = usize::from(backup.pool.0);
        if at == from || chain.iter().any(|other| other.pool == backup.pool) {
            return None;
        }
        chain.push(backup);
    }
    Some(chain)
}

/// `on`, `off`, or `{ retry_after: 60s, text: ..., allow: [NETWORK] }`.
pub(super) fn maintenance(field: &Field<'_>, reader: &mut Reader) -> Option<Option<Maintenance>> {
    let mut maintenance = Maintenance::default();
    if matches!(&field.node.value, Value::Text(_)) {
        let words = [("on", Some(maintenance)), ("off", None)];
        return reader.word(field, &words);
    }
    let mut keys = reader.keys(field, "`on`, `off` or the keys of maintenance")?;
    keys.set(
        reader,
        "retry_after",
        &mut maintenance.retry_after,
        |r, f| seconds(r, f),
    );
    keys.set(reader, "text", &mut maintenance.text, |r, f| sentence(r, f));
    keys.set(reader, "allow", &mut maintenance.allow, |r, f| {
        trusted::list(f, r)
    });
    keys.done(reader);
    Some(Some(maintenance))
}

fn seconds(reader: &mut Reader, field: &Field<'_>) -> Option<u16> {
    let read = reader.duration(field, crate::config::read::Zero::Senseless)?;
    match u16::try_from(read.as_secs()) {
        Ok(seconds) if seconds > 0 && read.subsec_nanos() == 0 => Some(seconds),
        _ => {
            reader.error(
                field.node.place,
                format!("`{}` is not a time for `Retry-After`", field.path),
                "whole seconds, up to 18 hours",
            );
            None
        }
    }
}

/// It is sent in bodies and in `grpc-message`.
fn sentence(reader: &mut Reader, field: &Field<'_>) -> Option<String> {
    let text = reader.text(field, "a sentence")?;
    if is_sentence(text) {
        return Some(text.to_owned());
    }
    reader.error(
        field.node.place,
        format!("`{}` cannot be sent to every client", field.path),
        SENTENCE,
    );
    None
}

/// What [`is_sentence`] asks for.
pub const SENTENCE: &str = "1 to 500 characters of ASCII on one line, without `%`";

/// Whether a text can be sent in bodies and in `grpc-message`.
pub fn is_sentence(text: &str) -> bool {
    let plain = |b: u8| b == b' ' || b.is_ascii_graphic();
    (1..=500).contains(&text.len()) && text.bytes().all(plain) && !text.contains('%')
}
