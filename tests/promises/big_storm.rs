//! The same with as many clients as a node takes: see `drain_storm.rs`.

use std::time::Duration;

use crate::drain_storm::storm;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_clients_leave_over_a_minute_at_no_more_than_twice_the_even_rate() {
    storm(9_900, Duration::from_secs(60)).await;
}
