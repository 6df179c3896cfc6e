//! Whom does this machine trust? The authorities that come with the system, and those of a file.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Where systems keep them in one file: Debian and Ubuntu, Red Hat, Alpine and others.
const PLACES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The system's, with the name of the file. `SSL_CERT_FILE` goes before, as with OpenSSL and Go.
pub fn of_system() -> Result<(String, Vec<CertificateDer<'static>>), String> {
    if let Some(file) = std::env::var_os("SSL_CERT_FILE") {
        let path = Path::new(&file);
        return of_file(path).map(|found| (path.display().to_string(), found));
    }
    let mut places = PLACES.iter().map(Path::new);
    match places.find(|path| path.is_file()) {
        Some(path) => of_file(path).map(|found| (path.display().to_string(), found)),
        None => Err(format!(
            "this system has no file of authorities (looked at {}): install ca-certificates, or name a file",
            PLACES.join(", ")
        )),
    }
}

/// Those of a PEM file.
pub fn of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = path.display();
    let text = std::fs::read(path).map_err(|error| format!("{file}: {error}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| format!("{file} is not PEM: {error}"))?;
    if found.is_empty() {
        return Err(format!("{file} has no certificate"));
    }
    Ok(found)
}
