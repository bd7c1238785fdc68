//! Memory stays within its budget however large the blob.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use dataproxy_tests::download::Download;
use dataproxy_tests::node::{Options, Stamp};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 4096 * MIB;
const MEMORY_TIER: u64 = 64 * MIB;
/// What one fill may add to the budget.
const FILL: u64 = 64 * MIB;
const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_4_gib_blob_streams_cold_to_8_clients_within_the_budget_and_64_mib() {
    let options = Options { memory_bytes: MEMORY_TIER, ..Options::default() };
    let stamp = Stamp::start_with(options).await;
    let node = &stamp.nodes[0];
    let container = stamp.container("contoso");
    let file = container.dir().join("blob.new");
    // Holes read as zeros: storage costs no disk, and a mark in each GiB tells blocks apart.
    let blob = File::create(&file).expect("a file can be made");
    blob.set_len(SIZE).expect("a file can have holes");
    for at in (0..SIZE).step_by(1 << 30) {
        blob.write_all_at(format!("block at {at}").as_bytes(), at + 12_345).expect("a file can be written");
    }
    let digest = container.put_blob("big", &file).await;
    let target = format!("/v2/contoso/big/blobs/{digest}");

    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (address, target) = (node.pull(), target.clone());
        clients.spawn(async move {
            let mut download = Download::open(address, &target, &[]).await.expect("an answer");
            assert_eq!(download.head().content_length(), Some(SIZE));
            if client > 0 {
                // One reader hashes; the others leave the two cores to the node.
                assert_eq!(download.skip_to_end().await.expect("a body"), SIZE);
                return None;
            }
            Some(download.finish().await.expect("a whole body").digest)
        });
    }
    let mut peak = 0;
    let mut digests = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !clients.is_empty() {
        tokio::select! {
            _ = tick.tick() => peak = peak.max(node.anonymous_bytes()),
            Some(client) = clients.join_next() => digests.extend(client.expect("no client fails")),
        }
    }
    println!("RssAnon peaked at {} MiB of {} allowed", peak / MIB, (MEMORY_TIER + FILL) / MIB);
    assert_eq!(digests, [digest]);
    assert!(peak <= MEMORY_TIER + FILL, "RssAnon reached {} MiB", peak / MIB);
    let origin_bytes = stamp.origin_bytes().await;
    println!("origin bytes ÷ blob bytes = {:.3}", origin_bytes as f64 / SIZE as f64);
    assert!(origin_bytes <= SIZE + MIB, "storage was read for {origin_bytes} bytes");
}
