//! What is a fleet told to do? The options of `loadtest fleet`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;

/// What `--help` tells beyond the options.
const MORE: &str = "\
Ends with 1 where somebody did not come to their end, or where the database does not hold just what was \
acknowledged. loadtest/README.md tells what is compared.

A fleet of computers and WSL hosts before the services of `make demo`:
  loadtest fleet --clients 500 --hosts 200 --seconds 60 --key KEY --http 127.0.0.1:80

With orders, and a look into the database in the end:
  loadtest fleet --clients 500 --hosts 200 --key KEY --orders 20 --host-orders 10 \
--database \"$(cat .data/postgres/url)\"";

/// What kind of fleet.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = MORE, after_help = MORE)]
pub struct Options {
    /// Where agents exchange messages: address and port of the HTTPS listener
    #[arg(long, default_value = "127.0.0.1:443")]
    pub(super) target: SocketAddr,
    /// Where agents ping: address and port of the HTTP listener; by default over HTTPS, too
    #[arg(long)]
    pub(super) http: Option<SocketAddr>,
    /// The name that is asked for
    #[arg(long, default_value = "localhost")]
    pub(super) host: String,
    /// How many agents
    #[arg(long, visible_alias = "agents", default_value_t = 100)]
    pub(super) clients: usize,
    /// How many WSL hosts, each with a stream on a connection of its own
    #[arg(long, default_value_t = 0)]
    pub(super) hosts: usize,
    /// Where hosts connect: address and port of the gRPC listener
    #[arg(long, default_value = "127.0.0.1:6554")]
    pub(super) grpc: SocketAddr,
    /// Hosts speak HTTP/2 in plain text, straight to a worker
    #[arg(long)]
    pub(super) grpc_plain: bool,
    /// Hosts that connect in each second of the beginning
    #[arg(long, default_value_t = 200.0)]
    pub(super) arrivals: f64,
    /// Time between two changes on a host that nobody ordered, milliseconds; 0: none
    #[arg(long, default_value_t = 0)]
    pub(super) host_change_ms: u64,
    /// Longest wait of a host before it connects again, milliseconds; waits double from one second on
    #[arg(long, default_value_t = 600_000)]
    pub(super) host_wait_ms: u64,
    /// How long, seconds; an interrupt (Ctrl-C) ends it earlier
    #[arg(long, default_value_t = 30)]
    pub(super) seconds: u64,
    /// How long they may take to finish afterwards, seconds
    #[arg(long, default_value_t = 60)]
    pub(super) settle: u64,
    /// Time between two pings of an agent, milliseconds
    #[arg(long, default_value_t = 2000)]
    pub(super) ping_ms: u64,
    /// Time between two exchanges of an agent, milliseconds
    #[arg(long, default_value_t = 3000)]
    pub(super) exchange_ms: u64,
    /// Share of exchanges in which interfaces have changed
    #[arg(long, default_value_t = 0.5)]
    pub(super) change: f64,
    /// Longest request, seconds
    #[arg(long, default_value_t = 35)]
    pub(super) timeout: u64,
    /// The account that they register with
    #[arg(long, default_value = "standalone")]
    pub(super) account: String,
    /// The registration key of the account; without it they wait to be accepted
    #[arg(long)]
    pub(super) key: Option<String>,
    /// The database behind it: what was acknowledged is looked for there in the end
    #[arg(long, value_name = "URL")]
    pub(super) database: Option<String>,
    /// Orders per second for computers; given by calls of the API with `--api-key`, else in the database
    #[arg(long, default_value_t = 0.0, requires = "database")]
    pub(super) orders: f64,
    /// Orders per second for hosts, given in the database
    #[arg(long, default_value_t = 0.0, requires = "database")]
    pub(super) host_orders: f64,
    /// An access key for signed calls: a file with the lines that `schema access-key` prints
    #[arg(long, value_name = "FILE")]
    pub(super) api_key: Option<PathBuf>,
    /// Signed calls per second that look at a computer
    #[arg(long, default_value_t = 0.0, requires = "api_key")]
    pub(super) calls: f64,
    /// Processes whose memory and CPU time are told, as of the worker that holds the streams
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub(super) measure: Vec<u32>,
    /// Figures as JSON, and no progress
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// Refuses what contradicts itself.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.clients + self.hosts > 0,
            "a fleet has clients or hosts"
        );
        ensure!(
            (0.0..=1.0).contains(&self.change),
            "--change is a share from 0 to 1"
        );
        for (name, rate) in [
            ("--orders", self.orders),
            ("--host-orders", self.host_orders),
            ("--calls", self.calls),
        ] {
            let right = (0.0..=10_000.0).contains(&rate);
            ensure!(right, "{name} is a rate up to 10000");
        }
        ensure!(self.arrivals > 0.0, "--arrivals is a rate above 0");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_option_that_mends_it() {
        let told = |words: &[&str]| {
            let line = <Line as clap::Parser>::try_parse_from([&["fleet"][..], words].concat());
            let checked = line.expect("options").options.check();
            checked.map_err(|problem| problem.to_string())
        };
        assert_eq!(told(&[]), Ok(()));
        for (words, said) in [
            (["--clients", "0"], "a fleet has clients or hosts"),
            (["--change", "1.5"], "--change is a share from 0 to 1"),
            (["--arrivals", "0"], "--arrivals is a rate above 0"),
        ] {
            assert_eq!(told(&words), Err(said.to_owned()));
        }
        let database = ["--database", "postgres://x"];
        let many = [&database[..], &["--host-orders", "20000"]].concat();
        assert_eq!(
            told(&many),
            Err("--host-orders is a rate up to 10000".to_owned())
        );
    }

    #[test]
    fn the_help_tells_what_every_option_is_for_and_how_it_ends() {
        let mut command = Options::augment_args(clap::Command::new("fleet"));
        for option in command.get_arguments() {
            assert!(option.get_help().is_some(), "{}", option.get_id());
        }
        let help = command.render_long_help().to_string();
        for part in [
            "--hosts",
            "--change",
            "[default: 127.0.0.1:6554]",
            "Ends with 1",
            "loadtest fleet --clients",
        ] {
            assert!(help.contains(part), "{part}: {help}");
        }
        let readme = include_str!("../../README.md");
        for option in [
            "--clients",
            "--hosts",
            "--orders",
            "--database",
            "--measure",
            "--settle",
        ] {
            assert!(help.contains(option) && readme.contains(option), "{option}");
        }
    }
}
