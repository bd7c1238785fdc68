//! Which registries may leave, where they may go, and what a destination has to hold.

use crate::effect::{Broken, Homes};
use crate::load::World;
use crate::plan::{Code, Why};
use crate::predict::Predictor;
use crate::{Registry, Stamp, StampKind};
use dataproxy_router_api::StampState;

/// How a registry becomes cold at a new home.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cold {
    pub(crate) seconds: u64,
    pub(crate) read_bytes_per_second: f64,
}

pub(crate) fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

pub(crate) fn days(seconds: u64) -> String {
    if seconds < 2 * 86_400 {
        format!("{} h", seconds.div_ceil(3600))
    } else {
        format!("{} days", seconds.div_ceil(86_400))
    }
}

/// Whether a registry may leave its home at all.
pub(crate) fn may_leave(world: &World<'_>, registry: &Registry) -> Result<(), Broken> {
    let now = world.fleet.taken;
    if let Some(why) = &registry.pinned {
        return Err((Code::Pinned, format!("pinned: {why}")));
    }
    if let Some(last) = &registry.last_move {
        let rest = (last.at + world.policy.registry_cooldown).saturating_sub(now);
        if rest > 0 {
            return Err((
                Code::Cooldown,
                format!("it moved from {} not long ago, and rests for {}", last.from, days(rest)),
            ));
        }
    }
    Ok(())
}

/// Whether a stamp may take or give registries now.
pub(crate) fn may_change(stamp: &Stamp, code: Code) -> Result<(), Broken> {
    match &stamp.held {
        Some(why) => Err((code, format!("{} is held: {why}", stamp.name))),
        None => Ok(()),
    }
}

/// Whether a registry may go to a stamp, as far as load does not matter.
pub(crate) fn may_go(
    world: &World<'_>,
    place: usize,
    to: usize,
    purpose: Why,
    homes: &Homes,
) -> Result<(), Broken> {
    let (registry, stamp) = (&world.fleet.registries[place], &world.fleet.stamps[to]);
    let (policy, now, name) = (world.policy, world.fleet.taken, &stamp.name);
    may_change(stamp, Code::DestinationHeld)?;
    if stamp.state != StampState::Active {
        return Err((Code::NotActive, format!("{name} is {}", stamp.state.as_str())));
    }
    if purpose == Why::Relief && stamp.kind == StampKind::Isolation {
        return Err((Code::IsolationOnly, format!("{name} is an isolation stamp")));
    }
    if let Some(last) = registry.last_move.as_ref().filter(|last| last.from == *name) {
        let rest = (last.at + policy.no_move_back).saturating_sub(now);
        if rest > 0 {
            return Err((Code::MoveBack, format!("it came from {name} and may go back in {}", days(rest))));
        }
    }
    let pair = |other: &&Registry| {
        let Some(last) = &other.last_move else { return false };
        let (from, to) = (&last.from, &other.home_stamp);
        let here = &registry.home_stamp;
        now < last.at + policy.pair_cooldown && ((from, to) == (here, name) || (from, to) == (name, here))
    };
    if let Some(other) = world.fleet.registries.iter().find(pair) {
        let words = format!(
            "{} moved between {name} and its home in the last {}",
            other.name,
            days(policy.pair_cooldown)
        );
        return Err((Code::PairCooldown, words));
    }
    let there = |other: usize| homes.get(&other).copied().or_else(|| world.home(other)) == Some(to);
    let apart = |other: &Registry| {
        registry.keep_apart.contains(&other.name) || other.keep_apart.contains(&registry.name)
    };
    let mut others = world.fleet.registries.iter().enumerate();
    if let Some((_, other)) = others.find(|(at, other)| *at != place && apart(other) && there(*at)) {
        return Err((Code::KeepApart, format!("{} is there, from which it is kept apart", other.name)));
    }
    let home = world
        .home(place)
        .ok_or_else(|| (Code::Unknown, format!("its home {} is no stamp", registry.home_stamp)))?;
    world.way(home, to)?;
    for pool in world.pools_of(to) {
        if let Ok(signal) = &world.pools[pool].signal
            && let crate::signal::Status::Insufficient { why } = &signal.status
        {
            return Err((Code::NoSignal, format!("{name} {}: {why}", world.pools[pool].pool.role.as_str())));
        }
    }
    cold(world, registry).map(|_| ())
}

/// How long a registry is cold, and what is read meanwhile.
pub(crate) fn cold(world: &World<'_>, registry: &Registry) -> Result<Cold, Broken> {
    let least = registry.peak_bytes_per_second * registry.hit_share.clamp(0.0, 1.0);
    let mut rate = world.policy.prewarm_bytes_per_second;
    for name in &registry.placement {
        let Some(account) = world.fleet.accounts.iter().find(|account| account.name == *name) else {
            continue;
        };
        let Some(cap) = account.egress_bytes_per_second else { continue };
        let room = world.policy.storage * cap - account.peak_read_bytes_per_second;
        if least > room {
            let words = format!(
                "account {name} would be read at {:.2} GiB/s while it is cold; {} of its {:.2} GiB/s are allowed",
                gib(account.peak_read_bytes_per_second + least),
                percent(world.policy.storage),
                gib(cap)
            );
            return Err((Code::StorageEgress, words));
        }
        rate = rate.min(room);
    }
    let rate = rate.max(least).max(1.0);
    Ok(Cold { seconds: (registry.hot_set_bytes as f64 / rate).ceil() as u64, read_bytes_per_second: rate })
}

pub(crate) fn gib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 30)
}

/// The highest P95 of a stamp's pools before, if all have one.
pub(crate) fn hottest_before(world: &World<'_>, stamp: usize) -> Option<f64> {
    let of = |pool: usize| world.pools[pool].signal.as_ref().ok().map(|signal| signal.p95);
    world.pools_of(stamp).map(of).try_fold(0.0, |hottest: f64, p95| Some(hottest.max(p95?)))
}

/// Whether a stamp can carry what comes to it.
pub(crate) fn holds(
    predictor: &Predictor<'_, '_>,
    homes: &Homes,
    to: usize,
    purpose: Why,
    draws: u32,
) -> Result<(), Broken> {
    let (world, policy) = (predictor.world, predictor.world.policy);
    let name = &world.fleet.stamps[to].name;
    let sources =
        homes.iter().filter(|(_, stamp)| **stamp == to).filter_map(|(registry, _)| world.home(*registry));
    let source = sources.filter_map(|home| hottest_before(world, home)).reduce(f64::min).unwrap_or(1.0);
    for pool in world.pools_of(to) {
        let (leaving, coming) = predictor.traffic(homes, pool);
        if coming.is_empty() {
            continue;
        }
        let role = world.pools[pool].pool.role.as_str();
        let forecast = predictor.forecast(pool, &leaving, &coming, draws);
        let after = forecast.interval();
        if after.hi > policy.destination {
            let words = format!(
                "{name} {role} after: up to {}, above {}",
                percent(after.hi),
                percent(policy.destination)
            );
            return Err((Code::TooHot, words));
        }
        if purpose != Why::Asked && after.hi > source - policy.cooler {
            let words = format!(
                "{name} {role} after: up to {}, not {} below the {} that its home had",
                percent(after.hi),
                percent(policy.cooler),
                percent(source)
            );
            return Err((Code::NotCooler, words));
        }
        if forecast.node_lost >= policy.node_lost {
            let words = format!(
                "{name} {role} after, with one node lost: {}; less than {} is allowed",
                percent(forecast.node_lost),
                percent(policy.node_lost)
            );
            return Err((Code::NodeLost, words));
        }
        let cold = predictor.cold(pool, &leaving, &coming, policy.draws_search.min(draws));
        if cold >= policy.node_lost {
            let words = format!(
                "{name} {role} while it is cold: {}; less than {} is allowed",
                percent(cold),
                percent(policy.node_lost)
            );
            return Err((Code::Cold, words));
        }
    }
    Ok(())
}
