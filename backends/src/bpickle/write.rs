//! How is a value written? As the agents' own writer does it.
//!
//! Keys are sorted, whole numbers before text. Floats have the fewest digits that give the same float
//! again, with an exponent below 1e-4 and from 1e16 on.

use super::value::{Key, Value};

/// The document of a value.
pub fn write(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    add(&mut out, value);
    out
}

fn add(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(b'n'),
        Value::Bool(truth) => out.extend(if *truth { b"b1" } else { b"b0" }),
        Value::Int(number) => add_int(out, *number),
        Value::Float(number) => {
            out.push(b'f');
            out.extend(float(*number).as_bytes());
            out.push(b';');
        }
        Value::Bytes(bytes) => add_string(out, b's', bytes),
        Value::Text(text) => add_string(out, b'u', text.as_bytes()),
        Value::List(values) => add_all(out, b'l', values),
        Value::Tuple(values) => add_all(out, b't', values),
        Value::Dict(entries) => {
            out.push(b'd');
            for (key, value) in entries {
                match key {
                    Key::Int(number) => add_int(out, *number),
                    Key::Text(text) => add_string(out, b'u', text.as_bytes()),
                }
                add(out, value);
            }
            out.push(b';');
        }
    }
}

fn add_int(out: &mut Vec<u8>, number: i64) {
    out.push(b'i');
    out.extend(number.to_string().as_bytes());
    out.push(b';');
}

fn add_string(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    out.extend(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend(bytes);
}

fn add_all(out: &mut Vec<u8>, kind: u8, values: &[Value]) {
    out.push(kind);
    for value in values {
        add(out, value);
    }
    out.push(b';');
}

/// The fewest digits that give the same float again.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific
        .split_once('e')
        .expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    if (-4..16).contains(&exponent) {
        // Debug always has a point, so that a float stays one.
        let plain = format!("{number:?}");
        if !plain.contains('e') {
            return plain;
        }
        return format!("{number:.1}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::float;

    #[test]
    fn floats_are_written_as_agents_write_them() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e-7, "1e-07"),
            (123_456_789.125, "123456789.125"),
            (1e15, "1000000000000000.0"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(float(number), text);
        }
    }
}
