//! The life of a node: starting, ready, draining, cutting. One state, seen by every part.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Poll, Waker};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where a node is in its life. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Sockets are bound; bindings, accounts and cache are being opened.
    Starting,
    /// Pulls are served.
    Ready,
    /// Pulls are served, and each connection ends with its response.
    Draining,
    /// What still runs is being cut.
    Cutting,
}

impl State {
    /// The stable word for answers, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Cutting => "cutting",
        }
    }

    fn of(number: u8) -> Self {
        const ALL: [State; 4] = [State::Starting, State::Ready, State::Draining, State::Cutting];
        ALL.into_iter().find(|state| *state as u8 == number).unwrap_or(Self::Cutting)
    }
}

/// The state in force, and the wish to read files again. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Every response reads it, so there is no lock around it.
    state: AtomicU8,
    reload: watch::Sender<u64>,
    draining: CancellationToken,
    cutting: CancellationToken,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self(Arc::new(Shared {
            state: AtomicU8::new(State::Starting as u8),
            reload: watch::Sender::new(0),
            draining: CancellationToken::new(),
            cutting: CancellationToken::new(),
        }))
    }
}

impl Lifecycle {
    /// The state now.
    pub fn state(&self) -> State {
        State::of(self.0.state.load(Ordering::Acquire))
    }

    /// Moves on to `next`; a state that has passed is not entered again.
    pub fn advance(&self, next: State) {
        if self.0.state.fetch_max(next as u8, Ordering::AcqRel) < next as u8 {
            tracing::info!(state = next.as_str(), "node state");
        }
        if next >= State::Draining {
            self.0.draining.cancel();
        }
        if next >= State::Cutting {
            self.0.cutting.cancel();
        }
    }

    /// Resolves once the node drains. Safe to drop at any point.
    pub async fn draining(&self) {
        self.reached(State::Draining, &self.0.draining).await;
    }

    /// Resolves once running responses are cut. Safe to drop at any point.
    pub async fn cutting(&self) {
        self.reached(State::Cutting, &self.0.cutting).await;
    }

    /// Every connection polls this whenever it is polled itself, and each poll of a token takes locks that all
    /// connections share. So a token is asked only if it has woken us, before which the state has moved, or if it
    /// would wake somebody else.
    async fn reached(&self, state: State, token: &CancellationToken) {
        let mut cancelled = std::pin::pin!(token.cancelled());
        let mut wakes: Option<Waker> = None;
        poll_fn(|context| {
            if self.state() < state && wakes.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                return Poll::Pending;
            }
            wakes = Some(context.waker().clone());
            cancelled.as_mut().poll(context)
        })
        .await;
    }

    /// Asks for the watched files to be read again now.
    pub fn reload(&self) {
        self.0.reload.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A receiver that changes with each [`Lifecycle::reload`].
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.0.reload.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::{Context, Wake};

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_node_never_goes_back() {
        let life = Lifecycle::default();
        life.advance(State::Draining);
        life.advance(State::Ready);
        assert_eq!(life.state(), State::Draining);
        assert!(life.0.draining.is_cancelled() && !life.0.cutting.is_cancelled());
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_waits_for_the_drain_is_woken_whoever_polled_it_first() {
        let life = Lifecycle::default();
        let mut waiting = Box::pin(life.draining());
        // Polled first by somebody who does not wait for it any more.
        assert!(waiting.as_mut().now_or_never().is_none());
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        life.advance(State::Ready);
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(!woken.0.load(Ordering::Relaxed), "nothing to wake for");
        life.advance(State::Draining);
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(waiting.as_mut().poll(&mut context).is_ready());
    }
}
