//! How is TLS spoken to workers?
//!
//! Ties authorities, a certificate of the gateway's own, versions and ALPN into the settings of the TLS library, once per
//! pool. Sessions are resumed. Does not: connect.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::digest;
use super::load::load;
use super::roots;
use super::server::versions;
use super::trust::authorities;
use crate::config::model::{Certificate, WorkerProtocol, WorkerTls};
use crate::config::problem::Problem;
use crate::io::secure::Secure;

/// Sessions that are remembered per pool.
const SESSIONS_MAX: usize = 1024;

/// Reads what a pool names, or tells what is wrong with it. What is the same as `before` stays that, with its sessions.
pub fn to_workers(
    tls: &WorkerTls,
    protocol: WorkerProtocol,
    now: SystemTime,
    before: Option<&Arc<Secure>>,
) -> Result<(Arc<Secure>, Vec<Problem>), Vec<Problem>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let place = tls.place.0;
    let failed = |what: String| vec![Problem::error(place, what)];
    let mut warnings = Vec::new();
    let name = match tls.name.clone().map(ServerName::try_from) {
        None => None,
        Some(Ok(name)) => Some(name),
        Some(Err(_)) => return Err(failed("`name` is no name of a host".to_owned())),
    };
    let trusted = match (tls.verify, &tls.ca) {
        (false, _) => Vec::new(),
        (true, Some(ca)) => authorities(ca, place).map_err(|problem| vec![problem])?,
        (true, None) => {
            let system = roots::of_system().map_err(|what| {
                vec![
                    Problem::error(place, what)
                        .hint("or name the authority of the workers: `ca: FILE`"),
                ]
            })?;
            system.1
        }
    };
    let mut own_ends = None;
    let own = match &tls.client_certificate {
        None => None,
        Some((chain, key)) => {
            let own = Certificate {
                chain: chain.clone(),
                key: key.clone(),
                ocsp: None,
                place,
            };
            let mut loaded = load(&own, &provider, now)?;
            // Nobody asks a client's certificate for DNS names.
            loaded
                .warnings
                .retain(|warning| !warning.what.contains("subject alternative name"));
            warnings.append(&mut loaded.warnings);
            own_ends = Some(loaded.expires);
            Some(loaded.key)
        }
    };
    let id = identity(tls, protocol, &trusted, own.as_deref());
    if let Some(before) = before.filter(|before| before.id == id) {
        return Ok((before.clone(), warnings));
    }
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(tls.min_version))
        .map_err(|error| failed(format!("TLS cannot be set up: {error}")))?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier(tls, &trusted, &provider).map_err(failed)?);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let own = SingleCertAndKey::from((*own).clone());
            builder.with_client_cert_resolver(Arc::new(own))
        }
    };
    let h2 = protocol == WorkerProtocol::H2c;
    config.alpn_protocols = vec![if h2 {
        b"h2".to_vec()
    } else {
        b"http/1.1".to_vec()
    }];
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    let made = Secure {
        id,
        config: Arc::new(config),
        own_ends,
        h2,
        name,
    };
    Ok((Arc::new(made), warnings))
}

/// Never 0.
fn identity(
    tls: &WorkerTls,
    protocol: WorkerProtocol,
    trusted: &[CertificateDer<'static>],
    own: Option<&rustls::sign::CertifiedKey>,
) -> u64 {
    let words = format!(
        "{:?} {:?} {:?} {protocol:?}",
        tls.name, tls.verify, tls.min_version
    );
    let own = own.map_or(&[][..], |own| &own.cert);
    let parts = [words.as_bytes()]
        .into_iter()
        .chain(trusted.iter().map(|der| der.as_ref()))
        .chain([&b"own"[..]])
        .chain(own.iter().map(|der| der.as_ref()));
    let digest = digest::of_parts(parts);
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(id) | 1
}

fn verifier(
    tls: &WorkerTls,
    trusted: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if !tls.verify {
        let algorithms = provider.signature_verification_algorithms;
        return Ok(Arc::new(Anybody(algorithms)));
    }
    let mut roots = RootCertStore::empty();
    for der in trusted {
        let added = roots.add(der.clone());
        // Of the system's, those that the library does not know are left out.
        if let (Err(error), Some(ca)) = (added, &tls.ca) {
            return Err(format!(
                "an authority in {} cannot be used: {error}",
                ca.display()
            ));
        }
    }
    let built =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    built
        .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
        .map_err(|error| format!("workers cannot be verified: {error}"))
}

/// `verify: off`: whoever answers is taken for the worker. That it has the key it shows is still checked.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Everything that is wrong with the TLS of a configuration's pools, without setting anything up.
pub fn check(tls: &WorkerTls, protocol: WorkerProtocol, now: SystemTime) -> Vec<Problem> {
    match to_workers(tls, protocol, now, None) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    }
}
