//! The in-memory twin of a storage account, for tests: a scripted origin plus listings.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dataproxy_cache::fakes::FakeOrigin;
use dataproxy_cache::{
    Algorithm, Digest, ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Listing, Store};
use crate::layout::Layout;
use crate::name::{Repository, Tag};

/// A storage account in memory.
#[derive(Debug)]
pub struct MemoryStore {
    origin: Arc<FakeOrigin>,
    names: Mutex<BTreeSet<String>>,
    listing_fault: Mutex<Option<OriginErrorKind>>,
}

impl MemoryStore {
    /// An empty account.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { origin: FakeOrigin::new(), names: Mutex::default(), listing_fault: Mutex::default() })
    }

    /// The objects: their scripts and counters.
    pub fn origin(&self) -> &Arc<FakeOrigin> {
        &self.origin
    }

    /// Makes every listing fail with this, or none.
    pub fn fail_listings(&self, kind: Option<OriginErrorKind>) {
        *self.listing_fault.lock().unwrap_or_else(PoisonError::into_inner) = kind;
    }

    /// Stores an object.
    pub fn put(&self, name: &ObjectName, content: impl Into<Bytes>) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.as_str().to_owned());
        self.origin.put(name, content);
    }

    /// Removes an object.
    pub fn remove(&self, name: &ObjectName) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(name.as_str());
        self.origin.remove(name);
    }

    /// Pushes a blob into a repository, as a registry does.
    pub fn push_blob(&self, layout: Layout<'_>, repository: &Repository, content: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, content);
        self.put(&layout.blob(&digest), content.to_vec());
        self.put(&layout.layer_link(repository, &digest), digest.to_string());
        digest
    }

    /// Pushes a manifest into a repository, as a registry does.
    pub fn push_manifest(&self, layout: Layout<'_>, repository: &Repository, content: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, content);
        self.put(&layout.blob(&digest), content.to_vec());
        self.put(&layout.revision_link(repository, &digest), digest.to_string());
        digest
    }

    /// Makes a tag mean a manifest.
    pub fn tag(&self, layout: Layout<'_>, repository: &Repository, tag: &Tag, digest: &Digest) {
        self.put(&layout.tag_link(repository, tag), digest.to_string());
    }

    fn folders(&self, prefix: &str, after: Option<&str>, limit: usize) -> Listing {
        let prefix = format!("{}/", prefix.trim_end_matches('/'));
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let folders: BTreeSet<&str> = names
            .iter()
            .filter_map(|name| Some(name.strip_prefix(&prefix)?.split_once('/')?.0))
            .filter(|folder| after.is_none_or(|after| *folder > after))
            .collect();
        let more = folders.len() > limit;
        Listing { folders: folders.into_iter().take(limit).map(str::to_owned).collect(), more }
    }
}

impl Origin for MemoryStore {
    fn get<'a>(
        &'a self,
        object: &'a ObjectName,
        range: Range<u64>,
        pin: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<OriginRead, OriginError>> {
        self.origin.get(object, range, pin)
    }
}

impl Store for MemoryStore {
    fn list<'a>(
        &'a self,
        prefix: &'a ObjectName,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, OriginError>> {
        let fault = *self.listing_fault.lock().unwrap_or_else(PoisonError::into_inner);
        let listing = match fault {
            Some(kind) => Err(OriginError::new(kind, "scripted refusal")),
            None => Ok(self.folders(prefix.as_str(), after, limit)),
        };
        std::future::ready(listing).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    #[tokio::test]
    async fn it_keeps_the_contract_of_listings() {
        let store = MemoryStore::new();
        conformance::list(&*store, |name, content| store.put(&ObjectName::new(name), content.to_vec())).await;
    }
}
