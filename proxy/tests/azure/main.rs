//! An account of Azure Blob that fails in every way storage, the way to it or an identity can: what it means, what
//! the client of a pull is told, and how often storage is asked. A scripted origin over sockets.

// A test says what it expects.
#![allow(clippy::expect_used)]

mod credentials;
mod example;
mod faults;
mod listing;
mod reads;
mod scripted;
mod secrets;
mod signing;
mod survival;
mod telling;
