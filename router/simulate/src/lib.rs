//! A region's traffic as a model, and what planners make of it.
//!
//! Pure and deterministic: every number that is drawn comes from a seed that the caller gives.

pub mod article;
mod chance;
pub mod oracle;
pub mod planners;
pub mod region;
pub mod rhythm;
pub mod scenarios;
pub mod telemetry;
pub mod town;
pub mod truth;
