use crate::scenarios::Scenario;
use crate::truth::Draw;

use super::*;

const AIM: Aim = Aim { hot: 40.0, goal: 34.0, destination: 45.0 };

fn plans(scenario: Scenario, seed: u64) -> (Region, Vec<(Baseline, Vec<Move>)>) {
    let case = scenario.case(seed).expect("names");
    let draw = Draw { seed, day: 0 };
    let fleet = case.region.fleet(&case.region.run(draw), draw).expect("names");
    let plans = Baseline::ALL.map(|baseline| (baseline, baseline.plan(&case.region, &fleet, AIM, seed)));
    (case.region, plans.into())
}

#[test]
fn baselines_move_away_from_the_hot_stamp_and_never_where_nothing_goes() {
    let (region, plans) = plans(Scenario::Incident, 1);
    for (baseline, moves) in plans {
        assert_eq!(moves.is_empty(), baseline == Baseline::Nothing, "{baseline:?} {moves:?}");
        assert!(moves.iter().all(|&(_, to)| region.stamps[to].held.is_none()), "{baseline:?} {moves:?}");
    }
}

#[test]
fn baselines_leave_what_is_pinned_or_has_just_moved() {
    let (_, pinned) = plans(Scenario::Pinned, 1);
    assert!(pinned.iter().all(|(_, moves)| moves.iter().all(|(registry, _)| *registry != 0)));
    let (region, cooling) = plans(Scenario::Cooldown, 1);
    let from =
        |moves: &[Move]| moves.iter().filter(|(registry, _)| region.registries[*registry].home == 0).count();
    assert!(cooling.iter().all(|(_, moves)| from(moves) == 0));
}

#[test]
fn adding_percentiles_refuses_a_good_move_and_averages_accept_a_bad_one() {
    let moves = |plans: Vec<(Baseline, Vec<Move>)>, which| {
        plans.into_iter().find(|(baseline, _)| *baseline == which).map(|(_, moves)| moves).unwrap_or_default()
    };
    let (_, anti_phase) = plans(Scenario::AntiPhase, 1);
    let refused = moves(anti_phase, Baseline::AddPercentiles);
    let (_, in_phase) = plans(Scenario::InPhase, 1);
    let accepted = moves(in_phase, Baseline::LeastLoaded);
    assert!(accepted.iter().any(|(_, to)| *to == 1), "{accepted:?}");
    assert!(refused.len() < 2, "{refused:?}");
}
