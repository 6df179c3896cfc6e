//! Makes and changes the database of the services.

use std::process::ExitCode;

fn main() -> ExitCode {
    backends::operator::main()
}
