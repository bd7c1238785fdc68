//! The `router` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    dataproxy_router::main_with_args(std::env::args_os())
}
