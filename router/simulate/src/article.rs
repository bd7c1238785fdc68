//! The article's example, planned from raw telemetry and carried out phase by phase.
//!
//! The planner is given a fleet and "isolate this tenant"; which registries move, in which phases and in which order is
//! its own doing. Every phase is looked at in a peak window of its own, which nobody had seen.

pub mod fitted;
mod plot;
mod table;

use std::collections::BTreeMap;

use dataproxy_planner::{Goal, PhaseKind, Plan, Policy};
use serde::Serialize;

use crate::error::SimulateError;
use crate::judge::{Scored, moves, scored};
use crate::region::Region;
use crate::report::{Accuracy, Mark, mean};
use crate::truth::Draw;
use fitted::POOLS;

/// The example over all seeds.
#[derive(Debug, Serialize)]
pub struct Article {
    /// Seeds, from 1 to this.
    pub seeds: u64,
    /// Before anything moved, then after each step.
    pub steps: Vec<Step>,
    /// Predictions of the last step at the stamps that registries left.
    pub source: Accuracy,
    /// And at the one that they came to.
    pub destination: Accuracy,
    /// The isolation stamp's P95 at the end, in percent, by pool.
    pub isolation: Vec<(&'static str, f64)>,
    /// Goals.
    pub marks: Vec<Mark>,
}

/// What is seen after some phases, as means over seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// What moved last.
    pub name: String,
    /// Registries that moved in it.
    pub registries: f64,
    /// Phases that it took.
    pub phases: f64,
    /// Hours that were watched afterwards, altogether.
    pub watched_hours: f64,
    /// The pools of [`fitted::POOLS`].
    pub pools: [Seen; 4],
}

/// A pool after a step, as means over seeds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Seen {
    /// Hot-node P95 in percent.
    pub p95: f64,
    /// Its standard deviation over seeds.
    pub p95_sigma: f64,
    /// The busiest bin of the busiest node, in percent.
    pub max: f64,
    /// The median that the plan predicted for P95, in percent; what was measured, before anything moved.
    pub predicted: f64,
}

/// One seed's sight after one step.
#[derive(Clone, Debug, Default)]
struct Sight {
    registries: usize,
    phases: usize,
    watched_hours: f64,
    pools: [(f64, f64, f64); 4],
}

/// Plans and carries out the example with each seed.
///
/// # Errors
///
/// Where the planner refuses its input.
pub fn run(seeds: u64, policy: &Policy) -> Result<Article, SimulateError> {
    let region = fitted::region()?;
    let mut sights: BTreeMap<String, Vec<Sight>> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    let (mut last, mut isolation) = (Vec::new(), BTreeMap::<_, Vec<f64>>::new());
    let mut as_ordered = 0;
    for seed in 1..=seeds {
        let plan = isolate(&region, policy, seed)?;
        as_ordered += u64::from(in_order(&plan));
        let (steps, at_the_end) = carry_out(&region, &plan, seed);
        for (name, sight) in steps {
            if !order.contains(&name) {
                order.push(name.clone());
            }
            sights.entry(name).or_default().push(sight);
        }
        for pool in &region.stamps[fitted::ISOLATION].pools {
            let p95 = at_the_end.pool(fitted::ISOLATION, pool.role).map_or(0.0, crate::truth::PoolTruth::p95);
            isolation.entry(pool.role.as_str()).or_default().push(p95);
        }
        last.extend(scored(&region, &plan, &at_the_end));
    }
    let steps: Vec<Step> = order.into_iter().map(|name| step(&sights[&name], name.clone())).collect();
    let marks = marks(&steps, as_ordered, seeds);
    let of_end =
        |source: bool| Accuracy::of(last.iter().filter(move |scored: &&Scored| scored.source == source));
    Ok(Article {
        seeds,
        marks,
        source: of_end(true),
        destination: of_end(false),
        isolation: isolation.into_iter().map(|(role, p95)| (role, mean(p95))).collect(),
        steps,
    })
}

fn isolate(region: &Region, policy: &Policy, seed: u64) -> Result<Plan, SimulateError> {
    let draw = Draw { seed, day: 0 };
    let fleet = region.fleet(&region.run(draw), draw)?;
    let goal = Goal::Isolate {
        tenant: format!("tenant-{}", fitted::CUSTOMER),
        from: vec![region.stamps[fitted::A].name.clone(), region.stamps[fitted::B].name.clone()],
        to: region.stamps[fitted::ISOLATION].name.clone(),
    };
    Ok(dataproxy_planner::plan(&fleet, policy, &goal, seed)?)
}

/// Idle ones first, then medium ones, then large ones alone; each kind from small to large, watched for 24 and 48 hours.
fn in_order(plan: &Plan) -> bool {
    let share = |name| {
        plan.moves.iter().find(|planned| planned.registry == name).map_or(0.0, |planned| planned.share)
    };
    let kinds = plan.phases.is_sorted_by_key(|phase| phase.kind);
    let watched = plan.phases.iter().all(|phase| match phase.kind {
        PhaseKind::Large => phase.registries.len() == 1 && phase.observe_seconds >= 48 * 3600,
        PhaseKind::Idle | PhaseKind::Medium => phase.observe_seconds >= 24 * 3600,
    });
    let large = plan.phases.iter().filter(|phase| phase.kind == PhaseKind::Large);
    let large: Vec<f64> = large.flat_map(|phase| &phase.registries).map(|name| share(name.clone())).collect();
    kinds && watched && large.is_sorted() && large.len() == 4 && plan.moves.len() == 40
}

/// The sights after idle, medium and each large phase, and the truth at the end.
fn carry_out(region: &Region, plan: &Plan, seed: u64) -> (Vec<(String, Sight)>, crate::truth::Truth) {
    let all = moves(region, plan);
    let mut truth = region.run(Draw { seed, day: 0 });
    let mut sight = Sight { pools: seen(region, &truth, None), ..Sight::default() };
    let mut steps = vec![("before".to_owned(), sight.clone())];
    let (mut moved, mut hours, mut large) = (0, 0.0, 0);
    for (number, phase) in plan.phases.iter().enumerate() {
        moved += phase.registries.len();
        hours += phase.observe_seconds as f64 / 3600.0;
        truth = region.moved(&all[..moved.min(all.len())]).run(Draw { seed, day: 1 + number as i32 });
        let name = match phase.kind {
            PhaseKind::Idle => "idle".to_owned(),
            PhaseKind::Medium => "medium".to_owned(),
            PhaseKind::Large => {
                large += 1;
                format!("large {large}")
            }
        };
        let same = steps.last().is_some_and(|(last, _)| *last == name);
        let (registries, phases) = if same { (sight.registries, sight.phases) } else { (0, 0) };
        sight = Sight {
            registries: registries + phase.registries.len(),
            phases: phases + 1,
            watched_hours: hours,
            pools: seen(region, &truth, Some(phase)),
        };
        if same {
            steps.pop();
        }
        steps.push((name, sight.clone()));
    }
    (steps, truth)
}

/// P95, Max and predicted P95 of the four pools, in percent.
fn seen(
    region: &Region,
    truth: &crate::truth::Truth,
    phase: Option<&dataproxy_planner::Phase>,
) -> [(f64, f64, f64); 4] {
    POOLS.map(|fit| {
        let Some(pool) = truth.pool(fit.stamp, fit.role) else { return (0.0, 0.0, 0.0) };
        let stamp = &region.stamps[fit.stamp].name;
        let predicted = phase.and_then(|phase| {
            let of_pool = |p: &&dataproxy_planner::Prediction| p.stamp == *stamp && p.role == fit.role;
            phase.predictions.iter().find(of_pool)
        });
        let predicted = predicted.map_or(pool.p95(), |prediction| prediction.after.median * 100.0);
        (pool.p95(), pool.max(), predicted)
    })
}

fn step(sights: &[Sight], name: String) -> Step {
    let pool = |at: usize| {
        let p95 = mean(sights.iter().map(|sight| sight.pools[at].0));
        Seen {
            p95,
            p95_sigma: mean(sights.iter().map(|sight| (sight.pools[at].0 - p95).powi(2))).sqrt(),
            max: mean(sights.iter().map(|sight| sight.pools[at].1)),
            predicted: mean(sights.iter().map(|sight| sight.pools[at].2)),
        }
    };
    Step {
        name,
        registries: mean(sights.iter().map(|sight| sight.registries as f64)),
        phases: mean(sights.iter().map(|sight| sight.phases as f64)),
        watched_hours: mean(sights.iter().map(|sight| sight.watched_hours)),
        pools: [pool(0), pool(1), pool(2), pool(3)],
    }
}

fn marks(steps: &[Step], as_ordered: u64, seeds: u64) -> Vec<Mark> {
    let mut marks = vec![Mark {
        goal: "all 40 registries move: idle, then medium, then the top four one by one, smallest first, watched for 24 and 48 h"
            .into(),
        came: format!("{as_ordered} of {seeds} plans"),
        passed: as_ordered == seeds,
    }];
    let (Some(before), Some(after)) = (steps.first(), steps.last()) else { return marks };
    for (at, fit) in POOLS.iter().enumerate() {
        let (before, after) = (before.pools[at], after.pools[at]);
        let wanted = fit.before * (1.0 + fit.change / 100.0);
        marks.push(Mark {
            goal: format!("{}: P95 {:+.0} %, within 2 points of {wanted:.1}", fit.name(), fit.change),
            came: format!(
                "{:.1} → {:.1} ({:+.1} %)",
                before.p95,
                after.p95,
                (after.p95 / before.p95 - 1.0) * 100.0
            ),
            passed: (after.p95 - wanted).abs() <= 2.0,
        });
        let (goal, wanted) = fit.max_goal();
        let passed = match wanted {
            fitted::MaxGoal::FromTo(from, to) => {
                (before.max - from).abs() <= 2.0 && (after.max - to).abs() <= 2.0
            }
            fitted::MaxGoal::By(points) => (after.max - before.max - points).abs() <= 1.0,
        };
        let came = format!("{:.1} → {:.1} ({:+.1} points)", before.max, after.max, after.max - before.max);
        marks.push(Mark { goal: format!("{}: {goal}", fit.name()), came, passed });
    }
    marks
}

#[cfg(test)]
mod tests;
