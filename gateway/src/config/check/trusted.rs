//! Whose word is taken?
//!
//! Reads `{ from: [NETWORK] }`.

use super::networks::network;
use crate::config::model::{Network, Trusted};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

/// Most networks of a list, which is walked for each connection or request.
const NETWORKS_MAX: usize = 1_000;

/// `{ from: [NETWORK] }`, or `off`.
pub(super) fn trusted(field: &Field<'_>, reader: &mut Reader) -> Option<Option<Trusted>> {
    if matches!(&field.node.value, Value::Text(text) if text.trim() == "off") {
        return Some(None);
    }
    let mut keys = reader.keys(field, "`{ from: [10.0.0.0/8] }`")?;
    let from = keys.need(reader, "from");
    keys.done(reader);
    list(&from?, reader).map(Some)
}

/// A list of networks.
pub(super) fn list(field: &Field<'_>, reader: &mut Reader) -> Option<Trusted> {
    let items = reader.list(field);
    if items.is_empty() && matches!(&field.node.value, Value::List(_)) {
        reader.error(
            field.key,
            format!("`{}` is empty: nobody would be trusted", field.path),
            "name a network such as `10.0.0.0/8`, or remove the key",
        );
        return None;
    }
    if items.len() > NETWORKS_MAX {
        reader.error(
            field.key,
            format!("`{}` has more than {NETWORKS_MAX} networks", field.path),
            "bring neighbours together under a shorter prefix",
        );
        return None;
    }
    let networks = items.iter().filter_map(|item| one(item, reader));
    Some(Trusted(networks.collect()))
}

fn one(field: &Field<'_>, reader: &mut Reader) -> Option<Network> {
    let text = reader.text(field, "a network such as `10.0.0.0/8`")?;
    let network = reader.or_tell(field, network(text))?;
    if network.prefix == 0 {
        reader.warning(
            field.node.place,
            format!("`{}`: {} trusts everybody", field.path, quoted(text)),
            "whoever can connect may say to be anybody; name the networks of your balancers",
        );
    }
    Some(network)
}
