//! The bins of each pool's nodes over its window.

use std::collections::BTreeMap;

use dataproxy_planner::signal::{HourCpu, peak_hours};
use dataproxy_planner::{Bin, Window};
use dataproxy_router_api::{NodeName, Role, StampName};

use super::SignalTerms;
use crate::migration::UnixMillis;
use crate::minutes::{Minutes, NodeRows, Row, Rows};
use crate::state::State;

const MINUTE: u32 = 60;
/// Bins of twelve hours of minutes.
const HALF_DAY: u32 = 720;

/// A pool, with what its nodes told of a window.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// Its stamp.
    pub stamp: StampName,
    /// Its nodes' role.
    pub role: Role,
    /// The bins.
    pub window: Window,
    /// Whether it is the peak window; else it is what came last.
    pub is_peak: bool,
    /// Its nodes, by name.
    pub nodes: Vec<NodeSeries>,
    /// What was refused last of any of them: node, bin, reason.
    pub refused: Option<(NodeName, u64, String)>,
    /// The version that they run, or all of them.
    pub build: String,
}

/// A node over a window.
#[derive(Clone, Debug)]
pub struct NodeSeries {
    /// Its name.
    pub name: NodeName,
    /// Cores, as it told last.
    pub cores: f32,
    /// One for each bin, as the planner takes them.
    pub bins: Vec<Option<Bin>>,
}

/// The nodes of a pool, and whether each is in rotation now.
type Members = (Role, Vec<(NodeRows, bool)>);

/// Every pool of which a node has told anything or is known, by stamp and role.
pub(super) fn gather(
    state: &State,
    minutes: &Minutes,
    terms: &SignalTerms,
    now: UnixMillis,
) -> Vec<Gathered> {
    gather_by(state, minutes, &|rows, bin_seconds| window(rows, bin_seconds, terms, now), terms)
}

/// The same over these bins.
pub(super) fn gather_over(
    state: &State,
    minutes: &Minutes,
    terms: &SignalTerms,
    window: Window,
) -> Vec<Gathered> {
    gather_by(state, minutes, &|_, _| (window, false), terms)
}

/// Which bins a pool's nodes are looked at over, by what they told and the length of their bins; and whether these are
/// its peak window.
type Choose<'c> = &'c dyn Fn(&[&Rows], u32) -> (Window, bool);

fn gather_by(state: &State, minutes: &Minutes, choose: Choose<'_>, terms: &SignalTerms) -> Vec<Gathered> {
    let mut pools: BTreeMap<(StampName, &'static str), Members> = BTreeMap::new();
    let mut told = Vec::new();
    for node in minutes.all() {
        let in_rotation = state.node(&node.name).is_some_and(|record| record.value.node.in_rotation());
        told.push(node.name.clone());
        let key = (node.place.stamp.clone(), word(node.place.role));
        pools.entry(key).or_insert_with(|| (node.place.role, Vec::new())).1.push((node, in_rotation));
    }
    for record in state.nodes().map(|record| &record.value).filter(|record| record.node.in_rotation()) {
        // One whose nodes are all silent is a pool too.
        let key = (record.stamp.clone(), word(record.node.role));
        pools.entry(key).or_insert_with(|| (record.node.role, Vec::new()));
    }
    let all = pools.into_iter().map(|((stamp, _), (role, nodes))| {
        let silent = state.nodes_of(&stamp).map(|record| &record.value).filter(|record| {
            record.node.role == role && record.node.in_rotation() && !told.contains(&record.node.name)
        });
        let silent: Vec<NodeName> = silent.map(|record| record.node.name.clone()).collect();
        pool(stamp, role, nodes, &silent, terms, choose)
    });
    all.collect()
}

/// The stable word of a role.
pub(super) fn word(role: Role) -> &'static str {
    match role {
        Role::All => "all",
        Role::Registry => "registry",
        Role::Dataproxy => "dataproxy",
    }
}

fn pool(
    stamp: StampName,
    role: Role,
    nodes: Vec<(NodeRows, bool)>,
    silent: &[NodeName],
    terms: &SignalTerms,
    choose: Choose<'_>,
) -> Gathered {
    // The length that the node has which told last; one that tells of another is as good as silent.
    let ends = |(node, _): &&(NodeRows, bool)| {
        node.rows.numbers().end.saturating_mul(u64::from(node.rows.bin_seconds))
    };
    let newest = nodes.iter().max_by_key(ends).map(|(node, _)| node.rows.bin_seconds);
    let bin_seconds = newest.filter(|seconds| *seconds > 0).unwrap_or(MINUTE);
    let rows: Vec<&Rows> =
        nodes.iter().map(|(node, _)| &node.rows).filter(|rows| rows.bin_seconds == bin_seconds).collect();
    let (window, is_peak) = choose(&rows, bin_seconds);
    let refused = nodes.iter().filter_map(|(node, _)| {
        let (number, why) = node.refused.clone()?;
        Some((node.name.clone(), number, why))
    });
    let refused = refused.max_by_key(|(_, number, _)| *number);
    let builds: std::collections::BTreeSet<&str> =
        nodes.iter().map(|(node, _)| node.place.version.as_str()).collect();
    let build = builds.into_iter().collect::<Vec<_>>().join(", ");
    let mut all: Vec<NodeSeries> = nodes
        .iter()
        .map(|(node, in_rotation)| {
            let fits = node.rows.bin_seconds == bin_seconds;
            let bins = if fits {
                series(&node.rows, window, *in_rotation, terms.rules.in_rotation_part)
            } else {
                vec![if *in_rotation { None } else { Some(AWAY) }; window.bins as usize]
            };
            NodeSeries { name: node.name.clone(), cores: cores(&node.rows), bins }
        })
        // One that was in no bin of the window in rotation has no part in it.
        .filter(|node| node.bins.iter().any(|bin| bin.is_none_or(|bin| bin.in_rotation_seconds > 0.0)))
        .collect();
    let of_silent = |name: &NodeName| {
        let bins = vec![None; window.bins as usize];
        NodeSeries { name: name.clone(), cores: 1.0, bins }
    };
    all.extend(silent.iter().map(of_silent));
    all.sort_by(|one, two| one.name.cmp(&two.name));
    Gathered { stamp, role, window, is_peak, nodes: all, refused, build }
}

/// What is known of a bin in which the node was not in rotation.
const AWAY: Bin = Bin { busy: 0.0, observed_seconds: 0.0, in_rotation_seconds: 0.0 };

/// The bins of a node over a window, as the planner takes them.
///
/// A bin that is suspect, or that the node did not tell of though it was in rotation, is `None`: missing. It was not in
/// rotation before it first told of anything; nor after a bin in which it had left the rotation, until it told again; nor
/// after its last one, if it is not in rotation now.
pub fn series(rows: &Rows, window: Window, in_rotation_now: bool, in_rotation_part: f32) -> Vec<Option<Bin>> {
    let known = rows.numbers();
    let seconds = window.bin_seconds as f32;
    let least = seconds * in_rotation_part;
    let mut left = false;
    let numbers = known.start.min(window.first)..window.first + u64::from(window.bins);
    let mut out = Vec::with_capacity(window.bins as usize);
    for number in numbers {
        let bin = match rows.get(number) {
            Some(row) => {
                left = row.in_rotation < least;
                measured(&row, seconds, left)
            }
            None if number < known.start || left => Some(AWAY),
            None if number > known.end && !in_rotation_now => Some(AWAY),
            None => None,
        };
        if number >= window.first {
            out.push(bin);
        }
    }
    out
}

fn measured(row: &Row, seconds: f32, left: bool) -> Option<Bin> {
    if left {
        // Its ratio has no part in the series, whatever it is worth.
        return Some(Bin { in_rotation_seconds: row.in_rotation, ..AWAY });
    }
    (!row.suspect).then(|| Bin {
        busy: row.ratio().clamp(0.0, 1.0),
        observed_seconds: row.observed.min(seconds),
        in_rotation_seconds: row.in_rotation.min(seconds),
    })
}

fn cores(rows: &Rows) -> f32 {
    let sound = |number| rows.get(number).filter(|row: &Row| row.observed > 0.0 && row.capacity > 0.0);
    rows.numbers().rev().find_map(sound).map_or(1.0, |row| row.capacity / row.observed)
}

/// The peak window of minutes, where it is known; else the bins that ended last.
fn window(rows: &[&Rows], bin_seconds: u32, terms: &SignalTerms, now: UnixMillis) -> (Window, bool) {
    let first_known = rows.iter().map(|rows| rows.first).min().unwrap_or(0);
    let now_seconds = now.0 / 1000;
    if bin_seconds == MINUTE
        && let Some(peak) = peak_hours(&hours(rows, now_seconds), now_seconds)
        && let Some(window) = peak.last_window(now_seconds, MINUTE)
        && window.first >= first_known
    {
        return (window, true);
    }
    let bins = if bin_seconds == MINUTE { HALF_DAY } else { terms.scaled_bins.max(1) };
    // A report is a second or so behind the edge: the bin before the last may be all that can be here.
    let ended = now_seconds / u64::from(bin_seconds);
    let told = rows.iter().map(|rows| rows.numbers().end).max().unwrap_or(ended);
    let end = if told + 1 == ended { told } else { ended };
    (Window { first: end.saturating_sub(u64::from(bins)), bins, bin_seconds }, false)
}

/// What the pool used in each of the hours before `now` for which most of its minutes are known.
fn hours(rows: &[&Rows], now_seconds: u64) -> Vec<HourCpu> {
    let last = now_seconds / 3600;
    let hour = |hour: u64| {
        let (mut cpu, mut known, mut held) = (0.0, 0_u32, 0_u32);
        for rows in rows {
            let numbers = rows.numbers();
            for number in (hour * 60..hour * 60 + 60).filter(|number| numbers.contains(number)) {
                held += 1;
                if let Some(row) = rows.get(number).filter(|row| !row.suspect) {
                    cpu += f64::from(row.busy);
                    known += 1;
                }
            }
        }
        // An hour with holes is scaled up to what its minutes are like; one of holes is left out.
        (known * 10 >= held * 9 && known > 0)
            .then(|| HourCpu { hour, cpu_seconds: cpu * f64::from(held) / f64::from(known) })
    };
    (last.saturating_sub(7 * 24)..last).filter_map(hour).collect()
}
