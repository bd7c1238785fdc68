use std::io::Write;

use super::*;

/// Printed by every failure, so that it can be repeated.
const SEED: u64 = 20_261_125;

fn flow(arrivals: Arrivals) -> Flow {
    let text = "name = \"f\"\narrivals = { kind = \"burst\", pulls = 1 }";
    Flow { arrivals, ..toml::from_str(text).expect("a flow") }
}

fn open(flow: &Flow, seed: u64, seconds: u64) -> Schedule {
    match Timing::new(flow, 0, seed, Duration::from_secs(seconds)).expect("valid") {
        Timing::Open(schedule) => schedule,
        Timing::Closed(_) => panic!("open"),
    }
}

fn offsets(flow: &Flow, seed: u64, seconds: u64) -> Vec<f64> {
    open(flow, seed, seconds).map(|arrival| arrival.at.as_secs_f64()).collect()
}

#[test]
fn constant_arrivals_keep_their_distance_without_drift() {
    let flow = flow(Arrivals::Constant { rate: 3.0 });
    let offsets = offsets(&flow, SEED, 1000);
    assert_eq!(offsets.len(), 3000);
    for (number, at) in offsets.iter().enumerate() {
        assert!((at - number as f64 / 3.0).abs() < 1e-8, "{number}: {at}");
    }
}

#[test]
fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
    let flow = flow(Arrivals::Poisson { rate: 100.0 });
    assert_eq!(offsets(&flow, SEED, 20), offsets(&flow, SEED, 20));
    assert_ne!(offsets(&flow, SEED, 20), offsets(&flow, SEED + 1, 20));
}

#[test]
fn threads_that_split_a_schedule_by_number_make_together_the_same_pulls() {
    let flow = flow(Arrivals::Poisson { rate: 100.0 });
    let whole: Vec<Arrival> = open(&flow, SEED, 20).collect();
    for threads in [2_u64, 3, 7] {
        let mut parts: Vec<Arrival> = (0..threads)
            .flat_map(|mine| open(&flow, SEED, 20).filter(move |arrival| arrival.number % threads == mine))
            .collect();
        parts.sort_by_key(|arrival| arrival.number);
        assert_eq!(parts, whole, "{threads} threads");
    }
}

/// For a Poisson process the count is within 5 standard deviations of rate × time, and the distances have mean and standard
/// deviation 1/rate; each bound is wider than chance would break once in a million seeds, and the seed is fixed.
#[test]
fn poisson_arrivals_have_the_rate_and_the_spread_of_independent_users() {
    let flow = flow(Arrivals::Poisson { rate: 50.0 });
    let offsets = offsets(&flow, SEED, 1000);
    let expected = 50_000.0_f64;
    let count = offsets.len() as f64;
    assert!((count - expected).abs() < 5.0 * expected.sqrt(), "seed {SEED}: {count} arrivals");
    let gaps: Vec<f64> = offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    assert!((mean * 50.0 - 1.0).abs() < 0.025, "seed {SEED}: mean {mean}");
    assert!((variance.sqrt() * 50.0 - 1.0).abs() < 0.05, "seed {SEED}: deviation {}", variance.sqrt());
    let beyond = gaps.iter().filter(|gap| **gap > 3.0 / 50.0).count() as f64 / gaps.len() as f64;
    assert!((beyond / (-3.0_f64).exp() - 1.0).abs() < 0.15, "seed {SEED}: share beyond 3 means {beyond}");
}

#[test]
fn steps_follow_one_another_each_at_its_own_rate() {
    let step = |rate, seconds| Step { rate, lasts: Duration::from_secs(seconds) };
    let flow = flow(Arrivals::Steps { steps: vec![step(10.0, 100), step(0.0, 100), step(200.0, 100)] });
    let offsets = offsets(&flow, SEED, 1000);
    let between = |from: f64, to: f64| offsets.iter().filter(|at| (from..to).contains(*at)).count() as f64;
    assert!((between(0.0, 100.0) - 1000.0).abs() < 5.0 * 1000_f64.sqrt(), "seed {SEED}");
    assert!(between(100.0, 200.0) == 0.0, "seed {SEED}");
    assert!((between(200.0, 300.0) - 20_000.0).abs() < 5.0 * 20_000_f64.sqrt(), "seed {SEED}");
    assert!(between(300.0, 1001.0) == 0.0, "seed {SEED}");
}

#[test]
fn a_flow_keeps_to_its_begin_its_end_and_its_most_pulls() {
    let mut flow = flow(Arrivals::Constant { rate: 10.0 });
    flow.begin = Duration::from_secs(2);
    flow.end = Some(Duration::from_secs(4));
    let within = offsets(&flow, SEED, 100);
    assert_eq!((within.len(), within[0]), (20, 2.0));
    flow.pulls = Some(5);
    assert_eq!(offsets(&flow, SEED, 100).len(), 5);
    flow.pulls = None;
    assert_eq!(offsets(&flow, SEED, 3).len(), 10, "the end of the run is the end of its flows");
}

#[test]
fn a_burst_is_all_at_once_at_the_begin_of_its_flow() {
    let mut flow = flow(Arrivals::Burst { pulls: 50 });
    flow.begin = Duration::from_secs(1);
    assert_eq!(offsets(&flow, SEED, 10), vec![1.0; 50]);
}

#[test]
fn a_trace_is_replayed_at_the_speed_that_is_asked_for() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"0\n1 127.0.0.1:5000/a/b:1\n3\n").expect("written");
    let flow = flow(Arrivals::Replay { trace: file.path().to_owned(), speed: 2.0 });
    let arrivals: Vec<Arrival> = open(&flow, SEED, 10).collect();
    assert_eq!(arrivals.iter().map(|arrival| arrival.at.as_secs_f64()).collect::<Vec<_>>(), [0.0, 0.5, 1.5]);
    assert!(arrivals[1].subject.is_some() && arrivals[0].subject.is_none());
}

#[test]
fn the_pulls_that_are_planned_are_those_that_come() {
    let flow = flow(Arrivals::Poisson { rate: 100.0 });
    let timing = Timing::new(&flow, 0, SEED, Duration::from_secs(20)).expect("valid");
    let (from, to) = (Duration::from_secs(5), Duration::from_secs(20));
    let come = open(&flow, SEED, 20).filter(|arrival| arrival.at >= from).count() as u64;
    assert_eq!(timing.planned(from, to), Some(come));
    let closed = Timing::new(
        &Flow { arrivals: Arrivals::Closed { pullers: 1, think: Duration::ZERO }, ..flow },
        0,
        SEED,
        to,
    );
    assert_eq!(closed.expect("valid").planned(from, to), None);
}

#[test]
fn arrivals_that_cannot_be_are_refused_with_what_would_be_right() {
    let none = Step { rate: 0.0, lasts: Duration::from_secs(1) };
    let wrong_step = Step { rate: -1.0, lasts: Duration::from_secs(1) };
    for (arrivals, said) in [
        (Arrivals::Constant { rate: 0.0 }, "above 0"),
        (Arrivals::Poisson { rate: f64::NAN }, "above 0"),
        (Arrivals::Steps { steps: vec![] }, "at least one step"),
        (Arrivals::Steps { steps: vec![none] }, "at least one step"),
        (Arrivals::Steps { steps: vec![wrong_step] }, "rate of a step is -1"),
        (Arrivals::Burst { pulls: 0 }, "burst is 0"),
        (Arrivals::Closed { pullers: 0, think: Duration::ZERO }, "pullers is 0"),
        (Arrivals::Replay { trace: "/nowhere/trace".into(), speed: 1.0 }, "/nowhere/trace"),
    ] {
        let error = Timing::new(&flow(arrivals.clone()), 0, SEED, Duration::from_secs(10))
            .expect_err("refused")
            .to_string();
        assert!(error.contains(said), "{arrivals:?}: {error}");
    }
    let late = Flow { begin: Duration::from_secs(10), ..flow(Arrivals::Constant { rate: 1.0 }) };
    let error = Timing::new(&late, 0, SEED, Duration::from_secs(10)).expect_err("refused").to_string();
    assert!(error.contains("no time left"), "{error}");
}
