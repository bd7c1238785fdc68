//! Predictions against what then happens, on days that the prediction did not see.

use super::*;
use crate::testing::{Model, demand, fleet, many};
use crate::{Fleet, Policy};

fn stamps(seed: u64) -> Vec<Model> {
    // Parameters differ with the seed, so that nothing is fitted to one shape.
    let mut chance = Chance::of(&[seed, 99]);
    let mut between = |low: f64, high: f64| low + (high - low) * chance.part();
    let (flows, nodes) = (between(120.0, 300.0), between(8.0, 14.0) as usize);
    let mut registries = many("x-a", 12, flows, between(0.006, 0.009) * 240.0 / flows * nodes as f64 / 12.0);
    registries[0].flows *= between(0.6, 1.4);
    let cool = many("x-b", 10, between(80.0, 200.0), 0.005);
    vec![
        Model { name: "a", nodes, registries, lean: 0.0 },
        Model { name: "b", nodes: between(6.0, 16.0) as usize, registries: cool, lean: 0.0 },
    ]
}

fn truth(stamp: &Model, uses: &[&crate::testing::Uses], key: [u64; 2]) -> f64 {
    let busy: Vec<f32> = demand(stamp, uses, key).into_iter().flatten().collect();
    p95(&mut hottest(&busy, 720)).min(1.0)
}

/// The interval and the truth of days after, at the source and at the destination, when the largest one moves.
fn judged(seed: u64) -> [(Interval, Vec<f64>); 2] {
    let stamps = stamps(seed);
    let seen: Fleet = fleet(&stamps, [seed, 0]);
    let policy = Policy::default();
    let world = World::new(&seen, &policy, seed);
    let predictor = Predictor::new(&world);
    let moved = world.registry(&"x-a00".parse().unwrap()).unwrap();
    let source = predictor.forecast(0, &[moved], &[], policy.draws).interval();
    let coming = [Coming { registry: moved, from: 0 }];
    let destination = predictor.forecast(1, &[], &coming, policy.draws).interval();
    let days = 1..4;
    let stay: Vec<_> = stamps[0].registries[1..].iter().collect();
    let come: Vec<_> = stamps[1].registries.iter().chain([&stamps[0].registries[0]]).collect();
    [
        (source, days.clone().map(|day| truth(&stamps[0], &stay, [seed, day])).collect()),
        (destination, days.map(|day| truth(&stamps[1], &come, [seed, day])).collect()),
    ]
}

#[test]
fn intervals_hold_the_truth_of_unseen_days() {
    let mut errors = [Vec::new(), Vec::new()];
    let mut held = [0, 0];
    let mut bias = [0.0, 0.0];
    for seed in 0..24 {
        for (end, (interval, days)) in judged(seed).into_iter().enumerate() {
            for day in days {
                held[end] += usize::from((interval.lo..=interval.hi).contains(&day));
                errors[end].push((interval.median - day).abs());
                bias[end] += interval.median - day;
            }
        }
    }
    for (end, ((mut errors, held), bias)) in errors.into_iter().zip(held).zip(bias).enumerate() {
        let count = errors.len();
        let (covered, bias) = (held as f64 / count as f64, bias / count as f64);
        let error = median(&mut errors);
        println!("end {end}: {covered:.3} covered, median error {error:.4}, bias {bias:.4}");
        assert!((0.85..=0.97).contains(&covered), "end {end}: {covered}");
        assert!(error < 0.02, "end {end}: {error}");
    }
}
