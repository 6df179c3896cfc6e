//! How does a PostgreSQL server greet? The beginning of its protocol, version 3.0 (documentation of PostgreSQL, chapter
//! "Frontend/Backend Protocol"): who comes to the door is named, and the answer tells whether anybody would be let in.
//!
//! A connection that ends when a password is asked for leaves no line in the server's log.

use super::{Answer, GOOD, number, text};

/// Asks for TLS; answered with one byte ([`tls`]).
pub const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Version 3.0.
const VERSION: u32 = 3 << 16;
/// Leaves a session; only one that was let in is ended so.
const TERMINATE: &[u8] = b"X\0\0\0\x04";
/// Longest message that is one: longer ones begin with text, as those of a server that cannot even fork.
const MESSAGE_BYTES_MAX: usize = 30_000;

/// Says who comes, to which database.
pub fn startup(user: &str, database: &str) -> Vec<u8> {
    let fields = [
        ("user", user),
        ("database", database),
        ("application_name", "portcullis-check"),
    ];
    let mut body = VERSION.to_be_bytes().to_vec();
    for (name, value) in fields {
        for word in [name, value] {
            body.extend_from_slice(word.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

/// What the byte means that answers [`TLS_REQUEST`]: TLS begins, or the reason why not.
pub fn tls(byte: u8) -> Result<(), String> {
    match byte {
        b'S' => Ok(()),
        b'N' => Err("it does not speak TLS: `ssl` is off there".to_owned()),
        b'E' => Err("it refuses connections".to_owned()),
        _ => Err("it does not speak PostgreSQL's protocol".to_owned()),
    }
}

/// What the answer to [`startup`] means.
pub fn answer(mut bytes: &[u8]) -> Answer {
    loop {
        let Some((&kind, rest)) = bytes.split_first() else {
            return Answer::More;
        };
        if !matches!(kind, b'R' | b'E' | b'N' | b'v') {
            return Answer::Bad("it does not speak PostgreSQL's protocol".to_owned());
        }
        let Some(length) = number(rest) else {
            return Answer::More;
        };
        if !(4..=MESSAGE_BYTES_MAX).contains(&length) {
            return bare(kind, rest);
        }
        let Some(body) = rest.get(4..length) else {
            return Answer::More;
        };
        match kind {
            b'R' => return authentication(body),
            b'E' => return refusal(body),
            // Notices, and versions that it would rather speak: the answer follows.
            _ => bytes = rest.get(length..).unwrap_or_default(),
        }
    }
}

/// It asks for a proof, or needs none and lets us in.
fn authentication(body: &[u8]) -> Answer {
    match number(body) {
        Some(0) => Answer::Good("", TERMINATE),
        Some(_) => GOOD,
        None => Answer::Bad("it does not speak PostgreSQL's protocol".to_owned()),
    }
}

/// An error: fields of one letter and a text each. Who is refused as a person has met a server that serves.
fn refusal(body: &[u8]) -> Answer {
    let (mut code, mut message) = (String::new(), String::new());
    for field in body.split(|byte| *byte == 0) {
        match field.split_first() {
            Some((b'C', value)) => code = text(value),
            Some((b'M', value)) => message = text(value),
            _ => {}
        }
    }
    match code.as_str() {
        // cannot_connect_now: while it starts, recovers or stops.
        "57P03" => Answer::Bad(format!("not ready: {message}")),
        "53300" => Answer::Bad(format!("no connection is left: {message}")),
        // The role, its password, pg_hba.conf; the database is not there; not to be entered by this role.
        code if code.starts_with("28") || code == "3D000" || code == "42501" => GOOD,
        "" => Answer::Bad("it does not speak PostgreSQL's protocol".to_owned()),
        code => Answer::Bad(format!("error {code}: {message}")),
    }
}

/// A server that cannot begin a session writes a line of text in place of a message.
fn bare(kind: u8, rest: &[u8]) -> Answer {
    let end = rest.iter().position(|byte| matches!(byte, b'\n' | 0));
    match (kind, end) {
        (b'E', Some(end)) => Answer::Bad(format!("error: {}", text(&rest[..end]))),
        (b'E', None) if rest.len() < MESSAGE_BYTES_MAX => Answer::More,
        _ => Answer::Bad("it does not speak PostgreSQL's protocol".to_owned()),
    }
}
