//! The zone as clients see it.

#![allow(clippy::expect_used, reason = "a test fails by a panic")]

mod dns_dig;
mod region;
mod sockets;
