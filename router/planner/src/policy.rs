//! Every threshold that a plan depends on, with its default and where that is from.
//!
//! The article that the product follows names no thresholds; these are proposals, and each is a setting.

use serde::{Deserialize, Serialize};

use crate::signal::SignalRules;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// What plans are made by. Figures of CPU are parts of a node's cores or of a pool's CPU, 0 to 1; times are seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// When a bin and a window count.
    pub signal: SignalRules,

    /// A pool is hot from this P95 on.
    pub hot: f64,
    /// Hot in so many …
    pub hot_windows: u32,
    /// … of the last so many peak windows, this one included: then a stamp is relieved without being asked for. With
    /// fewer windows known, in all of them.
    pub hot_windows_of: u32,
    /// And only if the pool's nodes are at least this busy on average: a pool that does nothing is not hot.
    pub active: f64,
    /// P95 that a relieved stamp should come to. 0.85 of `hot`, so that the trigger clears.
    pub goal: f64,
    /// With this probability at least.
    pub goal_probability: f64,

    /// Upper bound of a destination's P95 afterwards.
    pub destination: f64,
    /// A destination stays this far below what the source had before.
    pub cooler: f64,
    /// P95 of a destination with one node lost, at most; also while its cache is cold.
    pub node_lost: f64,
    /// A storage account is read at most so much of its cap while a cache is cold.
    pub storage: f64,
    /// A registry that is moved for relief has at least this part of its pool's CPU.
    pub smallest: f64,
    /// Most registries that are considered for relief, the largest ones.
    pub candidates: u32,
    /// The hottest of source and destinations has to become this much cooler, or the problem is only moved.
    pub transfer: f64,
    /// A registry that has more than this part of what its stamp's hot node does is isolated, not moved.
    pub concentration: f64,
    /// If connections spread well would make a pool this much cooler and bring it to the goal, that is what to do.
    pub skew: f64,

    /// A registry rests so long after a move.
    pub registry_cooldown: u64,
    /// And the way between two stamps.
    pub pair_cooldown: u64,
    /// And does not go back where it came from for so long.
    pub no_move_back: u64,

    /// Below this part of the source's CPU a registry is idle. Not measured ones never are.
    pub idle: f64,
    /// Idle ones in one phase, at most.
    pub idle_most: u32,
    /// Medium ones in one phase have so much of the source's CPU together …
    pub medium: f64,
    /// … or are so many, at most.
    pub medium_most: u32,
    /// From this part of all that moves on a registry is large: it moves alone.
    pub large: f64,
    /// How long a phase of idle or medium ones is watched: at least one peak window.
    pub observe: u64,
    /// And one of a large one: two peak windows.
    pub observe_large: u64,
    /// A phase adds at most so many times what the destination already carries, or it warns.
    pub proven: f64,

    /// Chance is drawn so often for a prediction.
    pub draws: u32,
    /// And so often while moves are compared.
    pub draws_search: u32,
    /// How much a pool's level differs from one peak window to the next of the same kind, as the sigma of its
    /// logarithm; intervals are wide enough for it.
    pub level_sigma: f64,
    /// Intervals are this many times as wide as the draws alone make them: one window tells too little of how much
    /// windows differ. 1 fits the days of simulated regions that a prediction had not seen.
    pub widen: f64,
    /// A node busier than this was asked for more than it could measure.
    pub censored: f64,
    /// By how much more, at most.
    pub censored_more: f64,
    /// What a byte costs that has to be fetched, beside one from the cache.
    pub miss_cost: f64,
    /// Bytes a second at which a destination reads a hot set ahead.
    pub prewarm_bytes_per_second: f64,
    /// One of each λ of the price of a move: GiB that are read anew, as GiB/s moved.
    pub price_cold_gib: f64,
    /// And a move as such, as GiB/s moved.
    pub price_move: f64,

    /// A pool for isolation is so large that its P95 with one node lost is at most this.
    pub isolation: f64,
    /// A pool is made smaller only if, grown and with one node lost, its P95 is at most this …
    pub right_size: f64,
    /// … and its 99.5th percentile at most this.
    pub right_size_peak: f64,
    /// Growth that has to fit.
    pub growth: f64,
    /// Nodes that a pool keeps in any case.
    pub fewest_nodes: u32,
    /// A pool gets smaller by at most this part a day, or two nodes if that is more.
    pub right_size_step: f64,
    /// Days without an alarm after the last phase's window before a pool gets smaller.
    pub clean_days: u32,

    /// A plan expires after so long.
    pub expires: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            signal: SignalRules::default(),
            hot: 0.40,
            hot_windows: 3,
            hot_windows_of: 5,
            active: 0.05,
            goal: 0.34,
            goal_probability: 0.9,
            destination: 0.45,
            cooler: 0.03,
            node_lost: 0.70,
            storage: 0.60,
            smallest: 0.02,
            candidates: 64,
            transfer: 0.03,
            concentration: 0.5,
            skew: 0.05,
            registry_cooldown: 7 * DAY,
            pair_cooldown: DAY,
            no_move_back: 14 * DAY,
            idle: 0.001,
            idle_most: 30,
            medium: 0.02,
            medium_most: 5,
            large: 0.05,
            observe: DAY,
            observe_large: 2 * DAY,
            proven: 3.0,
            draws: 200,
            draws_search: 40,
            level_sigma: 0.025,
            widen: 1.0,
            censored: 0.80,
            censored_more: 0.25,
            miss_cost: 2.0,
            prewarm_bytes_per_second: 250e6,
            price_cold_gib: 1e-4,
            price_move: 1e-3,
            isolation: 0.40,
            right_size: 0.45,
            right_size_peak: 0.75,
            growth: 0.20,
            fewest_nodes: 3,
            right_size_step: 0.20,
            clean_days: 7,
            expires: 6 * HOUR,
        }
    }
}

/// A policy that no plan can be made by.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{setting} is {value}; it has to be {allowed}")]
pub struct BadPolicy {
    /// The setting.
    pub setting: &'static str,
    /// What it says.
    pub value: f64,
    /// What it may be.
    pub allowed: &'static str,
}

impl Policy {
    /// Whether plans can be made by it.
    ///
    /// # Errors
    ///
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), BadPolicy> {
        let parts = [
            ("signal.in_rotation_part", self.signal.in_rotation_part.into()),
            ("signal.observed_part", self.signal.observed_part.into()),
            ("signal.valid_part", self.signal.valid_part),
            ("signal.widest", self.signal.widest),
            ("hot", self.hot),
            ("active", self.active),
            ("goal", self.goal),
            ("goal_probability", self.goal_probability),
            ("destination", self.destination),
            ("cooler", self.cooler),
            ("node_lost", self.node_lost),
            ("storage", self.storage),
            ("smallest", self.smallest),
            ("transfer", self.transfer),
            ("concentration", self.concentration),
            ("skew", self.skew),
            ("idle", self.idle),
            ("medium", self.medium),
            ("large", self.large),
            ("level_sigma", self.level_sigma),
            ("censored", self.censored),
            ("isolation", self.isolation),
            ("right_size", self.right_size),
            ("right_size_peak", self.right_size_peak),
            ("right_size_step", self.right_size_step),
        ];
        // NaN is in no range.
        if let Some(&(setting, value)) = parts.iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            return Err(BadPolicy { setting, value, allowed: "from 0 to 1" });
        }
        let amounts = [
            ("censored_more", self.censored_more),
            ("growth", self.growth),
            ("widen", self.widen),
            ("price_cold_gib", self.price_cold_gib),
            ("price_move", self.price_move),
        ];
        let amount = |value: &f64| value.is_finite() && *value >= 0.0;
        if let Some(&(setting, value)) = amounts.iter().find(|(_, value)| !amount(value)) {
            return Err(BadPolicy { setting, value, allowed: "0 or more" });
        }
        let counts = [
            ("draws", f64::from(self.draws)),
            ("draws_search", f64::from(self.draws_search)),
            ("candidates", f64::from(self.candidates)),
            ("idle_most", f64::from(self.idle_most)),
            ("medium_most", f64::from(self.medium_most)),
            ("hot_windows", f64::from(self.hot_windows)),
            ("hot_windows_of", f64::from(self.hot_windows_of)),
            ("fewest_nodes", f64::from(self.fewest_nodes)),
            ("miss_cost", self.miss_cost),
            ("proven", self.proven),
        ];
        let count = |value: &f64| value.is_finite() && *value >= 1.0;
        if let Some(&(setting, value)) = counts.iter().find(|(_, value)| !count(value)) {
            return Err(BadPolicy { setting, value, allowed: "1 or more" });
        }
        if self.goal >= self.hot {
            return Err(BadPolicy { setting: "goal", value: self.goal, allowed: "less than hot" });
        }
        let rate = self.prewarm_bytes_per_second;
        if !(rate.is_finite() && rate > 0.0) {
            return Err(BadPolicy {
                setting: "prewarm_bytes_per_second",
                value: rate,
                allowed: "more than 0",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_named() {
        assert_eq!(Policy::default().validate(), Ok(()));
        let bad = [
            (Policy { hot: f64::NAN, ..Policy::default() }, "hot is NaN; it has to be from 0 to 1"),
            (Policy { draws: 0, ..Policy::default() }, "draws is 0; it has to be 1 or more"),
            (Policy { goal: 0.4, ..Policy::default() }, "goal is 0.4; it has to be less than hot"),
            (Policy { growth: -1.0, ..Policy::default() }, "growth is -1; it has to be 0 or more"),
        ];
        for (policy, words) in bad {
            assert_eq!(policy.validate().unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn a_setting_with_a_wrong_name_is_refused() {
        let policy: Policy = serde_json::from_str(r#"{"hot": 0.5}"#).unwrap();
        assert_eq!(policy, Policy { hot: 0.5, ..Policy::default() });
        let error = serde_json::from_str::<Policy>(r#"{"hott": 0.5}"#).unwrap_err();
        assert!(error.to_string().contains("hott"), "{error}");
    }
}
