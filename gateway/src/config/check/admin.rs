//! Where may operators ask and act?
//!
//! `off`, an address, or a map. Nothing is opened here.

use std::net::SocketAddr;

use super::path;
use crate::config::model::{Admin, AdminSocket, AdminToken};
use crate::config::problem::quoted;
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

/// Shortest and longest token: what cannot be guessed, and what fits into a head.
pub(super) const TOKEN_LENGTH: std::ops::RangeInclusive<usize> = 16..=512;
/// Longest path of a unix socket, bytes (`sun_path` of Linux less its end), less room for the name that is used while the
/// socket is made.
const SOCKET_PATH_MAX: usize = 90;

pub(super) fn read(reader: &mut Reader, field: &Field<'_>) -> Option<Option<Admin>> {
    let mut admin = Admin::default();
    if let Value::Text(text) = &field.node.value {
        if text == "off" {
            return Some(None);
        }
        admin.bind = bind(reader, field)?;
        admin.place = field.node.place;
        return Some(Some(admin));
    }
    let mut keys = reader.keys(
        field,
        "`{ socket: PATH, bind: \"127.0.0.1:9901\" }`, an address or `off`",
    )?;
    keys.set(reader, "socket", &mut admin.socket, socket);
    keys.set(reader, "socket_mode", &mut admin.socket_mode, mode);
    if let Some(field) = keys.take("bind")
        && let Some(address) = bind(reader, &field)
    {
        admin.bind = address;
        admin.place = field.node.place;
    }
    let given = |field: &Field<'_>| !is_word(field, "off");
    let text = keys.take("token").filter(given);
    let file = keys.take("token_file").filter(given);
    let place = keys.place;
    keys.done(reader);
    admin.token = match (text, file) {
        (Some(text), Some(_)) => {
            reader.error(
                text.node.place,
                "`admin.token` and `admin.token_file` are both given",
                "leave one of them out; a file keeps the token out of this one",
            );
            None
        }
        (Some(text), None) => token(reader, &text),
        (None, Some(file)) => {
            path(reader, &file).map(|path| AdminToken::File(path, file.node.place))
        }
        (None, None) => None,
    };
    if admin.socket == AdminSocket::Off && admin.bind.is_none() {
        reader.warning(
            place,
            "`admin`: neither a socket nor an address is left",
            "write `admin: off` where that is meant",
        );
        return Some(None);
    }
    Some(Some(admin))
}

fn is_word(field: &Field<'_>, word: &str) -> bool {
    matches!(&field.node.value, Value::Text(text) if text == word)
}

fn bind(reader: &mut Reader, field: &Field<'_>) -> Option<Option<SocketAddr>> {
    let text = reader.text(field, "an address with a port, or `off`")?;
    if text == "off" {
        return Some(None);
    }
    let place = field.node.place;
    let Ok(address) = text.parse::<SocketAddr>() else {
        let what = format!(
            "`{}`: {} is not an address with a port",
            field.path,
            quoted(text)
        );
        reader.error(place, what, "write `127.0.0.1:9901`; the address must be named, because operators' answers are not for strangers");
        return None;
    };
    if !address.ip().is_loopback() {
        let what = format!(
            "`{}`: {address} can be reached from other machines",
            field.path
        );
        reader.warning(
            place,
            what,
            "what is read there needs no password: bind it to 127.0.0.1 or guard the port",
        );
    }
    Some(Some(address))
}

fn socket(reader: &mut Reader, field: &Field<'_>) -> Option<AdminSocket> {
    if is_word(field, "off") {
        return Some(AdminSocket::Off);
    }
    if is_word(field, "auto") {
        return Some(AdminSocket::Usual);
    }
    let path = path(reader, field)?;
    if path.as_os_str().len() > SOCKET_PATH_MAX || path.file_name().is_none() {
        reader.error(
            field.node.place,
            format!(
                "`{}`: the path of a socket has at most {SOCKET_PATH_MAX} bytes and ends in a name",
                field.path
            ),
            "choose a shorter one, such as `/run/portcullis/admin.sock`",
        );
        return None;
    }
    Some(AdminSocket::At(path))
}

/// Permissions as `chmod` takes them.
fn mode(reader: &mut Reader, field: &Field<'_>) -> Option<u32> {
    let text = reader.text(field, "permissions such as `0660`")?;
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let read = u32::from_str_radix(digits, 8).ok();
    let Some(mode) = read.filter(|mode| *mode <= 0o777) else {
        reader.error(
            field.node.place,
            format!("`{}`: {} are no permissions", field.path, quoted(text)),
            "write them as for `chmod`: `0660` lets owner and group in, `0600` the owner alone",
        );
        return None;
    };
    if mode & 0o002 != 0 {
        reader.warning(
            field.node.place,
            format!(
                "`{}`: everybody on this machine may change what runs",
                field.path
            ),
            "`0660` lets owner and group in",
        );
    }
    Some(mode)
}

fn token(reader: &mut Reader, field: &Field<'_>) -> Option<AdminToken> {
    let text = reader.text(field, "a word that only operators know")?;
    if TOKEN_LENGTH.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(AdminToken::Text(text.to_owned()));
    }
    // The word itself is not told: it may be a part of the real one.
    reader.error(
        field.node.place,
        format!(
            "`{}` must have {} to {} visible characters of ASCII",
            field.path,
            TOKEN_LENGTH.start(),
            TOKEN_LENGTH.end()
        ),
        "make one with `openssl rand -hex 32`",
    );
    None
}
