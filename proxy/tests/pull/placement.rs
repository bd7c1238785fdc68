//! A registry's content is read where its placement says, in either form of names that registries write.

use dataproxy::bindings::Table;
use dataproxy::content::Freshness;
use dataproxy::layout::Layout;
use dataproxy::store::local::LocalFolder;
use dataproxy_router_api::Prefix;
use serde_json::json;

use crate::node::{Node, manifest, repository, tag};

/// `contoso` and `fabrikam` in one container, below these prefixes.
fn shared(revision: u64, contoso: &str, fabrikam: &str) -> Table {
    let binding = |registry: &str, prefix: &str| {
        json!({
            "registry": registry, "home_stamp": "a", "epoch": 7, "pull": "anonymous",
            "placement": {"account": "one", "container": "shared", "prefix": prefix},
        })
    };
    let snapshot = json!({
        "revision": revision, "region": "west",
        "stamps": [{"name": "a", "nodes": []}],
        "bindings": [binding("contoso", contoso), binding("fabrikam", fabrikam)],
    });
    Table::new(serde_json::from_value(snapshot).expect("a snapshot"))
}

#[tokio::test]
async fn a_registry_below_a_prefix_is_pulled_and_sees_nothing_of_its_neighbour() {
    let pairs = [("", "/"), ("/", "team-a/"), ("team-a/", "/team-a/"), ("team-a/", "team-a/sub/")];
    for (mine, theirs) in pairs {
        let node = Node::new().await;
        node.bindings.replace(shared(2, mine, theirs)).expect("newer");
        let push = |prefix: &str, what: &str| {
            let prefix: Prefix = prefix.parse().expect("a prefix");
            let layout = Layout::new("shared").below_prefix(&prefix);
            let blob = node.store.push_blob(layout, &repository("app"), what.as_bytes());
            let image = node.store.push_manifest(layout, &repository("app"), manifest(what).as_bytes());
            node.store.tag(layout, &repository("app"), &tag("v1"), &image);
            node.store.tag(layout, &repository("app"), &tag(what), &image);
            blob
        };
        let (own, other) = (push(mine, "mine"), push(theirs, "theirs"));
        for (host, what, blob, hidden) in [
            ("contoso.registry.test", "mine", &own, &other),
            ("fabrikam.registry.test", "theirs", &other, &own),
        ] {
            let host = [("host", host)];
            let image = node.get_with("/v2/app/manifests/v1", &host).await;
            assert_eq!(image.body, manifest(what), "{mine:?} {theirs:?}");
            assert_eq!(node.get_with(&format!("/v2/app/blobs/{blob}"), &host).await.body, what);
            assert_eq!(node.get_with(&format!("/v2/app/blobs/{hidden}"), &host).await.status, 404);
            let tags = node.get_with("/v2/app/tags/list", &host).await.json();
            let mut expected = vec![what, "v1"];
            expected.sort_unstable();
            assert_eq!(tags["tags"], json!(expected));
        }
    }
}

#[tokio::test]
async fn a_folder_refuses_a_placement_with_a_leading_slash_and_serves_other_prefixes() {
    let folder = tempfile::tempdir().expect("a folder");
    let blob = dataproxy_cache::Digest::of(dataproxy_cache::Algorithm::Sha256, b"layer");
    let team = "team-a/".parse().expect("a prefix");
    let layout = Layout::new("shared").below_prefix(&team);
    for (name, content) in [
        (layout.blob(&blob), "layer".to_owned()),
        (layout.layer_link(&repository("app"), &blob), blob.to_string()),
    ] {
        let path = folder.path().join(name.as_str());
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, content).expect("written");
    }
    let account = LocalFolder::open(folder.path()).expect("opened");
    let node = Node::over_folder(account, Freshness::default()).await;
    node.bindings.replace(shared(2, "/team-a/", "team-a/")).expect("newer");
    let address = format!("/v2/app/blobs/{blob}");
    let refused = node.get(&address).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "UNAVAILABLE"),
        "an outage, never an absence"
    );
    assert!(String::from_utf8_lossy(&refused.body).contains("leading slash"), "{refused:?}");
    let served = node.get_with(&address, &[("host", "fabrikam.registry.test")]).await;
    assert_eq!((served.status, &served.body[..]), (200, &b"layer"[..]));
}
