//! Measures pulls against any container registry.
//!
//! A run is a [`plan::Plan`]: flows of pulls that arrive on a schedule of their own, each done as one real client does it.
//!
//! ```text
//! plan ─► schedule: when ─► workload: what ─► drive ─► pull: one pull, phase by phase ─► tally ─► report
//!                                                        client: docker | containerd | containers-image
//!                                                        wire:   resolve, connect, TLS, request, body
//! ```
//!
//! Latency is counted from the *intended* start of a pull, so that a server that stalls cannot hide it by holding the
//! next pulls back (coordinated omission). Whatever arrives is hashed here; no code of the proxy is used to judge it.

pub mod access;
pub mod cost;
pub mod judge;
pub mod live;
pub mod outcome;
pub mod peers;
pub mod phase;
pub mod plan;
pub mod pull;
pub mod report;
pub mod seed;
pub mod sink;
pub mod snapshot;
pub mod subject;

mod blob;
mod check;
mod client;
mod command;
mod drive;
mod events;
mod habits;
mod health;
mod image;
mod interrupt;
mod kept;
mod machine;
mod manifest;
mod places;
mod popularity;
mod random;
mod request;
mod run;
mod scenario;
mod schedule;
mod seen;
mod session;
mod stall;
mod tally;
mod token;
mod wire;
mod workload;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs one command line, such as `loadtest pull …`, and says how it ended. The exit codes are in `loadtest --help`.
pub fn main_with_args(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    command::run(arguments)
}
