//! Why did a handshake fail? From what the TLS library says to the reasons that operators count.

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::io::handshake::HandshakeError;
use crate::observe::handshake::Reason;
use crate::tls::identity::Unfit;

/// The reason of a failure.
pub fn reason(error: &HandshakeError) -> Reason {
    match error {
        HandshakeError::Lost(_) => Reason::Lost,
        HandshakeError::PlainHttp => Reason::PlainHttp,
        HandshakeError::TooLong => Reason::Protocol,
        HandshakeError::Refused(error) => refused(error),
    }
}

/// The reason why a verified certificate is of no use.
pub fn unfit(unfit: Unfit) -> Reason {
    match unfit {
        Unfit::Expired => Reason::ClientCertificateExpired,
        Unfit::Damaged | Unfit::Subject => Reason::ClientCertificateBad,
    }
}

fn refused(error: &Error) -> Reason {
    match error {
        Error::PeerIncompatible(what) => incompatible(what),
        Error::NoApplicationProtocol => Reason::NoSharedProtocol,
        Error::AlertReceived(alert) => told(*alert),
        Error::NoCertificatesPresented => Reason::ClientCertificateMissing,
        Error::InvalidCertificate(why) => certificate(why),
        // The library's one word for a name that no certificate covers; a test in `e2e` holds it to that.
        Error::General(what) if what.contains("no server certificate chain resolved") => {
            Reason::UnknownName
        }
        _ => Reason::Protocol,
    }
}

fn incompatible(what: &PeerIncompatible) -> Reason {
    match what {
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic
        | PeerIncompatible::SupportedVersionsExtensionRequired => Reason::NoSharedVersion,
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoEcPointFormatsInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::EcPointsExtensionRequired
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::KeyShareExtensionRequired
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::UncompressedEcPointsRequired => Reason::NoSharedCipher,
        _ => Reason::Protocol,
    }
}

/// What the client said (RFC 8446 section 6.2).
fn told(alert: AlertDescription) -> Reason {
    match alert {
        AlertDescription::UnknownCA => Reason::UnknownCa,
        AlertDescription::CertificateExpired => Reason::Expired,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown => Reason::BadCertificate,
        _ => Reason::ClientAlert,
    }
}

/// What is wrong with a client's certificate.
fn certificate(why: &CertificateError) -> Reason {
    match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Reason::ClientCertificateExpired,
        CertificateError::Revoked | CertificateError::UnknownRevocationStatus => {
            Reason::ClientCertificateRevoked
        }
        CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            Reason::ClientCertificateCrlExpired
        }
        CertificateError::UnknownIssuer => Reason::ClientCertificateUnknownCa,
        _ => Reason::ClientCertificateBad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_library_says_is_sorted() {
        for (error, expected) in [
            (
                Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled),
                Reason::NoSharedVersion,
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                Reason::NoSharedCipher,
            ),
            (Error::NoApplicationProtocol, Reason::NoSharedProtocol),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                Reason::UnknownCa,
            ),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                Reason::ClientAlert,
            ),
            (
                Error::NoCertificatesPresented,
                Reason::ClientCertificateMissing,
            ),
            (
                Error::InvalidCertificate(CertificateError::Revoked),
                Reason::ClientCertificateRevoked,
            ),
            (
                Error::InvalidCertificate(CertificateError::ExpiredRevocationList),
                Reason::ClientCertificateCrlExpired,
            ),
            (
                Error::InvalidCertificate(CertificateError::BadSignature),
                Reason::ClientCertificateBad,
            ),
            (Error::DecryptError, Reason::Protocol),
        ] {
            assert_eq!(
                reason(&HandshakeError::Refused(error.clone())),
                expected,
                "{error}"
            );
        }
    }
}
