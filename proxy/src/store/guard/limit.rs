//! How many requests an account is asked at once: fewer when it says that it has too many, slowly more when it copes.
//!
//! Additive increase, multiplicative decrease, as for TCP's window: halved by a throttled or timed-out request, at most
//! once a second since those sent before the cut come back the same; one more after as many good answers as the limit
//! is, and only while more than half of it is used. Those who wait are served in order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// The limit never falls below this: an account is always asked something, or it could not show that it is well.
pub(super) const LEAST: usize = 4;
/// Time between two cuts.
const CUT_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for a place. Less than a link's patience, so that the answer says what was waited for.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(3);

#[derive(Debug)]
struct State {
    limit: usize,
    /// Places that are in use and go when they are given back.
    surplus: usize,
    good: usize,
    cut_at: Option<Instant>,
}

/// The limit of one account.
#[derive(Debug)]
pub(super) struct Limit {
    places: Arc<Semaphore>,
    state: Mutex<State>,
    most: usize,
}

/// A place in use. Given back when it drops.
#[derive(Debug)]
pub(super) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    limit: Arc<Limit>,
}

impl Limit {
    /// Starts at `most`, which is as far as it ever goes.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let most = most.max(LEAST);
        let state = State { limit: most, surplus: 0, good: 0, cut_at: None };
        Arc::new(Self { places: Arc::new(Semaphore::new(most)), state: Mutex::new(state), most })
    }

    /// Waits for a place; `None` after [`WAIT_MAX`].
    pub(super) async fn place(self: &Arc<Self>) -> Option<Place> {
        let permit = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => permit,
            // Closed never happens: nobody closes it.
            Err(_) => timeout(WAIT_MAX, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()?,
        };
        Some(Place { permit: Some(permit), limit: Arc::clone(self) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limit now, and how many of its places are in use.
    pub(super) fn now(&self) -> (usize, usize) {
        let state = self.state();
        (state.limit, (state.limit + state.surplus).saturating_sub(self.places.available_permits()))
    }

    /// The account coped with a request.
    pub(super) fn coped(&self) {
        let mut state = self.state();
        if state.limit >= self.most {
            return;
        }
        let used = (state.limit + state.surplus).saturating_sub(self.places.available_permits());
        if used * 2 <= state.limit {
            return;
        }
        state.good += 1;
        if state.good >= state.limit {
            state.good = 0;
            state.limit += 1;
            if state.surplus > 0 {
                state.surplus -= 1;
            } else {
                self.places.add_permits(1);
            }
        }
    }

    /// The account had too much to do.
    pub(super) fn overloaded(&self) {
        let now = Instant::now();
        let mut state = self.state();
        if state.cut_at.is_some_and(|at| now.duration_since(at) < CUT_PAUSE) {
            return;
        }
        state.cut_at = Some(now);
        state.good = 0;
        let next = (state.limit / 2).max(LEAST);
        let fewer = state.limit.saturating_sub(next);
        state.limit -= fewer;
        state.surplus += fewer - self.places.forget_permits(fewer);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.limit.state();
        if state.surplus > 0
            && let Some(permit) = self.permit.take()
        {
            state.surplus -= 1;
            permit.forget();
        }
        // Given back under the lock, so that a cut sees either the place in use or the permit.
        drop(self.permit.take());
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    async fn take(limit: &Arc<Limit>, count: usize) -> Vec<Place> {
        let mut places = Vec::new();
        for _ in 0..count {
            places.push(limit.place().await.expect("a place"));
        }
        places
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_halved_once_a_second_and_never_below_its_least() {
        let limit = Limit::new(64);
        for expected in [32, 16, 8, 4, 4] {
            limit.overloaded();
            limit.overloaded();
            assert_eq!(limit.now(), (expected, 0));
            advance(CUT_PAUSE).await;
        }
        let held = take(&limit, LEAST).await;
        let started = Instant::now();
        assert!(limit.place().await.is_none(), "no more than the limit");
        assert_eq!(started.elapsed(), WAIT_MAX, "the wait is bounded");
        drop(held);
        assert_eq!(limit.now(), (LEAST, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn places_in_use_when_the_limit_falls_go_when_they_are_given_back() {
        let limit = Limit::new(16);
        let mut held = take(&limit, 12).await;
        limit.overloaded();
        assert_eq!(limit.now(), (8, 12));
        held.truncate(8);
        assert_eq!(limit.now(), (8, 8));
        assert!(limit.place().await.is_none());
        held.pop();
        assert!(limit.place().await.is_some());
        drop(held);
        assert_eq!(limit.now(), (8, 0));
        assert_eq!(take(&limit, 8).await.len(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn it_grows_by_one_a_round_while_it_is_used() {
        let limit = Limit::new(64);
        for _ in 0..4 {
            limit.overloaded();
            advance(CUT_PAUSE).await;
        }
        for _ in 0..1000 {
            limit.coped();
        }
        assert_eq!(limit.now().0, 4, "an idle account's limit stays");
        let held = take(&limit, 4).await;
        for expected in [5, 6, 7, 8] {
            for _ in 1..expected {
                assert_eq!(limit.now().0, expected - 1);
                limit.coped();
            }
            assert_eq!(limit.now().0, expected);
        }
        drop(held);
        let held = take(&limit, 8).await;
        for _ in 0..1_000_000 {
            limit.coped();
        }
        assert!(limit.now().0 <= 16, "no more than twice of what is used");
        drop(held);
    }

    #[tokio::test]
    async fn who_waits_is_let_in_as_soon_as_a_place_is_free() {
        let limit = Limit::new(LEAST);
        let mut held = take(&limit, LEAST).await;
        let waiting = tokio::spawn({
            let limit = Arc::clone(&limit);
            async move { limit.place().await.is_some() }
        });
        tokio::task::yield_now().await;
        held.pop();
        assert!(waiting.await.expect("a place"));
    }
}
