//! Wakes at an instant to some tens of microseconds.
//!
//! The runtime's own timer counts whole milliseconds and rounds up, which would add half a millisecond to a latency of
//! five. A timerfd is exact to the kernel's timers, but a CPU that slept wakes some hundred microseconds late, and arming
//! costs a few, too much for tens of thousands of pulls a second. So the last [`NEAR`] is always passed by looking at the
//! clock between the runtime's other work, and after a longer sleep up to [`EARLY`], in at most one part in
//! [`ASLEEP`] of the time: at a few pulls a second that is nothing, and at thousands the CPU does not sleep. What is left
//! is reported as lateness: at the median 23 µs at 20 pulls a second (92 without being up early), 13 at 200, 18 at 20,000,
//! and 1 at 50,000, on one of two virtual cores.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Shorter times are not worth a timer.
const NEAR: Duration = Duration::from_micros(20);
/// The most that a precise waker is up before its time.
const EARLY: Duration = Duration::from_micros(300);
/// A precise waker is up for one part of this of its wait.
const ASLEEP: u32 = 50;

/// One timer; of one task at a time.
#[derive(Debug)]
pub(crate) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// A timer of the runtime that it is made in.
    ///
    /// # Errors
    ///
    /// If the kernel has no timer, or this process may have no more files.
    pub(crate) fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "unsound for what does not own its file; this does, and what replaces it is unsafe"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Resolves at `at`, or at once where that is past. May be dropped at any time.
    ///
    /// # Errors
    ///
    /// If the kernel refuses the timer.
    pub(crate) async fn until(&self, at: Instant) -> std::io::Result<()> {
        self.up(at, NEAR).await
    }

    /// As `until`, nearer to `at` by the cost of being awake a little before.
    ///
    /// # Errors
    ///
    /// If the kernel refuses the timer.
    pub(crate) async fn precisely_until(&self, at: Instant) -> std::io::Result<()> {
        let wait = at.saturating_duration_since(Instant::now());
        self.up(at, (wait / ASLEEP).clamp(NEAR, EARLY)).await
    }

    async fn up(&self, at: Instant, before: Duration) -> std::io::Result<()> {
        loop {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if left <= before {
                tokio::task::yield_now().await;
                continue;
            }
            self.arm(left - before)?;
            // An event of a time that was dropped only leads round the loop once more.
            self.0.readable().await?.clear_ready();
        }
    }

    fn arm(&self, left: Duration) -> std::io::Result<()> {
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let timer = Itimerspec { it_interval: once, it_value: value };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &timer)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_is_never_early_and_can_be_dropped_and_used_again() {
        let alarm = Alarm::new().expect("a timer");
        for microseconds in [0, 5, 30, 500, 3_000, 20_000] {
            let at = Instant::now() + Duration::from_micros(microseconds);
            alarm.until(at).await.expect("a time");
            assert!(Instant::now() >= at, "{microseconds} µs");
            let at = Instant::now() + Duration::from_micros(microseconds);
            alarm.precisely_until(at).await.expect("a time");
            assert!(Instant::now() >= at, "{microseconds} µs, precisely");
            let far = alarm.until(Instant::now() + Duration::from_secs(3600));
            assert!(tokio::time::timeout(Duration::from_millis(1), far).await.is_err());
        }
    }
}
