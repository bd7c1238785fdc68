//! Which fills run: one a blob.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::place::{Attachment, Opener};
use super::plan::Demand;
use super::{Fill, Role};
use crate::blob::Blob;
use crate::sync::lock;
use crate::tiers::Tiers;
use crate::{BlobKey, CacheError, Wanted};

/// The books of running fills.
#[derive(Debug, Default)]
pub(crate) struct Fills {
    running: Mutex<HashMap<BlobKey, Arc<Fill>>>,
}

/// What a read finds when it comes for a blob.
pub(crate) enum Joined<T> {
    /// It starts a fill, which the caller must start.
    New(Arc<Fill>, T),
    /// It joins one.
    Running(T),
}

impl Fills {
    /// Comes in for a blob of unknown size.
    pub(crate) fn enter(&self, key: &BlobKey, first: Wanted) -> Joined<Opener> {
        let mut running = lock(&self.running);
        if let Some(opener) = running.get(key).and_then(|fill| fill.enter(Role::Following)) {
            return Joined::Running(opener);
        }
        let fill = Arc::new(Fill::cold(key, first));
        running.insert(key.clone(), Arc::clone(&fill));
        fill.state().openers += 1;
        Joined::New(Arc::clone(&fill), Opener { fill, role: Role::Leading })
    }

    /// Comes in for a blob that is known, or another instance of that very version.
    ///
    /// # Errors
    /// [`CacheError::Changed`] if a fill of another version runs.
    pub(crate) fn attach(
        &self,
        tiers: &Tiers,
        blob: &Arc<Blob>,
        demand: Demand,
    ) -> Result<(Arc<Blob>, Joined<Attachment>), CacheError> {
        let mut running = lock(&self.running);
        if let Some(fill) = running.get(&blob.key) {
            match fill.blob() {
                Some(theirs) if theirs.id == blob.id || theirs.etag == blob.etag => {
                    if let Some(attachment) = fill.attach(demand.clone(), Role::Following) {
                        return Ok((theirs, Joined::Running(attachment)));
                    }
                }
                _ if fill.state().status.has_ended() => {}
                _ => return Err(CacheError::Changed),
            }
        }
        let (blob, bypass) = tiers.fillable(blob);
        let fill = Arc::new(Fill::of(&blob, bypass));
        if bypass.is_some() && !tiers.can_load() {
            fill.leave_disk();
        }
        running.insert(blob.key.clone(), Arc::clone(&fill));
        let attachment = fill.attach_to(&mut fill.state(), demand, Role::Leading);
        Ok((blob, Joined::New(fill, attachment)))
    }

    /// Locks the books, so that nobody comes in meanwhile.
    pub(super) fn book(&self) -> MutexGuard<'_, HashMap<BlobKey, Arc<Fill>>> {
        lock(&self.running)
    }

    /// Takes a fill off the books.
    pub(super) fn remove(&self, fill: &Arc<Fill>) {
        let mut running = lock(&self.running);
        if running.get(&fill.key).is_some_and(|found| Arc::ptr_eq(found, fill)) {
            running.remove(&fill.key);
        }
    }

    /// Takes fills off the books that go on for their readers alone.
    pub(crate) fn detach(&self, which: impl Fn(&BlobKey) -> bool) -> Vec<Arc<Fill>> {
        let out: Vec<_> = lock(&self.running).extract_if(|key, _| which(key)).map(|(_, fill)| fill).collect();
        for fill in &out {
            fill.detach();
        }
        out
    }
}
