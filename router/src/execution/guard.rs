//! The guard of a phase: what was measured while it was watched, and what that means.

use dataproxy_planner::Interval;
use serde::{Deserialize, Serialize};

/// What one check says. Three answers: what cannot be told is not a pass (Argo Rollouts' analysis has the same three).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Too little is known.
    Inconclusive,
    /// Worse than is allowed.
    Fail,
}

impl Verdict {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// What was looked at, as a stable word: `destination-p95`, `errors`.
    pub check: String,
    /// What it says.
    pub verdict: Verdict,
    /// The measurement and its bound, in words.
    pub seen: String,
    /// Whether time alone will tell more: what it is about is not over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_early: bool,
    /// Where a prediction was compared: for the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
}

/// A prediction of P95 and what came, in parts of a node's cores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Before anything moved.
    pub before: f64,
    /// Lower bound of the prediction.
    pub lo: f64,
    /// Its median.
    pub median: f64,
    /// Its upper bound.
    pub hi: f64,
    /// What was measured.
    pub actual: f64,
}

impl Figures {
    /// A prediction and a measurement.
    pub fn new(predicted: &Interval, before: f64, actual: f64) -> Self {
        let Interval { lo, median, hi } = *predicted;
        Self { before, lo, median, hi, actual }
    }
}

/// All checks of a phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Each of them.
    pub readings: Vec<Reading>,
}

impl Gate {
    /// What they say together: the worst of them, and nothing at all cannot tell.
    pub fn verdict(&self) -> Verdict {
        self.readings.iter().map(|reading| reading.verdict).max().unwrap_or(Verdict::Inconclusive)
    }

    /// Whether it cannot tell, and waiting is all that is lacking.
    pub fn is_early(&self) -> bool {
        let mut untold = self.readings.iter().filter(|reading| reading.verdict != Verdict::Pass).peekable();
        untold.peek().is_some() && untold.all(|reading| reading.is_early)
    }

    /// Those with a verdict, in words.
    pub fn words(&self, verdict: Verdict) -> String {
        let of_it = self.readings.iter().filter(|reading| reading.verdict == verdict);
        let words: Vec<_> = of_it.map(|reading| format!("{}: {}", reading.check, reading.seen)).collect();
        if words.is_empty() { "nothing was measured".into() } else { words.join("; ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(check: &str, verdict: Verdict) -> Reading {
        Reading {
            check: check.into(),
            verdict,
            seen: format!("{check} seen"),
            is_early: false,
            figures: None,
        }
    }

    #[test]
    fn a_gate_passes_only_if_something_was_measured_and_all_of_it_passes() {
        let verdict = |all: &[Verdict]| {
            let readings = all.iter().map(|verdict| reading("c", *verdict)).collect();
            Gate { readings }.verdict()
        };
        assert_eq!(verdict(&[]), Verdict::Inconclusive);
        assert_eq!(verdict(&[Verdict::Pass, Verdict::Pass]), Verdict::Pass);
        assert_eq!(verdict(&[Verdict::Pass, Verdict::Inconclusive]), Verdict::Inconclusive);
        assert_eq!(verdict(&[Verdict::Fail, Verdict::Inconclusive, Verdict::Pass]), Verdict::Fail);
    }

    #[test]
    fn a_gate_names_the_checks_that_decided() {
        let gate = Gate { readings: vec![reading("errors", Verdict::Fail), reading("p95", Verdict::Pass)] };
        assert_eq!(gate.words(Verdict::Fail), "errors: errors seen");
        assert_eq!(Gate::default().words(Verdict::Inconclusive), "nothing was measured");
    }
}
