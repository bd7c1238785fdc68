//! The signal against a plain and slow one, and what it refuses.

use proptest::prelude::*;

use super::*;
use crate::{Node, Window};
use dataproxy_router_api::Role;

fn pool(nodes: Vec<Vec<Option<Bin>>>) -> Pool {
    let bins = nodes.first().map_or(1, Vec::len) as u32;
    let nodes = nodes.into_iter().enumerate();
    let nodes = nodes.map(|(n, bins)| Node { name: format!("n{n}").parse().unwrap(), cores: 4.0, bins });
    Pool {
        role: Role::All,
        window: Window { first: 100, bins, bin_seconds: 60 },
        nodes: nodes.collect(),
        shares: Vec::new(),
        min_nodes: None,
        build: String::new(),
        zones: None,
        past_p95: Vec::new(),
    }
}

fn whole(busy: f32) -> Option<Bin> {
    Some(Bin { busy, observed_seconds: 60.0, in_rotation_seconds: 60.0 })
}

#[test]
fn one_hot_node_shows_though_the_pool_is_idle() {
    let idle = vec![whole(0.01); 720];
    let mut hot = idle.clone();
    hot[..100].fill(whole(0.99));
    let signal = signal(&pool([vec![idle; 19], vec![hot]].concat()), &SignalRules::default()).unwrap();
    assert!((signal.p95 - 0.99).abs() < 1e-6 && signal.avg < 0.03, "{signal:?}");
    assert_eq!(signal.hottest.as_ref().unwrap().node.as_str(), "n19");
    assert!(signal.is_valid());
}

#[test]
fn a_short_spike_is_in_the_maximum_alone() {
    let mut bins = vec![whole(0.43); 720];
    bins[..36].fill(whole(0.96));
    let signal = signal(&pool(vec![bins]), &SignalRules::default()).unwrap();
    assert!((signal.p95 - 0.43).abs() < 1e-6 && (signal.max - 0.96).abs() < 1e-6, "{signal:?}");
}

#[test]
fn a_silent_node_is_never_idle() {
    let mut bins = vec![whole(0.2); 720];
    bins[..37].fill(None);
    let signal = signal(&pool(vec![bins, vec![whole(0.3); 720]]), &SignalRules::default()).unwrap();
    assert_eq!((signal.suspect_bins, signal.p95_hi), (37, 1.0));
    assert!((signal.p95_lo - 0.3).abs() < 1e-6);
    let Status::Insufficient { why } = signal.status else { panic!("valid") };
    assert!(why.contains("683 of 720") && why.contains("684"), "{why}");
}

#[test]
fn a_wide_interval_is_no_signal() {
    // 36 suspect bins are allowed, but here the P95 then is one of them or of the hottest of the others.
    let mut bins = vec![whole(0.2); 720];
    bins[..36].fill(None);
    bins[36..46].fill(whole(0.4));
    let signal = signal(&pool(vec![bins]), &SignalRules::default()).unwrap();
    let Status::Insufficient { why } = signal.status else { panic!("valid") };
    assert!(why.contains("20.0 % and 40.0 %"), "{why}");
}

#[test]
fn a_node_that_joins_or_leaves_counts_once_it_was_there_long_enough() {
    let bin = |observed_seconds, in_rotation_seconds| {
        let busy = 0.9;
        pool(vec![vec![Some(Bin { busy, observed_seconds, in_rotation_seconds })], vec![whole(0.1)]])
    };
    let rules = SignalRules::default();
    let of = |pool: &Pool| hot_series(pool, &rules).unwrap()[0];
    assert_eq!(of(&bin(60.0, 29.0)), HotBin { hottest: Some((1, 0.1)), suspect: false });
    assert_eq!(of(&bin(45.0, 30.0)), HotBin { hottest: Some((0, 0.9)), suspect: false });
    assert_eq!(of(&bin(44.0, 30.0)), HotBin { hottest: Some((1, 0.1)), suspect: true });
}

#[test]
fn what_is_no_measurement_is_refused_by_name() {
    for busy in [f32::NAN, -0.1, 4.0, f32::INFINITY] {
        let error = signal(&pool(vec![vec![whole(busy)]]), &SignalRules::default()).unwrap_err();
        assert!(error.to_string().contains("node n0, bin 100: busy is"), "{error}");
    }
    let seconds = Some(Bin { busy: 0.1, observed_seconds: f32::NAN, in_rotation_seconds: 60.0 });
    let error = signal(&pool(vec![vec![seconds]]), &SignalRules::default()).unwrap_err();
    assert!(error.to_string().contains("observed_seconds is NaN s"), "{error}");
    let mut short = pool(vec![vec![whole(0.1); 2], vec![whole(0.1); 2]]);
    short.nodes[1].bins.pop();
    assert!(matches!(hot_series(&short, &SignalRules::default()), Err(BadSeries::Length { found: 1, .. })));
    let mut none = pool(vec![vec![whole(0.1)]]);
    none.nodes[0].cores = f32::NAN;
    assert!(matches!(hot_series(&none, &SignalRules::default()), Err(BadSeries::Cores { .. })));
}

#[test]
fn a_pool_without_nodes_is_not_idle() {
    let signal = signal(&pool(Vec::new()), &SignalRules::default()).unwrap();
    assert_eq!((signal.p95_lo, signal.p95_hi, signal.is_valid()), (0.0, 1.0, false));
}

/// The slow way: for each bin the list of what is there, and a percentile by counting.
fn slow(pool: &Pool) -> (f64, f64, f64, usize) {
    let counted = |values: &[f64]| {
        let mut candidates = values.to_vec();
        candidates.sort_by(f64::total_cmp);
        let at_most = |limit: f64| values.iter().filter(|value| **value <= limit).count();
        candidates.into_iter().find(|limit| at_most(*limit) * 100 >= values.len() * 95)
    };
    let (mut lo, mut hi, mut certain, mut suspects) = (vec![], vec![], vec![], 0);
    for t in 0..pool.window.bins as usize {
        let bins: Vec<Option<Bin>> = pool.nodes.iter().map(|node| node.bins[t]).collect();
        let there: Vec<Bin> =
            bins.iter().flatten().copied().filter(|bin| bin.in_rotation_seconds >= 30.0).collect();
        let good: Vec<f64> =
            there.iter().filter(|bin| bin.observed_seconds >= 45.0).map(|bin| f64::from(bin.busy)).collect();
        let hottest = good.iter().copied().reduce(f64::max);
        let suspect = bins.contains(&None) || good.len() < there.len() || there.is_empty();
        lo.extend(hottest);
        hi.push(if suspect { 1.0 } else { hottest.unwrap() });
        if suspect { suspects += 1 } else { certain.extend(hottest) }
    }
    let (lo, hi) = (counted(&lo).unwrap_or(0.0), counted(&hi).unwrap());
    (lo, counted(&certain).unwrap_or(hi).max(lo).min(hi.max(lo)), hi.max(lo), suspects)
}

fn bins(len: usize) -> impl Strategy<Value = Vec<Option<Bin>>> {
    let bin = (
        0.0_f32..=1.0,
        prop_oneof![Just(60.0_f32), 0.0_f32..=60.0],
        prop_oneof![Just(60.0_f32), 0.0_f32..=60.0],
    )
        .prop_map(|(busy, observed_seconds, in_rotation_seconds)| Bin {
            busy,
            observed_seconds,
            in_rotation_seconds,
        });
    prop::collection::vec(prop::option::weighted(0.97, bin), len)
}

proptest! {
    #[test]
    fn the_signal_is_that_of_the_slow_way(
        nodes in (1_usize..80).prop_flat_map(|len| prop::collection::vec(bins(len), 1..6))
    ) {
        let pool = pool(nodes);
        let signal = signal(&pool, &SignalRules::default()).unwrap();
        let (lo, p95, hi, suspects) = slow(&pool);
        prop_assert_eq!((signal.p95_lo, signal.p95, signal.p95_hi), (lo, p95, hi));
        prop_assert_eq!(signal.suspect_bins as usize, suspects);
        prop_assert!((signal.interpolated - signal.p95_lo).abs() <= signal.interpolated_bound + 1e-9);
        prop_assert!(signal.max >= signal.p95_lo && (0.0..=1.0).contains(&signal.avg));
    }
}
