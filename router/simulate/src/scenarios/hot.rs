//! A hot stamp `a`, and somewhere to go.

use dataproxy_planner::StampKind;
use dataproxy_router_api::{NameError, Role};
use rand::RngExt as _;

use crate::region::{Pool, Region};
use crate::rhythm::Rhythm;
use crate::town::{Town, Trade};

/// Windows on which a scenario's pools are made hot: a point more or less is part of the scenario.
pub(super) const FIT_WINDOWS: u64 = 3;

/// A stamp and its co-tenants, before their parameters are drawn.
pub(super) struct Plot {
    pub(super) name: &'static str,
    /// Hot-node P95 of what is asked for, in percent.
    pub(super) p95: f64,
    pub(super) nodes: std::ops::RangeInclusive<usize>,
    pub(super) count: usize,
    pub(super) amplitude: f64,
    /// Bins by which its peak is late.
    pub(super) late: f64,
    pub(super) cost_sigma: f64,
    /// Part of a minute's flows that stay.
    pub(super) stay: std::ops::Range<f64>,
}

impl Plot {
    pub(super) fn new(name: &'static str, p95: f64) -> Self {
        Self {
            name,
            p95,
            nodes: 8..=14,
            count: 25,
            amplitude: 0.4,
            late: 0.0,
            cost_sigma: 0.3,
            stay: 0.0..0.3,
        }
    }
}

/// Builds stamps with drawn parameters: flows, Zipf's exponent, weights, wandering, and a point or two of heat.
pub(super) fn town(seed: u64, plots: &[Plot]) -> Result<Region, NameError> {
    let mut town = Town::new(seed);
    let mut heats = Vec::new();
    for plot in plots {
        let (nodes, flows, zipf, trade) = {
            let chance = town.chance();
            let rhythm = Rhythm {
                late: plot.late,
                rho: chance.random_range(0.85..0.95),
                ..Rhythm::daily(plot.amplitude, chance.random_range(0.2..0.35))
            };
            let trade = Trade {
                rhythm,
                weight_sigma: chance.random_range(0.6..1.0),
                bytes_per_flow: chance.random_range(6e6..10e6),
                cost_sigma: plot.cost_sigma,
                stay: chance.random_range(plot.stay.clone()),
            };
            let nodes = chance.random_range(plot.nodes.clone());
            let flows = nodes as f64 * chance.random_range(16.0..26.0);
            heats.push(plot.p95 + chance.random_range(-1.0..1.0));
            (nodes, flows, chance.random_range(0.8..1.1), trade)
        };
        let stamp = town.stamp(plot.name, nodes)?;
        town.neighbours(stamp, plot.count, zipf, flows, &trade)?;
    }
    let mut region = town.region();
    for (stamp, p95) in heats.into_iter().enumerate() {
        region.heat(stamp, Role::All, p95, FIT_WINDOWS);
    }
    Ok(region)
}

pub(super) fn zipf(seed: u64) -> Result<Region, NameError> {
    town(seed, &[Plot::new("a", 47.0), Plot::new("b", 24.0), Plot::new("c", 28.0)])
}

pub(super) fn sticky(seed: u64) -> Result<Region, NameError> {
    let keeps = |name, p95| Plot { stay: 0.6..0.9, ..Plot::new(name, p95) };
    town(seed, &[keeps("a", 47.0), keeps("b", 24.0), keeps("c", 28.0)])
}

pub(super) fn costs(seed: u64) -> Result<Region, NameError> {
    let a = Plot { cost_sigma: 0.9, ..Plot::new("a", 47.0) };
    town(seed, &[a, Plot::new("b", 24.0), Plot::new("c", 28.0)])
}

pub(super) fn anti_phase(seed: u64) -> Result<Region, NameError> {
    let a = Plot { amplitude: 0.8, late: 360.0, ..Plot::new("a", 47.0) };
    let b = Plot { amplitude: 0.8, late: -360.0, ..Plot::new("b", 35.0) };
    town(seed, &[a, b])
}

pub(super) fn in_phase(seed: u64) -> Result<Region, NameError> {
    // Both wake late; b sleeps through most of the window, so that its average is low.
    let a = Plot { amplitude: 0.8, late: 360.0, ..Plot::new("a", 47.0) };
    let b = Plot { amplitude: 0.8, late: 360.0, nodes: 12..=14, ..Plot::new("b", 42.0) };
    let c = Plot { amplitude: 0.0, nodes: 12..=14, ..Plot::new("c", 32.0) };
    town(seed, &[a, b, c])
}

pub(super) fn idle_tail(seed: u64) -> Result<Region, NameError> {
    let mut region = town(seed, &[Plot::new("a", 47.0), Plot::new("b", 24.0), Plot::new("c", 28.0)])?;
    let model = region.registries[0].clone();
    for at in 0..100 {
        let mut idle = model.clone();
        idle.name = format!("idle-{at:03}").parse()?;
        idle.tenant = 500 + at;
        idle.hot_set_bytes /= 1e4;
        idle.uses.iter_mut().for_each(|used| used.flows /= 1e4);
        region.registries.push(idle);
    }
    Ok(region)
}

pub(super) fn two_pools(seed: u64) -> Result<Region, NameError> {
    let mut town = Town::new(seed);
    let trade = Trade { cost_sigma: 0.3, ..Trade::ordinary() };
    let heats = [("a", 28.0, 47.0), ("b", 43.5, 20.0), ("c", 24.0, 26.0)];
    for (name, _, _) in heats {
        let nodes = town.chance().random_range(8..=12);
        let pools = vec![Pool::new(Role::Registry, 6), Pool::new(Role::Dataproxy, nodes)];
        let stamp = town.stamp_of(name, StampKind::Shared, pools)?;
        town.neighbours(stamp, 25, 1.0, 20.0 * nodes as f64, &trade)?;
    }
    let mut region = town.region();
    for (stamp, (_, registry, dataproxy)) in heats.into_iter().enumerate() {
        region.heat(stamp, Role::Registry, registry, FIT_WINDOWS);
        region.heat(stamp, Role::Dataproxy, dataproxy, FIT_WINDOWS);
    }
    Ok(region)
}

pub(super) fn pinned(seed: u64) -> Result<Region, NameError> {
    let mut region = zipf(seed)?;
    let of_b = region.registries.iter().position(|registry| registry.home == 1).unwrap_or(0);
    region.registries[0].pinned = Some("its clients know the addresses".into());
    region.registries[1].keep_apart = vec![of_b];
    Ok(region)
}

pub(super) fn incident(seed: u64) -> Result<Region, NameError> {
    let mut region = zipf(seed)?;
    region.stamps[1].held = Some("incident: storage errors".into());
    Ok(region)
}

pub(super) fn saturated(seed: u64) -> Result<Region, NameError> {
    let a = Plot { nodes: 8..=8, ..Plot::new("a", 105.0) };
    let roomy = |name, p95| Plot { nodes: 18..=20, ..Plot::new(name, p95) };
    town(seed, &[a, roomy("b", 14.0), roomy("c", 16.0)])
}

pub(super) fn growth(seed: u64) -> Result<Region, NameError> {
    let mut region = zipf(seed)?;
    region.registries.iter_mut().for_each(|registry| registry.rhythm.growth = 0.015);
    Ok(region)
}
