//! The control plane of a region: which stamp serves a registry, which nodes there are, and how a registry moves
//! from one stamp to another without a failed pull.
//!
//! ```text
//! api ──► command ──► state (pure: what may follow) ──► store (compare, then write) ──► publish ──► nodes, DNS
//! ```
//!
//! A proxy never asks the router during a request: it works from a snapshot and is told of changes.

pub mod api;
pub mod app;
pub mod audit;
pub mod backup;
pub mod cli;
pub mod client;
pub mod command;
pub mod config;
pub mod control;
pub mod dns;
pub mod execution;
pub mod fleet;
pub mod leader;
pub mod metrics;
pub mod migration;
pub mod minutes;
pub mod naming;
pub mod planning;
pub mod publish;
pub mod push;
pub mod reconcile;
pub mod record;
pub mod restart;
pub mod signals;
pub mod stampctl;
pub mod state;
pub mod store;
pub mod view;

pub use cli::main_with_args;
