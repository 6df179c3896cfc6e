//! How is TLS spoken on a listener?
//!
//! Ties certificates, versions, ALPN and session tickets into the settings of the TLS library. The
//! provider of the cryptography is named here and nowhere else; there is no process-wide default.
//! Suites are the provider's: ECDHE with AEAD only. No early data, because it can be replayed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::load::load;
use super::store::Store;
use crate::config::model::{Config, Place, Protocol, Tls, TlsVersion, UnknownNames};
use crate::config::problem::Problem;

/// The settings of a listener and what is doubtful about them, or what stops it. `now` is held
/// against the validity of certificates.
pub fn server_config(
    tls: &Tls,
    protocol: Protocol,
    now: SystemTime,
) -> Result<(Arc<ServerConfig>, Vec<Problem>), Vec<Problem>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (store, warnings) = certificates(tls, &provider, now)?;
    let place = tls
        .certificates
        .first()
        .map_or(Place::default(), |certificate| certificate.place);
    let failed = |error: rustls::Error| {
        vec![Problem::error(
            place,
            format!("TLS cannot be set up: {error}"),
        )]
    };
    let versions: &[&SupportedProtocolVersion] = match tls.min_version {
        TlsVersion::Tls12 => &[&version::TLS13, &version::TLS12],
        TlsVersion::Tls13 => &[&version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(failed)?;
    let mut config = builder
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(store));
    config.alpn_protocols = match protocol {
        Protocol::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        // A peer that speaks no HTTP/2 learns it here and not from a broken connection.
        Protocol::Grpc => vec![b"h2".to_vec()],
    };
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(failed)?;
    // Sessions live in tickets, so nothing is kept per client and no lock is shared.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_half_rtt_data = false;
    config.max_early_data_size = 0;
    Ok((Arc::new(config), warnings))
}

/// Everything that is wrong with certificates, without setting anything up.
fn certificates(
    tls: &Tls,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<(Store, Vec<Problem>), Vec<Problem>> {
    let mut loaded = Vec::new();
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    for certificate in &tls.certificates {
        match load(certificate, provider, now) {
            Ok(mut certificate) => {
                warnings.append(&mut certificate.warnings);
                loaded.push(certificate);
            }
            Err(mut wrong) => problems.append(&mut wrong),
        }
    }
    if problems.is_empty() {
        Ok((Store::new(&loaded, tls.unknown_names), warnings))
    } else {
        problems.append(&mut warnings);
        Err(problems)
    }
}

/// Errors and warnings of the certificates of every listener. Reads the files they name.
pub fn check(config: &Config, now: SystemTime) -> Vec<Problem> {
    let provider = aws_lc_rs::default_provider();
    let told = |tls: &Tls| match certificates(tls, &provider, now) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    config
        .listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref())
        .flat_map(told)
        .collect()
}

/// The file of the certificate that a client gets which asks for `name`; none where it is refused.
/// The error is the first reason why that cannot be told.
pub fn shown_for(tls: &Tls, name: &str, now: SystemTime) -> Result<Option<PathBuf>, String> {
    let provider = aws_lc_rs::default_provider();
    let name = name.to_ascii_lowercase();
    let parent = name
        .split_once('.')
        .map(|(_, parent)| format!("*.{parent}"));
    let (mut exact, mut wildcard) = (None, None);
    for certificate in &tls.certificates {
        let loaded = load(certificate, &provider, now).map_err(|problems| {
            let first = problems.into_iter().next();
            first.map_or_else(String::new, |problem| problem.what)
        })?;
        if loaded.names.contains(&name) {
            exact.get_or_insert(&certificate.chain);
        } else if parent
            .as_ref()
            .is_some_and(|parent| loaded.names.contains(parent))
        {
            wildcard.get_or_insert(&certificate.chain);
        }
    }
    let default = tls
        .certificates
        .first()
        .map(|certificate| &certificate.chain);
    let default = default.filter(|_| tls.unknown_names == UnknownNames::DefaultCertificate);
    Ok(exact.or(wildcard).or(default).cloned())
}

#[cfg(test)]
mod tests;
