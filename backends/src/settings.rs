//! What was I told? The command line of every worker, as one checked value.
//!
//! A worker's place is `--port`, or `--base` and `--index` where a supervisor starts many of the
//! same kind and counts them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Parser;

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens. Port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// How long work in flight may go on after the word to stop.
    pub drain_deadline: Duration,
}

/// The command line as written.
#[derive(Debug, Parser)]
#[command(version, about = "One worker behind the edge")]
struct Raw {
    /// Port to listen on
    #[arg(long, required_unless_present = "base", conflicts_with_all = ["base", "index"])]
    port: Option<u16>,
    /// First port of the range; with --index it gives the port
    #[arg(long, requires = "index")]
    base: Option<u16>,
    /// Which port of the range, from 0
    #[arg(long, requires = "base")]
    index: Option<u16>,
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// How long work in flight may go on after SIGTERM, in seconds
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    drain: u16,
}

impl Settings {
    /// Reads the process's own command line. On a mistake it says what is wrong and exits with 2;
    /// `--help` and `--version` are answered and exit with 0.
    pub fn from_command_line() -> Self {
        Self::read(std::env::args_os()).unwrap_or_else(|problem| problem.exit())
    }

    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// What is missing, unknown, contradictory or beyond port 65535.
    pub fn read<I, T>(words: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        let raw = Raw::try_parse_from(words)?;
        let port = match (raw.port, raw.base, raw.index) {
            (Some(port), _, _) => Some(port),
            (None, Some(base), Some(index)) => base.checked_add(index),
            _ => None,
        };
        let port = port.ok_or_else(|| {
            clap::Error::raw(
                clap::error::ErrorKind::ValueValidation,
                "--base plus --index is beyond port 65535\n",
            )
        })?;
        Ok(Self {
            address: SocketAddr::new(raw.host, port),
            drain_deadline: Duration::from_secs(raw.drain.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Settings, String> {
        let words = std::iter::once("worker").chain(line.split_whitespace());
        Settings::read(words).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_worker_knows_its_place() {
        for (line, place) in [
            ("--port 8070", "127.0.0.1:8070"),
            ("--base 8070 --index 3", "127.0.0.1:8073"),
            ("--port 0 --host ::1", "[::1]:0"),
            ("--port 65535 --host 0.0.0.0", "0.0.0.0:65535"),
        ] {
            let settings = read(line).expect(line);
            assert_eq!(settings.address.to_string(), place, "{line}");
        }
    }

    #[test]
    fn a_wrong_command_line_is_refused_with_the_reason() {
        for (line, reason) in [
            ("", "--port"),
            ("--base 8070", "--index"),
            ("--index 1", "--base"),
            ("--port 1 --base 2 --index 3", "cannot be used with"),
            ("--port 70000", "70000"),
            ("--base 65535 --index 1", "beyond port 65535"),
            ("--port 1 --host here", "here"),
            ("--port 1 --colour red", "--colour"),
        ] {
            let problem = read(line).expect_err(line);
            assert!(problem.contains(reason), "{line}: {problem}");
        }
    }
}
