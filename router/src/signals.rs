//! Hot-node P95 of every pool, and who causes it: from what nodes told this router, by the planner's mathematics.
//!
//! What a node did not tell is never taken for nothing: see [`series`].

mod gather;
mod pools;
mod view;

use std::sync::Arc;

use dataproxy_planner::signal::SignalRules;
use dataproxy_planner::{Fleet, Pool, Window};
use dataproxy_router_api::{RegistryName, Role, StampName};

pub use gather::{Cause, Causes};
pub use pools::{Gathered, NodeSeries, series};
pub use view::{Attribution, NodeShare, PoolSeries, PoolShare, PoolSignal, SeriesBin, TopRegistry};

use crate::migration::UnixMillis;
use crate::minutes::{FileError, Minutes};
use crate::state::State;

/// How signals are made of minutes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignalTerms {
    /// When a bin counts, and when a window does.
    pub rules: SignalRules,
    /// Bins of a window whose bins are no minutes; of minutes it is twelve hours.
    pub scaled_bins: u32,
    /// Registries that a pool is said to be used by; the others are left to the rest.
    pub top_registries: usize,
}

impl Default for SignalTerms {
    fn default() -> Self {
        Self { rules: SignalRules::default(), scaled_bins: 720, top_registries: 32 }
    }
}

/// Makes signals. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Signals {
    /// What nodes told.
    pub minutes: Arc<Minutes>,
    /// How signals are made of it.
    pub terms: SignalTerms,
}

impl Signals {
    /// What nodes told of each pool's window, in the order of stamps and roles.
    pub fn gather(&self, state: &State, now: UnixMillis) -> Vec<Gathered> {
        pools::gather(state, &self.minutes, &self.terms, now)
    }

    /// A pool as its nodes told of some bins, without who caused what. `None` if no node of it is known.
    pub fn pool(&self, state: &State, stamp: &StampName, role: Role, window: Window) -> Option<Pool> {
        let gathered = pools::gather_over(state, &self.minutes, &self.terms, window);
        let pool = gathered.into_iter().find(|pool| pool.stamp == *stamp && pool.role == role)?;
        Some(view::planner_pool(&pool))
    }

    /// The signal of every pool. Blocks, as it reads from the file.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn all(&self, pools: &[Gathered]) -> Result<Vec<PoolSignal>, FileError> {
        pools.iter().map(|pool| Ok(view::signal(pool, &self.causes(pool)?, &self.terms))).collect()
    }

    /// The signal of one pool with its series. `None` if no node of it is known. Blocks.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn one(
        &self,
        pools: &[Gathered],
        stamp: &StampName,
        role: Role,
    ) -> Result<Option<PoolSeries>, FileError> {
        let pool = pools.iter().find(|pool| pool.stamp == *stamp && pool.role == role);
        pool.map(|pool| Ok(view::with_series(pool, &self.causes(pool)?, &self.terms))).transpose()
    }

    /// What one registry causes, in every pool where it causes anything. Blocks.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn attribution(&self, pools: &[Gathered], registry: &RegistryName) -> Result<Attribution, FileError> {
        let found = pools.iter().map(|pool| Ok((pool, self.causes(pool)?)));
        Ok(view::attribution(registry, &found.collect::<Result<Vec<_>, FileError>>()?))
    }

    /// The region as the planner takes it. Blocks.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn fleet(&self, state: &State, now: UnixMillis) -> Result<Fleet, FileError> {
        let pools = self.gather(state, now);
        let causes = pools.iter().map(|pool| self.causes(pool)).collect::<Result<Vec<_>, _>>()?;
        Ok(gather::fleet(state, pools, &causes, &self.terms, now))
    }

    fn causes(&self, pool: &Gathered) -> Result<Causes, FileError> {
        gather::causes(&self.minutes, pool)
    }
}

#[cfg(test)]
mod tests;
