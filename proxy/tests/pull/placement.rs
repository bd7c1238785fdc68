//! A registry's content is read where its placement says, in either form of names that registries write.

use std::sync::Arc;
use std::time::Duration;

use dataproxy::bindings::Table;
use dataproxy::content::Freshness;
use dataproxy::layout::{Laid, Layout};
use dataproxy::resolve::Stores;
use dataproxy::store::Store;
use dataproxy::store::guard::{AccountBounds, AccountState, Guard};
use dataproxy::store::local::LocalFolder;
use dataproxy::store::memory::MemoryStore;
use dataproxy_cache::OriginErrorKind;
use dataproxy_cache::conformance::pattern;
use dataproxy_cache::fakes::{Fault, Gate};
use dataproxy_router_api::Prefix;
use http_body_util::BodyExt;
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

/// `contoso` in account `one`, with a copy in account `two` under other names; both behind their guards.
struct Pair {
    node: Node,
    own: Arc<MemoryStore>,
    copy: Arc<MemoryStore>,
    guard: Arc<Guard>,
}

impl Pair {
    async fn new() -> Self {
        let (own, copy) = (MemoryStore::new(), MemoryStore::new());
        let guard = |name: &str, store: &Arc<MemoryStore>| {
            let store = Arc::clone(store) as Arc<dyn Store>;
            Guard::new(name.parse().expect("a name"), store, AccountBounds::default())
        };
        let (one, two) = (guard("one", &own), guard("two", &copy));
        let accounts =
            [&one, &two].map(|guard| (guard.name().clone(), Laid::over(Arc::clone(guard) as _) as _));
        let node = Node::with(Arc::clone(&own), Stores::from(accounts), Freshness::default()).await;
        let snapshot = json!({
            "revision": 2, "region": "west",
            "stamps": [{"name": "a", "nodes": []}],
            "bindings": [{
                "registry": "contoso", "home_stamp": "a", "epoch": 7, "pull": "anonymous",
                "placement": {"account": "one", "container": "contoso",
                    "copies": [{"account": "two", "container": "shared", "prefix": "/"}]},
            }],
        });
        node.bindings
            .replace(Table::new(serde_json::from_value(snapshot).expect("a snapshot")))
            .expect("newer");
        Self { node, own, copy, guard: one }
    }

    /// Pushes a blob into both accounts; its address.
    fn push(&self, content: &[u8]) -> String {
        let root = "/".parse().expect("a prefix");
        self.copy.push_blob(Layout::new("shared").below_prefix(&root), &repository("app"), content);
        let digest = self.own.push_blob(Layout::new("contoso"), &repository("app"), content);
        format!("/v2/app/blobs/{digest}")
    }
}

#[tokio::test(start_paused = true)]
async fn pulls_go_on_at_a_copy_while_their_own_account_is_dark() {
    let pair = Pair::new().await;
    let blobs: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; 100_000]).collect();
    let addresses: Vec<String> = blobs.iter().map(|blob| pair.push(blob)).collect();
    pair.own.origin().always(Fault::Mute);
    for (blob, address) in blobs.iter().zip(&addresses) {
        let reply = pair.node.send(http::Request::get(address)).await;
        assert_eq!((reply.status, reply.body == *blob), (200, true), "{address}");
    }
    assert_eq!(pair.guard.state(), AccountState::Dark);
    let asked = pair.own.origin().requests();
    assert!(asked <= 20, "{asked} requests to an account that is dark");
    let absent = pair.node.send(http::Request::get(format!("/v2/none/{}", &addresses[0][8..]))).await;
    assert_eq!(absent.status, 503, "a copy's word is not enough for an absence");
}

#[tokio::test(start_paused = true)]
async fn a_pull_whose_account_goes_dark_in_its_middle_ends_right() {
    let pair = Pair::new().await;
    let blob = pattern(20 << 20);
    let address = pair.push(&blob);
    let gate = Gate::new();
    pair.own.origin().at(8 << 20, Fault::Hold { after_bytes: 1000, gate: gate.clone() });
    let response = pair.node.open(http::Request::get(&address)).await;
    gate.arrived(1).await;
    pair.own.origin().always(Fault::Refuse(OriginErrorKind::Unavailable));
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert!(body == blob, "every byte is right");
    assert!(pair.copy.origin().sent_bytes() > 0, "the rest came from the copy");
    let again = pair.node.send(http::Request::get(&address)).await;
    assert!(again.body == blob);
}

#[tokio::test(start_paused = true)]
async fn damage_in_a_copy_is_found_though_the_read_began_elsewhere() {
    let pair = Pair::new().await;
    let blob = pattern(20 << 20);
    let address = pair.push(&blob);
    let gate = Gate::new();
    pair.own.origin().at(8 << 20, Fault::Hold { after_bytes: 1000, gate: gate.clone() });
    pair.copy.origin().always(Fault::Corrupt { at: 9 << 20 });
    let response = pair.node.open(http::Request::get(&address)).await;
    gate.arrived(1).await;
    pair.own.origin().always(Fault::Refuse(OriginErrorKind::Unavailable));
    assert!(response.into_body().collect().await.is_err(), "a damaged body never ends well");
    pair.own.origin().heal();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(pair.node.send(http::Request::get(&address)).await.body == blob, "nothing of it was kept");
}
