//! The command line: `dataproxy serve` and `dataproxy check`.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::{app, telemetry};

/// Streams container images from storage accounts through a memory and disk cache.
#[derive(Debug, Parser)]
#[command(name = "dataproxy", version, subcommand_required = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until SIGTERM or SIGINT.
    Serve {
        /// The node's configuration, in TOML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Read the configuration and all that it names, say what a node would do, and listen nowhere.
    Check {
        /// The node's configuration, in TOML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Also read from every account that a registry's content lies in, and say what came of it.
        #[arg(long)]
        reach: bool,
    },
}

/// Runs the command that `args` ask for; the first of them is the program's own name.
///
/// Blocks until it is done. Call it once per process: it takes over the process's signals, logs and metrics.
pub fn main_with_args(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // Whoever closed the pipe does not want to read it.
            let _ = error.print();
            return exit.into();
        }
    };
    let done = match arguments.command {
        Command::Serve { config } => serve(&config),
        Command::Check { config, reach } => check(&config, reach),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(Failure { exit, message }) => {
            let _ = writeln!(std::io::stderr(), "dataproxy: {message}");
            exit.into()
        }
    }
}

fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|error| Failure::new(Exit::Config, error))
}

fn serve(path: &Path) -> Result<Exit, Failure> {
    let config = load(path)?;
    let _logs = telemetry::init(&config.log).map_err(|error| Failure::new(Exit::System, error))?;
    app::serve(config)
}

fn check(path: &Path, reach: bool) -> Result<Exit, Failure> {
    let config = load(path)?;
    let text = app::check(&config)?;
    let _ = std::io::stdout().write_all(text.as_bytes());
    if !reach {
        return Ok(Exit::Done);
    }
    let (table, exit) = app::reach(&config)?;
    let _ = std::io::stdout().write_all(table.as_bytes());
    Ok(exit)
}
