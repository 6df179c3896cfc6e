//! Which requests go to another pool, too?
//!
//! Reads `mirror:`.

use super::actions::pool;
use super::names::Names;
use crate::config::model::{Mirror, PoolId};
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

/// The name of a pool, or the keys of a mirror. `own` is the pool that answers.
pub(super) fn mirror(
    field: &Field<'_>,
    own: PoolId,
    names: &Names<'_>,
    reader: &mut Reader,
) -> Option<Mirror> {
    let (mut share, mut body_bytes_max, mut in_flight_max) = (100, 64 * 1024, 100);
    let to = if matches!(&field.node.value, Value::Text(_)) {
        field.clone()
    } else {
        let mut keys = reader.keys(field, "the name of a pool, or `{ to: POOL, share: 5% }`")?;
        let to = keys.need(reader, "to");
        keys.set(reader, "share", &mut share, |r, f| {
            r.percent(f, 1..=100).and_then(|p| u8::try_from(p).ok())
        });
        keys.set(reader, "body_bytes_max", &mut body_bytes_max, |r, f| {
            r.bytes(f, 0..=16 << 20)
        });
        keys.set(reader, "in_flight_max", &mut in_flight_max, |r, f| {
            r.number(f, 1..=100_000)
        });
        keys.done(reader);
        to?
    };
    let place = to.node.place;
    let pool = pool(&to, names, reader)?;
    if pool == own {
        reader.error(
            place,
            format!(
                "`{}`: the pool would get its own requests twice",
                field.path
            ),
            "name another pool",
        );
        return None;
    }
    Some(Mirror {
        pool,
        share,
        body_bytes_max,
        in_flight_max,
    })
}
