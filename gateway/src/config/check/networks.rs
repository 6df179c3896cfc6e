//! Whose word is taken?
//!
//! Reads lists of networks.

use crate::config::network::{Network, Networks, NotANetwork};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

/// Most networks of a list, which is walked for each connection or request.
const NETWORKS_MAX: usize = 1_000;

/// `{ from: [NETWORK] }`, or `off`.
pub(super) fn from(field: &Field<'_>, reader: &mut Reader) -> Option<Option<Networks>> {
    if matches!(&field.node.value, Value::Text(text) if text == "off") {
        return Some(None);
    }
    let mut keys = reader.keys(field, "`{ from: [10.0.0.0/8] }`")?;
    let from = keys.need(reader, "from");
    keys.done(reader);
    networks(&from?, reader).map(Some)
}

/// `10.0.0.0/8`, `10.0.0.1`, or a list of them.
fn networks(field: &Field<'_>, reader: &mut Reader) -> Option<Networks> {
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
            "write neighbours as one network with a shorter prefix",
        );
        return None;
    }
    let networks = items.iter().filter_map(|item| network(item, reader));
    Some(Networks(networks.collect()))
}

fn network(field: &Field<'_>, reader: &mut Reader) -> Option<Network> {
    let text = reader.text(field, "a network such as `10.0.0.0/8`")?;
    let (what, hint) = match text.parse::<Network>() {
        Ok(network) => {
            if network.is_everything() {
                reader.warning(
                    field.node.place,
                    format!("`{}`: {text} trusts everybody", field.path),
                    "whoever can connect may say to be anybody; name the networks of your balancers",
                );
            }
            return Some(network);
        }
        Err(NotANetwork::Address) => (
            "is not a network",
            "write `10.0.0.0/8`, `10.0.0.1` or `2001:db8::/32`; names are not resolved".to_owned(),
        ),
        Err(NotANetwork::Prefix) => (
            "has no such prefix",
            "IPv4 has /0 to /32, IPv6 /0 to /128".to_owned(),
        ),
        Err(NotANetwork::HostBits(meant)) => (
            "has bits set beyond its prefix",
            format!("write `{meant}`, or the address without a prefix"),
        ),
    };
    reader.error(
        field.node.place,
        format!("`{}`: {} {what}", field.path, quoted(text)),
        hint,
    );
    None
}
