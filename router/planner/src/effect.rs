//! What a set of moves does to every pool that it touches.

use std::collections::{BTreeMap, BTreeSet};

use dataproxy_router_api::{RegistryName, StampName};

use crate::load::World;
use crate::plan::{Code, Prediction};
use crate::predict::{Coming, Predictor};
use crate::{Fleet, Policy};

/// Where registries go, by their places in the fleet.
pub(crate) type Homes = BTreeMap<usize, usize>;

/// A rule that something breaks, with figures.
pub(crate) type Broken = (Code, String);

/// What these moves would do, for every pool of every stamp that they touch. Nothing is checked but that there are
/// such registries and stamps, with pools that match; a plan checks the rest.
///
/// # Errors
///
/// Unknown names, a home without the pools, signals that are no measurement, a policy out of range: in words.
pub fn predict(
    fleet: &Fleet,
    policy: &Policy,
    moves: &[(RegistryName, StampName)],
    seed: u64,
) -> Result<Vec<Prediction>, String> {
    policy.validate().map_err(|bad| bad.to_string())?;
    let world = World::new(fleet, policy, seed);
    let mut homes = Homes::new();
    for (registry, stamp) in moves {
        let place = world.registry(registry).ok_or_else(|| format!("there is no registry {registry}"))?;
        let to = world.stamp(stamp).ok_or_else(|| format!("there is no stamp {stamp}"))?;
        let home = world.home(place).ok_or_else(|| format!("the home of {registry} is no stamp"))?;
        if home != to {
            world.way(home, to).map_err(|(_, words)| words)?;
            homes.insert(place, to);
        }
    }
    Ok(Predictor::new(&world).predictions(&homes, &homes))
}

impl World<'_> {
    /// The pools that a registry of one stamp leaves and those that it comes to, role by role.
    pub(crate) fn way(&self, from: usize, to: usize) -> Result<Vec<(usize, usize)>, Broken> {
        let name = &self.fleet.stamps[to].name;
        let mut way = Vec::new();
        for source in self.pools_of(from) {
            let role = self.pools[source].pool.role;
            let Some(target) = self.pool_of(to, role) else {
                return Err((Code::PoolsDiffer, format!("{name} has no pool {}", role.as_str())));
            };
            for pool in [source, target] {
                let stamp = &self.stamp_of(pool).name;
                if let Err(bad) = &self.pools[pool].signal {
                    return Err((Code::NoSignal, format!("{stamp} {}: {bad}", role.as_str())));
                }
            }
            let (here, there) = (self.pools[source].pool.window, self.pools[target].pool.window);
            if (here.bins, here.bin_seconds) != (there.bins, there.bin_seconds) {
                let words = format!(
                    "{name} {} has a window of {} bins of {} s, its home one of {} of {} s",
                    role.as_str(),
                    there.bins,
                    there.bin_seconds,
                    here.bins,
                    here.bin_seconds
                );
                return Err((Code::NoSignal, words));
            }
            way.push((source, target));
        }
        Ok(way)
    }

    /// Stamps that moves touch.
    pub(crate) fn touched(&self, homes: &Homes) -> BTreeSet<usize> {
        homes.iter().flat_map(|(registry, to)| self.home(*registry).into_iter().chain([*to])).collect()
    }
}

impl Predictor<'_, '_> {
    /// What leaves a pool and what comes to it.
    pub(crate) fn traffic(&self, homes: &Homes, pool: usize) -> (Vec<usize>, Vec<Coming>) {
        let load = &self.world.pools[pool];
        let (mut leaving, mut coming) = (Vec::new(), Vec::new());
        for (&registry, &to) in homes {
            let home = self.world.home(registry);
            if home == Some(load.stamp) {
                leaving.push(registry);
            } else if to == load.stamp {
                let from = home.and_then(|home| self.world.pool_of(home, load.pool.role));
                coming.extend(from.map(|from| Coming { registry, from }));
            }
        }
        (leaving, coming)
    }

    /// The pools of every stamp that `all` touches, after `homes`.
    pub(crate) fn predictions(&self, homes: &Homes, all: &Homes) -> Vec<Prediction> {
        let pools = self.world.touched(all).into_iter().flat_map(|stamp| self.world.pools_of(stamp));
        let after = |pool| {
            let (leaving, coming) = self.traffic(homes, pool);
            self.prediction(pool, &leaving, &coming)
        };
        pools.filter_map(after).collect()
    }
}
