//! Which clients are known? The authorities that a listener asks certificates of, and what they have revoked.
//!
//! Chains and revocation are verified by the TLS library. A list that has run out refuses, as with other servers, unless the
//! configuration says that what is known shall do. Does not: fetch lists.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::digest;
use super::lists::{self, List};
use super::load::{FILE_BYTES_MAX, not_pem, read};
use super::time::unix;
use crate::config::model::{ClientCertificates, Place};
use crate::config::problem::Problem;

/// Most authorities of a listener: their names go to each client (RFC 8446 section 4.2.4).
const AUTHORITIES_MAX: usize = 256;

/// Whom a listener trusts.
pub struct Trust {
    /// Verifies a client's chain.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// Changes with everything that decides on a client.
    pub digest: [u8; 32],
    /// What has been revoked.
    pub lists: Vec<List>,
    /// What is not right but does not stop it.
    pub warnings: Vec<Problem>,
}

/// Reads authorities and lists.
pub fn load(
    wanted: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
    now: SystemTime,
) -> Result<Trust, Vec<Problem>> {
    let place = wanted.place;
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    let authorities = collect(authorities(&wanted.ca, place), &mut problems);
    let lists = match lists::load(wanted) {
        Ok(lists) => lists,
        Err(wrong) => {
            problems.extend(wrong);
            Vec::new()
        }
    };
    let (lists, told): (Vec<_>, Vec<_>) = lists.into_iter().unzip();
    if !problems.is_empty() {
        return Err(problems);
    }
    let failed = |what: String| vec![Problem::error(place, what)];
    let mut roots = RootCertStore::empty();
    for authority in &authorities {
        let added = roots.add(authority.clone());
        added.map_err(|error| {
            failed(format!(
                "an authority in {} cannot be used: {error}",
                wanted.ca.display()
            ))
        })?;
    }
    let run_out = told
        .iter()
        .filter_map(|list| lists::doubt(list, place, unix(now)));
    warnings.extend(run_out);
    warnings.extend(doubts(&authorities, &lists, wanted, now));
    let words = [u8::from(wanted.required), u8::from(wanted.expired_crl)];
    let parts = [&words[..]]
        .into_iter()
        .chain(authorities.iter().map(|der| der.as_ref()))
        .chain([&b"revoked"[..]])
        .chain(lists.iter().map(|der| der.as_ref()));
    let digest = digest::of_parts(parts);
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .with_crls(lists);
    let builder = if wanted.expired_crl {
        builder
    } else {
        builder.enforce_revocation_expiration()
    };
    let builder = if wanted.required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    let verifier = builder.build().map_err(|error| {
        failed(format!(
            "client certificates cannot be verified with {}: {error}",
            wanted.ca.display()
        ))
    })?;
    Ok(Trust {
        verifier,
        digest,
        lists: told,
        warnings,
    })
}

fn collect<T>(read: Result<Vec<T>, Problem>, problems: &mut Vec<Problem>) -> Vec<T> {
    read.unwrap_or_else(|problem| {
        problems.push(problem);
        Vec::new()
    })
}

/// The certificates of a PEM file of authorities.
pub(super) fn authorities(
    path: &Path,
    place: Place,
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let text = read(path, place, FILE_BYTES_MAX)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text)
        .take(AUTHORITIES_MAX + 1)
        .collect();
    let file = path.display();
    let all = all.map_err(|error| not_pem(path, place, &error))?;
    if all.is_empty() {
        return Err(Problem::error(place, format!("{file} has no certificate"))
            .hint("it needs a block that begins with `-----BEGIN CERTIFICATE-----`"));
    }
    if all.len() > AUTHORITIES_MAX {
        let what = format!("{file} has more than {AUTHORITIES_MAX} certificates");
        return Err(Problem::error(place, what).hint(
            "name the authorities that issue your clients' certificates, not every public one",
        ));
    }
    for (at, der) in all.iter().enumerate() {
        let (at, parsed) = (at + 1, X509Certificate::from_der(der));
        let Ok((_, parsed)) = parsed else {
            return Err(Problem::error(
                place,
                format!("certificate {at} of {file} is damaged"),
            ));
        };
        // An old root without the extension is still one (RFC 5280 section 4.2.1.9 asks version 3 alone).
        let constraints = parsed.basic_constraints().ok().flatten();
        if constraints.is_some_and(|found| !found.value.ca) {
            let what = format!("certificate {at} of {file} is not one of an authority");
            return Err(
                Problem::error(place, what).hint("name the authority that issued it instead")
            );
        }
    }
    Ok(all)
}

/// Authorities that are past their time, and authorities without a list.
fn doubts(
    authorities: &[CertificateDer<'static>],
    lists: &[CertificateRevocationListDer<'static>],
    wanted: &ClientCertificates,
    now: SystemTime,
) -> Vec<Problem> {
    let (place, now, mut doubts) = (wanted.place, unix(now), Vec::new());
    let lists: Vec<_> = lists
        .iter()
        .filter_map(|der| CertificateRevocationList::from_der(der).ok())
        .map(|(_, list)| list)
        .collect();
    for der in authorities {
        let Ok((_, authority)) = X509Certificate::from_der(der) else {
            continue;
        };
        let name = authority.subject();
        if authority.validity().not_after.timestamp() < now {
            let what = format!(
                "authority `{name}` in {} expired on {}",
                wanted.ca.display(),
                authority.validity().not_after
            );
            doubts.push(Problem::warning(place, what).hint("take it out"));
        }
        let covered = |list: &CertificateRevocationList<'_>| {
            list.issuer().as_raw() == authority.subject().as_raw()
        };
        if !lists.is_empty() && !lists.iter().any(covered) {
            let what = format!("there is no list of what authority `{name}` has revoked");
            doubts.push(
                Problem::warning(place, what)
                    .hint("clients with its certificates are refused: add the list to `crl`"),
            );
        }
    }
    doubts
}
