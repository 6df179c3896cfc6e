//! Which path does the worker see? The route's rewrite, done to one path.
//!
//! Promises: what comes of it is checked again like a path that a client sent: what was in the middle may be in front
//! now. Does not: touch the query. Pure.

use std::borrow::Cow;

use crate::config::model::{PathMatch, Rewrite};
use crate::exchange::failure::Failure;
use crate::route::path;

/// Longest path that a pattern makes, bytes: `$1$1$1` makes a long one of a short one.
const PATH_BYTES_MAX: usize = 64 * 1024;

/// The path for the worker; `sent` is what it would have seen, without the query.
pub(super) fn changed(
    rewrite: &Rewrite,
    sent: &[u8],
    matched: &PathMatch,
    deny: &[String],
) -> Result<Vec<u8>, Failure> {
    let path = match rewrite {
        Rewrite::Prefix(new) => {
            let below = match matched {
                PathMatch::Prefix(prefix) => path::below(sent, prefix),
                PathMatch::Exact(_) => b"",
            };
            let path = [new.as_bytes(), below].concat();
            if path.is_empty() { b"/".to_vec() } else { path }
        }
        Rewrite::Pattern(pattern) => {
            let canonical = path::canonical(sent).map_err(|_| Failure::BadPath)?;
            match pattern.regex.replace(&canonical, pattern.to.as_str()) {
                // Nothing matched: the client's bytes go on.
                Cow::Borrowed(_) => return Ok(sent.to_vec()),
                Cow::Owned(path) => sound(path)?,
            }
        }
    };
    if path::denied(&path, deny) {
        return Err(Failure::Denied(403));
    }
    Ok(path)
}

/// A path that a pattern made: groups may have been cut out of the middle of anything.
fn sound(path: String) -> Result<Vec<u8>, Failure> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Failure::BadPath);
    }
    let normal = path::normalise(path.as_bytes()).map_err(|_| Failure::BadPath)?;
    Ok(match normal.forward() {
        Some(forward) => forward.to_vec(),
        None => path.into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Pattern;

    fn prefix(new: &str, matched: &str, sent: &str) -> Result<String, Failure> {
        let matched = PathMatch::Prefix(matched.to_owned());
        let rewrite = Rewrite::Prefix(new.to_owned());
        words(changed(&rewrite, sent.as_bytes(), &matched, &deny()))
    }

    fn pattern(from: &str, to: &str, sent: &str) -> Result<String, Failure> {
        let rewrite = Rewrite::Pattern(Pattern {
            regex: regex::Regex::new(from).unwrap(),
            to: to.to_owned(),
        });
        let matched = PathMatch::Prefix("/".to_owned());
        words(changed(&rewrite, sent.as_bytes(), &matched, &deny()))
    }

    fn words(path: Result<Vec<u8>, Failure>) -> Result<String, Failure> {
        path.map(|path| String::from_utf8(path).unwrap())
    }

    fn deny() -> [String; 1] {
        ["metrics".to_owned()]
    }

    #[test]
    fn the_matched_prefix_is_replaced() {
        for (new, matched, sent, want) in [
            ("/new", "/old", "/old/x", "/new/x"),
            ("/new", "/old", "/old", "/new"),
            ("/new", "/old", "/old/", "/new/"),
            ("/new", "/old", "/%6fld/a%20b", "/new/a%20b"),
            ("/a/b", "/", "/x", "/a/b/x"),
            ("", "/old", "/old/x", "/x"),
            ("", "/old", "/old", "/"),
            ("", "/", "/x", "/x"),
        ] {
            assert_eq!(prefix(new, matched, sent).as_deref(), Ok(want), "{sent}");
        }
        let exact = PathMatch::Exact("/old".to_owned());
        let new = Rewrite::Prefix("/new".to_owned());
        assert_eq!(
            words(changed(&new, b"/old/", &exact, &[])).as_deref(),
            Ok("/new")
        );
    }

    #[test]
    fn what_comes_into_sight_is_checked_again() {
        assert_eq!(
            prefix("", "/old", "/old/metrics/x"),
            Err(Failure::Denied(403))
        );
        assert_eq!(
            prefix("", "/old", "/old/%6detrics/x"),
            Err(Failure::Denied(403))
        );
        assert_eq!(
            prefix("/new", "/old", "/old/metrics/x").as_deref(),
            Ok("/new/metrics/x")
        );
        let cut = |to, sent| pattern("^/a/([^/]*)/(.*)$", to, sent);
        assert_eq!(cut("/$2", "/a/b/metrics/x"), Err(Failure::Denied(403)));
        assert_eq!(cut("/$1.$1/$2", "/a/./b/c").as_deref(), Ok("/b.b/c"));
    }

    #[test]
    fn a_pattern_sees_one_spelling_and_makes_a_sound_path() {
        for (from, to, sent, want) in [
            ("^/a/(.*)$", "/b/$1", "/a/x", "/b/x"),
            ("^/a/(.*)$", "/b/$1", "/%61/x%2fy%3b", "/b/x%2Fy%3B"),
            (
                "^/v(?P<n>[0-9]+)(/.*)?$",
                "/api/${n}$2",
                "/v12/x",
                "/api/12/x",
            ),
            ("^/a", "/", "/axe", "/xe"),
            ("^/a/([^/]*)$", "/x/$1/../$1", "/a/b", "/x/b"),
            ("^/none", "/b", "/a%7e", "/a%7e"),
        ] {
            assert_eq!(pattern(from, to, sent).as_deref(), Ok(want), "{sent}");
        }
        // An escape that is cut in two is no escape any more.
        assert_eq!(pattern("^/(.*)4$", "/$1", "/a%24"), Err(Failure::BadPath));
        let long = format!("/{}", "x".repeat(8000));
        let many = "/$1".repeat(9);
        assert_eq!(pattern("^/(.*)$", &many, &long), Err(Failure::BadPath));
    }
}
