//! A fleet's measurements in the form that predictions need: dense, checked once, shares by registry.

mod series;

use std::collections::HashMap;

use dataproxy_router_api::{RegistryName, Role, StampName};

pub(crate) use series::Series;

use crate::signal::{self, Signal};
use crate::{Fleet, Policy, Pool, Registry, Stamp};

/// A fleet, looked up by name and by number.
pub(crate) struct World<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) policy: &'a Policy,
    pub(crate) seed: u64,
    /// Pools of all stamps, in the fleet's order.
    pub(crate) pools: Vec<PoolLoad<'a>>,
    registries: HashMap<&'a RegistryName, usize>,
    stamps: HashMap<&'a StampName, usize>,
}

/// One pool.
pub(crate) struct PoolLoad<'a> {
    /// The stamp's place in the fleet.
    pub(crate) stamp: usize,
    pub(crate) pool: &'a Pool,
    /// Its signal, or why it has none.
    pub(crate) signal: Result<Signal, String>,
    /// Busy ratios by node, then by bin: 0 where a node does not count. Empty without a signal.
    pub(crate) busy: Vec<f32>,
    /// Whether every member was measured, by bin.
    pub(crate) whole: Vec<bool>,
    /// Nodes that were in rotation for at least half of the window: those that get new flows.
    pub(crate) members: Vec<usize>,
    /// Average of what its nodes do, in cores.
    pub(crate) mean_cores: f64,
    /// What its registries cause, by the registry's place in the fleet.
    pub(crate) series: HashMap<usize, Series>,
    /// 90th percentile of what a registry causes in its busiest bin, in cores: by class, and of all.
    prior: HashMap<&'a str, f64>,
    prior_of_all: f64,
    /// The same for each byte or request a second in the registry's busiest bin.
    cost: f64,
}

impl<'a> World<'a> {
    pub(crate) fn new(fleet: &'a Fleet, policy: &'a Policy, seed: u64) -> Self {
        let registries: HashMap<_, _> =
            fleet.registries.iter().enumerate().map(|(place, registry)| (&registry.name, place)).collect();
        let stamps = fleet.stamps.iter().enumerate().map(|(place, stamp)| (&stamp.name, place)).collect();
        let mut pools = Vec::new();
        for (place, stamp) in fleet.stamps.iter().enumerate() {
            for pool in &stamp.pools {
                pools.push(PoolLoad::new(place, pool, fleet, &registries, policy));
            }
        }
        Self { fleet, policy, seed, pools, registries, stamps }
    }

    pub(crate) fn registry(&self, name: &RegistryName) -> Option<usize> {
        self.registries.get(name).copied()
    }

    pub(crate) fn stamp(&self, name: &StampName) -> Option<usize> {
        self.stamps.get(name).copied()
    }

    /// A registry's home; `None` if there is no such stamp.
    pub(crate) fn home(&self, registry: usize) -> Option<usize> {
        self.stamp(&self.fleet.registries[registry].home_stamp)
    }

    /// The numbers of a stamp's pools.
    pub(crate) fn pools_of(&self, stamp: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.pools.len()).filter(move |pool| self.pools[*pool].stamp == stamp)
    }

    pub(crate) fn pool_of(&self, stamp: usize, role: Role) -> Option<usize> {
        self.pools_of(stamp).find(|pool| self.pools[*pool].pool.role == role)
    }

    pub(crate) fn stamp_of(&self, pool: usize) -> &'a Stamp {
        &self.fleet.stamps[self.pools[pool].stamp]
    }

    /// A registry's part of its home's CPU, in the pool where that is largest.
    pub(crate) fn share(&self, registry: usize) -> f64 {
        let Some(home) = self.home(registry) else { return 0.0 };
        let of = |pool: usize| {
            let load = &self.pools[pool];
            let cores = load.mean(registry, &self.fleet.registries[registry]);
            if load.mean_cores > 0.0 { cores / load.mean_cores } else { 0.0 }
        };
        self.pools_of(home).map(of).fold(0.0, f64::max)
    }
}

impl<'a> PoolLoad<'a> {
    fn new(
        stamp: usize,
        pool: &'a Pool,
        fleet: &'a Fleet,
        registries: &HashMap<&RegistryName, usize>,
        policy: &Policy,
    ) -> Self {
        let signal = signal::signal(pool, &policy.signal).map_err(|bad| bad.to_string());
        let signal = signal.and_then(|signal| check_shares(pool).map(|()| signal));
        let mut load = Self {
            stamp,
            pool,
            signal,
            busy: Vec::new(),
            whole: vec![true; pool.window.bins as usize],
            members: Vec::new(),
            mean_cores: 0.0,
            series: HashMap::new(),
            prior: HashMap::new(),
            prior_of_all: 0.0,
            cost: 0.0,
        };
        if load.signal.is_ok() {
            load.fill(policy);
            for share in &pool.shares {
                if let Some(place) = registries.get(&share.registry) {
                    load.series.insert(*place, Series::new(share, &load));
                }
            }
            load.learn(&fleet.registries);
        }
        load
    }

    pub(crate) fn bins(&self) -> usize {
        self.pool.window.bins as usize
    }

    pub(crate) fn nodes(&self) -> usize {
        self.pool.nodes.len()
    }

    pub(crate) fn node(&self, node: usize) -> &[f32] {
        &self.busy[node * self.bins()..(node + 1) * self.bins()]
    }

    /// What a registry causes on average, in cores.
    pub(crate) fn mean(&self, place: usize, registry: &Registry) -> f64 {
        self.series.get(&place).map_or_else(|| self.guess(registry), |series| series.mean)
    }

    /// What a registry without a share may cause in its busiest bin, in cores: by its bytes or requests and what
    /// those cost for nine of ten others, or if it was not measured as much as nine of ten others of its class.
    pub(crate) fn guess(&self, registry: &Registry) -> f64 {
        if !registry.measured {
            return self.prior.get(registry.class.as_str()).copied().unwrap_or(self.prior_of_all);
        }
        let smallest = self.series.values().map(|series| series.peak).reduce(f64::min);
        // The shares are those of the top ones: what is not among them is smaller.
        (self.cost * traffic(self.pool.role, registry)).min(smallest.unwrap_or(f64::MAX))
    }

    fn fill(&mut self, policy: &Policy) {
        let bins = self.bins();
        let seconds = self.pool.window.bin_seconds as f32;
        self.busy = vec![0.0; bins * self.nodes()];
        let mut there = vec![0_usize; self.nodes()];
        let mut missing = vec![false; bins];
        for (n, node) in self.pool.nodes.iter().enumerate() {
            for (t, bin) in node.bins.iter().enumerate() {
                match bin {
                    Some(bin) if bin.in_rotation_seconds < policy.signal.in_rotation_part * seconds => (),
                    Some(bin) if bin.observed_seconds >= policy.signal.observed_part * seconds => {
                        self.busy[n * bins + t] = bin.busy.min(1.0);
                        there[n] += 1;
                    }
                    _ => {
                        missing[t] = true;
                        there[n] += 1;
                    }
                }
            }
            let busy: f64 = self.node(n).iter().map(|busy| f64::from(*busy)).sum();
            self.mean_cores += busy * f64::from(node.cores) / bins as f64;
        }
        self.members = (0..self.nodes()).filter(|node| there[*node] * 2 >= bins).collect();
        self.whole = missing.into_iter().map(|missing| !missing).collect();
    }

    fn learn(&mut self, registries: &'a [Registry]) {
        let mut peaks: HashMap<&str, Vec<f64>> = HashMap::new();
        let (mut all, mut costs) = (Vec::new(), Vec::new());
        for (place, series) in &self.series {
            let registry = &registries[*place];
            peaks.entry(registry.class.as_str()).or_default().push(series.peak);
            all.push(series.peak);
            let traffic = traffic(self.pool.role, registry);
            costs.extend((traffic > 0.0).then(|| series.peak / traffic));
        }
        self.prior = peaks.into_iter().map(|(class, peaks)| (class, p90(peaks))).collect();
        self.prior_of_all = p90(all);
        self.cost = p90(costs);
    }
}

/// What a pool's work grows with: bytes, and requests where there are none.
fn traffic(role: Role, registry: &Registry) -> f64 {
    match role {
        Role::Registry => registry.peak_requests_per_second,
        Role::All | Role::Dataproxy => registry.peak_bytes_per_second,
    }
}

fn p90(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    signal::nearest_rank(&values, 900).unwrap_or(0.0)
}

fn check_shares(pool: &Pool) -> Result<(), String> {
    let bins = pool.window.bins as usize;
    for share in &pool.shares {
        let name = &share.registry;
        if share.busy.len() != pool.nodes.len() || share.busy.iter().any(|node| node.len() != bins) {
            let nodes = pool.nodes.len();
            return Err(format!("the share of {name} has to have {nodes} nodes with {bins} bins each"));
        }
        // NaN is in no range.
        let bad = share.busy.iter().flatten().find(|busy| !(0.0..=1.001).contains(*busy));
        if let Some(busy) = bad {
            return Err(format!("a share of {name} is {busy}; it has to be from 0 to 1"));
        }
    }
    Ok(())
}
