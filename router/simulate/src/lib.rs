//! A region's traffic as a model, and what planners make of it.
//!
//! Pure and deterministic: every number that is drawn comes from a seed that the caller gives. From top to bottom:
//!
//! - [`region`] says what there is, [`rhythm`] when it is used, [`town`] makes regions
//! - [`truth`] draws what really happens, [`telemetry`] what a planner may see of it
//! - [`scenarios`] are regions with one thing about them each, [`article`] is the article's example
//! - [`planners`] are baselines, [`oracle`] is the best that there is, [`judge`] compares them in a window that none saw
//! - [`report`] has the figures, [`simulate`] does it all

pub mod article;
mod chance;
mod command;
mod error;
pub mod judge;
pub mod oracle;
pub mod planners;
pub mod region;
pub mod report;
pub mod rhythm;
pub mod scenarios;
pub mod telemetry;
pub mod town;
pub mod truth;

pub use command::{SimulateArgs, simulate};
pub use error::SimulateError;
