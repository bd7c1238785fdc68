//! Means and counts over cases, and the goals beside them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{mean, median};
use crate::judge::{Judged, Outcome, Scored};
use crate::planners::Baseline;
use crate::scenarios::{Right, Scenario};

/// A goal and what came.
#[derive(Clone, Debug, Serialize)]
pub struct Mark {
    /// The goal in words.
    pub goal: String,
    /// What came, in words.
    pub came: String,
    /// Whether it is reached.
    pub passed: bool,
}

/// How good predictions are.
#[derive(Clone, Debug, Serialize)]
pub struct Accuracy {
    /// Predictions of pools.
    pub count: usize,
    /// Part of them whose interval holds what came.
    pub held: f64,
    /// Median of the absolute error, in points.
    pub median_error: f64,
    /// Mean of the absolute error, in points.
    pub mean_error: f64,
    /// Mean of what came minus what was predicted, in points.
    pub bias: f64,
    /// Mean width of the intervals, in points.
    pub width: f64,
}

/// One scenario.
#[derive(Clone, Debug, Serialize)]
pub struct ScenarioRow {
    /// Which.
    pub scenario: Scenario,
    /// What is right there.
    pub right: Right,
    /// Seeds.
    pub cases: usize,
    /// How often the planner decided so.
    pub right_cases: usize,
    /// Means: moves, GiB/s moved, the source's P95 without and with them.
    pub moves: f64,
    /// GiB a second moved.
    pub gib_per_second: f64,
    /// P95 of the source without moves, in percent.
    pub before: f64,
    /// And with them.
    pub after: f64,
    /// Pools above their limit because of moves, over all seeds.
    pub violations: usize,
    /// At the source.
    pub source: Accuracy,
    /// At destinations.
    pub destination: Accuracy,
    /// Part of the best relief that is missing, on the same information.
    pub regret: Option<f64>,
    /// Part of the best relief that is missing beside the clairvoyant oracle, in what came.
    pub regret_clairvoyant: Option<f64>,
    /// The fewest bytes for the same relief, over the plan's.
    pub least_bytes: Option<f64>,
    /// Relief in points for each GiB/s moved.
    pub relief_per_gib: f64,
    /// That of largest first.
    pub relief_per_gib_largest: f64,
    /// That of adding percentiles.
    pub relief_per_gib_percentiles: f64,
}

/// One planner, over the scenarios where moving is right; the article's is not among them, where a policy says what moves.
#[derive(Clone, Debug, Serialize)]
pub struct PlannerRow {
    /// Which.
    pub planner: &'static str,
    /// Mean relief of the source, in points.
    pub relief: f64,
    /// Mean GiB a second moved.
    pub gib_per_second: f64,
    /// Relief in points for each GiB/s moved, of the sums.
    pub relief_per_gib: f64,
    /// Relief in points for each move, of the sums.
    pub relief_per_move: f64,
    /// Mean moves.
    pub moves: f64,
    /// Part of the cases in which the source came to the goal, within a point.
    pub relieved: f64,
    /// Pools above their limit because of moves, over all scenarios.
    pub violations: usize,
    /// Bins above the limit because of moves, over all scenarios.
    pub bins_over: usize,
    /// Cases in which the problem was only moved, over all scenarios.
    pub transfers: usize,
    /// Cases with moves where none is right.
    pub needless: usize,
}

/// The figures of all cases.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// By scenario.
    pub scenarios: Vec<ScenarioRow>,
    /// The planner first, then the baselines.
    pub planners: Vec<PlannerRow>,
    /// Predictions of sources.
    pub source: Accuracy,
    /// Predictions of destinations.
    pub destination: Accuracy,
    /// Goals.
    pub marks: Vec<Mark>,
}

impl Accuracy {
    pub(crate) fn of<'a>(scored: impl Iterator<Item = &'a Scored> + Clone) -> Self {
        Self {
            count: scored.clone().count(),
            held: mean(scored.clone().map(|scored| f64::from(u8::from(scored.held)))),
            median_error: median(scored.clone().map(|scored| scored.error.abs())),
            mean_error: mean(scored.clone().map(|scored| scored.error.abs())),
            bias: mean(scored.clone().map(|scored| scored.error)),
            width: mean(scored.map(|scored| scored.width)),
        }
    }

    fn marks(&self, end: &str) -> [Mark; 2] {
        let held = Mark {
            goal: format!("intervals hold the truth in 85–95 % of windows: {end}"),
            came: format!("{:.1} % of {}", self.held * 100.0, self.count),
            passed: (0.85..=0.95).contains(&self.held),
        };
        let error = Mark {
            goal: format!("median error ≤ 2 points: {end}"),
            came: format!("{:.2} points (bias {:+.2})", self.median_error, self.bias),
            passed: self.median_error <= 2.0,
        };
        [held, error]
    }
}

/// Summarises cases. `goal` is the P95 that a relieved source should come to, in percent.
pub(crate) fn summarise(cases: &[Judged], goal: f64) -> Summary {
    let mut by_scenario: BTreeMap<Scenario, Vec<&Judged>> = BTreeMap::new();
    for case in cases {
        by_scenario.entry(case.scenario).or_default().push(case);
    }
    let scenarios: Vec<_> = by_scenario.into_iter().map(|(scenario, cases)| row(scenario, &cases)).collect();
    let ours = cases.iter().map(|case| (case.scenario, &case.ours));
    let mut planners = vec![planner("planner", ours, goal)];
    for (at, baseline) in Baseline::ALL.into_iter().enumerate() {
        let outcomes = cases.iter().filter_map(|case| Some((case.scenario, &case.baselines.get(at)?.1)));
        planners.push(planner(baseline.as_str(), outcomes, goal));
    }
    let all = cases.iter().flat_map(|case| &case.predictions);
    let source = Accuracy::of(all.clone().filter(|scored| scored.source));
    let destination = Accuracy::of(all.filter(|scored| !scored.source));
    let marks = marks(cases, &planners, &source, &destination);
    Summary { scenarios, planners, source, destination, marks }
}

fn row(scenario: Scenario, cases: &[&Judged]) -> ScenarioRow {
    let ours = || cases.iter().map(|case| &case.ours);
    let regrets: Vec<_> = cases.iter().filter_map(|case| Some((case, case.regret.as_ref()?))).collect();
    let some = |value: f64| (!regrets.is_empty()).then_some(value);
    let relief = mean(regrets.iter().map(|(case, _)| case.ours.before - case.ours.after));
    let best = mean(regrets.iter().map(|(_, regret)| regret.clairvoyant_relief));
    let scored = cases.iter().flat_map(|case| &case.predictions);
    ScenarioRow {
        scenario,
        right: scenario.right(),
        cases: cases.len(),
        right_cases: cases.iter().filter(|case| case.decision == scenario.right()).count(),
        moves: mean(ours().map(|ours| ours.moves as f64)),
        gib_per_second: mean(ours().map(|ours| ours.gib_per_second)),
        before: mean(ours().map(|ours| ours.before)),
        after: mean(ours().map(|ours| ours.after)),
        violations: ours().map(|ours| ours.violations).sum(),
        source: Accuracy::of(scored.clone().filter(|scored| scored.source)),
        destination: Accuracy::of(scored.filter(|scored| !scored.source)),
        regret: some(mean(regrets.iter().map(|(_, regret)| regret.informed))),
        regret_clairvoyant: some(1.0 - relief / best.max(1e-9)),
        least_bytes: some(mean(regrets.iter().filter_map(|(_, regret)| regret.least_bytes))),
        relief_per_gib: relief_per_gib(ours()),
        relief_per_gib_largest: relief_per_gib(of(cases, Baseline::LargestFirst)),
        relief_per_gib_percentiles: relief_per_gib(of(cases, Baseline::AddPercentiles)),
    }
}

fn of<'a>(cases: &'a [&Judged], wanted: Baseline) -> impl Iterator<Item = &'a Outcome> + Clone {
    let baselines = cases.iter().flat_map(|case| &case.baselines);
    baselines.filter(move |(baseline, _)| *baseline == wanted).map(|(_, outcome)| outcome)
}

fn relief_per_gib<'a>(outcomes: impl Iterator<Item = &'a Outcome> + Clone) -> f64 {
    let relief: f64 = outcomes.clone().map(|outcome| outcome.before - outcome.after).sum();
    let gib: f64 = outcomes.map(|outcome| outcome.gib_per_second).sum();
    if gib > 0.0 { relief / gib } else { 0.0 }
}

fn planner<'a>(
    planner: &'static str,
    outcomes: impl Iterator<Item = (Scenario, &'a Outcome)> + Clone,
    goal: f64,
) -> PlannerRow {
    let right = |scenario: Scenario| scenario.right() == Right::Move && scenario != Scenario::Article;
    let moving = || outcomes.clone().filter(|(scenario, _)| right(*scenario)).map(|(_, outcome)| outcome);
    let all = || outcomes.clone().map(|(_, outcome)| outcome);
    let relief: f64 = moving().map(|outcome| outcome.before - outcome.after).sum();
    let moves: usize = moving().map(|outcome| outcome.moves).sum();
    let over = |whole: f64| if whole > 0.0 { relief / whole } else { 0.0 };
    PlannerRow {
        planner,
        relief: mean(moving().map(|outcome| outcome.before - outcome.after)),
        gib_per_second: mean(moving().map(|outcome| outcome.gib_per_second)),
        relief_per_gib: relief_per_gib(moving()),
        relief_per_move: over(moves as f64),
        moves: mean(moving().map(|outcome| outcome.moves as f64)),
        relieved: mean(moving().map(|outcome| f64::from(u8::from(outcome.after <= goal + 1.0)))),
        violations: all().map(|outcome| outcome.violations).sum(),
        bins_over: all().map(|outcome| outcome.bins_over).sum(),
        transfers: all().filter(|outcome| outcome.transfer).count(),
        needless: outcomes
            .filter(|(scenario, outcome)| scenario.right() != Right::Move && outcome.moves > 0)
            .count(),
    }
}

fn marks(cases: &[Judged], planners: &[PlannerRow], source: &Accuracy, destination: &Accuracy) -> Vec<Mark> {
    let mut marks = Vec::new();
    let wrong = cases.iter().filter(|case| case.decision != case.scenario.right()).count();
    marks.push(Mark {
        goal: "decides what is right".into(),
        came: format!("{} of {}", cases.len() - wrong, cases.len()),
        passed: wrong == 0,
    });
    let ours = &planners[0];
    marks.push(Mark {
        goal: "moves nothing where no move is right".into(),
        came: format!("{} cases with needless moves", ours.needless),
        passed: ours.needless == 0,
    });
    marks.push(Mark {
        goal: "no destination above its limit".into(),
        came: format!("{} pools, {} transfers", ours.violations, ours.transfers),
        passed: ours.violations == 0 && ours.transfers == 0,
    });
    if source.count > 0 {
        marks.extend(source.marks("source"));
    }
    if destination.count > 0 {
        marks.extend(destination.marks("destination"));
    }
    let regrets: Vec<f64> = cases.iter().filter_map(|case| Some(case.regret.as_ref()?.informed)).collect();
    if !regrets.is_empty() {
        let regret = mean(regrets.iter().copied());
        marks.push(Mark {
            goal: "regret ≤ 10 % beside the best on the same information".into(),
            came: format!("{:.1} % of {} plans", regret * 100.0, regrets.len()),
            passed: regret <= 0.10,
        });
    }
    if ours.relief_per_gib > 0.0 {
        for naive in planners.iter().filter(|row| ["largest-first", "add-percentiles"].contains(&row.planner))
        {
            let better = ours.relief_per_gib / naive.relief_per_gib.max(1e-9) - 1.0;
            marks.push(Mark {
                goal: format!("relief per GiB/s moved ≥ 20 % better than {}", naive.planner),
                came: format!("{:+.0} %", better * 100.0),
                passed: better >= 0.20,
            });
        }
    }
    marks
}
