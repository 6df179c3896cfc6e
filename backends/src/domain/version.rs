//! Which of two versions of a package is the newer one? The order of Debian's packages.
//!
//! A version is `[epoch:]upstream[-revision]` (Debian Policy, section 5.6.12). Its parts are compared one
//! after the other as runs of other characters and runs of digits by turns. Whatever an agent told as a
//! version has a place in this order, so that nothing is refused here.

use std::cmp::Ordering;

/// Which of them comes later, by Debian's order.
pub fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (parts(one), parts(other));
    let pairs = one.into_iter().zip(other);
    pairs.fold(Ordering::Equal, |so_far, (one, other)| {
        so_far.then_with(|| part(one.as_bytes(), other.as_bytes()))
    })
}

/// Epoch, upstream's version and revision; the first and the last may be empty, which counts as 0.
fn parts(version: &str) -> [&str; 3] {
    let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    [epoch, upstream, revision]
}

fn part(mut one: &[u8], mut other: &[u8]) -> Ordering {
    while !one.is_empty() || !other.is_empty() {
        let ((words, rest), (other_words, other_rest)) = (
            split(one, |byte| !byte.is_ascii_digit()),
            split(other, |byte| !byte.is_ascii_digit()),
        );
        let ((digits, rest), (other_digits, other_rest)) = (
            split(rest, |byte| byte.is_ascii_digit()),
            split(other_rest, |byte| byte.is_ascii_digit()),
        );
        let order = by_weight(words, other_words).then_with(|| by_number(digits, other_digits));
        if order != Ordering::Equal {
            return order;
        }
        (one, other) = (rest, other_rest);
    }
    Ordering::Equal
}

/// The run at the beginning whose bytes are all so, and what comes after it.
fn split(text: &[u8], is: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| is(byte)).count())
}

/// Letters before other signs, the end before both, and a tilde even before the end.
fn by_weight(one: &[u8], other: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    let length = one.len().max(other.len());
    let orders = (0..length).map(|at| weight(one.get(at)).cmp(&weight(other.get(at))));
    orders.fold(Ordering::Equal, Ordering::then)
}

/// As numbers of any length; none is 0.
fn by_number(one: &[u8], other: &[u8]) -> Ordering {
    let ((_, one), (_, other)) = (
        split(one, |byte| *byte == b'0'),
        split(other, |byte| *byte == b'0'),
    );
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_in_the_order_that_dpkg_gives_them() {
        // Each is older than the next, as `dpkg --compare-versions` says.
        let order = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0.1",
            "1.0~beta1~svn1245",
            "1.0~beta1",
            "1.0",
            "1.0-0ubuntu1",
            "1.0-1",
            "1.0-1ubuntu0.1",
            "1.0-1+deb12u1",
            "1.0a",
            "1.0+git1",
            "1.2.9",
            "1.2.10",
            "1.2.010a",
            "99999999999999999999999999999999998",
            "99999999999999999999999999999999999",
            "1:0.1",
            "1:0.1-2-3",
            "2:0~1",
            "10:0",
        ];
        for (at, one) in order.iter().enumerate() {
            for (other_at, other) in order.iter().enumerate() {
                assert_eq!(compare(one, other), at.cmp(&other_at), "{one} {other}");
            }
        }
        for (one, other) in [
            ("1.0", "1.0-0"),
            ("0:1", "1"),
            ("1.01", "1.1"),
            ("a0", "a"),
            ("", "0"),
        ] {
            assert_eq!(compare(one, other), Ordering::Equal, "{one} {other}");
        }
    }
}
