//! Makes regions: stamps, their co-tenants by Zipf's law, and how hot a pool is.

use dataproxy_planner::StampKind;
use dataproxy_router_api::{NameError, RegistryName, Role, StampName, StampState};
use rand::rngs::Xoshiro256PlusPlus;

use crate::chance::{Purpose, around_one, stream};
use crate::region::{BINS, Measuring, Pool, Region, Registry, Stamp, Use};
use crate::rhythm::Rhythm;
use crate::truth::Draw;

/// First of the seeds on which pools are made as hot as they should be; no judgement uses any.
const FIT_SEED: u64 = 900_001;

/// What kind of traffic registries have.
#[derive(Clone, Debug)]
pub struct Trade {
    /// Its rhythm.
    pub rhythm: Rhythm,
    /// Sigma of a flow's weight.
    pub weight_sigma: f64,
    /// Bytes a second of a flow of weight 1.
    pub bytes_per_flow: f64,
    /// Sigma of the log-normal spread between registries of what CPU costs in bytes: handshakes, small requests, misses.
    pub cost_sigma: f64,
    /// Part of a minute's flows that stay.
    pub stay: f64,
}

impl Trade {
    /// Co-tenants as the article's stamps have them.
    pub fn ordinary() -> Self {
        Self {
            rhythm: Rhythm::daily(0.4, 0.25),
            weight_sigma: 0.8,
            bytes_per_flow: 8e6,
            cost_sigma: 0.0,
            stay: 0.0,
        }
    }
}

/// A region that is being made.
#[derive(Debug)]
pub struct Town {
    region: Region,
    chance: Xoshiro256PlusPlus,
}

impl Town {
    /// An empty one; whatever is drawn while it is made comes from the seed.
    pub fn new(seed: u64) -> Self {
        let region = Region {
            stamps: Vec::new(),
            registries: Vec::new(),
            storms: Vec::new(),
            measuring: Measuring::default(),
            bins: BINS,
        };
        Self { region, chance: stream(Purpose::Parameters, &[seed]) }
    }

    /// Parameters may be drawn from the town's own chance.
    pub fn chance(&mut self) -> &mut Xoshiro256PlusPlus {
        &mut self.chance
    }

    /// A stamp with one pool for everything. Gives its place.
    ///
    /// # Errors
    ///
    /// Where the name is none.
    pub fn stamp(&mut self, name: &str, nodes: usize) -> Result<usize, NameError> {
        self.stamp_of(name, StampKind::Shared, vec![Pool::new(Role::All, nodes)])
    }

    /// A stamp of a kind. Gives its place.
    ///
    /// # Errors
    ///
    /// Where the name is none.
    pub fn stamp_of(&mut self, name: &str, kind: StampKind, pools: Vec<Pool>) -> Result<usize, NameError> {
        let name: StampName = name.parse()?;
        self.region.stamps.push(Stamp { name, state: StampState::Active, kind, pools, held: None });
        Ok(self.region.stamps.len() - 1)
    }

    /// Co-tenants of a stamp, each a tenant of its own: `flows` in each of its pools, shared out by Zipf's law.
    ///
    /// # Errors
    ///
    /// Where a registry's name would be none.
    pub fn neighbours(
        &mut self,
        stamp: usize,
        count: usize,
        zipf: f64,
        flows: f64,
        trade: &Trade,
    ) -> Result<(), NameError> {
        let roles: Vec<Role> = self.region.stamps[stamp].pools.iter().map(|pool| pool.role).collect();
        let stamp_name = self.region.stamps[stamp].name.clone();
        for (rank, share) in zipf_shares(count, zipf).into_iter().enumerate() {
            let flows: Vec<_> = roles.iter().map(|&role| (role, share * flows)).collect();
            self.registry(&format!("{stamp_name}-{:02}", rank + 1), stamp, &flows, trade)?;
        }
        Ok(())
    }

    /// A registry, a tenant of its own, with flows by role. Gives its place.
    ///
    /// # Errors
    ///
    /// Where the name is none.
    pub fn registry(
        &mut self,
        name: &str,
        home: usize,
        flows: &[(Role, f64)],
        trade: &Trade,
    ) -> Result<usize, NameError> {
        let name: RegistryName = name.parse()?;
        let place = self.region.registries.len();
        let cost = around_one(&mut self.chance, trade.cost_sigma);
        let uses: Vec<Use> = flows
            .iter()
            .map(|&(role, flows)| Use {
                role,
                flows,
                cores_per_flow: 0.1 * cost,
                // Manifests and tags are small.
                bytes_per_flow: if role == Role::Registry { 0.0 } else { trade.bytes_per_flow },
                weight_sigma: trade.weight_sigma,
                stay: trade.stay,
            })
            .collect();
        // The hot set is what a quarter of an hour serves.
        let hot_set_bytes = uses.iter().map(|used| used.flows * used.bytes_per_flow * 900.0).sum();
        self.region.registries.push(Registry {
            name,
            tenant: place as u32,
            home,
            uses,
            rhythm: trade.rhythm.clone(),
            hot_set_bytes,
            pinned: None,
            keep_apart: Vec::new(),
            last_move: None,
        });
        Ok(place)
    }

    /// The region as it is now.
    pub fn region(self) -> Region {
        self.region
    }
}

impl Region {
    /// Makes a pool so hot that its P95 is `p95` percent on average over so many windows of other seeds: scales what a flow
    /// of those at home there costs. The balance between them stays.
    pub fn heat(&mut self, stamp: usize, role: Role, p95: f64, windows: u64) {
        let Some(pool) = self.stamps[stamp].pool(role) else { return };
        let idle = pool.idle * 100.0;
        // Cut loads would hide what there is to scale.
        self.cost(stamp, role, 1e-3);
        let runs = (FIT_SEED..FIT_SEED + windows).map(|seed| {
            let truth = self.run_pool(Draw { seed, day: 0 }, stamp, role);
            truth.map_or(0.0, |pool| pool.p95() - idle)
        });
        let mean = runs.sum::<f64>() / windows.max(1) as f64;
        if mean > 0.0 {
            self.cost(stamp, role, (p95 - idle) / mean);
        }
    }

    fn cost(&mut self, stamp: usize, role: Role, factor: f64) {
        for registry in self.registries.iter_mut().filter(|registry| registry.home == stamp) {
            for used in registry.uses.iter_mut().filter(|used| used.role == role) {
                used.cores_per_flow *= factor;
            }
        }
    }
}

/// Parts that add up to 1, the n-th in proportion to n^-exponent.
pub fn zipf_shares(count: usize, exponent: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=count).map(|rank| (rank as f64).powf(-exponent)).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_as_hot_as_it_was_made() {
        let mut town = Town::new(1);
        let stamp = town.stamp("a", 8).expect("a name");
        town.neighbours(stamp, 10, 1.1, 150.0, &Trade::ordinary()).expect("names");
        let mut region = town.region();
        region.heat(stamp, Role::All, 43.0, 8);
        let mean = (1..=10).map(|seed| region.run(Draw { seed, day: 0 }).p95(stamp)).sum::<f64>() / 10.0;
        assert!((mean - 43.0).abs() < 1.5, "{mean}");
    }

    #[test]
    fn zipf_shares_add_up_and_fall() {
        let shares = zipf_shares(25, 1.1);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((shares[0] / shares[1] - 2.0_f64.powf(1.1)).abs() < 1e-9);
    }
}
