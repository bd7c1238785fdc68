//! Hot-node P95: from what nodes measured to one figure for a pool, with the bounds that missing bins leave.
//!
//! For each bin the busiest node counts; over the bins of a window their 95th percentile by nearest rank. A node that
//! is in rotation and says nothing is never taken to be idle: nodes that are too busy are those that fall silent. The
//! bin is *suspect* then, and the figure an interval: `p95_lo` leaves what is missing out, `p95_hi` takes it as 100 %.

mod peak;
mod percentile;

pub use peak::{HourCpu, PEAK_HOURS, PeakHours, peak_hours};
pub(crate) use percentile::rank;
pub use percentile::{Interpolated, interpolated, nearest_rank};

use dataproxy_router_api::NodeName;
use serde::{Deserialize, Serialize};

use crate::{Bin, Pool, Window};

/// The percentile, in thousandths.
pub const P95: u32 = 950;

/// A busy ratio may be above 1 by this much, for the rounding of counters; it then counts as 1.
const ROUNDING: f32 = 0.001;

/// When a bin counts, and when a window does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignalRules {
    /// A node counts in a bin if it was in rotation for at least this part of it. 0.5: 30 s of a minute.
    pub in_rotation_part: f32,
    /// What it measured counts if its counters cover at least this part of the bin. 0.75: 45 s of a minute.
    pub observed_part: f32,
    /// A window is valid if at least this part of its bins is not suspect. 0.95: 684 of 720.
    pub valid_part: f64,
    /// And if `p95_hi` is at most this much above `p95_lo`. 0.03: 3 points of CPU.
    pub widest: f64,
}

impl Default for SignalRules {
    fn default() -> Self {
        Self { in_rotation_part: 0.5, observed_part: 0.75, valid_part: 0.95, widest: 0.03 }
    }
}

/// Input that is no measurement. Nothing is computed from a pool that has any.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadSeries {
    /// A ratio that is not one.
    #[error("node {node}, bin {bin}: busy is {busy}; it has to be from 0 to 1")]
    Busy {
        /// Who measured it.
        node: NodeName,
        /// Number of the bin since 1970.
        bin: u64,
        /// What it says.
        busy: f32,
    },
    /// Seconds that the bin does not have.
    #[error("node {node}, bin {bin}: {what} is {seconds} s; it has to be from 0 to {bin_seconds}")]
    Seconds {
        /// Who measured it.
        node: NodeName,
        /// Number of the bin since 1970.
        bin: u64,
        /// Which of its figures.
        what: &'static str,
        /// What it says.
        seconds: f32,
        /// What a bin has.
        bin_seconds: u32,
    },
    /// More or fewer bins than the window.
    #[error("node {node} has {found} bins; the window has {bins}")]
    Length {
        /// Whose.
        node: NodeName,
        /// How many it has.
        found: usize,
        /// How many it should have.
        bins: u32,
    },
    /// Cores that are no number of cores.
    #[error("node {node} has {cores} cores; it has to be more than 0")]
    Cores {
        /// Whose.
        node: NodeName,
        /// What it says.
        cores: f32,
    },
    /// A window without bins, or bins without length.
    #[error("the window has {bins} bins of {bin_seconds} s; it needs one of each at least")]
    Window {
        /// How many.
        bins: u32,
        /// How long.
        bin_seconds: u32,
    },
}

/// The busiest node of one bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HotBin {
    /// The busiest of the nodes that count, as index and ratio; `None` if none does.
    pub hottest: Option<(usize, f32)>,
    /// A node was in rotation, or may have been, and its measurement is missing; or no node was in rotation.
    pub suspect: bool,
}

/// One figure for a pool over a window. All CPU figures are parts of a node's cores, 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// The bins that it is of.
    pub window: Window,
    /// Nearest-rank P95 over the bins that are not suspect, kept within the next two.
    pub p95: f64,
    /// Nearest-rank P95 with missing measurements left out. 0 if there are none at all.
    pub p95_lo: f64,
    /// Nearest-rank P95 with missing measurements taken as 1.
    pub p95_hi: f64,
    /// What Prometheus' `quantile_over_time` makes of the series of `p95_lo`.
    pub interpolated: f64,
    /// How far that may be from `p95_lo`: a part of one gap between two values that follow one another.
    pub interpolated_bound: f64,
    /// The busiest bin of the busiest node. A maximum is noise; no decision is made on it.
    pub max: f64,
    /// Average over nodes (by cores) and bins.
    pub avg: f64,
    /// Who was busiest in the bin of `max`, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hottest: Option<Hottest>,
    /// Bins of the window.
    pub bins: u32,
    /// Those of them that are suspect.
    pub suspect_bins: u32,
    /// Whether anything may be decided on it.
    pub status: Status,
}

/// The busiest node of a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hottest {
    /// Which.
    pub node: NodeName,
    /// Number of the bin since 1970.
    pub bin: u64,
}

/// Whether anything may be decided on a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Status {
    /// It may.
    Valid,
    /// Too much is missing: nothing may be moved because of it.
    Insufficient {
        /// What is missing.
        why: String,
    },
}

impl Signal {
    /// Whether anything may be decided on it.
    pub fn is_valid(&self) -> bool {
        self.status == Status::Valid
    }
}

/// The busiest node of each bin of the pool's window.
///
/// # Errors
///
/// Figures that are no measurements: NaN, ratios and seconds out of range, nodes with too many or too few bins.
pub fn hot_series(pool: &Pool, rules: &SignalRules) -> Result<Vec<HotBin>, BadSeries> {
    validate(pool)?;
    let seconds = pool.window.bin_seconds as f32;
    let mut series = vec![HotBin::default(); pool.window.bins as usize];
    let mut in_rotation = vec![false; series.len()];
    for (node, measured) in pool.nodes.iter().enumerate() {
        for (t, bin) in measured.bins.iter().enumerate() {
            let Some(bin) = bin else {
                series[t].suspect = true;
                continue;
            };
            if bin.in_rotation_seconds < rules.in_rotation_part * seconds {
                continue;
            }
            in_rotation[t] = true;
            if bin.observed_seconds < rules.observed_part * seconds {
                series[t].suspect = true;
            } else if series[t].hottest.is_none_or(|(_, busiest)| bin.busy > busiest) {
                series[t].hottest = Some((node, bin.busy.min(1.0)));
            }
        }
    }
    for (bin, in_rotation) in series.iter_mut().zip(in_rotation) {
        bin.suspect |= !in_rotation;
    }
    Ok(series)
}

/// The pool's hot-node P95 and what belongs to it.
///
/// # Errors
///
/// Those of [`hot_series`].
pub fn signal(pool: &Pool, rules: &SignalRules) -> Result<Signal, BadSeries> {
    let series = hot_series(pool, rules)?;
    Ok(of_series(pool, &series, rules))
}

fn of_series(pool: &Pool, series: &[HotBin], rules: &SignalRules) -> Signal {
    let value = |bin: &HotBin| bin.hottest.map(|(_, busy)| f64::from(busy));
    let sorted = |values: &mut dyn Iterator<Item = f64>| {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    };
    let present = sorted(&mut series.iter().filter_map(value));
    let certain = sorted(&mut series.iter().filter(|bin| !bin.suspect).filter_map(value));
    let worst =
        sorted(&mut series.iter().map(|bin| if bin.suspect { 1.0 } else { value(bin).unwrap_or(1.0) }));
    let p95_lo = nearest_rank(&present, P95).unwrap_or(0.0);
    let p95_hi = nearest_rank(&worst, P95).unwrap_or(1.0).max(p95_lo);
    let p95 = nearest_rank(&certain, P95).unwrap_or(p95_hi).clamp(p95_lo, p95_hi);
    let beside = interpolated(&present, P95).unwrap_or_default();
    let suspect = series.iter().filter(|bin| bin.suspect).count();
    let hottest = series.iter().zip(pool.window.first..).filter_map(|(bin, number)| {
        let (node, busy) = bin.hottest?;
        Some((busy, number, node))
    });
    // The first of several that are equally busy.
    let hottest = hottest.reduce(|best, next| if next.0 > best.0 { next } else { best });
    Signal {
        window: pool.window,
        p95,
        p95_lo,
        p95_hi,
        interpolated: beside.value,
        interpolated_bound: beside.bound,
        max: present.last().copied().unwrap_or(0.0),
        avg: average(pool, rules),
        hottest: hottest.map(|(_, bin, node)| Hottest { node: pool.nodes[node].name.clone(), bin }),
        bins: pool.window.bins,
        suspect_bins: u32::try_from(suspect).unwrap_or(u32::MAX),
        status: status(series.len(), suspect, p95_lo, p95_hi, rules),
    }
}

fn status(bins: usize, suspect: usize, lo: f64, hi: f64, rules: &SignalRules) -> Status {
    let needed = (rules.valid_part * bins as f64).ceil() as usize;
    if bins - suspect < needed {
        let why = format!("{} of {bins} bins are whole; {needed} are needed", bins - suspect);
        return Status::Insufficient { why };
    }
    // A hair of tolerance: the figures came from 32-bit ratios.
    if hi - lo > rules.widest + 1e-6 {
        let (lo, hi, widest) = (lo * 100.0, hi * 100.0, rules.widest * 100.0);
        let why = format!(
            "the P95 is between {lo:.1} % and {hi:.1} %, as missing bins are taken; {widest:.1} points are allowed"
        );
        return Status::Insufficient { why };
    }
    Status::Valid
}

/// Average over the nodes (by cores) and bins that count.
fn average(pool: &Pool, rules: &SignalRules) -> f64 {
    let seconds = pool.window.bin_seconds as f32;
    let (mut busy, mut cores) = (0.0, 0.0);
    for node in &pool.nodes {
        for bin in node.bins.iter().flatten() {
            if bin.in_rotation_seconds >= rules.in_rotation_part * seconds
                && bin.observed_seconds >= rules.observed_part * seconds
            {
                busy += f64::from(bin.busy.min(1.0)) * f64::from(node.cores);
                cores += f64::from(node.cores);
            }
        }
    }
    if cores > 0.0 { busy / cores } else { 0.0 }
}

fn validate(pool: &Pool) -> Result<(), BadSeries> {
    let Window { first, bins, bin_seconds } = pool.window;
    if bins == 0 || bin_seconds == 0 {
        return Err(BadSeries::Window { bins, bin_seconds });
    }
    for node in &pool.nodes {
        let name = || node.name.clone();
        if !(node.cores > 0.0 && node.cores.is_finite()) {
            return Err(BadSeries::Cores { node: name(), cores: node.cores });
        }
        if node.bins.len() != bins as usize {
            return Err(BadSeries::Length { node: name(), found: node.bins.len(), bins });
        }
        for (bin, measured) in (first..).zip(&node.bins) {
            let Some(Bin { busy, observed_seconds, in_rotation_seconds }) = *measured else { continue };
            // NaN is in no range.
            if !(0.0..=1.0 + ROUNDING).contains(&busy) {
                return Err(BadSeries::Busy { node: name(), bin, busy });
            }
            let figures =
                [("observed_seconds", observed_seconds), ("in_rotation_seconds", in_rotation_seconds)];
            for (what, seconds) in figures {
                if !(0.0..=bin_seconds as f32 * (1.0 + ROUNDING)).contains(&seconds) {
                    return Err(BadSeries::Seconds { node: name(), bin, what, seconds, bin_seconds });
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
