//! Tags that are moved while they are pulled. A registry rewrites a tag's link in place: cut, then written.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dataproxy::content::Freshness;
use dataproxy::store::local::LocalFolder;
use dataproxy_cache::fakes::Fault;
use dataproxy_cache::{Algorithm, Digest, ObjectName, OriginErrorKind};
use tokio::time::advance;

use crate::node::{Node, contoso, manifest, repository, tag};

/// Moves of the tag in the test on a real folder.
const PUSHES: usize = 500;

fn write(root: &Path, object: &ObjectName, content: &str) {
    let path = root.join(object.as_str());
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("written");
}

fn push(root: &Path, content: &str) -> Digest {
    let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
    write(root, &contoso().blob(&digest), content);
    write(root, &contoso().revision_link(&repository("app"), &digest), &digest.to_string());
    digest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_is_rewritten_in_place_is_pulled_all_the_while() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let digests = ["old", "new"].map(|what| push(root, &manifest(what)));
    let link = contoso().tag_link(&repository("app"), &tag("v1"));
    write(root, &link, &digests[0].to_string());
    // Every pull reads the link.
    let freshness = Freshness { tag_ttl: Duration::ZERO, ..Freshness::default() };
    let node = Node::over_folder(LocalFolder::open(root).expect("opened"), freshness).await;
    assert_eq!(node.head("/v2/app/manifests/v1").await.status, 200);
    let (path, done) = (root.join(link.as_str()), Arc::new(AtomicBool::new(false)));
    let ended = Arc::clone(&done);
    let writer = std::thread::spawn(move || {
        for digest in digests.iter().cycle().take(PUSHES) {
            let mut file = File::create(&path).expect("cut");
            std::thread::yield_now();
            file.write_all(digest.to_string().as_bytes()).expect("written");
            file.sync_all().expect("synced");
        }
        ended.store(true, Ordering::Release);
    });
    let (mut pulls, mut failed) = (0, Vec::new());
    while !done.load(Ordering::Acquire) {
        let status = node.head("/v2/app/manifests/v1").await.status;
        pulls += 1;
        if status != 200 {
            failed.push(status);
        }
    }
    writer.join().expect("no panic");
    assert!(failed.is_empty(), "{failed:?} of {pulls} pulls");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_changes_under_the_read_is_read_again() {
    let node = Node::new().await;
    node.push_manifest("app", &["v1"], &manifest("x"));
    let link = contoso().tag_link(&repository("app"), &tag("v1"));
    let changed = Fault::Refuse(OriginErrorKind::Changed);
    node.store.origin().script(move |asked| asked.object == link, Some(5), changed);
    let reply = node.head("/v2/app/manifests/v1").await;
    assert_eq!((reply.status, reply.header("warning")), (200, None));
}

#[tokio::test(start_paused = true)]
async fn a_link_without_a_digest_is_never_remembered_as_an_absence() {
    for content in ["", "sha256:abc"] {
        let node = Node::new().await;
        let digest = node.push_manifest("app", &[], &manifest("x"));
        let link = contoso().tag_link(&repository("app"), &tag("v1"));
        node.store.put(&link, content);
        assert_eq!(node.head("/v2/app/manifests/v1").await.status, 404, "{content:?}");
        node.store.put(&link, digest.to_string());
        assert_eq!(node.head("/v2/app/manifests/v1").await.status, 200, "{content:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_tag_is_covered_for_a_moment_and_is_gone_if_it_stays_without_a_digest() {
    let node = Node::new().await;
    let digest = node.push_manifest("app", &["v1"], &manifest("x"));
    assert_eq!(node.head("/v2/app/manifests/v1").await.status, 200);
    let link = contoso().tag_link(&repository("app"), &tag("v1"));
    node.store.put(&link, "");
    advance(Duration::from_secs(6)).await;
    let covered = node.head("/v2/app/manifests/v1").await;
    assert_eq!(covered.status, 200);
    assert!(covered.header("warning").is_some(), "and says so");
    advance(Duration::from_secs(3)).await;
    assert_eq!(node.head("/v2/app/manifests/v1").await.status, 404);
    node.store.put(&link, digest.to_string());
    let whole = node.head("/v2/app/manifests/v1").await;
    assert_eq!((whole.status, whole.header("warning")), (200, None));
}
