//! A small model of a region for this crate's tests: flows that come and go by the minute and fall on nodes at random.

use crate::chance::Chance;
use crate::{Account, Bin, Fleet, Node, Pool, Registry, Share, Stamp, StampKind, Window};
use dataproxy_router_api::{Revision, Role, StampState};

pub(crate) const NOW: u64 = 20_457 * 86_400 + 20 * 3600;
const BINS: usize = 720;
/// Every node has so many.
const CORES: f32 = 16.0;

/// A stamp with one pool.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) nodes: usize,
    pub(crate) registries: Vec<Uses>,
    /// How much more flows the first node gets than the others.
    pub(crate) lean: f64,
}

/// How a registry is used.
#[derive(Clone)]
pub(crate) struct Uses {
    pub(crate) name: String,
    /// Flows at a time, on average.
    pub(crate) flows: f64,
    /// What one keeps busy, as part of a node.
    pub(crate) per_flow: f64,
}

impl Uses {
    pub(crate) fn new(name: &str, flows: f64, per_flow: f64) -> Self {
        Self { name: name.into(), flows, per_flow }
    }
}

/// `count` registries whose flows add up to `flows`, the first with the most.
pub(crate) fn many(prefix: &str, count: usize, flows: f64, per_flow: f64) -> Vec<Uses> {
    let weight = |rank: usize| 1.0 / (rank as f64 + 1.0).powf(1.1);
    let all: f64 = (0..count).map(weight).sum();
    (0..count)
        .map(|rank| Uses::new(&format!("{prefix}{rank:02}"), flows * weight(rank) / all, per_flow))
        .collect()
}

fn poisson(mean: f64, chance: &mut Chance) -> usize {
    if mean > 50.0 {
        return (mean + mean.sqrt() * chance.normal()).round().max(0.0) as usize;
    }
    let (mut count, mut product) = (0, chance.part());
    let limit = (-mean).exp();
    while product > limit {
        count += 1;
        product *= chance.part();
    }
    count
}

/// Busy ratios of one registry: by node, then by bin. The flows depend on the registry and the day, where they fall on
/// the stamp as well.
pub(crate) fn flows(uses: &Uses, stamp: &Model, key: [u64; 2]) -> Vec<Vec<f32>> {
    let word =
        |name: &str| name.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let mut chance = Chance::of(&[key[0], key[1], word(&uses.name)]);
    let mut place = Chance::of(&[key[0], key[1], word(&uses.name), word(stamp.name), 1]);
    let mut busy = vec![Vec::with_capacity(BINS); stamp.nodes];
    let (keep, sigma) = (0.9_f64, 0.25);
    let mut noise = chance.normal();
    for bin in 0..BINS {
        let day = 0.8 + 0.4 * (std::f64::consts::PI * bin as f64 / BINS as f64).sin();
        noise = keep * noise + (1.0 - keep * keep).sqrt() * chance.normal();
        let factor = day * (sigma * noise - sigma * sigma / 2.0).exp();
        let mut now = vec![0.0; stamp.nodes];
        for _ in 0..poisson(uses.flows * factor, &mut chance) {
            let weight = (0.8 * chance.normal() - 0.32).exp();
            let nodes = stamp.nodes as f64 + stamp.lean;
            let node = ((place.part() * nodes - stamp.lean).max(0.0) as usize).min(stamp.nodes - 1);
            now[node] += (weight * uses.per_flow) as f32;
        }
        busy.iter_mut().zip(now).for_each(|(busy, now)| busy.push(now));
    }
    busy
}

/// What the nodes of a stamp do with these registries, without a cut at 1.
pub(crate) fn demand(stamp: &Model, uses: &[&Uses], key: [u64; 2]) -> Vec<Vec<f32>> {
    let mut busy = vec![vec![0.04_f32; BINS]; stamp.nodes];
    for uses in uses {
        for (sum, own) in busy.iter_mut().zip(flows(uses, stamp, key)) {
            sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        }
    }
    busy
}

fn pool(stamp: &Model, key: [u64; 2]) -> Pool {
    let all: Vec<&Uses> = stamp.registries.iter().collect();
    let busy = demand(stamp, &all, key);
    let whole =
        |busy: &f32| Some(Bin { busy: busy.min(1.0), observed_seconds: 60.0, in_rotation_seconds: 60.0 });
    let node = |(n, bins): (usize, &Vec<f32>)| Node {
        name: format!("{}-{n:02}", stamp.name).parse().unwrap(),
        cores: CORES,
        bins: bins.iter().map(whole).collect(),
    };
    let share = |uses: &Uses| {
        let mut own = flows(uses, stamp, key);
        // A node that is asked for too much does a part of what each asks for.
        for (own, all) in own.iter_mut().zip(&busy) {
            own.iter_mut().zip(all).for_each(|(own, all)| *own /= all.max(1.0));
        }
        Share { registry: uses.name.parse().unwrap(), busy: own }
    };
    Pool {
        role: Role::All,
        window: Window { first: (NOW - BINS as u64 * 60) / 60, bins: BINS as u32, bin_seconds: 60 },
        nodes: busy.iter().enumerate().map(node).collect(),
        shares: stamp.registries.iter().map(share).collect(),
        min_nodes: Some(stamp.nodes as u32),
        build: "1".into(),
        zones: None,
        past_p95: Vec::new(),
    }
}

/// What a planner sees of stamps on the day `key[1]` of the world `key[0]`.
pub(crate) fn fleet(stamps: &[Model], key: [u64; 2]) -> Fleet {
    let account = |name: &str| Account {
        name: format!("{name}store").parse().unwrap(),
        egress_bytes_per_second: Some(6.25e9),
        peak_read_bytes_per_second: 1e8,
    };
    let mut registries = Vec::new();
    for stamp in stamps {
        for uses in &stamp.registries {
            let busy = uses.flows * uses.per_flow;
            registries.push(Registry {
                name: uses.name.parse().unwrap(),
                home_stamp: stamp.name.parse().unwrap(),
                tenant: uses.name.split_once('-').map(|(tenant, _)| tenant.to_owned()),
                class: String::new(),
                measured: true,
                placement: vec![account(stamp.name).name],
                peak_bytes_per_second: busy * 1e9,
                peak_requests_per_second: uses.flows,
                mean_flows: uses.flows,
                hit_share: 0.9,
                hot_set_bytes: (busy * 50e9) as u64,
                pinned: None,
                keep_apart: Vec::new(),
                last_move: None,
            });
        }
    }
    registries.sort_by(|one, other| one.name.cmp(&other.name));
    let shown = |model: &Model| Stamp {
        name: model.name.parse().unwrap(),
        state: StampState::Active,
        kind: if model.name.starts_with("iso") { StampKind::Isolation } else { StampKind::Shared },
        pools: vec![pool(model, key)],
        held: None,
    };
    let mut shown: Vec<_> = stamps.iter().map(shown).collect();
    shown.sort_by(|one, other| one.name.cmp(&other.name));
    let mut accounts: Vec<_> = stamps.iter().map(|stamp| account(stamp.name)).collect();
    accounts.sort_by(|one, other| one.name.cmp(&other.name));
    Fleet { revision: Revision(18_231), taken: NOW, stamps: shown, registries, accounts }
}
