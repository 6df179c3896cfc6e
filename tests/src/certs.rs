//! Whom do the tests trust? A CA of their own, made in memory for each gateway.
//!
//! Leaves, each as `NAME.pem` (chain) and `NAME.key`: `edge` (edge.test, localhost, 127.0.0.1),
//! `other` (other.test), `wild` (*.wild.test). `ca.pem` is what clients are given. What else a test needs, it has
//! issued by [`Certs::authority`] or by an [`Authority`] of its own.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A CA and what it has signed.
#[derive(Clone, Debug)]
pub struct Certs {
    /// The store of a client that trusts the CA and nobody else.
    pub roots: Arc<RootCertStore>,
    /// The CA itself.
    pub authority: Arc<Authority>,
}

impl Certs {
    /// Makes all of them and writes them into `dir`.
    pub fn write(dir: &Path) -> Certs {
        let authority = Authority::new("Portcullis test CA");
        put(dir, "ca.pem", &authority.pem);
        for (file, names) in [
            ("edge", &["edge.test", "localhost", "127.0.0.1"][..]),
            ("other", &["other.test"]),
            ("wild", &["*.wild.test"]),
        ] {
            let leaf = authority.issue(&Leaf::server(names));
            put(dir, &format!("{file}.pem"), &leaf.chain);
            put(dir, &format!("{file}.key"), &leaf.key);
        }
        Certs {
            roots: authority.roots(),
            authority: Arc::new(authority),
        }
    }
}

/// What a certificate shall say.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'a> {
    /// Subject alternative names.
    pub names: &'a [&'a str],
    /// Common name; none by default but the first of the names.
    pub common_name: &'a str,
    /// Organization; none where empty.
    pub organization: &'a str,
    /// For clients, not for servers.
    pub client: bool,
    /// Serial number; 0 for one by chance.
    pub serial: u64,
    /// First year.
    pub from: i32,
    /// The first day on which it is not valid any more: year, month, day.
    pub until: (i32, u8, u8),
}

impl<'a> Leaf<'a> {
    /// A server's, valid for long.
    pub fn server(names: &'a [&'a str]) -> Leaf<'a> {
        Leaf {
            names,
            common_name: names.first().copied().unwrap_or_default(),
            organization: "",
            client: false,
            serial: 0,
            from: 2020,
            until: (2090, 1, 1),
        }
    }

    /// A client's, valid for long.
    pub fn client(common_name: &'a str) -> Leaf<'a> {
        Leaf {
            common_name,
            client: true,
            ..Leaf::server(&[])
        }
    }
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Issued {
    /// PEM.
    pub chain: String,
    /// PEM.
    pub key: String,
    /// The leaf.
    pub der: CertificateDer<'static>,
    pair: KeyPair,
}

impl Issued {
    /// The key, for a TLS library.
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.pair.serialize_der()).expect("our own key is well-formed")
    }
}

/// A CA.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub pem: String,
    der: CertificateDer<'static>,
}

impl Authority {
    /// A root.
    pub fn new(name: &str) -> Authority {
        let (params, key) = Authority::params(name);
        let made = params.self_signed(&key).expect("a CA can sign itself");
        Authority::of(made, params, key)
    }

    /// An intermediate one.
    pub fn below(&self, name: &str) -> Authority {
        let (params, key) = Authority::params(name);
        let made = params.signed_by(&key, &self.issuer);
        Authority::of(made.expect("a CA can sign"), params, key)
    }

    fn params(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are well-formed");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        (params, KeyPair::generate().expect("a key can be made"))
    }

    fn of(made: rcgen::Certificate, params: CertificateParams, key: KeyPair) -> Authority {
        Authority {
            pem: made.pem(),
            der: made.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Its key, PEM, for other programs that issue something in its name.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The store of somebody who trusts it and nobody else.
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let added = roots.add(self.der.clone());
        added.expect("our own CA is well-formed");
        Arc::new(roots)
    }

    /// Issues a certificate with a new key.
    pub fn issue(&self, wanted: &Leaf<'_>) -> Issued {
        let key = KeyPair::generate().expect("a key can be made");
        let names: Vec<String> = wanted.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("our own names are well-formed");
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, text) in [
            (DnType::OrganizationName, wanted.organization),
            (DnType::CommonName, wanted.common_name),
        ] {
            if !text.is_empty() {
                params.distinguished_name.push(kind, text);
            }
        }
        params.extended_key_usages = vec![if wanted.client {
            ExtendedKeyUsagePurpose::ClientAuth
        } else {
            ExtendedKeyUsagePurpose::ServerAuth
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        if wanted.serial != 0 {
            params.serial_number = Some(SerialNumber::from(wanted.serial));
        }
        let (year, month, day) = wanted.until;
        params.not_before = date_time_ymd(wanted.from, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        let made = params.signed_by(&key, &self.issuer);
        let made = made.expect("the CA can sign");
        Issued {
            chain: made.pem(),
            key: key.serialize_pem(),
            der: made.der().clone(),
            pair: key,
        }
    }

    /// A list of what it has revoked, PEM.
    pub fn revoking(&self, serials: &[u64]) -> String {
        let [begins, ends] = [2024, 2090].map(|year| date_time_ymd(year, 1, 1).unix_timestamp());
        self.revoking_within(serials, begins, ends)
    }

    /// A list of what it has revoked that counts from the one to the other, seconds since 1970; PEM.
    pub fn revoking_within(&self, serials: &[u64], begins: i64, ends: i64) -> String {
        let at = |unix: i64| {
            let since = std::time::Duration::from_secs(unix.unsigned_abs());
            date_time_ymd(1970, 1, 1) + since
        };
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: at(begins),
            next_update: at(ends),
            crl_number: SerialNumber::from(serials.len() as u64 + 1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a CA can sign");
        list.pem().expect("a list can be written as PEM")
    }
}

fn put(dir: &Path, name: &str, pem: &str) {
    std::fs::write(dir.join(name), pem).expect("a file can be written into a fresh directory");
}
