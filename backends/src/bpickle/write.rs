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
            for (key, value) in entries.iter() {
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
    let scientific = shortest(number);
    let (digits, exponent) = scientific
        .split_once('e')
        .expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    if (-4..16).contains(&exponent) {
        return plain(digits, exponent);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Digits such as `-1.25` times ten to the power of `exponent`, without one. There is always a point, so that a float stays
/// one.
fn plain(digits: &str, exponent: i32) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    let digits = digits.replace('.', "");
    let Ok(before) = usize::try_from(exponent + 1) else {
        let zeroes = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeroes}{digits}");
    };
    match digits.split_at_checked(before) {
        _ if before == 0 => format!("{sign}0.{digits}"),
        Some((whole, rest)) if !rest.is_empty() => format!("{sign}{whole}.{rest}"),
        _ => format!("{sign}{digits:0<before$}.0"),
    }
}

/// The fewest digits, with an exponent. Where the float is half way between two of these, the even one: agents write that.
fn shortest(number: f64) -> String {
    let any = format!("{number:e}");
    let digits = any.bytes().take_while(|byte| *byte != b'e');
    let count = digits.filter(u8::is_ascii_digit).count();
    let even = format!("{number:.*e}", count.saturating_sub(1));
    match even.parse::<f64>() {
        Ok(same) if same == number && even.len() == any.len() => even,
        _ => any,
    }
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
            (2.0_f64.powi(46) + 0.125, "70368744177664.12"),
            (2.0_f64.powi(46) + 0.375, "70368744177664.38"),
            (-2.0_f64.powi(50) - 0.25, "-1125899906842624.2"),
            (2.0_f64.powi(59) + 128.0, "5.764607523034236e+17"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(float(number), text);
        }
    }
}
