//! The region binary as a whole: its ports, its processes, its messages.

use std::time::Duration;

use dataproxy_tests::eventually::eventually;
use dataproxy_tests::region::Region;

const NODES: [&str; 5] = ["front", "a1", "a2", "b1", "b2"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_that_are_taken_are_named_with_the_option_that_moves_them() {
    let region = Region::start().await;
    let failed = region.run_beside(&["--no-seed"]).await.expect_err("the ports are taken");
    assert_eq!(failed.status.and_then(|status| status.code()), Some(1), "{failed}");
    assert!(failed.output.contains("--port-offset"), "{failed}");
    let port = region.pull("front").port().to_string();
    let admin = region.admin("front").port().to_string();
    assert!(failed.output.contains(&port) || failed.output.contains(&admin), "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_end_with_their_region_even_if_that_is_killed() {
    let mut region = Region::start().await;
    assert!(NODES.iter().all(|node| region.pid(node).is_some()));
    region.kill_9_itself();
    eventually("all nodes gone", Duration::from_secs(10), async || {
        let left: Vec<_> = NODES.iter().filter(|node| region.pid(node).is_some()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} run")) }
    })
    .await;
}
