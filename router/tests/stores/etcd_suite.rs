//! The store in a real etcd: the suite, and what is etcd's own.

use std::sync::Arc;

use dataproxy_router::store::etcd::{EtcdOptions, EtcdStore};
use dataproxy_router::store::{Commit, Key, Store as _, StoreErrorKind, conformance};

use crate::etcd_server::Etcd;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_in_etcd_keeps_the_contract() {
    let etcd = Etcd::start(1).await;
    let store = Arc::new(etcd.store());
    let compacting = Arc::clone(&store);
    conformance::store(store, async || etcd.compact(&compacting).await).await;
}

#[tokio::test]
async fn stores_with_other_prefixes_share_a_cluster_and_nothing_else() {
    let etcd = Etcd::start(1).await;
    let one = etcd.store();
    let options = EtcdOptions { prefix: "/dataproxy/v10/".into(), ..etcd.options() };
    let other = EtcdStore::new(&options).expect("options");
    let put = async |store: &EtcdStore, value: &'static str| {
        store.commit(&Commit::new().put(Key::new("a"), value)).await.expect("committed");
    };
    put(&one, "1").await;
    put(&other, "2").await;
    for (store, value) in [(&one, "1"), (&other, "2")] {
        let entries = store.list("").await.expect("listed").entries;
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].value, value);
    }
    let seen = etcd.control(&["get", "--prefix", "/", "--keys-only"]);
    assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["/dataproxy/v1/a", "/dataproxy/v10/a"]);
}

#[tokio::test]
async fn a_cluster_that_is_away_is_told_within_the_limit_and_changes_nothing() {
    let mut etcd = Etcd::start(1).await;
    let store = etcd.store();
    etcd.members[0].kill();
    let read = store.get(&Key::new("a")).await.expect_err("nobody is there");
    assert_eq!(read.kind, StoreErrorKind::Unavailable, "{read}");
    let fresh = etcd.store();
    let commit = Commit::new().put(Key::new("a"), "1");
    let error = fresh.commit(&commit).await.expect_err("nobody is there");
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "what was never sent has not happened: {error}");
    etcd.members[0].start();
    etcd.wait(&store).await;
    assert_eq!(store.get(&Key::new("a")).await, Ok(None));
}
