//! Which addresses are listened on?
//!
//! Reads `bind:`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::model::Bind;
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

/// Most addresses of a listener.
const BINDS_MAX: usize = 64;

/// One address or a list.
pub(super) fn binds(field: &Field<'_>, reader: &mut Reader) -> Vec<Bind> {
    let items = reader.list(field);
    if items.is_empty() && matches!(&field.node.value, Value::List(_)) {
        reader.error(
            field.key,
            format!("`{}` is empty", field.path),
            "name an address such as \":443\"",
        );
    }
    if items.len() > BINDS_MAX {
        reader.error(
            field.key,
            format!("`{}` has more than {BINDS_MAX} addresses", field.path),
            "leave the address out to listen on all: \":443\"",
        );
    }
    items
        .iter()
        .take(BINDS_MAX)
        .filter_map(|item| bind(item, reader))
        .collect()
}

fn bind(field: &Field<'_>, reader: &mut Reader) -> Option<Bind> {
    let text = reader.text(field, "an address such as \":443\"")?;
    let place = field.node.place;
    let wrong = |reader: &mut Reader, hint: String| {
        reader.error(
            place,
            format!(
                "`{}`: {} is not an address to listen on",
                field.path,
                quoted(text)
            ),
            hint,
        );
        None
    };
    let Some((host, port)) = text.rsplit_once(':') else {
        let hint = if text.parse::<u16>().is_ok() {
            format!("write \":{text}\" for every address")
        } else {
            "write \":443\" or \"192.0.2.1:443\"".to_owned()
        };
        return wrong(reader, hint);
    };
    // Port 0 is right here: the kernel chooses, and tests live from it.
    let Some(port) = port
        .parse::<u16>()
        .ok()
        .filter(|_| port.bytes().all(|b| b.is_ascii_digit()))
    else {
        return wrong(
            reader,
            "ports are 1 to 65535, or 0 for any free one".to_owned(),
        );
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match (host, bracketed) {
        ("", _) => None,
        ("*", _) => return wrong(reader, format!("write \":{port}\" for every address")),
        ("localhost", _) => {
            return wrong(
                reader,
                format!("write \"127.0.0.1:{port}\"; names are not resolved"),
            );
        }
        (_, Some(six)) if six.parse::<Ipv6Addr>().is_ok() => six.parse::<IpAddr>().ok(),
        (four, None) if four.parse::<Ipv4Addr>().is_ok() => four.parse::<IpAddr>().ok(),
        (six, None) if six.contains(':') => {
            return wrong(
                reader,
                "write IPv6 addresses in brackets: \"[::1]:443\"".to_owned(),
            );
        }
        _ => {
            return wrong(
                reader,
                "write \":443\", \"192.0.2.1:443\" or \"[2001:db8::1]:443\"".to_owned(),
            );
        }
    };
    Some(Bind { host, port, place })
}
