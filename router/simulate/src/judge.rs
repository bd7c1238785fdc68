//! What came of a plan, in the window that nobody had seen.
//!
//! With and without the moves the same chance is drawn, so a difference is the moves' and nothing else's.

use std::collections::BTreeSet;

use dataproxy_planner::signal::Status;
use dataproxy_planner::{Fleet, Goal, Plan, Policy, Recommendation};
use dataproxy_router_api::{RegistryName, StampName};
use serde::Serialize;

use crate::error::SimulateError;
use crate::oracle::{self, Bounds};
use crate::planners::{Aim, Baseline};
use crate::region::{Move, Region};
use crate::scenarios::{Case, Right, Scenario};
use crate::truth::{Draw, Truth};

const GIB: f64 = (1_u64 << 30) as f64;
/// The fleet's hottest stamp has to become cooler by so many points, or the problem was only moved.
const TRANSFER: f64 = 0.5;

/// What a planner's moves did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// How many registries moved.
    pub moves: usize,
    /// GiB a second that they are served in their busiest bins: what a move disturbs.
    pub gib_per_second: f64,
    /// GiB that destinations have to read once.
    pub cold_gib: f64,
    /// The source's hot-node P95 without the moves, in percent.
    pub before: f64,
    /// And with them.
    pub after: f64,
    /// Pools of destinations above their limit because of the moves.
    pub violations: usize,
    /// Bins of theirs above the limit that were not above it without the moves.
    pub bins_over: usize,
    /// Whether something moved and the hottest stamp of the region is as hot as without.
    pub transfer: bool,
}

/// A prediction and what came.
#[derive(Clone, Debug, Serialize)]
pub struct Scored {
    /// Whether registries left the stamp; otherwise they came.
    pub source: bool,
    /// What came, in percent.
    pub truth: f64,
    /// What came minus the median that was predicted, in points.
    pub error: f64,
    /// Whether the interval holds what came.
    pub held: bool,
    /// How wide the interval is, in points.
    pub width: f64,
}

/// A plan beside the best that there is.
#[derive(Clone, Debug, Serialize)]
pub struct Regret {
    /// Part of the best relief that is missing, by what planner and oracle know.
    pub informed: f64,
    /// Relief that came of the informed oracle's moves, in points.
    pub informed_relief: f64,
    /// Relief that came of the moves of the oracle that knows the window, in points.
    pub clairvoyant_relief: f64,
    /// The fewest bytes for the same relief, over the plan's.
    pub least_bytes: Option<f64>,
    /// The informed oracle's moves: a registry, and where it goes.
    pub moves: Vec<(RegistryName, StampName)>,
}

/// One case, judged.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// The scenario.
    pub scenario: Scenario,
    /// Its seed.
    pub seed: u64,
    /// What the planner decided.
    pub decision: Right,
    /// What came of it.
    pub ours: Outcome,
    /// What it predicted.
    pub predictions: Vec<Scored>,
    /// Where it moved something.
    pub regret: Option<Regret>,
    /// What came of the baselines' moves.
    pub baselines: Vec<(Baseline, Outcome)>,
    /// The planner's first words on why not, where it moved nothing.
    pub words: String,
}

/// Plans a case with everyone and looks at what comes.
///
/// # Errors
///
/// Where the planner refuses its input.
pub fn judge(case: &Case, policy: &Policy) -> Result<Judged, SimulateError> {
    let draw = Draw { seed: case.chance, day: 0 };
    let seen = case.region.run(draw);
    let fleet = case.region.fleet(&seen, draw)?;
    let aim =
        Aim { hot: policy.hot * 100.0, goal: policy.goal * 100.0, destination: policy.destination * 100.0 };
    let plan = dataproxy_planner::plan(&fleet, policy, &goal(case), case.chance)?;
    let moves = moves(&case.region, &plan);
    let later = Draw { seed: case.chance, day: case.after };
    let without = case.region.run(later);
    let judged = |moves: &[Move]| {
        let with = without.after(&case.region, moves, later);
        (outcome(case, &fleet, moves, &without, &with, aim), with)
    };
    let (ours, with) = judged(&moves);
    let regret = match case.scenario.right() {
        Right::Move if case.isolate.is_none() && !moves.is_empty() => {
            let bounds = Bounds {
                source: case.source,
                // Also cooler than the source was, by as much as the planner has to keep to.
                destination: aim.destination.min(seen.p95(case.source) - policy.cooler * 100.0),
                bytes: None,
                smallest: policy.smallest,
            };
            let informed = oracle::informed(&case.region, &fleet, policy, &moves, bounds, case.chance);
            let clairvoyant = oracle::clairvoyant(&case.region, &moves, bounds, later)?;
            informed.zip(clairvoyant).map(|(informed, clairvoyant)| {
                let relief = |moves: &[Move]| {
                    let (outcome, _) = judged(moves);
                    outcome.before - outcome.after
                };
                Regret {
                    informed: part(informed.planned - informed.after, informed.before - informed.after),
                    informed_relief: relief(&informed.moves),
                    clairvoyant_relief: relief(&clairvoyant.moves),
                    least_bytes: informed.least_bytes,
                    moves: named(&case.region, &informed.moves),
                }
            })
        }
        _ => None,
    };
    let baselines = Baseline::ALL
        .map(|baseline| (baseline, judged(&baseline.plan(&case.region, &fleet, aim, case.chance)).0));
    Ok(Judged {
        scenario: case.scenario,
        seed: case.seed,
        decision: decision(&plan, &case.region.stamps[case.source].name),
        predictions: scored(&case.region, &plan, &with),
        ours,
        regret,
        baselines: baselines.into(),
        words: words(&plan),
    })
}

fn named(region: &Region, moves: &[Move]) -> Vec<(RegistryName, StampName)> {
    let name = |&(registry, stamp): &Move| {
        (region.registries[registry].name.clone(), region.stamps[stamp].name.clone())
    };
    moves.iter().map(name).collect()
}

/// What a case asks of the planner.
fn goal(case: &Case) -> Goal {
    match case.isolate {
        Some(tenant) => Goal::Isolate {
            tenant: format!("tenant-{tenant}"),
            from: Vec::new(),
            to: case.region.stamps[crate::article::fitted::ISOLATION].name.clone(),
        },
        None => Goal::Balance,
    }
}

/// A plan's moves by the region's numbers.
pub(crate) fn moves(region: &Region, plan: &Plan) -> Vec<Move> {
    let place = |planned: &dataproxy_planner::Move| {
        Some((region.registry(&planned.registry)?, region.stamp(&planned.to)?))
    };
    plan.moves.iter().filter_map(place).collect()
}

fn outcome(case: &Case, fleet: &Fleet, moves: &[Move], without: &Truth, with: &Truth, aim: Aim) -> Outcome {
    let known = moves.iter().filter_map(|&(registry, _)| {
        fleet.registries.iter().find(|known| known.name == case.region.registries[registry].name)
    });
    let (mut bytes, mut cold) = (0.0, 0.0);
    for registry in known {
        bytes += registry.peak_bytes_per_second;
        cold += registry.hot_set_bytes as f64;
    }
    let destinations: BTreeSet<usize> = moves.iter().map(|(_, stamp)| *stamp).collect();
    let (mut violations, mut bins_over) = (0, 0);
    let pools = without.pools.iter().zip(&with.pools).filter(|(pool, _)| destinations.contains(&pool.stamp));
    for (before, after) in pools {
        violations += usize::from(after.p95() > aim.destination && after.p95() > before.p95());
        let limit = (aim.destination / 100.0) as f32;
        let over = before.hot().into_iter().zip(after.hot());
        bins_over += over.filter(|(before, after)| *before <= limit && *after > limit).count();
    }
    let hottest =
        |truth: &Truth| (0..case.region.stamps.len()).map(|stamp| truth.p95(stamp)).fold(0.0, f64::max);
    Outcome {
        moves: moves.len(),
        gib_per_second: bytes / GIB,
        cold_gib: cold / GIB,
        before: without.p95(case.source),
        after: with.p95(case.source),
        violations,
        bins_over,
        transfer: !moves.is_empty() && hottest(with) > hottest(without) - TRANSFER,
    }
}

/// Every pool of the plan's predictions beside what came.
pub(crate) fn scored(region: &Region, plan: &Plan, with: &Truth) -> Vec<Scored> {
    let came = |prediction: &dataproxy_planner::Prediction| {
        let truth = with.pool(region.stamp(&prediction.stamp)?, prediction.role)?.p95();
        let after = prediction.after;
        Some(Scored {
            source: plan.moves.iter().any(|planned| planned.from == prediction.stamp),
            truth,
            error: truth - after.median * 100.0,
            held: (after.lo * 100.0..=after.hi * 100.0).contains(&truth),
            width: (after.hi - after.lo) * 100.0,
        })
    };
    plan.predictions.iter().filter_map(came).collect()
}

/// The plan in one word.
fn decision(plan: &Plan, source: &StampName) -> Right {
    if !plan.moves.is_empty() {
        return Right::Move;
    }
    for recommendation in &plan.recommendations {
        match recommendation {
            Recommendation::Isolate { .. } => return Right::Isolate,
            Recommendation::SpreadConnections { .. } => return Right::Spread,
            Recommendation::AddCapacity { .. } => return Right::Capacity,
            Recommendation::RightSize { .. } | Recommendation::DoNothing { .. } => {}
        }
    }
    let mut signals = plan.before.iter().filter(|pool| pool.stamp == *source).map(|pool| &pool.signal);
    let known = signals.all(|signal| signal.as_ref().is_some_and(|signal| signal.status == Status::Valid));
    if known { Right::Nothing } else { Right::Insufficient }
}

fn words(plan: &Plan) -> String {
    if !plan.moves.is_empty() {
        return String::new();
    }
    let advice = plan.recommendations.iter().map(ToString::to_string);
    let refusals = plan.refusals.iter().map(|refusal| refusal.words.clone());
    advice.chain(refusals).next().unwrap_or_default()
}

fn part(missing: f64, whole: f64) -> f64 {
    if whole > 0.0 { missing / whole } else { 0.0 }
}

#[cfg(test)]
mod tests;
