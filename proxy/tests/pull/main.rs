//! The pull surface as a client sees it, over a storage account in memory and without a socket.

// A test says what it expects.
#![allow(clippy::expect_used)]

mod accounting;
mod bad_input;
mod blobs;
mod freshness;
mod late;
mod manifests;
mod node;
mod ownership;
mod placement;
mod prefetch;
mod purge;
mod redirects;
mod referrers;
mod rewritten_links;
mod tags;
mod tenancy;
mod wire;
