//! `stampctl`: the operator's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    dataproxy_router::stampctl::main_with_args(std::env::args_os())
}
