//! The store of several routers: an etcd cluster, spoken to by gRPC (`docs/adr/0015-etcd.md`).
//!
//! Keys lie below a prefix; revisions are etcd's own. Calls go to one member of the cluster, and to the next
//! when that fails. A read is tried at every member within the time limit; a write that may have reached one
//! is not sent again.

mod cluster;
mod errors;
mod messages;
mod options;
mod translate;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{
    Commit, Entry, Key, Lease, LeaseId, Listing, Outcome, Revision, Store, StoreError, StoreErrorKind, Watch,
};
use cluster::Cluster;
use messages::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse, RangeRequest,
    RangeResponse, TxnRequest, TxnResponse,
};
use translate::Names;

pub use options::{EtcdOptions, EtcdOptionsError, EtcdTls, EtcdUser};

/// Keys of one answer to a listing. A value may have 1 MiB.
const PAGE: i64 = 256;
const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";

/// A store below a prefix of an etcd cluster, 3.4 or later.
#[derive(Debug)]
pub struct EtcdStore {
    cluster: Arc<Cluster>,
    names: Names,
}

impl EtcdStore {
    /// A store at these endpoints. Nothing is sent before it is used, so the cluster may be away. Must be
    /// called in a tokio runtime.
    ///
    /// # Errors
    /// [`EtcdOptionsError`]
    pub fn new(options: &EtcdOptions) -> Result<Self, EtcdOptionsError> {
        let names = Names::new(&options.prefix)?;
        Ok(Self { cluster: Arc::new(Cluster::new(options)?), names })
    }

    async fn list_at_one_revision(&self, prefix: &str) -> Result<Listing, StoreError> {
        let (mut from, to) = self.names.range(prefix);
        let mut entries = Vec::new();
        let mut revision = 0;
        loop {
            let request = RangeRequest { key: from, range_end: to.clone(), limit: PAGE, revision };
            let page: RangeResponse = self.cluster.read(RANGE, &request).await?;
            if revision == 0 {
                revision = page.header.unwrap_or_default().revision;
            }
            for found in &page.kvs {
                entries.push(self.names.entry(found)?);
            }
            let Some(last) = page.kvs.last().filter(|_| page.more) else {
                return Ok(Listing { revision: translate::revision(revision)?, entries });
            };
            // The smallest key after it.
            from = [&last.key[..], &[0]].concat();
        }
    }

    async fn list_again(&self, prefix: &str) -> Result<Listing, StoreError> {
        loop {
            match self.list_at_one_revision(prefix).await {
                // Between two pages, their revision was compacted.
                Err(error) if error.kind == StoreErrorKind::Compacted => {}
                listed => return listed,
            }
        }
    }
}

impl Store for EtcdStore {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        async {
            let request = RangeRequest { key: self.names.full(key), ..Default::default() };
            let found: RangeResponse = self.cluster.read(RANGE, &request).await?;
            found.kvs.first().map(|found| self.names.entry(found)).transpose()
        }
        .boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, StoreError>> {
        self.list_again(prefix).boxed()
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<Outcome, StoreError>> {
        async {
            commit.check()?;
            let request: TxnRequest = self.names.transaction(commit);
            let judged: TxnResponse = self.cluster.write(TXN, &request).await?;
            let revision = translate::revision(judged.header.unwrap_or_default().revision)?;
            Ok(if judged.succeeded {
                Outcome::Committed { revision }
            } else {
                Outcome::Conflict { revision }
            })
        }
        .boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        watching::watch(Arc::clone(&self.cluster), self.names.clone(), prefix, after)
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<Lease, StoreError>> {
        async move {
            // etcd counts whole seconds.
            let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
            let request = LeaseGrantRequest { ttl: i64::try_from(seconds).unwrap_or(i64::MAX), id: 0 };
            let granted: LeaseGrantResponse = self.cluster.write(GRANT, &request).await?;
            Ok(Lease {
                id: LeaseId(granted.id.cast_unsigned()),
                ttl: Duration::from_secs(granted.ttl.max(0).cast_unsigned()),
            })
        }
        .boxed()
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.cluster.keep_alive(lease).boxed()
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let request = LeaseRevokeRequest { id: lease.0.cast_signed() };
            match self.cluster.write::<_, LeaseRevokeResponse>(REVOKE, &request).await {
                Err(error) if error.kind != StoreErrorKind::LeaseGone => Err(error),
                _ => Ok(()),
            }
        }
        .boxed()
    }
}
