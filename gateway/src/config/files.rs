//! Which files does a configuration name? For whoever has to keep them within reach.

use std::path::PathBuf;

use super::model::{Action, AdminToken, Config};

/// Every file that is read when the configuration is taken over.
pub fn files(config: &Config) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for tls in config.listeners.iter().filter_map(|it| it.tls.as_ref()) {
        for certificate in &tls.certificates {
            files.extend([certificate.chain.clone(), certificate.key.clone()]);
            files.extend(certificate.ocsp.clone());
        }
        if let Some(clients) = &tls.client_certificates {
            files.push(clients.ca.clone());
            files.extend(clients.crls.iter().cloned());
        }
    }
    for tls in config.pools.iter().filter_map(|pool| pool.tls.as_ref()) {
        files.extend(tls.ca.clone());
        if let Some((chain, key)) = &tls.client_certificate {
            files.extend([chain.clone(), key.clone()]);
        }
    }
    for route in &config.routes {
        if let Action::Respond(fixed) = &route.action {
            files.extend(fixed.body.file.clone());
        }
    }
    let token = config.admin.as_ref().and_then(|admin| admin.token.as_ref());
    if let Some(AdminToken::File(file, _)) = token {
        files.push(file.clone());
    }
    files
}
