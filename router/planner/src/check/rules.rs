//! Moves that are possible, serve the goal, and break no rule.

use super::{Case, Found, Promise};
use crate::{Goal, Move, Registry, Stamp, StampKind, Why};
use dataproxy_router_api::StampState;

/// Whether every move names things of the fleet, once, and serves the goal. False if more cannot be judged.
pub(super) fn moves(case: &Case<'_>, found: &mut Found) -> bool {
    let before = found.0.len();
    if !case.plan.refusals.is_empty() && !case.plan.moves.is_empty() {
        found.say(Promise::Moves, "it moves something although a rule forbade it");
    }
    for (at, moved) in case.plan.moves.iter().enumerate() {
        let name = &moved.registry;
        if case.plan.moves[..at].iter().any(|other| other.registry == *name) {
            found.say(Promise::Moves, format!("{name} is moved twice"));
        }
        match case.registry(name) {
            None => found.say(Promise::Moves, format!("there is no registry {name}")),
            Some(registry) if registry.home_stamp != moved.from => {
                found.say(
                    Promise::Moves,
                    format!("{name} is at home on {}, not on {}", registry.home_stamp, moved.from),
                );
            }
            Some(registry) => serves(case, registry, moved, found),
        }
        for stamp in [&moved.from, &moved.to] {
            if case.stamp(stamp).is_none() {
                found.say(Promise::Moves, format!("there is no stamp {stamp}"));
            }
        }
        if moved.from == moved.to {
            found.say(Promise::Moves, format!("{name} is at home on {} already", moved.to));
        }
    }
    found.0.len() == before
}

fn serves(case: &Case<'_>, registry: &Registry, moved: &Move, found: &mut Found) {
    let (why, asked) = match &case.plan.goal {
        Goal::Balance => (Why::Relief, true),
        Goal::Relieve { stamp, to, .. } => {
            (Why::Relief, moved.from == *stamp && (to.is_empty() || to.contains(&moved.to)))
        }
        Goal::Isolate { tenant, from, to } => {
            let from = from.is_empty() || from.contains(&moved.from);
            (Why::Isolation, registry.tenant.as_ref() == Some(tenant) && from && moved.to == *to)
        }
        Goal::Move { registries, to } => {
            (Why::Asked, registries.contains(&moved.registry) && moved.to == *to)
        }
    };
    if !asked || moved.why != why {
        found.say(Promise::Moves, format!("nobody asked for {} to go to {}", moved.registry, moved.to));
    }
}

/// Whether a move breaks a rule that does not depend on load, or is too small.
pub(super) fn rules(case: &Case<'_>, found: &mut Found) {
    let (fleet, policy, now) = (case.fleet, case.policy, case.fleet.taken);
    for moved in &case.plan.moves {
        let (Some(registry), Some(to), Some(from)) =
            (case.registry(&moved.registry), case.stamp(&moved.to), case.stamp(&moved.from))
        else {
            continue;
        };
        let name = &moved.registry;
        let mut broken =
            |words: String| found.say(Promise::Rules, format!("{name} to {}: {words}", moved.to));
        if registry.pinned.is_some() {
            broken("it is pinned".into());
        }
        if let Some(last) = &registry.last_move {
            let ago = now.saturating_sub(last.at);
            if ago < policy.registry_cooldown {
                broken(format!("it moved {ago} s ago"));
            }
            if last.from == moved.to && ago < policy.no_move_back {
                broken(format!("it came from there {ago} s ago"));
            }
        }
        for other in &fleet.registries {
            if let Some(last) = &other.last_move {
                let ends = [&last.from, &other.home_stamp];
                let recent = now.saturating_sub(last.at) < policy.pair_cooldown;
                if recent && ends.contains(&&moved.from) && ends.contains(&&moved.to) {
                    broken(format!("{} moved between the two not long ago", other.name));
                }
            }
            let home_then = case.plan.moves.iter().find(|one| one.registry == other.name);
            let home_then = home_then.map_or(&other.home_stamp, |one| &one.to);
            let apart = other.keep_apart.contains(name) || registry.keep_apart.contains(&other.name);
            if apart && other.name != *name && *home_then == moved.to {
                broken(format!("{} is there, from which it is kept apart", other.name));
            }
        }
        for stamp in [from, to] {
            if let Some(why) = &stamp.held {
                broken(format!("{} is held: {why}", stamp.name));
            }
        }
        if to.state != StampState::Active {
            broken(format!("{} is {}", to.name, to.state.as_str()));
        }
        if moved.why == Why::Relief {
            if to.kind == StampKind::Isolation {
                broken(format!("{} is an isolation stamp", to.name));
            }
            let share = case.share(registry).unwrap_or(0.0);
            if !registry.measured || share < policy.smallest * 0.999 {
                broken(format!("it has {share:.4} of its stamp's CPU; {:.4} are needed", policy.smallest));
            }
        }
        signals(case, moved, (from, to), found);
        storage(case, registry, found);
    }
}

fn signals(case: &Case<'_>, moved: &Move, (from, to): (&Stamp, &Stamp), found: &mut Found) {
    let relief = moved.why == Why::Relief;
    let pools = to
        .pools
        .iter()
        .map(|pool| (to, pool))
        .chain(from.pools.iter().map(|pool| (from, pool)).filter(|_| relief));
    for (stamp, pool) in pools {
        if !case.signal(pool).is_some_and(|signal| signal.is_valid()) {
            let role = pool.role.as_str();
            found.say(Promise::Rules, format!("{} {role} has no valid signal", stamp.name));
        }
    }
    for pool in &from.pools {
        if !to.pools.iter().any(|other| other.role == pool.role) {
            found.say(Promise::Rules, format!("{} has no pool {}", to.name, pool.role.as_str()));
        }
    }
}

fn storage(case: &Case<'_>, registry: &Registry, found: &mut Found) {
    for account in case.fleet.accounts.iter().filter(|account| registry.placement.contains(&account.name)) {
        let reads =
            account.peak_read_bytes_per_second + registry.peak_bytes_per_second * registry.hit_share.min(1.0);
        if let Some(cap) = account.egress_bytes_per_second
            && reads > case.policy.storage * cap
        {
            let words = format!(
                "{} read cold takes account {} to {reads:.0} of {cap:.0} B/s",
                registry.name, account.name
            );
            found.say(Promise::Rules, words);
        }
    }
}
