//! The cache's promises, each shown from outside by the test that is named after it.

// Helpers of tests, as the tests themselves, fail by panicking.
#![allow(clippy::expect_used)]

mod ahead;
mod crash_model;
mod disk_room;
mod disk_trouble;
mod eviction;
mod fill_faults;
mod harness;
mod lending;
mod memory_bounds;
mod open_files;
mod random_operations;
mod ranges;
mod restart;
mod single_flight;
mod verification;
