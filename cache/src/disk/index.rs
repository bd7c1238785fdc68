//! Which blobs are on disk: a map in memory, cut in shards so that look-ups do not meet on one lock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, RwLock};

use crate::blob::Blob;
use crate::sync::{read, write};
use crate::{BlobKey, Digest, Scope};

const SHARDS: usize = 32;

type Shard = RwLock<HashMap<BlobKey, Arc<Blob>>>;

#[derive(Debug)]
pub(crate) struct Index {
    hasher: RandomState,
    shards: [Shard; SHARDS],
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| RwLock::default()) }
    }

    fn shard(&self, key: &BlobKey) -> &Shard {
        // The remainder is below the array's length.
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    pub(crate) fn find(&self, key: &BlobKey) -> Option<Arc<Blob>> {
        read(self.shard(key)).get(key).cloned()
    }

    /// Puts a blob in, over an older instance, which is given back.
    pub(crate) fn insert(&self, blob: &Arc<Blob>) -> Option<Arc<Blob>> {
        write(self.shard(&blob.key)).insert(blob.key.clone(), Arc::clone(blob))
    }

    /// Puts a blob in, unless there is an instance of it; whether it did.
    pub(crate) fn insert_if_absent(&self, blob: &Arc<Blob>) -> bool {
        match write(self.shard(&blob.key)).entry(blob.key.clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(slot) => {
                slot.insert(Arc::clone(blob));
                true
            }
        }
    }

    /// Takes this instance out, if it is in.
    pub(crate) fn remove(&self, blob: &Blob) {
        let mut shard = write(self.shard(&blob.key));
        if shard.get(&blob.key).is_some_and(|found| found.id == blob.id) {
            shard.remove(&blob.key);
        }
    }

    /// The blobs of this scope, or the one of this digest.
    pub(crate) fn matching(&self, scope: &Scope, digest: Option<&Digest>) -> Vec<Arc<Blob>> {
        if let Some(digest) = digest {
            return self
                .find(&BlobKey { scope: scope.clone(), digest: digest.clone() })
                .into_iter()
                .collect();
        }
        let mut found = Vec::new();
        self.each(|blob| {
            if blob.key.scope == *scope {
                found.push(Arc::clone(blob));
            }
        });
        found
    }

    /// Calls `visit` for every blob. One shard is locked at a time.
    pub(crate) fn each(&self, mut visit: impl FnMut(&Arc<Blob>)) {
        for shard in &self.shards {
            read(shard).values().for_each(&mut visit);
        }
    }
}
