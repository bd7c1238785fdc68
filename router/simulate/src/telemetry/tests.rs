use crate::region::Silent;
use crate::town::{Town, Trade};

use super::*;

const DRAW: Draw = Draw { seed: 5, day: 0 };

fn one_stamp() -> Region {
    let mut town = Town::new(5);
    let stamp = town.stamp("a", 4).expect("a name");
    town.neighbours(stamp, 6, 1.1, 60.0, &Trade::ordinary()).expect("names");
    let mut region = town.region();
    region.heat(stamp, Role::All, 50.0, 3);
    region
}

fn fleet(region: &Region) -> planner::Fleet {
    region.fleet(&region.run(DRAW), DRAW).expect("names")
}

#[test]
fn shares_are_near_the_truth_and_add_up_to_what_the_node_measured() {
    let region = one_stamp();
    let truth = region.run(DRAW);
    let seen = &fleet(&region).stamps[0].pools[0];
    for (node, measured) in seen.nodes.iter().enumerate() {
        for (bin, at) in measured.bins.iter().enumerate() {
            let Some(at) = at else { continue };
            let shares: f32 = seen.shares.iter().map(|share| share.busy[node][bin]).sum();
            assert!((shares - (at.busy - 0.04).max(0.0)).abs() < 1e-4, "{shares} of {}", at.busy);
        }
    }
    let sum = |load: &[f32]| load.iter().map(|load| f64::from(*load)).sum::<f64>();
    for part in &truth.pools[0].parts {
        let share = seen.shares.iter().find(|s| s.registry == region.registries[part.registry].name);
        let seen: f64 = share.expect("a share").busy.iter().map(|node| sum(node)).sum();
        let error = seen / sum(&part.load) - 1.0;
        assert!(error.abs() < 0.15 && error != 0.0, "{error}");
    }
}

#[test]
fn demand_over_what_there_is_is_cut_and_so_are_its_shares() {
    let mut region = one_stamp();
    region.heat(0, Role::All, 99.0, 3);
    region.registries.iter_mut().for_each(|registry| registry.uses[0].cores_per_flow *= 2.0);
    let wanted = region.run(DRAW).pools[0].demand().into_iter().fold(0.0, f32::max);
    assert!(wanted > 1.2, "{wanted}");
    let seen = &fleet(&region).stamps[0].pools[0];
    let busiest = seen.nodes.iter().flat_map(|node| node.bins.iter().flatten()).map(|bin| bin.busy);
    assert_eq!(busiest.fold(0.0, f32::max), 1.0);
}

#[test]
fn a_silent_node_has_no_bins_and_no_shares() {
    let mut region = one_stamp();
    region.measuring.lost = 0.0;
    let silence = Silence { stamp: 0, role: Role::All, who: Silent::Hottest, from: 100, to: 200 };
    region.measuring.silences.push(silence);
    let seen = &fleet(&region).stamps[0].pools[0];
    let missing = |bin: usize| seen.nodes.iter().filter(|node| node.bins[bin].is_none()).count();
    assert_eq!((missing(99), missing(100), missing(199), missing(200)), (0, 1, 1, 0));
    let node = seen.nodes.iter().position(|node| node.bins[150].is_none()).expect("a silent node");
    assert!(seen.shares.iter().all(|share| share.busy[node][150] == 0.0));
}

#[test]
fn a_fleet_has_everything_in_the_order_of_names() {
    let seen = fleet(&one_stamp());
    assert!(seen.registries.is_sorted_by(|one, other| one.name < other.name));
    assert!(seen.stamps[0].pools[0].shares.is_sorted_by(|one, other| one.registry < other.registry));
}
