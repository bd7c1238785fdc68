//! What is fetched ahead of a client that pulls an image.

use std::time::Duration;

use dataproxy::prefetch::Ahead;
use dataproxy_cache::Digest;
use dataproxy_cache::fakes::{Asked, Fault, Gate};
use tempfile::TempDir;

use crate::node::Node;

const LAYER: usize = 100_000;

struct Image {
    node: Node,
    _dir: TempDir,
    manifest: Digest,
    config: Digest,
    layers: Vec<Digest>,
}

fn address(digest: &Digest) -> String {
    format!("/v2/app/blobs/{digest}")
}

impl Image {
    /// An image of five layers at a node that fetches so much ahead.
    async fn new(fetches: usize, bytes: u64) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let node = Node::ahead(dir.path(), Ahead { fetches, bytes }).await;
        let config = node.push_blob("app", b"{}");
        let layers: Vec<_> = (1..6).map(|layer| node.push_blob("app", &vec![layer; LAYER])).collect();
        let listed: Vec<_> = layers
            .iter()
            .map(|layer| serde_json::json!({ "digest": layer.to_string(), "size": LAYER }))
            .collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "digest": config.to_string(), "size": 2 }, "layers": listed,
        });
        let manifest = node.push_manifest("app", &["v1"], &manifest.to_string());
        Self { node, _dir: dir, manifest, config, layers }
    }

    /// Pulls the manifest, the config and the first layer, as every client begins.
    async fn begin(&self) {
        self.get(&format!("/v2/app/manifests/{}", self.manifest)).await;
        self.get(&address(&self.config)).await;
        assert!((0..self.layers.len()).all(|layer| self.asked_for(layer) == 0), "so much alone is no pull");
        assert_eq!(self.get(&address(&self.layers[0])).await, "filled");
    }

    /// GETs, and gives how that was served.
    async fn get(&self, address: &str) -> String {
        let reply = self.node.send(http::Request::get(address)).await;
        assert_eq!(reply.status, 200, "{address}");
        let record = self.node.last_record();
        record.outcome.map(|outcome| outcome.as_str().to_owned()).unwrap_or_default()
    }

    /// Requests for the content of a layer.
    fn asked_for(&self, layer: usize) -> usize {
        let hex = self.layers[layer].hex();
        let asked = self.node.store.origin().asked();
        asked
            .iter()
            .filter(|asked| asked.object.as_str().contains(&hex) && asked.object.as_str().ends_with("data"))
            .count()
    }

    async fn complete(&self, blobs: u64) {
        let all = async {
            while self.node.cache.stats().disk_complete < blobs {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("they are fetched");
    }
}

#[tokio::test]
async fn layers_are_fetched_ahead_of_a_client_that_begins_an_image_and_read_once() {
    let image = Image::new(2, 1 << 30).await;
    image.begin().await;
    // Manifest, config and five layers.
    image.complete(7).await;
    let before = image.node.cache.stats().origin_bytes;
    for layer in &image.layers[1..] {
        assert_eq!(image.get(&address(layer)).await, "disk_hit");
    }
    assert_eq!(image.node.cache.stats().origin_bytes, before);
}

#[tokio::test]
async fn a_client_that_has_the_first_layers_has_none_of_them_fetched() {
    let image = Image::new(4, 1 << 30).await;
    image.get(&format!("/v2/app/manifests/{}", image.manifest)).await;
    image.get(&address(&image.layers[3])).await;
    image.complete(3).await;
    assert!((0..3).all(|layer| image.asked_for(layer) == 0));
}

#[tokio::test]
async fn no_more_is_fetched_ahead_than_the_budget_until_it_is_asked_for() {
    let room = 2 * LAYER as u64 + 2048;
    let image = Image::new(4, room).await;
    image.begin().await;
    image.complete(5).await;
    assert_eq!((image.asked_for(3), image.asked_for(4)), (0, 0), "the budget is taken");
    assert_eq!(image.get(&address(&image.layers[1])).await, "disk_hit");
    image.complete(6).await;
    assert_eq!(image.asked_for(4), 0);
    assert_eq!(image.get(&address(&image.layers[2])).await, "disk_hit");
    image.complete(7).await;
    let small = Image::new(4, LAYER as u64 - 1).await;
    small.begin().await;
    assert_eq!(small.get(&address(&small.layers[4])).await, "filled");
    assert_eq!(small.asked_for(1), 0, "a layer larger than the budget is left to its client");
}

#[tokio::test]
async fn a_client_joins_the_layer_that_is_fetched_and_the_next_one_is_fetched_then() {
    let image = Image::new(1, 1 << 30).await;
    let gate = Gate::new();
    let hex = image.layers[1].hex();
    let later = move |asked: &Asked| asked.object.as_str().contains(&hex) && asked.range.start > 0;
    image.node.store.origin().script(later, None, Fault::HoldAnswer(gate.clone()));
    image.begin().await;
    gate.arrived(1).await;
    assert_eq!(image.asked_for(1), 2, "one read at a time ahead of a client");
    assert_eq!(image.asked_for(2), 0, "one layer at a time");
    let second = address(&image.layers[1]);
    let (outcome, ()) = tokio::join!(image.get(&second), async {
        gate.arrived(4).await;
        gate.open();
    });
    assert_eq!(outcome, "followed");
    image.complete(7).await;
    let read = image.node.cache.stats().origin_bytes;
    assert!(read < 5 * LAYER as u64 + 10_000, "{read} bytes: something was fetched twice");
}

#[tokio::test]
async fn a_layer_that_the_repository_does_not_own_is_not_fetched_ahead() {
    let image = Image::new(4, 1 << 30).await;
    let other = image.node.push_blob("elsewhere", &[9; LAYER]);
    let layer = |digest: &Digest| serde_json::json!({ "digest": digest.to_string(), "size": LAYER });
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "digest": image.config.to_string(), "size": 2 },
        "layers": [layer(&image.layers[0]), layer(&other), layer(&image.layers[1])],
    });
    let manifest = image.node.push_manifest("app", &[], &manifest.to_string());
    image.get(&format!("/v2/app/manifests/{manifest}")).await;
    image.get(&address(&image.layers[0])).await;
    image.complete(3).await;
    let asked = image.node.store.origin().asked();
    let content = format!("{}/data", other.hex());
    assert!(!asked.iter().any(|asked| asked.object.as_str().ends_with(&content)));
}
