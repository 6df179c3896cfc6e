//! Where does a package belong? Pockets, file names and places in a pool, all from strangers' words.
//!
//! A name that passed [`is_plain`] is one segment of a path and nothing else: it cannot climb, hide
//! or name an option, on any system.

use std::fmt;

/// Longest plain name, characters. With a digest before it, it still is a file name.
pub const NAME_CHARS_MAX: usize = 180;

/// The pocket that an upload is meant for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Whose it is.
    pub account: String,
    /// `ubuntu`
    pub distribution: String,
    /// `noble`
    pub series: String,
    /// `staging`
    pub pocket: String,
}

impl Place {
    /// A place of four plain names.
    pub fn new(account: &str, distribution: &str, series: &str, pocket: &str) -> Option<Self> {
        let plain = [account, distribution, series, pocket]
            .into_iter()
            .all(is_plain);
        plain.then(|| Self {
            account: account.to_owned(),
            distribution: distribution.to_owned(),
            series: series.to_owned(),
            pocket: pocket.to_owned(),
        })
    }

    /// A place as it is written, `standalone/ubuntu/noble/staging`.
    pub fn read(written: &str) -> Option<Self> {
        let mut parts = written.split('/');
        let place = Self::new(parts.next()?, parts.next()?, parts.next()?, parts.next()?)?;
        parts.next().is_none().then_some(place)
    }

    /// The name by which apt knows it, and which an upload must name: `noble-staging`.
    pub fn suite(&self) -> String {
        format!("{}-{}", self.series, self.pocket)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            account,
            distribution,
            series,
            pocket,
        } = self;
        write!(f, "{account}/{distribution}/{series}/{pocket}")
    }
}

/// Is this the name of a file, and of nothing else? Letters, digits and `+ - . _ ~`, beginning with a
/// letter or a digit.
pub fn is_plain(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.len() <= NAME_CHARS_MAX
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-._~".contains(&byte))
}

/// The part of a repository that a section belongs to: `contrib` of `contrib/net`, `main` of `net`.
pub fn component(section: Option<&str>) -> &str {
    match section.and_then(|section| section.split_once('/')) {
        Some((component, _)) if is_plain(component) => component,
        _ => "main",
    }
}

/// Where a package lies below its distribution's folder: `pool/main/h/hello/hello_1_all.deb`.
pub fn pool_path(component: &str, source: &str, file: &str) -> String {
    let letters = match source.strip_prefix("lib") {
        Some(rest) if !rest.is_empty() => 4,
        _ => 1,
    };
    let prefix: String = source.chars().take(letters).collect();
    format!("pool/{component}/{prefix}/{source}/{file}")
}

/// A package of a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Where it lies below the distribution's folder.
    pub path: String,
    /// What it runs on, or `all`.
    pub architecture: String,
    /// The part of the repository it belongs to.
    pub component: String,
    /// The fields of its control file.
    pub control: String,
    /// Its digests.
    pub digests: Digests,
}

/// What a file is, by its bytes. MD5 and SHA-1 are there because formats name them; what counts is
/// SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Bytes.
    pub size: u64,
    /// MD5
    pub md5: [u8; 16],
    /// SHA-1
    pub sha1: [u8; 20],
    /// SHA-256
    pub sha256: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_files_are_plain() {
        for name in ["hello_1.0-1_all.deb", "a", "0ad", "g++-12", "x~rc1"] {
            assert!(is_plain(name), "{name}");
        }
        let long = "x".repeat(NAME_CHARS_MAX + 1);
        for name in [
            "", ".", "..", ".hidden", "-rf", "a/b", "a\\b", "a b", "a\0", "a\n", "\u{e9}", "a%2f",
            "~root", "_x", &long,
        ] {
            assert!(!is_plain(name), "{name:?}");
        }
    }

    #[test]
    fn a_place_has_four_names() {
        let place = Place::read("standalone/ubuntu/noble/staging").expect("a place");
        assert_eq!(place.suite(), "noble-staging");
        assert_eq!(place.to_string(), "standalone/ubuntu/noble/staging");
        for wrong in ["", "a/b/c", "a/b/c/d/e", "a/b/c/", "a/../c/d", "/a/b/c/d"] {
            assert_eq!(Place::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn packages_lie_where_people_look_for_them() {
        assert_eq!(component(Some("contrib/net")), "contrib");
        for section in [None, Some("net"), Some("../net"), Some("/net")] {
            assert_eq!(component(section), "main");
        }
        let path = |source| pool_path("main", source, "f.deb");
        assert_eq!(path("hello"), "pool/main/h/hello/f.deb");
        assert_eq!(path("libc"), "pool/main/libc/libc/f.deb");
        assert_eq!(path("lib"), "pool/main/l/lib/f.deb");
    }
}
