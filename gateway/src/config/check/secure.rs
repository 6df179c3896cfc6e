//! Which certificates, and how strictly?
//!
//! Reads `tls:`. The files are opened later, in `tls::load`.

use super::path;
use crate::config::model::{Certificate, ClientCertificates, Tls, TlsVersion, UnknownNames};
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
        .filter_map(|item| certificate(item, reader))
        .collect();
    Some(tls)
}

/// `off`, or `{ mode: , ca: , crl: }`.
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
    }))
}

/// A path, or `{ chain: , key: }`.
fn certificate(field: &Field<'_>, reader: &mut Reader) -> Option<Certificate> {
    let place = field.node.place;
    if matches!(&field.node.value, Value::Map(_)) {
        let mut keys = reader.keys(field, "`{ chain: FILE, key: FILE }`")?;
        let chain = keys
            .need(reader, "chain")
            .and_then(|field| path(reader, &field).map(|path| (path, field.node.place)));
        let key = keys
            .need(reader, "key")
            .and_then(|field| path(reader, &field));
        keys.done(reader);
        let (chain, place) = chain?;
        return Some(Certificate {
            chain,
            key: key?,
            place,
        });
    }
    let chain = path(reader, field)?;
    Some(Certificate {
        key: chain.clone(),
        chain,
        place,
    })
}
