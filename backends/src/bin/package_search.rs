//! One worker of the service `package-search`: see `backends::service::package_search`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backends::serve::main(&backends::service::package_search::SERVICE)
}
