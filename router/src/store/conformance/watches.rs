//! Watches: every commit whole, in order, once; what is forgotten is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::{Changes, KeyChange, Watch};
use super::{Commit, Entry, Key, Revision, Store, StoreErrorKind, get, key, list, make, put, within};

pub(super) async fn all(store: &Arc<dyn Store>) {
    let one = &**store;
    within("batches", each_commit_is_one_batch(one)).await;
    within("the past", a_watch_begins_where_it_is_told_to(one)).await;
    within("prefixes", only_what_lies_below_the_prefix_is_told(one)).await;
    within("many watches", every_watch_is_told(one)).await;
    within("replay", batches_lead_from_one_listing_to_the_next(store)).await;
}

/// The next batch that has changes.
async fn next(watch: &mut Watch) -> Changes {
    loop {
        match watch.next().await {
            Some(Ok(batch)) if batch.changes.is_empty() => {}
            Some(Ok(batch)) => return batch,
            other => panic!("the watch ended: {other:?}"),
        }
    }
}

/// What a batch says, in the order of keys.
fn told(batch: &Changes) -> Vec<(&str, Option<&[u8]>)> {
    let mut told: Vec<_> = batch
        .changes
        .iter()
        .map(|change| match change {
            KeyChange::Put(entry) => (entry.key.as_str(), Some(&entry.value[..])),
            KeyChange::Deleted(key) => (key.as_str(), None),
        })
        .collect();
    told.sort_unstable();
    told
}

async fn each_commit_is_one_batch(store: &dyn Store) {
    let after = put(store, "batch/gone", "0").await;
    let mut watch = store.watch("batch/", after);
    let both = Commit::new().put(key("batch/a"), "1").put(key("batch/b"), "1").delete(key("batch/gone"));
    let first = make(store, both).await;
    let second = put(store, "batch/a", "2").await;
    let batch = next(&mut watch).await;
    assert_eq!(batch.revision, first);
    assert_eq!(
        told(&batch),
        [("batch/a", Some(&b"1"[..])), ("batch/b", Some(&b"1"[..])), ("batch/gone", None)]
    );
    let batch = next(&mut watch).await;
    assert_eq!((batch.revision, told(&batch)), (second, vec![("batch/a", Some(&b"2"[..]))]));
    let KeyChange::Put(entry) = &batch.changes[0] else { panic!("{batch:?}") };
    assert_eq!(Some(entry), get(store, "batch/a").await.as_ref(), "a watch tells what a read tells");
}

async fn a_watch_begins_where_it_is_told_to(store: &dyn Store) {
    let mut revisions = Vec::new();
    for number in 0..5 {
        revisions.push(put(store, "past/a", &number.to_string()).await);
    }
    let mut watches: Vec<_> = revisions.iter().map(|after| (*after, store.watch("past/", *after))).collect();
    // The first batch of each watch shows that it has begun; what comes now shows that nothing is told twice.
    for (from, (after, watch)) in watches.iter_mut().enumerate() {
        for expected in &revisions[from + 1..] {
            assert_eq!(next(watch).await.revision, *expected, "after {after}");
        }
    }
    let last = put(store, "past/a", "last").await;
    for (after, watch) in &mut watches {
        assert_eq!(next(watch).await.revision, last, "after {after}, and what came later");
    }
}

async fn only_what_lies_below_the_prefix_is_told(store: &dyn Store) {
    let after = put(store, "only/in/a", "0").await;
    let mut watch = store.watch("only/in/", after);
    put(store, "only/in", "no").await;
    put(store, "only/inn", "no").await;
    put(store, "only/im/z", "no").await;
    let both = make(store, Commit::new().put(key("only/out"), "no").put(key("only/in/a"), "yes")).await;
    let batch = next(&mut watch).await;
    assert_eq!((batch.revision, told(&batch)), (both, vec![("only/in/a", Some(&b"yes"[..]))]));
    let mut everything = store.watch("", Revision(both.0 - 1));
    let batch = next(&mut everything).await;
    assert_eq!((batch.revision, batch.changes.len()), (both, 2));
}

async fn every_watch_is_told(store: &dyn Store) {
    let after = list(store, "").await.revision;
    let mut watches: Vec<_> = (0..10).map(|_| store.watch("every/", after)).collect();
    watches.truncate(9);
    let revision = put(store, "every/a", "1").await;
    for watch in &mut watches {
        assert_eq!(next(watch).await.revision, revision);
    }
}

async fn batches_lead_from_one_listing_to_the_next(store: &Arc<dyn Store>) {
    let seed =
        std::env::var("DATAPROXY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("DATAPROXY_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let start = list(&**store, "replay/").await;
    let mut followed: BTreeMap<Key, Entry> = BTreeMap::new();
    let mut watch = store.watch("replay/", start.revision);
    let mut last = start.revision;
    for round in 0..10 {
        for _ in 0..20 {
            let names = random.random_range(1..4_u32);
            let commit = (0..names).fold(Commit::new(), |commit, number| {
                let name = key(&format!("replay/{number}{}", random.random_range(0..5_u32)));
                if random.random_range(0..3_u32) == 0 { commit.delete(name) } else { commit.put(name, "x") }
            });
            make(&**store, commit).await;
        }
        let end = make(&**store, Commit::new().put(key("replay/end"), round.to_string())).await;
        while last < end {
            let batch = next(&mut watch).await;
            assert!(batch.revision > last, "seed {seed}: {} after {last}", batch.revision);
            last = batch.revision;
            for change in batch.changes {
                match change {
                    KeyChange::Put(entry) => followed.insert(entry.key.clone(), entry),
                    KeyChange::Deleted(name) => followed.remove(&name),
                };
            }
        }
        let listing = list(&**store, "replay/").await;
        assert_eq!(followed.values().cloned().collect::<Vec<_>>(), listing.entries, "seed {seed}");
    }
}

pub(super) async fn what_is_forgotten_is_told(store: &dyn Store, compact: impl AsyncFn()) {
    let old = put(store, "forget/a", "1").await;
    put(store, "forget/a", "2").await;
    let now = put(store, "forget/a", "3").await;
    compact().await;
    let mut watch = store.watch("forget/", old);
    match watch.next().await {
        Some(Err(error)) => assert_eq!(error.kind, StoreErrorKind::Compacted, "{error}"),
        other => panic!("{other:?} where revision {old} is forgotten"),
    }
    assert!(watch.next().await.is_none(), "an error is the last item");
    let mut watch = store.watch("forget/", now);
    let next_revision = put(store, "forget/a", "4").await;
    assert_eq!(next(&mut watch).await.revision, next_revision, "what is new is told as ever");
    assert_eq!(list(store, "forget/").await.entries.len(), 1, "what is there is not forgotten");
}
