//! What may strangers do on a listener?
//!
//! Reads `limits:`.

use crate::config::model::{Http2Limits, ListenerLimits};
use crate::config::read::{Field, Keys, Reader, Zero};
use crate::config::tree::Value;

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
        "body_rate_min",
        &mut limits.body_rate_min,
        |r, f| match &f.node.value {
            Value::Text(text) if text.trim() == "off" => Some(0),
            _ => r.size(f, 1..=1 << 30),
        },
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
    keys.set(
        reader,
        "field_bytes_max",
        &mut limits.field_bytes_max,
        |r, f| match &f.node.value {
            Value::Text(text) if text.trim() == "off" => Some(None),
            _ => r.bytes(f, 256..=1 << 20).map(Some),
        },
    );
    if let Some(field) = keys.take("http2") {
        http2(&field, &mut limits.http2, reader);
    }
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

fn http2(field: &Field<'_>, limits: &mut Http2Limits, reader: &mut Reader) {
    let Some(mut keys) = reader.keys(field, "the limits of HTTP/2") else {
        return;
    };
    keys.set(reader, "resets_max", &mut limits.resets_max, |r, f| {
        r.number(f, 1..=100_000)
    });
    keys.set(reader, "errors_max", &mut limits.errors_max, |r, f| {
        r.number(f, 1..=1_000_000)
    });
    let mut window = |keys: &mut Keys<'_>, name, least: u64| {
        let field = keys.take(name)?;
        let read = reader.size(&field, least..=(1 << 31) - 1)?;
        u32::try_from(read)
            .ok()
            .map(|read| (read, field.node.place))
    };
    if let Some((read, _)) = window(&mut keys, "stream_window", 1024) {
        limits.stream_window = read;
    }
    // RFC 9113 section 6.9.2: a connection begins with this much, and there is no way to take of it.
    let connection = window(&mut keys, "connection_window", 65_535);
    limits.connection_window = connection.map(|(read, _)| read);
    if let Some((read, place)) = connection
        && read < limits.stream_window
    {
        reader.error(
            place,
            format!("`{}`: one stream alone may have more", field.path),
            "raise `connection_window` or lower `stream_window`",
        );
    }
    keys.set(
        reader,
        "frame_bytes_max",
        &mut limits.frame_bytes_max,
        |r, f| {
            let read = r.size(f, 16_384..=(1 << 24) - 1)?;
            u32::try_from(read).ok()
        },
    );
    keys.set(
        reader,
        "send_bytes_max",
        &mut limits.send_bytes_max,
        |r, f| r.bytes(f, 1024..=64 << 20),
    );
    keys.done(reader);
}
