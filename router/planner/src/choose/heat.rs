//! Whether a stamp is hot, and in words why it is not.

use crate::load::{PoolLoad, World};
use crate::rules::percent;
use crate::signal::Status;

/// Whether a pool has been hot for long enough.
pub(super) fn is_hot(world: &World<'_>, pool: usize) -> bool {
    let (load, policy) = (&world.pools[pool], world.policy);
    let Ok(signal) = &load.signal else { return false };
    if !signal.is_valid() || signal.p95 < policy.hot || signal.avg < policy.active {
        return false;
    }
    let before = load.pool.past_p95.iter().rev().take(policy.hot_windows_of as usize - 1);
    let known = before.clone().count() + 1;
    let hot = before.filter(|p95| f64::from(**p95) >= policy.hot).count() + 1;
    hot >= known.min(policy.hot_windows as usize)
}

/// Why no stamp is relieved.
pub(super) fn calm(world: &World<'_>) -> String {
    let signals = || world.pools.iter().filter_map(|load| Some((load, load.signal.as_ref().ok()?)));
    let hot = world.policy.hot;
    let Some((load, hottest)) = signals().max_by(|one, other| one.1.p95.total_cmp(&other.1.p95)) else {
        return "no pool has a signal".into();
    };
    let name =
        |load: &PoolLoad<'_>| format!("{} {}", world.fleet.stamps[load.stamp].name, load.pool.role.as_str());
    if let (true, Status::Insufficient { why }) = (hottest.p95_hi >= hot, &hottest.status) {
        return format!(
            "{} may be hot, with a P95 of {}, but has no signal that anything is decided on: {why}",
            name(load),
            percent(hottest.p95)
        );
    }
    if hottest.p95 >= hot {
        return format!(
            "{} has a P95 of {}, but has not been above {} for long enough, or does too little",
            name(load),
            percent(hottest.p95),
            percent(hot)
        );
    }
    let mut why = format!(
        "the hottest pool, {}, has a P95 of {}; {} is hot",
        name(load),
        percent(hottest.p95),
        percent(hot)
    );
    if let Some((load, spike)) = signals()
        .filter(|(_, signal)| signal.max >= 2.0 * hot)
        .max_by(|one, other| one.1.max.total_cmp(&other.1.max))
    {
        why +=
            &format!("; {} had {} for a bin, which is a spike and no level", name(load), percent(spike.max));
    }
    why
}

/// Why a stamp need not be relieved.
pub(super) fn cool(world: &World<'_>, stamp: usize, goal: f64) -> String {
    let signals = world.pools_of(stamp).filter_map(|pool| world.pools[pool].signal.as_ref().ok());
    let (mut p95, mut max) = (0.0_f64, 0.0_f64);
    for signal in signals {
        p95 = p95.max(signal.p95);
        max = max.max(signal.max);
    }
    let mut why = format!(
        "{} has a P95 of {}, and {} is the goal",
        world.fleet.stamps[stamp].name,
        percent(p95),
        percent(goal)
    );
    if max >= 2.0 * goal {
        why += &format!("; its maximum of {} is a spike and no level", percent(max));
    }
    why
}
