//! Who hears of traces, and of which?
//!
//! Reads `traces:`.

use super::access_log::share;
use crate::config::model::Traces;
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

/// `off`, or the keys of traces.
pub(super) fn traces(field: &Field<'_>, reader: &mut Reader) -> Option<Option<Traces>> {
    if matches!(&field.node.value, Value::Text(text) if text.trim() == "off") {
        return Some(None);
    }
    let mut keys = reader.keys(field, "`{ otlp: \"http://127.0.0.1:4318\" }` or `off`")?;
    let otlp = keys.need(reader, "otlp");
    let otlp = otlp.and_then(|field| url(&field, reader));
    let mut sample = 10_000;
    keys.set(reader, "sample", &mut sample, |r, f| share(f, r));
    let mut parent_based = true;
    keys.set(reader, "parent_based", &mut parent_based, Reader::flag);
    let mut service = "portcullis".to_owned();
    keys.set(reader, "service", &mut service, |r, f| {
        r.text(f, "a name").map(str::to_owned)
    });
    keys.done(reader);
    Some(Some(Traces {
        url: otlp?,
        sample,
        parent_based,
        service,
    }))
}

/// The collector's address; without a path the usual one is meant.
fn url(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let text = reader.text(field, "an address such as `http://127.0.0.1:4318`")?;
    let plain = |c: u8| c.is_ascii_graphic() && !matches!(c, b'?' | b'#' | b'@' | b'"');
    let parts = text
        .strip_prefix("http://")
        .filter(|rest| rest.bytes().all(plain))
        .map(|rest| rest.split_once('/').unwrap_or((rest, "")));
    match parts {
        Some((host, path)) if !host.is_empty() && !host.starts_with(':') => Some(match path {
            "" => format!("http://{host}/v1/traces"),
            path => format!("http://{host}/{path}"),
        }),
        _ => {
            reader.error(
                field.node.place,
                format!(
                    "`{}`: {} is not the address of a collector",
                    field.path,
                    quoted(text)
                ),
                "write `http://127.0.0.1:4318`; for TLS and credentials let a collector on this machine send on",
            );
            None
        }
    }
}
