//! All of a tenant at once, and all stamps at once.

use std::collections::BTreeMap;

use super::Aim;
use super::board::Board;
use crate::region::Move;

/// The tenant with the most load goes, with all its registries, wherever they are.
pub(super) fn manual(board: &Board<'_>, from: usize) -> Vec<Move> {
    let tenant = |registry: usize| board.fleet.registries[registry].tenant.as_deref();
    let mut parts: BTreeMap<Option<&str>, f64> = BTreeMap::new();
    for registry in board.movable(from) {
        *parts.entry(tenant(registry)).or_default() += board.part(registry);
    }
    let most = parts.iter().max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(tenant, _)| *tenant);
    let of_tenant = |registry: &usize| Some(tenant(*registry)) == most && board.registries[*registry].movable;
    let open = board.open(from);
    let own = open.iter().copied().find(|&stamp| board.stamps[stamp].isolation);
    let coolest = || open.iter().copied().min_by(|one, other| board.p95(*one).total_cmp(&board.p95(*other)));
    let Some(to) = own.or_else(coolest) else { return Vec::new() };
    let goes = |registry: &usize| board.registries[*registry].home != to;
    (0..board.registries.len()).filter(of_tenant).filter(goes).map(|registry| (registry, to)).collect()
}

/// Stamps above 1.1 × the mean give, densest registries first, to the idlest that stays below; a stamp that gets may not
/// go above the capacity, on average.
pub(super) fn balance(board: &Board<'_>, aim: Aim) -> Vec<Move> {
    let mut loads: Vec<f64> = (0..board.stamps.len()).map(|stamp| board.average(stamp)).collect();
    let upper = 1.1 * loads.iter().sum::<f64>() / loads.len().max(1) as f64;
    let mut moves = Vec::new();
    for from in 0..board.stamps.len() {
        if board.stamps[from].held {
            continue;
        }
        let load = |registry: usize| board.part(registry) * board.average(from);
        let mut registries = board.movable(from);
        registries.sort_by(|one, other| load(*other).total_cmp(&load(*one)));
        for registry in registries {
            if loads[from] <= upper {
                break;
            }
            let size = load(registry);
            let open = board.open(from).into_iter();
            let to = open.min_by(|one, other| loads[*one].total_cmp(&loads[*other]));
            if let Some(to) = to.filter(|&to| loads[to] + size <= upper.min(aim.destination)) {
                loads[from] -= size;
                loads[to] += size;
                moves.push((registry, to));
            }
        }
    }
    moves
}
