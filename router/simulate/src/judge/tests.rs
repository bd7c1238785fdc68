use super::*;

fn judged(scenario: Scenario) -> Judged {
    let seed = 1;
    println!("{} with seed {seed}", scenario.as_str());
    judge(&scenario.case(seed).expect("names"), &Policy::default()).expect("a judgement")
}

#[test]
fn a_hot_stamp_is_relieved_within_its_prediction_and_no_destination_is_too_hot() {
    let judged = judged(Scenario::Zipf);
    assert_eq!(judged.decision, Right::Move);
    assert!(judged.ours.before - judged.ours.after > 8.0, "{:?}", judged.ours);
    assert_eq!((judged.ours.violations, judged.ours.transfer), (0, false));
    assert!(judged.predictions.iter().all(|scored| scored.error.abs() < 5.0), "{:?}", judged.predictions);
    assert!(judged.predictions.iter().any(|scored| scored.source));
    assert!(judged.predictions.iter().any(|scored| !scored.source));
    let regret = judged.regret.expect("regret where something moved");
    assert!(regret.informed >= -1e-9, "nothing is better than the best: {regret:?}");
}

#[test]
fn nothing_moves_where_no_move_is_right() {
    for scenario in [Scenario::Spike, Scenario::Calm, Scenario::Rollout, Scenario::Missing, Scenario::AllHot]
    {
        let judged = judged(scenario);
        assert_eq!(judged.decision, scenario.right(), "{}", judged.words);
        assert_eq!(judged.ours.moves, 0);
        assert_eq!(judged.ours.before, judged.ours.after);
        assert!(!judged.words.is_empty());
    }
}

#[test]
fn a_destination_that_gets_too_hot_is_a_violation_and_a_moved_problem_a_transfer() {
    let case = Scenario::Whale.case(1).expect("names");
    let draw = Draw { seed: case.chance, day: 0 };
    let fleet = case.region.fleet(&case.region.run(draw), draw).expect("names");
    let (without, moves) = (case.region.run(draw), [(0, 1)]);
    let with = case.region.moved(&moves).run(draw);
    let aim = Aim { hot: 40.0, goal: 34.0, destination: 45.0 };
    let outcome = outcome(&case, &fleet, &moves, &without, &with, aim);
    assert_eq!((outcome.violations, outcome.transfer, outcome.moves), (1, true, 1));
    assert!(outcome.bins_over > 36, "{outcome:?}");
    assert!(outcome.gib_per_second > 0.1 && outcome.after < outcome.before, "{outcome:?}");
}

#[test]
fn the_same_case_is_judged_the_same() {
    let json = || serde_json::to_string(&judged(Scenario::Skew)).expect("JSON");
    assert_eq!(json(), json());
}
