//! A node dies under a response that comes through the front door.

use dataproxy_tests::download::Download;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::node::{Options, Stamp};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_sees_nothing_when_each_node_dies_in_turn() {
    let image = Image::medium().await;
    let mut stamp = Stamp::start_with(Options { nodes: 2, ..Options::default() }).await;
    stamp.container("contoso").put_image(&image, "app", TAG);
    let (digest, size) = image.largest_blob();
    let target = format!("/v2/contoso/app/blobs/{digest}");

    // What the client has not read, the sockets on the way cannot hold: the node is in the middle of it.
    let mut download = Download::open(stamp.front.pull(), &target, &[]).await.expect("an answer");
    download.read_to(4 * MIB).await.expect("a body");
    stamp.nodes[0].kill_9();
    download.read_to(28 * MIB).await.expect("a body");
    stamp.nodes[0].start().await;
    stamp.nodes[1].kill_9();
    let downloaded = download.finish().await.expect("a whole body");
    assert_eq!((downloaded.digest, downloaded.bytes), (digest, size));

    let resumed = stamp.front.scrape().await.sum("dataproxy_front_resumes_total", &["outcome=\"resumed\""]);
    assert!(resumed >= 1.0, "no node was killed under the response");
}
