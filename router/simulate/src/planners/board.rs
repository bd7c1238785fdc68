//! A fleet in plain figures, as planners of every kind look at it.

use dataproxy_planner::{Fleet, Pool, StampKind};
use dataproxy_router_api::StampState;

use crate::region::{Move, Region};
use crate::truth::{Truth, hottest, nearest_rank, percent};

/// No planner moves a registry again within so many seconds.
const COOLDOWN_SECONDS: u64 = 7 * 24 * 3600;

/// What a planner sees, with stamps and registries numbered in the fleet's order.
#[derive(Debug)]
pub(crate) struct Board<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) stamps: Vec<StampSeen>,
    pub(crate) registries: Vec<RegistrySeen>,
}

#[derive(Debug)]
pub(crate) struct StampSeen {
    /// Registries may be moved to it.
    pub(crate) open: bool,
    pub(crate) isolation: bool,
    pub(crate) held: bool,
    pub(crate) pools: Vec<PoolSeen>,
}

#[derive(Debug)]
pub(crate) struct PoolSeen {
    pub(crate) nodes: usize,
    pub(crate) bins: usize,
    /// By node, then by bin; what is missing is 0 here, as it is to those who do not think of it.
    pub(crate) busy: Vec<f32>,
    /// In percent.
    pub(crate) p95: f64,
    /// In percent.
    pub(crate) average: f64,
}

#[derive(Debug)]
pub(crate) struct RegistrySeen {
    pub(crate) home: usize,
    /// Neither pinned nor just moved.
    pub(crate) movable: bool,
    /// Bytes a second in its busiest bin: what a move disturbs.
    pub(crate) bytes: f64,
    /// By pool of its home: its share by node, then by bin.
    pub(crate) shares: Vec<Option<Vec<f32>>>,
}

impl<'a> Board<'a> {
    pub(crate) fn new(fleet: &'a Fleet) -> Self {
        let stamps = fleet.stamps.iter().map(|stamp| StampSeen {
            open: stamp.state == StampState::Active && stamp.held.is_none(),
            isolation: stamp.kind == StampKind::Isolation,
            held: stamp.held.is_some(),
            pools: stamp.pools.iter().map(PoolSeen::new).collect(),
        });
        let registries = fleet.registries.iter().map(|registry| {
            let home = fleet.stamps.iter().position(|stamp| stamp.name == registry.home_stamp).unwrap_or(0);
            let rested = registry.last_move.as_ref();
            let rested = rested.is_none_or(|last| fleet.taken.saturating_sub(last.at) >= COOLDOWN_SECONDS);
            let pools = fleet.stamps.get(home).map_or(&[][..], |stamp| &stamp.pools);
            let share = |pool: &Pool| {
                let at = pool.shares.binary_search_by(|share| share.registry.cmp(&registry.name)).ok()?;
                Some(pool.shares[at].busy.concat())
            };
            RegistrySeen {
                home,
                movable: registry.pinned.is_none() && rested,
                bytes: registry.peak_bytes_per_second,
                shares: pools.iter().map(share).collect(),
            }
        });
        Self { fleet, stamps: stamps.collect(), registries: registries.collect() }
    }

    /// Puts the truth in place of what was measured: also the demand that nodes cut.
    pub(crate) fn know(&mut self, region: &Region, truth: &Truth) {
        for (at, stamp) in self.fleet.stamps.iter().enumerate() {
            let Some(place) = region.stamp(&stamp.name) else { continue };
            let of_stamp = truth.pools.iter().filter(|pool| pool.stamp == place);
            for (number, (seen, pool)) in self.stamps[at].pools.iter_mut().zip(of_stamp).enumerate() {
                seen.busy = pool.demand();
                seen.p95 = pool.p95();
                for (registry, model) in self.registries.iter_mut().zip(&self.fleet.registries) {
                    let part = region.registry(&model.name).and_then(|registry| pool.part(registry));
                    if registry.home == at {
                        registry.shares[number] = part.map(|part| part.load.clone());
                    }
                }
            }
        }
    }

    /// The same moves by the region's numbers.
    pub(crate) fn places(&self, region: &Region, moves: &[Move]) -> Vec<Move> {
        let place = |&(registry, stamp): &Move| {
            Some((
                region.registry(&self.fleet.registries[registry].name)?,
                region.stamp(&self.fleet.stamps[stamp].name)?,
            ))
        };
        moves.iter().filter_map(place).collect()
    }

    /// The hottest stamp, if nothing holds it.
    pub(crate) fn hottest(&self) -> Option<usize> {
        let stamp =
            (0..self.stamps.len()).max_by(|one, other| self.p95(*one).total_cmp(&self.p95(*other)))?;
        (!self.stamps[stamp].held).then_some(stamp)
    }

    /// P95 of a stamp's hottest pool.
    pub(crate) fn p95(&self, stamp: usize) -> f64 {
        self.stamps[stamp].pools.iter().map(|pool| pool.p95).fold(0.0, f64::max)
    }

    /// Average of a stamp's busiest pool.
    pub(crate) fn average(&self, stamp: usize) -> f64 {
        self.stamps[stamp].pools.iter().map(|pool| pool.average).fold(0.0, f64::max)
    }

    /// The pool that makes a stamp hot.
    pub(crate) fn hot_pool(&self, stamp: usize) -> usize {
        let pools = &self.stamps[stamp].pools;
        (0..pools.len()).max_by(|one, other| pools[*one].p95.total_cmp(&pools[*other].p95)).unwrap_or(0)
    }

    /// A registry's part of its home's hot pool, 0 to 1.
    pub(crate) fn part(&self, registry: usize) -> f64 {
        let seen = &self.registries[registry];
        let pool = self.hot_pool(seen.home);
        let of_pool = self.stamps[seen.home].pools.get(pool).map_or(0.0, |pool| sum(&pool.busy));
        let own = seen.shares.get(pool).and_then(Option::as_deref).map_or(0.0, sum);
        if of_pool > 0.0 { own / of_pool } else { 0.0 }
    }

    /// P95 of a stamp's hottest pool without some registries: bin by bin and node by node.
    pub(crate) fn without(&self, stamp: usize, gone: &[usize]) -> f64 {
        let pools = self.stamps[stamp].pools.iter().enumerate();
        let p95 = pools.map(|(at, pool)| {
            let mut busy = pool.busy.clone();
            for share in gone.iter().filter_map(|registry| self.share(*registry, at)) {
                busy.iter_mut().zip(share).for_each(|(busy, share)| *busy -= share);
            }
            percent(nearest_rank(hottest(&busy, pool.bins), 0.95))
        });
        p95.fold(0.0, f64::max)
    }

    /// P95 of a stamp's hottest pool with some registries, their load spread evenly over its nodes in every bin.
    pub(crate) fn with_even(&self, stamp: usize, come: &[usize]) -> f64 {
        let pools = self.stamps[stamp].pools.iter().enumerate();
        let p95 = pools.map(|(at, pool)| {
            let mut hot = hottest(&pool.busy, pool.bins);
            for share in come.iter().filter_map(|registry| self.share(*registry, at)) {
                for node in share.chunks(pool.bins) {
                    hot.iter_mut().zip(node).for_each(|(hot, load)| *hot += load / pool.nodes as f32);
                }
            }
            percent(nearest_rank(hot, 0.95))
        });
        p95.fold(0.0, f64::max)
    }

    /// P95 of a registry's own series on its hottest node, in percent.
    pub(crate) fn own_p95(&self, registry: usize) -> f64 {
        let seen = &self.registries[registry];
        let pool = self.hot_pool(seen.home);
        let (Some(pool), Some(Some(share))) = (self.stamps[seen.home].pools.get(pool), seen.shares.get(pool))
        else {
            return 0.0;
        };
        percent(nearest_rank(hottest(share, pool.bins), 0.95))
    }

    /// Registries of a stamp that may move.
    pub(crate) fn movable(&self, stamp: usize) -> Vec<usize> {
        (0..self.registries.len())
            .filter(|&registry| self.registries[registry].home == stamp && self.registries[registry].movable)
            .collect()
    }

    /// Stamps that registries of `from` may go to.
    pub(crate) fn open(&self, from: usize) -> Vec<usize> {
        (0..self.stamps.len()).filter(|&stamp| stamp != from && self.stamps[stamp].open).collect()
    }

    fn share(&self, registry: usize, pool: usize) -> Option<&[f32]> {
        self.registries[registry].shares.get(pool)?.as_deref()
    }
}

impl PoolSeen {
    fn new(pool: &Pool) -> Self {
        let bins = pool.window.bins as usize;
        let busy: Vec<f32> = pool
            .nodes
            .iter()
            .flat_map(|node| node.bins.iter().map(|bin| bin.map_or(0.0, |bin| bin.busy)))
            .collect();
        let p95 = percent(nearest_rank(hottest(&busy, bins), 0.95));
        let average = 100.0 * sum(&busy) / busy.len().max(1) as f64;
        Self { nodes: pool.nodes.len(), bins, busy, p95, average }
    }
}

fn sum(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum()
}
