//! Relief of a hot stamp: whether it is hot, whether moves are the cure, which, and why not the others.

use std::collections::BTreeMap;

use dataproxy_router_api::StampName;

use super::heat::{calm, cool, is_hot};
use super::{Outcome, refusal, rest, stays, unknown};
use crate::advice;
use crate::effect::Homes;
use crate::load::World;
use crate::plan::{Code, Recommendation, Why};
use crate::predict::Predictor;
use crate::relieve::{Chosen, Hot, Relief};
use crate::rules::{self, percent};
use crate::signal::Status;

/// The hottest stamp that has been hot for long enough.
pub(super) fn balance(predictor: &Predictor<'_, '_>) -> Outcome {
    let world = predictor.world;
    let stamps = 0..world.fleet.stamps.len();
    let hot = stamps.clone().filter(|stamp| world.pools_of(*stamp).any(|pool| is_hot(world, pool)));
    let heat = |stamp: &usize| rules::hottest_before(world, *stamp).unwrap_or(0.0);
    let hottest = hot.max_by(|one, other| heat(one).total_cmp(&heat(other)).then(other.cmp(one)));
    if let Some(stamp) = hottest {
        return relieved(predictor, stamp, &[], world.policy.goal);
    }
    let mut outcome = Outcome::default();
    for pool in stamps.flat_map(|stamp| world.pools_of(stamp)) {
        let (name, role) = (&world.stamp_of(pool).name, world.pools[pool].pool.role.as_str());
        match &world.pools[pool].signal {
            Err(bad) => outcome.notes.push(format!("{name} {role} has no signal: {bad}")),
            Ok(signal) => {
                if let Status::Insufficient { why } = &signal.status {
                    outcome.notes.push(format!("{name} {role} has no signal: {why}"));
                }
            }
        }
    }
    outcome.recommendations.push(Recommendation::DoNothing { why: calm(world) });
    outcome
}

/// A stamp that someone wants to be relieved.
pub(super) fn relieve(
    predictor: &Predictor<'_, '_>,
    stamp: &StampName,
    to: &[StampName],
    p95: Option<f64>,
) -> Outcome {
    let world = predictor.world;
    let mut outcome = Outcome::default();
    let goal = p95.unwrap_or(world.policy.goal);
    if !(0.0..=1.0).contains(&goal) {
        let words = format!("a P95 of {goal} is asked for; it has to be from 0 to 1");
        outcome.refusals.push(refusal(
            stamp.as_str(),
            (Code::Unknown, words),
            "ask for a part of a node's cores",
        ));
    }
    let names = std::iter::once(stamp).chain(to);
    let strangers = names.filter(|name| world.stamp(name).is_none());
    outcome.refusals.extend(strangers.map(|name| unknown("stamp", name.as_str())));
    let Some(place) = world.stamp(stamp).filter(|_| outcome.refusals.is_empty()) else { return outcome };
    relieved(predictor, place, to, goal)
}

fn relieved(predictor: &Predictor<'_, '_>, stamp: usize, to: &[StampName], goal: f64) -> Outcome {
    let world = predictor.world;
    let mut outcome = Outcome { why: Some(Why::Relief), ..Outcome::default() };
    let name = &world.fleet.stamps[stamp].name;
    if let Err(broken) = rules::may_change(&world.fleet.stamps[stamp], Code::SourceHeld) {
        outcome.refusals.push(refusal(name.as_str(), broken, "wait until the rollout or incident is over"));
        return outcome;
    }
    let mut hot = Vec::new();
    for pool in world.pools_of(stamp) {
        let role = world.pools[pool].pool.role.as_str();
        let broken = match &world.pools[pool].signal {
            Err(bad) => bad.clone(),
            Ok(signal) => match &signal.status {
                Status::Insufficient { why } => why.clone(),
                Status::Valid => {
                    if signal.p95 > goal {
                        hot.push(Hot { pool, before: signal.p95 });
                    }
                    continue;
                }
            },
        };
        let remedy = "repair the nodes' reports, and wait for a whole window";
        outcome.refusals.push(refusal(
            name.as_str(),
            (Code::NoSignal, format!("{name} {role}: {broken}")),
            remedy,
        ));
    }
    if !outcome.refusals.is_empty() {
        return outcome;
    }
    if hot.is_empty() {
        outcome.recommendations.push(Recommendation::DoNothing { why: cool(world, stamp, goal) });
        return outcome;
    }
    let spreads: Vec<_> = hot.iter().map(|hot| advice::spread(world, *hot, goal)).collect();
    let cured = spreads.iter().all(|spread| spread.as_ref().is_some_and(|(_, cured)| *cured));
    outcome.recommendations.extend(spreads.into_iter().flatten().map(|(spread, _)| spread));
    if cured {
        outcome.notes.push("no move cures a node that gets more connections than the others".into());
        return outcome;
    }
    choose(predictor, &mut outcome, stamp, to, (hot, goal));
    outcome
}

fn choose(
    predictor: &Predictor<'_, '_>,
    outcome: &mut Outcome,
    stamp: usize,
    to: &[StampName],
    (hot, goal): (Vec<Hot>, f64),
) {
    let world = predictor.world;
    let others: Vec<usize> = (0..world.fleet.stamps.len()).filter(|other| *other != stamp).collect();
    let (asked, not): (Vec<usize>, Vec<usize>) =
        others.iter().partition(|other| to.is_empty() || to.contains(&world.fleet.stamps[**other].name));
    let residents: Vec<usize> =
        (0..world.fleet.registries.len()).filter(|registry| world.home(*registry) == Some(stamp)).collect();
    for other in not {
        let broken = (Code::NotAsked, "not among the destinations that were named".into());
        outcome.rejected.push(stays(world, &residents, Some(other), broken));
    }
    let candidates = candidates(world, outcome, &residents);
    let mut found = Found::of(predictor, &hot, goal, candidates.clone(), &asked);
    if found.moves {
        outcome.homes = found.homes.clone();
    }
    if !found.moves || !found.reached {
        let rejected = outcome.rejected.iter().map(|one| one.code);
        let passes = rejected.chain(found.relief.rejected.values().map(|(code, _)| *code)).any(rest::passes);
        let wait = (passes && found.whales.is_empty())
            .then(|| rest::wait(predictor, &residents, &asked, (&hot, goal), found.moves));
        match wait.flatten() {
            Some(why) if found.moves => outcome.notes.push(why),
            Some(why) => outcome.recommendations.push(Recommendation::DoNothing { why }),
            None => instead(predictor, outcome, &mut found, stamp, (&hot, goal)),
        }
    }
    reject(world, outcome, &found, &candidates, &asked);
}

/// The best set of moves that was found, and whether it is worth it.
pub(super) struct Found<'p, 'w, 'a> {
    relief: Relief<'p, 'w, 'a>,
    pub(super) homes: Homes,
    pub(super) reached: bool,
    /// Registries that are more than half of the heat, or what the policy says of it.
    whales: Vec<usize>,
    /// How much cooler the source becomes.
    better: f64,
    /// Whether it is a plan. Where one registry is most of the heat, moving its neighbours is one only if that alone
    /// reaches the goal.
    pub(super) moves: bool,
}

impl<'p, 'w, 'a> Found<'p, 'w, 'a> {
    pub(super) fn of(
        predictor: &'p Predictor<'w, 'a>,
        hot: &[Hot],
        goal: f64,
        candidates: Vec<usize>,
        asked: &[usize],
    ) -> Self {
        let policy = predictor.world.policy;
        let mut relief = Relief::new(predictor, hot.to_vec(), goal, candidates.clone(), asked);
        let whale = |one: &usize| relief.concentration(*one) > policy.concentration;
        let whales: Vec<usize> = candidates.into_iter().filter(whale).collect();
        let Chosen { homes, reached } = relief.choose();
        let better = gains(predictor, hot, &homes);
        let shared = homes.keys().any(|one| whales.contains(one));
        let enough = reached || (whales.is_empty() && better >= policy.transfer);
        let moves = !homes.is_empty() && !shared && enough;
        Self { relief, homes, reached, whales, better, moves }
    }
}

/// What to do where moves do not reach the goal. A plan that isolates moves nothing, and one that moves does not
/// isolate: each is judged by what comes of it before the other is looked at.
fn instead(
    predictor: &Predictor<'_, '_>,
    outcome: &mut Outcome,
    found: &mut Found<'_, '_, '_>,
    stamp: usize,
    (hot, goal): (&[Hot], f64),
) {
    let world = predictor.world;
    let before = hot.iter().map(|hot| hot.before).fold(0.0, f64::max);
    let relief = &mut found.relief;
    if let Some(&whale) = found.whales.first() {
        let name = &world.fleet.registries[whale].name;
        let part = percent(relief.concentration(whale));
        let why = format!(
            "{name} alone is {part} of what the hottest node does: on a shared stamp it would be the same again"
        );
        outcome.recommendations.push(advice::isolate(world, stamp, &found.whales, why));
        if !found.homes.is_empty() && !found.homes.contains_key(&whale) {
            outcome.notes.push(format!(
                "moving its neighbours would take {:.1} points off the P95 of {}, and not reach {}: they stay until {name} is isolated",
                found.better.max(0.0) * 100.0,
                percent(before),
                percent(goal)
            ));
        }
        return;
    }
    if let Some(more) = advice::capacity(predictor) {
        outcome.recommendations.push(more);
        return;
    }
    let why = if relief.movable().is_empty() {
        let reasons: Vec<String> = relief.reasons().into_iter().take(3).collect();
        format!("moving them would move the problem: {}", reasons.join("; "))
    } else {
        let (before, goal) = (percent(before), percent(goal));
        format!("what other stamps can take does not bring the P95 of {before} to {goal}")
    };
    if let Some(set) = relief.sufficient().filter(|set| !set.is_empty()) {
        let isolate = advice::isolate(world, stamp, &set, why);
        if found.moves {
            outcome.notes.push(format!("if it is still hot after these moves: {isolate}"));
        } else {
            outcome.recommendations.push(isolate);
        }
    } else {
        outcome.notes.push(format!("no set of registries that may move brings the P95 to {}", percent(goal)));
        outcome.recommendations.extend(advice::more_nodes(world, stamp, hot, goal));
    }
}

/// The registries that may move and matter, the largest first; the others are rejected.
pub(super) fn candidates(world: &World<'_>, outcome: &mut Outcome, residents: &[usize]) -> Vec<usize> {
    let policy = world.policy;
    let mut sized: Vec<(f64, usize)> = Vec::new();
    let (mut small, mut unmeasured) = (Vec::new(), Vec::new());
    for &registry in residents {
        let known = &world.fleet.registries[registry];
        let share = world.share(registry);
        if !known.measured {
            unmeasured.push(registry);
        } else if share < policy.smallest {
            small.push(registry);
        } else if let Err(broken) = rules::may_leave(world, known) {
            outcome.rejected.push(stays(world, &[registry], None, broken));
        } else {
            sized.push((share, registry));
        }
    }
    let words = format!("each has less than {} of the stamp's CPU", percent(policy.smallest));
    let groups = [
        (small, (Code::TooSmall, words)),
        (
            unmeasured,
            (Code::Unmeasured, "not measured for the whole window: nobody knows what a move would do".into()),
        ),
    ];
    for (group, broken) in groups {
        if !group.is_empty() {
            outcome.rejected.push(stays(world, &group, None, broken));
        }
    }
    sized.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    let beyond: Vec<usize> =
        sized.drain((policy.candidates as usize).min(sized.len())..).map(|(_, one)| one).collect();
    if !beyond.is_empty() {
        let words = format!("the {} largest are considered", policy.candidates);
        outcome.rejected.push(stays(world, &beyond, None, (Code::TooSmall, words)));
    }
    sized.into_iter().map(|(_, registry)| registry).collect()
}

/// How much cooler the hottest pool becomes.
fn gains(predictor: &Predictor<'_, '_>, hot: &[Hot], homes: &Homes) -> f64 {
    let leaving: Vec<usize> = homes.keys().copied().collect();
    let draws = predictor.world.policy.draws;
    let after = |hot: &Hot| predictor.forecast(hot.pool, &leaving, &[], draws).interval().median;
    let most = |figures: &mut dyn Iterator<Item = f64>| figures.fold(0.0, f64::max);
    most(&mut hot.iter().map(|hot| hot.before)) - most(&mut hot.iter().map(after))
}

/// Why each candidate does not go to each destination.
fn reject(
    world: &World<'_>,
    outcome: &mut Outcome,
    found: &Found<'_, '_, '_>,
    candidates: &[usize],
    asked: &[usize],
) {
    let isolated = (!found.moves).then(|| found.whales.first()).flatten();
    let mut grouped: BTreeMap<(usize, Code, String), Vec<usize>> = BTreeMap::new();
    for &registry in candidates {
        for &to in asked {
            if outcome.homes.get(&registry) == Some(&to) {
                continue;
            }
            let alone = found.relief.rejected.get(&(registry, to)).cloned();
            let (code, words) = alone.unwrap_or_else(|| {
                if found.whales.contains(&registry) {
                    (Code::Transfer, "it would be the same problem there".into())
                } else if let Some(whale) = isolated {
                    let name = &world.fleet.registries[*whale].name;
                    (Code::NotNeeded, format!("{name} is to be isolated first: it is most of the heat"))
                } else if outcome.homes.contains_key(&registry) {
                    (Code::NotNeeded, "it goes to a better place".into())
                } else if outcome.homes.is_empty() {
                    (
                        Code::Transfer,
                        "it alone does not reach the goal, and not enough others may move".into(),
                    )
                } else {
                    (Code::NotNeeded, "the goal is reached, or nearer, with less".into())
                }
            });
            grouped.entry((to, code, words)).or_default().push(registry);
        }
    }
    let rejected =
        grouped.into_iter().map(|((to, code, words), ones)| stays(world, &ones, Some(to), (code, words)));
    outcome.rejected.extend(rejected);
}
