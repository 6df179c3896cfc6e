//! How is the process started? The log of events, then what the command line says.

use std::process::ExitCode;

use clap::Parser;
use gateway::cli::{self, Cli};
use gateway::heap::Heap;
use gateway::observe::level::LogLevel;

#[global_allocator]
static ALLOCATOR: Heap<mimalloc::MiMalloc> = Heap(mimalloc::MiMalloc);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (filter, at_start) = LogLevel::at_start(std::env::var("PORTCULLIS_LOG").ok());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log that nobody reads any more must not end the process.
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_filter_reloading();
    let filter = log.reload_handle();
    log.init();
    let set = move |to| filter.reload(to).map_err(|error| error.to_string());
    cli::run(cli, LogLevel::new(at_start, set))
}
