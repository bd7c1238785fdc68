//! What a local folder promises beyond the contracts of its seams.

use std::fs;
use std::os::unix::fs::symlink;

use dataproxy_cache::conformance::{Fixture, origin};
use futures_util::TryStreamExt;

use super::*;
use crate::store::conformance;

fn folder() -> (tempfile::TempDir, LocalFolder) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = LocalFolder::open(dir.path()).expect("it exists");
    (dir, folder)
}

fn put(root: &Path, name: &str, content: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
    fs::write(path, content).expect("a file");
}

async fn kind(folder: &LocalFolder, name: &str, range: Range<u64>) -> OriginErrorKind {
    folder.get(&ObjectName::new(name), range, None).await.expect_err(name).kind
}

struct InFolder {
    dir: tempfile::TempDir,
    folder: Arc<LocalFolder>,
}

impl Fixture for InFolder {
    fn origin(&self) -> Arc<dyn Origin> {
        Arc::clone(&self.folder) as Arc<dyn Origin>
    }

    fn put<'a>(&'a self, object: &'a ObjectName, content: Bytes) -> BoxFuture<'a, ()> {
        put(self.dir.path(), object.as_str(), &content);
        Box::pin(std::future::ready(()))
    }

    fn remove<'a>(&'a self, object: &'a ObjectName) -> BoxFuture<'a, ()> {
        fs::remove_file(self.dir.path().join(object.as_str())).expect("removed");
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn a_local_folder_reads_as_every_origin_does() {
    let (dir, folder) = folder();
    origin(&InFolder { dir, folder: Arc::new(folder) }).await;
}

#[tokio::test]
async fn a_local_folder_lists_as_every_store_does() {
    let (dir, folder) = folder();
    conformance::list(&folder, |name, content| put(dir.path(), name, content)).await;
}

#[tokio::test]
async fn names_that_could_leave_the_folder_name_nothing() {
    let (dir, _) = folder();
    put(dir.path(), "secret", b"outside");
    put(dir.path(), "account/c/x", b"inside");
    let folder = LocalFolder::open(dir.path().join("account")).expect("it exists");
    let long = format!("c/{}", "a".repeat(300));
    for name in [
        "",
        "/",
        "/c/x",
        "../secret",
        "c/../../secret",
        "c/./x",
        "c//x",
        "c/x/",
        "c/x\0",
        "c/x/y",
        "c",
        &long,
    ] {
        assert_eq!(kind(&folder, name, 0..9).await, OriginErrorKind::NotFound, "{name:?}");
    }
    let absolute = dir.path().join("secret").display().to_string();
    assert_eq!(kind(&folder, &absolute, 0..9).await, OriginErrorKind::NotFound);
}

#[tokio::test]
async fn a_symbolic_link_is_followed_inside_the_folder_and_refused_outside() {
    let (dir, _) = folder();
    put(dir.path(), "secret", b"outside");
    put(dir.path(), "away/f/x", b"outside");
    put(dir.path(), "account/c/x", b"inside");
    let root = dir.path().join("account");
    symlink("x", root.join("c/in")).expect("a link");
    symlink("../../secret", root.join("c/out")).expect("a link");
    symlink(dir.path().join("away"), root.join("c/away")).expect("a link");
    symlink("loop", root.join("c/loop")).expect("a link");
    let folder = LocalFolder::open(&root).expect("it exists");
    let read = folder.get(&ObjectName::new("c/in"), 0..99, None).await.expect("inside");
    assert_eq!(read.size, 6);
    assert_eq!(kind(&folder, "c/out", 0..9).await, OriginErrorKind::Denied);
    assert_eq!(kind(&folder, "c/away/f/x", 0..9).await, OriginErrorKind::Denied);
    assert_eq!(kind(&folder, "c/loop", 0..9).await, OriginErrorKind::Unavailable);
    let listing = folder.list(&ObjectName::new("c"), None, 9).await.expect("a listing");
    assert_eq!(listing, Listing::default(), "a link that leads out is no folder of ours");
    let error = folder.list(&ObjectName::new("c/away"), None, 9).await.expect_err("outside");
    assert_eq!(error.kind, OriginErrorKind::Denied);
}

#[tokio::test]
async fn a_file_that_is_not_regular_is_absent_and_never_waited_for() {
    let (dir, folder) = folder();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).expect("a socket");
    let fifo = std::process::Command::new("mkfifo").arg(dir.path().join("fifo")).status();
    assert!(fifo.expect("mkfifo runs").success());
    assert_eq!(kind(&folder, "socket", 0..1).await, OriginErrorKind::NotFound);
    assert_eq!(kind(&folder, "fifo", 0..1).await, OriginErrorKind::NotFound);
}

#[tokio::test]
async fn a_file_that_changes_under_a_read_ends_it_with_an_error() {
    let (dir, folder) = folder();
    let big = vec![7; (FIRST_PIECE_BYTES + 2 * PIECE_BYTES) as usize];
    for (what, change) in [
        (
            "cut",
            Box::new(|path: &Path| File::options().write(true).open(path).and_then(|f| f.set_len(10)))
                as Box<dyn Fn(&Path) -> io::Result<()>>,
        ),
        ("overwritten", Box::new(|path: &Path| fs::write(path, vec![8; 9 << 20]))),
    ] {
        put(dir.path(), "c/big", &big);
        let mut read = folder.get(&ObjectName::new("c/big"), 0..u64::MAX, None).await.expect(what);
        let first = read.body.try_next().await.expect(what).expect(what);
        assert_eq!(first.len() as u64, FIRST_PIECE_BYTES);
        change(&dir.path().join("c/big")).expect(what);
        let rest: Result<Vec<_>, _> = read.body.try_collect().await;
        assert_eq!(rest.expect_err(what).kind, OriginErrorKind::Changed, "{what}");
    }
}

#[tokio::test]
async fn a_file_replaced_by_a_rename_is_read_to_its_end_and_then_refused_by_the_pin() {
    let (dir, folder) = folder();
    let (old, new) = (vec![1; 3 << 20], vec![2; 3 << 20]);
    put(dir.path(), "c/x", &old);
    let name = ObjectName::new("c/x");
    let read = folder.get(&name, 0..u64::MAX, None).await.expect("readable");
    put(dir.path(), "c/next", &new);
    fs::rename(dir.path().join("c/next"), dir.path().join("c/x")).expect("a rename");
    let pin = read.etag.clone();
    let body: Vec<Bytes> = read.body.try_collect().await.expect("the opened version");
    assert!(body.iter().all(|piece| piece.len() as u64 <= PIECE_BYTES), "pieces are bounded");
    assert_eq!(body.concat(), old);
    let error = folder.get(&name, 1..9, Some(&pin)).await.expect_err("replaced");
    assert_eq!(error.kind, OriginErrorKind::Changed);
}

#[tokio::test]
async fn an_account_that_is_gone_is_an_outage_and_not_an_empty_store() {
    let (dir, _) = folder();
    let root = dir.path().join("account");
    let missing = LocalFolder::open(&root).expect_err("not there").to_string();
    assert!(missing.contains("account") && missing.contains("storage folder"), "{missing}");
    put(dir.path(), "file", b"");
    assert!(LocalFolder::open(dir.path().join("file")).is_err());
    fs::create_dir(&root).expect("a folder");
    let folder = LocalFolder::open(&root).expect("it exists");
    assert_eq!(kind(&folder, "c/x", 0..1).await, OriginErrorKind::NotFound);
    fs::remove_dir(&root).expect("removed");
    assert_eq!(kind(&folder, "c/x", 0..1).await, OriginErrorKind::Unavailable);
    let error = folder.list(&ObjectName::new("c"), None, 1).await.expect_err("gone");
    assert_eq!(error.kind, OriginErrorKind::Unavailable);
}
