use crate::truth::Draw;

use super::*;

#[test]
fn every_scenario_is_as_hot_as_what_is_right_there_needs() {
    let seed = 1;
    for &scenario in Scenario::ALL {
        let case = scenario.case(seed).expect("names");
        let p95 = case.region.run(Draw { seed, day: 0 }).p95(case.source);
        let hot = !matches!(scenario, Scenario::Spike | Scenario::Calm);
        assert_eq!(p95 > 40.0, hot, "{} with seed {seed}: {p95}", scenario.as_str());
    }
}

#[test]
fn seeds_draw_other_parameters() {
    let nodes = |seed| {
        Scenario::Zipf
            .case(seed)
            .expect("names")
            .region
            .stamps
            .iter()
            .map(|s| s.pools[0].nodes)
            .collect::<Vec<_>>()
    };
    assert_eq!(nodes(1), nodes(1));
    assert_ne!(nodes(1), nodes(2));
}

#[test]
fn there_are_at_least_twelve_and_every_answer_is_right_somewhere() {
    assert!(Scenario::ALL.len() >= 12);
    let rights =
        [Right::Move, Right::Isolate, Right::Spread, Right::Nothing, Right::Capacity, Right::Insufficient];
    for right in rights {
        assert!(Scenario::ALL.iter().any(|scenario| scenario.right() == right), "{right:?}");
    }
}
