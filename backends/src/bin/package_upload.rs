//! One worker of the service `package-upload`: see `backends::service::package_upload`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backends::serve::main(&backends::service::package_upload::SERVICE)
}
