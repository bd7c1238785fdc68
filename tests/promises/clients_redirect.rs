//! Real clients at a node of role `registry`, which sends them to a node of role `dataproxy` for every blob.

use dataproxy_tests::client::{Client, Skopeo};
use dataproxy_tests::containerd::{self, Containerd};
use dataproxy_tests::dockerd::Dockerd;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::node::{Options, Stamp, ZONE};

async fn split() -> Stamp {
    Stamp::start_with(Options { nodes: 2, split: true, ..Options::default() }).await
}

/// Every blob was sent by the data node, none by the other, and no log shows a signature.
async fn check(stamp: &Stamp, blobs: usize) {
    let [registry, data] = &stamp.nodes[..] else { panic!("two nodes") };
    let redirected = ["kind=\"blob\"", "method=\"GET\"", "status=\"307\"", "outcome=\"redirected\""];
    let sent_on = registry.scrape().await.sum("dataproxy_requests_total", &redirected);
    assert!(sent_on as usize >= blobs, "{sent_on} of {blobs} blobs were answered by a redirect");
    let bytes = registry.scrape().await.sum("dataproxy_response_bytes_total", &["kind=\"blob\""]);
    assert_eq!(bytes, 0.0, "bytes of blobs by the node of role registry");
    let served = data
        .scrape()
        .await
        .sum("dataproxy_requests_total", &["kind=\"blob\"", "method=\"GET\"", "status=\"200\""]);
    assert!(served as usize >= blobs, "{served} of {blobs} blobs came from the data node");
    for node in [registry, data] {
        assert!(!node.settled_log().await.contains("dp-signature"), "{} has logged a signature", node.name());
    }
}

async fn a_client_follows<C: Client>() {
    let stamp = split().await;
    let image = Image::multi_platform().await;
    stamp.container("contoso").put_image(&image, "team/app", TAG);
    let client = C::start().await;
    client.pull(&format!("{}/contoso/team/app:{TAG}", stamp.nodes[0].pull()), &image).await;
    check(&stamp, image.platform("amd64").blobs.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_follows_a_redirect_to_the_data_node() {
    a_client_follows::<Dockerd>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_follows_a_redirect_to_the_data_node() {
    a_client_follows::<Containerd>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_follows_a_redirect_to_the_data_node() {
    a_client_follows::<Skopeo>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_follows_a_redirect_of_a_mirror_that_it_names_the_registry_to() {
    let stamp = split().await;
    let image = Image::multi_platform().await;
    stamp.container("fabrikam").put_image(&image, "team/app", TAG);
    let containerd = Containerd::start().await;
    let hosts = containerd.hosts_dir();
    let host = format!("fabrikam.{ZONE}");
    containerd::mirror(&hosts, &host, &format!("http://{}", stamp.nodes[0].pull()), "");
    containerd.pull_by_hosts(&format!("{host}/team/app:{TAG}"), &hosts).await;
    containerd.check(&image).await;
    check(&stamp, image.platform("amd64").blobs.len()).await;
}
