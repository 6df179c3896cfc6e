//! Why does a Vault give nothing, and what is to be done about it? Pure.
//!
//! What is told stays the same as long as the trouble does: it is logged when it changes.

use rustls::CertificateError as Wrong;
use serde_json::Value;

/// Longest part of what a Vault says that is told on, characters.
const SAID_MAX: usize = 160;
/// What a listener with TLS says to whoever does not speak it.
const WITHOUT_TLS: &str = "HTTP request to an HTTPS server";

/// Why a Vault gave no answer to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nobody answers, or not in time.
    #[error("away ({0})")]
    Away(String),
    /// Somebody answers whom we do not trust, or not by TLS: what is wrong, and what to set.
    #[error("TLS: {0}")]
    Tls(String),
    /// The settings do not fit it: what is wrong, and what to set.
    #[error("{0}")]
    Settings(String),
    /// It answers, and can read nothing.
    #[error("sealed")]
    Sealed,
    /// It would send us elsewhere with our token.
    #[error(
        "a standby that passes nothing on (status {0}): is there an active one? `secret.vault_url` must \
         lead to one that answers itself"
    )]
    Elsewhere(u16),
    /// It does not know us any more.
    #[error("refuses us (status 403): its policy or our login is not what it should be")]
    Refused,
    /// It knows us, and does not let us: where.
    #[error(
        "its policy does not let our login at `{0}` (status 403): docs/services.md has the one that it needs"
    )]
    Denied(String),
    /// Another answer, and what it says about it, if anything.
    #[error("not understood (status {0}){colon}{1}", colon = if .1.is_empty() { "" } else { ": " })]
    Odd(u16, String),
}

impl From<ureq::Error> for Trouble {
    fn from(cause: ureq::Error) -> Self {
        let tls = match &cause {
            // The handshake comes to its end within the transport.
            ureq::Error::Io(cause) => cause.get_ref().and_then(|cause| cause.downcast_ref()),
            ureq::Error::Rustls(cause) => Some(cause),
            _ => None,
        };
        match tls {
            Some(cause) => Self::Tls(handshake(cause)),
            None => Self::Away(cause.to_string()),
        }
    }
}

impl Trouble {
    /// What an answer with this status and body means that is no use to us.
    pub fn of(status: u16, body: &str) -> Self {
        match status {
            300..=399 => Self::Elsewhere(status),
            403 => Self::Refused,
            503 => Self::Sealed,
            400 if body.contains(WITHOUT_TLS) => Self::Settings(
                "it speaks TLS: begin `secret.vault_url` with https:// and name its authority by \
                 `secret.vault_ca`"
                    .to_owned(),
            ),
            status => Self::Odd(status, said(body).unwrap_or_default()),
        }
    }
}

/// The first error, or else the first warning, that an answer tells.
pub fn said(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    // `error` is of `rvault`.
    let told = [&body["errors"][0], &body["warnings"][0], &body["error"]];
    let text = told.iter().find_map(|told| told.as_str())?.trim();
    let plain = |character: char| match character.is_control() {
        true => ' ',
        false => character,
    };
    let text: String = text.chars().map(plain).take(SAID_MAX).collect();
    (!text.is_empty()).then_some(text)
}

/// Why there was no handshake, and which setting mends that.
fn handshake(cause: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(wrong) = cause else {
        return match cause {
            rustls::Error::InvalidMessage(_) => {
                "it does not speak it: begin `secret.vault_url` with http:// or turn TLS on in the Vault"
                    .to_owned()
            }
            other => other.to_string(),
        };
    };
    match wrong {
        Wrong::UnknownIssuer => "the certificate it shows is of an authority that `secret.vault_ca` does not name: put the \
             certificate of the Vault's authority into that file (PEM)"
            .to_owned(),
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            format!("{wrong}: name the Vault in `secret.vault_url` as its certificate does")
        }
        // These would tell the time, and so be news each time.
        Wrong::Expired | Wrong::ExpiredContext { .. } => {
            "the certificate it shows has expired: renew it in the Vault".to_owned()
        }
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            "the certificate it shows is not valid yet: is the clock of this machine right?"
                .to_owned()
        }
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the certificate it shows is an authority's own (CA:TRUE): give the Vault one for servers, \
             issued by the authority that `secret.vault_ca` names"
                .to_owned()
        }
        other => format!("the certificate it shows is not valid: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vault_says_is_told_on() {
        for (status, body, told) in [
            (403, r#"{"errors":["permission denied"]}"#, "refuses us"),
            (503, r#"{"errors":["Vault is sealed"]}"#, "sealed"),
            (
                400,
                "Client sent an HTTP request to an HTTPS server.\n",
                "begin `secret.vault_url` with https://",
            ),
            (
                400,
                r#"{"errors":["check-and-set parameter\nrequired"]}"#,
                "not understood (status 400): check-and-set parameter required",
            ),
            (
                404,
                r#"{"warnings":["Invalid path"],"data":null}"#,
                "not understood (status 404): Invalid path",
            ),
            (
                404,
                r#"{"error":"Router mount not found."}"#,
                "not understood (status 404): Router mount",
            ),
            (500, "<html>", "not understood (status 500)"),
        ] {
            let trouble = Trouble::of(status, body).to_string();
            assert!(trouble.contains(told), "{trouble}");
        }
        let long = format!(r#"{{"errors":["{}"]}}"#, "x".repeat(1000));
        assert_eq!(said(&long).map(|text| text.len()), Some(SAID_MAX));
        for nothing in [
            r#"{"errors":[]}"#,
            r#"{"data":{"data":null},"warnings":null}"#,
            "",
        ] {
            assert_eq!(said(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_handshake_that_fails_names_the_setting_that_mends_it() {
        let tls = |cause: rustls::Error| {
            let cause = std::io::Error::new(std::io::ErrorKind::InvalidData, cause);
            Trouble::from(ureq::Error::Io(cause)).to_string()
        };
        let shown = |wrong| tls(rustls::Error::InvalidCertificate(wrong));
        let told = shown(Wrong::UnknownIssuer);
        assert!(
            told.contains("TLS: ") && told.contains("`secret.vault_ca`"),
            "{told}"
        );
        let told = shown(Wrong::NotValidForNameContext {
            expected: "vault.example.com".try_into().expect("a name"),
            presented: vec!["DnsName(\"localhost\")".to_owned()],
        });
        for part in ["vault.example.com", "localhost", "`secret.vault_url`"] {
            assert!(told.contains(part), "{told}");
        }
        let seconds = rustls::pki_types::UnixTime::now();
        let told = shown(Wrong::ExpiredContext {
            time: seconds,
            not_after: seconds,
        });
        assert_eq!(told, shown(Wrong::Expired), "no time in it");
        let wrong = rustls::InvalidMessage::InvalidContentType;
        let told = tls(rustls::Error::InvalidMessage(wrong));
        assert!(told.contains("http://"), "{told}");
        let gone = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let told = Trouble::from(ureq::Error::Io(gone)).to_string();
        assert!(told.starts_with("away ("), "{told}");
    }
}
