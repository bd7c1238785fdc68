//! A layer of more than 1 GiB through each real client.

use dataproxy_tests::client::Skopeo;
use dataproxy_tests::containerd::Containerd;
use dataproxy_tests::dockerd::Dockerd;
use dataproxy_tests::image::Image;

use crate::scenario;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_pulls_a_layer_over_1_gib_cold_warm_and_after_a_restart() {
    scenario::cold_warm_and_after_a_restart::<Dockerd>(&Image::big().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_pulls_a_layer_over_1_gib_cold_warm_and_after_a_restart() {
    scenario::cold_warm_and_after_a_restart::<Containerd>(&Image::big().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_pulls_a_layer_over_1_gib_cold_warm_and_after_a_restart() {
    scenario::cold_warm_and_after_a_restart::<Skopeo>(&Image::big().await).await;
}
