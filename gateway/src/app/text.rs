//! What does the file say, and who hears that it cannot be used?

use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::config::model::Config;
use crate::config::{Problem, Source, ephemeral, parse, render};
use crate::discover;

pub(super) fn failed(why: &str) -> ExitCode {
    eprintln!("portcullis: {why}");
    ExitCode::FAILURE
}

/// Why nothing is served.
pub(super) enum Refusal {
    /// Problems of the configuration, which were told.
    Told(String),
    Other(anyhow::Error),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Told(problems) => f.write_str(problems),
            Refusal::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Refusal {
        Refusal::Other(error)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Other(error.into())
    }
}

/// Tells problems, and refuses because of them.
pub(super) fn refuse(source: &Source, problems: &[Problem]) -> Refusal {
    tell(source, problems);
    Refusal::Told(render(source, problems, false))
}

pub(super) fn load(path: &Path) -> Result<(Source, Config), Refusal> {
    let source = read(path)?;
    let checked = parse(&source, &|name| std::env::var(name).ok());
    match checked.config {
        Some(config) => {
            tell(&source, &checked.problems);
            Ok((source, config))
        }
        None => Err(refuse(&source, &checked.problems)),
    }
}

/// What cannot be read is told, and returned for whoever has to hear it, too.
pub(super) fn read(path: &Path) -> Result<Source, Refusal> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        let why = format!("{name} cannot be read: {error}");
        failed(&why);
        Refusal::Told(why)
    })?;
    Source::from_bytes(&name, bytes).map_err(|bad| refuse(&bad.0, &[bad.1]))
}

pub(super) fn tell(source: &Source, problems: &[Problem]) {
    if !problems.is_empty() {
        let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
        eprintln!("{}", render(source, problems, color));
    }
}

pub(super) fn ephemeral_warnings(config: &Config) -> Vec<Problem> {
    let text = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
    match (text("ip_local_port_range"), text("ip_local_reserved_ports")) {
        (Ok(range), Ok(reserved)) => {
            ephemeral::warnings(config, &range, &reserved, &discover::is_local)
        }
        _ => Vec::new(),
    }
}
