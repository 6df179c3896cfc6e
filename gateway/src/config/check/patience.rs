//! What happens when workers fail, are gone or are full?
//!
//! Reads `outlier:`, `hold:`, `queue:` and `retry:`.

use std::time::Duration;

use crate::config::model::{Outlier, Retry};
use crate::config::read::{Field, Reader, Zero};
use crate::config::tree::Value;

/// `off`, or the keys of outlier detection.
pub(super) fn outlier(field: &Field<'_>, reader: &mut Reader) -> Option<Outlier> {
    let mut outlier = Outlier::default();
    if matches!(&field.node.value, Value::Text(text) if text == "off") {
        outlier.consecutive_failures = 0;
        return Some(outlier);
    }
    let mut keys = reader.keys(field, "`off` or the keys of outlier detection")?;
    keys.set(
        reader,
        "consecutive_failures",
        &mut outlier.consecutive_failures,
        |r, f| r.number(f, 0..=10_000),
    );
    keys.set(reader, "rest", &mut outlier.rest, |r, f| {
        r.duration(f, Zero::Senseless)
    });
    let mut rest_max = None;
    keys.set(reader, "rest_max", &mut rest_max, |r, f| {
        r.duration(f, Zero::Senseless)
            .map(|rest| Some((rest, f.node.place)))
    });
    keys.set(
        reader,
        "ejected_share_max",
        &mut outlier.ejected_share_max,
        |r, f| r.percent(f, 0..=100).and_then(|p| u8::try_from(p).ok()),
    );
    keys.done(reader);
    match rest_max {
        Some((longest, place)) if longest < outlier.rest => {
            reader.error(
                place,
                format!("`{}`: `rest_max` is shorter than `rest`", field.path),
                "rests grow from `rest` to `rest_max`",
            );
        }
        Some((longest, _)) => outlier.rest_max = longest,
        None => outlier.rest_max = outlier.rest_max.max(outlier.rest),
    }
    Some(outlier)
}

/// `30s`, `{ time: , requests_max: }` or `off`.
pub(super) fn waiting(
    field: &Field<'_>,
    default: (Duration, u32),
    reader: &mut Reader,
) -> Option<(Duration, u32)> {
    let (mut time, mut requests_max) = default;
    if matches!(&field.node.value, Value::Text(_)) {
        return reader
            .duration(field, Zero::Allowed)
            .map(|time| (time, requests_max));
    }
    let mut keys = reader.keys(field, "a duration, `{ time: , requests_max: }` or `off`")?;
    keys.set(reader, "time", &mut time, |r, f| {
        r.duration(f, Zero::Allowed)
    });
    keys.set(reader, "requests_max", &mut requests_max, |r, f| {
        r.number(f, 1..=10_000_000)
    });
    keys.done(reader);
    Some((time, requests_max))
}

/// `off`, or the keys of retries.
pub(super) fn retry(field: &Field<'_>, reader: &mut Reader) -> Option<Retry> {
    let mut retry = Retry::default();
    if matches!(&field.node.value, Value::Text(text) if text == "off") {
        retry.attempts_max = 0;
        return Some(retry);
    }
    let mut keys = reader.keys(field, "`off` or the keys of retries")?;
    keys.set(reader, "attempts_max", &mut retry.attempts_max, |r, f| {
        r.number(f, 0..=100)
    });
    keys.set(
        reader,
        "budget_percent",
        &mut retry.budget_percent,
        |r, f| r.percent(f, 0..=1_000).and_then(|p| u32::try_from(p).ok()),
    );
    keys.set(
        reader,
        "budget_min_per_second",
        &mut retry.budget_min_per_second,
        |r, f| r.number(f, 0..=1_000_000),
    );
    keys.set(
        reader,
        "body_bytes_max",
        &mut retry.body_bytes_max,
        |r, f| r.bytes(f, 0..=64 << 20),
    );
    keys.done(reader);
    Some(retry)
}
