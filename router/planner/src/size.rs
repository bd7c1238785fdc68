//! How many nodes carry a load with one of them lost.

use crate::load::World;
use crate::predict::{hottest, p95};
use crate::rehash::{Arrival, Rehash};
use crate::signal::nearest_rank;

/// Largest pool that is looked at.
const MOST: u32 = 512;
/// Draws for each size.
const DRAWS: u64 = 20;

/// What a pool of some size comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sized {
    pub(crate) nodes: u32,
    /// Median P95 with one node lost.
    pub(crate) node_lost: f64,
    /// Median 99.5th percentile with one node lost.
    pub(crate) peak: f64,
}

/// A load that is to be put on nodes that are all alike.
pub(crate) struct Load {
    pub(crate) arrival: Arrival,
    /// Cores of each node.
    pub(crate) cores: f32,
    /// What a node does without any load, as part of it.
    pub(crate) idle: f32,
}

impl Load {
    /// These registries of a pool, on nodes like its own; the whole pool if none are named, with what it grows by.
    pub(crate) fn of(
        world: &World<'_>,
        pool: usize,
        registries: Option<&[usize]>,
        growth: f64,
    ) -> Option<Self> {
        let load = &world.pools[pool];
        let nodes = load.members.len();
        if load.signal.is_err() || nodes == 0 {
            return None;
        }
        let cores = load.members.iter().map(|node| load.pool.nodes[*node].cores).sum::<f32>() / nodes as f32;
        // The least that any node did is what it does without load.
        let least =
            |node: &usize| load.node(*node).iter().copied().filter(|busy| *busy > 0.0).fold(1.0, f32::min);
        let idle = load.members.iter().map(least).fold(1.0, f32::min);
        let bins = load.bins();
        let mut arrival =
            Arrival { total: vec![0.0; bins], squares: vec![0.0; bins], steady: 0.0, stay: 0.0 };
        let grown = 1.0 + growth as f32;
        let chosen: Vec<usize> = match registries {
            Some(chosen) => chosen.to_vec(),
            None => {
                let mut all: Vec<usize> = load.series.keys().copied().collect();
                all.sort_unstable();
                all
            }
        };
        for registry in chosen {
            let known = &world.fleet.registries[registry];
            let Some(series) = load.series.get(&registry) else {
                arrival.steady += load.guess(known);
                continue;
            };
            for (bin, own) in series.total.iter().enumerate() {
                arrival.total[bin] += own * grown;
                arrival.squares[bin] += own * grown * series.grain as f32;
            }
        }
        if registries.is_none() {
            // What no share explains is there as well, in small pieces.
            let mut all = vec![0.0_f32; bins];
            for (n, node) in load.pool.nodes.iter().enumerate() {
                all.iter_mut()
                    .zip(load.node(n))
                    .for_each(|(all, busy)| *all += (busy - idle).max(0.0) * node.cores);
            }
            let explained = arrival.total.iter_mut();
            explained.zip(all).for_each(|(total, all)| *total = total.max(all * grown));
        }
        Some(Self { arrival, cores, idle })
    }

    /// What `nodes` come to.
    pub(crate) fn on(&self, rehash: &Rehash, nodes: u32) -> Sized {
        let left = nodes.saturating_sub(1) as usize;
        if left == 0 {
            return Sized { nodes, node_lost: 1.0, peak: 1.0 };
        }
        let bins = self.arrival.total.len();
        let (cores, lean) = (vec![self.cores; left], vec![1.0; left]);
        let (mut p95s, mut peaks, mut falls) = (Vec::new(), Vec::new(), Vec::new());
        for draw in 0..DRAWS {
            rehash.draw(&self.arrival, &[u64::MAX, u64::from(nodes), draw], &cores, &lean, &mut falls);
            let mut hot = hottest(&falls, bins);
            hot.iter_mut().for_each(|hot| *hot = (*hot + self.idle).min(1.0));
            p95s.push(p95(&mut hot.clone()));
            let mut sorted: Vec<f64> = hot.into_iter().map(f64::from).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            peaks.push(nearest_rank(&sorted, 995).unwrap_or(1.0));
        }
        let median = |values: &mut Vec<f64>| {
            values.sort_unstable_by(f64::total_cmp);
            nearest_rank(values, 500).unwrap_or(1.0)
        };
        Sized { nodes, node_lost: median(&mut p95s), peak: median(&mut peaks) }
    }

    /// The fewest nodes, `least` or more, that come to something that is good enough.
    pub(crate) fn fewest(
        &self,
        rehash: &Rehash,
        least: u32,
        enough: impl Fn(&Sized) -> bool,
    ) -> Option<Sized> {
        let most = MOST.max(least);
        let (mut low, mut high) = (least, least);
        // First a size that is enough, doubling; then the smallest between: more nodes are never hotter.
        let mut found = loop {
            let sized = self.on(rehash, high);
            if enough(&sized) {
                break sized;
            }
            if high >= most {
                return None;
            }
            low = high + 1;
            high = (high * 2).min(most);
        };
        while low < found.nodes {
            let middle = low + (found.nodes - low) / 2;
            let sized = self.on(rehash, middle);
            if enough(&sized) {
                found = sized;
            } else {
                low = middle + 1;
            }
        }
        Some(found)
    }
}
