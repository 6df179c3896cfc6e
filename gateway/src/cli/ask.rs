//! Where is the running gateway, and what does its answer mean for the exit code?
//!
//! Promises: one place decides where to ask (option, environment, configuration, usual place) and what the exit codes
//! are: 0 done, 1 refused, 2 wrong usage, 3 nobody answers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::admin::client::{Answered, Client, Target, Unreachable};
use crate::admin::socket;
use crate::config::model::{Admin, AdminToken};
use crate::config::{Source, admin_of};
use crate::reload::read_token;

/// The configuration, where none is named.
const DEFAULT_CONFIG: &str = "routes.yaml";
/// The gateway refused, or a comparison found a difference.
pub const REFUSED: u8 = 1;
/// The command line or a file that it names is wrong.
pub const USAGE: u8 = 2;
/// No gateway answers.
pub const UNREACHABLE: u8 = 3;

/// Options of every verb that asks a running gateway.
#[derive(Args, Clone, Debug)]
pub struct Ask {
    /// The gateway's socket, or http://HOST:PORT; else $PORTCULLIS_ADMIN, else what the configuration says.
    #[arg(long, value_name = "PATH|URL")]
    admin: Option<String>,
    /// The configuration that the gateway runs with: where it is asked, and its token.
    #[arg(short, long, default_value = DEFAULT_CONFIG, value_name = "FILE")]
    pub config: PathBuf,
    /// A file with the operators' token, in place of the configured one.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print the gateway's answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Why there is nothing to show.
pub struct Failed(u8);

impl Failed {
    /// Says why and remembers the exit code.
    pub fn say(code: u8, why: impl std::fmt::Display) -> Failed {
        eprintln!("portcullis: {why}");
        Failed(code)
    }
}

impl Failed {
    /// It was said already.
    pub fn silent(code: u8) -> Failed {
        Failed(code)
    }

    /// With another exit code.
    pub fn with(self, code: u8) -> Failed {
        Failed(code)
    }
}

impl From<Failed> for ExitCode {
    fn from(failed: Failed) -> ExitCode {
        ExitCode::from(failed.0)
    }
}

/// A gateway to ask.
pub struct Gateway {
    clients: Vec<Client>,
    json: bool,
}

impl Ask {
    /// Finds out where to ask.
    pub fn gateway(&self) -> Result<Gateway, Failed> {
        let named = match &self.admin {
            Some(named) => Some(named.clone()),
            None => std::env::var("PORTCULLIS_ADMIN").ok(),
        };
        let named = named.filter(|named| !named.is_empty());
        let admin = match (self.configured(), &named) {
            (Ok(admin), _) => admin,
            // Only the token is missed.
            (Err(_), Some(_)) => None,
            (Err(unknown), None) => return Err(Failed::say(USAGE, unknown)),
        };
        let token = match &self.token_file {
            Some(path) => Some(read_token(path).map_err(|(what, _)| Failed::say(USAGE, what))?),
            None => admin.as_ref().and_then(token_of),
        };
        let targets = match named {
            Some(named) => {
                vec![Target::parse(&named).map_err(|why| Failed::say(USAGE, why))?]
            }
            None => targets_of(admin.as_ref()),
        };
        if targets.is_empty() {
            let file = self.config.display();
            let why = format!(
                "{file} says `admin: off`: the gateway cannot be asked\n  help: name its socket or address with `--admin`"
            );
            return Err(Failed::say(UNREACHABLE, why));
        }
        let client = |target| Client {
            target,
            token: token.clone(),
        };
        Ok(Gateway {
            clients: targets.into_iter().map(client).collect(),
            json: self.json,
        })
    }

    /// What the configuration says; every default where there is none. Where it cannot be told, nothing is guessed: in
    /// the usual place there may be another gateway.
    fn configured(&self) -> Result<Option<Admin>, String> {
        let name = self.config.display().to_string();
        let unknown = |why: String| {
            let help = "name the gateway's socket or address with `--admin`";
            format!("{why}\n  help: {help}")
        };
        let bytes = match std::fs::read(&self.config) {
            Ok(bytes) => bytes,
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && name == DEFAULT_CONFIG =>
            {
                return Ok(Some(Admin::default()));
            }
            Err(error) => return Err(unknown(format!("{name} cannot be read: {error}"))),
        };
        let source = Source::from_bytes(&name, bytes).ok();
        let env = |name: &str| std::env::var(name).ok();
        // A file with other mistakes is no reason not to reach the gateway that still runs.
        source
            .and_then(|source| admin_of(&source, &env))
            .ok_or_else(|| {
                unknown(format!(
                    "{name} does not tell where the gateway is (`portcullis check {name}` says why)"
                ))
            })
    }
}

fn targets_of(admin: Option<&Admin>) -> Vec<Target> {
    let Some(admin) = admin else {
        return Vec::new();
    };
    let runtime = std::env::var("RUNTIME_DIRECTORY").ok();
    let socket = socket::path_of(admin, runtime.as_deref()).map(Target::Socket);
    let tcp = admin.bind.map(|mut address| {
        if address.ip().is_unspecified() {
            address.set_ip(match address.is_ipv4() {
                true => std::net::Ipv4Addr::LOCALHOST.into(),
                false => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        Target::Tcp(address.to_string())
    });
    socket.into_iter().chain(tcp).collect()
}

fn token_of(admin: &Admin) -> Option<String> {
    match admin.token.as_ref()? {
        AdminToken::Text(token) => Some(token.clone()),
        // Who may not read it is told by the gateway that it is missing.
        AdminToken::File(path, _) => read_token(path).ok(),
    }
}

impl Gateway {
    /// GET; the JSON is printed where that was asked for, and then there is nothing more to show.
    pub fn get(&self, path: &str) -> Result<Option<Value>, Failed> {
        let answered = self.first(|client| client.get(path))?;
        self.shown(answered)
    }

    /// POST of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Result<Option<Value>, Failed> {
        let body = body.to_string();
        let send = |client: &Client| client.post(path, "application/json", body.as_bytes());
        let answered = self.first(send)?;
        self.shown(answered)
    }

    /// POST of JSON, whose answer is shown later by [`Gateway::tell`].
    pub fn ask(&self, path: &str, body: &Value) -> Result<Value, Failed> {
        let body = body.to_string();
        let send = |client: &Client| client.post(path, "application/json", body.as_bytes());
        let answered = self.first(send)?;
        if (200..300).contains(&answered.status) {
            Ok(answered.body)
        } else {
            Err(self.shown(answered).err().unwrap_or(Failed(REFUSED)))
        }
    }

    /// Shows an answer as JSON or to people.
    pub fn tell(&self, told: &Value, show: impl Fn(&Value)) {
        if self.json {
            say!("{told}");
        } else {
            show(told);
        }
    }

    /// POST of a configuration; the answer as it came.
    pub fn post_text(&self, path: &str, body: &[u8]) -> Result<Answered, Failed> {
        self.first(|client| client.post(path, "application/yaml", body))
    }

    /// The next place is tried where nobody is at the first.
    fn first(
        &self,
        ask: impl Fn(&Client) -> Result<Answered, Unreachable>,
    ) -> Result<Answered, Failed> {
        let mut first = None;
        for client in &self.clients {
            match ask(client) {
                Ok(answered) => return Ok(answered),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(match first {
            Some(error) => Failed::say(UNREACHABLE, error),
            None => Failed(UNREACHABLE),
        })
    }

    fn shown(&self, answered: Answered) -> Result<Option<Value>, Failed> {
        if self.json {
            say!("{}", answered.body);
        }
        if (200..300).contains(&answered.status) {
            return Ok((!self.json).then_some(answered.body));
        }
        if self.json {
            return Err(Failed(REFUSED));
        }
        Err(refused(&answered))
    }
}

/// Says why the gateway refused.
pub fn refused(answered: &Answered) -> Failed {
    let body = &answered.body;
    let word = |name: &str| body[name].as_str().filter(|word| !word.is_empty());
    if let Some(text) = word("text") {
        eprintln!("{}", text.trim_end());
        eprintln!();
    }
    let error = word("error").map_or_else(
        || format!("the gateway answered {}", answered.status),
        str::to_owned,
    );
    match word("fix").filter(|_| word("text").is_none()) {
        Some(fix) => Failed::say(REFUSED, format!("{error}\n  help: {fix}")),
        None => Failed::say(REFUSED, error),
    }
}
