//! How is TLS spoken on a listener?
//!
//! Ties certificates, versions, ALPN and session tickets into the settings of the TLS library. The
//! provider of the cryptography is named here and nowhere else; there is no process-wide default.
//! Suites are the provider's: ECDHE with AEAD only. No early data, because it can be replayed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::client;
use super::digest;
use super::lists::List;
use super::load::load;
use super::store::Store;
use super::tickets::Tickets;
use super::trust::{self, Trust};
use crate::config::model::{
    Certificate, Config, Place, Protocol, Tls, TlsVersion, UnknownNames, WorkerProtocol,
};
use crate::config::problem::Problem;

/// What a listener shows, ready for clients.
pub struct Ready {
    /// Settings of the TLS library, with keys of tickets of their own.
    pub config: ServerConfig,
    /// These keys.
    pub tickets: Arc<Tickets>,
    /// The certificates, in the order of the configuration.
    pub shown: Vec<Shown>,
    /// What is known of revoked clients.
    pub lists: Vec<List>,
    /// Changes with everything that was read.
    pub content: [u8; 32],
    /// Changes with everything that decides on a client; sessions of one trust must not be resumed under another.
    pub trust: [u8; 32],
    /// When something that is shown ends and has to be left out, seconds since 1970.
    pub again: Option<i64>,
    /// What is not right but does not stop it.
    pub warnings: Vec<Problem>,
}

/// A certificate as operators know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The file of its chain.
    pub chain: PathBuf,
    /// The names it covers.
    pub names: Vec<String>,
    /// When the first certificate of the chain ends, seconds since 1970.
    pub expires: i64,
}

/// Reads what a listener names, or tells what is wrong with it. `now` is held against the validity of certificates.
pub fn ready(tls: &Tls, protocol: Protocol, now: SystemTime) -> Result<Ready, Vec<Problem>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let Files {
        store,
        shown,
        digest,
        trust,
        again,
        warnings,
    } = files(tls, &provider, now)?;
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
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(tls.min_version))
        .map_err(failed)?;
    let (verifier, trust, lists) = match trust {
        Some(trust) => (trust.verifier, trust.digest, trust.lists),
        None => (WebPkiClientVerifier::no_client_auth(), [0; 32], Vec::new()),
    };
    // A session that is resumed asks no list: with the first that runs out, all have to come again.
    let refusing = lists.iter().filter(|list| !list.accepted);
    let ends = refusing
        .map(|list| u64::try_from(list.ends).unwrap_or(0))
        .min();
    let mut config = builder
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(store));
    config.alpn_protocols = match protocol {
        Protocol::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        // A peer that speaks no HTTP/2 learns it here and not from a broken connection.
        Protocol::Grpc => vec![b"h2".to_vec()],
    };
    let tickets = Tickets::with(Vec::new(), ends)
        .map_err(|error| failed(rustls::Error::General(error.to_string())))?;
    let tickets = Arc::new(tickets);
    config.ticketer = tickets.clone();
    // Sessions live in tickets, so nothing is kept per client and no lock is shared.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_half_rtt_data = false;
    config.max_early_data_size = 0;
    Ok(Ready {
        config,
        tickets,
        shown,
        lists,
        content: digest::of_parts([&digest[..], &trust[..]]),
        trust,
        again,
        warnings,
    })
}

/// The versions from the oldest that is allowed.
pub(super) fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match oldest {
        TlsVersion::Tls12 => &BOTH,
        TlsVersion::Tls13 => &BOTH[..1],
    }
}

/// What the files of a listener say.
struct Files {
    store: Store,
    shown: Vec<Shown>,
    digest: [u8; 32],
    trust: Option<Trust>,
    again: Option<i64>,
    warnings: Vec<Problem>,
}

/// Everything that is wrong with the files, without setting anything up.
fn files(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
    now: SystemTime,
) -> Result<Files, Vec<Problem>> {
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
    let clients = tls.client_certificates.as_ref();
    let trust = match clients.map(|clients| trust::load(clients, provider, now)) {
        None => None,
        Some(Ok(mut trust)) => {
            warnings.append(&mut trust.warnings);
            Some(trust)
        }
        Some(Err(mut wrong)) => {
            problems.append(&mut wrong);
            None
        }
    };
    if !problems.is_empty() {
        problems.append(&mut warnings);
        return Err(problems);
    }
    let shown = tls.certificates.iter().zip(&loaded);
    let shown = shown.map(|(named, loaded)| Shown {
        chain: named.chain.clone(),
        names: loaded.names.clone(),
        expires: loaded.expires,
    });
    let parts = loaded.iter().flat_map(|loaded| {
        loaded.key.cert.iter().map(|der| der.as_ref()).chain([loaded
            .key
            .ocsp
            .as_deref()
            .unwrap_or_default()])
    });
    Ok(Files {
        shown: shown.collect(),
        digest: digest::of_parts(parts),
        store: Store::new(&loaded, tls.unknown_names),
        trust,
        again: loaded
            .iter()
            .filter_map(|loaded| loaded.stapled_until)
            .min(),
        warnings,
    })
}

/// What is doubtful about a certificate and its key, or what stops them from being shown.
pub fn check_certificate(
    certificate: &Certificate,
    now: SystemTime,
) -> Result<Vec<Problem>, Vec<Problem>> {
    load(certificate, &aws_lc_rs::default_provider(), now).map(|loaded| loaded.warnings)
}

/// Errors and warnings of the certificates of every listener, and of TLS towards workers. Reads the files they name.
pub fn check(config: &Config, now: SystemTime) -> Vec<Problem> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let told = |tls: &Tls| match files(tls, &provider, now) {
        Ok(files) => files.warnings,
        Err(problems) => problems,
    };
    let workers = config.pools.iter().flat_map(|pool| {
        let tls = pool.tls.iter();
        tls.flat_map(|tls| client::check(tls, pool.protocol, now))
    });
    let dependencies = config.dependencies.iter().flat_map(|dependency| {
        let tls = dependency.tls.iter();
        tls.flat_map(|tls| client::check(tls, WorkerProtocol::Http1, now))
    });
    config
        .listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref())
        .flat_map(told)
        .chain(workers)
        .chain(dependencies)
        .collect()
}

/// The file of the certificate that a client gets which asks for `name`; none where it is refused.
/// The error is the first reason why that cannot be told.
pub fn shown_for(tls: &Tls, name: &str, now: SystemTime) -> Result<Option<PathBuf>, String> {
    let provider = aws_lc_rs::default_provider();
    let mut all = Vec::new();
    for certificate in &tls.certificates {
        let loaded = load(certificate, &provider, now).map_err(|problems| {
            let first = problems.into_iter().next();
            first.map_or_else(String::new, |problem| problem.what)
        })?;
        all.push((certificate.chain.clone(), loaded.names));
    }
    Ok(chosen(all, name, tls.unknown_names))
}

/// Of the files of certificates with their names that for `name`; none where it is refused.
pub(super) fn chosen(
    all: Vec<(PathBuf, Vec<String>)>,
    name: &str,
    unknown: UnknownNames,
) -> Option<PathBuf> {
    let name = name.to_ascii_lowercase();
    let parent = name
        .split_once('.')
        .map(|(_, parent)| format!("*.{parent}"));
    let with = |name: &String| all.iter().find(|(_, names)| names.contains(name));
    let found = with(&name).or_else(|| with(parent.as_ref()?));
    let default = all.first();
    let default = default.filter(|_| unknown == UnknownNames::DefaultCertificate);
    found.or(default).map(|(chain, _)| chain.clone())
}

#[cfg(test)]
mod tests;
