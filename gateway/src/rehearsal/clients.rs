//! What do clients ask of a certificate beyond a chain that verifies? One small rule each, with where it is written.
//!
//! Pure: facts in, objections out. A rule is here only where some client really refuses, not where a certificate could be
//! nicer.

use serde::Serialize;

use super::chain::{Facts, KeyKind};

/// Clients of a fleet server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// landscape-client: pycurl, that is libcurl.
    Landscape,
    /// An agent written in Go that speaks gRPC, such as that of Ubuntu Pro for WSL.
    Go,
    /// A browser, the strictest of each question.
    Browser,
}

/// Why a client refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Objection {
    /// What is wrong.
    pub what: String,
    /// Where the rule is written.
    pub rule: &'static str,
}

const RFC_6125: &str = "RFC 6125 section 6.4.4";
const GO_NAMES: &str = "Go 1.15 release notes, crypto/x509: the common name is no name of a host";
const BROWSER_NAMES: &str = "RFC 9525 section 2; Chrome since 58 looks at no common name";
const OPENSSL_LEVEL: &str =
    "OpenSSL, SSL_CTX_set_security_level(3): level 2, the default of Debian and Ubuntu";
const OPENSSL_PURPOSE: &str = "OpenSSL, X509_check_purpose(3): sslserver";
const GO_SHA1: &str = "Go 1.18 release notes, crypto/x509: signatures with SHA-1 are rejected";
const GO_RSA_LEAST: &str = "Go 1.24 release notes, crypto/rsa: keys below 1024 bits are rejected";
const GO_RSA_MOST: &str = "Go, crypto/tls: RSA keys above 8192 bits are rejected (CVE-2023-29409)";
const GO_USAGE: &str = "Go, crypto/x509, VerifyOptions.KeyUsages: serverAuth by default";
const APPLE: &str = "support.apple.com/HT210176: TLS server certificates since July 2019";
const APPLE_PUBLIC: &str =
    "support.apple.com/HT211025, CA/B Forum Ballot SC-031: 398 days from a public authority";

/// RFC 9110 has no name for it: bits below which OpenSSL's level 2 takes no RSA key.
const OPENSSL_RSA_BITS: usize = 2048;
const OPENSSL_EC_BITS: usize = 224;
const GO_RSA_BITS: (usize, usize) = (1024, 8192);
const BROWSER_RSA_BITS: usize = 2048;
const BROWSER_DAYS: i64 = 825;
const BROWSER_DAYS_PUBLIC: i64 = 398;

impl Client {
    /// All of them.
    pub const ALL: [Client; 3] = [Client::Landscape, Client::Go, Client::Browser];

    /// As it is told.
    pub fn name(self) -> &'static str {
        match self {
            Client::Landscape => "landscape-client",
            Client::Go => "Go agent",
            Client::Browser => "browser",
        }
    }

    /// Everything that this client would not like. `public` says that the chain ends at an authority that comes with the
    /// system.
    pub fn objections(self, chain: &[Facts], name: &str, public: bool) -> Vec<Objection> {
        let Some(leaf) = chain.first() else {
            return Vec::new();
        };
        // The signature of a root over itself proves nothing and is not looked at.
        let signed: Vec<&Facts> = chain.iter().filter(|each| !each.self_signed).collect();
        let mut found = Vec::new();
        found.extend(self.name_objection(leaf, name));
        found.extend(self.usage(leaf));
        for each in &signed {
            found.extend(self.signature(each));
        }
        for each in chain {
            found.extend(self.key(each));
        }
        if self == Client::Browser {
            found.extend(age(leaf, public));
        }
        found
    }

    fn name_objection(self, leaf: &Facts, name: &str) -> Option<Objection> {
        let rule = match self {
            Client::Landscape => RFC_6125,
            Client::Go => GO_NAMES,
            Client::Browser => BROWSER_NAMES,
        };
        let what = if name.is_empty() {
            "it has no name at all".to_owned()
        } else if leaf.names.iter().any(|known| covers(known, name)) {
            return None;
        } else if !leaf.names.is_empty() {
            format!("`{name}` is not among its names: {}", leaf.names.join(" "))
        } else {
            let common = leaf.common_name.as_ref();
            if self == Client::Landscape && common.is_some_and(|known| covers(known, name)) {
                return None;
            }
            "it has no subject alternative name; its common name is not looked at".to_owned()
        };
        Some(Objection { what, rule })
    }

    fn usage(self, leaf: &Facts) -> Option<Objection> {
        let (what, rule) = match (leaf.server_auth, self) {
            (Some(true), _) | (None, Client::Landscape | Client::Go) => return None,
            (None, Client::Browser) => ("it does not say that it is a server's", APPLE),
            (Some(false), Client::Landscape) => ("it is not a server's", OPENSSL_PURPOSE),
            (Some(false), Client::Go) => ("it is not a server's", GO_USAGE),
            (Some(false), Client::Browser) => ("it is not a server's", APPLE),
        };
        let what = format!("{what} (extended key usage serverAuth)");
        Some(Objection { what, rule })
    }

    fn signature(self, each: &Facts) -> Option<Objection> {
        let rule = match self {
            Client::Landscape => OPENSSL_LEVEL,
            Client::Go => GO_SHA1,
            Client::Browser => APPLE,
        };
        each.is_weakly_signed().then(|| Objection {
            what: format!("`{}` is signed with {}", each.subject, each.signature),
            rule,
        })
    }

    fn key(self, each: &Facts) -> Option<Objection> {
        let (least, most, rule) = match (self, each.key) {
            (Client::Landscape, KeyKind::Rsa(_)) => (OPENSSL_RSA_BITS, usize::MAX, OPENSSL_LEVEL),
            (Client::Landscape, KeyKind::Ecdsa(_)) => (OPENSSL_EC_BITS, usize::MAX, OPENSSL_LEVEL),
            (Client::Go, KeyKind::Rsa(bits)) => {
                let rule = if bits < GO_RSA_BITS.0 {
                    GO_RSA_LEAST
                } else {
                    GO_RSA_MOST
                };
                (GO_RSA_BITS.0, GO_RSA_BITS.1, rule)
            }
            (Client::Browser, KeyKind::Rsa(_)) => (BROWSER_RSA_BITS, usize::MAX, APPLE),
            _ => return None,
        };
        let bits = match each.key {
            KeyKind::Rsa(bits) | KeyKind::Ecdsa(bits) => bits,
            KeyKind::Ed25519 | KeyKind::Other => return None,
        };
        (!(least..=most).contains(&bits)).then(|| Objection {
            what: format!("the key of `{}` is {}", each.subject, each.key),
            rule,
        })
    }
}

/// How long it is valid in all.
fn age(leaf: &Facts, public: bool) -> Option<Objection> {
    let (most, rule) = if public {
        (BROWSER_DAYS_PUBLIC, APPLE_PUBLIC)
    } else {
        (BROWSER_DAYS, APPLE)
    };
    (leaf.days > most).then(|| Objection {
        what: format!(
            "it is valid for {} days; at most {most} are taken",
            leaf.days
        ),
        rule,
    })
}

/// Whether a name of a certificate stands for what a client asks for: a wildcard for one label (RFC 9525 section 6.3).
fn covers(known: &str, asked: &str) -> bool {
    let (known, asked) = (known.to_ascii_lowercase(), asked.to_ascii_lowercase());
    match known.strip_prefix("*.") {
        Some(parent) => asked
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        None => known == asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf() -> Facts {
        Facts {
            subject: "CN=a.test".into(),
            issuer: "CN=CA".into(),
            names: vec!["a.test".into(), "*.b.test".into()],
            common_name: Some("a.test".into()),
            from: String::new(),
            until: String::new(),
            days_left: 80,
            days: 90,
            key: KeyKind::Ecdsa(256),
            signature: "ecdsa-with-SHA256".into(),
            authority: false,
            self_signed: false,
            server_auth: Some(true),
            fingerprint: String::new(),
            issuer_url: None,
        }
    }

    /// Which clients object.
    fn object(facts: Facts, name: &str, public: bool) -> Vec<Client> {
        let chain = [facts];
        let all = Client::ALL.into_iter();
        all.filter(|client| !client.objections(&chain, name, public).is_empty())
            .collect()
    }

    #[test]
    fn each_client_has_its_own_rules() {
        use Client::{Browser, Go, Landscape};
        let with = |change: &dyn Fn(&mut Facts)| {
            let mut facts = leaf();
            change(&mut facts);
            facts
        };
        let rsa = |bits| with(&|facts| facts.key = KeyKind::Rsa(bits));
        for (what, facts, name, public, expected) in [
            ("good", leaf(), "a.test", true, vec![]),
            ("a wildcard", leaf(), "x.b.test", true, vec![]),
            (
                "two labels",
                leaf(),
                "x.y.b.test",
                true,
                vec![Landscape, Go, Browser],
            ),
            (
                "no name",
                with(&|f| f.names.clear()),
                "a.test",
                true,
                vec![Go, Browser],
            ),
            (
                "another name",
                leaf(),
                "c.test",
                true,
                vec![Landscape, Go, Browser],
            ),
            (
                "no usage",
                with(&|f| f.server_auth = None),
                "a.test",
                true,
                vec![Browser],
            ),
            (
                "a client's",
                with(&|f| f.server_auth = Some(false)),
                "a.test",
                true,
                vec![Landscape, Go, Browser],
            ),
            (
                "SHA-1",
                with(&|f| f.signature = "sha1WithRSAEncryption".into()),
                "a.test",
                true,
                vec![Landscape, Go, Browser],
            ),
            (
                "512 bits",
                rsa(512),
                "a.test",
                true,
                vec![Landscape, Go, Browser],
            ),
            (
                "1024 bits",
                rsa(1024),
                "a.test",
                true,
                vec![Landscape, Browser],
            ),
            ("2048 bits", rsa(2048), "a.test", true, vec![]),
            ("16384 bits", rsa(16_384), "a.test", true, vec![Go]),
            (
                "399 days",
                with(&|f| f.days = 399),
                "a.test",
                true,
                vec![Browser],
            ),
            (
                "399 days of one's own",
                with(&|f| f.days = 399),
                "a.test",
                false,
                vec![],
            ),
            (
                "826 days of one's own",
                with(&|f| f.days = 826),
                "a.test",
                false,
                vec![Browser],
            ),
        ] {
            assert_eq!(object(facts, name, public), expected, "{what}");
        }
    }

    #[test]
    fn a_root_may_be_signed_as_it_likes() {
        let root = Facts {
            self_signed: true,
            authority: true,
            signature: "sha1WithRSAEncryption".into(),
            ..leaf()
        };
        for client in Client::ALL {
            assert_eq!(
                client.objections(&[leaf(), root.clone()], "a.test", true),
                []
            );
        }
    }
}
