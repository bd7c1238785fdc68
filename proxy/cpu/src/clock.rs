//! The clocks that are read beside the counters.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// What the clocks say at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The wall's, since 1970 UTC. It may be set.
    pub wall: Duration,
    /// Since some beginning, without the time that the machine was suspended.
    pub running: Duration,
    /// Since the same beginning, with it.
    pub boot: Duration,
}

impl Times {
    /// Now.
    pub fn now() -> Self {
        Self {
            wall: duration(clock_gettime(ClockId::Realtime)),
            running: duration(clock_gettime(ClockId::Monotonic)),
            boot: duration(clock_gettime(ClockId::Boottime)),
        }
    }
}

/// What the calling thread has used.
pub fn thread_time() -> Duration {
    duration(clock_gettime(ClockId::ThreadCPUTime))
}

/// What the process has used.
pub(crate) fn process_time() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
