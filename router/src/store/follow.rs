//! Watches over a state that is in this process: they read its history at their own speed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;

use super::state::State;
use super::{Changes, Revision, StoreError, Watch};

/// A state, and a bell that rings when it has changed.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Why the store will not go on, if so.
    bell: watch::Sender<Option<StoreError>>,
}

impl Shared {
    pub(super) fn new(state: State) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), bell: watch::Sender::new(None) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes every watch, after a change.
    pub(super) fn ring(&self) {
        self.bell.send_modify(|_| {});
    }

    /// Ends every watch once it has told what there is.
    pub(super) fn close(&self, why: StoreError) {
        self.bell.send_replace(Some(why));
    }

    /// Follows `prefix` from the revision after `after`.
    pub(super) fn follow(self: &Arc<Self>, prefix: &str, after: Revision) -> Watch {
        let reader = Reader {
            bell: self.bell.subscribe(),
            shared: Arc::clone(self),
            prefix: prefix.to_owned(),
            seen: after,
        };
        stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            match reader.next().await {
                Ok(batch) => Some((Ok(batch), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

struct Reader {
    shared: Arc<Shared>,
    bell: watch::Receiver<Option<StoreError>>,
    prefix: String,
    seen: Revision,
}

impl Reader {
    async fn next(&mut self) -> Result<Changes, StoreError> {
        loop {
            let ended = self.bell.borrow_and_update().clone();
            if let Some(batch) = self.look()? {
                return Ok(batch);
            }
            if let Some(why) = ended {
                return Err(why);
            }
            // The sender lives in `shared`, which this reader holds.
            let _ = self.bell.changed().await;
        }
    }

    fn look(&mut self) -> Result<Option<Changes>, StoreError> {
        let state = self.shared.lock();
        let found = state.after(&self.prefix, self.seen)?;
        // With nothing found, all up to now is seen: a quiet prefix is not left behind by a busy one.
        let seen = found.as_ref().map_or(state.revision(), |batch| batch.revision);
        self.seen = self.seen.max(seen);
        Ok(found)
    }
}
