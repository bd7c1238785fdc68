//! How flows fall on the nodes of a destination: at random, once more.
//!
//! A registry's load in a bin is C, made of flows whose squares add up to C × grain. Falling on N nodes at random each
//! node gets C/N on average, and the fewer the flows are, the less evenly. A Dirichlet distribution with concentration
//! C/grain − 1 has just that mean and that variance, and with one flow it gives all to one node. It is drawn as gamma
//! variates over their sum, and these from normals by Wilson and Hilferty's cube, so that the same normals serve every
//! candidate: two moves are compared on the same chance.

use crate::chance::Normals;

/// How long flows stay, in steps.
const STAYS: [f64; 4] = [0.0, 0.5, 0.8, 0.95];

/// Fewest flows that a draw tells apart, per node.
const FEWEST: f32 = 0.03;

/// What arrives at a pool.
#[derive(Clone)]
pub(crate) struct Arrival {
    /// Load by bin, in cores.
    pub(crate) total: Vec<f32>,
    /// Sum of the squares of its flows by bin, in cores squared.
    pub(crate) squares: Vec<f32>,
    /// Load that nobody knows better: spread evenly, in every bin, in cores.
    pub(crate) steady: f64,
    /// How long flows stay, weighted by their squares.
    pub(crate) stay: f64,
}

/// Rings of chance for a seed.
pub(crate) struct Rehash {
    rings: Vec<Normals>,
}

impl Rehash {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rings: STAYS.iter().map(|stay| Normals::new(seed, *stay)).collect() }
    }

    /// Where the load falls in one draw: by member of the pool, then by bin, as part of the node. `cores` and `lean`
    /// are by member: what it has, and how much of new flows it gets beside the others.
    pub(crate) fn draw(
        &self,
        arrival: &Arrival,
        key: &[u64],
        cores: &[f32],
        lean: &[f32],
        out: &mut Vec<f32>,
    ) {
        let (bins, nodes) = (arrival.total.len(), cores.len());
        let nearest = |a: &f64, b: &f64| (a - arrival.stay).abs().total_cmp(&(b - arrival.stay).abs());
        let ring = STAYS.iter().enumerate().min_by(|a, b| nearest(a.1, b.1)).map_or(0, |(ring, _)| ring);
        out.clear();
        out.resize(bins * nodes, 0.0);
        // Wilson and Hilferty: a gamma variate of shape a is about a·(1 − 1/9a + z/3√a)³.
        let shape: Vec<(f32, f32)> = (arrival.total.iter().zip(&arrival.squares))
            .map(|(total, squares)| {
                let flows = if *squares > 0.0 { total * total / squares } else { 1e6 };
                let a = ((flows - 1.0) / nodes as f32).max(FEWEST);
                (1.0 - 1.0 / (9.0 * a), 1.0 / (3.0 * a.sqrt()))
            })
            .collect();
        let mut sums = vec![0.0_f32; bins];
        for (node, out) in out.chunks_mut(bins).enumerate() {
            let normals = self.stretch(ring, key, node, bins);
            for (((out, sum), (mean, spread)), z) in out.iter_mut().zip(&mut sums).zip(&shape).zip(normals) {
                let root = (mean + spread * z).max(0.0);
                *out = root * root * root * lean[node];
                *sum += *out;
            }
        }
        for (bin, sum) in sums.iter_mut().enumerate() {
            if *sum <= 0.0 {
                // So few flows that no node got any: all is on one.
                let lucky = |node: &usize| self.stretch(ring, key, *node, bins)[bin];
                if let Some(node) = (0..nodes).max_by(|a, b| lucky(a).total_cmp(&lucky(b))) {
                    out[node * bins + bin] = 1.0;
                    *sum = 1.0;
                }
            }
            *sum = arrival.total[bin] / *sum;
        }
        let steady = arrival.steady as f32 / nodes as f32;
        for (out, cores) in out.chunks_mut(bins).zip(cores) {
            out.iter_mut().zip(&sums).for_each(|(out, scale)| *out = (*out * scale + steady) / cores);
        }
    }

    fn stretch(&self, ring: usize, key: &[u64], node: usize, bins: usize) -> &[f32] {
        let key: Vec<u64> = key.iter().copied().chain([node as u64]).collect();
        self.rings[ring].stretch(&key, bins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean over draws and bins of the hottest of `nodes`, and of the squared difference from the mean of each.
    fn drawn(nodes: usize, flows: f32) -> (f32, f32) {
        let bins = 500;
        let arrival =
            Arrival { total: vec![1.0; bins], squares: vec![1.0 / flows; bins], steady: 0.0, stay: 0.0 };
        let (rehash, mut out) = (Rehash::new(7), Vec::new());
        let (mut hottest, mut squares) = (0.0, 0.0);
        for draw in 0..20 {
            rehash.draw(&arrival, &[draw], &vec![1.0; nodes], &vec![1.0; nodes], &mut out);
            for bin in 0..bins {
                let loads = out.iter().skip(bin).step_by(bins);
                assert!((loads.clone().sum::<f32>() - 1.0).abs() < 1e-4);
                hottest += loads.clone().copied().fold(0.0, f32::max);
                squares += loads.map(|load| (load - 1.0 / nodes as f32).powi(2)).sum::<f32>();
            }
        }
        (hottest / (20 * bins) as f32, squares / (20 * bins) as f32)
    }

    #[test]
    fn fewer_flows_fall_less_evenly_as_chance_has_it() {
        for (nodes, flows) in [(12, 3.0), (12, 10.0), (12, 100.0), (3, 20.0)] {
            let (_, squares) = drawn(nodes, flows);
            let expected = (1.0 - 1.0 / nodes as f32) / flows;
            assert!((squares / expected - 1.0).abs() < 0.12, "{nodes} {flows}: {squares} for {expected}");
        }
        let (hottest, _) = drawn(8, 1.0);
        assert!(hottest > 0.8, "one flow is on one node: {hottest}");
        let (hottest, _) = drawn(8, 1e6);
        assert!(hottest < 0.13, "countless flows fall evenly: {hottest}");
    }
}
