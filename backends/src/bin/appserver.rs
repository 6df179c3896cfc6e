//! One worker of the service `appserver`: see `backends::service::appserver`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backends::serve::main(&backends::service::appserver::SERVICE)
}
