//! What the stores promise: each maker passes the one suite, and keeps what is its own.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by a panic")]

mod disks_full;
mod embedded;
mod etcd_access;
mod etcd_faults;
mod etcd_server;
mod etcd_suite;
mod kill_9;
mod memory;
