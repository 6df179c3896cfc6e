//! One worker of the service `hostagent-messenger`: see `backends::service::hostagent_messenger`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backends::serve::main(&backends::service::hostagent_messenger::SERVICE)
}
