//! The in-memory twin.

use dataproxy_router::store::memory::{Fault, MemoryStore};
use dataproxy_router::store::{Commit, Key, Store as _, StoreErrorKind, conformance};

#[tokio::test]
async fn the_store_in_memory_keeps_the_contract() {
    let store = MemoryStore::new();
    let compacted = store.another();
    conformance::store(store, async || compacted.compact()).await;
}

#[tokio::test]
async fn a_lost_answer_says_that_the_commit_may_have_happened() {
    let store = MemoryStore::new();
    let other = store.another();
    for (fault, happened) in [(Fault::LostOnTheWay, false), (Fault::LostOnTheWayBack, true)] {
        let key = Key::new(format!("{fault:?}"));
        let commit = Commit::new().put(key.clone(), "1");
        store.fail(fault, 1);
        let error = store.commit(&commit).await.expect_err("the answer is lost");
        assert!(error.kind.may_have_happened() && !error.kind.is_transient(), "{error}");
        assert_eq!(other.get(&key).await.expect("read").is_some(), happened);
    }
    store.fail(Fault::Unavailable, usize::MAX);
    let (key, commit) = (Key::new("cut"), Commit::new().put(Key::new("cut"), "1"));
    for _ in 0..2 {
        let error = store.commit(&commit).await.expect_err("cut off");
        assert_eq!(error.kind, StoreErrorKind::Unavailable);
    }
    assert_eq!(other.get(&key).await, Ok(None));
    store.heal();
    assert_eq!(store.get(&key).await, Ok(None));
}
