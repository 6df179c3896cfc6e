//! How often may one client ask?
//!
//! Reads `rate:` of a listener or a route.

use super::tokens::token;
use crate::config::model::{Rate, RateKey};
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;
use crate::config::units;

/// `100/s`, `off`, or the keys of a rate.
pub(super) fn rate(field: &Field<'_>, reader: &mut Reader) -> Option<Option<Rate>> {
    if let Value::Text(text) = &field.node.value {
        if text.trim() == "off" {
            return Some(None);
        }
        return reader
            .or_tell(field, units::rate(text.trim()))
            .map(|(requests, every)| Some(Rate::new(requests, every)));
    }
    let mut keys = reader.keys(field, "a rate such as `100/s`, or its keys")?;
    let requests = keys.need(reader, "requests");
    let requests = requests.and_then(|field| {
        let text = reader.text(&field, "a rate such as `100/s`")?;
        reader.or_tell(&field, units::rate(text))
    });
    let mut per = RateKey::Address;
    keys.set(reader, "per", &mut per, |r, f| key(f, r));
    let mut burst = None;
    keys.set(reader, "burst", &mut burst, |r, f| {
        r.number(f, 1..=1_000_000).map(Some)
    });
    let mut keys_max = None;
    keys.set(reader, "keys_max", &mut keys_max, |r, f| {
        r.number(f, 1..=1_000_000).map(Some)
    });
    keys.done(reader);
    let (requests, every) = requests?;
    let rate = Rate::new(requests, every);
    Some(Some(Rate {
        per,
        burst: burst.unwrap_or(rate.burst),
        keys_max: keys_max.unwrap_or(rate.keys_max),
        ..rate
    }))
}

fn key(field: &Field<'_>, reader: &mut Reader) -> Option<RateKey> {
    if matches!(&field.node.value, Value::Text(_)) {
        return reader.word(
            field,
            &[
                ("address", RateKey::Address),
                ("certificate", RateKey::Certificate),
            ],
        );
    }
    let mut keys = reader.keys(field, "`address`, `certificate` or `{ header: NAME }`")?;
    let header = keys.need(reader, "header");
    keys.done(reader);
    token(&header?, reader).map(|name| RateKey::Header(name.to_ascii_lowercase()))
}
