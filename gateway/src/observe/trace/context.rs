//! Which trace does a request belong to? The field `traceparent` (W3C Trace Context, section 3.2).
//!
//! Promises: what is not exactly as specified is not taken. Does not: look into `tracestate`, which passes as it is.

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace, never 0.
    pub trace_id: u128,
    /// The span, never 0.
    pub span_id: [u8; 8],
    /// Whoever sent this records its span.
    pub sampled: bool,
}

impl Context {
    /// Reads a field. Versions to come are read as far as this one goes (section 3.2.4).
    pub fn parse(field: &[u8]) -> Option<Context> {
        let (head, rest) = field.split_at_checked(55)?;
        let version = number(&head[0..2])?;
        let whole = rest.is_empty() || (version != 0 && rest[0] == b'-');
        if version == 0xff || !whole || [2, 35, 52].iter().any(|dash| head[*dash] != b'-') {
            return None;
        }
        let trace_id = number(&head[3..35])?;
        let span_id = u64::try_from(number(&head[36..52])?).ok()?;
        let flags = number(&head[53..55])?;
        (trace_id != 0 && span_id != 0).then_some(Context {
            trace_id,
            span_id: span_id.to_be_bytes(),
            sampled: flags & 1 == 1,
        })
    }

    /// As a field.
    pub fn field(&self) -> String {
        let span_id = u64::from_be_bytes(self.span_id);
        let flags = u8::from(self.sampled);
        format!("00-{:032x}-{span_id:016x}-{flags:02x}", self.trace_id)
    }
}

/// Hexadecimal digits, in lower case only.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_field_is_read_and_written() {
        let context = Context::parse(GOOD.as_bytes()).unwrap();
        assert!(context.sampled);
        assert_eq!(context.field(), GOOD);
        let other = GOOD.replace("-01", "-00");
        assert!(!Context::parse(other.as_bytes()).unwrap().sampled);
        let later = GOOD.replacen("00", "cc", 1);
        for (text, read) in [
            (later.clone(), true),
            (later.clone() + "-more", true),
            (later + "more", false),
            (GOOD.to_owned() + "-more", false),
            (GOOD.to_owned() + " ", false),
            (GOOD.replacen("00", "ff", 1), false),
            (GOOD.to_uppercase(), false),
            (GOOD.replace("b7ad6b7169203331", "0000000000000000"), false),
            (
                GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
                false,
            ),
            (GOOD.replacen('-', "_", 1), false),
            (GOOD[1..].to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(Context::parse(text.as_bytes()).is_some(), read, "{text}");
        }
    }
}
