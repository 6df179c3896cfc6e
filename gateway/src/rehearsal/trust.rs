//! Does the chain lead to somebody the client knows?

use std::path::Path;
use std::time::SystemTime;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::chain::Facts;
use super::clients::Objection;
use crate::config::model::Place;
use crate::tls::identity::distinguished;
use crate::tls::load::chain_of;
use crate::tls::roots;

/// The rule that everybody keeps.
const PATH: &str = "RFC 5280 section 6";

/// The authorities that clients know.
pub(super) struct Roots {
    /// Where they come from.
    pub file: String,
    store: RootCertStore,
    subjects: Vec<String>,
    /// They are the system's.
    public: bool,
}

/// Where a chain ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At an authority that the client knows.
    Known(String),
    /// At once.
    SelfSigned,
    /// At a root that the client does not know.
    UnknownRoot(String),
    /// Nowhere.
    Missing { issuer: String, url: Option<String> },
}

/// The certificates of a PEM file.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    chain_of(path, Place::default()).map_err(|problem| match problem.hint {
        Some(hint) => format!("{}; {hint}", problem.what),
        None => problem.what,
    })
}

impl Roots {
    pub(super) fn load(ca: Option<&Path>) -> Result<Roots, String> {
        let (file, ders) = match ca {
            Some(path) => (path.display().to_string(), roots::of_file(path)?),
            None => roots::of_system()?,
        };
        let mut store = RootCertStore::empty();
        let mut subjects = Vec::new();
        for der in ders {
            if let Ok((_, parsed)) = X509Certificate::from_der(&der) {
                subjects.push(distinguished(parsed.subject()));
            }
            // What the system has and the library does not know cannot be an end.
            let _ = store.add(der);
        }
        Ok(Roots {
            file,
            store,
            subjects,
            public: ca.is_none(),
        })
    }

    /// Where the chain ends, by the names in it.
    pub(super) fn end(&self, chain: &[Facts]) -> End {
        let known = |name: &String| self.subjects.contains(name);
        let mut at = &chain[0];
        // At most as many steps as there are certificates.
        for _ in chain {
            if known(&at.subject) && at.self_signed {
                return End::Known(at.subject.clone());
            }
            if known(&at.issuer) {
                return End::Known(at.issuer.clone());
            }
            if at.self_signed {
                break;
            }
            match chain.iter().find(|next| next.subject == at.issuer) {
                Some(next) => at = next,
                None => {
                    return End::Missing {
                        issuer: at.issuer.clone(),
                        url: at.issuer_url.clone(),
                    };
                }
            }
        }
        if at.subject == chain[0].subject {
            End::SelfSigned
        } else {
            End::UnknownRoot(at.subject.clone())
        }
    }

    /// Whether it is an authority that came with the system.
    pub(super) fn is_public(&self, end: &End) -> bool {
        self.public && matches!(end, End::Known(_))
    }

    /// Verifies the chain as the gateway's own library does.
    pub(super) fn verify(
        &self,
        ders: &[CertificateDer<'static>],
        chain: &[Facts],
        end: &End,
        now: SystemTime,
    ) -> Result<(), Objection> {
        let objection = |what: String| Objection { what, rule: PATH };
        let since = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let parsed = ParsedCertificate::try_from(&ders[0]);
        let verified = parsed.and_then(|leaf| {
            verify_server_cert_signed_by_trust_anchor(
                &leaf,
                &self.store,
                &ders[1..],
                UnixTime::since_unix_epoch(since),
                aws_lc_rs::default_provider()
                    .signature_verification_algorithms
                    .all,
            )
        });
        let Err(error) = verified else {
            return Ok(());
        };
        let expired = chain.iter().find(|each| each.days_left < 0);
        Err(objection(match (&error, end) {
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), End::Missing { issuer, .. }) => {
                format!("the certificate of `{issuer}` is missing: append it to the file, or name it with --ca if it is a root that clients have")
            }
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), End::UnknownRoot(name)) => {
                format!("nobody knows the root `{name}`: name its file with --ca if clients have it")
            }
            (_, End::SelfSigned) => {
                "it is signed by nobody but itself: make an authority of your own and issue it by that".to_owned()
            }
            _ if expired.is_some() => {
                let name = expired.map_or("", |expired| &expired.subject);
                format!("`{name}` has expired")
            }
            _ if chain[0].authority => {
                let name = &chain[0].subject;
                format!("`{name}` stands first and is an authority (CA:TRUE): the server's own must, then those that issued it")
            }
            (Error::InvalidCertificate(why), _) => format!("the chain does not verify: {why}"),
            (error, _) => format!("the chain does not verify: {error}"),
        }))
    }
}
