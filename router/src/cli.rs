//! The command line: `router serve`, `router check`, `router restore`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::app;
use crate::config::Config;

/// The control plane of a region: bindings of registries to stamps, and their moves.
#[derive(Debug, Parser)]
#[command(name = "router", version, subcommand_required = true, arg_required_else_help = true, after_help = AFTER)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Exit codes: 0 ended as asked, 2 wrong command line, 66 a token or the certificate cannot be read, 69 an address cannot be listened on,
71 the system gave no thread, 74 the store or the backup cannot be used, 78 wrong settings.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a router until SIGTERM or SIGINT.
    Serve {
        /// The router's settings, in TOML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Read the settings, say what they mean, and do nothing.
    Check {
        /// The router's settings, in TOML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Write a backup, as `stampctl export` makes them, into the router's store, which has to be empty.
    Restore {
        /// The router's settings, in TOML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The backup.
        #[arg(value_name = "BACKUP")]
        backup: PathBuf,
    },
}

const USAGE: u8 = 2;
const SYSTEM: u8 = 71;
const SETTINGS: u8 = 78;

/// Runs the command that `arguments` ask for; the first of them is the program's own name. Blocks until it is done.
pub fn main_with_args(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() { USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(exit);
        }
    };
    let (Command::Serve { config: path }
    | Command::Check { config: path }
    | Command::Restore { config: path, .. }) = &arguments.command;
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return failed(&error, SETTINGS.into()),
    };
    match arguments.command {
        Command::Check { .. } => {
            println!("region  {}\nAPI     {}\nstore   {}", config.region, config.api.listen, config.store);
            match config.tokens.as_slice() {
                [] => println!("tokens  none: everybody on this machine is an administrator"),
                some => {
                    some.iter().for_each(|token| println!("token   {} ({})", token.name, token.role.as_str()))
                }
            }
            ExitCode::SUCCESS
        }
        Command::Serve { .. } => {
            if let Err(error) = log(&config.log.level) {
                return failed(&error, SYSTEM.into());
            }
            match app::serve(config) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error, error.exit_code()),
            }
        }
        Command::Restore { backup, .. } => match app::restore(&config, &backup) {
            Ok(records) => {
                println!("{records} records restored");
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error, error.exit_code()),
        },
    }
}

fn failed(error: &dyn std::fmt::Display, exit: ExitCode) -> ExitCode {
    eprintln!("router: {error}");
    exit
}

fn log(level: &str) -> Result<(), String> {
    let targets: Targets = level.parse().map_err(|error| format!("log.level: {error}"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(lines).with(targets).try_init().map_err(|error| error.to_string())
}
