//! Will clients take this certificate?
//!
//! Reads a PEM chain and its key and tells everything that would make agents refuse it, before a
//! listener shows it to anybody. It does not check trust: which authorities a client knows is not
//! known here.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::ocsp;
use super::time::{days_until, unix};
use crate::config::model::{Certificate, Place};
use crate::config::problem::Problem;

/// Largest PEM file that is read.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Most certificates of a chain.
const CHAIN_MAX: usize = 16;
/// From this long before its end a certificate is warned of.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A certificate that can be shown.
#[derive(Debug)]
pub struct Loaded {
    /// Chain and key, which belong together.
    pub key: Arc<CertifiedKey>,
    /// The names it covers, in lower case; `*.` in front for wildcards.
    pub names: Vec<String>,
    /// When the first certificate of the chain ends, seconds since 1970.
    pub expires: i64,
    /// When what the authority says of it (OCSP) ends, if that is shown, seconds since 1970.
    pub stapled_until: Option<i64>,
    /// What is not right but does not stop it.
    pub warnings: Vec<Problem>,
}

/// Reads a certificate and its key from the files that the configuration names. Every problem stands
/// at the certificate's place.
pub fn load(
    certificate: &Certificate,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<Loaded, Vec<Problem>> {
    let place = certificate.place;
    let chain_text =
        read(&certificate.chain, place, FILE_BYTES_MAX).map_err(|problem| vec![problem])?;
    let key_text = if certificate.key == certificate.chain {
        None
    } else {
        let text = read(&certificate.key, place, FILE_BYTES_MAX);
        Some(text.map_err(|problem| vec![problem])?)
    };
    let texts = Texts {
        place,
        ocsp: certificate.ocsp.as_deref(),
        chain: (&certificate.chain, &chain_text),
        key: (&certificate.key, key_text.as_deref().unwrap_or(&chain_text)),
    };
    texts.check(provider, now)
}

/// A file of at most `bytes_max` bytes.
pub(super) fn read(path: &Path, place: Place, bytes_max: u64) -> Result<Vec<u8>, Problem> {
    let unreadable = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound if path.is_relative() => {
                "relative paths count from the directory the gateway is started in"
            }
            std::io::ErrorKind::PermissionDenied => "let the user the gateway runs as read it",
            _ => "name a PEM file",
        };
        Problem::error(place, format!("cannot read {}: {error}", path.display())).hint(hint)
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        let what = format!("{} is larger than {bytes_max} bytes", path.display());
        return Err(Problem::error(place, what).hint("name a PEM file with one chain"));
    }
    Ok(bytes)
}

/// What is wrong with the text of a PEM file.
pub(super) fn not_pem(path: &Path, place: Place, error: &pem::Error) -> Problem {
    let path = path.display();
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => format!("{path} ends in the midst of a PEM block"),
        error => format!("{path} is not PEM: {error}"),
    };
    Problem::error(place, what).hint("look for a line that was cut or pasted twice")
}

/// The certificates of a PEM file, at most 16.
pub fn chain_of(path: &Path, place: Place) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let text = read(path, place, FILE_BYTES_MAX)?;
    chain_in(path, &text, place)
}

fn chain_in(
    path: &Path,
    text: &[u8],
    place: Place,
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let file = path.display();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text)
        .take(CHAIN_MAX + 1)
        .collect();
    let chain = chain.map_err(|error| not_pem(path, place, &error))?;
    if chain.is_empty() {
        let hint = "it needs a block that begins with `-----BEGIN CERTIFICATE-----`; a DER file is turned into one by `openssl x509 -inform der`";
        return Err(Problem::error(place, format!("{file} has no certificate")).hint(hint));
    }
    if chain.len() > CHAIN_MAX {
        let what = format!("{file} has more than {CHAIN_MAX} certificates");
        let hint = "put in the leaf and its intermediates only, no bundle of authorities";
        return Err(Problem::error(place, what).hint(hint));
    }
    Ok(chain)
}

/// What was read, with the names of the files for messages.
struct Texts<'t> {
    place: Place,
    ocsp: Option<&'t Path>,
    chain: (&'t Path, &'t [u8]),
    key: (&'t Path, &'t [u8]),
}

impl Texts<'_> {
    fn error(&self, what: String, hint: &str) -> Problem {
        Problem::error(self.place, what).hint(hint)
    }

    fn check(&self, provider: &CryptoProvider, now: SystemTime) -> Result<Loaded, Vec<Problem>> {
        // Both files are looked at before giving up, so that both are mended in one go.
        let (chain, key) = match (self.read_chain(), self.read_key(provider)) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
        };
        let parsed = self.parse(&chain).map_err(|problem| vec![problem])?;
        let leaf = &parsed[0];
        let mut problems = Vec::new();
        let mut shown = CertifiedKey::new(chain.clone(), Arc::clone(&key));
        if shown.keys_match().is_err() {
            problems.push(self.not_its_key(&chain, &key));
        } else {
            problems.extend(self.out_of_order(&parsed));
        }
        let mut warnings = Vec::new();
        for (at, certificate) in parsed.iter().enumerate() {
            match self.validity(certificate, at, now) {
                Some(problem) if problem.severity == crate::config::problem::Severity::Error => {
                    problems.push(problem)
                }
                problem => warnings.extend(problem),
            }
        }
        let mut stapled_until = None;
        match self
            .ocsp
            .map(|path| ocsp::load(path, self.place, leaf, unix(now)))
        {
            None => {}
            Some(Ok(staple)) => {
                stapled_until = staple.until;
                shown.ocsp = Some(staple.der);
            }
            Some(Err(doubt)) if doubt.severity == crate::config::problem::Severity::Warning => {
                warnings.push(doubt);
            }
            Some(Err(wrong)) => problems.push(wrong),
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let (names, from_san) = names(leaf);
        if !from_san {
            let what = format!("{} has no subject alternative name", self.chain.0.display());
            warnings.push(
                Problem::warning(self.place, what)
                    .hint("most clients look at nothing else: issue it again with its DNS names"),
            );
        }
        let ends = parsed
            .iter()
            .map(|each| each.validity().not_after.timestamp());
        Ok(Loaded {
            key: Arc::new(shown),
            names,
            expires: ends.min().unwrap_or(i64::MAX),
            stapled_until,
            warnings,
        })
    }

    fn read_chain(&self) -> Result<Vec<CertificateDer<'static>>, Problem> {
        chain_in(self.chain.0, self.chain.1, self.place)
    }

    fn read_key(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Arc<dyn rustls::sign::SigningKey>, Problem> {
        let (path, text) = (self.key.0.display(), self.key.1);
        let der = match PrivateKeyDer::pem_slice_iter(text).next() {
            Some(Ok(der)) => der,
            Some(Err(error)) => {
                return Err(not_pem(self.key.0, self.place, &error));
            }
            None => {
                let hint = if memchr::memmem::find(text, b"ENCRYPTED").is_some() {
                    "the key is encrypted: `openssl pkey` takes the passphrase off"
                } else {
                    "append the key to the file, or name it: `{ chain: FILE, key: FILE }`"
                };
                return Err(self.error(format!("{path} has no private key"), hint));
            }
        };
        provider
            .key_provider
            .load_private_key(der)
            .map_err(|error| {
                self.error(
                    format!("the key in {path} cannot be used: {error}"),
                    "RSA from 2048 bits, ECDSA P-256, P-384, P-521 and Ed25519 can be",
                )
            })
    }

    fn parse<'c>(
        &self,
        chain: &'c [CertificateDer<'static>],
    ) -> Result<Vec<X509Certificate<'c>>, Problem> {
        let parse = |(at, der): (usize, &'c CertificateDer<'static>)| {
            let parsed = X509Certificate::from_der(der).map(|(_, certificate)| certificate);
            parsed.map_err(|error| {
                self.error(
                    format!(
                        "certificate {} of {} is damaged: {error}",
                        at + 1,
                        self.chain.0.display()
                    ),
                    "fetch it again from the authority",
                )
            })
        };
        chain.iter().enumerate().map(parse).collect()
    }

    fn not_its_key(
        &self,
        chain: &[CertificateDer<'static>],
        key: &Arc<dyn rustls::sign::SigningKey>,
    ) -> Problem {
        let fits = |der: &CertificateDer<'static>| {
            CertifiedKey::new(vec![der.clone()], Arc::clone(key))
                .keys_match()
                .is_ok()
        };
        let (path, key) = (self.chain.0.display(), self.key.0.display());
        match chain.iter().position(fits) {
            Some(at) => {
                let what = format!(
                    "the key belongs to certificate {} of {path}, which must stand first",
                    at + 1
                );
                self.error(
                    what,
                    "order: the leaf, then the certificate that issued it, and so on",
                )
            }
            None => self.error(
                format!("the key in {key} does not belong to the certificate in {path}"),
                "they were made at different times: fetch the matching pair",
            ),
        }
    }

    /// Each certificate must be issued by the next (RFC 5246 section 7.4.2; clients of 1.3 are laxer,
    /// but not all).
    fn out_of_order(&self, chain: &[X509Certificate<'_>]) -> Option<Problem> {
        let broken = chain
            .windows(2)
            .position(|pair| pair[0].issuer().as_raw() != pair[1].subject().as_raw())?;
        let (issued, next) = (broken + 1, broken + 2);
        let what = format!(
            "certificate {next} of {} did not issue certificate {issued}",
            self.chain.0.display()
        );
        Some(self.error(what, "order: the leaf, then the certificate that issued it, and so on; leave out what does not belong to it"))
    }

    fn validity(
        &self,
        certificate: &X509Certificate<'_>,
        at: usize,
        now: SystemTime,
    ) -> Option<Problem> {
        let now = unix(now);
        let validity = certificate.validity();
        let which = match at {
            0 => format!("the certificate in {}", self.chain.0.display()),
            at => format!("certificate {} of {}", at + 1, self.chain.0.display()),
        };
        let (from, until) = (validity.not_before, validity.not_after);
        if now < from.timestamp() {
            return Some(self.error(
                format!("{which} is not valid before {from}"),
                "look at this machine's clock, or wait",
            ));
        }
        if now > until.timestamp() {
            return Some(self.error(format!("{which} expired on {until}"), "renew it"));
        }
        let soon = i64::try_from(EXPIRES_SOON.as_secs()).unwrap_or(i64::MAX);
        let days = days_until(until.timestamp(), now);
        (until.timestamp() - now < soon).then(|| {
            Problem::warning(
                self.place,
                format!("{which} expires in {days} days, on {until}"),
            )
            .hint("renew it")
        })
    }
}

/// The DNS names of a leaf, and whether they come from its subject alternative names. Without any, its
/// common name is taken, as old clients do.
fn names(leaf: &X509Certificate<'_>) -> (Vec<String>, bool) {
    let san = leaf
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|extension| &extension.value.general_names);
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.trim_end_matches('.').to_ascii_lowercase()),
        _ => None,
    };
    match san {
        Some(names) if !names.is_empty() => (names.iter().filter_map(dns).collect(), true),
        _ => {
            let common = leaf
                .subject()
                .iter_common_name()
                .filter_map(|name| name.as_str().ok());
            (
                common
                    .map(|name| name.trim_end_matches('.').to_ascii_lowercase())
                    .collect(),
                false,
            )
        }
    }
}
