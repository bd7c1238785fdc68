//! Reading no faster than told.

use std::time::Duration;

use tokio::time::Instant;

/// How often a second a paced body is read: the shortest pause is long against a timer's grain of 1 ms.
const READS_PER_SECOND: u64 = 20;

/// Keeps one body at its rate, by pauses between reads. The kernel's buffer fills meanwhile and its window closes, as with a
/// slow reader.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Option<u64>,
    began: Instant,
    taken: u64,
}

impl Pace {
    /// `rate` in bytes per second; `None`: as fast as it comes.
    pub(crate) fn new(rate: Option<u64>) -> Self {
        // Without a rate the clock is never looked at again; reading it once costs some 20 ns.
        Self { rate: rate.map(|rate| rate.max(1)), began: Instant::now(), taken: 0 }
    }

    /// What the next read may take.
    pub(crate) fn quantum(&self) -> u64 {
        self.rate.map_or(u64::MAX, |rate| (rate / READS_PER_SECOND).max(1))
    }

    /// Waits until `count` more bytes are due. Dropped: nothing is lost.
    pub(crate) async fn took(&mut self, count: u64) {
        self.taken += count;
        if let Some(rate) = self.rate {
            let due = Duration::from_secs_f64(self.taken as f64 / rate as f64);
            tokio::time::sleep_until(self.began + due).await;
        }
    }
}
