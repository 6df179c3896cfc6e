//! Which certificates, and how strictly?
//!
//! Reads `tls:`. The files are opened later, in `tls::load`.

use rustls_pki_types::ServerName;

use super::path;
use crate::config::model::{
    Certificate, ClientCertificates, Tls, TlsVersion, UnknownNames, WorkerTls,
};
use crate::config::read::{Field, Reader};
use crate::config::tree::Value;

/// `{ certificates: , unknown_names: , min_version: , watch: , client_certificates: }`.
pub(super) fn tls(field: &Field<'_>, reader: &mut Reader) -> Option<Tls> {
    let mut keys = reader.keys(field, "`{ certificates: [FILE] }`")?;
    let certificates = keys.need(reader, "certificates");
    let mut tls = Tls {
        certificates: Vec::new(),
        unknown_names: UnknownNames::DefaultCertificate,
        min_version: TlsVersion::Tls12,
        watch: true,
        client_certificates: None,
    };
    let names = [
        ("default", UnknownNames::DefaultCertificate),
        ("refuse", UnknownNames::Refuse),
    ];
    keys.set(reader, "unknown_names", &mut tls.unknown_names, |r, f| {
        r.word(f, &names)
    });
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    keys.set(reader, "min_version", &mut tls.min_version, |r, f| {
        r.word(f, &versions)
    });
    keys.set(reader, "watch", &mut tls.watch, |r, f| {
        r.word(f, &[("off", false), ("on", true)])
    });
    keys.set(
        reader,
        "client_certificates",
        &mut tls.client_certificates,
        client_certificates,
    );
    keys.done(reader);
    let certificates = certificates?;
    let items = reader.list(&certificates);
    if items.is_empty() && matches!(&certificates.node.value, Value::List(_)) {
        reader.error(
            certificates.key,
            format!("`{}` is empty", certificates.path),
            "name at least one PEM file with a certificate and its key",
        );
        return None;
    }
    tls.certificates = items
        .iter()
        .filter_map(|item| certificate(item, At::Listener, reader))
        .collect();
    Some(tls)
}

/// `off`, or `{ mode: , ca: , crl: , expired_crl: }`.
fn client_certificates(
    reader: &mut Reader,
    field: &Field<'_>,
) -> Option<Option<ClientCertificates>> {
    if let Value::Text(text) = &field.node.value
        && text.trim() == "off"
    {
        return Some(None);
    }
    let mut keys = reader.keys(field, "`off` or `{ mode: required, ca: FILE }`")?;
    let modes = [
        ("off", None),
        ("optional", Some(false)),
        ("required", Some(true)),
    ];
    let mode = keys.need(reader, "mode");
    let mode = mode.and_then(|field| reader.word(&field, &modes));
    let ca = keys.take("ca");
    let mut crls = Vec::new();
    if let Some(field) = keys.take("crl") {
        for file in reader.list(&field) {
            crls.extend(path(reader, &file));
        }
    }
    let expired = [("refuse", false), ("accept", true)];
    let expired_crl = keys
        .take("expired_crl")
        .map_or(Some(false), |field| reader.word(&field, &expired));
    keys.done(reader);
    let Some(required) = mode? else {
        return Some(None);
    };
    let Some(ca) = ca else {
        reader.error(
            field.key,
            format!("`{}` does not say whom to trust", field.path),
            "add `ca: FILE`, a PEM file with the authorities that issue the clients' certificates",
        );
        return None;
    };
    Some(Some(ClientCertificates {
        required,
        place: ca.node.place,
        ca: path(reader, &ca)?,
        crls,
        expired_crl: expired_crl?,
    }))
}

/// Who shows a certificate: only a server has a response of OCSP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Listener,
    Pool,
}

/// A path, or `{ chain: , key: , ocsp: }`.
fn certificate(field: &Field<'_>, at: At, reader: &mut Reader) -> Option<Certificate> {
    let place = field.node.place;
    if matches!(&field.node.value, Value::Map(_)) {
        let mut keys = reader.keys(field, "`{ chain: FILE, key: FILE }`")?;
        let chain = keys
            .need(reader, "chain")
            .and_then(|field| path(reader, &field).map(|path| (path, field.node.place)));
        let key = keys
            .need(reader, "key")
            .and_then(|field| path(reader, &field));
        let mut ocsp = None;
        if at == At::Listener {
            keys.set(reader, "ocsp", &mut ocsp, |r, f| path(r, f).map(Some));
        }
        keys.done(reader);
        let (chain, place) = chain?;
        return Some(Certificate {
            chain,
            key: key?,
            ocsp,
            place,
        });
    }
    let chain = path(reader, field)?;
    Some(Certificate {
        key: chain.clone(),
        chain,
        ocsp: None,
        place,
    })
}

/// `off`, `on`, or the keys of TLS towards workers.
pub(super) fn worker_tls(field: &Field<'_>, reader: &mut Reader) -> Option<Option<WorkerTls>> {
    let mut tls = WorkerTls::new(field.node.place);
    if matches!(&field.node.value, Value::Text(_)) {
        return reader.word(field, &[("off", None), ("on", Some(tls))]);
    }
    let mut keys = reader.keys(field, "`on`, `off` or `{ ca: FILE }`")?;
    keys.set(reader, "ca", &mut tls.ca, |r, f| path(r, f).map(Some));
    keys.set(
        reader,
        "client_certificate",
        &mut tls.client_certificate,
        |r, f| certificate(f, At::Pool, r).map(|own| Some((own.chain, own.key))),
    );
    keys.set(reader, "name", &mut tls.name, server_name);
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    keys.set(reader, "min_version", &mut tls.min_version, |r, f| {
        r.word(f, &versions)
    });
    keys.set(reader, "watch", &mut tls.watch, |r, f| {
        r.word(f, &[("off", false), ("on", true)])
    });
    let verify = keys.take("verify");
    if let Some(field) = &verify
        && let Some(wanted) = reader.word(field, &[("off", false), ("on", true)])
    {
        tls.verify = wanted;
        if !wanted {
            reader.warning(
                field.key,
                "verify: off takes whoever answers for the worker",
                "name the authority of the workers instead: `ca: FILE`",
            );
        }
    }
    keys.done(reader);
    Some(Some(tls))
}

/// A DNS name or an address, as a certificate may have it.
fn server_name(reader: &mut Reader, field: &Field<'_>) -> Option<Option<String>> {
    let text = reader.text(field, "the name that workers prove")?;
    if ServerName::try_from(text).is_err() {
        reader.error(
            field.node.place,
            format!("`{}` is no name of a host", field.path),
            "write it as it stands in the workers' certificates: `name: workers.example.com`",
        );
        return None;
    }
    Some(Some(text.to_owned()))
}
