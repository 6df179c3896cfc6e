//! Which files does a configuration name? For whoever has to keep them within reach.

use std::path::PathBuf;

use super::model::{Action, AdminToken, Config};

/// Every file that is read when the configuration is taken over, and every folder that is served.
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
    let of_pools = config.pools.iter().filter_map(|pool| pool.tls.as_ref());
    let of_checks = config.dependencies.iter().filter_map(|it| it.tls.as_ref());
    for tls in of_pools.chain(of_checks) {
        files.extend(tls.ca.clone());
        if let Some((chain, key)) = &tls.client_certificate {
            files.extend([chain.clone(), key.clone()]);
        }
    }
    for route in &config.routes {
        match &route.action {
            Action::Respond(fixed) => files.extend(fixed.body.file.clone()),
            Action::Static(folder) => files.push(folder.root.clone()),
            Action::Forward(_) | Action::Deny(_) | Action::Redirect(_) => {}
        }
    }
    let of_routes = config.routes.iter().map(|route| &route.errors);
    let of_listeners = config.listeners.iter().map(|listener| &listener.errors);
    for pages in of_routes
        .chain(of_listeners)
        .chain([&config.errors])
        .flatten()
    {
        let contents = pages
            .0
            .iter()
            .flat_map(|page| [&page.html, &page.json, &page.text]);
        files.extend(
            contents
                .flatten()
                .filter_map(|content| content.file.clone()),
        );
    }
    let token = config.admin.as_ref().and_then(|admin| admin.token.as_ref());
    if let Some(AdminToken::File(file, _)) = token {
        files.push(file.clone());
    }
    files
}
