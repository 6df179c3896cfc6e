//! What do the metrics tell besides what is always told?
//!
//! Reads `metrics:`.

use crate::config::model::Metrics;
use crate::config::read::{Field, Reader};

pub(super) fn metrics(field: &Field<'_>, reader: &mut Reader) -> Option<Metrics> {
    let mut metrics = Metrics::default();
    let mut keys = reader.keys(field, "`{ per_worker: true, haproxy_names: true }`")?;
    keys.set(reader, "per_worker", &mut metrics.per_worker, Reader::flag);
    keys.set(
        reader,
        "haproxy_names",
        &mut metrics.haproxy_names,
        Reader::flag,
    );
    keys.done(reader);
    Some(metrics)
}
