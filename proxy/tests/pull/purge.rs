//! What a node is told to forget it reads anew, and nothing else.

use std::sync::Arc;

use dataproxy::bindings::Table;
use dataproxy::purge::Purger;
use dataproxy_cache::Digest;
use dataproxy_router_api::{Point, Purge};
use tokio::sync::watch;

use crate::node::{Node, contoso, fabrikam, manifest, repository, table, tag};

struct Told {
    node: Node,
    purger: Purger,
    done: watch::Sender<Point>,
}

impl Told {
    async fn new() -> Self {
        let (node, done) = (Node::new().await, watch::Sender::new(Point::default()));
        let bindings = Arc::clone(&node.bindings);
        let purger = Purger::new(bindings, node.cache.clone(), Arc::clone(&node.puller), done.clone());
        Self { node, purger, done }
    }

    /// Tells it to forget this, by a new revision.
    async fn forgets(&self, registry: &str, repository: Option<&str>, digest: Option<&Digest>) {
        let mut snapshot = self.node.bindings.current().snapshot().clone();
        snapshot.revision.0 += 1;
        snapshot.purges.push(Purge {
            repository: repository.map(str::to_owned),
            digest: digest.map(ToString::to_string),
            ..Purge::of(registry.parse().expect("a name"), snapshot.revision)
        });
        self.node.bindings.replace(Table::new(snapshot.clone())).expect("newer");
        self.purger.catch_up().await;
        assert_eq!(*self.done.borrow(), snapshot.point());
    }

    async fn status(&self, path: &str) -> u16 {
        self.node.head(path).await.status
    }

    /// Reads of storage that one pull of `path` costs.
    async fn cost(&self, path: &str) -> usize {
        let before = self.node.store.origin().requests();
        let got = self.node.send(http::Request::get(path).header("host", "contoso.registry.test")).await;
        assert_eq!(got.status, 200, "{path}");
        self.node.store.origin().requests() - before
    }
}

#[tokio::test]
async fn a_registry_that_is_purged_is_read_anew_link_by_link_and_its_neighbour_is_not() {
    let told = Told::new().await;
    let (store, app) = (&told.node.store, repository("app"));
    let digest = told.node.push_blob("app", b"layer");
    store.push_blob(fabrikam(), &app, b"layer");
    told.node.push_manifest("app", &["v1"], &manifest("one"));
    let (blob, tags) = (format!("/v2/app/blobs/{digest}"), "/v2/app/tags/list");
    let of_fabrikam = format!("/v2/fabrikam/app/blobs/{digest}");
    let theirs = || http::Request::get(&of_fabrikam).header("host", "127.0.0.1:5000");
    assert_eq!(told.cost(&blob).await, 2, "the link and the blob");
    told.cost(tags).await;
    told.node.send(theirs()).await;
    assert_eq!(told.cost(&blob).await, 0, "both are remembered");

    store.remove(&contoso().layer_link(&app, &digest));
    store.tag(contoso(), &app, &tag("v2"), &Digest::of(dataproxy_cache::Algorithm::Sha256, b"any"));
    assert_eq!(told.status(&blob).await, 200, "remembered for link_ttl");
    told.forgets("contoso", None, None).await;
    assert_eq!(told.status(&blob).await, 404);
    let listed = told.node.send(http::Request::get(tags).header("host", "contoso.registry.test")).await;
    assert_eq!(listed.json()["tags"], serde_json::json!(["v1", "v2"]));
    let before = store.origin().requests();
    assert_eq!(told.node.send(theirs()).await.status, 200);
    assert_eq!(store.origin().requests(), before, "the neighbour's copy and link are kept");
    told.node.push_blob("app", b"layer");
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    tokio::time::resume();
    assert_eq!(told.cost(&blob).await, 2, "its bytes are gone, too");
}

#[tokio::test]
async fn a_repository_that_is_purged_has_its_links_read_anew_and_another_one_has_not() {
    let told = Told::new().await;
    let digest = told.node.push_blob("app", b"layer");
    told.node.push_blob("team/app", b"layer");
    let path = |name: &str| format!("/v2/{name}/blobs/{digest}");
    for name in ["app", "team/app"] {
        told.cost(&path(name)).await;
        assert_eq!(told.cost(&path(name)).await, 0);
    }
    told.forgets("contoso", Some("app"), None).await;
    assert_eq!(told.cost(&path("team/app")).await, 0);
    assert_eq!(told.cost(&path("app")).await, 1, "the link; the bytes are the other's as well");
    // It is not there any more: nobody is served by an old right.
    told.node.store.remove(&contoso().layer_link(&repository("app"), &digest));
    told.forgets("contoso", Some("app"), None).await;
    assert_eq!((told.status(&path("app")).await, told.status(&path("team/app")).await), (404, 200));
}

#[tokio::test]
async fn a_digest_that_is_purged_is_read_anew_and_another_one_is_not() {
    let told = Told::new().await;
    let (one, other) = (told.node.push_blob("app", b"one"), told.node.push_blob("app", b"other"));
    let path = |digest: &Digest| format!("/v2/app/blobs/{digest}");
    for digest in [&one, &other] {
        told.cost(&path(digest)).await;
    }
    told.forgets("contoso", None, Some(&one)).await;
    assert_eq!([told.cost(&path(&one)).await, told.cost(&path(&other)).await], [2, 0]);
    told.forgets("contoso", Some("app"), Some(&one)).await;
    assert_eq!([told.cost(&path(&one)).await, told.cost(&path(&other)).await], [2, 0]);
    // What names nothing, or a registry that is bound no more, holds up nothing.
    told.forgets("contoso", Some("No Such"), None).await;
    told.forgets("nobody", None, None).await;
    assert_eq!([told.cost(&path(&one)).await, told.cost(&path(&other)).await], [0, 0]);
}

#[tokio::test]
async fn what_is_purged_once_is_not_purged_again() {
    let told = Told::new().await;
    let digest = told.node.push_blob("app", b"layer");
    let path = format!("/v2/app/blobs/{digest}");
    told.forgets("contoso", None, None).await;
    told.cost(&path).await;
    let snapshot = told.node.bindings.current().snapshot().clone();
    let next = dataproxy_router_api::Snapshot {
        revision: dataproxy_router_api::Revision(snapshot.revision.0 + 1),
        ..snapshot
    };
    told.node.bindings.replace(Table::new(next)).expect("newer");
    told.purger.catch_up().await;
    assert_eq!(told.cost(&path).await, 0);
    assert!(told.node.bindings.replace(table(1, "a")).is_err());
}

#[tokio::test]
async fn what_a_restored_store_says_is_to_be_forgotten_is_though_its_revision_is_low() {
    let told = Told::new().await;
    told.forgets("contoso", None, None).await;
    let mut snapshot = told.node.bindings.current().snapshot().clone();
    let before = snapshot.point();
    snapshot.history.0 += 1;
    snapshot.revision.0 -= 1;
    snapshot.purges = vec![Purge::of("fabrikam".parse().expect("a name"), snapshot.revision)];
    told.node.bindings.replace(Table::new(snapshot.clone())).expect("a later history");
    told.purger.catch_up().await;
    assert!(before < snapshot.point());
    assert_eq!(*told.done.borrow(), snapshot.point());
}
