//! Moves that someone asks for: a tenant to a stamp of its own, or registries by name.

use std::collections::BTreeMap;

use dataproxy_router_api::{RegistryName, StampName};

use super::{Outcome, refusal, stays, unknown};
use crate::advice;
use crate::effect::Homes;
use crate::plan::{Code, Why};
use crate::predict::Predictor;
use crate::rules;

/// A tenant's registries to a stamp for them. Those that may not leave stay, each with its reason; the others go
/// together or not at all.
pub(super) fn isolate(
    predictor: &Predictor<'_, '_>,
    tenant: &str,
    from: &[StampName],
    to: &StampName,
) -> Outcome {
    let world = predictor.world;
    let mut outcome = Outcome { why: Some(Why::Isolation), ..Outcome::default() };
    let Some(to) = world.stamp(to) else {
        outcome.refusals.push(unknown("stamp", to.as_str()));
        return outcome;
    };
    let strangers = from.iter().filter(|name| world.stamp(name).is_none());
    outcome.refusals.extend(strangers.map(|name| unknown("stamp", name.as_str())));
    let asked = |registry: &usize| {
        let known = &world.fleet.registries[*registry];
        known.tenant.as_deref() == Some(tenant) && (from.is_empty() || from.contains(&known.home_stamp))
    };
    let registries: Vec<usize> = (0..world.fleet.registries.len()).filter(asked).collect();
    if registries.is_empty() {
        let words = format!("no registry of tenant {tenant:?} is at home there");
        outcome.refusals.push(refusal(tenant, (Code::Unknown, words), "name a tenant as its registries do"));
        return outcome;
    }
    let neighbours: Vec<usize> = (0..world.fleet.registries.len())
        .filter(|registry| {
            !asked(registry) && registries.iter().any(|one| world.home(*one) == world.home(*registry))
        })
        .collect();
    if !neighbours.is_empty() {
        let broken =
            (Code::NotAsked, format!("not of tenant {tenant:?}, or not on the stamps that were named"));
        outcome.rejected.push(stays(world, &neighbours, None, broken));
    }
    gather(predictor, &mut outcome, &registries, to, Why::Isolation);
    settle(predictor, &mut outcome, to, Why::Isolation);
    outcome
}

/// Registries by name. Whatever forbids one of them forbids all.
pub(super) fn moves(predictor: &Predictor<'_, '_>, registries: &[RegistryName], to: &StampName) -> Outcome {
    let world = predictor.world;
    let mut outcome = Outcome { why: Some(Why::Asked), ..Outcome::default() };
    let Some(to) = world.stamp(to) else {
        outcome.refusals.push(unknown("stamp", to.as_str()));
        return outcome;
    };
    let mut places = Vec::new();
    for name in registries {
        match world.registry(name) {
            Some(place) => places.push(place),
            None => outcome.refusals.push(unknown("registry", name.as_str())),
        }
    }
    gather(predictor, &mut outcome, &places, to, Why::Asked);
    for rejected in &outcome.rejected {
        if rejected.code != Code::AtHome {
            let subject = rejected.registries.first().map_or(String::new(), ToString::to_string);
            let broken = (rejected.code, format!("{subject}: {}", rejected.words));
            outcome.refusals.push(refusal(&subject, broken, remedy(rejected.code)));
        }
    }
    settle(predictor, &mut outcome, to, Why::Asked);
    outcome
}

/// Those of the registries that may go, as far as load does not matter.
fn gather(predictor: &Predictor<'_, '_>, outcome: &mut Outcome, registries: &[usize], to: usize, why: Why) {
    let world = predictor.world;
    let going: Homes = registries.iter().map(|registry| (*registry, to)).collect();
    for &registry in going.keys() {
        let known = &world.fleet.registries[registry];
        if world.home(registry) == Some(to) {
            let broken = (Code::AtHome, format!("its home is {} already", known.home_stamp));
            outcome.rejected.push(stays(world, &[registry], Some(to), broken));
            continue;
        }
        let held =
            world.home(registry).map(|home| rules::may_change(&world.fleet.stamps[home], Code::SourceHeld));
        let allowed = held.unwrap_or(Ok(())).and_then(|()| rules::may_leave(world, known));
        match allowed.and_then(|()| rules::may_go(world, registry, to, why, &going)) {
            Ok(()) => {
                outcome.homes.insert(registry, to);
            }
            Err(broken) => outcome.rejected.push(stays(world, &[registry], Some(to), broken)),
        }
    }
}

/// Whether the destination carries all of it; if not, nothing moves.
fn settle(predictor: &Predictor<'_, '_>, outcome: &mut Outcome, to: usize, why: Why) {
    let world = predictor.world;
    if outcome.homes.is_empty() || !outcome.refusals.is_empty() {
        return;
    }
    let Err(broken) = rules::holds(predictor, &outcome.homes, to, why, world.policy.draws) else { return };
    let name = &world.fleet.stamps[to].name;
    outcome.refusals.push(refusal(name.as_str(), broken.clone(), remedy(broken.0)));
    let mut homes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for registry in outcome.homes.keys() {
        if let Some(home) = world.home(*registry) {
            homes.entry(home).or_default().push(*registry);
        }
    }
    for (from, registries) in homes {
        outcome.recommendations.push(advice::isolate(world, from, &registries, broken.1.clone()));
    }
}

fn remedy(code: Code) -> &'static str {
    match code {
        Code::Pinned => "unpin it: stampctl registry unpin",
        Code::Cooldown | Code::PairCooldown | Code::MoveBack => "wait, or shorten the cooldown in the policy",
        Code::SourceHeld | Code::DestinationHeld => "wait until the rollout or incident is over",
        Code::NotActive => "uncordon the stamp or name another",
        Code::KeepApart => "name another stamp, or change what is kept apart",
        Code::PoolsDiffer => "name a stamp with the same pools",
        Code::NoSignal => "repair the nodes' reports, and wait for a whole window",
        Code::StorageEgress => "raise the account's limit, or move less at a time",
        Code::TooHot | Code::NotCooler | Code::NodeLost | Code::Cold => {
            "add nodes to the stamp, or name another"
        }
        _ => "ask for something else",
    }
}
