//! A real file system that is full or read-only, under the store in a file. Needs root.

use std::path::Path;
use std::process::Command;

use dataproxy_router::store::embedded::{EmbeddedStore, OpenError};
use dataproxy_router::store::{Commit, Key, Listing, Outcome, Revision, Store as _, StoreErrorKind};
use tempfile::TempDir;

struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let dir = TempDir::with_prefix("disk.").expect("a folder");
        run(&["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs"], dir.path());
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, options: &str) {
        run(&["mount", "-o", &format!("remount,{options}")], self.path());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn run(command: &[&str], path: &Path) {
    let ended = Command::new(command[0]).args(&command[1..]).arg(path).status();
    assert!(ended.as_ref().is_ok_and(std::process::ExitStatus::success), "{command:?}: {ended:?}");
}

fn open(path: &Path) -> EmbeddedStore {
    EmbeddedStore::open(path).unwrap_or_else(|error| panic!("{error}"))
}

async fn list(store: &EmbeddedStore) -> Listing {
    store.list("").await.expect("listed")
}

#[tokio::test]
async fn a_disk_that_is_full_refuses_commits_changes_nothing_and_takes_them_once_there_is_room() {
    let disk = SmallDisk::mount();
    let path = disk.path().join("store");
    let store = open(&path);
    let mut number = 0;
    let (refusal, commit) = loop {
        let commit = Commit::new().put(Key::new(format!("a/{number}")), vec![b'x'; 50_000]);
        match store.commit(&commit).await {
            Ok(_) => number += 1,
            Err(error) => break (error, commit),
        }
        assert!(number < 100, "5 MB are in 4 MiB");
    };
    assert_eq!(refusal.kind, StoreErrorKind::Full, "{refusal}");
    let before = list(&store).await;
    assert_eq!(before.entries.len(), number);
    for _ in 0..3 {
        let error = store.commit(&commit).await.expect_err("it is still full");
        assert_eq!(error.kind, StoreErrorKind::Full, "{error}");
    }
    assert_eq!(list(&store).await, before, "what was refused is not there");
    drop(store);

    disk.remount("size=32m");
    let store = open(&path);
    assert_eq!(list(&store).await, before, "and is not there after a restart");
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 40 << 20]).expect_err("the file system is full");
    // Redb may have some room in its file.
    let mut last = before;
    let error = loop {
        match store.commit(&commit).await {
            Ok(_) => last = list(&store).await,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind, list(&store).await), (StoreErrorKind::Full, last.clone()), "{error}");
    std::fs::remove_file(&ballast).expect("removed");
    let expected = Outcome::Committed { revision: Revision(last.revision.0 + 1) };
    assert_eq!(store.commit(&commit).await, Ok(expected), "with room it goes on, without a restart");
}

#[tokio::test]
async fn a_read_only_file_system_is_told_and_leaves_the_file_as_it_is() {
    let disk = SmallDisk::mount();
    let path = disk.path().join("store");
    let store = open(&path);
    store.commit(&Commit::new().put(Key::new("a"), "1")).await.expect("committed");
    drop(store);
    let before = std::fs::read(&path).expect("read");
    disk.remount("ro");
    for path in [path.clone(), disk.path().join("new")] {
        match EmbeddedStore::open(&path) {
            Err(OpenError::Io { error, .. }) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(std::fs::read(&path).expect("read"), before);
}
