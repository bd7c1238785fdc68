//! The data plane: streams registry content from storage accounts through the cache.

pub mod accept;
pub mod account;
pub mod admin;
pub mod app;
mod attempt;
pub mod bindings;
mod blob;
pub mod body;
mod cli;
pub mod config;
pub mod connection;
pub mod content;
#[cfg(test)]
mod documented;
pub mod exit;
pub mod front;
pub mod holdings;
pub mod identify;
pub mod layout;
pub mod lifecycle;
mod manifest;
mod media_type;
pub mod metrics;
pub mod name;
mod paging;
pub mod peer;
pub mod permit;
mod precondition;
pub mod process;
pub mod pull;
mod range;
pub mod reach;
pub mod redirect;
mod referrers;
pub mod refusal;
pub mod request;
pub mod resolve;
pub mod respond;
pub mod store;
mod stream;
mod tags;
pub mod telemetry;
pub mod tls;
mod watch;

pub use cli::main_with_args;
