//! The harness itself: the clients, Debian's docker-registry and the images work together with nothing of ours
//! between them. When a promise fails and these pass, the fault is ours.

use dataproxy_tests::client::{Client, Skopeo};
use dataproxy_tests::containerd::{self, Containerd};
use dataproxy_tests::docker_registry::DockerRegistry;
use dataproxy_tests::dockerd::Dockerd;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::skopeo;
use dataproxy_tests::storage::Container;

async fn pulls_every_image<C: Client>() {
    let root = tempfile::tempdir().expect("a folder");
    let container = Container::new(root.path().join("registry"));
    let registry = DockerRegistry::start(container.dir()).await;
    let client = C::start().await;
    let images = [
        ("debian", Image::debian().await),
        ("multi", Image::multi_platform().await),
        ("empty", Image::empty_layer().await),
        ("medium", Image::medium().await),
    ];
    for (repository, image) in images {
        container.put_image(&image, repository, TAG);
        client.pull(&format!("{}/{repository}:{TAG}", registry.address()), &image).await;
        client.forget().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_pulls_every_image_from_docker_registry() {
    pulls_every_image::<Dockerd>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_pulls_every_image_from_docker_registry() {
    pulls_every_image::<Containerd>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_pulls_every_image_from_docker_registry() {
    pulls_every_image::<Skopeo>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_pushes_to_docker_registry_and_containerd_pulls_through_hosts_toml() {
    let root = tempfile::tempdir().expect("a folder");
    let registry = DockerRegistry::start(root.path()).await;
    let image = Image::multi_platform().await;
    skopeo::push(&image.layout, TAG, &format!("{}/contoso/multi:{TAG}", registry.address())).await;

    let containerd = Containerd::start().await;
    let hosts = containerd.hosts_dir();
    containerd::mirror(&hosts, "registry.test", &format!("http://{}", registry.address()), "");
    containerd.pull_by_hosts(&format!("registry.test/contoso/multi:{TAG}"), &hosts).await;
    containerd.check(&image).await;
}
