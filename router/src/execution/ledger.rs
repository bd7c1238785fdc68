//! The trust ledger: what plans predicted against what came of it, and how far they may go by themselves because of it.

use serde::{Deserialize, Serialize};

use super::{Execution, ExecutionState, PhaseState};

/// How much is done without being asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Autonomy {
    /// L0: nothing is planned unless somebody asks.
    Observe,
    /// L1: plans are proposed when a stamp is hot.
    Recommend,
    /// L2: a plan that is applied pauses after each phase, until somebody lets it go on.
    #[default]
    Review,
    /// L3: a plan that is applied goes through all its phases.
    Execute,
    /// L4: plans within the envelope are approved and applied by the router, where the ledger bears it.
    Autonomous,
}

/// What L4 needs: moves of this kind that came out as predicted.
const TRUSTED_PHASES: usize = 20;
/// With this median error at most, in parts of a node's cores.
const TRUSTED_ERROR: f64 = 0.03;

/// One pool of one phase: predicted and measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The plan.
    pub plan: String,
    /// Its phase, counted from 1.
    pub phase: usize,
    /// What was looked at, as `destination-p95`.
    pub check: String,
    /// P95 before, predicted (5 %, median, 95 %), and measured.
    pub before: f64,
    /// Lower bound of the prediction.
    pub lo: f64,
    /// Its median.
    pub median: f64,
    /// Its upper bound.
    pub hi: f64,
    /// What was measured.
    pub actual: f64,
    /// Whether the phase was taken back.
    pub taken_back: bool,
}

impl Entry {
    /// How far the median was off.
    pub fn error(&self) -> f64 {
        (self.actual - self.median).abs()
    }

    /// Whether the interval had it.
    pub fn is_within(&self) -> bool {
        (self.lo..=self.hi).contains(&self.actual)
    }
}

/// All of it, the newest last, and what it sums up to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Pools of phases that were judged.
    pub entries: Vec<Entry>,
    /// Phases that passed.
    pub passed: usize,
    /// Phases that were taken back.
    pub taken_back: usize,
    /// Median error of the predictions, in parts of a node's cores.
    pub median_error: Option<f64>,
    /// The part of the measurements that were within their intervals.
    pub coverage: Option<f64>,
    /// Phases in a row, up to now, that passed.
    pub passed_in_a_row: usize,
}

impl Ledger {
    /// What has come of these plans.
    pub fn of<'e>(executions: impl IntoIterator<Item = &'e Execution>) -> Self {
        let mut executions: Vec<&Execution> = executions.into_iter().collect();
        executions.sort_by_key(|execution| execution.proposed);
        let mut ledger = Self::default();
        for execution in executions {
            for (at, phase) in execution.phases.iter().enumerate() {
                let taken_back = match phase.state {
                    PhaseState::Passed => false,
                    PhaseState::TakenBack => true,
                    _ => continue,
                };
                if taken_back {
                    (ledger.taken_back, ledger.passed_in_a_row) = (ledger.taken_back + 1, 0);
                } else {
                    (ledger.passed, ledger.passed_in_a_row) = (ledger.passed + 1, ledger.passed_in_a_row + 1);
                }
                ledger.entries.extend(phase.gate.readings.iter().filter_map(|reading| {
                    let figures = reading.figures?;
                    Some(Entry {
                        plan: execution.id.clone(),
                        phase: at + 1,
                        check: reading.check.clone(),
                        before: figures.before,
                        lo: figures.lo,
                        median: figures.median,
                        hi: figures.hi,
                        actual: figures.actual,
                        taken_back,
                    })
                }));
            }
        }
        let mut errors: Vec<f64> = ledger.entries.iter().map(Entry::error).collect();
        errors.sort_by(f64::total_cmp);
        ledger.median_error = errors.get(errors.len() / 2).copied();
        let within = ledger.entries.iter().filter(|entry| entry.is_within()).count();
        ledger.coverage = (!errors.is_empty()).then(|| within as f64 / errors.len() as f64);
        ledger
    }

    /// Why plans may not be carried out without being asked, if so.
    pub fn distrust(&self) -> Option<String> {
        if self.passed_in_a_row < TRUSTED_PHASES {
            return Some(format!(
                "{} phases in a row have passed; {TRUSTED_PHASES} are needed",
                self.passed_in_a_row
            ));
        }
        match self.median_error {
            None => Some("no prediction was compared with a measurement yet".into()),
            Some(error) if error > TRUSTED_ERROR => Some(format!(
                "the median error of predictions is {:.1} points; {:.1} are allowed",
                error * 100.0,
                TRUSTED_ERROR * 100.0
            )),
            Some(_) => None,
        }
    }
}

/// The last phase that an execution is carried out to when nobody says, counted from 1; all if none.
pub fn until_phase(level: Autonomy, execution: &Execution) -> Option<usize> {
    debug_assert!(execution.state != ExecutionState::Done);
    (level < Autonomy::Execute).then(|| execution.current().map_or(1, |at| at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::{ExecutionPhase, Figures, Gate, Reading, Verdict};
    use crate::migration::UnixMillis;

    fn phase(state: PhaseState, actual: f64) -> ExecutionPhase {
        let figures = Figures { before: 0.43, lo: 0.27, median: 0.29, hi: 0.31, actual };
        let (check, seen) = ("source-p95".to_owned(), String::new());
        let reading =
            Reading { check, verdict: Verdict::Pass, seen, is_early: false, figures: Some(figures) };
        ExecutionPhase {
            name: "idle".into(),
            moves: Vec::new(),
            observe_seconds: 1,
            state,
            observed_since: None,
            gate: Gate { readings: vec![reading] },
        }
    }

    fn execution(proposed: u64, phases: Vec<ExecutionPhase>) -> Execution {
        Execution {
            id: format!("p-{proposed}"),
            hash: String::new(),
            state: ExecutionState::Done,
            proposed_by: "ada".into(),
            proposed: UnixMillis(proposed),
            expires: UnixMillis(9),
            approvals_needed: 1,
            approvals: Vec::new(),
            phases,
            until_phase: None,
            paused: None,
            back_to: None,
            story: Vec::new(),
        }
    }

    #[test]
    fn the_ledger_says_how_far_predictions_were_off_and_how_often_they_held() {
        let phases = vec![
            phase(PhaseState::Passed, 0.30),
            phase(PhaseState::Passed, 0.29),
            phase(PhaseState::Waiting, 0.9),
        ];
        let ledger =
            Ledger::of([&execution(1, phases), &execution(2, vec![phase(PhaseState::TakenBack, 0.5)])]);
        assert_eq!((ledger.passed, ledger.taken_back, ledger.passed_in_a_row), (2, 1, 0));
        assert!((ledger.median_error.unwrap() - 0.01).abs() < 1e-9, "{ledger:?}");
        assert!((ledger.coverage.unwrap() - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(ledger.entries.last().map(|entry| (entry.taken_back, entry.phase)), Some((true, 1)));
    }

    #[test]
    fn trust_takes_twenty_phases_in_a_row_and_good_predictions_and_one_taken_back_ends_it() {
        let good = |count: usize| (0..count).map(|_| phase(PhaseState::Passed, 0.30)).collect::<Vec<_>>();
        assert!(Ledger::of([&execution(1, good(19))]).distrust().unwrap().contains("19 phases in a row"));
        assert_eq!(Ledger::of([&execution(1, good(20))]).distrust(), None);
        let off = (0..20).map(|_| phase(PhaseState::Passed, 0.36)).collect();
        assert!(Ledger::of([&execution(1, off)]).distrust().unwrap().contains("7.0 points"));
        let failed = execution(2, vec![phase(PhaseState::TakenBack, 0.30)]);
        assert!(Ledger::of([&failed, &execution(1, good(20))]).distrust().is_some());
        assert!(Ledger::default().distrust().is_some());
    }

    #[test]
    fn in_review_a_plan_goes_phase_by_phase_and_above_it_through_all() {
        let phases = vec![phase(PhaseState::Passed, 0.3), phase(PhaseState::Waiting, 0.3)];
        let execution = Execution { state: ExecutionState::Running, ..execution(1, phases) };
        assert_eq!(until_phase(Autonomy::Review, &execution), Some(2));
        assert_eq!(until_phase(Autonomy::Execute, &execution), None);
    }
}
