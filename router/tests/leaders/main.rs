//! What is promised of leaders: one at a time, soon another, and no write of one that was.

#![allow(clippy::expect_used, reason = "a test fails by a panic")]

mod etcd_leader;
#[path = "../stores/etcd_server.rs"]
#[allow(dead_code, reason = "the stores' tests use the rest")]
mod etcd_server;
mod memory;
