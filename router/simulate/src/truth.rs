//! What really happens: the load that each registry puts on each node in each bin.
//!
//! Flows come and go by the minute: their number is Poisson around flows × rhythm, their weight log-normal, their node
//! drawn by the balancer. A flow's number and weight depend on its registry alone and its node on the stamp too, so that
//! a registry that moves brings the same flows, hashed afresh.

use dataproxy_router_api::Role;
use rand::RngExt as _;

use crate::chance::{Purpose, around_one, poisson, stream};
use crate::region::{Move, Pool, Region};

/// Which chance to draw from, and which day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Every number is drawn from it.
    pub seed: u64,
    /// Day of the window: 0 is the one that a planner sees minute by minute, later ones are the future, earlier ones its
    /// history.
    pub day: i32,
}

impl Draw {
    /// The day as part of a stream's key.
    pub(crate) fn key(self) -> u64 {
        u64::from(self.day.cast_unsigned())
    }
}

/// What happens in every pool of a region in one window.
#[derive(Clone, Debug)]
pub struct Truth {
    /// By stamp in the region's order, then by pool.
    pub pools: Vec<PoolTruth>,
}

/// What happens in one pool.
#[derive(Clone, Debug)]
pub struct PoolTruth {
    /// Place in [`Region::stamps`].
    pub stamp: usize,
    /// The pool's role.
    pub role: Role,
    /// How many nodes it has.
    pub nodes: usize,
    /// How many bins.
    pub bins: usize,
    /// How busy a node is without any flow.
    pub idle: f64,
    /// Who causes the load.
    pub parts: Vec<Part>,
}

/// What one registry causes in one pool.
#[derive(Clone, Debug)]
pub struct Part {
    /// Place in [`Region::registries`].
    pub registry: usize,
    /// By node, then by bin: the part of the node that it wants, which may be more than there is.
    pub load: Vec<f32>,
    /// By bin: the weights of its flows together.
    pub weight: Vec<f32>,
    /// By bin: how many flows.
    pub flows: Vec<u32>,
}

impl Region {
    /// Draws a window.
    pub fn run(&self, draw: Draw) -> Truth {
        let mut pools = Vec::new();
        for (stamp, model) in self.stamps.iter().enumerate() {
            for pool in &model.pools {
                pools.push(self.pool(draw, stamp, pool));
            }
        }
        Truth { pools }
    }

    /// Draws a window of one pool.
    pub fn run_pool(&self, draw: Draw, stamp: usize, role: Role) -> Option<PoolTruth> {
        self.stamps[stamp].pool(role).map(|pool| self.pool(draw, stamp, pool))
    }

    fn pool(&self, draw: Draw, stamp: usize, pool: &Pool) -> PoolTruth {
        let mut parts: Vec<Part> = (0..self.registries.len())
            .filter(|&registry| self.registries[registry].home == stamp)
            .filter_map(|registry| self.part(draw, registry, stamp, pool))
            .collect();
        for storm in self.storms.iter().filter(|storm| storm.role == pool.role) {
            let at = storm.node % pool.nodes * self.bins + storm.bin;
            if storm.stamp == stamp {
                parts.iter_mut().for_each(|part| part.load[at] = 0.0);
            }
            for &(registry, busy) in &storm.causes {
                if let Some(part) = parts.iter_mut().find(|part| part.registry == registry) {
                    part.load[at] += busy as f32;
                }
            }
        }
        PoolTruth { stamp, role: pool.role, nodes: pool.nodes, bins: self.bins, idle: pool.idle, parts }
    }

    fn part(&self, draw: Draw, registry: usize, stamp: usize, pool: &Pool) -> Option<Part> {
        let model = &self.registries[registry];
        let used = model.of_role(pool.role)?;
        let name = registry as u64;
        let role = pool.role as u64;
        let rhythm = model.rhythm.series(draw, name, self.bins);
        let mut flows = stream(Purpose::Flows, &[draw.seed, draw.key(), name, role]);
        let mut place = stream(Purpose::Placement, &[draw.seed, draw.key(), name, role, stamp as u64]);
        let mut part = Part {
            registry,
            load: vec![0.0; pool.nodes * self.bins],
            weight: vec![0.0; self.bins],
            flows: vec![0; self.bins],
        };
        let lean: f64 = pool.lean.iter().sum();
        // Weight and node of those that are there.
        let mut there: Vec<(f64, usize)> = Vec::new();
        let mut stays = 0.0;
        let stay = used.stay.clamp(0.0, 0.999);
        for (bin, factor) in rhythm.into_iter().enumerate() {
            if stay > 0.0 {
                there.retain(|_| flows.random_bool(stay));
            } else {
                there.clear();
            }
            let mean = used.flows * factor;
            for _ in 0..poisson(&mut flows, (mean - stays).max(0.0)) {
                let weight = around_one(&mut flows, used.weight_sigma);
                let drawn: f64 = place.random();
                let node = if pool.lean.is_empty() {
                    (drawn * pool.nodes as f64) as usize
                } else {
                    leaning(&pool.lean, drawn * lean)
                };
                there.push((weight, node.min(pool.nodes - 1)));
            }
            // Those of a Poisson process that stay are one too, so the sum has the mean that it should have; only where
            // demand falls faster than flows end are there more.
            stays = stay * mean.max(stays);
            part.flows[bin] = there.len() as u32;
            for &(weight, node) in &there {
                part.load[node * self.bins + bin] += (weight * used.cores_per_flow / pool.cores) as f32;
                part.weight[bin] += weight as f32;
            }
        }
        Some(part)
    }
}

fn leaning(lean: &[f64], mut drawn: f64) -> usize {
    for (node, weight) in lean.iter().enumerate() {
        drawn -= weight;
        if drawn < 0.0 {
            return node;
        }
    }
    lean.len()
}

impl Truth {
    /// The same window after some moves. Only pools that a registry leaves or comes to are drawn again: in all others the
    /// same chance gives the same load.
    pub fn after(&self, region: &Region, moves: &[Move], draw: Draw) -> Self {
        let touched = |stamp| {
            moves.iter().any(|&(registry, to)| to == stamp || region.registries[registry].home == stamp)
        };
        let moved = region.moved(moves);
        let pools = self.pools.iter().map(|pool| {
            let redrawn = touched(pool.stamp).then(|| moved.run_pool(draw, pool.stamp, pool.role)).flatten();
            redrawn.unwrap_or_else(|| pool.clone())
        });
        Self { pools: pools.collect() }
    }

    /// A pool of a stamp.
    pub fn pool(&self, stamp: usize, role: Role) -> Option<&PoolTruth> {
        self.pools.iter().find(|pool| pool.stamp == stamp && pool.role == role)
    }

    /// The hottest pool's P95 of a stamp, in percent.
    pub fn p95(&self, stamp: usize) -> f64 {
        self.pools.iter().filter(|pool| pool.stamp == stamp).map(PoolTruth::p95).fold(0.0, f64::max)
    }
}

impl PoolTruth {
    /// What nodes are asked for, by node, then by bin; may be more than 1.
    pub fn demand(&self) -> Vec<f32> {
        let mut demand = vec![self.idle as f32; self.nodes * self.bins];
        for part in &self.parts {
            for (sum, load) in demand.iter_mut().zip(&part.load) {
                *sum += load;
            }
        }
        demand
    }

    /// The hottest node's busy ratio by bin: no node is busier than busy.
    pub fn hot(&self) -> Vec<f32> {
        hottest(&self.demand(), self.bins)
    }

    /// Hot-node P95 in percent, by nearest rank.
    pub fn p95(&self) -> f64 {
        percent(nearest_rank(self.hot(), 0.95))
    }

    /// The hottest bin of the hottest node, in percent.
    pub fn max(&self) -> f64 {
        percent(self.hot().into_iter().fold(0.0, f32::max))
    }

    /// What a registry causes here, if it is at home here.
    pub fn part(&self, registry: usize) -> Option<&Part> {
        self.parts.iter().find(|part| part.registry == registry)
    }
}

/// By bin, the most of any node, cut at 1.
pub(crate) fn hottest(demand: &[f32], bins: usize) -> Vec<f32> {
    let mut hot = vec![0.0_f32; bins];
    for node in demand.chunks(bins) {
        for (most, load) in hot.iter_mut().zip(node) {
            *most = most.max(*load);
        }
    }
    hot.iter_mut().for_each(|most| *most = most.min(1.0));
    hot
}

/// The value at rank ⌈part × n⌉, counted from 1; 0 of nothing.
pub fn nearest_rank(mut values: Vec<f32>, part: f64) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let rank = ((part * values.len() as f64).ceil() as usize).clamp(1, values.len());
    *values.select_nth_unstable_by(rank - 1, f32::total_cmp).1
}

pub(crate) fn percent(ratio: f32) -> f64 {
    f64::from(ratio) * 100.0
}

#[cfg(test)]
mod tests;
