use crate::scenarios::Scenario;

use super::*;

const DRAW: Draw = Draw { seed: 3, day: 0 };

fn bounds(bytes: f64) -> Bounds {
    Bounds { source: 0, destination: 45.0, bytes: Some(bytes), smallest: 0.02 }
}

#[test]
fn no_subset_within_the_bytes_is_better_than_what_the_oracle_takes() {
    let case = Scenario::Costs.case(3).expect("names");
    let fleet = case.region.fleet(&case.region.run(DRAW), DRAW).expect("names");
    let seen = Board::new(&fleet);
    let bytes = 0.5e9;
    let best = informed(&case.region, &fleet, &Policy::default(), &[], bounds(bytes), 1).expect("a best");
    let moved = |moves: &[Move]| -> Vec<usize> {
        let name = |registry: usize| &case.region.registries[registry].name;
        let place = |registry: usize| fleet.registries.iter().position(|r| r.name == *name(registry));
        moves.iter().filter_map(|(registry, _)| place(*registry)).collect()
    };
    let gone = moved(&best.moves);
    let spent: f64 = gone.iter().map(|&registry| seen.registries[registry].bytes).sum();
    assert!(spent <= bytes, "{spent}");
    assert!((seen.without(0, &gone) - best.after).abs() < 0.1, "{best:?}");
    // One more that fits would have been taken, and one for another does not help.
    for other in seen.movable(0).into_iter().filter(|registry| !gone.contains(registry)).take(6) {
        let more: Vec<usize> = gone.iter().copied().chain([other]).collect();
        let cost = spent + seen.registries[other].bytes;
        assert!(cost > bytes || seen.without(0, &more) >= best.after - 1e-3, "{other}");
    }
}

#[test]
fn a_subset_is_split_where_no_stamp_has_room_for_it_whole() {
    let mut fits = |stamp: usize, part: u32| part.count_ones() <= [0, 1, 2][stamp];
    let parts = place(0b111, &[1, 2], &mut fits).expect("a split");
    assert_eq!(parts.iter().filter(|(_, stamp)| *stamp == 1).count(), 1);
    assert_eq!(parts.len(), 3);
    assert!(place(0b1111, &[1, 2], &mut fits).is_none());
}

#[test]
fn a_wasteful_plan_is_shown_what_it_wastes() {
    let case = Scenario::Costs.case(3).expect("names");
    let fleet = case.region.fleet(&case.region.run(DRAW), DRAW).expect("names");
    let seen = Board::new(&fleet);
    let mut by_bytes = seen.movable(0);
    by_bytes.sort_by(|one, other| {
        let cost = |registry: usize| seen.part(registry) / seen.registries[registry].bytes;
        cost(*one).total_cmp(&cost(*other))
    });
    let wasteful: Vec<Move> =
        by_bytes.into_iter().filter(|&r| seen.part(r) > 0.02).take(3).map(|r| (r, 1)).collect();
    let plan = seen.places(&case.region, &wasteful);
    let best =
        informed(&case.region, &fleet, &Policy::default(), &plan, Bounds { bytes: None, ..bounds(0.0) }, 1)
            .expect("a best");
    assert!(best.after < best.planned, "{best:?}");
    assert!(best.least_bytes.expect("a part") < 0.95, "{best:?}");
}
