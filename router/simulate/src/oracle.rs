//! The best that there is: every subset of the largest registries, every way to place it.
//!
//! One oracle knows what a planner knows, and one knows the window that comes. Both disturb no more bytes than the plan
//! that they are compared with, so that only the choice differs.

use rand::rngs::Xoshiro256PlusPlus;

use crate::chance::{Purpose, stream};
use crate::planners::board::Board;
use crate::region::{Move, Region};
use crate::truth::{Draw, hottest, nearest_rank, percent};

/// The most candidates: 4096 subsets.
pub const CANDIDATES: usize = 12;
/// Draws of a destination's nodes.
const DRAWS: usize = 40;

/// What an oracle found.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// By the region's numbers.
    pub moves: Vec<Move>,
    /// The source's hot-node P95 then, in percent, by what the oracle knows.
    pub after: f64,
    /// Without any move.
    pub before: f64,
}

/// What an oracle has to keep to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The source, as a place in the region.
    pub source: usize,
    /// Hot-node P95 that a destination may have, in percent.
    pub destination: f64,
    /// Bytes a second, in the registries' busiest bins, that may be disturbed.
    pub bytes: f64,
    /// Sigma of a window's level: what is not known of the next one.
    pub level_sigma: f64,
}

/// The best on a planner's information. What the plan itself does counts as possible.
pub fn informed(
    region: &Region,
    board: &Fleet<'_>,
    plan: &[Move],
    bounds: Bounds,
    seed: u64,
) -> Option<Best> {
    let board = &board.0;
    let mut chance = stream(Purpose::Choice, &[seed, 1]);
    // Nineteen windows of twenty stay below.
    let margin = (1.645 * bounds.level_sigma).exp();
    let mut room = |stamp: usize, come: &[usize]| {
        board.rehashed(stamp, come, DRAWS, &mut chance) * margin <= bounds.destination
    };
    best(region, board, plan, bounds, &mut room)
}

/// The best for the window that really comes, which nobody knows beforehand.
///
/// # Errors
///
/// None in practice: all names are names.
pub fn clairvoyant(
    region: &Region,
    plan: &[Move],
    bounds: Bounds,
    draw: Draw,
) -> Result<Option<Best>, dataproxy_router_api::NameError> {
    let truth = region.run(draw);
    let fleet = region.fleet(&truth, draw)?;
    let mut board = Board::new(&fleet);
    board.know(region, &truth);
    let mut room = |stamp: usize, come: &[usize]| {
        let moves: Vec<Move> = come.iter().map(|&registry| (registry, stamp)).collect();
        let moved = region.moved(&board.places(region, &moves));
        let Some(stamp) = region.stamp(&fleet.stamps[stamp].name) else { return false };
        let pools = region.stamps[stamp].pools.iter();
        let mut p95 = pools.filter_map(|pool| moved.run_pool(draw, stamp, pool.role)).map(|pool| pool.p95());
        p95.all(|p95| p95 <= bounds.destination)
    };
    Ok(best(region, &board, plan, bounds, &mut room))
}

/// A fleet, looked at once.
#[derive(Debug)]
pub struct Fleet<'a>(Board<'a>);

impl<'a> Fleet<'a> {
    /// Looks at it.
    pub fn new(fleet: &'a dataproxy_planner::Fleet) -> Self {
        Self(Board::new(fleet))
    }
}

type Room<'a> = dyn FnMut(usize, &[usize]) -> bool + 'a;

fn best(
    region: &Region,
    board: &Board<'_>,
    plan: &[Move],
    bounds: Bounds,
    room: &mut Room<'_>,
) -> Option<Best> {
    let source =
        board.fleet.stamps.iter().position(|stamp| stamp.name == region.stamps[bounds.source].name)?;
    let numbers = |(registry, stamp): &Move| {
        let registry =
            board.fleet.registries.iter().position(|r| r.name == region.registries[*registry].name)?;
        Some((registry, board.fleet.stamps.iter().position(|s| s.name == region.stamps[*stamp].name)?))
    };
    let plan: Vec<Move> = plan.iter().filter_map(numbers).collect();
    let candidates = candidates(board, source, &plan);
    let bytes: Vec<f64> = candidates.iter().map(|&registry| board.registries[registry].bytes).collect();
    let mut found: Vec<(f64, u32)> = subsets(board, source, &candidates)
        .into_iter()
        .filter(|(_, subset)| {
            members(*subset).map(|at| bytes[at]).sum::<f64>() <= bounds.bytes * (1.0 + 1e-9)
        })
        .collect();
    found.sort_by(|one, other| one.0.total_cmp(&other.0));
    let open = board.open(source);
    let planned = |subset: u32| -> Option<Vec<Move>> {
        let set: Vec<usize> = members(subset).map(|at| candidates[at]).collect();
        let same = set.len() == plan.len() && plan.iter().all(|(registry, _)| set.contains(registry));
        same.then(|| plan.clone())
    };
    let mut known = std::collections::BTreeMap::new();
    let mut placed = |subset: u32| {
        let mut fits = |stamp: usize, part: u32| {
            *known.entry((stamp, part)).or_insert_with(|| {
                let come: Vec<usize> = members(part).map(|at| candidates[at]).collect();
                apart(board, stamp, &come) && (come.is_empty() || room(stamp, &come))
            })
        };
        let parts = place(subset, &open, &mut fits)?;
        Some(parts.into_iter().map(|(at, stamp)| (candidates[at], stamp)).collect::<Vec<Move>>())
    };
    let before = board.p95(source);
    let (after, moves) = found
        .into_iter()
        .find_map(|(after, subset)| Some((after, planned(subset).or_else(|| placed(subset))?)))?;
    Some(Best { moves: board.places(region, &moves), after, before })
}

/// What the plan moves, and beside it the largest that may move.
fn candidates(board: &Board<'_>, source: usize, plan: &[Move]) -> Vec<usize> {
    let mut candidates: Vec<usize> = plan.iter().map(|(registry, _)| *registry).collect();
    let mut others = board.movable(source);
    others.sort_by(|one, other| board.part(*other).total_cmp(&board.part(*one)));
    others.retain(|registry| !candidates.contains(registry));
    candidates.extend(others);
    candidates.truncate(CANDIDATES);
    candidates
}

fn members(subset: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |at| subset & (1 << at) != 0)
}

/// The source's P95 without each subset. Neighbours in Gray's code differ by one registry.
fn subsets(board: &Board<'_>, source: usize, candidates: &[usize]) -> Vec<(f64, u32)> {
    let pools = &board.stamps[source].pools;
    let mut busy: Vec<Vec<f32>> = pools.iter().map(|pool| pool.busy.clone()).collect();
    let mut found = Vec::with_capacity(1 << candidates.len());
    let mut gray = 0_u32;
    for step in 0..1_u32 << candidates.len() {
        let next = step ^ (step >> 1);
        let changed = gray ^ next;
        if changed != 0 {
            let registry = &board.registries[candidates[changed.trailing_zeros() as usize]];
            let sign = if next & changed == 0 { 1.0 } else { -1.0 };
            for (busy, share) in busy.iter_mut().zip(&registry.shares) {
                let Some(share) = share else { continue };
                busy.iter_mut().zip(share).for_each(|(busy, share)| *busy += sign * share);
            }
        }
        gray = next;
        let p95 = pools.iter().zip(&busy).map(|(pool, busy)| nearest_rank(hottest(busy, pool.bins), 0.95));
        found.push((percent(p95.fold(0.0, f32::max)), gray));
    }
    found
}

/// The first way to share a subset out over stamps such that each has room for its part: whole first, then split.
fn place(
    subset: u32,
    open: &[usize],
    fits: &mut impl FnMut(usize, u32) -> bool,
) -> Option<Vec<(usize, usize)>> {
    let whole = |part: u32, stamp: usize| members(part).map(move |at| (at, stamp));
    if let Some(&stamp) = open.iter().find(|&&stamp| fits(stamp, subset)) {
        return Some(whole(subset, stamp).collect());
    }
    // Two stamps: each of the splits, of which there are as many as subsets of the subset.
    let mut part = subset;
    while part > 0 {
        part = (part - 1) & subset;
        for &one in open {
            for &other in open.iter().filter(|&&other| other != one) {
                if part != 0 && fits(one, part) && fits(other, subset & !part) {
                    return Some(whole(part, one).chain(whole(subset & !part, other)).collect());
                }
            }
        }
    }
    None
}

/// Nothing comes to where something is that it has to be kept apart from.
fn apart(board: &Board<'_>, stamp: usize, come: &[usize]) -> bool {
    let registries = &board.fleet.registries;
    let there = |other: usize| board.registries[other].home == stamp || come.contains(&other);
    let foes = |one: usize, other: usize| {
        registries[one].keep_apart.contains(&registries[other].name)
            || registries[other].keep_apart.contains(&registries[one].name)
    };
    come.iter()
        .all(|&one| (0..registries.len()).all(|other| one == other || !there(other) || !foes(one, other)))
}

impl Board<'_> {
    /// P95 of a stamp's hottest pool with some registries, hashed afresh over its nodes: the median of draws.
    ///
    /// How much a registry's load differs from node to node tells how large its flows are, and so how much it will differ
    /// elsewhere: a bin's load is split by a Dirichlet with as many parts as it has flows of that size.
    fn rehashed(&self, stamp: usize, come: &[usize], draws: usize, chance: &mut Xoshiro256PlusPlus) -> f64 {
        let pools = self.stamps[stamp].pools.iter().enumerate();
        let p95 = pools.map(|(at, pool)| {
            let home = |registry: usize| &self.stamps[self.registries[registry].home].pools[at];
            let loads: Vec<(Vec<f64>, f64)> = come
                .iter()
                .filter_map(|&registry| {
                    let share = self.registries[registry].shares.get(at)?.as_deref()?;
                    Some(flows(share, home(registry).nodes, home(registry).bins))
                })
                .collect();
            let mut drawn: Vec<f64> = (0..draws).map(|_| pool.with_drawn(&loads, chance)).collect();
            drawn.sort_by(f64::total_cmp);
            drawn.get(draws / 2).copied().unwrap_or(pool.p95)
        });
        p95.fold(0.0, f64::max)
    }
}

/// A registry's load by bin, and the size of its flows: the mean square of their weights over their mean.
fn flows(share: &[f32], nodes: usize, bins: usize) -> (Vec<f64>, f64) {
    let mut load = vec![0.0_f64; bins];
    let mut squares = vec![0.0_f64; bins];
    for node in share.chunks(bins) {
        for (bin, value) in node.iter().enumerate() {
            load[bin] += f64::from(*value);
            squares[bin] += f64::from(*value).powi(2);
        }
    }
    let count = nodes.max(2) as f64;
    let apart: f64 = load.iter().zip(&squares).map(|(sum, square)| square - sum * sum / count).sum();
    let sum: f64 = load.iter().sum();
    let size = if sum > 0.0 { apart / (1.0 - 1.0 / count) / sum } else { 0.0 };
    (load, size)
}

impl crate::planners::board::PoolSeen {
    fn with_drawn(&self, loads: &[(Vec<f64>, f64)], chance: &mut Xoshiro256PlusPlus) -> f64 {
        let mut busy = self.busy.clone();
        let mut parts = vec![0.0_f64; self.nodes];
        for (load, size) in loads {
            for (bin, load) in load.iter().enumerate().filter(|(_, load)| **load > 0.0) {
                crate::chance::split(&mut parts, load / size.max(1e-9), chance);
                for (node, part) in parts.iter().enumerate() {
                    busy[node * self.bins + bin] += (load * part) as f32;
                }
            }
        }
        percent(nearest_rank(hottest(&busy, self.bins), 0.95))
    }
}

#[cfg(test)]
mod tests;
