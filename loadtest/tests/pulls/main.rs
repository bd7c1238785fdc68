//! Pulls from a server that is told what to do wrong.

#![allow(clippy::expect_used)]

mod faults;
mod image;
mod parts;
mod retries;
mod rights;
mod seen;
mod sequences;
mod server;
