//! What a node does for one registry, counted where its pulls pass: by numbers of the registry's own, which are found
//! with its binding, and by no lock that two registries share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A registry's running pulls are kept in so many parts, so that they seldom meet on a lock.
const PARTS: usize = 8;

type Part = Mutex<BTreeMap<u64, Instant>>;

/// The pulls of one registry, whatever epochs it has had.
#[derive(Debug)]
struct Work {
    since: Instant,
    begun: AtomicU64,
    /// Microseconds from `since` to the last begin.
    last: AtomicU64,
    /// When each of the running ones began, by its number. Made for the first pull.
    running: OnceLock<Box<[Part; PARTS]>>,
}

impl Work {
    fn part(&self, number: u64) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        let parts = self.running.get_or_init(Box::default);
        // The remainder is below the array's length.
        parts[number as usize % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> Instant {
        self.since + Duration::from_micros(self.last.load(Relaxed))
    }
}

/// What the node does for a registry since the epoch of its binding came.
#[derive(Clone, Debug)]
pub struct Standing {
    work: Arc<Work>,
    begun_before: u64,
    came: Instant,
}

impl Default for Standing {
    fn default() -> Self {
        let came = Instant::now();
        let (begun, last, running) = (AtomicU64::new(0), AtomicU64::new(0), OnceLock::new());
        Self { work: Arc::new(Work { since: came, begun, last, running }), begun_before: 0, came }
    }
}

/// What was counted of a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worked {
    /// Pulls that run, of whatever epoch.
    pub in_flight: u64,
    /// Age of the oldest of them.
    pub oldest: Duration,
    /// Pulls begun since the epoch came.
    pub begun: u64,
    /// Time since the last of those began, if there was one.
    pub quiet: Option<Duration>,
}

/// A pull that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Flight {
    work: Arc<Work>,
    number: u64,
}

impl Standing {
    /// The same registry's under the next table, where its epoch is the same or has grown.
    pub(super) fn at_epoch(&self, is_same: bool) -> Self {
        if is_same {
            return self.clone();
        }
        let begun_before = self.work.begun.load(Relaxed);
        Self { work: Arc::clone(&self.work), begun_before, came: Instant::now() }
    }

    /// Counts a pull in, until the guard is dropped.
    pub fn begin(&self) -> Flight {
        let (work, now) = (Arc::clone(&self.work), Instant::now());
        let number = work.begun.fetch_add(1, Relaxed);
        let after = now.duration_since(work.since).as_micros();
        work.last.fetch_max(u64::try_from(after).unwrap_or(u64::MAX), Relaxed);
        work.part(number).insert(number, now);
        Flight { work, number }
    }

    /// How long the binding's epoch has been known here.
    pub fn age(&self) -> Duration {
        self.came.elapsed()
    }

    /// What was counted by now. Looks at every running pull: for a report, not for a pull.
    pub fn worked(&self) -> Worked {
        let begun = self.work.begun.load(Relaxed).saturating_sub(self.begun_before);
        let quiet = (begun > 0).then(|| self.work.last().elapsed());
        let (mut in_flight, mut oldest) = (0, Duration::ZERO);
        for part in self.work.running.get().into_iter().flat_map(|parts| parts.iter()) {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            in_flight += part.len() as u64;
            // The lowest number began first, but for what two threads do at the same instant.
            oldest = oldest.max(part.values().next().map_or(Duration::ZERO, Instant::elapsed));
        }
        Worked { in_flight, oldest, begun, quiet }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.work.part(self.number).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn running_pulls_are_counted_across_epochs_and_begun_ones_since_the_last() {
        let first = Standing::default();
        assert_eq!(first.worked(), Worked::default());
        let old = first.begin();
        advance(SECOND).await;
        drop(first.begin());
        advance(SECOND).await;
        let worked = Worked { in_flight: 1, oldest: 2 * SECOND, begun: 2, quiet: Some(SECOND) };
        assert_eq!(first.worked(), worked);
        assert_eq!(first.at_epoch(true).worked(), worked);

        let second = first.at_epoch(false);
        assert_eq!(second.worked(), Worked { begun: 0, quiet: None, ..worked });
        advance(SECOND).await;
        // Whoever still has the former table counts like everybody.
        let late = first.begin();
        assert_eq!(second.age(), SECOND);
        let worked = second.worked();
        assert_eq!((worked.in_flight, worked.begun, worked.quiet), (2, 1, Some(Duration::ZERO)));
        drop((old, late));
        advance(SECOND).await;
        let worked = Worked { in_flight: 0, oldest: Duration::ZERO, begun: 1, quiet: Some(SECOND) };
        assert_eq!(second.worked(), worked);
    }

    #[test]
    fn pulls_of_many_threads_are_all_counted_out_again() {
        let standing = Standing::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let flights = (standing.begin(), standing.begin());
                        assert!(standing.worked().in_flight >= 2);
                        drop(flights);
                    }
                });
            }
        });
        let worked = standing.worked();
        assert_eq!((worked.in_flight, worked.begun), (0, 8000));
    }
}
