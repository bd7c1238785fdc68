//! The promises, one module each; a test's name says what it shows.
//!
//! Modules whose names begin with `clients_` start real clients and need root, those that begin with `big_`
//! move gigabytes, those that begin with `azurite_` need Azurite, those that begin with `disks_` mount and trace and need
//! root, those that begin with `net_` have a network of their own and need root; all belong to the full tier. The rest is quick.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod azurite_account;
mod azurite_identity;
mod azurite_operator;
mod azurite_pull;
mod azurite_region;
mod azurite_suites;
mod big_hot_stamp;
mod big_layer;
mod big_memory;
mod big_slow_readers;
mod clients_containerd;
mod clients_cut;
mod clients_docker;
mod clients_matrix;
mod clients_mirror;
mod clients_peer;
mod clients_peers;
mod clients_pull_through;
mod clients_push;
mod clients_rebind;
mod clients_redirect;
mod clients_region;
mod clients_report;
mod clients_seed;
mod clients_sha512;
mod clients_skopeo;
mod clients_tls;
mod damaged;
mod dark_account;
mod disks_in_trouble;
mod drain_storm;
mod every_client;
mod herd;
mod house;
mod kill_9;
mod lazy_pull;
mod loadtest;
mod net_drain;
mod node_killed;
mod plain_port;
mod refusals;
mod region;
mod s3_server;
mod scenario;
mod slow_storage;
mod stamp;
