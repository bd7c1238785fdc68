//! The harness of the promises: real clients, real registries, a real region, and the house's own rules.
//!
//! Nothing here shares code with what it judges: content is hashed by `sha256sum`, HTTP is spoken over a bare
//! socket, images are made by Debian's own tools. `tests/README.md` says how to run and how to add a promise.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a harness fails its test by panicking")]

pub mod access;
pub mod azurite;
pub mod binary;
pub mod certificate;
pub mod chromium;
pub mod client;
pub mod containerd;
pub mod cut;
pub mod daemon;
pub mod docker_registry;
pub mod dockerd;
pub mod docs;
pub mod download;
pub mod eventually;
pub mod fault;
pub mod house;
pub mod identity;
pub mod image;
pub mod installed;
pub mod layout;
pub mod load;
pub mod loadtest;
pub mod node;
pub mod page;
pub mod podman;
pub mod ports;
pub mod prometheus;
pub mod raw_http;
pub mod region;
pub mod run;
pub mod s3;
pub mod saved;
pub mod seen;
pub mod sha256sum;
pub mod skopeo;
pub mod slow_reader;
pub mod storage;
pub mod system;
pub mod throttle;
pub mod token_service;
pub mod tool;
