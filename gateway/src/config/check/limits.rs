//! What may strangers do on a listener?
//!
//! Reads `limits:`.

use crate::config::model::ListenerLimits;
use crate::config::read::{Field, Keys, Reader, Zero};

/// Reads what is given into `limits`, which holds the defaults.
pub(super) fn read_limits(field: &Field<'_>, limits: &mut ListenerLimits, reader: &mut Reader) {
    let Some(mut keys) = reader.keys(field, "the limits of a listener") else {
        return;
    };
    let millions = 1..=10_000_000;
    keys.set(
        reader,
        "connections_max",
        &mut limits.connections_max,
        |r, f| r.number(f, millions.clone()),
    );
    keys.set(
        reader,
        "connections_per_client_max",
        &mut limits.connections_per_client_max,
        |r, f| r.number(f, millions),
    );
    let mut time = |keys: &mut Keys<'_>, name, slot, zero| {
        keys.set(reader, name, slot, |r, f| r.duration(f, zero))
    };
    time(
        &mut keys,
        "handshake_timeout",
        &mut limits.handshake_timeout,
        Zero::Senseless,
    );
    time(
        &mut keys,
        "first_byte_timeout",
        &mut limits.first_byte_timeout,
        Zero::Senseless,
    );
    time(
        &mut keys,
        "head_timeout",
        &mut limits.head_timeout,
        Zero::Senseless,
    );
    time(
        &mut keys,
        "idle_timeout",
        &mut limits.idle_timeout,
        Zero::Senseless,
    );
    time(
        &mut keys,
        "body_timeout",
        &mut limits.body_timeout,
        Zero::Senseless,
    );
    time(
        &mut keys,
        "tunnel_timeout",
        &mut limits.tunnel_timeout,
        Zero::Allowed,
    );
    keys.set(
        reader,
        "head_bytes_max",
        &mut limits.head_bytes_max,
        |r, f| r.bytes(f, 1_024..=1 << 20),
    );
    keys.set(
        reader,
        "target_bytes_max",
        &mut limits.target_bytes_max,
        |r, f| r.bytes(f, 256..=1 << 20),
    );
    keys.set(reader, "fields_max", &mut limits.fields_max, |r, f| {
        r.number(f, 8..=10_000)
    });
    keys.set(
        reader,
        "body_bytes_max",
        &mut limits.body_bytes_max,
        |r, f| r.size(f, 0..=1 << 50),
    );
    keys.set(reader, "streams_max", &mut limits.streams_max, |r, f| {
        r.number(f, 1..=100_000)
    });
    keys.done(reader);
    if limits.target_bytes_max > limits.head_bytes_max {
        let what = format!(
            "`{}`: a target of {} bytes does not fit into a head of {}",
            field.path, limits.target_bytes_max, limits.head_bytes_max
        );
        reader.error(
            field.key,
            what,
            "raise `head_bytes_max` or lower `target_bytes_max`",
        );
    }
}
