//! One worker of the service `message-system`: see `backends::service::message_system`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backends::serve::main(&backends::service::message_system::SERVICE)
}
