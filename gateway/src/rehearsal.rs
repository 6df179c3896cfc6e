//! Would clients trust this certificate? A rehearsal before anybody sees it.
//!
//! Reads a bundle, or all that a configuration names, and tells what is in it, whether the gateway would show it and whether
//! clients of a given authority would take it: the chain is verified as the gateway's own TLS library does, what clients ask
//! beyond that are the rules of [`clients`]. Does not: connect anywhere, or change anything.

pub mod chain;
pub mod clients;
mod text;
mod trust;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use crate::config::model::{Certificate, ClientCertificates, Place};
use crate::config::{Source, parse, render};
use crate::tls::lists::{self, List};
use crate::tls::server::check_certificate;
use crate::tls::time::unix;
use chain::Facts;
use clients::{Client, Objection};
use trust::{End, Roots};

/// What to look at.
#[derive(Debug)]
pub struct Question {
    /// A PEM file, or a configuration.
    pub file: PathBuf,
    /// Authorities that clients trust; the system's by default.
    pub ca: Option<PathBuf>,
    /// The name that clients ask for; by default the first that the certificate has.
    pub name: Option<String>,
    /// The key; by default the one that the file holds.
    pub key: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Rehearsal {
    /// Every client would take every certificate, and the gateway would show it.
    pub trusted: bool,
    /// The file of the authorities.
    pub authorities: String,
    /// One for each certificate.
    pub bundles: Vec<Bundle>,
    /// Lists of revoked clients that a configuration names.
    pub lists: Vec<Listed>,
}

/// A list of revoked certificates.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// The file.
    pub file: String,
    /// Who has revoked.
    pub issuer: String,
    /// When it runs out, seconds since 1970.
    pub ends: i64,
    /// Whole hours until then; negative where it is past.
    pub hours_left: i64,
    /// Clients are refused because it has run out.
    pub refuses: bool,
    /// What is doubtful.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// One certificate with its chain.
#[derive(Debug, Serialize)]
pub struct Bundle {
    /// The file.
    pub file: String,
    /// The leaf first, as they stand in the file.
    pub chain: Vec<Facts>,
    /// Whether the key belongs to the leaf; absent where no key was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_matches: Option<bool>,
    /// Where the chain ends.
    pub end: String,
    /// Why the gateway would not show it.
    pub problems: Vec<String>,
    /// What is doubtful.
    pub warnings: Vec<String>,
    /// The name that clients ask for.
    pub name: String,
    /// What each client would say.
    pub clients: Vec<Verdict>,
}

/// What a client would say.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Which.
    pub client: &'static str,
    /// Whether it would take the certificate.
    pub trusted: bool,
    /// Why not.
    pub objections: Vec<Objection>,
}

/// Rehearses. The error is the text to show.
pub fn rehearse(question: &Question, now: SystemTime) -> Result<Rehearsal, String> {
    let roots = Roots::load(question.ca.as_deref())?;
    let (certificates, trusts) = named(question)?;
    let mut bundles = Vec::new();
    for certificate in &certificates {
        bundles.push(bundle(certificate, question, &roots, now)?);
    }
    let lists = listed(&trusts, unix(now))?;
    Ok(Rehearsal {
        trusted: bundles.iter().all(Bundle::is_good) && !lists.iter().any(|list| list.refuses),
        authorities: roots.file.clone(),
        bundles,
        lists,
    })
}

impl Rehearsal {
    /// For people.
    pub fn text(&self) -> String {
        text::text(self)
    }
}

impl Bundle {
    fn is_good(&self) -> bool {
        self.problems.is_empty()
            && self.key_matches != Some(false)
            && self.clients.iter().all(|verdict| verdict.trusted)
    }
}

/// A certificate, and whether a key was named for it.
struct Named {
    certificate: Certificate,
    has_key: bool,
}

/// What is known of revoked clients, each list once.
fn listed(trusts: &[ClientCertificates], now: i64) -> Result<Vec<Listed>, String> {
    let mut all: Vec<List> = Vec::new();
    for trust in trusts {
        let found = lists::load(trust).map_err(|wrong| {
            let told = wrong.iter().map(|problem| problem.what.clone());
            told.collect::<Vec<_>>().join("; ")
        })?;
        for (_, list) in found {
            if !all.contains(&list) {
                all.push(list);
            }
        }
    }
    Ok(all
        .into_iter()
        .map(|list| Listed {
            file: list.file.display().to_string(),
            ends: list.ends,
            hours_left: list.ends.saturating_sub(now).div_euclid(3600),
            refuses: list.refuses(now),
            warning: lists::doubt(&list, Place::default(), now).map(|doubt| told(&doubt)),
            issuer: list.issuer,
        })
        .collect())
}

fn told(problem: &crate::config::Problem) -> String {
    match &problem.hint {
        Some(hint) => format!("{}; {hint}", problem.what),
        None => problem.what.clone(),
    }
}

/// The certificates of a configuration, each once, and whom it trusts; or the file itself.
fn named(question: &Question) -> Result<(Vec<Named>, Vec<ClientCertificates>), String> {
    let name = question.file.display().to_string();
    let bytes = std::fs::read(&question.file).map_err(|error| format!("{name}: {error}"))?;
    let has = |what: &[u8]| memchr::memmem::find(&bytes, what).is_some();
    if has(b"-----BEGIN ") || !has(b"listeners") {
        let has_key = question.key.is_some() || has(b"PRIVATE KEY-----");
        let key = question.key.clone().unwrap_or(question.file.clone());
        let certificate = Certificate {
            chain: question.file.clone(),
            key,
            ocsp: None,
            place: Place::default(),
        };
        let named = Named {
            certificate,
            has_key,
        };
        return Ok((vec![named], Vec::new()));
    }
    let source = Source::from_bytes(&name, bytes).map_err(|bad| render(&bad.0, &[bad.1], false))?;
    let checked = parse(&source, &|name| std::env::var(name).ok());
    let told = || render(&source, &checked.problems, false);
    let config = checked.config.as_ref().ok_or_else(told)?;
    let mut all: Vec<Named> = Vec::new();
    for tls in config
        .listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref())
    {
        for certificate in &tls.certificates {
            let same = |known: &Named| {
                (&known.certificate.chain, &known.certificate.key)
                    == (&certificate.chain, &certificate.key)
            };
            if !all.iter().any(same) {
                all.push(Named {
                    certificate: certificate.clone(),
                    has_key: true,
                });
            }
        }
    }
    if all.is_empty() {
        return Err(format!("{name} names no certificate"));
    }
    let listeners = config.listeners.iter();
    let trusts = listeners.filter_map(|it| it.tls.as_ref()?.client_certificates.clone());
    Ok((all, trusts.collect()))
}

fn bundle(
    named: &Named,
    question: &Question,
    roots: &Roots,
    now: SystemTime,
) -> Result<Bundle, String> {
    let path: &Path = &named.certificate.chain;
    let ders = trust::read_chain(path)?;
    let chain = chain::facts(&ders, path, now)?;
    let (mut problems, mut warnings, mut key_matches) = (Vec::new(), Vec::new(), None);
    if named.has_key {
        match check_certificate(&named.certificate, now) {
            Ok(doubts) => {
                key_matches = Some(true);
                warnings.extend(doubts.iter().map(told));
            }
            Err(wrong) => {
                let mismatch = |problem: &crate::config::Problem| problem.what.contains("belong");
                key_matches = wrong.iter().any(mismatch).then_some(false);
                problems.extend(wrong.iter().map(told));
            }
        }
    } else if let Some(at) = chain::out_of_order(&chain) {
        problems.push(format!(
            "certificate {} did not issue certificate {}; order: the leaf, then the certificate that issued it, and so on",
            at + 2,
            at + 1
        ));
    }
    let name = question
        .name
        .clone()
        .unwrap_or_else(|| chain[0].asked_name());
    let end = roots.end(&chain);
    let path = roots.verify(&ders, &chain, &end, now);
    let public = roots.is_public(&end);
    let clients = Client::ALL.map(|client| {
        let mut objections: Vec<Objection> = path.clone().err().into_iter().collect();
        objections.extend(client.objections(&chain, &name, public));
        Verdict {
            client: client.name(),
            trusted: objections.is_empty(),
            objections,
        }
    });
    Ok(Bundle {
        file: named.certificate.chain.display().to_string(),
        chain,
        key_matches,
        end: end.told(&roots.file),
        problems,
        warnings,
        name,
        clients: clients.into(),
    })
}

/// Kept apart from the text, so that both say the same.
impl End {
    fn told(&self, authorities: &str) -> String {
        match self {
            End::Known(name) => format!("ends at `{name}`, which is in {authorities}"),
            End::SelfSigned => "is one certificate that nobody but itself has signed".to_owned(),
            End::UnknownRoot(name) => {
                format!("ends at the root `{name}`, which is not in {authorities}")
            }
            End::Missing { issuer, url } => {
                let from = url.as_ref().map(|url| format!("; fetch it from {url}"));
                format!(
                    "is not complete: `{issuer}` is neither in the file nor in {authorities}{}",
                    from.unwrap_or_default()
                )
            }
        }
    }
}
