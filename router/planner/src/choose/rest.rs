//! Whether a hot stamp only has to wait: for registries that rest after a move, or for a stamp that is held.

use std::collections::BTreeSet;

use super::Outcome;
use super::relief::{Found, candidates};
use crate::load::World;
use crate::plan::Code;
use crate::predict::Predictor;
use crate::relieve::Hot;
use crate::rules::{days, percent};
use crate::{Fleet, Policy, Registry};

/// Whether a rule ends by itself.
pub(super) fn passes(code: Code) -> bool {
    use Code::{Cooldown, DestinationHeld, MoveBack, PairCooldown, SourceHeld};
    matches!(code, Cooldown | PairCooldown | MoveBack | SourceHeld | DestinationHeld)
}

/// Until when to wait, in words, if that is all there is to do: with nothing that rests and no stamp held, moves would
/// be a plan; one that reaches the goal, if some moves are one already.
pub(super) fn wait(
    predictor: &Predictor<'_, '_>,
    residents: &[usize],
    asked: &[usize],
    (hot, goal): (&[Hot], f64),
    moves: bool,
) -> Option<String> {
    let world = predictor.world;
    let mut fleet = world.fleet.clone();
    fleet.registries.iter_mut().for_each(|registry| registry.last_move = None);
    fleet.stamps.iter_mut().for_each(|stamp| stamp.held = None);
    let rested = World::new(&fleet, world.policy, world.seed);
    let predictor = Predictor::new(&rested);
    let candidates = candidates(&rested, &mut Outcome::default(), residents);
    let found = Found::of(&predictor, hot, goal, candidates, asked);
    if !found.moves || (moves && !found.reached) {
        return None;
    }
    let mut until = 0;
    let mut held = BTreeSet::new();
    for (&registry, &to) in &found.homes {
        let to = &world.fleet.stamps[to];
        until = until.max(rested_at(world.fleet, world.policy, &world.fleet.registries[registry], &to.name));
        held.extend(to.held.as_ref().map(|why| format!("{} is no longer held ({why})", to.name)));
    }
    let mut when = Vec::new();
    let rest = until.saturating_sub(world.fleet.taken);
    if rest > 0 {
        when.push(format!("in {}, when all that would move has rested", days(rest)));
    }
    if !held.is_empty() {
        when.push(format!("once {}", held.into_iter().collect::<Vec<_>>().join(" and ")));
    }
    let before = hot.iter().map(|hot| hot.before).fold(0.0, f64::max);
    let (before, when) = (percent(before), when.join(", and "));
    (!when.is_empty())
        .then(|| format!("moves that only have to wait would cool a P95 of {before}; look again {when}"))
}

/// When nothing that passes forbids any longer that a registry goes to a stamp, in seconds since 1970.
fn rested_at(
    fleet: &Fleet,
    policy: &Policy,
    registry: &Registry,
    to: &dataproxy_router_api::StampName,
) -> u64 {
    let mut until = 0;
    if let Some(last) = &registry.last_move {
        until = last.at + policy.registry_cooldown;
        if last.from == *to {
            until = until.max(last.at + policy.no_move_back);
        }
    }
    let here = &registry.home_stamp;
    for other in &fleet.registries {
        let Some(last) = &other.last_move else { continue };
        let between = (&last.from, &other.home_stamp);
        if between == (here, to) || between == (to, here) {
            until = until.max(last.at + policy.pair_cooldown);
        }
    }
    until
}
