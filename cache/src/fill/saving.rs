//! What a fill writes down of its blob on disk, and when it takes the blob off it.

use std::sync::Arc;

use super::engine::Engine;
use super::jobs::{Job, on_disk};
use crate::CacheError;
use crate::blob::Standing;

/// A meta file is written when a fill has nothing to do, and after so many new blocks, so that a crash in a long fill
/// does not cost all of it.
pub(super) const PERSIST_EVERY: u32 = 64;

impl Engine {
    /// Keeps what is sound after an error, and nothing of what is not.
    pub(super) async fn give_up(&mut self, error: &CacheError) {
        if matches!(error, CacheError::Mismatch(_) | CacheError::Changed) {
            self.blob.condemn(error.clone());
            let (tiers, blob) = (Arc::clone(&self.tiers), Arc::clone(&self.blob));
            self.tiers.on_disk(move || tiers.remove(&blob)).await;
        } else {
            self.persist().await;
        }
    }

    /// Writes down what is on disk, or takes the blob off it if that is nothing.
    pub(super) async fn persist(&mut self) {
        let Some(disk) = self.tiers.disk.clone() else { return };
        let nothing = {
            let holdings = self.blob.holdings();
            holdings.standing == Standing::Listed && holdings.on_disk.count() == 0
        };
        if std::mem::take(&mut self.unsaved) > 0 || nothing {
            let blob = Arc::clone(&self.blob);
            let write = move || if nothing { disk.remove(&blob) } else { disk.persist(&blob) };
            self.tiers.on_disk(write).await;
        }
    }

    /// Has the meta file written, if there is news.
    pub(super) fn save(&mut self) {
        let Some(disk) = self.tiers.disk.clone().filter(|_| self.unsaved > 0) else { return };
        self.unsaved = 0;
        let blob = Arc::clone(&self.blob);
        let work = move || {
            disk.persist(&blob);
            Job::Persisted
        };
        on_disk(&mut self.jobs, &self.tiers, work, Job::Persisted);
    }
}
