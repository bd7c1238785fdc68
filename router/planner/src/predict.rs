//! What a pool's hot-node P95 will be once registries have left it or come to it.
//!
//! Percentiles are neither added nor scaled: the busiest node is another one once a load is gone. So it is done bin by
//! bin and node by node. What leaves is subtracted where it was measured, which is exact for that window. What comes
//! falls on nodes by chance, drawn many times ([`rehash`](crate::rehash)). The next window is not this one: each draw
//! puts the window together anew from half-hour stretches of nearly the same time of day, and shifts its level.

use dataproxy_router_api::Role;

use crate::chance::Chance;
use crate::load::{PoolLoad, World};
use crate::plan::{Interval, Prediction};
use crate::rehash::{Arrival, Rehash};
use crate::signal::{P95, nearest_rank};

/// Stretches that a window is put together from, as parts of it: 1/24 of twelve hours is half an hour.
const STRETCHES: usize = 24;
/// How far a stretch may be from its own time, in stretches.
const JITTER: usize = 2;

/// A registry that comes, with the pool that it was measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Coming {
    pub(crate) registry: usize,
    pub(crate) from: usize,
}

/// What is expected of a pool.
pub(crate) struct Forecast {
    /// P95 of each draw, ascending.
    draws: Vec<f64>,
    /// How much higher it could be for what is missing from the measurement.
    missing: f64,
    pub(crate) max: f64,
    pub(crate) avg: f64,
    pub(crate) node_lost: f64,
    pub(crate) censored: u32,
}

/// Makes forecasts of a fleet.
pub(crate) struct Predictor<'w, 'a> {
    pub(crate) world: &'w World<'a>,
    rehash: Rehash,
}

impl Forecast {
    pub(crate) fn interval(&self) -> Interval {
        let at = |thousandths| nearest_rank(&self.draws, thousandths).unwrap_or(1.0).clamp(0.0, 1.0);
        let (lo, median) = (at(50), at(500));
        Interval { lo, median, hi: (at(P95) + self.missing).min(1.0) }
    }

    /// How probable it is that the P95 is at most this.
    pub(crate) fn probability(&self, p95: f64) -> f64 {
        let within = self.draws.iter().filter(|draw| **draw + self.missing <= p95).count();
        within as f64 / self.draws.len().max(1) as f64
    }
}

impl<'w, 'a> Predictor<'w, 'a> {
    pub(crate) fn new(world: &'w World<'a>) -> Self {
        Self { world, rehash: Rehash::new(world.seed) }
    }

    /// Draws a pool without what leaves and with what comes. The pool has a signal.
    pub(crate) fn forecast(&self, pool: usize, leaving: &[usize], coming: &[Coming], draws: u32) -> Forecast {
        self.drawn(pool, leaving, coming, draws, false)
    }

    /// The same with whatever comes still cold, as its median P95: an upper bound, since a cache warms up.
    pub(crate) fn cold(&self, pool: usize, leaving: &[usize], coming: &[Coming], draws: u32) -> f64 {
        self.drawn(pool, leaving, coming, draws, true).interval().median
    }

    /// For the plan: everything that it says about a pool.
    pub(crate) fn prediction(&self, pool: usize, leaving: &[usize], coming: &[Coming]) -> Option<Prediction> {
        let (world, load) = (self.world, &self.world.pools[pool]);
        let signal = load.signal.as_ref().ok()?;
        let forecast = self.forecast(pool, leaving, coming, world.policy.draws);
        let after = forecast.interval();
        let cold = if coming.is_empty() {
            after.median
        } else {
            self.cold(pool, leaving, coming, world.policy.draws_search).max(after.median)
        };
        Some(Prediction {
            stamp: world.stamp_of(pool).name.clone(),
            role: load.pool.role,
            before: signal.p95,
            after,
            max_before: signal.max,
            max_after: forecast.max,
            avg_before: signal.avg,
            avg_after: forecast.avg,
            node_lost: forecast.node_lost,
            cold,
            censored_bins: forecast.censored,
        })
    }

    /// Busy ratios by node, then by bin, without what leaves.
    pub(crate) fn remaining(&self, pool: usize, leaving: &[usize]) -> Vec<f32> {
        let load = &self.world.pools[pool];
        let mut base = load.busy.clone();
        for series in leaving.iter().filter_map(|registry| load.series.get(registry)) {
            // Shares are measured too, so a little more than is there may be taken away.
            base.iter_mut().zip(&series.busy).for_each(|(busy, share)| *busy = (*busy - share).max(0.0));
        }
        base
    }

    fn drawn(&self, pool: usize, leaving: &[usize], coming: &[Coming], draws: u32, cold: bool) -> Forecast {
        let load = &self.world.pools[pool];
        let policy = self.world.policy;
        let base = self.remaining(pool, leaving);
        let censored = censored(load, policy.censored as f32);
        let arrival = self.arrival(load, coming, cold);
        let (mut raw, mut varied, mut maxima) = (Vec::new(), Vec::new(), Vec::new());
        let mut hot = hottest(&base, load.bins());
        let (mut falls, mut window) = (Vec::new(), vec![0.0_f32; load.bins()]);
        let cores: Vec<f32> = load.members.iter().map(|node| load.pool.nodes[*node].cores).collect();
        let lean = lean(load);
        for draw in 0..u64::from(draws) {
            let mut chance = Chance::of(&[self.world.seed, pool as u64, draw]);
            if let Some(arrival) = &arrival {
                let scaled = vary(arrival, (policy.level_sigma * chance.normal()).exp() as f32);
                self.rehash.draw(&scaled, &[pool as u64, draw], &cores, &lean, &mut falls);
                hot = hottest_with(&base, load, &falls);
            }
            let more = (policy.censored_more * chance.part()) as f32;
            let mut now = hot.clone();
            censored.iter().for_each(|bin| now[*bin] *= 1.0 + more);
            maxima.push(now.iter().copied().fold(0.0, f32::max).min(1.0).into());
            raw.push(p95(&mut now.clone()));
            resample(&now, &mut window, &mut chance);
            varied.push(p95(&mut window) * (policy.level_sigma * chance.normal()).exp());
        }
        let (centre, around) = (median(&mut raw), median(&mut varied));
        let mut draws: Vec<f64> = varied.iter().map(|p95| centre + (p95 - around) * policy.widen).collect();
        draws.sort_unstable_by(f64::total_cmp);
        let nodes = load.members.len() as f64;
        let node_lost = if nodes > 1.0 { (centre * nodes / (nodes - 1.0)).min(1.0) } else { 1.0 };
        let signal = load.signal.as_ref().ok();
        Forecast {
            draws,
            missing: signal.map_or(0.0, |signal| signal.p95_hi - signal.p95_lo),
            max: median(&mut maxima),
            avg: self.average(load, &base, arrival.as_ref()),
            node_lost,
            censored: censored.len() as u32,
        }
    }

    /// What comes, all together.
    fn arrival(&self, load: &PoolLoad<'_>, coming: &[Coming], cold: bool) -> Option<Arrival> {
        if coming.is_empty() || load.members.is_empty() {
            return None;
        }
        let bins = load.bins();
        let mut arrival =
            Arrival { total: vec![0.0; bins], squares: vec![0.0; bins], steady: 0.0, stay: 0.0 };
        let (mut stays, mut weights) = (0.0, 0.0);
        for Coming { registry, from } in coming {
            let known = &self.world.fleet.registries[*registry];
            let source = &self.world.pools[*from];
            let dearer = match load.pool.role {
                Role::All | Role::Dataproxy if cold => {
                    1.0 + (self.world.policy.miss_cost - 1.0) * known.hit_share.clamp(0.0, 1.0)
                }
                _ => 1.0,
            };
            let Some(series) = source.series.get(registry) else {
                arrival.steady += source.guess(known) * dearer;
                continue;
            };
            let (factor, grain) = (dearer as f32, (dearer * series.grain) as f32);
            for (bin, own) in series.total.iter().enumerate() {
                arrival.total[bin] += own * factor;
                arrival.squares[bin] += own * factor * grain;
            }
            stays += series.stay * series.mean * series.grain;
            weights += series.mean * series.grain;
        }
        arrival.stay = if weights > 0.0 { stays / weights } else { 0.0 };
        Some(arrival)
    }

    fn average(&self, load: &PoolLoad<'_>, base: &[f32], arrival: Option<&Arrival>) -> f64 {
        let bins = load.bins() as f64;
        let node = |node: usize| f64::from(load.pool.nodes[node].cores);
        let all: f64 = (0..load.nodes()).map(node).sum();
        let of_node = |(n, busy): (usize, &[f32])| -> f64 {
            busy.iter().map(|busy| f64::from(*busy)).sum::<f64>() / bins * node(n)
        };
        let stays: f64 = base.chunks(load.bins()).enumerate().map(of_node).sum();
        let comes = arrival.map_or(0.0, |arrival| {
            arrival.total.iter().map(|total| f64::from(*total)).sum::<f64>() / bins + arrival.steady
        });
        if all > 0.0 { (stays + comes) / all } else { 0.0 }
    }
}

/// By bin, the most of any node.
pub(crate) fn hottest(busy: &[f32], bins: usize) -> Vec<f32> {
    let mut hot = vec![0.0_f32; bins];
    for node in busy.chunks(bins) {
        hot.iter_mut().zip(node).for_each(|(hot, busy)| *hot = hot.max(*busy));
    }
    hot
}

/// Nearest-rank P95; reorders the values.
pub(crate) fn p95(values: &mut [f32]) -> f64 {
    let Some(rank) = crate::signal::rank(values.len(), P95) else { return 0.0 };
    f64::from(*values.select_nth_unstable_by(rank, f32::total_cmp).1)
}

fn hottest_with(base: &[f32], load: &PoolLoad<'_>, falls: &[f32]) -> Vec<f32> {
    let bins = load.bins();
    let mut hot = hottest(base, bins);
    for (member, falls) in load.members.iter().zip(falls.chunks(bins)) {
        let base = &base[member * bins..(member + 1) * bins];
        hot.iter_mut().zip(base).zip(falls).for_each(|((hot, base), more)| *hot = hot.max(base + more));
    }
    hot
}

/// Bins with a member that was asked for more than it could do.
fn censored(load: &PoolLoad<'_>, from: f32) -> Vec<usize> {
    let hot = hottest(&load.busy, load.bins());
    (0..hot.len()).filter(|bin| hot[*bin] > from).collect()
}

/// How much a member gets beside the others: a balancer that leans goes on leaning.
fn lean(load: &PoolLoad<'_>) -> Vec<f32> {
    let mean = |node: &usize| load.node(*node).iter().sum::<f32>() / load.bins() as f32;
    let means: Vec<f32> = load.members.iter().map(mean).collect();
    let all = means.iter().sum::<f32>() / means.len().max(1) as f32;
    means.into_iter().map(|mean| if all > 0.0 { (mean / all).max(0.1) } else { 1.0 }).collect()
}

fn vary(arrival: &Arrival, level: f32) -> Arrival {
    let scale = |values: &[f32]| values.iter().map(|value| value * level).collect();
    let squares: Vec<f32> = scale(&arrival.squares);
    Arrival { total: scale(&arrival.total), squares, steady: arrival.steady, stay: arrival.stay }
}

/// A window put together from stretches of another.
fn resample(from: &[f32], into: &mut [f32], chance: &mut Chance) {
    let bins = from.len();
    let length = (bins / STRETCHES).max(1);
    for (index, out) in into.chunks_mut(length).enumerate() {
        let (own, reach) = (index * length, JITTER * length);
        let first = own.saturating_sub(reach);
        let last = (own + reach).min(bins - out.len());
        let start = first + (chance.next() % (last.saturating_sub(first) + 1) as u64) as usize;
        let start = start.min(bins - out.len());
        out.copy_from_slice(&from[start..start + out.len()]);
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    nearest_rank(values, 500).unwrap_or(0.0)
}

#[cfg(test)]
mod tests;
