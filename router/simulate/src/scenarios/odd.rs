//! Where moving a registry to another stamp is not the answer.

use dataproxy_planner::LastMove;
use dataproxy_router_api::{NameError, Role};

use super::hot::{FIT_WINDOWS, Plot, town, zipf};
use crate::region::{Region, Silence, Silent, Storm};
use crate::telemetry::taken;

pub(super) fn whale(seed: u64) -> Result<Region, NameError> {
    let same_size = |name, p95| Plot { nodes: 10..=10, ..Plot::new(name, p95) };
    let mut region = town(seed, &[same_size("a", 40.0), same_size("b", 38.0), same_size("c", 39.0)])?;
    // The first registry gets two thirds of all flows.
    let others: f64 = region.registries.iter().skip(1).filter(|r| r.home == 0).map(|r| r.uses[0].flows).sum();
    region.registries[0].uses[0].flows = 2.0 * others;
    region.registries[0].uses[0].cores_per_flow = region.registries[1].uses[0].cores_per_flow;
    region.heat(0, Role::All, 48.0, FIT_WINDOWS);
    Ok(region)
}

pub(super) fn skew(seed: u64) -> Result<Region, NameError> {
    let mut region = town(seed, &[Plot::new("a", 40.0), Plot::new("b", 24.0), Plot::new("c", 28.0)])?;
    let pool = &mut region.stamps[0].pools[0];
    pool.lean = vec![1.0; pool.nodes];
    pool.lean[2] = 3.5;
    region.heat(0, Role::All, 50.0, FIT_WINDOWS);
    Ok(region)
}

pub(super) fn spike(seed: u64) -> Result<Region, NameError> {
    let mut region = town(seed, &[Plot::new("a", 31.0), Plot::new("b", 24.0), Plot::new("c", 28.0)])?;
    let causes = vec![(0, 0.5), (1, 0.42)];
    region.storms.push(Storm { stamp: 0, role: Role::All, node: 1, bin: 300, causes });
    Ok(region)
}

pub(super) fn calm(seed: u64) -> Result<Region, NameError> {
    town(seed, &[Plot::new("a", 33.0), Plot::new("b", 24.0), Plot::new("c", 20.0)])
}

pub(super) fn flapping(seed: u64) -> Result<Region, NameError> {
    let mut region = zipf(seed)?;
    for registry in region.registries.iter_mut().filter(|registry| registry.home == 0) {
        registry.rhythm.days = vec![1.0, 0.7, 0.7];
    }
    Ok(region)
}

pub(super) fn cooldown(seed: u64) -> Result<Region, NameError> {
    let mut region = zipf(seed)?;
    let from = region.stamps[1].name.clone();
    let at = taken(0, region.bins) - 24 * 3600;
    for registry in region.registries.iter_mut().filter(|registry| registry.home == 0) {
        registry.last_move = Some(LastMove { at, from: from.clone() });
    }
    Ok(region)
}

pub(super) fn rollout(seed: u64) -> Result<Region, NameError> {
    let mut region = zipf(seed)?;
    region.stamps[0].held = Some("rollout of build 2".into());
    Ok(region)
}

pub(super) fn all_hot(seed: u64) -> Result<Region, NameError> {
    town(seed, &[Plot::new("a", 48.0), Plot::new("b", 46.0), Plot::new("c", 47.0)])
}

pub(super) fn missing(seed: u64) -> Result<Region, NameError> {
    let mut region = zipf(seed)?;
    let silence = Silence { stamp: 0, role: Role::All, who: Silent::Hottest, from: 330, to: 400 };
    region.measuring.silences.push(silence);
    Ok(region)
}
