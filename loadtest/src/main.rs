//! The `loadtest` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    dataproxy_loadtest::main_with_args(std::env::args_os())
}
