//! What one registry causes in a pool, and into how many flows that falls.

use super::PoolLoad;
use crate::Share;

/// Squared weights of flows of log-normal size with sigma 0.8, over the square of their mean: used only where a pool
/// has one node, so that nothing shows how its flows fall.
const UNEVEN: f64 = 1.9;

/// One registry in one pool.
pub(crate) struct Series {
    /// What it causes on all nodes, by bin, in cores.
    pub(crate) total: Vec<f32>,
    /// By node, then by bin, as part of the node.
    pub(crate) busy: Vec<f32>,
    /// Average of `total`.
    pub(crate) mean: f64,
    /// Most of `total`.
    pub(crate) peak: f64,
    /// What a flow causes, in cores, large ones counted as often as they weigh: the sum of the squares of its flows
    /// is this times `total`. Fewer and larger flows fall less evenly on nodes.
    pub(crate) grain: f64,
    /// How alike the way that flows fall is from one bin to the next: 1 if they stay for hours.
    pub(crate) stay: f64,
}

impl Series {
    pub(super) fn new(share: &Share, pool: &PoolLoad<'_>) -> Self {
        let bins = pool.bins();
        let mut total = vec![0.0_f32; bins];
        let mut busy = Vec::with_capacity(bins * pool.nodes());
        for (node, own) in share.busy.iter().zip(&pool.pool.nodes) {
            total.iter_mut().zip(node).for_each(|(total, busy)| *total += busy * own.cores);
            busy.extend_from_slice(node);
        }
        let sum: f64 = total.iter().map(|total| f64::from(*total)).sum();
        let peak = total.iter().copied().fold(0.0, f32::max).into();
        let mut series = Self { total, busy, mean: sum / bins as f64, peak, grain: 0.0, stay: 0.0 };
        series.estimate(pool);
        series
    }

    /// From how unevenly it fell on the nodes, grain and stay. If flows fall on N nodes at random, the squared
    /// differences from the mean add up to (1 − 1/N) × the squared flows, whatever their number and sizes are.
    fn estimate(&mut self, pool: &PoolLoad<'_>) {
        let (bins, nodes) = (pool.bins(), pool.members.len());
        if nodes < 2 {
            self.grain = self.mean * UNEVEN / 5.0;
            return;
        }
        let mut before: Vec<f64> = Vec::new();
        let (mut squares, mut total, mut products) = (0.0, 0.0, 0.0);
        for t in 0..bins {
            let sum: f64 = pool.members.iter().map(|n| self.cores(pool, *n, t)).sum();
            if !pool.whole[t] || sum <= 0.0 {
                before.clear();
                continue;
            }
            let off = |n: &usize| self.cores(pool, *n, t) - sum / nodes as f64;
            let now: Vec<f64> = pool.members.iter().map(off).collect();
            squares += now.iter().map(|off| off * off).sum::<f64>();
            total += sum;
            products += now.iter().zip(&before).map(|(now, before)| now * before).sum::<f64>();
            before = now;
        }
        if total > 0.0 && squares > 0.0 {
            self.grain = squares / (1.0 - 1.0 / nodes as f64) / total;
            self.stay = (products / squares).clamp(0.0, 1.0);
        }
    }

    fn cores(&self, pool: &PoolLoad<'_>, node: usize, bin: usize) -> f64 {
        f64::from(self.busy[node * pool.bins() + bin] * pool.pool.nodes[node].cores)
    }
}
