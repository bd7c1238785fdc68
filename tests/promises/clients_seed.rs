//! What `loadtest seed` writes, real registries serve and real clients unpack.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use dataproxy_tests::binary;
use dataproxy_tests::containerd::Containerd;
use dataproxy_tests::docker_registry::DockerRegistry;
use dataproxy_tests::dockerd::Dockerd;
use dataproxy_tests::region::Region;
use dataproxy_tests::run::must_run;
use dataproxy_tests::skopeo;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
const IMAGES: [&str; 2] = ["app-001", "app-002"];

/// Fills `contoso` below `dir` with two images of three layers of 1 MiB.
async fn seed(dir: &Path) {
    let loadtest = binary::path("loadtest").await.display().to_string();
    let dir = dir.display().to_string();
    let args = ["seed", &dir, "--registry", "contoso", "--images", "2", "--layer-size", "1MiB", "--add"];
    must_run(&loadtest, &args, LIMIT).await;
}

/// Config and layers of an image with their sizes, as the manifest in storage has them.
fn blobs(container: &Path, repository: &str) -> BTreeMap<String, u64> {
    let root = container.join("docker/registry/v2");
    let tag = root.join(format!("repositories/{repository}/_manifests/tags/v1/current/link"));
    let digest = std::fs::read_to_string(tag).expect("the tag is there");
    let hex = digest.trim().trim_start_matches("sha256:");
    let manifest = std::fs::read(root.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2])));
    let manifest: Value = serde_json::from_slice(&manifest.expect("the manifest is there")).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers").iter().chain([&manifest["config"]]);
    let blob = |of: &Value| {
        (of["digest"].as_str().expect("a digest").to_owned(), of["size"].as_u64().expect("a size"))
    };
    layers.map(blob).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_registry_serves_it_and_docker_containerd_and_skopeo_take_every_layer() {
    let dir = tempfile::tempdir().expect("a folder");
    seed(dir.path()).await;
    let container = dir.path().join("contoso");
    let registry = DockerRegistry::start(&container).await;
    let (docker, containerd) = (Dockerd::start().await, Containerd::start().await);
    for repository in IMAGES {
        let image = format!("{}/{repository}:v1", registry.address());
        let expected = blobs(&container, repository);
        assert_eq!(expected.len(), 4);
        let (pulled, _) = skopeo::pull(&image, &dir.path().join(repository)).await;
        assert_eq!(pulled, expected);
        docker.pull(&image).await;
        // Layers are not compressed: their digests are those of what is unpacked.
        let id = docker.image_id(&image).await;
        let layers = docker.saved_layers(&id).await;
        assert_eq!(layers.len(), 3);
        assert!(layers.iter().all(|layer| expected.contains_key(layer)), "{layers:?} of {expected:?}");
        containerd.pull(&image, &["--plain-http"]).await;
        let content = containerd.check_content().await;
        assert!(expected.iter().all(|(digest, size)| content.get(digest) == Some(size)), "{content:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_serves_it_beside_the_content_that_it_has() {
    let region = Region::start().await;
    let container = region.container("a", "contoso").dir().to_owned();
    seed(container.parent().expect("a container lies in its account")).await;
    let dir = tempfile::tempdir().expect("a folder");
    for repository in IMAGES {
        let image = format!("{}/contoso/{repository}:v1", region.pull("front"));
        let (pulled, _) = skopeo::pull(&image, &dir.path().join(repository)).await;
        assert_eq!(pulled, blobs(&container, repository));
    }
}
