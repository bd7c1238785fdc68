//! Whether an account answers at all.
//!
//! An account that has failed [`FAILURES`] times in a row, and for [`FAILING_FOR`], *looks dark*, and is asked by a
//! probe. If that is not answered either, or if as many different objects have failed, it is *dark*: it is not asked by pulls, which then fail or go elsewhere at once,
//! but by one probe at a time until that is answered. A single broken connection with many requests on it is over sooner
//! than that, and one object that cannot be read says nothing of the others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dataproxy_cache::{ObjectName, OriginError, OriginErrorKind};
use tokio::time::Instant;

/// Failures in a row, with no answer between them, that make an account look dark.
pub(super) const FAILURES: u32 = 5;
/// How long it must have given no answer; for a request that timed out, from when it began to wait.
pub(super) const FAILING_FOR: Duration = Duration::from_secs(1);
/// How long an account counts as throttled after it has said so.
const THROTTLED_FOR: Duration = Duration::from_secs(10);
/// Longest wait before the first probe, and the longest of all; each is twice the one before. The wait is between
/// half of it and all of it, so that nodes do not come back together.
const PROBE_FIRST: Duration = Duration::from_millis(500);
const PROBE_CAP: Duration = Duration::from_secs(10);

/// What an account is like, as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountState {
    /// It answers.
    Healthy,
    /// It answers, and has asked for less within the last ten seconds.
    Throttled,
    /// It does not answer, and is asked by probes only.
    Dark,
}

impl AccountState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Healthy, Self::Throttled, Self::Dark];

    /// The stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Throttled => "throttled",
            Self::Dark => "dark",
        }
    }
}

#[derive(Debug, Default)]
struct Run {
    failures: u32,
    /// Those that failed, each once, up to [`FAILURES`].
    objects: Vec<ObjectName>,
    first_at: Option<Instant>,
    /// It looks dark, and a probe is to say whether it is.
    suspect: bool,
    dark: bool,
    last: Option<OriginError>,
    throttled_at: Option<Instant>,
}

/// The health of one account.
#[derive(Debug)]
pub(super) struct Health {
    run: Mutex<Run>,
    start: Instant,
    /// The last answer, in milliseconds from the start.
    answered_at: AtomicU64,
    /// Whether there is anything in `run` that a good answer would change.
    failing: AtomicBool,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            run: Mutex::default(),
            start: Instant::now(),
            answered_at: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        }
    }

    fn run(&self) -> std::sync::MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What made it dark, if it is.
    pub(super) fn darkness(&self) -> Option<OriginError> {
        if !self.failing.load(Relaxed) {
            return None;
        }
        let run = self.run();
        if run.dark { run.last.clone() } else { None }
    }

    pub(super) fn state(&self) -> AccountState {
        let run = self.run();
        match run.throttled_at {
            _ if run.dark => AccountState::Dark,
            Some(at) if at.elapsed() < THROTTLED_FOR => AccountState::Throttled,
            _ => AccountState::Healthy,
        }
    }

    /// The account answered; whether it was dark.
    pub(super) fn answered(&self) -> bool {
        self.answered_at.store(self.start.elapsed().as_millis() as u64, Relaxed);
        if !self.failing.load(Relaxed) {
            return false;
        }
        let mut run = self.run();
        self.failing.store(false, Relaxed);
        let was_dark = run.dark;
        *run = Run { throttled_at: run.throttled_at, ..Run::default() };
        was_dark
    }

    /// A request for `object` failed that has had no word since then; whether the account looks dark, or is, from now on.
    pub(super) fn failed(&self, object: &ObjectName, error: &OriginError, since: Instant) -> bool {
        let now = Instant::now();
        let mut run = self.run();
        match error.kind {
            OriginErrorKind::Throttled(_) => {
                run.throttled_at = Some(now);
                return false;
            }
            OriginErrorKind::Unavailable | OriginErrorKind::Timeout => {}
            // One object can be damaged in an account that is well.
            _ => return false,
        }
        self.failing.store(true, Relaxed);
        run.failures = run.failures.saturating_add(1);
        if run.objects.len() < FAILURES as usize && !run.objects.contains(object) {
            run.objects.push(object.clone());
        }
        let answered = self.start + Duration::from_millis(self.answered_at.load(Relaxed));
        let first = *run.first_at.get_or_insert(since.max(answered));
        let looks_dark = run.failures >= FAILURES && now.duration_since(first) >= FAILING_FOR;
        let is_sure = looks_dark && run.objects.len() >= FAILURES as usize;
        let turned = if is_sure { !run.dark } else { looks_dark && !run.suspect };
        run.suspect |= looks_dark;
        if turned && is_sure {
            run.dark = true;
            run.last = Some(error.clone());
        }
        turned
    }

    /// A probe failed too; whether the account is dark from now on. It is not if it has answered since it looked dark.
    pub(super) fn convict(&self, error: &OriginError) -> bool {
        let mut run = self.run();
        let turned = run.suspect && !run.dark;
        if turned {
            run.dark = true;
            run.last = Some(error.clone());
        }
        turned
    }
}

/// Whether an account that says this is there.
pub(super) fn is_answer(kind: OriginErrorKind) -> bool {
    !matches!(kind, OriginErrorKind::Unavailable | OriginErrorKind::Timeout | OriginErrorKind::Protocol)
}

/// The wait before a probe, the first being number 0.
pub(super) fn probe_wait(number: u32) -> Duration {
    let longest = PROBE_FIRST.saturating_mul(1 << number.min(16)).min(PROBE_CAP);
    longest.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn object() -> ObjectName {
        ObjectName::new("c/object")
    }

    fn error(kind: OriginErrorKind) -> OriginError {
        OriginError::new(kind, "scripted")
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_dark_after_five_failures_in_a_row_over_a_second_and_a_probe() {
        let health = Health::new();
        let outage = error(OriginErrorKind::Unavailable);
        for _ in 0..100 {
            assert!(!health.failed(&object(), &outage, Instant::now()), "one broken connection");
        }
        assert!(!health.answered());
        for _ in 0..4 {
            advance(FAILING_FOR).await;
            assert!(!health.failed(&object(), &outage, Instant::now()));
        }
        assert_eq!(health.state(), AccountState::Healthy);
        assert!(health.failed(&object(), &error(OriginErrorKind::Timeout), Instant::now()));
        assert!(!health.failed(&object(), &outage, Instant::now()), "it looks dark once");
        assert_eq!((health.state(), health.darkness().is_some()), (AccountState::Healthy, false));
        assert_eq!([health.convict(&outage), health.convict(&outage)], [true, false]);
        assert_eq!((health.state(), health.darkness().is_some()), (AccountState::Dark, true));
        assert!(health.answered());
        assert_eq!((health.state(), health.darkness().is_some()), (AccountState::Healthy, false));
        assert!(!health.convict(&outage), "it has answered while the probe was under way");
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_that_fails_for_five_objects_is_dark_at_once() {
        let health = Health::new();
        let outage = error(OriginErrorKind::Timeout);
        let began = Instant::now();
        advance(FAILING_FOR).await;
        let turned = |number: u32| health.failed(&ObjectName::new(format!("c/{number}")), &outage, began);
        // The fifth failure makes it look dark, the fifth object makes it so.
        assert_eq!([0, 0, 1, 2, 3].map(turned), [false, false, false, false, true]);
        assert_eq!(health.state(), AccountState::Healthy);
        assert_eq!((turned(4), health.state()), (true, AccountState::Dark));
        assert!(!turned(5) && !health.convict(&outage), "once");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_when_it_began_and_never_from_before_the_last_answer() {
        let health = Health::new();
        let began = Instant::now();
        advance(FAILING_FOR * 2).await;
        let silent = error(OriginErrorKind::Timeout);
        health.answered();
        assert!((0..10).all(|_| !health.failed(&object(), &silent, began)), "others were answered meanwhile");
        health.answered();
        advance(FAILING_FOR).await;
        let turned: Vec<bool> = (0..5).map(|_| health.failed(&object(), &silent, began)).collect();
        assert_eq!(turned, [false, false, false, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_no_outage_never_make_it_dark() {
        let health = Health::new();
        for kind in [
            OriginErrorKind::NotFound,
            OriginErrorKind::Denied,
            OriginErrorKind::Protocol,
            OriginErrorKind::Changed,
            OriginErrorKind::Throttled(None),
        ] {
            for _ in 0..20 {
                advance(FAILING_FOR / 2).await;
                assert!(!health.failed(&object(), &error(kind), Instant::now()), "{kind:?}");
            }
        }
        assert_eq!(health.state(), AccountState::Throttled);
        advance(THROTTLED_FOR).await;
        assert_eq!(health.state(), AccountState::Healthy);
    }

    #[test]
    fn probes_come_ever_later_up_to_a_bound() {
        for (number, longest) in [(0, 500), (1, 1000), (4, 8000), (5, 10_000), (40, 10_000)] {
            let longest = Duration::from_millis(longest);
            for _ in 0..100 {
                let wait = probe_wait(number);
                assert!(longest / 2 <= wait && wait <= longest, "{number}: {wait:?}");
            }
        }
    }
}
