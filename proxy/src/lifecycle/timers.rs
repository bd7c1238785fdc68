//! How long each state of a node's end lasts.

use std::time::Duration;

/// The times of a drain. What they default to is in `docs/operations.md`, with where each comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Lame duck: how long routers take to notice that the node is not ready.
    pub lame_duck: Duration,
    /// Lame duck ends early when no connection has come for so long.
    pub quiet: Duration,
    /// Connections are told to close at moments spread over this.
    pub spread: Duration,
    /// While the node drains, a connection without a request is closed after so long: more than the 30 s after which
    /// containerd and docker close it themselves, so that none is closed under a request.
    pub idle: Duration,
    /// Running responses are cut at moments spread over this.
    pub cut_window: Duration,
    /// From the deadline to the end of whatever still runs.
    pub hard_stop: Duration,
    /// After a cut, the node ends when no connection has come for so long, and waits for that at most twice as long.
    pub closing_quiet: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            lame_duck: Duration::from_secs(15),
            quiet: Duration::from_secs(10),
            spread: Duration::from_secs(30),
            idle: Duration::from_secs(35),
            cut_window: Duration::from_secs(10),
            hard_stop: Duration::from_secs(30),
            closing_quiet: Duration::from_secs(5),
        }
    }
}
