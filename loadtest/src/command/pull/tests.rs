use std::time::Duration;

use clap::Parser;

use super::*;
use crate::plan::{Arrivals, Ranges, Step};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

const SUBJECT: &str = "127.0.0.1:5000/contoso/hello:v1";

fn parse(arguments: &str) -> Result<Options, String> {
    let words = arguments.split_whitespace();
    Line::try_parse_from(["pull"].into_iter().chain(words))
        .map(|line| line.options)
        .map_err(|error| error.to_string())
}

fn plan(arguments: &str) -> Plan {
    let options = parse(&format!("{SUBJECT} {arguments}")).expect(arguments);
    let given = options.target.subjects().expect("subjects");
    options.plan(&given).expect("a plan")
}

#[test]
fn a_subject_is_enough() {
    let plan = plan("");
    assert_eq!(plan.duration, Duration::from_secs(10));
    let flow = &plan.flows[0];
    assert_eq!((flow.client, &flow.arrivals), (Client::Containerd, &Arrivals::Constant { rate: 2.0 }));
    assert!(flow.reading.hash && flow.popularity == Popularity::RoundRobin);
    assert_eq!(plan.limits[0].to_string(), "failed<=0");
}

#[test]
fn every_way_to_start_pulls_can_be_asked_for() {
    let step = |rate, seconds| Step { rate, lasts: Duration::from_secs(seconds) };
    for (arguments, arrivals) in [
        ("--rate 7", Arrivals::Constant { rate: 7.0 }),
        ("--poisson 0.5", Arrivals::Poisson { rate: 0.5 }),
        ("--steps 10:30s,50:1m", Arrivals::Steps { steps: vec![step(10.0, 30), step(50.0, 60)] }),
        ("--burst 50", Arrivals::Burst { pulls: 50 }),
        ("--trace t --speed 2", Arrivals::Replay { trace: "t".into(), speed: 2.0 }),
        ("--closed 8 --think 5ms", Arrivals::Closed { pullers: 8, think: Duration::from_millis(5) }),
    ] {
        assert_eq!(plan(arguments).flows[0].arrivals, arrivals, "{arguments}");
    }
    assert_eq!(plan("--steps 10:30s,50:1m").duration, Duration::from_secs(90), "as long as its steps");
    let burst = plan("--burst 5 --warm-up 3s");
    assert_eq!(burst.flows[0].begin, burst.warm_up, "a burst counts");
}

#[test]
fn reading_and_choice_can_be_asked_for() {
    let plan = plan(
        "--client docker --no-hash --read-rate 1MiB --ranges 16x64KiB --layers 2 --timeout 9s --zipf 1.1",
    );
    let flow = &plan.flows[0];
    assert_eq!(flow.client, Client::Docker);
    assert_eq!(flow.popularity, Popularity::Zipf { exponent: 1.1 });
    let reading = &flow.reading;
    assert_eq!((reading.hash, reading.rate, reading.layers_at_once), (false, Some(1 << 20), Some(2)));
    assert_eq!(reading.ranges, Some(Ranges { count: 16, size: 64 << 10 }));
    assert_eq!(reading.timeout, Duration::from_secs(9));
}

#[test]
fn a_limit_of_the_user_takes_the_place_of_the_one_on_failures() {
    let plan = plan("--limit p99<=500ms --limit failed_share<=1%");
    let limits: Vec<String> = plan.limits.iter().map(ToString::to_string).collect();
    assert_eq!(limits, ["p99<=0.5", "failed_share<=0.01"]);
}

#[test]
fn what_is_wrong_is_refused_with_what_would_be_right() {
    for (arguments, said) in [
        ("--rate 1 --poisson 1", "cannot be used with"),
        ("--zipf 1 --once", "cannot be used with"),
        ("--steps 10-30s", "50:30s"),
        ("--ranges 16", "16x64KiB"),
        ("--ranges 0x4KiB", "16x64KiB"),
        ("--read-rate fast", "64KiB"),
        ("--chunk 1MiB --ranges 1x1", "cannot be used with"),
        ("--think 1s", "--closed"),
        ("--limit p99", "p99<=0.5"),
        ("--threads 0", "not in 1.."),
        ("--client curl", "containers-image"),
        ("--server-pid nginx", "NAME=PID"),
    ] {
        let error = parse(&format!("{SUBJECT} {arguments}")).expect_err(arguments);
        assert!(error.contains(said), "{arguments}: {error}");
    }
    let nothing = parse("").expect("parsed").plan(&[]).expect_err("nothing").to_string();
    assert!(nothing.contains("name what to pull"), "{nothing}");
}

#[test]
fn the_options_are_consistent() {
    use clap::CommandFactory;
    Line::command().debug_assert();
}
