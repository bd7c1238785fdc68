//! A value that expires, such as a token: fetched ahead of its expiry, once for all who wait.
//!
//! While the present value is good, nobody waits for a newer one. A fetch is a task of its own, so that a caller who
//! goes away does not end it for the others. It has a limit: one that never ends would hold all who come after it.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure_core::time::OffsetDateTime;
use dataproxy_cache::{OriginError, OriginErrorKind};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::{Instant, timeout};

/// For one fetch, to its last byte.
const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// After a failed fetch, those who come within this time get its error and do not fetch again.
const FAILED_HOLD: Duration = Duration::from_secs(1);
/// After a failed fetch while the present value is still good.
const RENEWAL_HOLD: Duration = Duration::from_secs(15);
/// A value is given up this often at most, should its receiver refuse every new one too.
const DISCARD_HOLD: Duration = Duration::from_secs(5);

/// A value and when it expires.
#[derive(Clone)]
pub(crate) struct Dated<T> {
    pub(crate) value: T,
    pub(crate) expires: OffsetDateTime,
}

type Fetched<T> = Result<Dated<T>, OriginError>;
type Fetching<T> = Shared<BoxFuture<'static, Fetched<T>>>;

/// See the module.
pub(crate) struct Renewed<T> {
    what: &'static str,
    /// How long before its expiry a value is renewed, at most; a short-lived one at half its life.
    ahead: Duration,
    fetch: Box<dyn Fn() -> BoxFuture<'static, Fetched<T>> + Send + Sync>,
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    present: Option<Present<T>>,
    fetching: Option<Fetching<T>>,
    failed: Option<(Instant, OriginError)>,
    discarded: Option<Instant>,
}

struct Present<T> {
    dated: Dated<T>,
    renew_after: OffsetDateTime,
}

impl<T: Clone + Send + Sync + 'static> Renewed<T> {
    /// `what` it is, for messages; nothing is fetched yet.
    pub(crate) fn new<F: Future<Output = Fetched<T>> + Send + 'static>(
        what: &'static str,
        ahead: Duration,
        fetch: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        let state = State { present: None, fetching: None, failed: None, discarded: None };
        let fetch = Box::new(move || fetch().boxed());
        Self { what, ahead, fetch, state: Arc::new(Mutex::new(state)) }
    }

    /// A value that is good now.
    ///
    /// # Errors
    /// That of the fetch, where there is no good value.
    pub(crate) async fn get(&self) -> Fetched<T> {
        let fetching = {
            let mut state = lock(&self.state);
            let now = OffsetDateTime::now_utc();
            let held = |hold, state: &State<T>| match &state.failed {
                Some((at, error)) if at.elapsed() < hold => Some(error.clone()),
                _ => None,
            };
            if let Some(present) = state.present.as_ref().filter(|present| present.dated.expires > now) {
                let value = present.dated.clone();
                let due = present.renew_after <= now && state.fetching.is_none();
                if due && held(RENEWAL_HOLD, &state).is_none() {
                    // It goes on by itself; this caller need not wait.
                    drop(self.start(&mut state));
                }
                return Ok(value);
            }
            if let Some(error) = held(FAILED_HOLD, &state) {
                return Err(error);
            }
            match &state.fetching {
                Some(fetching) => fetching.clone(),
                None => self.start(&mut state),
            }
        };
        fetching.await
    }

    /// Gives up the value if it is still the one that `is_it` knows: its receiver has refused it. Once in 5 s at most.
    pub(crate) fn discard(&self, is_it: impl FnOnce(&T) -> bool) {
        let mut state = lock(&self.state);
        let held = state.discarded.is_some_and(|at| at.elapsed() < DISCARD_HOLD);
        if !held && state.present.as_ref().is_some_and(|present| is_it(&present.dated.value)) {
            state.present = None;
            state.discarded = Some(Instant::now());
        }
    }

    fn start(&self, state: &mut State<T>) -> Fetching<T> {
        let (what, ahead, shared) = (self.what, self.ahead, Arc::clone(&self.state));
        // A task within the task: a fetch that panics is over as well, and the next one must be able to start.
        let fetch = tokio::spawn(timeout(FETCH_LIMIT, (self.fetch)()));
        let task = tokio::spawn(async move {
            let fetched = match fetch.await {
                Ok(Ok(fetched)) => fetched,
                Ok(Err(_)) => {
                    let message = format!("no {what} within {} s", FETCH_LIMIT.as_secs());
                    Err(OriginError::new(OriginErrorKind::Timeout, message))
                }
                Err(_) => Err(lost(what)),
            };
            lock(&shared).settle(what, ahead, &fetched);
            fetched
        });
        // Without its task only while the process ends.
        let ended = async move { task.await.map_err(|_| lost(what))? };
        let fetching = ended.boxed().shared();
        state.fetching = Some(fetching.clone());
        fetching
    }
}

impl<T: Clone> State<T> {
    /// Notes how a fetch ended.
    fn settle(&mut self, what: &'static str, ahead: Duration, fetched: &Fetched<T>) {
        self.fetching = None;
        match fetched {
            Ok(dated) => {
                let life = Duration::try_from(dated.expires - OffsetDateTime::now_utc()).unwrap_or_default();
                let renew_after = dated.expires - ahead.min(life / 2);
                self.present = Some(Present { dated: dated.clone(), renew_after });
                self.failed = None;
                tracing::debug!(what, expires = %dated.expires, "renewed");
            }
            Err(error) => {
                tracing::warn!(what, %error, "cannot be renewed");
                self.failed = Some((Instant::now(), error.clone()));
            }
        }
    }
}

fn lost(what: &str) -> OriginError {
    OriginError::new(OriginErrorKind::Unavailable, format!("the fetch of the {what} was lost"))
}

impl<T> fmt::Debug for Renewed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewed({})", self.what)
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// A source of numbers that answers when it is let, each good for `life`.
    struct Numbers {
        asked: AtomicUsize,
        answers: Semaphore,
        refusals: AtomicUsize,
    }

    fn numbers(life: Duration, ahead: Duration) -> (Arc<Numbers>, Arc<Renewed<usize>>) {
        let numbers = Arc::new(Numbers {
            asked: AtomicUsize::new(0),
            answers: Semaphore::new(0),
            refusals: AtomicUsize::new(0),
        });
        let source = Arc::clone(&numbers);
        let renewed = Renewed::new("number", ahead, move || {
            let source = Arc::clone(&source);
            async move {
                let value = source.asked.fetch_add(1, Ordering::SeqCst) + 1;
                source.answers.acquire().await.expect("open").forget();
                if source.refusals.load(Ordering::SeqCst) > 0 {
                    source.refusals.fetch_sub(1, Ordering::SeqCst);
                    return Err(OriginError::new(OriginErrorKind::Unavailable, "not now"));
                }
                Ok(Dated { value, expires: OffsetDateTime::now_utc() + life })
            }
        });
        (numbers, Arc::new(renewed))
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn many_who_wait_cost_one_fetch_and_one_who_leaves_does_not_end_it() {
        let (numbers, renewed) = numbers(LONG, Duration::from_secs(60));
        let mut waiting: Vec<_> = (0..50)
            .map(|_| {
                let renewed = Arc::clone(&renewed);
                tokio::spawn(async move { renewed.get().await.map(|dated| dated.value) })
            })
            .collect();
        while numbers.asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let first = waiting.remove(0);
        first.abort();
        assert!(first.await.is_err(), "the one who started it is gone");
        numbers.answers.add_permits(1);
        for one in waiting {
            assert_eq!(one.await.expect("no panic").expect("a number"), 1);
        }
        assert_eq!(renewed.get().await.expect("a number").value, 1);
        assert_eq!(numbers.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_value_is_renewed_ahead_of_its_expiry_and_nobody_waits_for_it() {
        // Due at half its life, that is at once for all that this test can see, and good for long.
        let (numbers, renewed) = numbers(Duration::from_millis(600), LONG);
        numbers.answers.add_permits(1);
        assert_eq!(renewed.get().await.expect("a number").value, 1);
        // The present one is given while the next is fetched, for as long as it is good.
        while numbers.asked.load(Ordering::SeqCst) == 1 {
            assert_eq!(renewed.get().await.expect("a number").value, 1);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(renewed.get().now_or_never().expect("at once").expect("a number").value, 1);
        numbers.answers.add_permits(1);
        while renewed.get().await.expect("a number").value == 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(numbers.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_fetch_is_told_to_all_for_a_moment_and_then_tried_again() {
        let (numbers, renewed) = numbers(LONG, LONG);
        numbers.refusals.store(1, Ordering::SeqCst);
        numbers.answers.add_permits(2);
        for _ in 0..20 {
            assert!(renewed.get().await.is_err());
        }
        assert_eq!(numbers.asked.load(Ordering::SeqCst), 1, "a failure is not hammered");
        tokio::time::advance(FAILED_HOLD).await;
        assert_eq!(renewed.get().await.expect("a number").value, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_never_ends_is_given_up_and_the_next_one_starts() {
        let (numbers, renewed) = numbers(LONG, Duration::from_secs(60));
        let got = timeout(LONG, renewed.get()).await.expect("it does not wait for ever");
        let error = got.map(|dated| dated.value).expect_err("nobody answers");
        assert_eq!(error.kind, OriginErrorKind::Timeout, "{error}");
        tokio::time::advance(FAILED_HOLD).await;
        numbers.answers.add_permits(1);
        assert_eq!(renewed.get().await.expect("a number").value, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_is_lost_in_the_background_is_an_error_and_the_next_one_starts() {
        let asked = AtomicUsize::new(0);
        let renewed = Renewed::new("number", LONG, move || {
            let value = asked.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                assert_ne!(value, 2, "lost");
                Ok(Dated { value, expires: OffsetDateTime::now_utc() + LONG })
            }
        });
        assert_eq!(renewed.get().await.expect("a number").value, 1);
        lock(&renewed.state).present.as_mut().expect("a number").renew_after = OffsetDateTime::now_utc();
        assert_eq!(renewed.get().await.expect("a number").value, 1, "the present one, while it is renewed");
        while lock(&renewed.state).failed.is_none() {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(RENEWAL_HOLD).await;
        while renewed.get().await.expect("a number").value == 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(renewed.get().await.expect("a number").value, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_refuses_every_value_has_a_bounded_number_fetched() {
        let (numbers, renewed) = numbers(LONG, Duration::from_secs(60));
        numbers.answers.add_permits(100);
        for _ in 0..50 {
            let value = renewed.get().await.expect("a number").value;
            renewed.discard(|present| *present == value);
        }
        assert_eq!(numbers.asked.load(Ordering::SeqCst), 2);
        tokio::time::advance(DISCARD_HOLD).await;
        renewed.discard(|_| true);
        assert_eq!(renewed.get().await.expect("a number").value, 3);
    }

    #[tokio::test]
    async fn a_value_that_was_refused_is_fetched_anew_once() {
        let (numbers, renewed) = numbers(LONG, Duration::from_secs(60));
        numbers.answers.add_permits(2);
        assert_eq!(renewed.get().await.expect("a number").value, 1);
        renewed.discard(|value| *value == 1);
        // Those whose request was refused at the same time speak of the same value.
        assert_eq!(renewed.get().await.expect("a number").value, 2);
        renewed.discard(|value| *value == 1);
        assert_eq!(renewed.get().await.expect("a number").value, 2);
        assert_eq!(numbers.asked.load(Ordering::SeqCst), 2);
    }
}
