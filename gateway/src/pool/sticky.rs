//! How is a worker named to a client, so that it comes back to it?
//!
//! Promises: a name says nothing of address and port; it is the same in every gateway with the same pool and secret, and
//! after every restart. Does not: decide whether the worker may be used.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;

use aws_lc_rs::hmac;

use super::worker::WorkerId;
use crate::config::model::{SameSite, Secure, Sticky};

/// Keys the names where no secret is configured: then they are stable, and can be guessed by who tries all addresses.
const NO_SECRET: &[u8] = b"portcullis";

/// The names of a pool's workers.
#[derive(Debug)]
pub(super) struct Names {
    cookie: String,
    secure: Secure,
    attributes: String,
    names: Box<[u64]>,
    workers: HashMap<u64, u32>,
}

impl Names {
    /// Of these workers, in order of position.
    pub(super) fn new(
        sticky: &Sticky,
        pool: &str,
        workers: impl Iterator<Item = SocketAddr>,
    ) -> Names {
        let secret = sticky.secret.as_ref();
        let secret = secret.map_or(NO_SECRET, |secret| secret.0.as_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let names: Box<[u64]> = workers.map(|addr| name(&key, pool, addr)).collect();
        let numbered = names.iter().zip(0u32..);
        Names {
            cookie: sticky.cookie.clone(),
            secure: sticky.secure,
            attributes: attributes(sticky),
            workers: numbered.map(|(name, at)| (*name, at)).collect(),
            names,
        }
    }

    /// Whose name a cookie has, if it is one of ours.
    pub(super) fn worker(&self, value: &[u8]) -> Option<WorkerId> {
        let text = std::str::from_utf8(value).ok()?;
        // One spelling only, so that a name is either ours or not.
        if text.len() != 16 || !text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let name = u64::from_str_radix(text, 16).ok()?;
        self.workers.get(&name).map(|at| WorkerId(*at))
    }

    /// The value of `Set-Cookie` that brings a client back; `tls` says how it came.
    pub(super) fn set_cookie(&self, worker: WorkerId, tls: bool) -> Option<String> {
        let name = self.names.get(worker.index())?;
        let mut out = String::with_capacity(self.cookie.len() + self.attributes.len() + 26);
        let _ = write!(out, "{}={name:016x}{}", self.cookie, self.attributes);
        if self.secure == Secure::Always || (self.secure == Secure::Auto && tls) {
            out.push_str("; Secure");
        }
        Some(out)
    }
}

fn name(key: &hmac::Key, pool: &str, addr: SocketAddr) -> u64 {
    let tag = hmac::sign(key, format!("{pool} {addr}").as_bytes());
    let first = tag.as_ref().iter().take(8);
    first.fold(0, |name, byte| name << 8 | u64::from(*byte))
}

fn attributes(sticky: &Sticky) -> String {
    let mut out = format!("; Path={}", sticky.path);
    if let Some(ttl) = sticky.ttl {
        let _ = write!(out, "; Max-Age={}", ttl.as_secs().max(1));
    }
    if sticky.http_only {
        out.push_str("; HttpOnly");
    }
    out.push_str(match sticky.same_site {
        SameSite::Lax => "; SameSite=Lax",
        SameSite::Strict => "; SameSite=Strict",
        SameSite::None => "; SameSite=None",
    });
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::model::Secret;

    fn sticky(secret: Option<&str>) -> Sticky {
        Sticky {
            cookie: "at".into(),
            ttl: None,
            secure: Secure::Auto,
            http_only: true,
            same_site: SameSite::Lax,
            path: "/".into(),
            hide: false,
            secret: secret.map(|text| Secret(text.into())),
        }
    }

    fn workers() -> impl Iterator<Item = SocketAddr> {
        (8000..8100).map(|port| SocketAddr::from(([10, 0, 0, 1], port)))
    }

    fn value(names: &Names, worker: u32) -> String {
        let set = names.set_cookie(WorkerId(worker), false).unwrap();
        let value = set.strip_prefix("at=").unwrap();
        value.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_name_leads_back_to_its_worker_in_every_gateway_that_has_the_secret() {
        let sticky = sticky(Some("0123456789abcdef"));
        let (one, other) = (
            Names::new(&sticky, "app", workers()),
            Names::new(&sticky, "app", workers()),
        );
        for worker in 0..100 {
            let value = value(&one, worker);
            assert_eq!(other.worker(value.as_bytes()), Some(WorkerId(worker)));
        }
    }

    #[test]
    fn a_name_of_another_pool_or_secret_is_nobodys() {
        let ours = Names::new(&sticky(Some("0123456789abcdef")), "app", workers());
        for theirs in [
            Names::new(&sticky(Some("fedcba9876543210")), "app", workers()),
            Names::new(&sticky(Some("0123456789abcdef")), "api", workers()),
            Names::new(&sticky(None), "app", workers()),
        ] {
            assert_eq!(ours.worker(value(&theirs, 3).as_bytes()), None);
        }
        let good = value(&ours, 3);
        for bad in [
            String::new(),
            format!("0{good}"),
            format!("+{}", &good[1..]),
            format!(" {}", &good[1..]),
            "10.0.0.1:8003".to_owned(),
            "ffffffffffffffff".to_owned(),
        ] {
            assert_eq!(ours.worker(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_name_is_the_same_after_an_update() {
        // Clients keep cookies longer than a gateway lives: this value must not change from version to version.
        let names = Names::new(&sticky(None), "app", workers());
        assert_eq!(value(&names, 0), "bf7df8e512853fa4");
    }

    #[test]
    fn the_cookie_says_what_is_configured() {
        for (change, tls, want) in [
            (
                (|_: &mut Sticky| {}) as fn(&mut Sticky),
                false,
                "; Path=/; HttpOnly; SameSite=Lax",
            ),
            (|_| {}, true, "; Path=/; HttpOnly; SameSite=Lax; Secure"),
            (
                |s| {
                    s.ttl = Some(Duration::from_secs(3600));
                    s.secure = Secure::Never;
                    s.http_only = false;
                    s.same_site = SameSite::Strict;
                    s.path = "/app".into();
                },
                true,
                "; Path=/app; Max-Age=3600; SameSite=Strict",
            ),
            (
                |s| {
                    s.secure = Secure::Always;
                    s.same_site = SameSite::None;
                },
                false,
                "; Path=/; HttpOnly; SameSite=None; Secure",
            ),
        ] {
            let mut sticky = sticky(None);
            change(&mut sticky);
            let names = Names::new(&sticky, "app", workers());
            let set = names.set_cookie(WorkerId(0), tls).unwrap();
            assert_eq!(set.split_once(';').unwrap().1, &want[1..]);
            assert!(!set.contains("8000") && !set.contains("10.0"), "{set}");
        }
    }
}
