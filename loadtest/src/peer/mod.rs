//! Which proxies are compared, and do they do the same work? One [`Setup`] becomes a configuration of each.
//!
//! All have: a plain, a TLS and a gRPC (TLS) listener; the same four prefixes to four ranges of workers; one event
//! loop; connections to clients and to workers kept; `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `X-Request-ID`
//! set; paths that begin or end with `metrics` denied; statistics on; an access log to a file, each in its own usual
//! format, or none. Where a default of a peer would make it do more (spooling bodies to disk, closing connections after
//! a thousand requests, a log write per line), it is set to do less. Portcullis has its defaults.

mod apache;
mod caddy;
mod haproxy;
mod nginx;
mod portcullis;
mod process;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use process::{Pinned, Process, check, free_ports, version_of};

/// A program that can stand between clients and workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proxy {
    /// Ours.
    Portcullis,
    /// HAProxy; `HAPROXY_BIN`.
    Haproxy,
    /// nginx; `NGINX_BIN`.
    Nginx,
    /// Apache httpd; `APACHE_BIN`.
    Apache,
    /// Caddy; `CADDY_BIN`.
    Caddy,
}

impl Proxy {
    /// Ours first.
    pub const ALL: [Proxy; 5] = [
        Proxy::Portcullis,
        Proxy::Haproxy,
        Proxy::Nginx,
        Proxy::Apache,
        Proxy::Caddy,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Proxy::Portcullis => "portcullis",
            Proxy::Haproxy => "haproxy",
            Proxy::Nginx => "nginx",
            Proxy::Apache => "apache",
            Proxy::Caddy => "caddy",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Proxy> {
        Proxy::ALL.into_iter().find(|proxy| proxy.name() == name)
    }

    /// The program, from the environment or where Debian puts it.
    pub fn binary(self) -> PathBuf {
        let (variable, usual) = match self {
            Proxy::Portcullis => ("PORTCULLIS_BIN", "target/release/portcullis"),
            Proxy::Haproxy => ("HAPROXY_BIN", "/usr/sbin/haproxy"),
            Proxy::Nginx => ("NGINX_BIN", "/usr/sbin/nginx"),
            Proxy::Apache => ("APACHE_BIN", "/usr/sbin/apache2"),
            Proxy::Caddy => ("CADDY_BIN", "/usr/bin/caddy"),
        };
        std::env::var_os(variable).map_or_else(|| PathBuf::from(usual), PathBuf::from)
    }

    /// What it calls itself.
    pub fn version(self) -> Option<String> {
        let argument = match self {
            Proxy::Portcullis => "--version",
            Proxy::Haproxy | Proxy::Nginx | Proxy::Apache => "-v",
            Proxy::Caddy => "version",
        };
        version_of(&self.binary(), argument)
    }

    /// Writes the configuration and gives the command that runs it in the foreground.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn prepare(self, setup: &Setup) -> anyhow::Result<Command> {
        let dir = setup.dir.join(self.name());
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        match self {
            Proxy::Portcullis => portcullis::prepare(setup, &dir),
            Proxy::Haproxy => haproxy::prepare(setup, &dir),
            Proxy::Nginx => nginx::prepare(setup, &dir),
            Proxy::Apache => apache::prepare(setup, &dir),
            Proxy::Caddy => caddy::prepare(setup, &dir),
        }
    }
}

/// How a proxy is run and checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Arguments that run it.
    pub run: Vec<String>,
    /// Arguments that check the configuration alone.
    pub check: Vec<String>,
    /// Variables of its environment.
    pub env: Vec<(String, String)>,
    /// Where its standard output goes; `None` for nowhere.
    pub stdout: Option<PathBuf>,
}

/// What is the same for all.
#[derive(Clone, Debug)]
pub struct Setup {
    /// For configurations, logs and sockets.
    pub dir: PathBuf,
    /// Port of plain HTTP.
    pub plain: u16,
    /// Port of HTTPS.
    pub tls: u16,
    /// Port of gRPC over TLS.
    pub grpc: u16,
    /// Port of the operators.
    pub admin: u16,
    /// Ranges of workers by the prefix of the path; the last one is `/`.
    pub pools: Vec<Pool>,
    /// Worker of gRPC that echoes.
    pub echo: u16,
    /// Worker of gRPC with silent streams, for `/bench.Silent`.
    pub silent: u16,
    /// Chain and key.
    pub certificate: Certificate,
    /// Access logs.
    pub logs: bool,
    /// Threads that serve.
    pub threads: usize,
    /// Requests that one worker may have at once; the others wait in the proxy.
    pub in_flight_max: Option<u32>,
}

/// A range of workers.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: &'static str,
    /// Paths that go to it.
    pub prefix: &'static str,
    /// First and last port.
    pub ports: (u16, u16),
}

impl Pool {
    /// All ports.
    pub fn range(&self) -> impl Iterator<Item = u16> + use<> {
        self.ports.0..=self.ports.1
    }
}

/// Files of a certificate, in the forms that the programs want.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Chain and key in one.
    pub both: PathBuf,
    /// The chain.
    pub chain: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Kinds of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Key {
    /// ECDSA P-256.
    Ecdsa,
    /// RSA with 2048 bits.
    Rsa,
    /// RSA with 4096 bits.
    Rsa4096,
}

impl Key {
    /// All of them, each at the place that it has as a number.
    pub const ALL: [Key; 3] = [Key::Ecdsa, Key::Rsa, Key::Rsa4096];

    /// The kind that the end of a case's name tells; ECDSA where it tells none.
    pub fn of(case: &str) -> Key {
        match case {
            _ if case.ends_with("rsa4096") => Key::Rsa4096,
            _ if case.ends_with("rsa") => Key::Rsa,
            _ => Key::Ecdsa,
        }
    }
}

impl Certificate {
    /// Makes a certificate that signs itself.
    ///
    /// # Errors
    ///
    /// The key cannot be made, or a file cannot be written.
    pub fn make(dir: &Path, key: Key) -> anyhow::Result<Certificate> {
        let rsa = |bits| rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, bits);
        let (name, pair) = match key {
            Key::Ecdsa => (
                "ecdsa",
                rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            ),
            Key::Rsa => ("rsa", rsa(rcgen::RsaKeySize::_2048)),
            Key::Rsa4096 => ("rsa4096", rsa(rcgen::RsaKeySize::_4096)),
        };
        let pair = pair.context("key")?;
        let names = vec!["bench.example".to_owned(), "localhost".to_owned()];
        let params = rcgen::CertificateParams::new(names).context("certificate")?;
        let chain = params.self_signed(&pair).context("certificate")?.pem();
        let certificate = Certificate {
            both: dir.join(format!("{name}.pem")),
            chain: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        };
        write(
            &certificate.both,
            &format!("{chain}{}", pair.serialize_pem()),
        )?;
        write(&certificate.chain, &chain)?;
        write(&certificate.key, &pair.serialize_pem())?;
        Ok(certificate)
    }
}

/// The file descriptors that a process may have here.
fn files_max() -> u64 {
    rlimit::Resource::NOFILE.get_hard().unwrap_or(1024)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(dir: &Path, logs: bool) -> Setup {
        let pool = |name, prefix, first| Pool {
            name,
            prefix,
            ports: (first, first + 3),
        };
        Setup {
            dir: dir.to_owned(),
            plain: 21_080,
            tls: 21_443,
            grpc: 21_554,
            admin: 21_901,
            pools: vec![pool("ping", "/ping", 20_000), pool("app", "/", 20_010)],
            echo: 20_050,
            silent: 20_051,
            certificate: Certificate::make(dir, Key::Ecdsa).unwrap(),
            logs,
            threads: 1,
            in_flight_max: Some(8),
        }
    }

    /// Peers that are not installed are left out here; `make bench` installs them and checks each
    /// configuration before it is run.
    #[test]
    fn every_peer_that_is_here_accepts_its_configuration() {
        for logs in [true, false] {
            let dir =
                std::env::temp_dir().join(format!("loadtest-peer-{}-{logs}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            let setup = setup(&dir, logs);
            for proxy in Proxy::ALL
                .into_iter()
                .filter(|proxy| proxy.binary().is_absolute())
            {
                let command = proxy.prepare(&setup).unwrap();
                if proxy.binary().exists() {
                    process::check(proxy, &command).unwrap();
                }
            }
            fs::remove_dir_all(&dir).unwrap();
        }
    }

    #[test]
    fn names_are_known_both_ways() {
        for proxy in Proxy::ALL {
            assert_eq!(Proxy::named(proxy.name()), Some(proxy));
        }
        assert_eq!(Proxy::named("squid"), None);
    }

    #[test]
    fn every_log_is_off_where_logs_are_off() {
        let dir = std::env::temp_dir().join(format!("loadtest-logs-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for proxy in Proxy::ALL {
            let mentions = |logs| {
                let command = proxy.prepare(&setup(&dir, logs)).unwrap();
                let file = fs::read_dir(dir.join(proxy.name()))
                    .unwrap()
                    .map(|entry| entry.unwrap().path())
                    .find(|path| path.is_file())
                    .unwrap();
                let text = fs::read_to_string(file).unwrap();
                text.contains("access.log") || command.stdout.is_some()
            };
            assert!(mentions(true), "{}", proxy.name());
            assert!(!mentions(false), "{}", proxy.name());
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
