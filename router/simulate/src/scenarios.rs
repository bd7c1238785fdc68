//! Regions with one thing about them each, and what is right there.
//!
//! Every seed draws parameters of its own: nodes, flows, weights, rhythms, how hot. None of them is known to a planner.

mod hot;
mod odd;

use dataproxy_router_api::NameError;
use serde::Serialize;

use crate::article::fitted;
use crate::region::Region;

/// What is right in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Move registries to stamps that are there.
    Move,
    /// Give the registry that makes the heat a stamp of its own.
    Isolate,
    /// Spread connections over the nodes: a move would not help.
    Spread,
    /// Leave everything as it is.
    Nothing,
    /// Get more capacity: there is nowhere to move to.
    Capacity,
    /// Say that too little is known.
    Insufficient,
}

impl Right {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Isolate => "isolate",
            Self::Spread => "spread",
            Self::Nothing => "nothing",
            Self::Capacity => "capacity",
            Self::Insufficient => "insufficient",
        }
    }
}

/// One region and what is right there.
#[derive(Debug)]
pub struct Case {
    /// The scenario.
    pub scenario: Scenario,
    /// Its seed.
    pub seed: u64,
    /// From this everything is drawn: one of its own for each scenario and seed, so that no two are alike by chance.
    pub chance: u64,
    /// The region.
    pub region: Region,
    /// The stamp that it is about, as a place in the region.
    pub source: usize,
    /// The day whose window shows what came of a plan; 0 is the one that the planner saw.
    pub after: i32,
    /// The tenant whose registries a policy isolates, if it does.
    pub isolate: Option<u32>,
}

macro_rules! scenarios {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $right:ident, $make:path;)*) => {
        /// A scenario.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Scenario {
            $($(#[$doc])* #[value(name = $name)] $variant,)*
        }

        impl Scenario {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What is right.
            pub fn right(self) -> Right {
                match self { $(Self::$variant => Right::$right,)* }
            }

            /// Makes the case of a seed.
            ///
            /// # Errors
            ///
            /// None in practice: all names are names.
            pub fn case(self, seed: u64) -> Result<Case, NameError> {
                let chance = seed * 1000 + self as u64;
                let region = match self { $(Self::$variant => $make(chance)?,)* };
                let mut case =
                    Case { scenario: self, seed, chance, region, source: 0, after: 1, isolate: None };
                self.adjust(&mut case);
                Ok(case)
            }
        }
    };
}

scenarios! {
    /// The article's example: one customer on two shared stamps, and a stamp to isolate it on.
    Article = "article", Move, article;
    /// A hot stamp, two cool ones, co-tenants by Zipf's law.
    Zipf = "zipf", Move, hot::zipf;
    /// Registries cost very different CPU for a byte.
    Costs = "costs", Move, hot::costs;
    /// Connections are kept for long, on the node that they fell on.
    Sticky = "sticky", Move, hot::sticky;
    /// The destination has its peak when the source has its trough: adding percentiles refuses a good move.
    AntiPhase = "anti-phase", Move, hot::anti_phase;
    /// The destination that is idlest on average peaks with the source: averages accept a bad move.
    InPhase = "in-phase", Move, hot::in_phase;
    /// Hundreds of idle registries beside a few that matter.
    IdleTail = "idle-tail", Move, hot::idle_tail;
    /// The cooler destination has no room for manifests.
    TwoPools = "two-pools", Move, hot::two_pools;
    /// The largest registry is pinned, and the second may not meet one on the coolest stamp.
    Pinned = "pinned", Move, hot::pinned;
    /// The coolest stamp has an incident.
    Incident = "incident", Move, hot::incident;
    /// The source is asked for more than it has: what it measures hides demand.
    Saturated = "saturated", Move, hot::saturated;
    /// Everything grows while the move is under way.
    Growth = "growth", Move, hot::growth;
    /// One registry is so much of the heat that any shared stamp would get the problem.
    Whale = "whale", Isolate, odd::whale;
    /// One node gets more connections than the others.
    Skew = "skew", Spread, odd::skew;
    /// A minute at 96 % and a P95 that is fine.
    Spike = "spike", Nothing, odd::spike;
    /// Nothing is hot.
    Calm = "calm", Nothing, odd::calm;
    /// Those who matter moved here yesterday.
    Cooldown = "cooldown", Nothing, odd::cooldown;
    /// Hot on one day of three.
    Flapping = "flapping", Nothing, odd::flapping;
    /// The hot stamp is in a rollout.
    Rollout = "rollout", Nothing, odd::rollout;
    /// Every stamp is hot.
    AllHot = "all-hot", Capacity, odd::all_hot;
    /// The hottest node stopped reporting.
    Missing = "missing", Insufficient, odd::missing;
}

impl Scenario {
    fn adjust(self, case: &mut Case) {
        match self {
            Self::Article => case.isolate = Some(fitted::CUSTOMER),
            Self::Growth => case.after = 3,
            _ => {}
        }
    }
}

fn article(_seed: u64) -> Result<Region, NameError> {
    fitted::region()
}

#[cfg(test)]
mod tests;
