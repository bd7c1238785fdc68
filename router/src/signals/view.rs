//! What people and programs are shown.

use dataproxy_planner::signal::{Signal, Status, hot_series, signal as compute};
use dataproxy_planner::{Node, Pool, Window};
use dataproxy_router_api::{NodeName, RegistryName, Role, StampName, Used};
use serde::{Deserialize, Serialize};

use super::SignalTerms;
use super::gather::Causes;
use super::pools::Gathered;

/// A pool's signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSignal {
    /// The stamp.
    pub stamp: StampName,
    /// The pool: its nodes' role.
    pub pool: Role,
    /// Nodes that have a part in it.
    pub nodes: usize,
    /// Whether bins or window are others than a minute and twelve hours.
    pub scaled: bool,
    /// Whether the window is the peak window; else it is what came last.
    pub peak: bool,
    /// Hot-node P95 and what belongs to it. Absent where figures are no measurements: `problem` says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Why there is no signal, or nothing may be decided on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Who caused most of it, most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<TopRegistry>,
    /// The part of its CPU time that no registry caused, 0 to 1.
    pub system: f64,
    /// The last bin that was refused of any of its nodes, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// What a registry causes in a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopRegistry {
    /// Which.
    pub registry: RegistryName,
    /// The part of the pool's CPU time, 0 to 1.
    pub part: f64,
    /// CPU time, in seconds.
    pub cpu_seconds: f64,
}

/// A pool's signal with its bins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSeries {
    /// The signal.
    #[serde(flatten)]
    pub pool: PoolSignal,
    /// The bins of the window, in order.
    pub series: Vec<SeriesBin>,
}

/// One bin of the hot-node series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesBin {
    /// Its number since 1970.
    pub number: u64,
    /// The busiest node's ratio, 0 to 1; absent where none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<f32>,
    /// The busiest node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// Whether a node's measurement is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspect: bool,
}

/// What one registry causes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// Which.
    pub registry: RegistryName,
    /// In each pool where it causes anything.
    pub pools: Vec<PoolShare>,
}

/// What a registry causes in one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolShare {
    /// The stamp.
    pub stamp: StampName,
    /// The pool.
    pub pool: Role,
    /// The bins that it is of.
    pub window: Window,
    /// The part of the pool's CPU time, 0 to 1.
    pub part: f64,
    /// What it used in sum; `flows` is the average over the window.
    pub used: Used,
    /// By node.
    pub nodes: Vec<NodeShare>,
    /// CPU time in each bin, as a part of a node: the average over the nodes of its
    /// part of each.
    pub series: Vec<f32>,
}

/// What a registry causes on one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeShare {
    /// The node.
    pub node: NodeName,
    /// The part of the node's CPU time, 0 to 1.
    pub part: f64,
    /// CPU time, in seconds.
    pub cpu_seconds: f64,
}

/// Registries that are named beside a signal.
const NAMED: usize = 5;

/// A pool as the planner takes it, without who caused what.
pub(super) fn planner_pool(pool: &Gathered) -> Pool {
    let nodes = pool.nodes.iter();
    Pool {
        role: pool.role,
        window: pool.window,
        nodes: nodes
            .map(|node| Node { name: node.name.clone(), cores: node.cores, bins: node.bins.clone() })
            .collect(),
        shares: Vec::new(),
        min_nodes: None,
        build: pool.build.clone(),
        zones: None,
        past_p95: Vec::new(),
    }
}

fn part(of: f64, all: f64) -> f64 {
    if all > 0.0 { of / all } else { 0.0 }
}

pub(super) fn signal(pool: &Gathered, causes: &Causes, terms: &SignalTerms) -> PoolSignal {
    of_pool(pool, &planner_pool(pool), causes, terms)
}

fn of_pool(pool: &Gathered, input: &Pool, causes: &Causes, terms: &SignalTerms) -> PoolSignal {
    let computed = compute(input, &terms.rules);
    let problem = match &computed {
        Err(error) => Some(error.to_string()),
        Ok(Signal { status: Status::Insufficient { why }, .. }) => Some(why.clone()),
        Ok(_) => None,
    };
    let top = causes.top(NAMED).into_iter().map(|(registry, cause)| TopRegistry {
        registry: registry.clone(),
        part: part(cause.sum.cpu_seconds, causes.busy_seconds),
        cpu_seconds: cause.sum.cpu_seconds,
    });
    PoolSignal {
        stamp: pool.stamp.clone(),
        pool: pool.role,
        nodes: pool.nodes.len(),
        scaled: (pool.window.bin_seconds, pool.window.bins) != (60, 720),
        peak: pool.is_peak,
        signal: computed.ok(),
        problem,
        top: top.collect(),
        system: part(causes.system_seconds, causes.busy_seconds),
        refused: pool.refused.as_ref().map(|(node, number, why)| format!("node {node}, bin {number}: {why}")),
    }
}

pub(super) fn with_series(pool: &Gathered, causes: &Causes, terms: &SignalTerms) -> PoolSeries {
    let input = planner_pool(pool);
    let hot = hot_series(&input, &terms.rules).unwrap_or_default();
    let series = (pool.window.first..).zip(hot).map(|(number, bin)| SeriesBin {
        number,
        busy: bin.hottest.map(|(_, busy)| busy),
        node: bin.hottest.and_then(|(node, _)| Some(pool.nodes.get(node)?.name.clone())),
        suspect: bin.suspect,
    });
    PoolSeries { series: series.collect(), pool: of_pool(pool, &input, causes, terms) }
}

pub(super) fn attribution(registry: &RegistryName, pools: &[(&Gathered, Causes)]) -> Attribution {
    let shares = pools.iter().filter_map(|(pool, causes)| {
        let cause = causes.registries.get(registry)?;
        let nodes = pool.nodes.iter().zip(cause.by_node.iter().zip(&causes.by_node));
        let nodes = nodes.filter(|(_, (used, _))| **used > 0.0).map(|(node, (used, all))| NodeShare {
            node: node.name.clone(),
            part: part(*used, *all),
            cpu_seconds: *used,
        });
        let series = (0..pool.window.bins as usize).map(|at| {
            let sum: f32 = cause.busy.iter().filter_map(|node| node.get(at)).sum();
            sum / pool.nodes.len().max(1) as f32
        });
        let flows = cause.sum.flows / f64::from(pool.window.bins.max(1));
        Some(PoolShare {
            stamp: pool.stamp.clone(),
            pool: pool.role,
            window: pool.window,
            part: part(cause.sum.cpu_seconds, causes.busy_seconds),
            used: Used { flows, ..cause.sum },
            nodes: nodes.collect(),
            series: series.collect(),
        })
    });
    Attribution { registry: registry.clone(), pools: shares.collect() }
}
