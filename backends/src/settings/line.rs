//! What stands on the command line? Values are read here and not by the parser of words, so that every
//! mistake is told and not the first alone.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What the command line tells.
pub struct Told {
    pub address: SocketAddr,
    pub drain_deadline: Duration,
    pub config: Option<PathBuf>,
    pub stub: bool,
}

/// The words as written. None is required and none excludes another: that is told with the rest.
#[derive(Debug, Parser)]
#[command(version, about = "One worker behind the edge")]
struct Raw {
    /// Port to listen on; in its place --base and --index
    #[arg(long)]
    port: Option<String>,
    /// First port of the range; with --index it gives the port
    #[arg(long)]
    base: Option<String>,
    /// Which port of the range, from 0
    #[arg(long)]
    index: Option<String>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// How long work in flight may go on after SIGTERM, in seconds
    #[arg(long, default_value = "5", value_name = "SECONDS")]
    drain: String,
    /// File of settings; BACKENDS_CONFIG says the same
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer any request by telling what was seen; needs no database
    #[arg(long)]
    stub: bool,
}

/// Reads a command line, the program's name first. What it tells, as far as it can be understood, and
/// every mistake.
///
/// # Errors
///
/// Only for `--help` and `--version`, which want an answer and no worker.
pub fn read<W>(words: W) -> Result<(Told, Vec<String>), clap::Error>
where
    W: IntoIterator,
    W::Item: Into<OsString>,
{
    let words = words.into_iter().map(Into::into).collect();
    let mut problems = Problems::default();
    let raw = parse(words, &mut problems)?;
    let host = raw.host.parse();
    if host.is_err() {
        problems.add(&format!("--host is an IP address, not `{}`", raw.host));
    }
    let drain = problems.number("drain", Some(&raw.drain)).unwrap_or(5);
    let port = port(&raw, &mut problems);
    let told = Told {
        address: SocketAddr::new(host.unwrap_or(Ipv4Addr::LOCALHOST.into()), port),
        drain_deadline: Duration::from_secs(drain.into()),
        config: raw.config,
        stub: raw.stub,
    };
    Ok((told, problems.told))
}

fn port(raw: &Raw, problems: &mut Problems) -> u16 {
    let port = problems.number("port", raw.port.as_ref());
    let base = problems.number("base", raw.base.as_ref());
    let index = problems.number("index", raw.index.as_ref());
    let is = |value: &Option<String>, name: &str| value.is_some() || problems.lost(name);
    let (by_port, by_base, by_index) = (
        is(&raw.port, "--port"),
        is(&raw.base, "--base"),
        is(&raw.index, "--index"),
    );
    let problem = match (by_port, by_base, by_index) {
        (true, false, false) | (false, true, true) => match (port, base, index) {
            (None, Some(base), Some(index)) => match base.checked_add(index) {
                Some(port) => return port,
                None => "--base plus --index is beyond port 65535",
            },
            (port, ..) => return port.unwrap_or(0),
        },
        (true, ..) => "--port cannot be used with --base or --index: leave one or the other out",
        (_, true, false) => "--base needs --index: which port of the range, from 0",
        (_, false, true) => "--index needs --base: the first port of the range",
        (false, false, false) => "--port is missing, or --base and --index in its place",
    };
    problems.add(problem);
    0
}

/// Mistakes, and the words that were given up for them.
#[derive(Default)]
struct Problems {
    told: Vec<String>,
    given_up: Vec<String>,
}

impl Problems {
    fn add(&mut self, what: &str) {
        self.told.push(format!("command line: {what}"));
    }

    fn number(&mut self, name: &str, value: Option<&String>) -> Option<u16> {
        let value = value?;
        let number = value.parse().ok();
        if number.is_none() {
            self.add(&format!(
                "--{name} is a number from 0 to {}, not `{value}`",
                u16::MAX
            ));
        }
        number
    }

    fn lost(&self, name: &str) -> bool {
        self.given_up.iter().any(|word| word == name)
    }
}

/// Has the words read as often as one of them is not understood, each time without that one.
fn parse(mut words: Vec<OsString>, problems: &mut Problems) -> Result<Raw, clap::Error> {
    loop {
        let problem = match Raw::try_parse_from(&words) {
            Ok(raw) => return Ok(raw),
            Err(problem) => problem,
        };
        let wants_an_answer = matches!(
            problem.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
        );
        if wants_an_answer || words.len() < 2 {
            return Err(problem);
        }
        problems.add(&first_of(&problem));
        let name = match problem.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(name)) => name.split([' ', '=']).next().unwrap_or_default(),
            _ => "",
        };
        problems.given_up.push(name.to_owned());
        give_up(&mut words, name);
    }
}

/// Takes a word away, and its value with it; where it is not found, all of them but the program's name.
fn give_up(words: &mut Vec<OsString>, name: &str) {
    let is = |word: &OsString| {
        let word = word.to_string_lossy();
        let rest = word.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    let found = words.iter().skip(1).position(is).map(|at| at + 1);
    let Some(at) = found.filter(|_| !name.is_empty()) else {
        words.truncate(1);
        return;
    };
    let word = words.remove(at);
    let alone = name.starts_with('-') && word.to_str() == Some(name);
    let value = |next: &OsString| !next.to_string_lossy().starts_with('-');
    if alone && words.get(at).is_some_and(value) {
        words.remove(at);
    }
}

/// What the parser says, without its usage; a tip in brackets.
fn first_of(problem: &clap::Error) -> String {
    let text = problem.to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    match lines.find_map(|line| line.trim().strip_prefix("tip: ")) {
        Some(tip) => format!("{first} ({tip})"),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(line: &str) -> Vec<String> {
        let words = std::iter::once("worker").chain(line.split_whitespace());
        read(words).expect("no help was asked for").1
    }

    #[test]
    fn a_wrong_command_line_is_refused_with_the_reason() {
        for (line, reason) in [
            ("", "--port is missing"),
            ("--base 8070", "--index"),
            ("--index 1", "--base"),
            ("--port 1 --base 2 --index 3", "cannot be used with"),
            ("--port 1 --index 3", "cannot be used with"),
            ("--port 70000", "not `70000`"),
            ("--base 65535 --index 1", "beyond port 65535"),
            ("--port 1 --host here", "not `here`"),
            ("--port 1 --colour red", "'--colour'"),
            ("--port 1 --drain=-1", "--drain is a number"),
            ("--port", "a value is required for '--port <PORT>'"),
            ("--port 1 --port 2", "cannot be used multiple times"),
            ("--port 1 stray", "'stray'"),
        ] {
            let told = problems(line);
            assert_eq!(told.len(), 1, "{line}: {told:?}");
            let starts = told[0].starts_with("command line: ");
            assert!(starts && told[0].contains(reason), "{line}: {told:?}");
        }
    }

    #[test]
    fn every_mistake_of_a_command_line_is_told() {
        let told = problems("--prot 1 --shape=round --host here --base x --drain soon stray");
        for part in [
            "'--prot'",
            "'--shape'",
            "'stray'",
            "--host",
            "--base is a number",
            "--base needs --index",
            "--drain",
        ] {
            assert!(
                told.iter().any(|line| line.contains(part)),
                "{part}: {told:#?}"
            );
        }
        assert_eq!(told.len(), 7, "{told:#?}");
        assert!(told[0].contains("'--port'"), "a tip: {told:#?}");
    }

    #[test]
    fn help_is_answered_whatever_else_stands_there() {
        let words = ["worker", "--help", "--colour"];
        let answer = read(words).err().expect("an answer");
        assert_eq!(answer.kind(), ErrorKind::DisplayHelp);
    }
}
