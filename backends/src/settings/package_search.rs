//! `[package_search]`: where is it, and how closely does it follow?

use std::time::Duration;

use axum::http::Uri;

use super::keys::Keys;

/// How long others wait for package search, if nothing else is said, before they ask the database.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What package search and those who ask it are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageSearch {
    /// `url`: where others ask it, `http://127.0.0.1:9099/v1/search`. None: the database is asked.
    pub url: Option<Uri>,
    /// `timeout`: how long others wait for it before they ask the database. Default 2s.
    pub timeout: Duration,
    /// `refresh`: time between two looks into the database. Default 5s.
    pub refresh: Duration,
}

pub(super) fn read(keys: &mut Keys) -> PackageSearch {
    let section = "package_search";
    let written = keys.text(section, "url", "");
    let url = written.parse::<Uri>().ok().filter(|url| {
        url.scheme_str() == Some("http") && url.host().is_some_and(|host| !host.is_empty())
    });
    if url.is_none() && !written.is_empty() {
        let what = format!("`url` is of the form http://127.0.0.1:9099/v1/search, not `{written}`");
        keys.wrong(section, "url", &what);
    }
    PackageSearch {
        url,
        timeout: keys.duration(section, "timeout", TIMEOUT),
        refresh: keys.duration(section, "refresh", Duration::from_secs(5)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_asked_two_seconds_later_where_nothing_else_is_said() {
        let told = |pairs: &[(&str, &str)]| {
            let mut keys = Keys::default();
            let owned = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
            keys.add_environment(pairs.iter().map(owned).collect::<Vec<_>>());
            let settings = read(&mut keys);
            keys.finish().map(|()| settings.timeout)
        };
        assert_eq!(told(&[]), Ok(Duration::from_secs(2)));
        let sooner = [("BACKENDS_PACKAGE_SEARCH__TIMEOUT", "100ms")];
        assert_eq!(told(&sooner), Ok(Duration::from_millis(100)));
    }
}
