//! What serving costs: CPU and memory of local server processes, and what nodes say of themselves by `/metrics`.
//!
//! ```text
//! Watch::start ── each second ──► series        process: one line of /proc
//!   mark()  exact reading                       tree:    a process and all that descend from it
//!   stop()  exact reading ──► report            metrics: Prometheus's text; scrape: fetching it
//! ```
//!
//! CPU of local processes is user and system time as the kernel accounts it, in clock ticks of 10 ms as a rule; so runs
//! of less than a second of CPU say little. It is read at the moment of [`Watch::mark`] and of [`Watch::stop`], not
//! interpolated.

pub mod metrics;
mod node;
mod process;
mod scrape;
mod server;
#[cfg(test)]
mod shell;
mod tree;
mod watch;

pub use scrape::{ScrapeError, Source};
pub use tree::{Cpu, Seen, Tree, TreeError};
pub use watch::{Watch, WatchError, Watched, WatchedError};
