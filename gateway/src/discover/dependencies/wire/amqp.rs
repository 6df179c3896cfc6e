//! How does a broker greet? The beginning of AMQP 0-9-1 (specification, sections 2.2.4 and 4.2): the protocol's header is
//! answered with `connection.start`, which only a broker that takes connections sends.

use super::{Answer, GOOD, number, text};

/// The header: AMQP 0-9-1 is wanted.
pub const HEADER: &[u8; 8] = b"AMQP\0\0\x09\x01";

/// A frame with a method.
const METHOD: u8 = 1;
/// Ends every frame.
const FRAME_END: u8 = 0xce;
/// Longest frame of a greeting, bytes.
const FRAME_BYTES_MAX: usize = super::ANSWER_BYTES_MAX - 8;
/// Class `connection`, with its methods `start` and `close`.
const CONNECTION: [u8; 2] = [0, 10];
const START: [u8; 2] = [0, 10];
const CLOSE: [u8; 2] = [0, 50];

/// What the answer to [`HEADER`] means.
pub fn answer(bytes: &[u8]) -> Answer {
    // A broker that does not speak this version says which it speaks.
    let name = &HEADER[..4];
    if bytes.starts_with(name) || (bytes.len() < name.len() && name.starts_with(bytes)) {
        return match bytes.get(4..8) {
            None => Answer::More,
            Some(version) => Answer::Bad(format!(
                "it does not speak AMQP 0-9-1, but {}-{}-{}",
                version[1], version[2], version[3]
            )),
        };
    }
    let [kind, channel @ ..] = bytes.first_chunk::<3>().copied().unwrap_or([METHOD, 0, 0]);
    if kind != METHOD || channel != [0, 0] {
        return strange();
    }
    let Some(length) = bytes.get(3..).and_then(number) else {
        return Answer::More;
    };
    if !(4..=FRAME_BYTES_MAX).contains(&length) {
        return strange();
    }
    match (bytes.get(7..7 + length), bytes.get(7 + length)) {
        (Some(method), Some(&FRAME_END)) => greeting(method),
        (Some(_), Some(_)) => strange(),
        _ => Answer::More,
    }
}

fn greeting(method: &[u8]) -> Answer {
    let (class, rest) = method.split_at(method.len().min(2));
    let (method, arguments) = rest.split_at(rest.len().min(2));
    match (class == CONNECTION, method) {
        (true, method) if method == START && is_start(arguments) => GOOD,
        (true, method) if method == CLOSE => Answer::Bad(closed(arguments)),
        _ => strange(),
    }
}

/// Version 0-9, properties of the server, mechanisms to log in with, languages; the last three with their lengths.
fn is_start(arguments: &[u8]) -> bool {
    let Some(mut left) = arguments.strip_prefix(&[0, 9]) else {
        return false;
    };
    for _ in 0..3 {
        let after = number(left).and_then(|length| left.get(4..)?.get(length..));
        let Some(after) = after else { return false };
        left = after;
    }
    left.is_empty()
}

/// A code and a short text, with which it sends everybody away.
fn closed(arguments: &[u8]) -> String {
    let code = arguments
        .first_chunk::<2>()
        .map(|code| u16::from_be_bytes(*code));
    let said = arguments
        .get(2)
        .and_then(|&length| arguments.get(3..3 + usize::from(length)));
    let (code, said) = (code.unwrap_or(0), text(said.unwrap_or_default()));
    format!("it closes the connection: {code} {said}")
}

fn strange() -> Answer {
    Answer::Bad("it does not speak AMQP".to_owned())
}
