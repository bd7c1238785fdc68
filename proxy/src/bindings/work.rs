//! What a node does for one registry, counted where its pulls pass: by numbers of the registry's own, which are found
//! with its binding, and by no lock that two registries share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use dataproxy_cpu::{Purse, Spent};
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
    /// Microseconds that those took which have ended, in sum.
    flown: AtomicU64,
    /// What is used for it. Made for the first pull.
    purse: OnceLock<Arc<Purse>>,
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
        let work = Work {
            since: came,
            begun: AtomicU64::new(0),
            last: AtomicU64::new(0),
            running: OnceLock::new(),
            flown: AtomicU64::new(0),
            purse: OnceLock::new(),
        };
        Self { work: Arc::new(work), begun_before: 0, came }
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

    /// Who pays for what is done for the registry.
    pub fn purse(&self) -> &Arc<Purse> {
        self.work.purse.get_or_init(Arc::default)
    }

    /// What its purse has paid, and the time that pulls took so far, in sum over those that ran at once. `None` if there never
    /// was one. Looks at every running pull.
    pub fn total(&self) -> Option<(Spent, Duration)> {
        let spent = self.work.purse.get()?.spent();
        let mut flown = Duration::from_micros(self.work.flown.load(Relaxed));
        for part in self.work.running.get().into_iter().flat_map(|parts| parts.iter()) {
            let part = part.lock().unwrap_or_else(PoisonError::into_inner);
            flown += part.values().map(Instant::elapsed).sum::<Duration>();
        }
        Some((spent, flown))
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

impl Flight {
    /// Who pays for it.
    pub fn purse(&self) -> &Arc<Purse> {
        self.work.purse.get_or_init(Arc::default)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut part = self.work.part(self.number);
        if let Some(began) = part.remove(&self.number) {
            // Under the lock, or a pull would be in neither sum for a moment.
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.work.flown.fetch_add(took, Relaxed);
        }
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

    #[tokio::test(start_paused = true)]
    async fn the_time_of_pulls_is_summed_over_those_that_ran_at_once_ended_or_not() {
        let standing = Standing::default();
        assert_eq!(standing.total(), None);
        let (one, other) = (standing.begin(), standing.begin());
        one.purse().request(true, 7);
        advance(SECOND).await;
        drop(one);
        advance(2 * SECOND).await;
        let (spent, flown) = standing.at_epoch(false).total().expect("a pull");
        assert_eq!((spent.requests, spent.hit_bytes, flown), (1, 7, 4 * SECOND));
        drop(other);
        advance(SECOND).await;
        assert_eq!(standing.total().map(|(_, flown)| flown), Some(4 * SECOND));
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
