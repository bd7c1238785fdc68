//! Plans are made here: the region as it was measured, with what operators have said of it, goes to the planner.
//! And phases are judged: what was measured since, against what the plan said.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dataproxy_planner::signal::{Signal, signal};
use dataproxy_planner::{BadInput, Fleet, Goal, Plan, Policy, Prediction, Window};
use dataproxy_router_api::StampName;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::execution::{Case, Execution, ExecutionPhase, Reading, judge, window_since};
use crate::migration::UnixMillis;
use crate::minutes::FileError;
use crate::reconcile::Guard;
use crate::signals::Signals;
use crate::state::State;

/// Seconds of a bin that is not scaled.
const MINUTE: u32 = 60;
/// Minutes of a day: the next peak window of the same hours begins so much later.
const DAY_BINS: u64 = 24 * 60;
/// How long a judgement is good for: the figures change once a bin.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// A plan that was made, and the same for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// The plan.
    pub plan: Plan,
    /// For people: what it does, what it predicts, what it leaves and why.
    pub text: String,
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// What nodes told cannot be read.
    #[error(transparent)]
    Minutes(#[from] FileError),
    /// The planner cannot work with it.
    #[error(transparent)]
    Input(#[from] BadInput),
    /// The rules that are kept cannot be read: a later version has set them.
    #[error("the policy cannot be read: {0}; set it anew with: stampctl policy set FILE")]
    Policy(#[from] serde_json::Error),
}

/// The planner's rules.
///
/// # Errors
/// [`PlanError::Policy`]
pub fn rules(state: &State) -> Result<Policy, PlanError> {
    let said = state.policy().map(|policy| policy.planning.clone()).unwrap_or_default();
    Ok(serde_json::from_value(said.into())?)
}

/// The region as the planner takes it: as it was measured, with what operators have said of it.
///
/// # Errors
/// [`FileError`]. Blocks, as it reads from a file.
pub fn fleet(signals: &Signals, state: &State, now: UnixMillis) -> Result<Fleet, FileError> {
    let mut fleet = signals.fleet(state, now)?;
    for registry in &mut fleet.registries {
        registry.pinned = state.pin(&registry.name).map(|pin| format!("by {}: {}", pin.by, pin.reason));
    }
    for stamp in &mut fleet.stamps {
        stamp.held = held(state, &stamp.name);
    }
    Ok(fleet)
}

/// Why nothing may be moved to or from a stamp now, if so.
fn held(state: &State, stamp: &StampName) -> Option<String> {
    let restart = state.restarts().map(|restart| &restart.value);
    let restart = restart.filter(|restart| restart.stamp == *stamp && restart.ended.is_none()).last();
    if let Some(restart) = restart {
        return Some(format!("restart {} of it is under way", restart.number));
    }
    let plan = state.executions().map(|execution| &execution.value).find(|execution| {
        let mut moves = execution.phases.iter().flat_map(|phase| &phase.moves);
        execution.state.is_under_way() && moves.any(|planned| planned.from == *stamp || planned.to == *stamp)
    });
    plan.map(|plan| format!("plan {} is {} and not measured yet", plan.id, plan.state.as_str()))
}

/// Makes a plan for a goal. Blocks: it reads from a file, and may compute for seconds.
///
/// # Errors
/// [`PlanError`]
pub fn make(fleet: &Fleet, policy: &Policy, goal: &Goal, seed: u64) -> Result<Made, PlanError> {
    let plan = dataproxy_planner::plan(fleet, policy, goal, seed)?;
    let text = dataproxy_planner::explain(&plan);
    Ok(Made { plan, text })
}

/// What was said of a phase, by plan and phase, and when.
type Judged = HashMap<(String, usize), (Instant, Vec<Reading>)>;

/// Judges phases by what nodes told since.
#[derive(Debug)]
pub struct Measured {
    signals: Signals,
    clock: fn() -> UnixMillis,
    judged: Mutex<Judged>,
}

impl Measured {
    /// A guard by these signals.
    pub fn new(signals: Signals, clock: fn() -> UnixMillis) -> Self {
        Self { signals, clock, judged: Mutex::default() }
    }
}

impl Guard for Measured {
    fn readings(&self, state: &State, execution: &Execution, phase: usize) -> Vec<Reading> {
        let now = Instant::now();
        let key = (execution.id.clone(), phase);
        let judged = || self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, readings)) = judged().get(&key)
            && now.duration_since(*at) < GOOD_FOR
        {
            return readings.clone();
        }
        let readings = self.judge(state, execution, phase);
        let mut judged = judged();
        judged.retain(|_, (at, _)| now.duration_since(*at) < GOOD_FOR);
        judged.insert(key, (now, readings.clone()));
        readings
    }
}

impl Measured {
    fn judge(&self, state: &State, execution: &Execution, phase: usize) -> Vec<Reading> {
        let Some(of) = execution.phases.get(phase) else { return Vec::new() };
        let kept = state.plan(&execution.id).map(|record| record.value.plan.clone()).unwrap_or_default();
        // One that a later version wrote may not be readable: then nothing is known, and nothing passes.
        let Ok(plan) = serde_json::from_value::<Plan>(kept) else { return Vec::new() };
        let Ok(policy) = rules(state) else { return Vec::new() };
        let drift = state.policy().map(|policy| policy.execution.drift);
        let drift = drift.unwrap_or_else(|| crate::execution::ExecutionPolicy::default().drift);
        let predictions =
            plan.phases.get(phase).map(|phase| phase.predictions.as_slice()).unwrap_or_default();
        let judged = |predicted: &Prediction| {
            let measured = self.measured(state, &plan, predicted, of, &policy);
            judge(&Case {
                predicted,
                is_destination: of.moves.iter().any(|planned| planned.to == predicted.stamp),
                measured: measured.as_ref().map(|(signal, _)| signal),
                is_whole: measured.as_ref().is_some_and(|(_, is_whole)| *is_whole),
                limit: policy.destination,
                drift,
            })
        };
        predictions.iter().map(judged).collect()
    }

    /// What a pool measured since a phase is watched: over the plan's peak hours if they have come again, else over what
    /// there is; and whether it is a whole window.
    fn measured(
        &self,
        state: &State,
        plan: &Plan,
        predicted: &Prediction,
        phase: &ExecutionPhase,
        policy: &Policy,
    ) -> Option<(Signal, bool)> {
        let (since, now) = (phase.observed_since?, (self.clock)());
        let before =
            plan.before.iter().find(|pool| pool.stamp == predicted.stamp && pool.role == predicted.role);
        let frozen = before.and_then(|pool| pool.signal.as_ref()).map(|signal| signal.window)?;
        let (window, is_whole) = window(frozen, since, now)?;
        let pool = self.signals.pool(state, &predicted.stamp, predicted.role, window)?;
        signal(&pool, &policy.signal).ok().map(|signal| (signal, is_whole))
    }
}

/// The bins that a phase is judged by.
fn window(frozen: Window, since: UnixMillis, now: UnixMillis) -> Option<(Window, bool)> {
    let all = window_since(since.0, now.0, frozen.bin_seconds, u32::MAX)?;
    if frozen.bin_seconds == MINUTE {
        let end = all.first + u64::from(all.bins);
        // The same hours of the last day that lies in what was watched.
        let days = end.checked_sub(frozen.first + u64::from(frozen.bins)).map(|past| past / DAY_BINS);
        let again = days.map(|days| frozen.first + days * DAY_BINS).filter(|first| *first >= all.first);
        return Some(match again {
            Some(first) => (Window { first, ..frozen }, true),
            None => (all, false),
        });
    }
    let last = window_since(since.0, now.0, frozen.bin_seconds, frozen.bins)?;
    Some((last, last.bins == frozen.bins))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn a_phase_is_judged_by_the_same_hours_of_a_later_day_once_they_are_over() {
        // Peak from 08:00 to 20:00 of day 100; the phase is watched since 10:00 of day 101.
        let frozen = Window { first: 100 * DAY_BINS + 8 * 60, bins: 720, bin_seconds: 60 };
        let since = UnixMillis((101 * 24 + 10) * HOUR_MS);
        let at = |hours: u64| window(frozen, since, UnixMillis((101 * 24 + hours) * HOUR_MS));
        assert_eq!(at(10), None);
        let (early, is_whole) = at(22).unwrap();
        assert_eq!(
            (early.first, early.bins, is_whole),
            (101 * DAY_BINS + 600, 720, false),
            "not its own hours"
        );
        let (day_after, is_whole) = at(24 + 20).unwrap();
        assert_eq!((day_after.first, day_after.bins, is_whole), (102 * DAY_BINS + 480, 720, true));
        let (two_days, _) = at(48 + 21).unwrap();
        assert_eq!(two_days.first, 103 * DAY_BINS + 480, "the last of them");
    }

    #[test]
    fn scaled_bins_have_no_hours_and_the_last_whole_window_counts() {
        let frozen = Window { first: 5, bins: 20, bin_seconds: 1 };
        let at = |ms: u64| window(frozen, UnixMillis(10_000), UnixMillis(ms)).unwrap();
        assert_eq!(at(25_000), (Window { first: 10, bins: 15, bin_seconds: 1 }, false));
        assert_eq!(at(40_500), (Window { first: 20, bins: 20, bin_seconds: 1 }, true));
    }
}
