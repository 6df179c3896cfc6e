//! How does the process end, and how is it replaced?
//!
//! Reads `drain:` and `upgrade:`.

use crate::config::model::{Drain, Upgrade, UpgradeSocket};
use crate::config::read::{Field, Keys, Reader, Zero};
use crate::config::tree::Value;

/// Both keys, with the defaults of what is not given.
#[derive(Default)]
pub(super) struct Stop {
    pub drain: Drain,
    pub upgrade: Upgrade,
}

impl Stop {
    /// Reads what is given.
    pub fn read(&mut self, keys: &mut Keys<'_>, reader: &mut Reader) {
        if let Some(field) = keys.take("drain") {
            read_drain(&field, &mut self.drain, reader);
        }
        if let Some(field) = keys.take("upgrade") {
            read_upgrade(&field, &mut self.upgrade, reader);
        }
    }
}

fn read_drain(field: &Field<'_>, drain: &mut Drain, reader: &mut Reader) {
    let Some(mut keys) = reader.keys(field, "`{ deadline: 30s, spread: 10s }`") else {
        return;
    };
    keys.set(reader, "deadline", &mut drain.deadline, |r, f| {
        r.duration(f, Zero::Allowed)
    });
    keys.set(reader, "spread", &mut drain.spread, |r, f| {
        r.duration(f, Zero::Allowed)
    });
    keys.done(reader);
}

fn read_upgrade(field: &Field<'_>, upgrade: &mut Upgrade, reader: &mut Reader) {
    let Some(mut keys) = reader.keys(field, "`{ deadline: 1h, start_timeout: 60s }`") else {
        return;
    };
    keys.set(reader, "deadline", &mut upgrade.deadline, |r, f| {
        r.duration(f, Zero::Allowed)
    });
    keys.set(
        reader,
        "start_timeout",
        &mut upgrade.start_timeout,
        |r, f| r.duration(f, Zero::Senseless),
    );
    keys.set(reader, "socket", &mut upgrade.socket, |r, f| {
        match &f.node.value {
            Value::Text(text) if text == "off" => Some(UpgradeSocket::Off),
            Value::Text(text) if text == "default" => Some(UpgradeSocket::Runtime),
            _ => super::path(r, f).map(UpgradeSocket::At),
        }
    });
    keys.done(reader);
}
