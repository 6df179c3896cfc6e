//! How is the process started? Sub-commands and exit codes.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gateway::explain::Question;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Portcullis: an edge gateway in front of port ranges of workers.
#[derive(Parser)]
#[command(name = "portcullis", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM (drains first) or SIGINT (at once). SIGHUP reloads, SIGQUIT upgrades.
    Run {
        /// Configuration file.
        #[arg(short, long, default_value = "routes.yaml", value_name = "FILE")]
        config: PathBuf,
    },
    /// Tell every problem of a configuration, certificates included, without running it. Exits 1 on errors.
    Check {
        /// Configuration file.
        #[arg(default_value = "routes.yaml", value_name = "FILE")]
        config: PathBuf,
        /// Print a JSON Schema of configuration files for editors, and check nothing.
        #[arg(long)]
        schema: bool,
    },
    /// Replace the running process by the binary and the configuration as they are now, without closing a socket.
    Upgrade {
        /// Its configuration file, which names the socket to ask at.
        #[arg(short, long, default_value = "routes.yaml", value_name = "FILE")]
        config: PathBuf,
    },
    /// Tell what would become of a request: listener, certificate, route and why, pool, workers, deadlines.
    Explain {
        /// Configuration file.
        #[arg(short, long, default_value = "routes.yaml", value_name = "FILE")]
        config: PathBuf,
        /// The client's address.
        #[arg(long, default_value = "127.0.0.1", value_name = "ADDR")]
        from: IpAddr,
        /// The name that the client asks for in TLS, where it is not the URL's host.
        #[arg(long, value_name = "NAME")]
        tls: Option<String>,
        /// A field of the request, `Name: value`.
        #[arg(short = 'H', long = "header", value_name = "FIELD")]
        fields: Vec<String>,
        /// Method, for example GET.
        method: String,
        /// Absolute URL, for example https://landscape.example.com/ping
        url: String,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("PORTCULLIS_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,pingora_core=warn,h2=warn,rustls=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log that nobody reads any more must not end the process.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    match cli.command {
        Command::Run { config } => gateway::app::run(&config),
        Command::Check { schema: true, .. } => gateway::app::schema(),
        Command::Check { config, .. } => gateway::app::check(&config),
        Command::Upgrade { config } => gateway::app::upgrade(&config),
        Command::Explain {
            config,
            from,
            tls,
            fields,
            method,
            url,
        } => {
            let question = Question {
                from,
                tls_name: tls,
                method,
                url,
                fields,
            };
            gateway::app::explain(&config, &question)
        }
    }
}
