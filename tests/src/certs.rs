//! Whom do the tests trust? A CA of their own, made in memory for each gateway.
//!
//! Leaves, each as `NAME.pem` (chain) and `NAME.key`: `edge` (edge.test, localhost, 127.0.0.1),
//! `other` (other.test), `wild` (*.wild.test). `ca.pem` is what clients are given.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;

/// A CA and what it has signed.
#[derive(Clone, Debug)]
pub struct Certs {
    /// The store of a client that trusts the CA and nobody else.
    pub roots: Arc<RootCertStore>,
}

impl Certs {
    /// Makes all of them and writes them into `dir`.
    pub fn write(dir: &Path) -> Certs {
        let ca_key = KeyPair::generate().expect("a key can be made");
        let mut params = params("Portcullis test CA", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = params.self_signed(&ca_key).expect("a CA can sign itself");
        put(dir, "ca.pem", &ca.pem());
        let issuer = Issuer::new(params, ca_key);
        leaf(
            dir,
            &issuer,
            "edge",
            &["edge.test", "localhost", "127.0.0.1"],
        );
        leaf(dir, &issuer, "other", &["other.test"]);
        leaf(dir, &issuer, "wild", &["*.wild.test"]);
        let mut roots = RootCertStore::empty();
        roots
            .add(ca.der().clone())
            .expect("our own CA is well-formed");
        Certs {
            roots: Arc::new(roots),
        }
    }
}

fn leaf(dir: &Path, issuer: &Issuer<'_, KeyPair>, file: &str, names: &[&str]) {
    let key = KeyPair::generate().expect("a key can be made");
    let mut params = params(names[0], names);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let leaf = params.signed_by(&key, issuer).expect("the CA can sign");
    put(dir, &format!("{file}.pem"), &leaf.pem());
    put(dir, &format!("{file}.key"), &key.serialize_pem());
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("our own names are well-formed");
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

fn put(dir: &Path, name: &str, pem: &str) {
    std::fs::write(dir.join(name), pem).expect("a file can be written into a fresh directory");
}
