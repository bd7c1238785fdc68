//! What a newcomer does first: `cargo run`, then a pull.

use std::time::{Duration, Instant};

use dataproxy_tests::client::{Client as _, Skopeo};
use dataproxy_tests::containerd::Containerd;
use dataproxy_tests::dockerd::Dockerd;
use dataproxy_tests::eventually::eventually;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::raw_http;
use dataproxy_tests::region::Region;
use dataproxy_tests::run;
use dataproxy_tests::skopeo;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_containerd_and_skopeo_pull_the_seeded_images_from_the_front_door() {
    let region = Region::start_with(&[]).await;
    let front = region.pull("front");

    let dockerd = Dockerd::start().await;
    let begun = Instant::now();
    dockerd.pull(&format!("{front}/contoso/hello:v1")).await;
    assert!(begun.elapsed() < Duration::from_secs(9), "docker waits 10 s where a TLS hello is not answered");
    let layers = dockerd.saved_layers(&format!("{front}/contoso/hello:v1")).await;
    assert!(layers.len() >= 3, "{layers:?}");

    let containerd = Containerd::start().await;
    containerd.pull(&format!("{front}/contoso/multi:v1"), &[]).await;
    containerd.check_content().await;

    let client = Skopeo::start().await;
    skopeo::pull(&format!("{front}/fabrikam/base:v1"), &client.folder()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imported_layout_and_an_archive_of_docker_save_are_pulled_by_every_client() {
    let region = Region::start().await;
    let image = Image::debian().await;
    region.import(&image.layout, "contoso/team/debian:v1").await.expect("an import");
    let name = format!("{}/contoso/team/debian:v1", region.pull("front"));
    let dockerd = Dockerd::start().await;
    dockerd.pull(&name).await;
    assert_eq!(dockerd.saved_layers(&name).await, image.platform("amd64").diff_ids);

    let saved = dockerd.dir().join("saved.tar").display().to_string();
    dockerd.docker(&["save", "--output", &saved, &name]).await.expect("docker save");
    region.import(saved.as_ref(), "fabrikam/debian:v2").await.expect("an import");
    dockerd.forget().await;
    let name = format!("{}/fabrikam/debian:v2", region.pull("front"));
    dockerd.pull(&name).await;
    assert_eq!(dockerd.saved_layers(&name).await, image.platform("amd64").diff_ids);
    let containerd = Containerd::start().await;
    containerd.pull(&name, &[]).await;
    containerd.check_content().await;

    let multi = Image::multi_platform().await;
    region.import(&multi.layout, &format!("contoso/multi:{TAG}")).await.expect("an import");
    let client = Skopeo::start().await;
    client.pull(&format!("{}/contoso/multi:{TAG}", region.pull("front")), &multi).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_archive_is_refused_with_the_reason_and_leaves_nothing_to_pull() {
    let region = Region::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let image = Image::empty_layer().await;
    let layout = dir.path().join("layout");
    let copy = ["-r".as_ref(), image.layout.as_os_str(), layout.as_os_str()];
    run::must_run("cp", &copy, Duration::from_secs(30)).await;
    let (digest, _) = image.largest_blob();
    let blob = layout.join("blobs").join(digest.replace(':', "/"));
    let mut bytes = std::fs::read(&blob).expect("the blob is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&blob, bytes).expect("a file can be written");
    let cut = dir.path().join("cut.tar");
    std::fs::write(&cut, vec![b'x'; 10_000]).expect("a file can be written");

    for (path, reason) in
        [(&layout, &digest[7..19]), (&cut, "cut.tar"), (&dir.path().join("absent"), "absent")]
    {
        let failed = region.import(path, "contoso/damaged:v1").await.expect_err("a damaged image");
        assert!(failed.status.is_some_and(|status| status.code() == Some(1)), "{failed}");
        assert!(failed.output.contains(reason), "{reason}: {failed}");
        assert!(!failed.output.contains("panicked"), "{failed}");
    }
    let answer =
        raw_http::get(region.pull("front"), "/v2/contoso/damaged/manifests/v1").await.expect("an answer");
    assert_eq!(answer.status, 404);
}

/// Bytes that node a1 did not have: of storage or of the other node.
async fn fetched(region: &Region) -> f64 {
    let scrape = region.scrape("a1").await;
    ["dataproxy_cache_origin_bytes_total", "dataproxy_cache_lent_bytes_total"]
        .map(|name| scrape.sum(name, &[]))
        .iter()
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_region_restarts_a_node_that_dies_and_its_disk_tier_survives() {
    let mut region = Region::start().await;
    let image = Image::medium().await;
    region.import(&image.layout, &format!("contoso/app:{TAG}")).await.expect("an import");
    let client = Skopeo::start().await;
    let name = format!("{}/contoso/app:{TAG}", region.pull("a1"));
    client.pull(&name, &image).await;
    client.forget().await;

    let before = region.pid("a1").expect("a1 runs");
    region.kill_9("a1");
    eventually("another process", Duration::from_secs(20), async || match region.pid("a1") {
        Some(pid) if pid != before => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    region.wait_until_ready("a1").await;
    client.pull(&name, &image).await;
    client.forget().await;
    let size = Skopeo::wanted_bytes(&image) as f64;
    let again = fetched(&region).await;
    println!("after a crash: origin bytes ÷ blob bytes = {:.3}", again / size);
    assert!(again < size / 10.0, "a crash cost {again} bytes of storage");
    assert!(region.log().contains("node a1"), "the region says what it did: {}", region.log());

    assert!(region.stop().is_some_and(|status| status.success()));
    assert!(
        ["front", "a1", "a2", "b1", "b2"].iter().all(|node| region.pid(node).is_none()),
        "a node is left"
    );
    region.resume(&["--no-seed"]).await;
    client.pull(&name, &image).await;
    assert!(fetched(&region).await < size / 10.0);
}
