//! What a planner may see of the truth: minutes that nodes measured, shares by sampling, and nothing of the future.
//!
//! Nodes cut at 100 % what was asked of them; shares are sampled, biased by registry and scaled to what the node
//! measured; minutes get lost.

use std::collections::BTreeMap;

use dataproxy_planner as planner;
use dataproxy_router_api::{AccountName, NodeName, Revision, Role};
use rand::RngExt as _;

use crate::chance::{Purpose, around_one, normal, stream};
use crate::region::{BINS_OF_A_DAY, Region, Silence, Silent};
use crate::truth::{Draw, PoolTruth, Truth, nearest_rank};

/// Windows before this one whose P95 is known.
const PAST_DAYS: i32 = 4;
/// Length of a bin in seconds.
const BIN_SECONDS: u32 = 60;
/// Number of the first bin of day 0's window: 08:00 UTC on a Monday.
const FIRST_BIN: u64 = 20_457 * BINS_OF_A_DAY as u64 + 8 * 60;
/// What a storage account gives, in bytes a second: 50 Gbit/s.
const EGRESS: f64 = 6.25e9;
/// Part of the bytes served that a warm stamp has to read.
const MISSES: f64 = 0.05;

/// Seconds since 1970 at which the window of a day has ended: when a planner looks at it.
pub fn taken(day: i32, bins: usize) -> u64 {
    (first_bin(day) + bins as u64) * u64::from(BIN_SECONDS)
}

fn first_bin(day: i32) -> u64 {
    FIRST_BIN.saturating_add_signed(i64::from(day) * BINS_OF_A_DAY as i64)
}

/// A region and the names that its parts have in a fleet.
#[derive(Debug)]
struct Names {
    accounts: Vec<AccountName>,
}

impl Region {
    /// The fleet that a planner is given after this window.
    ///
    /// # Errors
    ///
    /// Where a name of a node or an account cannot be made from the stamp's.
    pub fn fleet(
        &self,
        truth: &Truth,
        draw: Draw,
    ) -> Result<planner::Fleet, dataproxy_router_api::NameError> {
        let accounts = self.stamps.iter().map(|stamp| format!("{}store", stamp.name).parse());
        let names = Names { accounts: accounts.collect::<Result<_, _>>()? };
        let mut stamps = Vec::new();
        for (place, stamp) in self.stamps.iter().enumerate() {
            let mut pools = Vec::new();
            for pool in truth.pools.iter().filter(|pool| pool.stamp == place) {
                pools.push(self.measured(pool, draw)?);
            }
            stamps.push(planner::Stamp {
                name: stamp.name.clone(),
                state: stamp.state,
                kind: stamp.kind,
                pools,
                held: stamp.held.clone(),
            });
        }
        let mut registries: Vec<_> =
            (0..self.registries.len()).map(|r| self.known(r, truth, &names)).collect();
        registries.sort_by(|one, other| one.name.cmp(&other.name));
        let mut reads = BTreeMap::new();
        for registry in &registries {
            for account in &registry.placement {
                *reads.entry(account.clone()).or_insert(0.0) += registry.peak_bytes_per_second * MISSES;
            }
        }
        stamps.sort_by(|one, other| one.name.cmp(&other.name));
        let account = |name: &AccountName| planner::Account {
            name: name.clone(),
            egress_bytes_per_second: Some(EGRESS),
            peak_read_bytes_per_second: reads.get(name).copied().unwrap_or(0.0),
        };
        let mut accounts: Vec<_> = names.accounts.iter().map(account).collect();
        accounts.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(planner::Fleet {
            revision: Revision(1),
            taken: taken(draw.day, self.bins),
            stamps,
            registries,
            accounts,
        })
    }

    /// What the control plane knows of a registry beside its CPU.
    fn known(&self, place: usize, truth: &Truth, names: &Names) -> planner::Registry {
        let registry = &self.registries[place];
        let (mut bytes, mut flows, mut requests) = (0.0_f64, 0.0_f64, 0.0_f64);
        for used in &registry.uses {
            let Some(part) = truth.pool(registry.home, used.role).and_then(|pool| pool.part(place)) else {
                continue;
            };
            let peak = part.weight.iter().copied().fold(0.0, f32::max);
            let most = part.flows.iter().copied().max().unwrap_or(0);
            bytes += f64::from(peak) * used.bytes_per_flow;
            // A request of an ordinary flow takes about a second.
            requests += f64::from(most);
            if used.role != Role::Registry {
                flows += part.flows.iter().map(|count| f64::from(*count)).sum::<f64>() / self.bins as f64;
            }
        }
        planner::Registry {
            name: registry.name.clone(),
            tenant: Some(format!("tenant-{}", registry.tenant)),
            class: String::new(),
            measured: true,
            hit_share: 1.0 - MISSES,
            home_stamp: self.stamps[registry.home].name.clone(),
            placement: vec![names.accounts[registry.home].clone()],
            peak_bytes_per_second: bytes,
            peak_requests_per_second: requests,
            mean_flows: flows,
            hot_set_bytes: registry.hot_set_bytes as u64,
            pinned: registry.pinned.clone(),
            keep_apart: registry
                .keep_apart
                .iter()
                .map(|&other| self.registries[other].name.clone())
                .collect(),
            last_move: registry.last_move.clone(),
        }
    }

    fn measured(
        &self,
        pool: &PoolTruth,
        draw: Draw,
    ) -> Result<planner::Pool, dataproxy_router_api::NameError> {
        let stamp = &self.stamps[pool.stamp];
        let cores = stamp.pool(pool.role).map_or(1.0, |pool| pool.cores);
        let demand = pool.demand();
        let key = [draw.seed, draw.key(), pool.stamp as u64, pool.role as u64];
        let mut chance = stream(Purpose::Measuring, &key);
        let lost = self.lost(pool, &demand, &mut chance);
        let busy: Vec<f32> = demand
            .iter()
            .map(|load| {
                (f64::from(*load) * around_one(&mut chance, self.measuring.noise_sigma)).min(1.0) as f32
            })
            .collect();
        let mut shares: Vec<Vec<f64>> = Vec::new();
        for part in &pool.parts {
            // A registry's paths through the code are its own, so is the error that they cause, day after day.
            let mut own = stream(Purpose::Measuring, &[draw.seed, part.registry as u64]);
            let bias = around_one(&mut own, self.measuring.bias_sigma);
            shares.push(part.load.iter().map(|load| self.sampled(*load, cores, bias, &mut chance)).collect());
        }
        scale(&mut shares, &busy, pool.idle);
        // An earlier day's signal is measured too, but its P95 is that of the truth within a few thousandths.
        let past = (draw.day - PAST_DAYS..draw.day)
            .filter_map(|day| self.run_pool(Draw { day, ..draw }, pool.stamp, pool.role))
            .map(|pool| nearest_rank(pool.hot(), 0.95))
            .collect();
        let mut nodes = Vec::new();
        for node in 0..pool.nodes {
            let bins = (0..pool.bins).map(|bin| {
                let at = node * pool.bins + bin;
                (!lost[at]).then(|| planner::Bin {
                    busy: busy[at],
                    observed_seconds: BIN_SECONDS as f32,
                    in_rotation_seconds: BIN_SECONDS as f32,
                })
            });
            let name: NodeName = format!("{}-{}-{node:02}", stamp.name, word(pool.role)).parse()?;
            nodes.push(planner::Node { name, cores: cores as f32, bins: bins.collect() });
        }
        for share in &mut shares {
            share.iter_mut().zip(&lost).filter(|(_, lost)| **lost).for_each(|(share, _)| *share = 0.0);
        }
        let mut shares: Vec<_> = pool
            .parts
            .iter()
            .zip(&shares)
            .map(|(part, share)| planner::Share {
                registry: self.registries[part.registry].name.clone(),
                busy: share
                    .chunks(pool.bins)
                    .map(|node| node.iter().map(|load| *load as f32).collect())
                    .collect(),
            })
            .collect();
        shares.sort_by(|one, other| one.registry.cmp(&other.registry));
        Ok(planner::Pool {
            role: pool.role,
            window: planner::Window {
                first: first_bin(draw.day),
                bins: pool.bins as u32,
                bin_seconds: BIN_SECONDS,
            },
            nodes,
            shares,
            min_nodes: Some(pool.nodes as u32),
            build: "1".into(),
            zones: None,
            past_p95: past,
        })
    }

    /// A node-minute of a registry as sampling sees it.
    fn sampled(&self, load: f32, cores: f64, bias: f64, chance: &mut rand::rngs::Xoshiro256PlusPlus) -> f64 {
        if load <= 0.0 {
            return 0.0;
        }
        let per_load = cores * f64::from(BIN_SECONDS) * self.measuring.samples_per_core_second;
        let samples = f64::from(load) * per_load;
        // Poisson, by its normal limit: a share of a thousandth of a node has some 75 samples.
        (samples + samples.sqrt() * normal(chance)).max(0.0) / per_load * bias
    }

    fn lost(
        &self,
        pool: &PoolTruth,
        demand: &[f32],
        chance: &mut rand::rngs::Xoshiro256PlusPlus,
    ) -> Vec<bool> {
        let mut lost: Vec<bool> =
            demand.iter().map(|_| chance.random::<f64>() < self.measuring.lost).collect();
        let of_pool = |silence: &&Silence| silence.stamp == pool.stamp && silence.role == pool.role;
        for silence in self.measuring.silences.iter().filter(of_pool) {
            for bin in silence.from..silence.to.min(pool.bins) {
                let load = |node: &usize| demand[node * pool.bins + bin];
                let node = match silence.who {
                    Silent::Node(node) => Some(node),
                    Silent::Hottest => (0..pool.nodes).max_by(|one, other| load(one).total_cmp(&load(other))),
                };
                if let Some(node) = node.filter(|node| *node < pool.nodes) {
                    lost[node * pool.bins + bin] = true;
                }
            }
        }
        lost
    }
}

/// Shares of a node-minute add up to what the node measured beyond its own.
fn scale(shares: &mut [Vec<f64>], busy: &[f32], idle: f64) {
    for (at, busy) in busy.iter().enumerate() {
        let sum: f64 = shares.iter().map(|share| share[at]).sum();
        if sum > 0.0 {
            let factor = (f64::from(*busy) - idle).max(0.0) / sum;
            shares.iter_mut().for_each(|share| share[at] *= factor);
        }
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::All => "all",
        Role::Registry => "registry",
        Role::Dataproxy => "dataproxy",
    }
}

#[cfg(test)]
mod tests;
