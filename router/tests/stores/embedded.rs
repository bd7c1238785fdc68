//! The store in one file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dataproxy_router::store::embedded::{EmbeddedStore, OpenError};
use dataproxy_router::store::{Commit, Key, Outcome, Revision, Store as _, StoreErrorKind, conformance};
use futures_util::StreamExt;
use redb::{Database, TableDefinition};

fn open(path: &Path) -> EmbeddedStore {
    EmbeddedStore::open(path).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(path: &Path) -> OpenError {
    EmbeddedStore::open(path).err().unwrap_or_else(|| panic!("{} is opened", path.display()))
}

async fn put(store: &EmbeddedStore, name: &str, value: &str) -> Revision {
    let commit = Commit::new().put(Key::new(name), value.to_owned());
    match store.commit(&commit).await {
        Ok(Outcome::Committed { revision }) => revision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_in_a_file_keeps_the_contract() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Arc::new(open(&dir.path().join("store")));
    let compacted = Arc::clone(&store);
    conformance::store(store, async || compacted.forget(0)).await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart_at_its_revision() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store");
    let store = open(&path);
    put(&store, "a", "1").await;
    put(&store, "b", "2").await;
    store.commit(&Commit::new().delete(Key::new("a"))).await.expect("deleted");
    let before = store.list("").await.expect("listed");
    let mut watch = store.watch("", before.revision);
    drop(store);
    let end = watch.next().await.expect("an end").expect_err("the store is closed");
    assert_eq!(end.kind, StoreErrorKind::Unavailable, "{end}");

    let store = open(&path);
    assert_eq!(store.list("").await, Ok(before.clone()));
    let after = put(&store, "a", "1").await;
    assert_eq!(after.0, before.revision.0 + 1, "no revision is used again");
    let batch = store.watch("", before.revision).next().await.expect("a batch").expect("a batch");
    assert_eq!(batch.revision, after);
    let old = store.watch("", Revision(1)).next().await.expect("an end").expect_err("it is forgotten");
    assert_eq!(old.kind, StoreErrorKind::Compacted);
}

#[tokio::test]
async fn leases_end_with_the_process_that_granted_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store");
    let store = open(&path);
    let lease = store.grant(Duration::from_secs(3600)).await.expect("granted");
    let commit = Commit::new().put_leased(Key::new("leader"), "me", lease.id).put(Key::new("stays"), "");
    let Ok(Outcome::Committed { revision }) = store.commit(&commit).await else { panic!("not committed") };
    drop(store);
    for _ in 0..2 {
        let store = open(&path);
        let listing = store.list("").await.expect("listed");
        assert_eq!(listing.revision.0, revision.0 + 1, "the end of the lease is a commit of its own");
        assert_eq!(listing.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["stays"]);
        let gone = store.keep_alive(lease.id).await.expect_err("it has ended");
        assert_eq!(gone.kind, StoreErrorKind::LeaseGone);
    }
}

#[tokio::test]
async fn a_second_opener_is_told_who_has_the_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store");
    let first = open(&path);
    let error = refused(&path);
    let me = format!("process {}", std::process::id());
    assert!(matches!(&error, OpenError::Held { holder, .. } if *holder == me), "{error:?}");
    assert!(error.to_string().contains(&me) && error.to_string().contains("etcd"), "{error}");
    put(&first, "a", "1").await;
    drop(first);
    open(&path);
}

#[test]
fn what_is_no_store_or_of_another_format_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = dir.path().join("text");
    std::fs::write(&text, "hello, this is a text of somebody else's").expect("written");
    let other = dir.path().join("other");
    let table = |path: &Path, name: &str, row: (&str, u64)| {
        let database = Database::create(path).expect("made");
        let begun = database.begin_write().expect("begun");
        begun
            .open_table(TableDefinition::<&str, u64>::new(name))
            .expect("a table")
            .insert(row.0, row.1)
            .expect("a row");
        begun.commit().expect("committed");
    };
    table(&other, "other", ("a", 1));
    let newer = dir.path().join("newer");
    table(&newer, "meta", ("format", 2));
    let silent = dir.path().join("silent");
    table(&silent, "meta", ("revision", 2));

    let before = std::fs::read(&text).expect("read");
    let error = refused(&text);
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    assert_eq!(std::fs::read(&text).expect("read"), before);
    for (path, told) in [(&other, "a table \"other\""), (&silent, "does not say its format")] {
        let error = refused(path);
        assert!(matches!(error, OpenError::Foreign { .. }) && error.to_string().contains(told), "{error}");
    }
    for _ in 0..2 {
        let error = refused(&newer);
        assert!(matches!(error, OpenError::Format { found: 2, known: 1, .. }), "{error:?}");
    }
}

#[test]
fn a_folder_that_is_not_there_and_a_file_that_is_one_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    for (path, told) in
        [(dir.path().join("absent/store"), "No such file"), (dir.path().to_owned(), "directory")]
    {
        let error = refused(&path);
        assert!(error.to_string().contains(told), "{error}");
    }
    assert!(!dir.path().join("absent").exists());
}

#[tokio::test]
async fn a_damaged_file_is_told_and_never_served() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store");
    let store = open(&path);
    for number in 0..200 {
        put(&store, &format!("registries/{number}"), &"a value with some length to it ".repeat(20)).await;
    }
    let before = store.list("").await.expect("listed");
    drop(store);
    let whole = std::fs::read(&path).expect("read");
    let seed =
        std::env::var("DATAPROXY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("DATAPROXY_SEED={seed}");
    let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed);
    let mut told = 0;
    for _ in 0..40 {
        let mut damaged = whole.clone();
        let at = rand::RngExt::random_range(&mut random, 0..damaged.len());
        damaged[at] ^= 0x10;
        std::fs::write(&path, &damaged).expect("written");
        match EmbeddedStore::open(&path) {
            // Where nothing is stored, or where the file can be mended from its other half.
            Ok(store) => assert_eq!(store.list("").await.as_ref(), Ok(&before), "seed {seed}, byte {at}"),
            Err(error) => {
                assert!(matches!(error, OpenError::Corrupt { .. } | OpenError::Foreign { .. }), "{error:?}");
                told += 1;
            }
        }
    }
    println!("{told} of 40 damaged files are refused");
}
