//! How is a JSON line written? Every exchange pays for it, so names are copied as they are and texts are looked at once;
//! what has to be escaped is left to `serde_json`.

use std::cell::Cell;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::observe::record::Record;
use crate::observe::time::Moment;

/// Room for a usual line.
const USUAL: usize = 640;

thread_local! {
    /// The last second that was written, and its text: a second has many lines.
    static SECOND: Cell<(u64, [u8; 24])> = const { Cell::new((u64::MAX, [0; 24])) };
}

/// Appends an object with the record's fields, in their order.
pub fn write(out: &mut Vec<u8>, record: &Record<'_>) {
    out.reserve(USUAL + record.path.len());
    out.extend_from_slice(br#"{"time":""#);
    out.extend_from_slice(&time(record.time));
    text(out, br#"","listener":""#, record.listener);
    out.extend_from_slice(br#","client":""#);
    address(out, record.client);
    text(out, br#"","protocol":""#, record.protocol);
    some(out, br#","tls":""#, filled(record.tls));
    some(out, br#","tls_name":""#, record.tls_name);
    some(out, br#","client_subject":""#, record.client_subject);
    some(
        out,
        br#","client_fingerprint":""#,
        record.client_fingerprint,
    );
    text(out, br#","method":""#, record.method);
    text(out, br#","host":""#, record.host);
    text(out, br#","path":""#, record.path);
    number(out, br#","status":"#, record.status.into());
    text(out, br#","route":""#, record.route);
    text(out, br#","pool":""#, record.pool);
    if let Some(worker) = record.worker {
        out.extend_from_slice(br#","worker":""#);
        socket(out, worker);
        out.push(b'"');
    }
    text(out, br#","request_id":""#, record.request_id);
    some(out, br#","trace_id":""#, record.trace_id);
    some(out, br#","user_agent":""#, record.user_agent);
    number(out, br#","bytes_in":"#, record.bytes_in);
    number(out, br#","bytes_out":"#, record.bytes_out);
    ms(out, br#","duration_ms":"#, record.duration_ms);
    // The usual exchange waits for nobody.
    let waits = [
        record.wait_ms,
        record.hold_ms,
        record.queue_ms,
        record.connect_ms,
    ];
    if waits == [0.0; 4] {
        out.extend_from_slice(br#","wait_ms":0.0,"hold_ms":0.0,"queue_ms":0.0,"connect_ms":0.0"#);
    } else {
        ms(out, br#","wait_ms":"#, record.wait_ms);
        ms(out, br#","hold_ms":"#, record.hold_ms);
        ms(out, br#","queue_ms":"#, record.queue_ms);
        ms(out, br#","connect_ms":"#, record.connect_ms);
    }
    if let Some(first_byte_ms) = record.first_byte_ms {
        ms(out, br#","first_byte_ms":"#, first_byte_ms);
    }
    number(out, br#","retries":"#, record.retries.into());
    if let Some(status) = record.grpc_status {
        number(out, br#","grpc_status":"#, status.into());
    }
    text(out, br#","end":""#, record.end);
    some(out, br#","detail":""#, filled(record.detail));
    if record.left_out > 0 {
        number(out, br#","left_out":"#, record.left_out);
    }
    out.push(b'}');
}

fn time(at: Moment) -> [u8; 24] {
    let second = at.0 / 1000;
    let (last, mut text) = SECOND.get();
    if last != second {
        text = at.rfc3339();
        SECOND.set((second, text));
    }
    let ms = at.0 % 1000;
    text[20] = digit(ms / 100);
    text[21] = digit(ms / 10);
    text[22] = digit(ms);
    text
}

/// The last digit.
fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

fn filled(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty())
}

fn some(out: &mut Vec<u8>, name: &[u8], value: Option<&str>) {
    if let Some(value) = value {
        text(out, name, value);
    }
}

/// `name` ends with the quotation mark that begins the text.
#[inline]
fn text(out: &mut Vec<u8>, name: &[u8], value: &str) {
    // RFC 8259 section 7. All bytes are looked at, without a way out: that is what the compiler makes wide steps of.
    let plain = value.bytes().fold(true, |plain, c| {
        plain & (c >= 0x20) & (c != b'"') & (c != b'\\')
    });
    if plain {
        out.extend_from_slice(name);
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        escaped(out, name, value);
    }
}

#[cold]
fn escaped(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name.strip_suffix(b"\"").unwrap_or(name));
    // Writing into memory does not fail.
    let _ = serde_json::to_writer(out, value);
}

fn number(out: &mut Vec<u8>, name: &[u8], value: u64) {
    out.extend_from_slice(name);
    digits(out, value);
}

/// Milliseconds with up to three places, at least one. Times are never negative.
fn ms(out: &mut Vec<u8>, name: &[u8], value: f64) {
    out.extend_from_slice(name);
    if value == 0.0 {
        return out.extend_from_slice(b"0.0");
    }
    let micros = (value * 1000.0 + 0.5) as u64;
    digits(out, micros / 1000);
    let rest = micros % 1000;
    let places = [b'.', digit(rest / 100), digit(rest / 10), digit(rest)];
    let used = match rest {
        _ if rest.is_multiple_of(100) => 2,
        _ if rest.is_multiple_of(10) => 3,
        _ => 4,
    };
    out.extend_from_slice(&places[..used]);
}

fn socket(out: &mut Vec<u8>, at: SocketAddr) {
    match at {
        SocketAddr::V4(at) => {
            address(out, IpAddr::V4(*at.ip()));
            out.push(b':');
            digits(out, at.port().into());
        }
        // Writing into memory does not fail.
        SocketAddr::V6(at) => drop(write!(out, "{at}")),
    }
}

fn address(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            let mut text = [b'.'; 16];
            let mut at = 0;
            for octet in ip.octets() {
                let octet = u64::from(octet);
                for (least, place) in [(100, octet / 100), (10, octet / 10), (0, octet)] {
                    if octet >= least {
                        text[at] = digit(place);
                        at += 1;
                    }
                }
                // A point behind each but the last.
                at += 1;
            }
            out.extend_from_slice(&text[..at - 1]);
        }
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

fn digits(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        return out.push(digit(value));
    }
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn line(record: &Record<'_>) -> Value {
        let mut out = Vec::new();
        write(&mut out, record);
        assert!(!out.contains(&b'\n'));
        serde_json::from_slice(&out).unwrap()
    }

    proptest! {
        #[test]
        fn a_text_reads_as_it_was(value in any::<String>()) {
            let record = Record {
                path: &value,
                ..Record::new(Moment(0), "http", ([127, 0, 0, 1], 1).into())
            };
            let line = line(&record);
            prop_assert_eq!(line["path"].as_str(), Some(&value[..]));
        }

        #[test]
        fn times_are_told_to_the_microsecond(micros in 0..10_000_000_000u64) {
            let record = Record {
                duration_ms: micros as f64 / 1000.0,
                ..Record::new(Moment(0), "http", ([127, 0, 0, 1], 1).into())
            };
            prop_assert_eq!(line(&record)["duration_ms"].as_f64(), Some(micros as f64 / 1000.0));
        }

        #[test]
        fn moments_are_told_whichever_came_before(times in proptest::collection::vec(0..4_000_000u64, 1..20)) {
            for ms in times {
                let record = Record::new(Moment(ms), "http", ([127, 0, 0, 1], 1).into());
                let told = line(&record)["time"].as_str().map(str::to_owned);
                prop_assert_eq!(told, String::from_utf8(Moment(ms).rfc3339().to_vec()).ok());
            }
        }

        #[test]
        fn addresses_are_spelled_as_usual(client in any::<IpAddr>(), worker in any::<SocketAddr>()) {
            let record = Record {
                client,
                worker: Some(worker),
                ..Record::new(Moment(0), "http", ([127, 0, 0, 1], 1).into())
            };
            let line = line(&record);
            prop_assert_eq!(line["client"].as_str(), Some(&client.to_string()[..]));
            prop_assert_eq!(line["worker"].as_str(), Some(&worker.to_string()[..]));
        }
    }
}
