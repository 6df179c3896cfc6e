//! One worker of the service `api`: see `backends::service::api`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backends::serve::main(&backends::service::api::SERVICE)
}
