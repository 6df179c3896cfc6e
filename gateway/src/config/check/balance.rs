//! How is a worker chosen?
//!
//! Reads `balance:` and the `hash:` that belongs to it.

use super::tokens::token;
use crate::config::model::{Balance, HashKey, Place};
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

pub(super) fn read_balance(
    balance: Option<&Field<'_>>,
    hash: Option<&Field<'_>>,
    slot: &mut Balance,
    reader: &mut Reader,
) {
    let words = [
        ("least-loaded", Some(Balance::LeastLoaded)),
        ("round-robin", Some(Balance::RoundRobin)),
        ("least-connections", Some(Balance::LeastConnections)),
        ("hash", None),
    ];
    let word = balance.map_or(Some(Some(Balance::LeastLoaded)), |field| {
        reader.word(field, &words)
    });
    match (word, hash) {
        (Some(None), None) => {
            let place = balance.map_or(Place::default(), |field| field.node.place);
            reader.error(
                place,
                "balancing by hash needs a key",
                "add `hash: address`, `hash: { header: NAME }` or `hash: { cookie: NAME }`",
            );
        }
        (Some(None), Some(field)) => {
            if let Some(key) = hash_key(field, reader) {
                *slot = Balance::Hash(key);
            }
        }
        (Some(Some(_)), Some(field)) => {
            reader.error(
                field.key,
                format!("`{}` has no effect without `balance: hash`", field.path),
                "add `balance: hash` or remove the key",
            );
        }
        (Some(Some(balance)), None) => *slot = balance,
        (None, _) => {}
    }
}

fn hash_key(field: &Field<'_>, reader: &mut Reader) -> Option<HashKey> {
    if matches!(&field.node.value, Value::Text(_)) {
        return reader.word(field, &[("address", HashKey::Address)]);
    }
    let mut keys = reader.keys(field, "`address`, `{ header: NAME }` or `{ cookie: NAME }`")?;
    let header = keys.take("header");
    let cookie = keys.take("cookie");
    keys.done(reader);
    match (header, cookie) {
        (Some(field), None) => {
            token(&field, reader).map(|name| HashKey::Header(name.to_ascii_lowercase()))
        }
        (None, Some(field)) => token(&field, reader).map(|name| HashKey::Cookie(name.to_owned())),
        _ => {
            reader.error(
                field.key,
                format!("`{}` needs one of `header` and `cookie`", field.path),
                "write `hash: { header: X-Computer-ID }`",
            );
            None
        }
    }
}
