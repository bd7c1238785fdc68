//! A store whose calls are counted and timed: what a router runs over.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use metrics::{counter, histogram};
use tokio::time::Instant;

use super::{Commit, Entry, Key, Lease, LeaseId, Listing, Outcome, Revision, Store, StoreError, Watch};

/// Another store, counted.
#[derive(Debug)]
pub struct Measured(pub Arc<dyn Store>);

fn outcome<T>(result: &Result<T, StoreError>) -> &'static str {
    result.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok")
}

fn count(operation: &'static str, outcome: &'static str) {
    counter!("router_store_requests_total", "operation" => operation, "outcome" => outcome).increment(1);
}

async fn timed<T>(
    operation: &'static str,
    outcome: fn(&Result<T, StoreError>) -> &'static str,
    call: BoxFuture<'_, Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let began = Instant::now();
    let result = call.await;
    histogram!("router_store_seconds", "operation" => operation).record(began.elapsed().as_secs_f64());
    count(operation, outcome(&result));
    result
}

impl Store for Measured {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(timed("get", outcome, self.0.get(key)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, StoreError>> {
        Box::pin(timed("list", outcome, self.0.list(prefix)))
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<Outcome, StoreError>> {
        let judged = |result: &Result<Outcome, StoreError>| match result {
            Ok(Outcome::Conflict { .. }) => "conflict",
            other => outcome(other),
        };
        Box::pin(timed("commit", judged, self.0.commit(commit)))
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        Box::pin(self.0.watch(prefix, after).inspect(|batch| count("watch", outcome(batch))))
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
        Box::pin(timed("grant", outcome, self.0.grant(ttl)))
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(timed("keep_alive", outcome, self.0.keep_alive(lease)))
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(timed("revoke", outcome, self.0.revoke(lease)))
    }
}
