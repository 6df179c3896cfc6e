//! What is in a bundle? The facts of each certificate that clients ask about.

use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use serde::Serialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::objects::{oid_registry, oid2sn};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use crate::tls::digest::{hex, sha256};
use crate::tls::identity::distinguished;
use crate::tls::time::{days_until, unix};

/// What one certificate says.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Whose it is (RFC 4514).
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Subject alternative names: DNS names and addresses.
    pub names: Vec<String>,
    /// Common name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,
    /// Valid from.
    pub from: String,
    /// Valid until.
    pub until: String,
    /// Whole days until then.
    pub days_left: i64,
    /// Whole days from the one to the other.
    pub days: i64,
    /// Kind and size of the key.
    pub key: KeyKind,
    /// How it was signed.
    pub signature: String,
    /// It may issue certificates.
    pub authority: bool,
    /// Its subject and issuer are the same.
    pub self_signed: bool,
    /// Whether it may be a server's; absent where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_auth: Option<bool>,
    /// SHA-256.
    pub fingerprint: String,
    /// Where the issuer's certificate can be fetched.
    #[serde(skip)]
    pub issuer_url: Option<String>,
}

/// Kinds of keys, with their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// RSA.
    Rsa(usize),
    /// ECDSA, by the size of its curve.
    Ecdsa(usize),
    /// Ed25519.
    Ed25519,
    /// Anything else.
    Other,
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyKind::Rsa(bits) => write!(f, "RSA {bits}"),
            KeyKind::Ecdsa(bits) => write!(f, "ECDSA P-{bits}"),
            KeyKind::Ed25519 => write!(f, "Ed25519"),
            KeyKind::Other => write!(f, "of an unknown kind"),
        }
    }
}

impl Facts {
    /// The name that clients are taken to ask for where nobody says: the first.
    pub fn asked_name(&self) -> String {
        let first = self.names.first().or(self.common_name.as_ref());
        first.map_or_else(String::new, |name| name.replacen("*.", "any.", 1))
    }

    /// Signed with a digest for which collisions are known.
    pub fn is_weakly_signed(&self) -> bool {
        let signature = self.signature.to_ascii_lowercase();
        signature.contains("sha1") || signature.contains("md5")
    }
}

/// The facts of a whole chain.
pub fn facts(
    chain: &[CertificateDer<'static>],
    path: &Path,
    now: SystemTime,
) -> Result<Vec<Facts>, String> {
    let read = |(at, der): (usize, &CertificateDer<'static>)| {
        let parsed = X509Certificate::from_der(der).map_err(|error| {
            format!(
                "certificate {} of {} is damaged: {error}",
                at + 1,
                path.display()
            )
        });
        parsed.map(|(_, parsed)| of(&parsed, der, unix(now)))
    };
    chain.iter().enumerate().map(read).collect()
}

/// The first certificate that the next one did not issue.
pub fn out_of_order(chain: &[Facts]) -> Option<usize> {
    chain
        .windows(2)
        .position(|pair| pair[0].issuer != pair[1].subject)
}

fn of(parsed: &X509Certificate<'_>, der: &[u8], now: i64) -> Facts {
    let validity = parsed.validity();
    let (from, until) = (validity.not_before, validity.not_after);
    let algorithm = &parsed.signature_algorithm.algorithm;
    let usage = parsed.extended_key_usage().ok().flatten();
    let constraints = parsed.basic_constraints().ok().flatten();
    let common_name = parsed.subject().iter_common_name().last();
    Facts {
        subject: distinguished(parsed.subject()),
        issuer: distinguished(parsed.issuer()),
        names: names(parsed),
        common_name: common_name
            .and_then(|name| name.as_str().ok())
            .map(str::to_owned),
        from: from.to_string(),
        until: until.to_string(),
        days_left: days_until(until.timestamp(), now),
        days: days_until(until.timestamp(), from.timestamp()),
        key: key(parsed),
        signature: oid2sn(algorithm, oid_registry())
            .map_or_else(|_| algorithm.to_id_string(), str::to_owned),
        authority: constraints.is_some_and(|found| found.value.ca),
        self_signed: parsed.subject().as_raw() == parsed.issuer().as_raw(),
        server_auth: usage.map(|usage| usage.value.server_auth || usage.value.any),
        fingerprint: hex(&sha256(der)),
        issuer_url: issuer_url(parsed),
    }
}

fn names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let san = parsed.subject_alternative_name().ok().flatten();
    let all = san.map(|san| &san.value.general_names);
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
            _ => {
                let bytes: Option<[u8; 16]> = (*bytes).try_into().ok();
                bytes.map(|bytes| IpAddr::from(bytes).to_string())
            }
        },
        _ => None,
    };
    all.into_iter().flatten().filter_map(name).collect()
}

fn key(parsed: &X509Certificate<'_>) -> KeyKind {
    const ED25519: &str = "1.3.101.112";
    if parsed.public_key().algorithm.algorithm.to_id_string() == ED25519 {
        return KeyKind::Ed25519;
    }
    match parsed.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) => KeyKind::Rsa(rsa.key_size()),
        // A point is told in whole bytes, which are more than 521 bits.
        Ok(PublicKey::EC(point)) => KeyKind::Ecdsa(point.key_size().min(521)),
        _ => KeyKind::Other,
    }
}

/// Authority information access, caIssuers (RFC 5280 section 4.2.2.1).
fn issuer_url(parsed: &X509Certificate<'_>) -> Option<String> {
    const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";
    parsed.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else {
            return None;
        };
        access.accessdescs.iter().find_map(|place| {
            match (&place.access_location, place.access_method.to_id_string()) {
                (GeneralName::URI(url), method) if method == CA_ISSUERS => Some((*url).to_owned()),
                _ => None,
            }
        })
    })
}
