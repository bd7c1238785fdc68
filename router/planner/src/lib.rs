//! From what nodes measured to a plan.
//!
//! Pure functions over data: no clock, no I/O, no runtime, and the same answer for the same input. Who calls them
//! gathers the [`Fleet`], keeps the plan and carries it out.

mod fleet;
mod plan;
mod policy;
pub mod signal;

pub use fleet::{Account, Bin, Fleet, LastMove, Node, Pool, Registry, Share, Stamp, StampKind, Window};
pub use plan::{
    Before, Code, Goal, Interval, Move, MoveChange, Phase, PhaseKind, Plan, PlanDiff, PoolSize, Prediction,
    PredictionChange, Recommendation, Refusal, Rejected, StampPoolSize, Why, diff, digest,
};
pub use policy::{BadPolicy, Policy};
