//! The path of a candidate: look, win or follow, lead until it ends, look again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::{Fence, LEADER, Record, Standing, Term};
use crate::store::{
    Commit, Entry, Key, KeyChange, Lease, Outcome, Revision, Store, StoreError, StoreErrorKind,
};

/// A follower looks again after so many terms, whatever its watch tells.
const LOOK_AGAIN_TERMS: u32 = 10;
/// After an error of the store.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Campaign {
    store: Arc<dyn Store>,
    router: String,
    term: Term,
    told: watch::Sender<Standing>,
}

/// A won election: until `ends`, nobody else can lead.
struct Won {
    lease: Lease,
    fence: Fence,
    ends: Instant,
}

impl Campaign {
    pub(super) fn new(
        store: Arc<dyn Store>,
        router: String,
        term: Term,
        told: watch::Sender<Standing>,
    ) -> Self {
        Self { store, router, term, told }
    }

    /// Stands until it resigns.
    pub(super) async fn run(self, mut resigned: oneshot::Receiver<()>) {
        loop {
            let won = tokio::select! {
                won = self.look() => won,
                _ = &mut resigned => return,
            };
            match won {
                Ok(Some(won)) => {
                    let fence = won.fence.revision();
                    tracing::info!(fence = fence.0, "this router leads");
                    let resigned = self.lead(&won, &mut resigned).await;
                    // Said before the lease is given up.
                    self.tell(Standing::Following { leader: None });
                    tracing::info!(fence = fence.0, "this router leads no longer");
                    if resigned {
                        if let Err(error) = self.store.revoke(won.lease.id).await {
                            tracing::warn!(%error, "the others wait for the lease to end");
                        }
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    self.tell(Standing::Following { leader: None });
                    tracing::warn!(%error, "who leads is not known");
                    tokio::select! {
                        () = sleep(PAUSE) => {}
                        _ = &mut resigned => return,
                    }
                }
            }
        }
    }

    /// How long after a sign of life nobody else can lead for certain: a tenth less than the lease, as clocks
    /// differ.
    fn sure(&self) -> Duration {
        self.term.lease - self.term.lease / 10
    }

    fn tell(&self, standing: Standing) {
        self.told.send_if_modified(|told| {
            let is_new = *told != standing;
            *told = standing;
            is_new
        });
    }

    /// Follows the leader while there is one, then tries to become it.
    async fn look(&self) -> Result<Option<Won>, StoreError> {
        let listing = self.store.list(LEADER).await?;
        match listing.entries.iter().find(|entry| entry.key.as_str() == LEADER) {
            Some(leader) => {
                self.tell(following(leader));
                let patience = self.term.lease * LOOK_AGAIN_TERMS;
                match timeout(patience, self.vacant(listing.revision)).await {
                    Ok(vacant) => vacant.map(|()| None),
                    Err(_) => Ok(None),
                }
            }
            None => {
                self.tell(Standing::Following { leader: None });
                self.contend().await
            }
        }
    }

    /// Waits until the leader's key is gone, or cannot be followed.
    async fn vacant(&self, after: Revision) -> Result<(), StoreError> {
        let mut watch = self.store.watch(LEADER, after);
        while let Some(batch) = watch.next().await {
            let changes = match batch {
                Ok(batch) => batch.changes,
                Err(error) if error.kind == StoreErrorKind::Compacted => return Ok(()),
                Err(error) => return Err(error),
            };
            for change in changes.iter().filter(|change| change.key().as_str() == LEADER) {
                match change {
                    KeyChange::Put(leader) => self.tell(following(leader)),
                    KeyChange::Deleted(_) => return Ok(()),
                }
            }
        }
        Ok(())
    }

    async fn contend(&self) -> Result<Option<Won>, StoreError> {
        // From before the store hears of it: the lease ends later than we think, never earlier.
        let begun = Instant::now();
        let lease = self.store.grant(self.term.lease).await?;
        let key = Key::new(LEADER);
        let record = serde_json::to_vec(&Record { router: self.router.clone() }).unwrap_or_default();
        let commit = Commit::new().if_absent(key.clone()).put_leased(key.clone(), record, lease.id);
        let version = match self.store.commit(&commit).await {
            Ok(Outcome::Committed { revision }) => Some(revision),
            Ok(Outcome::Conflict { .. }) => None,
            Err(error) if error.kind.may_have_happened() => {
                let leader = self.store.get(&key).await?;
                leader.filter(|leader| leader.lease == Some(lease.id)).map(|leader| leader.version)
            }
            Err(error) => return Err(error),
        };
        match version {
            Some(version) => Ok(Some(Won { lease, fence: Fence(version), ends: begun + self.sure() })),
            None => {
                self.store.revoke(lease.id).await?;
                Ok(None)
            }
        }
    }

    /// Leads until that ends; whether by resigning.
    async fn lead(&self, won: &Won, resigned: &mut oneshot::Receiver<()>) -> bool {
        if Instant::now() >= won.ends {
            return false;
        }
        self.tell(Standing::Leading(won.fence));
        tokio::select! {
            () = self.live(won) => false,
            () = self.deposed(won.fence) => false,
            _ = resigned => true,
        }
    }

    /// Gives signs of life until the lease has ended, or can have.
    async fn live(&self, won: &Won) {
        let (mut ends, step) = (won.ends, self.term.lease / 3);
        let mut next = Instant::now() + step;
        loop {
            sleep_until(next.min(ends)).await;
            let sent = Instant::now();
            match timeout_at(ends, self.store.keep_alive(won.lease.id)).await {
                Ok(Ok(())) => {
                    ends = sent + self.sure();
                    next = sent + step;
                }
                Ok(Err(error)) if error.kind == StoreErrorKind::LeaseGone => return,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the store does not hear that this router lives");
                    next = Instant::now() + PAUSE;
                }
                Err(_) => return,
            }
            if Instant::now() >= ends {
                return;
            }
        }
    }

    /// Waits until the store says that this router does not lead.
    async fn deposed(&self, fence: Fence) {
        let mut watch = self.store.watch(LEADER, fence.revision());
        while let Some(Ok(batch)) = watch.next().await {
            if batch.changes.iter().any(|change| change.key().as_str() == LEADER) {
                return;
            }
        }
        // What cannot be followed is for the lease to say.
        std::future::pending().await
    }
}

fn following(leader: &Entry) -> Standing {
    let record = serde_json::from_slice(&leader.value);
    Standing::Following { leader: record.ok().map(|record: Record| record.router) }
}
