//! Leases: what is bound to one lives as long as it is kept alive, and no longer.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use super::super::{KeyChange, Lease, Watch};
use super::{Commit, Key, LIMIT, Store, StoreErrorKind, get, key, list, make, put, refused, value, within};

/// The shortest that etcd grants with the timers of its tests.
const TTL: Duration = Duration::from_secs(1);

pub(super) async fn all(store: &dyn Store) {
    within("expiry", what_is_bound_to_a_lease_ends_with_it(store)).await;
    within("keep alive", a_lease_that_is_kept_alive_lives(store)).await;
    within("revoke", a_revoked_lease_ends_at_once(store)).await;
    within("unbound", a_key_put_without_its_lease_outlives_it(store)).await;
}

async fn grant(store: &dyn Store) -> Lease {
    let lease = store.grant(TTL).await.expect("granted");
    assert!(lease.ttl >= TTL, "{lease:?} is less than was asked for");
    lease
}

/// The keys that the next batch says to be deleted, if it is of deletes alone.
async fn deleted(watch: &mut Watch) -> Vec<Key> {
    loop {
        let batch = watch.next().await.expect("the watch goes on").expect("the watch goes on");
        if !batch.changes.is_empty() {
            let mut keys: Vec<_> = batch
                .changes
                .into_iter()
                .map(|change| match change {
                    KeyChange::Deleted(key) => key,
                    KeyChange::Put(entry) => panic!("{entry:?} is put"),
                })
                .collect();
            keys.sort_unstable();
            return keys;
        }
    }
}

async fn what_is_bound_to_a_lease_ends_with_it(store: &dyn Store) {
    let lease = grant(store).await;
    let (a, b) = (key("lease/a"), key("lease/b"));
    let granted = Instant::now();
    let commit = Commit::new().put_leased(a.clone(), "1", lease.id).put_leased(b.clone(), "1", lease.id);
    let revision = make(store, commit.put(key("lease/c"), "1")).await;
    assert_eq!(get(store, "lease/a").await.expect("it was put").lease, Some(lease.id));
    let mut watch = store.watch("lease/", revision);
    let mut ended = Vec::new();
    // etcd may end them one by one.
    while ended.len() < 2 {
        ended.extend(deleted(&mut watch).await);
    }
    assert_eq!(ended, [a.clone(), b]);
    assert!(granted.elapsed() >= TTL, "it lived for {:?} only", granted.elapsed());
    let left: Vec<_> = list(store, "lease/").await.entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(left, [key("lease/c")]);
    let gone = store.keep_alive(lease.id).await.expect_err("it has ended");
    assert_eq!(gone.kind, StoreErrorKind::LeaseGone);
    refused(store, Commit::new().put_leased(a.clone(), "2", lease.id), StoreErrorKind::LeaseGone).await;
    assert_eq!(get(store, "lease/a").await, None);
    store.revoke(lease.id).await.expect("ending what has ended is no error");
}

async fn a_lease_that_is_kept_alive_lives(store: &dyn Store) {
    let lease = grant(store).await;
    let revision = make(store, Commit::new().put_leased(key("alive/a"), "1", lease.id)).await;
    let mut watch = store.watch("alive/", revision);
    let granted = Instant::now();
    while granted.elapsed() < 2 * lease.ttl {
        store.keep_alive(lease.id).await.expect("it lives");
        sleep(lease.ttl / 10).await;
    }
    assert!(value(store, "alive/a").await.is_some(), "it is there after {:?}", granted.elapsed());
    assert!(
        timeout(Duration::from_millis(1), deleted(&mut watch)).await.is_err(),
        "nobody says that it ended"
    );
    assert_eq!(timeout(LIMIT, deleted(&mut watch)).await, Ok(vec![key("alive/a")]), "left alone it ends");
}

async fn a_revoked_lease_ends_at_once(store: &dyn Store) {
    let lease = store.grant(100 * TTL).await.expect("granted");
    let revision = make(store, Commit::new().put_leased(key("revoke/a"), "1", lease.id)).await;
    let mut watch = store.watch("revoke/", revision);
    store.revoke(lease.id).await.expect("revoked");
    assert_eq!(get(store, "revoke/a").await, None);
    assert_eq!(deleted(&mut watch).await, [key("revoke/a")]);
}

async fn a_key_put_without_its_lease_outlives_it(store: &dyn Store) {
    let lease = store.grant(100 * TTL).await.expect("granted");
    let other = store.grant(100 * TTL).await.expect("granted");
    let both = Commit::new().put_leased(key("unbound/a"), "1", lease.id);
    make(store, both.put_leased(key("unbound/b"), "1", lease.id)).await;
    put(store, "unbound/a", "2").await;
    make(store, Commit::new().put_leased(key("unbound/b"), "2", other.id)).await;
    store.revoke(lease.id).await.expect("revoked");
    assert_eq!(value(store, "unbound/a").await.expect("it stays"), "2");
    assert_eq!(value(store, "unbound/b").await.expect("it stays"), "2");
    store.revoke(other.id).await.expect("revoked");
    assert_eq!(value(store, "unbound/a").await.expect("it stays"), "2");
    assert_eq!(get(store, "unbound/b").await, None);
}
