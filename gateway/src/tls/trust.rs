//! Which clients are known? The authorities that a listener asks certificates of, and what they have revoked.
//!
//! Chains and revocation are verified by the TLS library. A list that is out of date goes on being used and is warned of:
//! a list that nobody renewed must not lock out a whole fleet. Does not: fetch lists.

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
use super::load::{FILE_BYTES_MAX, not_pem, read};
use super::time::unix;
use crate::config::model::{ClientCertificates, Place};
use crate::config::problem::Problem;

/// Largest file with lists of revoked certificates.
const CRL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most authorities of a listener: their names go to each client (RFC 8446 section 4.2.4).
const AUTHORITIES_MAX: usize = 256;

/// Whom a listener trusts.
pub struct Trust {
    /// Verifies a client's chain.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// Changes with everything that decides on a client.
    pub digest: [u8; 32],
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
    let mut lists = Vec::new();
    for path in &wanted.crls {
        lists.extend(collect(revoked(path, place), &mut problems));
    }
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
    warnings.extend(doubts(&authorities, &lists, wanted, now));
    let required = [u8::from(wanted.required)];
    let parts = [&required[..]]
        .into_iter()
        .chain(authorities.iter().map(|der| der.as_ref()))
        .chain([&b"revoked"[..]])
        .chain(lists.iter().map(|der| der.as_ref()));
    let digest = digest::of_parts(parts);
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .with_crls(lists);
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

fn revoked(
    path: &Path,
    place: Place,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Problem> {
    let text = read(path, place, CRL_BYTES_MAX)?;
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

/// Authorities that are past their time, lists that are out of date, authorities without a list.
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
    for list in &lists {
        if let Some(until) = list.next_update().filter(|until| until.timestamp() < now) {
            let what = format!(
                "the list of revoked certificates of `{}` was due to be renewed on {until}",
                list.issuer()
            );
            doubts.push(
                Problem::warning(place, what)
                    .hint("what it revokes stays refused; fetch a newer one"),
            );
        }
    }
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
