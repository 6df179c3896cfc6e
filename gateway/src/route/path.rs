//! What path is meant, and in which form is it sent on?
//!
//! A path is normalised once, before anything looks at it: escapes decoded, dot segments resolved,
//! doubled slashes merged, backslashes read as slashes (RFC 3986 section 6.2.2 and the URL standard).
//! Matching uses that form. The client's own bytes go on unchanged, because signatures cover them,
//! unless the *structure* changed: then the normal form is sent, so that a worker cannot read
//! another path than the one that was checked.
//!
//! In the matched form every printable ASCII character stands for itself, except that `%2F` and
//! `%25` stay (a slash inside a segment is data) and bytes beyond ASCII stay escaped, in upper case.

use std::borrow::Cow;

/// Most rounds of decoding when a path is compared with denied words.
const DECODE_ROUNDS_MAX: usize = 8;

/// Why a path is answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It does not begin with `/`.
    #[error("the path does not begin with a slash")]
    NoSlash,
    /// A control character, raw or encoded.
    #[error("the path has a control character")]
    Control,
    /// `%` without two hexadecimal digits.
    #[error("the path has an invalid escape")]
    Escape,
    /// A raw byte that no path may have: a blank, `#`, or one beyond ASCII (RFC 3986 section 3.3).
    #[error("the path has a character that must be encoded")]
    Raw,
}

/// A path after normalisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalPath<'a> {
    matched: Cow<'a, str>,
    forward: Option<String>,
    /// There are escapes or parameters, in which a denied word could hide.
    odd: bool,
}

impl NormalPath<'_> {
    /// The form that routes are matched against.
    pub fn matched(&self) -> &str {
        &self.matched
    }

    /// What is sent on in place of the client's path; `None` where the client's bytes are.
    pub fn forward(&self) -> Option<&[u8]> {
        self.forward.as_deref().map(str::as_bytes)
    }

    /// Is the first or last segment one of these lower-case words, in any spelling?
    pub fn denied(&self, words: &[String]) -> bool {
        if self.odd {
            denied(self.matched.as_bytes(), words)
        } else {
            ends_in(self.matched.as_bytes(), words)
        }
    }
}

/// Brings a path (without its query) into its normal form.
pub fn normalise(path: &[u8]) -> Result<NormalPath<'_>, BadPath> {
    if path.first() != Some(&b'/') {
        return Err(BadPath::NoSlash);
    }
    if !clean(path) {
        return rewrite(path);
    }
    let matched = std::str::from_utf8(path).map_err(|_| BadPath::Raw)?;
    let odd = memchr::memchr(b';', path).is_some();
    Ok(NormalPath {
        matched: Cow::Borrowed(matched),
        forward: None,
        odd,
    })
}

/// Is this path its own normal form? No to be safe where a closer look is needed. Both loops are
/// without branches, so that the compiler makes them look at many bytes at once.
fn clean(path: &[u8]) -> bool {
    let odd = |b: u8| (b <= b' ') | (b >= 0x7f) | (b == b'#') | (b == b'%') | (b == b'\\');
    let single = path.iter().fold(false, |found, &b| found | odd(b));
    // After a slash, another slash or a dot: perhaps an empty or a dot segment.
    let after = |(&a, &b): (&u8, &u8)| (a == b'/') & ((b == b'/') | (b == b'.'));
    let pair = path
        .iter()
        .zip(&path[1..])
        .fold(false, |found, pair| found | after(pair));
    !(single | pair)
}

/// The two forms while segments come in.
struct Rewrite {
    matched: String,
    forward: String,
    /// Where each kept segment begins, in both.
    starts: Vec<(usize, usize)>,
    /// Was anything changed that a worker might read differently?
    structural: bool,
}

fn rewrite(path: &[u8]) -> Result<NormalPath<'static>, BadPath> {
    let (forms, odd) = forms(path)?;
    Ok(NormalPath {
        matched: Cow::Owned(forms.matched),
        forward: forms.structural.then_some(forms.forward),
        odd,
    })
}

/// Both forms, and whether there are escapes or parameters.
fn forms(path: &[u8]) -> Result<(Rewrite, bool), BadPath> {
    let mut out = Rewrite {
        matched: String::with_capacity(path.len()),
        forward: String::with_capacity(path.len()),
        starts: Vec::new(),
        structural: false,
    };
    out.open();
    let mut odd = false;
    let mut at = 1;
    while let Some(&byte) = path.get(at) {
        let (value, escaped) = match byte {
            b'%' => (escape(&path[at + 1..]).ok_or(BadPath::Escape)?, true),
            _ => (byte, false),
        };
        at += if escaped { 3 } else { 1 };
        odd |= escaped || value == b';';
        match value {
            b' ' | b'#' | 0x80.. if !escaped => return Err(BadPath::Raw),
            0..=0x1f | 0x7f => return Err(BadPath::Control),
            b'\\' => {
                out.structural = true;
                out.close();
                out.open();
            }
            b'/' if !escaped => {
                out.close();
                out.open();
            }
            _ => out.push(value, escaped),
        }
    }
    out.finish();
    Ok((out, odd))
}

/// The byte that two hexadecimal digits stand for.
fn escape(rest: &[u8]) -> Option<u8> {
    let digit = |at: usize| rest.get(at).and_then(|&b| char::from(b).to_digit(16));
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

impl Rewrite {
    fn open(&mut self) {
        self.starts.push((self.matched.len(), self.forward.len()));
        self.matched.push('/');
        self.forward.push('/');
    }

    /// Ends a segment: empty and dot segments leave nothing behind (RFC 3986 section 5.2.4).
    fn close(&mut self) {
        let Some(&(matched, _)) = self.starts.last() else {
            return;
        };
        let gone = match &self.matched[matched..] {
            "/" | "/." => 1,
            "/.." => 2,
            _ => return,
        };
        self.structural = true;
        for _ in 0..gone {
            if let Some((matched, forward)) = self.starts.pop() {
                self.matched.truncate(matched);
                self.forward.truncate(forward);
            }
        }
    }

    /// Ends the last segment: what is left of an empty or dot segment is a trailing slash.
    fn finish(&mut self) {
        let empty = self
            .starts
            .last()
            .is_some_and(|&(matched, _)| &self.matched[matched..] == "/");
        if !empty {
            let before = self.starts.len();
            self.close();
            if self.starts.len() < before {
                self.open();
            }
        }
    }

    fn push(&mut self, value: u8, escaped: bool) {
        match value {
            b'/' | b'%' | 0x80.. => hex(&mut self.matched, value),
            _ => self.matched.push(char::from(value)),
        }
        // Escapes of reserved characters are kept: `%3B` is not `;` to everybody (RFC 3986 section 2.2).
        let unreserved = value.is_ascii_alphanumeric() || b"-._~".contains(&value);
        if unreserved || (!escaped && b"!$&'()*+,;=:@".contains(&value)) {
            self.forward.push(char::from(value));
        } else {
            hex(&mut self.forward, value);
        }
    }
}

fn hex(out: &mut String, value: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(value >> 4)]));
    out.push(char::from(DIGITS[usize::from(value & 15)]));
}

/// Is the first or last segment of `path` one of these lower-case words, in any spelling?
///
/// [`NormalPath::denied`] asks this of a request. It must be asked again of what
/// [`below`] leaves, or `/upload/metrics/x` would arrive as `/metrics/x`.
///
/// A worker may decode once more than it should, or not at all; may cut parameters, or resolve dots
/// later. So every reading is tried: the path is decoded until it stands still, and at each step
/// compared as it is and with its dots resolved. Whoever encodes more than eight times is denied.
pub fn denied(path: &[u8], words: &[String]) -> bool {
    if words.is_empty() {
        return false;
    }
    let mut text = Cow::Borrowed(path);
    for _ in 0..DECODE_ROUNDS_MAX {
        if reads_as(&text, words) {
            return true;
        }
        match decode(&text) {
            Some(decoded) => text = Cow::Owned(decoded),
            None => return false,
        }
    }
    true
}

/// One round of decoding; `None` where nothing is left to decode.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut at = memchr::memchr(b'%', text)?;
    let mut out = text[..at].to_vec();
    let mut changed = false;
    while let Some(&byte) = text.get(at) {
        match escape(&text[at + 1..]).filter(|_| byte == b'%') {
            Some(value) => {
                out.push(value);
                at += 3;
                changed = true;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    changed.then_some(out)
}

fn reads_as(text: &[u8], words: &[String]) -> bool {
    // A worker that decodes first and splits later takes these for the end of the path.
    let end = memchr::memchr2(b'?', b'#', text).unwrap_or(text.len());
    is_denied(&segments(text), words)
        || (end < text.len() && is_denied(&segments(&text[..end]), words))
}

/// Segments without parameters, blanks around them and empty ones.
fn segments(text: &[u8]) -> Vec<&[u8]> {
    let bare = |segment| -> &[u8] {
        let segment: &[u8] = segment;
        let end = segment
            .iter()
            .position(|&b| b == b';' || b.is_ascii_control())
            .unwrap_or(segment.len());
        segment[..end].trim_ascii()
    };
    text.split(|&b| b == b'/' || b == b'\\')
        .map(bare)
        .filter(|segment| !segment.is_empty())
        .collect()
}

fn is_denied(segments: &[&[u8]], words: &[String]) -> bool {
    let mut resolved: Vec<&[u8]> = Vec::with_capacity(segments.len());
    for segment in segments {
        match *segment {
            b"." => {}
            b".." => drop(resolved.pop()),
            segment => resolved.push(segment),
        }
    }
    [segments, resolved.as_slice()].into_iter().any(|segments| {
        let ends = [segments.first(), segments.last()];
        ends.into_iter()
            .flatten()
            .any(|segment| is_word(segment, words))
    })
}

/// The same for a path without escapes and parameters: nothing to decode, nothing to allocate.
fn ends_in(path: &[u8], words: &[String]) -> bool {
    let inside = path.strip_prefix(b"/").unwrap_or(path);
    let inside = inside.strip_suffix(b"/").unwrap_or(inside);
    let first = memchr::memchr(b'/', inside).map_or(inside, |at| &inside[..at]);
    let last = memchr::memrchr(b'/', inside).map_or(inside, |at| &inside[at + 1..]);
    is_word(first, words) || is_word(last, words)
}

fn is_word(segment: &[u8], words: &[String]) -> bool {
    words
        .iter()
        .any(|word| segment.eq_ignore_ascii_case(word.as_bytes()))
}

/// Takes the segments of a route's path off the path that is sent on: the client's bytes, or
/// [`NormalPath::forward`]. What is left is empty or begins with a slash. Ask [`denied`] about it.
///
/// Segments are counted, not compared, so the client may have spelled them as it likes.
pub fn below<'p>(path: &'p [u8], prefix: &str) -> &'p [u8] {
    let segments = if prefix == "/" {
        0
    } else {
        prefix.bytes().filter(|&b| b == b'/').count()
    };
    // The slash that begins the first segment left over is the one after `segments` others.
    match memchr::memchr_iter(b'/', path).nth(segments) {
        Some(at) => &path[at..],
        None => b"",
    }
}

/// The path in the one spelling of RFC 3986 section 6.2.2: escapes of unreserved characters decoded, others in upper
/// case, dot segments resolved, doubled slashes merged. What patterns are matched against.
pub fn canonical(path: &[u8]) -> Result<Cow<'_, str>, BadPath> {
    if path.first() != Some(&b'/') {
        return Err(BadPath::NoSlash);
    }
    if clean(path) {
        let text = std::str::from_utf8(path).map_err(|_| BadPath::Raw)?;
        return Ok(Cow::Borrowed(text));
    }
    forms(path).map(|(forms, _)| Cow::Owned(forms.forward))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(path: &str) -> NormalPath<'_> {
        normalise(path.as_bytes()).unwrap_or_else(|error| panic!("{path:?}: {error}"))
    }

    fn forward(path: &str) -> Option<String> {
        normal(path)
            .forward()
            .map(|forward| String::from_utf8_lossy(forward).into_owned())
    }

    #[test]
    fn clean_paths_are_borrowed_and_unchanged() {
        for path in [
            "/",
            "/ping",
            "/ping/",
            "/a/b.c",
            "/a..b/c...",
            "/a;x=1/b",
            "/api/v2/x:y@z",
            "/~u/!$&'()*+,=",
        ] {
            let found = normal(path);
            assert_eq!((found.matched(), found.forward()), (path, None), "{path}");
            assert!(matches!(found.matched, Cow::Borrowed(_)), "{path}");
        }
    }

    #[test]
    fn harmless_escapes_are_decoded_for_matching_only() {
        for (path, matched) in [
            ("/%70ing", "/ping"),
            ("/a%20b", "/a b"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2Fb", "/a%2Fb"),
            ("/%252e%252e/a", "/%252e%252e/a"),
            ("/100%25", "/100%25"),
            ("/%c3%A9", "/%C3%A9"),
            ("/a%3Bb%3fc", "/a;b?c"),
            ("/.well-known/x", "/.well-known/x"),
            ("/[a]", "/[a]"),
        ] {
            assert_eq!(
                (normal(path).matched(), forward(path)),
                (matched, None),
                "{path}"
            );
        }
    }

    #[test]
    fn structural_changes_are_sent_on() {
        for (path, want) in [
            ("//", "/"),
            ("/a//b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/../../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/.", "/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a\\b", "/a/b"),
            ("/a%5cb", "/a/b"),
            ("/a\\..\\b", "/b"),
            ("/a//", "/a/"),
            ("/a/%70//", "/a/p/"),
        ] {
            assert_eq!(forward(path).as_deref(), Some(want), "{path}");
            assert_eq!(normal(path).matched(), want, "{path}");
        }
        // What is sent on is encoded again, and escapes of reserved characters are kept.
        assert_eq!(
            forward("//a%3Bb;c%2fd%20[e]%c3%a9%7e").as_deref(),
            Some("/a%3Bb;c%2Fd%20%5Be%5D%C3%A9~")
        );
    }

    #[test]
    fn bad_paths_are_refused_with_a_reason() {
        let cases: &[(&[u8], BadPath)] = &[
            (b"", BadPath::NoSlash),
            (b"a", BadPath::NoSlash),
            (b"*", BadPath::NoSlash),
            (b"\\a", BadPath::NoSlash),
            (b"/a\0", BadPath::Control),
            (b"/a\r\nb", BadPath::Control),
            (b"/a\x7f", BadPath::Control),
            (b"/a%00", BadPath::Control),
            (b"/a%0d", BadPath::Control),
            (b"/a%7F", BadPath::Control),
            (b"/a%", BadPath::Escape),
            (b"/a%2", BadPath::Escape),
            (b"/a%zz", BadPath::Escape),
            (b"/a%+1", BadPath::Escape),
            (b"/a%u006d", BadPath::Escape),
            (b"/a b", BadPath::Raw),
            (b"/a#b", BadPath::Raw),
            ("/é".as_bytes(), BadPath::Raw),
            (b"/\xff", BadPath::Raw),
        ];
        for (path, want) in cases {
            assert_eq!(normalise(path), Err(*want), "{}", path.escape_ascii());
        }
    }

    #[test]
    fn denied_words_are_found_in_every_spelling() {
        let words = ["metrics".to_owned()];
        for path in [
            "/metrics",
            "/metrics/",
            "/metrics//",
            "/METRICS",
            "/MeTrIcS/x",
            "/metrics/foo",
            "/metrics/foo/bar",
            "/x/metrics",
            "/ping/metrics/",
            "/a/b/c/metrics",
            "/%6detrics",
            "/%6Detrics",
            "/%256detrics",
            "/%25256detrics",
            "/%2525256detrics",
            "/%6d%65%74%72%69%63%73",
            "/metrics;x",
            "/metrics;x=1/",
            "/metrics;/x",
            "/ping/metrics;a=b;c",
            "/metrics%3bx",
            "/metrics%253bx",
            "/metrics%2f",
            "/x%2fmetrics",
            "/x%252fmetrics",
            "/metrics%2fx",
            "/x\\metrics",
            "/x%5cmetrics",
            "/x%255cmetrics",
            "//metrics",
            "/./metrics",
            "/x/../metrics",
            "/x/metrics/.",
            "/x/y/../metrics",
            "/x/%2e%2e/metrics",
            "/x%2f..%2fmetrics",
            "/x/metrics/y%2f..",
            "/..;/metrics",
            "/x/..;/metrics",
            "/;x/metrics",
            "/;x/metrics/y",
            "/metrics%20",
            "/metrics%3fx",
            "/a/metrics%3Fx/y",
            "/metrics%23",
            "/metrics%2500",
        ] {
            assert!(normal(path).denied(&words), "{path}");
        }
        for path in [
            "/",
            "/metricsfoo",
            "/a/metrics/b",
            "/xmetrics",
            "/metrics.json",
            "/a/b",
            "/%6d",
            "/a;metrics",
            "/a/b;metrics",
            "/x/metrics/../y",
            "/100%25",
            "/ping",
        ] {
            assert!(!normal(path).denied(&words), "{path}");
        }
        assert!(!normal("/metrics").denied(&[]));
        assert!(!normal("/%6detrics").denied(&[]));
        assert!(
            normal("/x/server-status").denied(&["metrics".to_owned(), "server-status".to_owned()])
        );
    }

    #[test]
    fn endless_encoding_is_denied_and_bounded() {
        let path = format!("/%25{}41", "25".repeat(2_000));
        assert!(normal(&path).denied(&["metrics".to_owned()]));
    }

    #[test]
    fn prefixes_are_taken_off_by_segments() {
        for (path, prefix, want) in [
            ("/upload/x/y", "/upload", "/x/y"),
            ("/upload", "/upload", ""),
            ("/upload/", "/upload", "/"),
            ("/%75pload/x", "/upload", "/x"),
            ("/a%2Fb/c", "/a%2Fb", "/c"),
            ("/a/b/c", "/a/b", "/c"),
            ("/a/b", "/", "/a/b"),
            ("/", "/", "/"),
        ] {
            assert_eq!(
                below(path.as_bytes(), prefix),
                want.as_bytes(),
                "{path} - {prefix}"
            );
        }
    }

    #[test]
    fn what_a_stripped_prefix_lays_bare_can_be_denied() {
        let words = ["metrics".to_owned()];
        assert!(!normal("/upload/metrics/x").denied(&words));
        assert!(denied(below(b"/upload/metrics/x", "/upload"), &words));
    }

    #[test]
    fn a_path_has_one_canonical_spelling() {
        for (path, want) in [
            ("/a/b;c", "/a/b;c"),
            ("/%61/%7e", "/a/~"),
            ("/a%2fb%3b", "/a%2Fb%3B"),
            ("/a//../b", "/b"),
            ("/a%c3", "/a%C3"),
        ] {
            assert_eq!(canonical(path.as_bytes()).as_deref(), Ok(want), "{path}");
        }
        assert_eq!(canonical(b"/a%0a"), Err(BadPath::Control));
        assert_eq!(canonical(b"*"), Err(BadPath::NoSlash));
    }

    /// The configuration keeps paths in the very form that requests are brought into.
    #[test]
    fn a_route_path_matches_the_request_that_spells_it() {
        for path in [
            "/",
            "/ping",
            "/a%2fb",
            "/50%25",
            "/%c3%a9",
            "/my%20files",
            "/.well-known/x",
            "/%70ing",
            "/a;b",
            "/a%3Bb",
        ] {
            let text = format!(
                "listeners: {{ a: {{ bind: \":80\" }} }}\npools: {{ p: {{ ports: 9000 }} }}\nroutes: [{{ exact: \"{path}\", to: p }}]\n"
            );
            let source = crate::config::Source {
                name: "t".to_owned(),
                text,
            };
            let config = crate::config::parse(&source, &|_| None).config.expect(path);
            assert_eq!(
                config.routes[0].path,
                crate::config::model::PathMatch::Exact(normal(path).matched().to_owned()),
                "{path}"
            );
        }
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let words = [
            "/", "//", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", "%25", "25", "%", ";", "a",
            "metrics", "%6d", "%41", "%00", "%c3%a9", "?", "[", "6detrics",
        ];
        prop::collection::vec(prop::sample::select(words.to_vec()), 0..14)
            .prop_map(|words| format!("/{}", words.concat()).into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn normal_forms_stand_still(path in prop_oneof![pieces(), prop::collection::vec(any::<u8>(), 0..40)]) {
            let Ok(first) = normalise(&path) else { return Ok(()) };
            let sent = first.forward().unwrap_or(&path);
            let again = normalise(sent).expect("what is sent on is a path");
            prop_assert_eq!(again.forward(), None);
            prop_assert_eq!(again.matched(), first.matched());
        }

        #[test]
        fn the_fast_way_agrees_with_the_thorough_one(path in "/[a-c/.;:@~!-]{0,20}") {
            let bytes = path.as_bytes();
            if clean(bytes) {
                prop_assert_eq!(normalise(bytes), rewrite(bytes));
            }
        }

        #[test]
        fn matched_forms_have_no_structure_left(path in pieces()) {
            let Ok(found) = normalise(&path) else { return Ok(()) };
            let matched = found.matched();
            prop_assert!(matched.starts_with('/') && matched.is_ascii() && !matched.contains(['\\', '\0']));
            let inside: Vec<&str> = matched[1..].split('/').collect();
            let (last, before) = inside.split_last().expect("split gives one");
            prop_assert!(before.iter().all(|segment| !matches!(*segment, "" | "." | "..")), "{}", matched);
            prop_assert!(!matches!(*last, "." | ".."), "{}", matched);
        }

        #[test]
        fn encoding_a_denied_word_does_not_help(mask in any::<[u8; 7]>(), tail in "(/|;x|/y|//|%2f|%252f)?", lead in "(/x)?") {
            let word: String = "metrics".bytes().zip(mask).map(|(b, how)| match how % 5 {
                0 => format!("%{b:02x}"),
                1 => format!("%25{b:02X}"),
                2 => char::from(b).to_ascii_uppercase().to_string(),
                3 => format!("%2525{b:02x}"),
                _ => char::from(b).to_string(),
            }).collect();
            let lead = if tail == "/y" { "" } else { &lead };
            let path = format!("{lead}/{word}{tail}");
            prop_assert!(normal(&path).denied(&["metrics".to_owned()]), "{}", path);
        }
    }
}
