//! The way to the store, which takes its time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dataproxy_router::store::memory::MemoryStore;
use dataproxy_router::store::{
    Commit, Entry, Key, Lease, LeaseId, Listing, Outcome, Store, StoreError, Watch,
};
use dataproxy_router_api::Revision;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::sleep;

/// A way to the store on which everything takes its time: what is decided on it is decided from what was, and a leader
/// may find that its time has passed between a decision and its commit.
#[derive(Debug)]
pub(crate) struct Slow {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) random: Arc<Mutex<StdRng>>,
}

impl Slow {
    fn delay(random: &Mutex<StdRng>) -> Duration {
        let mut random = random.lock().unwrap();
        let most = if random.random_range(0..40) == 0 { 9_000 } else { 600 };
        Duration::from_millis(random.random_range(0..most))
    }

    async fn pause(&self) {
        sleep(Self::delay(&self.random)).await;
    }
}

impl Store for Slow {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(async move {
            self.pause().await;
            self.store.get(key).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, StoreError>> {
        Box::pin(async move {
            self.pause().await;
            self.store.list(prefix).await
        })
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<Outcome, StoreError>> {
        Box::pin(async move {
            self.pause().await;
            let outcome = self.store.commit(commit).await;
            self.pause().await;
            outcome
        })
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        let random = Arc::clone(&self.random);
        let delayed = self.store.watch(prefix, after).then(move |batch| {
            let delay = Self::delay(&random);
            async move {
                sleep(delay).await;
                batch
            }
        });
        Box::pin(delayed)
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
        self.store.grant(ttl)
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.pause().await;
            self.store.keep_alive(lease).await
        })
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.revoke(lease)
    }
}
