//! From what nodes measured to a plan.
//!
//! Pure functions over data: no clock, no I/O, no runtime, and the same answer for the same input. Who calls them
//! gathers the [`Fleet`], keeps the plan and carries it out.

mod advice;
mod chance;
mod check;
mod choose;
mod effect;
mod explain;
mod fleet;
#[cfg(test)]
mod golden;
mod load;
mod phases;
mod plan;
mod policy;
mod predict;
mod rehash;
mod relieve;
mod rightsize;
mod rules;
pub mod signal;
mod size;
#[cfg(test)]
mod testing;

pub use check::{Promise, Violation, check};
pub use choose::{BadInput, plan};
pub use effect::predict;
pub use explain::{explain, explain_registry, explain_stamp};
pub use fleet::{Account, Bin, Fleet, LastMove, Node, Pool, Registry, Share, Stamp, StampKind, Window};
pub use plan::{
    Before, Code, Goal, Interval, Move, MoveChange, Phase, PhaseKind, Plan, PlanDiff, PoolSize, Prediction,
    PredictionChange, Recommendation, Refusal, Rejected, StampPoolSize, Why, diff, digest,
};
pub use policy::{BadPolicy, Policy};
pub use rightsize::{Bound, Sizing, right_size};
