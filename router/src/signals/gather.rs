//! Who causes a pool's CPU time, and the region as the planner takes it.

use std::collections::BTreeMap;

use dataproxy_planner::{Account, Fleet, LastMove, Node, Pool, Registry, Share, Stamp, StampKind};
use dataproxy_router_api::{RegistryName, Used};

use super::SignalTerms;
use super::pools::Gathered;
use crate::migration::UnixMillis;
use crate::minutes::{FileError, Minutes};
use crate::state::State;

/// What one registry caused in a pool over its window.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    /// All of it; flows are added up over bins and nodes.
    pub sum: Used,
    /// CPU time as a part of each node's cores, by node in the pool's order and bin.
    pub busy: Vec<Vec<f32>>,
    /// CPU time of each node, in seconds.
    pub by_node: Vec<f64>,
    /// Bytes and requests a second of the pool, by bin.
    pub rates: Vec<Rate>,
}

/// What a registry was served in one bin, in sum over the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    bytes: u64,
    missed: u64,
    requests: u64,
}

/// Who caused what.
#[derive(Clone, Debug, Default)]
pub struct Causes {
    /// By registry.
    pub registries: BTreeMap<RegistryName, Cause>,
    /// What was too little to be told by itself.
    pub other: Used,
    /// CPU time of the pool, in seconds, in bins that are to be believed.
    pub busy_seconds: f64,
    /// What of it no registry caused.
    pub system_seconds: f64,
    /// CPU time of each node, in seconds.
    pub by_node: Vec<f64>,
}

/// Reads who caused what.
pub(super) fn causes(minutes: &Minutes, pool: &Gathered) -> Result<Causes, FileError> {
    let window = pool.window;
    let bins = window.bins as usize;
    let mut causes = Causes { by_node: vec![0.0; pool.nodes.len()], ..Causes::default() };
    for (node, series) in pool.nodes.iter().enumerate() {
        let numbers = window.first..window.first + u64::from(window.bins);
        minutes.bins(&series.name, window.bin_seconds, numbers, |bin| {
            let at = usize::try_from(bin.number - window.first).unwrap_or(usize::MAX);
            // What has no part in the series has none here.
            if series.bins.get(at).copied().flatten().is_none() || !bin.suspect.is_empty() {
                return;
            }
            let capacity = bin.cores * bin.observed_seconds;
            causes.busy_seconds += bin.busy_seconds;
            causes.system_seconds += bin.system_seconds();
            causes.by_node[node] += bin.busy_seconds;
            let told: f64 =
                bin.registries.iter().map(|of| of.used.cpu_seconds).sum::<f64>() + bin.other.cpu_seconds;
            // A node that says that its registries used more than it did is taken at the lower word.
            let scale = if told > bin.busy_seconds { bin.busy_seconds / told } else { 1.0 };
            causes.other.add(&Used { cpu_seconds: bin.other.cpu_seconds * scale, ..bin.other });
            for of in &bin.registries {
                let cause = causes.registries.entry(of.registry.clone()).or_insert_with(|| Cause {
                    busy: vec![vec![0.0; bins]; pool.nodes.len()],
                    by_node: vec![0.0; pool.nodes.len()],
                    rates: vec![Rate::default(); bins],
                    ..Cause::default()
                });
                let cpu_seconds = of.used.cpu_seconds * scale;
                cause.sum.add(&Used { cpu_seconds, ..of.used });
                cause.by_node[node] += cpu_seconds;
                if capacity > 0.0 {
                    cause.busy[node][at] += (cpu_seconds / capacity) as f32;
                }
                let rate = &mut cause.rates[at];
                rate.bytes += of.used.hit_bytes + of.used.miss_bytes;
                rate.missed += of.used.miss_bytes;
                rate.requests += of.used.requests;
            }
        })?;
    }
    Ok(causes)
}

impl Causes {
    /// The registries that caused most, most first.
    pub fn top(&self, most: usize) -> Vec<(&RegistryName, &Cause)> {
        let mut all: Vec<_> = self.registries.iter().collect();
        all.sort_by(|one, two| two.1.sum.cpu_seconds.total_cmp(&one.1.sum.cpu_seconds));
        all.truncate(most);
        all
    }
}

/// The region as the planner takes it.
pub(super) fn fleet(
    state: &State,
    pools: Vec<Gathered>,
    causes: &[Causes],
    terms: &SignalTerms,
    now: UnixMillis,
) -> Fleet {
    let bin_seconds = |pool: &Gathered| f64::from(pool.window.bin_seconds);
    let registries = state.bindings().map(|binding| {
        let binding = &binding.value;
        let home = pools.iter().zip(causes).filter(|(pool, _)| pool.stamp == binding.home_stamp);
        let found: Vec<_> = home
            .filter_map(|(pool, causes)| Some((pool, causes.registries.get(&binding.registry)?)))
            .collect();
        let peak = |of: fn(&Rate) -> u64| {
            let of_pool = |(pool, cause): &(&Gathered, &Cause)| {
                cause.rates.iter().map(of).max().unwrap_or(0) as f64 / bin_seconds(pool)
            };
            // The sum of nothing is -0.
            found.iter().map(of_pool).sum::<f64>() + 0.0
        };
        let flows = found.iter().map(|(pool, cause)| cause.sum.flows / f64::from(pool.window.bins.max(1)));
        let hit: u64 = found.iter().map(|(_, cause)| cause.sum.hit_bytes).sum();
        let all: u64 = found.iter().map(|(_, cause)| cause.sum.hit_bytes + cause.sum.miss_bytes).sum();
        let last = state.last_move_of(&binding.registry).map(|migration| &migration.value);
        Registry {
            name: binding.registry.clone(),
            home_stamp: binding.home_stamp.clone(),
            tenant: None,
            class: String::new(),
            measured: !found.is_empty(),
            placement: vec![binding.placement.account.clone()],
            peak_bytes_per_second: peak(|rate| rate.bytes),
            peak_requests_per_second: peak(|rate| rate.requests),
            mean_flows: flows.sum::<f64>() + 0.0,
            hit_share: if all > 0 { hit as f64 / all as f64 } else { 1.0 },
            hot_set_bytes: 0,
            pinned: None,
            keep_apart: Vec::new(),
            last_move: last
                .and_then(|last| Some(LastMove { at: last.switched?.0 / 1000, from: last.from.clone() })),
        }
    });
    let registries: Vec<Registry> = registries.collect();
    let accounts = accounts(state, &pools, causes);
    let mut by_stamp: BTreeMap<_, Vec<Pool>> = BTreeMap::new();
    for (pool, causes) in pools.into_iter().zip(causes) {
        let mut shares: Vec<Share> = causes
            .top(terms.top_registries)
            .into_iter()
            .map(|(registry, cause)| Share { registry: registry.clone(), busy: cause.busy.clone() })
            .collect();
        shares.sort_by(|one, two| one.registry.cmp(&two.registry));
        let nodes = pool.nodes.into_iter();
        let nodes = nodes.map(|node| Node { name: node.name, cores: node.cores, bins: node.bins }).collect();
        by_stamp.entry(pool.stamp).or_default().push(Pool {
            role: pool.role,
            window: pool.window,
            nodes,
            shares,
            min_nodes: None,
            build: pool.build,
            zones: None,
            past_p95: Vec::new(),
        });
    }
    let stamps = state.stamps().map(|record| Stamp {
        name: record.value.name.clone(),
        state: record.value.state,
        kind: StampKind::Shared,
        pools: by_stamp.remove(&record.value.name).unwrap_or_default(),
        held: None,
    });
    let stamps = stamps.collect();
    Fleet { revision: state.revision(), taken: now.0 / 1000, stamps, registries, accounts }
}

/// What the region's nodes read from each account in its busiest bin.
fn accounts(state: &State, pools: &[Gathered], causes: &[Causes]) -> Vec<Account> {
    let mut read: BTreeMap<_, BTreeMap<u64, f64>> = BTreeMap::new();
    for record in state.stamps() {
        read.extend(record.value.accounts.iter().map(|account| (account.clone(), BTreeMap::new())));
    }
    for (pool, causes) in pools.iter().zip(causes) {
        for (registry, cause) in &causes.registries {
            let Some(binding) = state.binding(registry) else { continue };
            let of_account = read.entry(binding.value.placement.account.clone()).or_default();
            for (number, rate) in (pool.window.first..).zip(&cause.rates).filter(|(_, rate)| rate.missed > 0)
            {
                let start = number * u64::from(pool.window.bin_seconds);
                *of_account.entry(start).or_default() +=
                    rate.missed as f64 / f64::from(pool.window.bin_seconds);
            }
        }
    }
    let account = |(name, bins): (_, BTreeMap<u64, f64>)| Account {
        name,
        egress_bytes_per_second: None,
        peak_read_bytes_per_second: bins.into_values().fold(0.0, f64::max),
    };
    read.into_iter().map(account).collect()
}
