//! The `dataproxy` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    dataproxy::main_with_args(std::env::args_os())
}
