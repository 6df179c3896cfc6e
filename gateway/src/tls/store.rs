//! Which certificate does a client get?
//!
//! By the name it asks for (SNI, RFC 6066 section 3): exact names first, then wildcards of one
//! label. Several certificates may cover a name; the first whose key the client can verify is
//! shown, so ECDSA and RSA can stand side by side.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::load::Loaded;
use crate::config::model::UnknownNames;

/// The certificates of a listener by name.
#[derive(Debug)]
pub struct Store {
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// The first certificate, then others that share a name with it.
    default: Vec<Arc<CertifiedKey>>,
    unknown: UnknownNames,
}

impl Store {
    /// Sorts certificates by their names. The first is the default.
    pub fn new(certificates: &[Loaded], unknown: UnknownNames) -> Store {
        let mut store = Store {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            default: Vec::new(),
            unknown,
        };
        for certificate in certificates {
            for name in &certificate.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut store.wildcard, suffix),
                    None => (&mut store.exact, name.as_str()),
                };
                names
                    .entry(name.into())
                    .or_default()
                    .push(Arc::clone(&certificate.key));
            }
        }
        if let Some((first, others)) = certificates.split_first() {
            let shares =
                |other: &&Loaded| other.names.iter().any(|name| first.names.contains(name));
            store.default.push(Arc::clone(&first.key));
            store.default.extend(
                others
                    .iter()
                    .filter(shares)
                    .map(|other| Arc::clone(&other.key)),
            );
        }
        store
    }

    /// The certificate for a name, for a client that can verify these signatures.
    fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let found = name.and_then(|name| self.covering(name));
        let candidates = match (found, self.unknown) {
            (Some(found), _) => found,
            (None, UnknownNames::DefaultCertificate) => &self.default,
            (None, UnknownNames::Refuse) => return None,
        };
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        // Where none fits, the library ends the handshake with the right alert.
        candidates
            .iter()
            .find(fits)
            .or_else(|| candidates.first())
            .map(Arc::clone)
    }

    fn covering(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        // The library hands names on as the client wrote them.
        let lower = name.trim_end_matches('.').to_ascii_lowercase();
        let wildcard = || {
            lower
                .split_once('.')
                .and_then(|(_, suffix)| self.wildcard.get(suffix))
        };
        self.exact.get(lower.as_str()).or_else(wildcard)
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(client_hello.server_name(), client_hello.signature_schemes())
    }
}
