//! Tells the broker what happened: see `backends::service::outbox_relay`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backends::serve::main(&backends::service::outbox_relay::SERVICE)
}
