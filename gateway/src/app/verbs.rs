//! What is said to who asks for more than to run? Checking, explaining, rehearsing, upgrading.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use crate::app::text::{ephemeral_warnings, failed, load, read, tell};
use crate::config::contents::read_contents;
use crate::config::{Severity, parse, reference};
use crate::explain::{self, Question};
use crate::files;
use crate::rehearsal;
use crate::tls;
use crate::upgrade::control;

/// Checks a configuration without running it; prints what there is to say.
pub fn check(path: &Path) -> ExitCode {
    let Ok(source) = read(path) else {
        return ExitCode::FAILURE;
    };
    let mut checked = parse(&source, &|name| std::env::var(name).ok());
    let mut problems = checked.problems;
    if let Some(config) = &mut checked.config {
        problems.extend(read_contents(config));
        problems.extend(files::problems(config));
        problems.extend(tls::server::check(config, SystemTime::now()));
        problems.extend(ephemeral_warnings(config));
    }
    tell(&source, &problems);
    if problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return ExitCode::FAILURE;
    }
    if let Some(config) = checked.config {
        // A reader that went away (`| head`) is no failure.
        let _ = writeln!(
            std::io::stdout(),
            "{}: {} listeners, {} pools, {} routes, no errors",
            source.name,
            config.listeners.len(),
            config.pools.len(),
            config.routes.len()
        );
    }
    ExitCode::SUCCESS
}

/// Prints the JSON Schema of configuration files.
pub fn schema() -> ExitCode {
    // A reader that went away (`| head`) is no failure.
    let _ = writeln!(std::io::stdout(), "{:#}", reference::schema());
    ExitCode::SUCCESS
}

/// Tells whether clients would trust a certificate.
pub fn certs(question: &rehearsal::Question, json: bool) -> ExitCode {
    match rehearsal::rehearse(question, SystemTime::now()) {
        Ok(found) => {
            let text = match serde_json::to_string_pretty(&found) {
                Ok(text) if json => text + "\n",
                _ => found.text(),
            };
            // A reader that went away (`| head`) is no failure.
            let _ = write!(std::io::stdout(), "{text}");
            if found.trusted {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("portcullis: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells what would become of a request.
pub fn explain(path: &Path, question: &Question) -> ExitCode {
    let Ok(source) = read(path) else {
        return ExitCode::FAILURE;
    };
    let checked = parse(&source, &|name| std::env::var(name).ok());
    let Some(config) = checked.config else {
        tell(&source, &checked.problems);
        return ExitCode::FAILURE;
    };
    match explain::explain(&config, question, Instant::now()) {
        Ok(text) => {
            // As above.
            let _ = write!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("portcullis: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Asks the running process to start another in its place.
pub fn upgrade(path: &Path) -> ExitCode {
    let Ok((_, config)) = load(path) else {
        return ExitCode::FAILURE;
    };
    match control::ask(&config.upgrade.socket) {
        Ok(pid) => {
            let _ = writeln!(std::io::stdout(), "process {pid} has taken over");
            ExitCode::SUCCESS
        }
        Err(reason) => failed(&format!("upgrade failed, nothing changed: {reason}")),
    }
}
