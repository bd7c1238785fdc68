//! What is better than a move, or needed because none is possible.

use dataproxy_router_api::StampName;

use crate::StampKind;
use crate::load::World;
use crate::plan::{PoolSize, Recommendation, StampPoolSize};
use crate::predict::{Predictor, hottest, p95};
use crate::rehash::Rehash;
use crate::relieve::Hot;
use crate::rules::percent;
use crate::size::Load;
use dataproxy_router_api::StampState;

/// Whether spreading connections would cure a pool: a node gets more than its part for the whole window, and without
/// that the pool would be much cooler. The flag says that nothing else is needed.
pub(crate) fn spread(world: &World<'_>, hot: Hot, goal: f64) -> Option<(Recommendation, bool)> {
    let load = &world.pools[hot.pool];
    let bins = load.bins();
    let means: Vec<f64> = (0..load.nodes())
        .map(|node| load.node(node).iter().map(|busy| f64::from(*busy)).sum::<f64>() / bins as f64)
        .collect();
    let members = load.members.len().max(1) as f64;
    let mean = load.members.iter().map(|node| means[*node]).sum::<f64>() / members;
    let node = load.members.iter().copied().max_by(|one, other| means[*one].total_cmp(&means[*other]))?;
    let mut even = load.busy.clone();
    for member in &load.members {
        let factor = if means[*member] > 0.0 { (mean / means[*member]) as f32 } else { 1.0 };
        even[member * bins..(member + 1) * bins].iter_mut().for_each(|busy| *busy *= factor);
    }
    let after = p95(&mut hottest(&even, bins));
    if hot.before - after < world.policy.skew {
        return None;
    }
    let why = format!(
        "{} is {} busy on average, its pool {}; a hot-node P95 of {} is that node's, not its registries'",
        load.pool.nodes[node].name,
        percent(means[node]),
        percent(mean),
        percent(hot.before)
    );
    let (stamp, role) = (world.stamp_of(hot.pool).name.clone(), load.pool.role);
    Some((Recommendation::SpreadConnections { stamp, role, p95: after, why }, after <= goal))
}

/// A stamp of their own for these registries, with its size.
pub(crate) fn isolate(world: &World<'_>, from: usize, registries: &[usize], why: String) -> Recommendation {
    let rehash = Rehash::new(world.seed);
    let pools = world.pools_of(from).filter_map(|pool| {
        let load = Load::of(world, pool, Some(registries), 0.0)?;
        let least = world.policy.fewest_nodes.max(2);
        let sized = load.fewest(&rehash, least, |sized| sized.node_lost <= world.policy.isolation)?;
        Some(PoolSize { role: world.pools[pool].pool.role, nodes: sized.nodes, node_lost: sized.node_lost })
    });
    let pools: Vec<PoolSize> = pools.collect();
    let why = if pools.len() < world.pools_of(from).count() {
        format!("{why}; no number of nodes that was tried carries it with one lost")
    } else {
        why
    };
    let name = |registry: &usize| world.fleet.registries[*registry].name.clone();
    Recommendation::Isolate {
        from: world.fleet.stamps[from].name.clone(),
        registries: registries.iter().map(name).collect(),
        pools,
        why,
    }
}

/// More nodes for hot stamps, if every stamp that could take something is hot itself.
pub(crate) fn capacity(predictor: &Predictor<'_, '_>) -> Option<Recommendation> {
    let world = predictor.world;
    let shared = |stamp: &usize| {
        let stamp = &world.fleet.stamps[*stamp];
        stamp.state == StampState::Active && stamp.kind == StampKind::Shared
    };
    let shared: Vec<usize> = (0..world.fleet.stamps.len()).filter(shared).collect();
    let heat = |stamp: usize| crate::rules::hottest_before(world, stamp).unwrap_or(1.0);
    if shared.is_empty() || shared.iter().any(|stamp| heat(*stamp) < world.policy.hot) {
        return None;
    }
    let hot = shared.iter().flat_map(|stamp| world.pools_of(*stamp)).filter_map(|pool| {
        let before = world.pools[pool].signal.as_ref().ok()?.p95;
        (before >= world.policy.hot).then_some(Hot { pool, before })
    });
    let pools = enough(world, &hot.collect::<Vec<_>>(), world.policy.goal);
    let stamps: Vec<StampName> = shared.iter().map(|stamp| world.fleet.stamps[*stamp].name.clone()).collect();
    let coolest = shared.iter().map(|stamp| heat(*stamp)).fold(1.0, f64::min);
    let why = format!(
        "every shared stamp is hot: the coolest has a P95 of {}, and {} is hot",
        percent(coolest),
        percent(world.policy.hot)
    );
    Some(Recommendation::AddCapacity { stamps, pools, why })
}

/// More nodes for one stamp, where its registries may not go.
pub(crate) fn more_nodes(world: &World<'_>, stamp: usize, hot: &[Hot], goal: f64) -> Option<Recommendation> {
    let pools = enough(world, hot, goal);
    let why = "its registries may not move, or do not matter enough".into();
    let stamps = vec![world.fleet.stamps[stamp].name.clone()];
    (!pools.is_empty()).then_some(Recommendation::AddCapacity { stamps, pools, why })
}

/// How many nodes bring pools to a goal, one lost.
fn enough(world: &World<'_>, hot: &[Hot], goal: f64) -> Vec<StampPoolSize> {
    let rehash = Rehash::new(world.seed);
    let size = |hot: &Hot| {
        let load = &world.pools[hot.pool];
        let now = load.members.len() as u32;
        let sized = Load::of(world, hot.pool, None, 0.0)?
            .fewest(&rehash, now + 1, |sized| sized.node_lost <= goal)?;
        Some(StampPoolSize {
            stamp: world.stamp_of(hot.pool).name.clone(),
            role: load.pool.role,
            nodes: sized.nodes,
            node_lost: sized.node_lost,
        })
    };
    hot.iter().filter_map(size).collect()
}
