//! The life of a node: starting, ready, draining, cutting. One state, seen by every part.

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
}

/// The state in force, and the wish to read files again. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    state: watch::Sender<State>,
    reload: watch::Sender<u64>,
    draining: CancellationToken,
    cutting: CancellationToken,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(State::Starting),
            reload: watch::Sender::new(0),
            draining: CancellationToken::new(),
            cutting: CancellationToken::new(),
        }
    }
}

impl Lifecycle {
    /// The state now.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Moves on to `next`; a state that has passed is not entered again.
    pub fn advance(&self, next: State) {
        let moved = self.state.send_if_modified(|state| {
            let forward = next > *state;
            if forward {
                *state = next;
            }
            forward
        });
        if moved {
            tracing::info!(state = next.as_str(), "node state");
        }
        if next >= State::Draining {
            self.draining.cancel();
        }
        if next >= State::Cutting {
            self.cutting.cancel();
        }
    }

    /// Resolves once the node drains. Safe to drop at any point.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Resolves once running responses are cut. Safe to drop at any point.
    pub async fn cutting(&self) {
        self.cutting.cancelled().await;
    }

    /// Asks for the watched files to be read again now.
    pub fn reload(&self) {
        self.reload.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A receiver that changes with each [`Lifecycle::reload`].
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.reload.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_never_goes_back() {
        let life = Lifecycle::default();
        life.advance(State::Draining);
        life.advance(State::Ready);
        assert_eq!(life.state(), State::Draining);
        assert!(life.draining.is_cancelled() && !life.cutting.is_cancelled());
    }
}
