//! What can the client take? Lists with qualities (RFC 9110 section 12.4). Pure.

use crate::message::Fields;

/// `q=0.8` in thousandths (RFC 9110 section 12.4.2).
pub(super) fn quality(parameter: &[u8]) -> Option<u16> {
    let (name, value) = parameter.split_at_checked(2)?;
    if !name.eq_ignore_ascii_case(b"q=") {
        return None;
    }
    let value: f32 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    (0.0..=1.0)
        .contains(&value)
        .then_some((value * 1000.0) as u16)
}

/// Those of `offered` that the client takes by name or by `*`, in its order of preference, then in ours. Without
/// `Accept-Encoding` there is none: what was not asked for by name is not done.
pub(super) fn encodings<'o>(fields: &Fields, offered: &[&'o str]) -> Vec<&'o str> {
    let mut any = None;
    let mut named: Vec<Option<u16>> = vec![None; offered.len()];
    fields.for_each(|_, name, value| {
        if !name.eq_ignore_ascii_case(b"accept-encoding") {
            return;
        }
        for item in value.split(|c| *c == b',') {
            let mut parts = item.split(|c| *c == b';').map(<[u8]>::trim_ascii);
            let coding = parts.next().unwrap_or_default();
            let coding = match coding {
                coding if coding.eq_ignore_ascii_case(b"x-gzip") => b"gzip",
                coding => coding,
            };
            let quality = parts.find_map(quality).unwrap_or(1000);
            if coding == b"*" {
                any = Some(quality);
            }
            for (at, offered) in offered.iter().enumerate() {
                if coding.eq_ignore_ascii_case(offered.as_bytes()) {
                    named[at] = Some(quality);
                }
            }
        }
    });
    let mut taken: Vec<_> = offered
        .iter()
        .zip(named)
        .map(|(offered, named)| (*offered, named.or(any).unwrap_or(0)))
        .filter(|(_, quality)| *quality > 0)
        .collect();
    // Stable: ours is the order among equals.
    taken.sort_by_key(|(_, quality)| std::cmp::Reverse(*quality));
    taken.into_iter().map(|(offered, _)| offered).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn codings_come_in_the_order_of_the_client_then_in_ours() {
        for (sent, want) in [
            (&[][..], &[][..]),
            (&[""], &[]),
            (&["gzip, deflate, br"], &["br", "gzip"]),
            (&["gzip;q=1.0, br;q=0.5"], &["gzip", "br"]),
            (&["gzip, deflate", "zstd"], &["zstd", "gzip"]),
            (&["*"], &["zstd", "br", "gzip"]),
            (&["*;q=0.1, gzip"], &["gzip", "zstd", "br"]),
            (&["zstd;q=0, *"], &["br", "gzip"]),
            (&["identity"], &[]),
            (&["gzip;q=0"], &[]),
            (&["X-Gzip"], &["gzip"]),
            (&["gzip;q=2"], &["gzip"]),
        ] {
            let mut map = HeaderMap::new();
            for value in sent {
                map.append("accept-encoding", value.parse().unwrap());
            }
            let found = encodings(&Fields::Http2(map), &["zstd", "br", "gzip"]);
            assert_eq!(found, want, "{sent:?}");
        }
    }

    #[test]
    fn qualities_are_read_in_thousandths() {
        for (text, want) in [
            ("q=1", Some(1000)),
            ("Q=0.5", Some(500)),
            ("q= 0.001", Some(1)),
            ("q=0", Some(0)),
            ("q=1.1", None),
            ("q=NaN", None),
            ("q=", None),
            ("v=1", None),
            ("é", None),
        ] {
            assert_eq!(quality(text.as_bytes()), want, "{text}");
        }
    }
}
