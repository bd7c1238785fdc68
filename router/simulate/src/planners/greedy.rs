//! One registry after the other, until the source seems relieved.

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};

use super::Aim;
use super::board::Board;
use crate::chance::{Purpose, stream};
use crate::region::Move;

/// Takes registries in an order, each where `place` says, until `relieved` says so.
fn take(
    order: Vec<usize>,
    mut place: impl FnMut(usize, &[Move]) -> Option<usize>,
    relieved: impl Fn(&[usize]) -> bool,
) -> Vec<Move> {
    let (mut moves, mut gone) = (Vec::new(), Vec::new());
    for registry in order {
        if relieved(&gone) {
            break;
        }
        if let Some(stamp) = place(registry, &moves) {
            moves.push((registry, stamp));
            gone.push(registry);
        }
    }
    moves
}

fn coming(moves: &[Move], stamp: usize, registry: usize) -> Vec<usize> {
    let there = moves.iter().filter(|(_, to)| *to == stamp).map(|(registry, _)| *registry);
    there.chain([registry]).collect()
}

fn has_room(board: &Board<'_>, aim: Aim, moves: &[Move], registry: usize, stamp: usize) -> bool {
    board.with_even(stamp, &coming(moves, stamp, registry)) <= aim.destination
}

fn descending(mut registries: Vec<usize>, of: impl Fn(usize) -> f64) -> Vec<usize> {
    registries.sort_by(|one, other| of(*other).total_cmp(&of(*one)));
    registries
}

pub(super) fn random(board: &Board<'_>, from: usize, aim: Aim, seed: u64) -> Vec<Move> {
    let mut chance: Xoshiro256PlusPlus = stream(Purpose::Choice, &[seed]);
    let mut order = board.movable(from);
    order.shuffle(&mut chance);
    let open = board.open(from);
    let place = |registry, moves: &[Move]| {
        let rooms: Vec<usize> =
            open.iter().copied().filter(|&stamp| has_room(board, aim, moves, registry, stamp)).collect();
        (!rooms.is_empty()).then(|| rooms[chance.random_range(0..rooms.len())])
    };
    take(order, place, |gone| board.without(from, gone) <= aim.goal)
}

/// The idlest stamp on average, with what came already.
fn idlest(board: &Board<'_>, open: &[usize], moves: &[Move]) -> Vec<usize> {
    let load = |stamp: usize| {
        let come: f64 = moves
            .iter()
            .filter(|(_, to)| *to == stamp)
            .map(|(registry, _)| board.part(*registry) * board.average(board.registries[*registry].home))
            .sum();
        board.average(stamp) + come
    };
    let mut open = open.to_vec();
    open.sort_by(|one, other| load(*one).total_cmp(&load(*other)));
    open
}

pub(super) fn largest_first(board: &Board<'_>, from: usize, aim: Aim) -> Vec<Move> {
    let open = board.open(from);
    let order = descending(board.movable(from), |registry| board.registries[registry].bytes);
    let place = |registry, moves: &[Move]| {
        idlest(board, &open, moves).into_iter().find(|&stamp| has_room(board, aim, moves, registry, stamp))
    };
    take(order, place, |gone| board.without(from, gone) <= aim.goal)
}

pub(super) fn least_loaded(board: &Board<'_>, from: usize, aim: Aim) -> Vec<Move> {
    let open = board.open(from);
    let order = descending(board.movable(from), |registry| board.part(registry));
    let place = |_, moves: &[Move]| idlest(board, &open, moves).first().copied();
    take(order, place, |gone| board.without(from, gone) <= aim.goal)
}

pub(super) fn add_percentiles(board: &Board<'_>, from: usize, aim: Aim) -> Vec<Move> {
    let own: Vec<f64> = (0..board.registries.len()).map(|registry| board.own_p95(registry)).collect();
    let open = board.open(from);
    let order =
        descending(board.movable(from), |registry| own[registry] / board.registries[registry].bytes.max(1.0));
    let order = order.into_iter().filter(|&registry| board.part(registry) >= 0.02).collect();
    let place = |registry, moves: &[Move]| {
        let after = |stamp: &usize| {
            board.p95(*stamp) + coming(moves, *stamp, registry).iter().map(|&come| own[come]).sum::<f64>()
        };
        let best = open.iter().copied().min_by(|one, other| after(one).total_cmp(&after(other)))?;
        (after(&best) <= aim.destination).then_some(best)
    };
    let relieved =
        |gone: &[usize]| board.p95(from) - gone.iter().map(|&gone| own[gone]).sum::<f64>() <= aim.goal;
    take(order, place, relieved)
}

pub(super) fn scale_by_share(board: &Board<'_>, from: usize, aim: Aim) -> Vec<Move> {
    let open = board.open(from);
    let part = |registry: usize| board.part(registry);
    let order = descending(board.movable(from), |registry| {
        part(registry) / board.registries[registry].bytes.max(1.0)
    });
    let order = order.into_iter().filter(|&registry| part(registry) >= 0.02).collect();
    let nodes = |stamp: usize| board.stamps[stamp].pools.iter().map(|pool| pool.nodes).sum::<usize>() as f64;
    let place = |registry, moves: &[Move]| {
        let after = |stamp: &usize| {
            let come: f64 = coming(moves, *stamp, registry).iter().map(|&come| part(come)).sum();
            board.p95(*stamp) + come * board.p95(from) * nodes(from) / nodes(*stamp)
        };
        let best = open.iter().copied().min_by(|one, other| after(one).total_cmp(&after(other)))?;
        (after(&best) <= aim.destination).then_some(best)
    };
    let relieved = |gone: &[usize]| {
        board.p95(from) * (1.0 - gone.iter().map(|&gone| part(gone)).sum::<f64>()) <= aim.goal
    };
    take(order, place, relieved)
}
