//! As whom does the process run, and what may it reach?
//!
//! Reads `process:`.

use std::path::PathBuf;

use crate::config::model::{Landlock, Process};
use crate::config::problem::quoted;
use crate::config::read::{Field, Keys, Reader};

/// Reads what is given.
pub(super) fn read(keys: &mut Keys<'_>, reader: &mut Reader) -> Process {
    let mut process = Process::default();
    let Some(field) = keys.take("process") else {
        return process;
    };
    let Some(mut keys) = reader.keys(&field, "`{ user: portcullis }`") else {
        return process;
    };
    keys.set(reader, "user", &mut process.user, name);
    keys.set(reader, "group", &mut process.group, name);
    keys.set(reader, "low_ports", &mut process.low_ports, |r, f| {
        r.word(f, &[("on", true), ("off", false)])
    });
    keys.set(reader, "landlock", &mut process.landlock, |r, f| {
        let words = [
            ("off", Landlock::Off),
            ("try", Landlock::Try),
            ("require", Landlock::Require),
        ];
        r.word(f, &words)
    });
    keys.set(reader, "readable", &mut process.readable, paths);
    keys.set(reader, "writable", &mut process.writable, paths);
    keys.done(reader);
    for (key, given) in [
        ("group", process.group.is_some()),
        ("low_ports", process.low_ports),
    ] {
        if given && process.user.is_none() {
            let what = format!("`process.{key}` means nothing without `user`");
            reader.error(field.node.place, what, "add `user: NAME`, or take it away");
        }
    }
    process
}

fn name(reader: &mut Reader, field: &Field<'_>) -> Option<Option<String>> {
    let text = reader.text(field, "a name such as `portcullis`")?;
    if text == "off" {
        return Some(None);
    }
    if text.is_empty() || text.contains(['\0', ':', '/']) {
        let what = format!("`{}`: {} is no name", field.path, quoted(text));
        reader.error(
            field.node.place,
            what,
            "a name of this machine, not a number",
        );
        return None;
    }
    Some(Some(text.to_owned()))
}

fn paths(reader: &mut Reader, field: &Field<'_>) -> Option<Vec<PathBuf>> {
    let items = reader.list(field);
    Some(
        items
            .iter()
            .filter_map(|item| super::path(reader, item))
            .collect(),
    )
}
