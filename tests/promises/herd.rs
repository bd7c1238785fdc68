//! Many clients, one cold blob.

use std::time::Duration;

use dataproxy_tests::download::{Download, download};
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::node::Stamp;
use tokio::task::JoinSet;
use tokio::time::timeout;

const CLIENTS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_of_one_cold_blob_cost_storage_one_blob() {
    let stamp = Stamp::start().await;
    let image = Image::multi_platform().await;
    stamp.container("contoso").put_image(&image, "app", TAG);
    let (digest, size) = image.largest_blob();
    let address = stamp.nodes[0].pull();
    let target = format!("/v2/contoso/app/blobs/{digest}");

    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let target = target.clone();
        clients.spawn(async move { download(address, &target).await });
    }
    let served = timeout(Duration::from_secs(30), clients.join_all()).await.expect("within 30 s");
    for served in served {
        let served = served.expect("every client is served");
        assert_eq!((served.digest.as_str(), served.bytes), (digest.as_str(), size));
    }
    let origin_bytes = stamp.origin_bytes().await;
    println!("origin bytes ÷ blob bytes = {:.3}", origin_bytes as f64 / size as f64);
    assert!(origin_bytes >= size, "{origin_bytes} bytes of storage cannot have been {size} bytes of a blob");
    assert!(origin_bytes < size + 4096, "{CLIENTS} clients of {size} bytes cost {origin_bytes} of storage");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_clients_departure_does_not_fail_those_that_joined_it() {
    let stamp = Stamp::start().await;
    let image = Image::medium().await;
    stamp.container("contoso").put_image(&image, "app", TAG);
    let (digest, size) = image.largest_blob();
    let address = stamp.nodes[0].pull();
    let target = format!("/v2/contoso/app/blobs/{digest}");

    let mut first = Download::open(address, &target, &[]).await.expect("an answer");
    first.read_to(1).await.expect("a body");
    let second = Download::open(address, &target, &[]).await.expect("an answer");
    drop(first);
    let second = second.finish().await.expect("a whole body");
    assert_eq!((second.digest, second.bytes), (digest, size));
    assert!(stamp.origin_bytes().await < size + 4096);
}
