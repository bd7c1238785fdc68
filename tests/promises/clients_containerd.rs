//! A real containerd pulls through the proxy.

use dataproxy_tests::containerd::Containerd;
use dataproxy_tests::image::Image;

use crate::scenario;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_a_warm_and_a_pull_after_a_restart_are_right_and_storage_is_read_once() {
    scenario::cold_warm_and_after_a_restart::<Containerd>(&Image::debian().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_at_once_cost_one_fetch() {
    scenario::two_at_once::<Containerd>(&Image::medium().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_and_an_empty_layer_come_through_the_front_door() {
    scenario::an_index_and_an_empty_layer_by_the_front_door::<Containerd>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_survives_the_death_of_each_node_behind_the_front_door() {
    scenario::nodes_killed_in_mid_pull::<Containerd>().await;
}
