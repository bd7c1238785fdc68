//! What every real client goes through, whichever it is.

use dataproxy_tests::client::Client;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::node::{Options, Stamp};
use dataproxy_tests::throttle::Throttle;

/// What a pull may read from storage beyond its blobs: manifests, links, and the block that a range ends in.
const BESIDES_BLOBS: u64 = 1 << 20;

fn print_amplification(client: &str, what: &str, origin_bytes: u64, blob_bytes: u64) {
    let ratio = origin_bytes as f64 / blob_bytes as f64;
    println!("{client}, {what}: origin bytes ÷ blob bytes = {origin_bytes} ÷ {blob_bytes} = {ratio:.3}");
}

/// A cold pull reads each blob from storage once; a warm one and one after a restart read no blob at all. Every
/// byte of each is right.
pub(crate) async fn cold_warm_and_after_a_restart<C: Client>(image: &Image) {
    let mut stamp = Stamp::start().await;
    stamp.container("contoso").put_image(image, "team/app", TAG);
    let name = format!("{}/contoso/team/app:{TAG}", stamp.nodes[0].pull());
    let client = C::start().await;
    let wanted = C::wanted_bytes(image);

    let cold = client.pull(&name, image).await;
    let after_cold = stamp.origin_bytes().await;
    print_amplification(C::NAME, "cold", after_cold, wanted);
    assert!(after_cold >= wanted, "{after_cold} bytes of storage cannot have been {wanted} bytes of blobs");
    assert!(
        after_cold <= wanted + BESIDES_BLOBS,
        "a cold pull of {wanted} bytes cost {after_cold} of storage"
    );

    client.forget().await;
    let warm = client.pull(&name, image).await;
    let after_warm = stamp.origin_bytes().await - after_cold;
    print_amplification(C::NAME, "warm", after_warm, wanted);
    assert!(after_warm <= BESIDES_BLOBS.min(wanted / 2), "a warm pull cost {after_warm} bytes of storage");

    client.forget().await;
    assert!(stamp.nodes[0].stop().is_some_and(|status| status.success()), "a node ends with 0 when asked to");
    stamp.nodes[0].start().await;
    let restarted = client.pull(&name, image).await;
    let after_restart = stamp.origin_bytes().await;
    print_amplification(C::NAME, "after a restart", after_restart, wanted);
    assert!(
        after_restart <= BESIDES_BLOBS.min(wanted / 2),
        "a restart cost {after_restart} bytes of storage"
    );
    println!("{}: cold {cold:?}, warm {warm:?}, after a restart {restarted:?}", C::NAME);
}

/// Two clients that pull at the same time both get every byte, and storage is read once.
pub(crate) async fn two_at_once<C: Client>(image: &Image) {
    let stamp = Stamp::start().await;
    stamp.container("contoso").put_image(image, "team/app", TAG);
    let name = format!("{}/contoso/team/app:{TAG}", stamp.nodes[0].pull());
    let (one, other) = (C::start().await, C::start().await);
    let wanted = C::wanted_bytes(image);

    tokio::join!(one.pull(&name, image), other.pull(&name, image));
    let origin_bytes = stamp.origin_bytes().await;
    print_amplification(C::NAME, "two at once", origin_bytes, wanted);
    assert!(
        origin_bytes <= wanted + BESIDES_BLOBS,
        "two pulls of {wanted} bytes cost {origin_bytes} of storage"
    );
}

/// The front door serves an index with two platforms and an image with an empty layer, each from the stamp that
/// its registry is bound to.
pub(crate) async fn an_index_and_an_empty_layer_by_the_front_door<C: Client>() {
    let stamp = Stamp::start_with(Options { nodes: 2, ..Options::default() }).await;
    let (multi, empty) = (Image::multi_platform().await, Image::empty_layer().await);
    stamp.container("contoso").put_image(&multi, "multi", TAG);
    stamp.container("fabrikam").put_image(&empty, "team/empty", TAG);
    let client = C::start().await;
    let front = stamp.front.pull();

    client.pull(&format!("{front}/contoso/multi:{TAG}"), &multi).await;
    client.forget().await;
    client.pull(&format!("{front}/contoso/multi@{}", multi.digest), &multi).await;
    client.forget().await;
    client.pull(&format!("{front}/fabrikam/team/empty:{TAG}"), &empty).await;
}

/// Each node behind the front door is killed in turn while one layer comes slowly through it; the pull succeeds.
pub(crate) async fn nodes_killed_in_mid_pull<C: Client>() {
    let image = Image::medium().await;
    let mut stamp = Stamp::start_with(Options { nodes: 2, ..Options::default() }).await;
    stamp.container("contoso").put_image(&image, "app", TAG);
    let client = C::start().await;
    // Some seconds for the layer, far more than it takes to kill and restart a node.
    let slow = Throttle::start(stamp.front.pull(), 8 << 20).await;
    let name = format!("{}/contoso/app:{TAG}", slow.address());

    let pull = client.pull(&name, &image);
    let kill = async {
        slow.wait_for_bytes(8 << 20).await;
        stamp.nodes[0].kill_9();
        slow.wait_for_bytes(16 << 20).await;
        stamp.nodes[0].start().await;
        slow.wait_for_bytes(24 << 20).await;
        stamp.nodes[1].kill_9();
    };
    tokio::join!(pull, kill);
    let resumed = stamp.front.scrape().await.sum("dataproxy_front_resumes_total", &["outcome=\"resumed\""]);
    assert!(resumed >= 1.0, "no node was killed under a response");
}
