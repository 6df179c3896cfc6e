//! Who is this client? What its certificate says, in the words that workers and the access log get.
//!
//! Promises: no byte of a certificate breaks out of a header field or a log line; two subjects never look the same. Does
//! not: verify (the TLS library has done that).

use std::fmt::Write as _;

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::digest::{hex, sha256};

/// Longest subject that is told, bytes. A longer one is not cut, because then it could be somebody else's.
const SUBJECT_MAX: usize = 2048;

/// A client that has shown a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The subject's distinguished name (RFC 4514), in printable ASCII.
    pub subject: String,
    /// SHA-256 of the certificate in lower-case hexadecimal.
    pub fingerprint: String,
}

/// Why a verified certificate is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has ended since its session began.
    #[error("the certificate has expired")]
    Expired,
    /// It cannot be read.
    #[error("the certificate is damaged")]
    Damaged,
    /// Its subject is too long.
    #[error("the certificate's subject is longer than {SUBJECT_MAX} bytes")]
    Subject,
}

/// Reads a certificate. `now` is in seconds since 1970: a session that is resumed does not verify again.
pub fn read(der: &[u8], now: i64) -> Result<Identity, Unfit> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|_| Unfit::Damaged)?;
    if now > parsed.validity().not_after.timestamp() {
        return Err(Unfit::Expired);
    }
    let subject = distinguished(parsed.subject());
    if subject.len() > SUBJECT_MAX {
        return Err(Unfit::Subject);
    }
    Ok(Identity {
        subject,
        fingerprint: hex(&sha256(der)),
    })
}

/// RFC 4514: the last part first, `,` between parts and `+` within one.
pub fn distinguished(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for part in parts.into_iter().rev() {
        if !out.is_empty() {
            out.push(',');
        }
        for (at, attribute) in part.iter().enumerate() {
            if at > 0 {
                out.push('+');
            }
            match oid2abbrev(attribute.attr_type(), oid_registry()) {
                Ok(short) => out.push_str(short),
                Err(_) => out.push_str(&attribute.attr_type().to_id_string()),
            }
            out.push('=');
            value(&mut out, attribute.attr_value());
        }
        if out.len() > SUBJECT_MAX {
            break;
        }
    }
    out
}

/// RFC 4514 section 2.4; bytes that are not printable ASCII are always told in hexadecimal.
fn value(out: &mut String, value: &Any<'_>) {
    let Ok(text) = value.as_any_str() else {
        // Section 2.4 again: what is no text is `#` and its encoding.
        out.push('#');
        out.push_str(&hex(value.data));
        return;
    };
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' ' | b'#' if at == 0 || (at == last && byte == b' ') => {
                out.push('\\');
                out.push(char::from(byte));
            }
            0x20..=0x7e => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
}
