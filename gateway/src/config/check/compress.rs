//! Which responses are compressed?
//!
//! Reads `compress:`.

use crate::config::model::{Algorithm, Compress, Effort};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;
use crate::config::units::Wrong;

use super::tokens::is_token;

/// `on`, `off`, or the keys.
pub(super) fn compress(field: &Field<'_>, reader: &mut Reader) -> Option<Option<Box<Compress>>> {
    let mut compress = Compress::default();
    if matches!(&field.node.value, Value::Text(_)) {
        if !reader.word(field, &[("on", true), ("off", false)])? {
            compress.algorithms.clear();
        }
        return Some(Some(Box::new(compress)));
    }
    let mut keys = reader.keys(field, "`on`, `off` or `{ types: [text/html] }`")?;
    keys.set(reader, "types", &mut compress.types, types);
    keys.set(reader, "min_bytes", &mut compress.min_bytes, |r, f| {
        r.size(f, 0..=1 << 30)
    });
    keys.set(reader, "algorithms", &mut compress.algorithms, algorithms);
    keys.set(reader, "level", &mut compress.effort, |r, f| {
        let words = [
            ("fast", Effort::Fast),
            ("balanced", Effort::Balanced),
            ("small", Effort::Small),
        ];
        r.word(f, &words)
    });
    keys.done(reader);
    Some(Some(Box::new(compress)))
}

fn types(reader: &mut Reader, field: &Field<'_>) -> Option<Vec<String>> {
    let mut types = Vec::new();
    for item in reader.list(field) {
        let Some(text) = reader.text(&item, "a media type such as `text/html`") else {
            continue;
        };
        types.extend(reader.or_tell(&item, pattern(text)));
    }
    if types.is_empty() {
        reader.error(
            field.key,
            format!("`{}` names nothing that is compressed", field.path),
            "name a type, or write `compress: off`",
        );
        return None;
    }
    Some(types)
}

/// `text/html`, `text/*`, `*+json`.
fn pattern(text: &str) -> Result<String, Wrong> {
    let kind = text.to_ascii_lowercase();
    let good = match (kind.strip_suffix("/*"), kind.strip_prefix("*+")) {
        (Some(kind), _) => is_token(kind) && kind != "*",
        (_, Some(suffix)) => is_token(suffix),
        _ => kind
            .split_once('/')
            .is_some_and(|(a, b)| is_token(a) && is_token(b)),
    };
    let stars = usize::from(kind.ends_with("/*") || kind.starts_with("*+"));
    if !good || kind.matches('*').count() != stars {
        return Err((
            format!("{} is not a media type", quoted(text)),
            "write `text/html`, `text/*` or `*+json`".to_owned(),
        ));
    }
    if kind == "text/event-stream" || kind.starts_with("application/grpc") {
        return Err((
            format!("{} is a stream whose pieces are waited for", quoted(text)),
            "leave it out: it is never compressed".to_owned(),
        ));
    }
    Ok(kind)
}

fn algorithms(reader: &mut Reader, field: &Field<'_>) -> Option<Vec<Algorithm>> {
    let words = [Algorithm::Zstd, Algorithm::Brotli, Algorithm::Gzip].map(|a| (a.name(), a));
    let mut found = Vec::new();
    for item in reader.list(field) {
        if let Some(algorithm) = reader.word(&item, &words)
            && !found.contains(&algorithm)
        {
            found.push(algorithm);
        }
    }
    Some(found).filter(|found| !found.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_kept_in_lower_case() {
        for (text, want) in [
            ("Text/HTML", "text/html"),
            ("text/*", "text/*"),
            ("*+JSON", "*+json"),
        ] {
            assert_eq!(pattern(text).as_deref(), Ok(want), "{text}");
        }
        for text in [
            "html",
            "*",
            "*/*",
            "*/html",
            "text/*+xml",
            "text/event-stream",
            "application/grpc+proto",
            "a/b/c",
        ] {
            pattern(text).expect_err(text);
        }
    }

    #[test]
    fn a_type_is_covered_whatever_its_parameters() {
        let compress = Compress {
            types: vec!["text/*".into(), "application/json".into(), "*+xml".into()],
            ..Compress::default()
        };
        for (kind, covered) in [
            ("text/html; charset=utf-8", true),
            ("TEXT/CSV", true),
            ("application/json", true),
            ("application/json5", false),
            ("image/svg+xml", true),
            ("application/xml", false),
            ("text/event-stream", false),
            ("", false),
        ] {
            assert_eq!(compress.covers(kind.as_bytes()), covered, "{kind}");
        }
    }
}
