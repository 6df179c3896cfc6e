//! How often does a request allocate? The gateway, with an allocator that counts.
//!
//!     cargo build --release -p gateway --example allocations
//!     target/release/examples/allocations run -c routes.yaml        # and ALLOCATIONS=127.0.0.1:9902
//!
//! Whoever connects to the address in `ALLOCATIONS` is told the allocations and re-allocations of the whole process so
//! far, as a decimal number in a line. `loadtest allocations` asks at both ends of a load. What C code allocates by
//! itself (aws-lc) is not counted.

use std::alloc::System;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;

use gateway::observe::level::LogLevel;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    if let Ok(address) = std::env::var("ALLOCATIONS") {
        match TcpListener::bind(&address) {
            Ok(listener) => {
                std::thread::spawn(move || tell(&listener));
            }
            Err(error) => {
                eprintln!("allocations: {address}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["run", "-c", file] => gateway::app::run(Path::new(file), level()),
        ["check", file] => gateway::app::check(Path::new(file)),
        _ => {
            eprintln!("allocations: run -c FILE, or check FILE");
            ExitCode::FAILURE
        }
    }
}

/// There is no log of events here, and so no level to set.
fn level() -> LogLevel {
    LogLevel::new("off".to_owned(), |_| {
        Err("this program keeps no log".to_owned())
    })
}

/// Allocates nothing itself while it tells.
fn tell(listener: &TcpListener) {
    for socket in listener.incoming() {
        let stats = COUNTING.stats();
        if let Ok(mut socket) = socket {
            let _ = writeln!(socket, "{}", stats.allocations + stats.reallocations);
        }
    }
}
