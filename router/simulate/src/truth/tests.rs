use crate::region::Storm;
use crate::town::{Town, Trade};

use super::*;

const DRAW: Draw = Draw { seed: 1, day: 0 };

/// Two stamps with four registries each.
fn two_stamps() -> Region {
    let mut town = Town::new(1);
    for stamp in ["a", "b"] {
        let stamp = town.stamp(stamp, 4).expect("a name");
        town.neighbours(stamp, 4, 1.0, 40.0, &Trade::ordinary()).expect("names");
    }
    town.region()
}

#[test]
fn the_same_draw_is_the_same_truth_and_another_seed_or_day_is_not() {
    let region = two_stamps();
    let hot = |draw| region.run(draw).pools[0].hot();
    assert_eq!(hot(DRAW), hot(DRAW));
    assert_ne!(hot(DRAW), hot(Draw { seed: 2, ..DRAW }));
    assert_ne!(hot(DRAW), hot(Draw { day: 1, ..DRAW }));
}

#[test]
fn who_stays_has_the_same_load_and_who_moves_brings_the_same_flows_to_other_nodes() {
    let region = two_stamps();
    let (before, after) = (region.run(DRAW), region.moved(&[(0, 1)]).run(DRAW));
    for registry in 1..region.registries.len() {
        let home = region.registries[registry].home;
        let load = |truth: &Truth| truth.pools[home].part(registry).expect("a part").load.clone();
        assert_eq!(load(&before), load(&after));
    }
    let (there, here) = (before.pools[0].part(0).expect("a part"), after.pools[1].part(0).expect("a part"));
    assert_eq!((&there.flows, &there.weight), (&here.flows, &here.weight));
    assert_ne!(there.load, here.load);
    assert!(after.pools[0].part(0).is_none());
}

#[test]
fn drawing_only_what_moves_touch_gives_the_whole_truth() {
    let mut town = Town::new(1);
    for stamp in ["a", "b", "c"] {
        let stamp = town.stamp(stamp, 4).expect("a name");
        town.neighbours(stamp, 4, 1.0, 40.0, &Trade::ordinary()).expect("names");
    }
    let region = town.region();
    let moves = [(0, 1), (1, 1)];
    let quick = region.run(DRAW).after(&region, &moves, DRAW);
    let whole = region.moved(&moves).run(DRAW);
    let demand = |truth: &Truth| truth.pools.iter().map(PoolTruth::demand).collect::<Vec<_>>();
    assert_eq!(demand(&quick), demand(&whole));
}

#[test]
fn load_is_what_the_model_says_on_average() {
    let region = two_stamps();
    let truth = region.run(DRAW);
    let pool = &truth.pools[0];
    let flows: f64 = region.registries.iter().filter(|r| r.home == 0).map(|r| r.uses[0].flows).sum();
    let expected = 0.04 + flows * region.registries[0].uses[0].cores_per_flow / 16.0 / 4.0;
    let demand = pool.demand();
    let mean = demand.iter().map(|load| f64::from(*load)).sum::<f64>() / demand.len() as f64;
    assert!((mean / expected - 1.0).abs() < 0.1, "{mean} {expected}");
}

#[test]
fn flows_that_stay_keep_their_node_and_their_mean() {
    let alike = |stay: f64| {
        let mut region = two_stamps();
        region.registries.iter_mut().for_each(|registry| registry.uses[0].stay = stay);
        let demand = region.run(DRAW).pools[0].demand();
        let node = &demand[..region.bins];
        let mean = node.iter().sum::<f32>() / node.len() as f32;
        let spread: f32 = node.iter().map(|load| (load - mean).powi(2)).sum();
        let next: f32 = node.windows(2).map(|two| (two[0] - mean) * (two[1] - mean)).sum();
        (next / spread, demand.iter().sum::<f32>() / demand.len() as f32)
    };
    let ((passing, mean), (kept, kept_mean)) = (alike(0.0), alike(0.9));
    assert!(kept > 0.8 && passing < 0.6, "{kept} {passing}");
    assert!((kept_mean / mean - 1.0).abs() < 0.1, "{kept_mean} {mean}");
}

#[test]
fn a_storm_is_what_is_scripted_and_goes_with_its_cause() {
    let mut region = two_stamps();
    let (role, causes) = (Role::All, vec![(0, 0.32), (1, 0.60)]);
    region.storms.push(Storm { stamp: 0, role, node: 3, bin: 400, causes });
    let at = |region: &Region| region.run(DRAW).pools[0].demand()[3 * region.bins + 400];
    assert!((at(&region) - 0.96).abs() < 1e-5, "{}", at(&region));
    let moved = region.moved(&[(0, 1)]);
    assert!((at(&moved) - 0.64).abs() < 1e-5, "{}", at(&moved));
    let came = moved.run(DRAW).pools[1].part(0).expect("a part").load[3 * region.bins + 400];
    assert!(came >= 0.32, "{came}");
}

#[test]
fn a_leaning_balancer_heats_the_node_that_it_leans_on() {
    let mut region = two_stamps();
    region.stamps[0].pools[0].lean = vec![1.0, 1.0, 3.0, 1.0];
    let demand = region.run(DRAW).pools[0].demand();
    let sums: Vec<f32> = demand.chunks(region.bins).map(|node| node.iter().map(|l| l - 0.04).sum()).collect();
    assert!(sums[2] > 2.0 * sums[0], "{sums:?}");
}

#[test]
fn the_nearest_rank_of_720_is_the_684th() {
    let values: Vec<f32> = (1..=720).rev().map(|value| value as f32).collect();
    assert_eq!(nearest_rank(values, 0.95), 684.0);
    assert_eq!(nearest_rank(vec![3.0], 0.95), 3.0);
    assert_eq!(nearest_rank(Vec::new(), 0.95), 0.0);
}

#[test]
fn no_node_is_busier_than_busy() {
    assert_eq!(hottest(&[0.2, 1.7, 0.5, 0.4], 2), [0.5, 1.0]);
}
