//! Moves in phases: those that hardly matter first, the large ones alone and last, the smallest of them before the
//! largest, so that each phase is proven by the ones before.

use std::collections::BTreeMap;

use dataproxy_router_api::Role;

use crate::effect::Homes;
use crate::load::World;
use crate::plan::{Phase, PhaseKind};
use crate::predict::Predictor;

/// What decides a registry's phase.
struct Sized {
    registry: usize,
    /// Its part of its home's CPU.
    share: f64,
    /// Its part of what moves.
    of_all: f64,
    kind: PhaseKind,
}

/// The phases of a set of moves, with the pools after each.
pub(crate) fn phases(predictor: &Predictor<'_, '_>, homes: &Homes) -> Vec<Phase> {
    let world = predictor.world;
    let mut done = Homes::new();
    let mut phases = Vec::new();
    for batch in batches(world, sized(world, homes)) {
        let kind = batch[0].kind;
        let before = done.clone();
        done.extend(batch.iter().map(|one| (one.registry, homes[&one.registry])));
        let name = |one: &Sized| world.fleet.registries[one.registry].name.clone();
        let policy = world.policy;
        phases.push(Phase {
            index: phases.len() as u32 + 1,
            kind,
            registries: batch.iter().map(name).collect(),
            share: batch.iter().map(|one| one.of_all).sum::<f64>().min(1.0),
            observe_seconds: if kind == PhaseKind::Large { policy.observe_large } else { policy.observe },
            predictions: predictor.predictions(&done, homes),
            // Idle ones are the proof for what comes after them.
            warnings: if kind == PhaseKind::Idle { Vec::new() } else { warnings(world, &before, &done) },
        });
    }
    phases
}

fn sized(world: &World<'_>, homes: &Homes) -> Vec<Sized> {
    let mut moving: BTreeMap<Role, f64> = BTreeMap::new();
    let each = |registry: usize| {
        let home = world.home(registry);
        let pools = home.into_iter().flat_map(|home| world.pools_of(home));
        pools.map(move |pool| {
            let load = &world.pools[pool];
            (load.pool.role, load.mean(registry, &world.fleet.registries[registry]))
        })
    };
    for &registry in homes.keys() {
        each(registry).for_each(|(role, cores)| *moving.entry(role).or_default() += cores);
    }
    let size = |&registry: &usize| {
        let part = |(role, cores): (Role, f64)| if moving[&role] > 0.0 { cores / moving[&role] } else { 0.0 };
        let (share, of_all) = (world.share(registry), each(registry).map(part).fold(0.0, f64::max));
        let kind = if share < world.policy.idle && world.fleet.registries[registry].measured {
            PhaseKind::Idle
        } else if of_all >= world.policy.large {
            PhaseKind::Large
        } else {
            PhaseKind::Medium
        };
        Sized { registry, share, of_all, kind }
    };
    let mut sized: Vec<Sized> = homes.keys().map(size).collect();
    sized.sort_by(|one, other| {
        let by_share = one.share.total_cmp(&other.share);
        one.kind.cmp(&other.kind).then(by_share).then(one.registry.cmp(&other.registry))
    });
    sized
}

fn batches(world: &World<'_>, sized: Vec<Sized>) -> Vec<Vec<Sized>> {
    let policy = world.policy;
    let mut batches: Vec<Vec<Sized>> = Vec::new();
    for one in sized {
        let fits = batches.last().is_some_and(|batch| {
            let so_far: f64 = batch.iter().map(|one| one.share).sum();
            batch[0].kind == one.kind
                && match one.kind {
                    PhaseKind::Idle => batch.len() < policy.idle_most as usize,
                    PhaseKind::Medium => {
                        batch.len() < policy.medium_most as usize && so_far + one.share <= policy.medium
                    }
                    PhaseKind::Large => false,
                }
        });
        match batches.last_mut() {
            Some(batch) if fits => batch.push(one),
            _ => batches.push(vec![one]),
        }
    }
    batches
}

/// Where a phase adds much more than its destination has been seen to carry.
fn warnings(world: &World<'_>, before: &Homes, after: &Homes) -> Vec<String> {
    let mut warnings = Vec::new();
    let arrived = |homes: &Homes, to: usize, role: Role| -> f64 {
        let of = |(&registry, &stamp): (&usize, &usize)| {
            let from = world.home(registry).and_then(|home| world.pool_of(home, role));
            let cores = from.map(|pool| world.pools[pool].mean(registry, &world.fleet.registries[registry]));
            if stamp == to { cores.unwrap_or(0.0) } else { 0.0 }
        };
        homes.iter().map(of).sum()
    };
    let stamps: std::collections::BTreeSet<usize> = after.values().copied().collect();
    for to in stamps {
        for pool in world.pools_of(to) {
            let load = &world.pools[pool];
            // What its registries cause; what nodes do by themselves proves nothing.
            // The sum of nothing is -0.
            let carried = load.series.values().map(|series| series.mean).sum::<f64>() + 0.0;
            let proven = carried + arrived(before, to, load.pool.role);
            let more = arrived(after, to, load.pool.role) - arrived(before, to, load.pool.role);
            if more > world.policy.proven * proven {
                warnings.push(format!(
                    "{} {} gets {more:.1} cores of work, {:.1} times the {proven:.1} that it has carried; more than \
                     {:.1} times is unusual",
                    world.fleet.stamps[to].name,
                    load.pool.role.as_str(),
                    more / proven.max(0.01),
                    world.policy.proven
                ));
            }
        }
    }
    warnings
}
