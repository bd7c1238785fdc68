//! The registry that people push to and the region that they pull from share one storage account.

use std::time::Duration;

use dataproxy_tests::client::{Client as _, Skopeo};
use dataproxy_tests::containerd::Containerd;
use dataproxy_tests::docker_registry::DockerRegistry;
use dataproxy_tests::dockerd::Dockerd;
use dataproxy_tests::eventually::eventually;
use dataproxy_tests::image::{self, Image, TAG};
use dataproxy_tests::node::Stamp;
use dataproxy_tests::skopeo;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_docker_pushes_to_docker_registry_is_pulled_through_us() {
    let stamp = Stamp::start().await;
    let registry = DockerRegistry::start(stamp.container("contoso").dir()).await;
    let dockerd = Dockerd::start().await;
    let (pushed, pulled) = (
        format!("{}/debian:{TAG}", registry.address()),
        format!("{}/contoso/debian:{TAG}", stamp.front.pull()),
    );

    let root = image::debian_root().await.display().to_string();
    dockerd.docker(&["import", &root, &pushed]).await.expect("an image can be made of a file system");
    let layers = dockerd.saved_layers(&pushed).await;
    let id = dockerd.image_id(&pushed).await;
    dockerd.push(&pushed).await;
    dockerd.forget().await;

    dockerd.pull(&pulled).await;
    assert_eq!(dockerd.image_id(&pulled).await, id);
    assert_eq!(dockerd.saved_layers(&pulled).await, layers);
    let folder = tempfile::tempdir().expect("a folder");
    skopeo::pull(&pulled, folder.path()).await;
    let containerd = Containerd::start().await;
    containerd.pull(&pulled, &[]).await;
    containerd.check_content().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_is_pushed_again_is_served_within_its_time_to_live() {
    let stamp = Stamp::start().await;
    let registry = DockerRegistry::start(stamp.container("contoso").dir()).await;
    let (pushed, pulled) =
        (format!("{}/app:{TAG}", registry.address()), format!("{}/contoso/app:{TAG}", stamp.nodes[0].pull()));
    let (before, after) = (Image::empty_layer().await, Image::multi_platform().await);
    let client = Skopeo::start().await;

    skopeo::push(&before.layout, TAG, &pushed).await;
    client.pull(&pulled, &before).await;
    skopeo::push(&after.layout, TAG, &pushed).await;
    eventually("the new image", Duration::from_secs(10), async || {
        client.forget().await;
        let (blobs, _) = skopeo::pull(&pulled, &client.folder()).await;
        if blobs == after.blobs { Ok(()) } else { Err(format!("{blobs:?}")) }
    })
    .await;
}
