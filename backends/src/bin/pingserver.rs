//! One worker of the service `pingserver`: see `backends::service::pingserver`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backends::serve::main(&backends::service::pingserver::SERVICE)
}
