//! The best that there is: every subset of the largest registries, every way to place it.
//!
//! One oracle knows what a planner knows, and one knows the window that comes. Both disturb no more bytes than the plan
//! that they are compared with, so that only the choice differs.

use dataproxy_planner::{Fleet, Policy};

use crate::planners::board::Board;
use crate::region::{Move, Region};
use crate::truth::{Draw, hottest, nearest_rank, percent};

/// The most candidates: 4096 subsets.
pub const CANDIDATES: usize = 12;

/// What an oracle found.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// By the region's numbers.
    pub moves: Vec<Move>,
    /// The source's hot-node P95 then, in percent, by what the oracle knows.
    pub after: f64,
    /// Without any move.
    pub before: f64,
    /// With the plan's moves.
    pub planned: f64,
    /// The fewest bytes a second by which the source gets as cool as by the plan, over the plan's.
    pub least_bytes: Option<f64>,
}

/// What an oracle has to keep to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The source, as a place in the region.
    pub source: usize,
    /// Hot-node P95 that a destination may have, in percent.
    pub destination: f64,
    /// Bytes a second, in the registries' busiest bins, that may be disturbed; as many as the plan's if absent.
    pub bytes: Option<f64>,
    /// A registry that moves has at least this part of its pool's CPU.
    pub smallest: f64,
}

/// The best on a planner's information, with the planner's own predictions and limits: only the choice differs. What the
/// plan itself does counts as possible; one with more moves than there are candidates has nothing to be compared with.
pub fn informed(
    region: &Region,
    fleet: &Fleet,
    policy: &Policy,
    plan: &[Move],
    bounds: Bounds,
    seed: u64,
) -> Option<Best> {
    let board = Board::new(fleet);
    // As many draws as the planner has while it compares.
    let hurried = Policy { draws: policy.draws_search, ..policy.clone() };
    let mut room = |stamp: usize, come: &[usize]| {
        let to = &fleet.stamps[stamp].name;
        let moves: Vec<_> =
            come.iter().map(|&one| (fleet.registries[one].name.clone(), to.clone())).collect();
        dataproxy_planner::predict(fleet, &hurried, &moves, seed).is_ok_and(|predictions| {
            predictions.iter().filter(|prediction| prediction.stamp == *to).all(|prediction| {
                prediction.after.hi * 100.0 <= bounds.destination
                    && prediction.node_lost.max(prediction.cold) <= policy.node_lost
            })
        })
    };
    best(region, &board, plan, bounds, &mut room)
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
    if plan.len() > CANDIDATES {
        return None;
    }
    let candidates = candidates(board, source, &plan, bounds.smallest);
    let bytes: Vec<f64> = candidates.iter().map(|&registry| board.registries[registry].bytes).collect();
    let gone: Vec<usize> = plan.iter().map(|(registry, _)| *registry).collect();
    let spent: f64 = gone.iter().map(|&registry| board.registries[registry].bytes).sum();
    let budget = bounds.bytes.unwrap_or(spent) * (1.0 + 1e-9);
    let of_subset = |subset: u32| members(subset).map(|at| bytes[at]).sum::<f64>();
    let mut found = subsets(board, source, &candidates);
    found.retain(|(_, subset)| of_subset(*subset) <= budget);
    found.sort_by(|one, other| one.0.total_cmp(&other.0));
    let open = board.open(source);
    let planned = |subset: u32| -> Option<Vec<Move>> {
        let set: Vec<usize> = members(subset).map(|at| candidates[at]).collect();
        let same = set.len() == plan.len() && plan.iter().all(|(registry, _)| set.contains(registry));
        same.then(|| plan.clone())
    };
    // A part of what fits does too, and what contains too much is too much.
    let mut fitting: Vec<(usize, u32)> = Vec::new();
    let mut too_much: Vec<(usize, u32)> = Vec::new();
    let mut placed = |subset: u32| {
        let mut fits = |stamp: usize, part: u32| {
            if fitting.iter().any(|(at, known)| *at == stamp && part & !known == 0) {
                return true;
            }
            if too_much.iter().any(|(at, known)| *at == stamp && known & !part == 0) {
                return false;
            }
            let come: Vec<usize> = members(part).map(|at| candidates[at]).collect();
            let fits = apart(board, stamp, &come)
                && board.with_even(stamp, &come) <= bounds.destination
                && room(stamp, &come);
            if fits { &mut fitting } else { &mut too_much }.push((stamp, part));
            fits
        };
        let parts = place(subset, &open, &mut fits)?;
        Some(parts.into_iter().map(|(at, stamp)| (candidates[at], stamp)).collect::<Vec<Move>>())
    };
    let mut moves = |subset: u32| planned(subset).or_else(|| placed(subset));
    let (after, moved) = found.iter().find_map(|(after, subset)| Some((*after, moves(*subset)?)))?;
    let as_planned = board.without(source, &gone);
    let mut enough: Vec<u32> =
        found.iter().filter(|(after, _)| *after <= as_planned + 1e-3).map(|(_, subset)| *subset).collect();
    enough.sort_by(|one, other| of_subset(*one).total_cmp(&of_subset(*other)));
    let least = enough.into_iter().find(|subset| moves(*subset).is_some());
    Some(Best {
        moves: board.places(region, &moved),
        after,
        before: board.p95(source),
        planned: as_planned,
        least_bytes: least.map(|subset| of_subset(subset) / spent).filter(|part| part.is_finite()),
    })
}

/// What the plan moves, and beside it the largest that may move.
fn candidates(board: &Board<'_>, source: usize, plan: &[Move], smallest: f64) -> Vec<usize> {
    let mut candidates: Vec<usize> = plan.iter().map(|(registry, _)| *registry).collect();
    let mut others = board.movable(source);
    others.sort_by(|one, other| board.part(*other).total_cmp(&board.part(*one)));
    others.retain(|registry| !candidates.contains(registry) && board.part(*registry) >= smallest);
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

#[cfg(test)]
mod tests;
