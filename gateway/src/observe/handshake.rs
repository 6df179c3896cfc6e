//! Why did a TLS handshake fail? The reasons, as the metric names them.

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The connection broke, or the client went away.
    Lost,
    /// It took longer than `handshake_timeout`.
    Timeout,
    /// The client speaks HTTP without TLS.
    PlainHttp,
    /// What came is no TLS, or TLS against its rules.
    Protocol,
    /// No version of TLS in common.
    NoSharedVersion,
    /// No suite, group or signature in common.
    NoSharedCipher,
    /// None of the client's protocols (ALPN) is spoken here.
    NoSharedProtocol,
    /// The name that the client asked for has no certificate here, and such are refused.
    UnknownName,
    /// The client says that it does not know the authority of our certificate.
    UnknownCa,
    /// The client says that our certificate has expired.
    Expired,
    /// The client says that it does not like our certificate for another reason.
    BadCertificate,
    /// The client ended the handshake for a reason of its own.
    ClientAlert,
    /// The client has shown no certificate and must.
    ClientCertificateMissing,
    /// The client's certificate comes from an authority that is not trusted here.
    ClientCertificateUnknownCa,
    /// The client's certificate has expired, or is not valid yet.
    ClientCertificateExpired,
    /// The client's certificate was revoked, or no list says that it was not.
    ClientCertificateRevoked,
    /// The list that says whether the client's certificate was revoked has run out.
    ClientCertificateCrlExpired,
    /// The client's certificate cannot be used for another reason.
    ClientCertificateBad,
}

impl Reason {
    /// All of them, in their order.
    pub const ALL: [Reason; 18] = [
        Reason::Lost,
        Reason::Timeout,
        Reason::PlainHttp,
        Reason::Protocol,
        Reason::NoSharedVersion,
        Reason::NoSharedCipher,
        Reason::NoSharedProtocol,
        Reason::UnknownName,
        Reason::UnknownCa,
        Reason::Expired,
        Reason::BadCertificate,
        Reason::ClientAlert,
        Reason::ClientCertificateMissing,
        Reason::ClientCertificateUnknownCa,
        Reason::ClientCertificateExpired,
        Reason::ClientCertificateRevoked,
        Reason::ClientCertificateCrlExpired,
        Reason::ClientCertificateBad,
    ];

    /// The label.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Lost => "lost",
            Reason::Timeout => "timeout",
            Reason::PlainHttp => "plain_http",
            Reason::Protocol => "protocol",
            Reason::NoSharedVersion => "no_shared_version",
            Reason::NoSharedCipher => "no_shared_cipher",
            Reason::NoSharedProtocol => "no_shared_protocol",
            Reason::UnknownName => "unknown_name",
            Reason::UnknownCa => "unknown_ca",
            Reason::Expired => "expired",
            Reason::BadCertificate => "bad_certificate",
            Reason::ClientAlert => "client_alert",
            Reason::ClientCertificateMissing => "client_certificate_missing",
            Reason::ClientCertificateUnknownCa => "client_certificate_unknown_ca",
            Reason::ClientCertificateExpired => "client_certificate_expired",
            Reason::ClientCertificateRevoked => "client_certificate_revoked",
            Reason::ClientCertificateCrlExpired => "client_certificate_crl_expired",
            Reason::ClientCertificateBad => "client_certificate_bad",
        }
    }

    /// Whether it is about the certificate of a client.
    pub fn is_client_certificate(self) -> bool {
        self as usize >= Reason::ClientCertificateMissing as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place_and_a_word_of_its_own() {
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            let same = Reason::ALL.iter().filter(|r| r.word() == reason.word());
            assert_eq!(same.count(), 1, "{}", reason.word());
        }
    }
}
