//! Which folder is served?
//!
//! Reads `static:`.

use std::time::Duration;

use crate::config::model::Folder;
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader, Zero};
use crate::config::tree::Value;

/// `DIR`, or `{ root: DIR, index: index.html, cache: 1h, precompressed: true, dotfiles: false, symlinks: false }`.
pub(super) fn folder(field: &Field<'_>, reader: &mut Reader) -> Option<Folder> {
    let mut folder = Folder {
        root: std::path::PathBuf::new(),
        index: Some("index.html".to_owned()),
        cache: None,
        precompressed: false,
        dotfiles: false,
        symlinks: false,
        place: field.node.place,
    };
    if matches!(&field.node.value, Value::Text(_)) {
        folder.root = super::path(reader, field)?;
        return Some(folder);
    }
    let mut keys = reader.keys(field, "a folder, or `{ root: DIR }`")?;
    let root = keys.need(reader, "root");
    keys.set(reader, "index", &mut folder.index, index);
    keys.set(reader, "cache", &mut folder.cache, |r, f| {
        let time = r.duration(f, Zero::Allowed)?;
        Some(Some(time).filter(|time| *time > Duration::ZERO))
    });
    keys.set(
        reader,
        "precompressed",
        &mut folder.precompressed,
        Reader::flag,
    );
    keys.set(reader, "dotfiles", &mut folder.dotfiles, Reader::flag);
    keys.set(reader, "symlinks", &mut folder.symlinks, Reader::flag);
    keys.done(reader);
    let root = root?;
    folder.place = root.node.place;
    folder.root = super::path(reader, &root)?;
    Some(folder)
}

fn index(reader: &mut Reader, field: &Field<'_>) -> Option<Option<String>> {
    let text = reader.text(field, "the name of a file, or `off`")?;
    if text == "off" {
        return Some(None);
    }
    if text.is_empty() || text.contains(['/', '\0']) || text == "." || text == ".." {
        reader.error(
            field.node.place,
            format!(
                "`{}`: {} is not the name of a file",
                field.path,
                quoted(text)
            ),
            "name a file of each folder, such as `index.html`, or write `off`",
        );
        return None;
    }
    Some(Some(text.to_owned()))
}
