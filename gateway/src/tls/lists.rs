//! What has been revoked, and until when is that known? Lists of revoked certificates (RFC 5280 section 5).
//!
//! Promises: of several lists by one issuer about the same certificates the newest counts. Does not: verify signatures (the
//! TLS library does, for each client), or fetch lists.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::identity::distinguished;
use super::load::{not_pem, read};
use super::time::DAY;
use crate::config::model::{ClientCertificates, Place};
use crate::config::problem::Problem;

/// Largest file with lists of revoked certificates.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A list is warned of in the last quarter of its time, but not before this many seconds from its end.
const SOON_MAX: i64 = 7 * DAY;
/// The extension that says about which certificates a list is (RFC 5280 section 5.2.5).
const SCOPE: &str = "2.5.29.28";

/// A list, as operators know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Where it stands.
    pub file: PathBuf,
    /// Who has revoked (RFC 4514).
    pub issuer: String,
    /// When it was made, seconds since 1970.
    pub begins: i64,
    /// From when on it does not count any more (`nextUpdate`), seconds since 1970.
    pub ends: i64,
    /// It goes on being used then (`expired_crl: accept`).
    pub accepted: bool,
}

/// How a list stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It counts for a good while.
    Good,
    /// It runs out soon.
    Soon,
    /// It has run out.
    Over,
}

impl List {
    /// How it stands, in seconds since 1970.
    pub fn standing(&self, now: i64) -> Standing {
        let quarter = self.ends.saturating_sub(self.begins) / 4;
        if now >= self.ends {
            Standing::Over
        } else if self.ends.saturating_sub(now) < quarter.min(SOON_MAX) {
            Standing::Soon
        } else {
            Standing::Good
        }
    }

    /// Clients are refused because of it.
    pub fn refuses(&self, now: i64) -> bool {
        !self.accepted && self.standing(now) == Standing::Over
    }
}

/// Lists for the TLS library, each with what is told of it.
pub type Lists = Vec<(CertificateRevocationListDer<'static>, List)>;

/// The lists of a listener that count.
pub fn load(wanted: &ClientCertificates) -> Result<Lists, Vec<Problem>> {
    let (mut lists, mut problems) = (Vec::new(), Vec::new());
    for path in &wanted.crls {
        match revoked(path, wanted.place) {
            Ok(more) => lists.extend(more.into_iter().map(|der| (path, der))),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let parsed: Vec<_> = lists
        .iter()
        .filter_map(|(file, der)| Some((*file, CertificateRevocationList::from_der(der).ok()?.1)))
        .collect();
    let about = |list: &CertificateRevocationList<'_>| {
        let scope = list.extensions().iter();
        let scope = scope.filter(|extension| extension.oid.to_id_string() == SCOPE);
        let scope: Vec<_> = scope.map(|extension| extension.value.to_vec()).collect();
        (list.issuer().as_raw().to_vec(), scope)
    };
    let times = |list: &CertificateRevocationList<'_>| {
        let ends = list.next_update().map_or(i64::MAX, |at| at.timestamp());
        (list.last_update().timestamp(), ends)
    };
    let counts = |at: usize| {
        let (mine, when) = (about(&parsed[at].1), times(&parsed[at].1));
        let others = parsed.iter().enumerate().filter(|(other, _)| *other != at);
        // Of two that are alike the first.
        !others
            .filter(|(_, (_, list))| about(list) == mine)
            .any(|(other, (_, list))| (times(list), at) > (when, other))
    };
    let told = (0..parsed.len()).map(|at| {
        let (file, list) = &parsed[at];
        let (begins, ends) = times(list);
        counts(at).then(|| List {
            file: file.to_path_buf(),
            issuer: distinguished(list.issuer()),
            begins,
            ends,
            accepted: wanted.expired_crl,
        })
    });
    let told: Vec<_> = told.collect();
    drop(parsed);
    let ders = lists.into_iter().map(|(_, der)| der);
    Ok(ders
        .zip(told)
        .filter_map(|(der, told)| Some((der, told?)))
        .collect())
}

fn revoked(
    path: &Path,
    place: Place,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Problem> {
    let text = read(path, place, BYTES_MAX)?;
    let file = path.display();
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|error| not_pem(path, place, &error))?;
    if all.is_empty() {
        return Err(Problem::error(
            place,
            format!("{file} has no list of revoked certificates"),
        )
        .hint("it needs a block that begins with `-----BEGIN X509 CRL-----`; a DER file is turned into one by `openssl crl -inform der`"));
    }
    if all
        .iter()
        .any(|der| CertificateRevocationList::from_der(der).is_err())
    {
        return Err(
            Problem::error(place, format!("a list in {file} is damaged"))
                .hint("fetch it again from the authority"),
        );
    }
    Ok(all)
}

/// A list that has run out or does so soon.
pub fn doubt(list: &List, place: Place, now: i64) -> Option<Problem> {
    let (file, issuer) = (list.file.display(), &list.issuer);
    let ends = x509_parser::time::ASN1Time::from_timestamp(list.ends);
    let ends = ends.map_or_else(|_| "its end".to_owned(), |at| at.to_string());
    let (what, hint) = match (list.standing(now), list.accepted) {
        (Standing::Good, _) => return None,
        (Standing::Soon, _) => (
            format!("the list of what `{issuer}` has revoked, in {file}, runs out on {ends}"),
            "fetch a newer one",
        ),
        (Standing::Over, true) => (
            format!(
                "the list of what `{issuer}` has revoked, in {file}, ran out on {ends}, and is used all the same"
            ),
            "what was revoked since is not refused: fetch a newer one",
        ),
        (Standing::Over, false) => (
            format!(
                "the list of what `{issuer}` has revoked, in {file}, ran out on {ends}: clients with its certificates are refused"
            ),
            "fetch a newer one, or set `expired_crl: accept` to go on with what is known",
        ),
    };
    Some(Problem::warning(place, what).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_warned_of_in_the_last_quarter_of_its_time_or_its_last_week() {
        let list = |begins, ends| List {
            file: PathBuf::new(),
            issuer: String::new(),
            begins,
            ends,
            accepted: false,
        };
        let (day, year) = (list(0, 100), list(0, 400 * DAY));
        assert_eq!(day.standing(75), Standing::Good);
        assert_eq!(day.standing(76), Standing::Soon);
        assert_eq!(day.standing(99), Standing::Soon);
        assert_eq!(day.standing(100), Standing::Over);
        assert_eq!(year.standing(393 * DAY), Standing::Good);
        assert_eq!(year.standing(393 * DAY + 1), Standing::Soon);
        // What is written the wrong way round is over, not soon.
        assert_eq!(list(100, 0).standing(0), Standing::Over);
        assert!(day.refuses(100) && !day.refuses(99));
        let accepted = List {
            accepted: true,
            ..day
        };
        assert!(!accepted.refuses(100));
    }
}
