//! What a node uses of its processors, by the minute, and for whom.
//!
//! Two halves that know nothing of each other:
//!
//! - [`Meter`] makes minutes out of readings. It is pure: it asks no clock and no counter. [`Source`] makes the readings,
//!   from the counters of the limit that binds.
//! - [`charged`] measures some of the polls of a task, and [`bill`] says whose they are: each payer has a [`Purse`].
//!
//! Times are of the CPU unless they are said to be of a clock.

mod cgroup;
mod charge;
mod clock;
mod limit;
mod meter;
mod purse;
mod stat;

pub use charge::{Charged, bill, carried, carried_work, charged, count_handshake, measure_one_in};
pub use clock::{Times, thread_time};
pub use limit::{Counters, Scope, Source, SourceError, Wanted};
pub use meter::{Measured, Meter, Reading, Suspicion};
pub use purse::{Purse, Spent};
