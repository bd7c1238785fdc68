//! The data plane: streams registry content from storage accounts through the cache.

pub mod bindings;
pub mod body;
pub mod store;
