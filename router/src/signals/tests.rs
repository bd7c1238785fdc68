//! From reports to signals.

use dataproxy_planner::Window;
use dataproxy_router_api::{
    Binding, Incarnation, Node, NodeBin, NodeName, NodeReport, NodeState, Placement, RegistryBin, Revision,
    Used,
};

use super::*;
use crate::minutes::Rows;
use crate::record::{NodeRecord, Record, StampRecord};

const FIRST: u64 = 28_333_200;

fn stamp(name: &str) -> StampRecord {
    serde_json::from_value(serde_json::json!({"name": name, "accounts": [format!("{name}1")]})).unwrap()
}

fn node(name: &str) -> Node {
    let address = "127.0.1.1:5000".parse().unwrap();
    Node::new(name.parse().unwrap(), address, address, Role::All)
}

/// Stamp `a` with nodes `a1` and `a2`, where `contoso` is at home.
fn state() -> State {
    let mut state = State::new("local".parse().unwrap());
    state.load(Record::Stamp(stamp("a")), Revision(1));
    for name in ["a1", "a2"] {
        let record = NodeRecord {
            stamp: "a".parse().unwrap(),
            node: node(name),
            incarnation: Incarnation(1),
            version: "0.1.0".into(),
        };
        state.load(Record::Node(record), Revision(1));
    }
    let binding = Binding::new(
        "contoso".parse().unwrap(),
        "a".parse().unwrap(),
        Placement::new("a1".parse().unwrap(), "contoso"),
    );
    state.load(Record::Binding(binding), Revision(1));
    state
}

fn signals() -> Signals {
    Signals { minutes: Arc::new(Minutes::in_memory().unwrap()), terms: SignalTerms::default() }
}

fn bin(sequence: u64, number: u64, ratio: f64) -> NodeBin {
    let contoso = Used {
        cpu_seconds: ratio * 60.0,
        requests: 60,
        hit_bytes: 6_000,
        miss_bytes: 600,
        flows: 2.0,
        ..Used::default()
    };
    NodeBin {
        sequence,
        number,
        bin_seconds: 60,
        busy_seconds: ratio * 120.0,
        steal_seconds: 0.0,
        cores: 2.0,
        observed_seconds: 60.0,
        in_rotation_seconds: 60.0,
        scope: "host".into(),
        suspect: Vec::new(),
        registries: vec![RegistryBin { registry: "contoso".parse().unwrap(), used: contoso }],
        other: Used::default(),
    }
}

fn tell(signals: &Signals, name: &str, bins: Vec<NodeBin>) {
    let number = bins.iter().map(|bin| bin.number).max().unwrap();
    let seconds = u64::from(bins[0].bin_seconds);
    let report = NodeReport {
        region: "local".parse().unwrap(),
        stamp: "a".parse().unwrap(),
        node: node(name),
        incarnation: Incarnation(1),
        version: "0.1.0".into(),
        sequence: 1,
        history: Default::default(),
        revision: Revision(1),
        in_flight: 0,
        registries: Vec::new(),
        time_ms: None,
        bins,
    };
    let taken = signals.minutes.take(&report, UnixMillis((number + 1) * seconds * 1000)).unwrap();
    assert_eq!(taken.refused, []);
}

/// Half a day of minutes of `a1`, and of `a2` as many as that: `a1` is at 20 % but for 40 minutes at 60 %, `a2` at 10 %.
fn half_day(signals: &Signals, of_the_other: u64) -> UnixMillis {
    for (name, hot, told) in [("a1", true, 720), ("a2", false, of_the_other)] {
        let ratio = |at: u64| match (hot, at) {
            (true, 100..140) => 0.6,
            (true, _) => 0.2,
            (false, _) => 0.1,
        };
        tell(signals, name, (0..told).map(|at| bin(at + 1, FIRST + at, ratio(at))).collect());
    }
    UnixMillis((FIRST + 720) * 60_000)
}

#[test]
fn the_hottest_node_of_each_minute_makes_the_p95_and_the_registries_are_named() {
    let (signals, state) = (signals(), state());
    let now = half_day(&signals, 720);
    let all = signals.all(&signals.gather(&state, now)).unwrap();
    let [pool] = all.as_slice() else { panic!("{all:?}") };
    let signal = pool.signal.as_ref().unwrap();
    assert_eq!((pool.stamp.as_str(), pool.pool, pool.nodes, pool.scaled), ("a", Role::All, 2, false));
    let near = |one: f64, two: f64| (one - two).abs() < 1e-6;
    assert!(near(signal.p95, 0.6) && near(signal.p95_lo, 0.6) && near(signal.p95_hi, 0.6), "{pool:?}");
    assert!(near(signal.max, 0.6) && signal.is_valid() && pool.problem.is_none(), "{pool:?}");
    assert!((signal.avg - (0.2 * 680.0 + 0.6 * 40.0 + 0.1 * 720.0) / 1440.0).abs() < 1e-4, "{pool:?}");
    assert_eq!(signal.hottest.as_ref().map(|hottest| hottest.node.as_str()), Some("a1"));
    let [contoso] = pool.top.as_slice() else { panic!("{pool:?}") };
    assert!((contoso.part - 0.5).abs() < 1e-4 && (pool.system - 0.5).abs() < 1e-4, "{pool:?}");

    let series =
        signals.one(&signals.gather(&state, now), &"a".parse().unwrap(), Role::All).unwrap().unwrap();
    assert_eq!((series.series.len(), series.series[0].number), (720, FIRST));
    assert!(series.series[120].busy.is_some_and(|busy| (busy - 0.6).abs() < 1e-6));
    let none = signals.one(&signals.gather(&state, now), &"a".parse().unwrap(), Role::Registry).unwrap();
    assert_eq!(none, None);

    let of = signals.attribution(&signals.gather(&state, now), &"contoso".parse().unwrap()).unwrap();
    let [share] = of.pools.as_slice() else { panic!("{of:?}") };
    assert!((share.part - 0.5).abs() < 1e-4 && (share.used.flows - 4.0).abs() < 1e-6, "{share:?}");
    assert!(share.nodes.iter().all(|node| (node.part - 0.5).abs() < 1e-4), "{share:?}");
    assert!((share.series[120] - (0.3 + 0.05) / 2.0).abs() < 1e-6, "{:?}", share.series[120]);
}

#[test]
fn a_node_that_falls_silent_is_never_taken_to_be_idle() {
    let (signals, state) = (signals(), state());
    // Both are in rotation, and a2 is silent for the last 50 minutes.
    let now = half_day(&signals, 670);
    let all = signals.all(&signals.gather(&state, now)).unwrap();
    let signal = all[0].signal.as_ref().unwrap();
    assert_eq!(signal.suspect_bins, 50);
    assert!(signal.p95_hi > 0.99 && signal.p95_lo < 0.61, "{signal:?}");
    assert!(all[0].problem.as_ref().is_some_and(|why| why.contains("670 of 720 bins are whole")), "{all:?}");

    // A node that was never heard of, in rotation, is missing from every bin.
    let mut more = state;
    let record = NodeRecord {
        stamp: "a".parse().unwrap(),
        node: node("a3"),
        incarnation: Incarnation(1),
        version: "0.1.0".into(),
    };
    more.load(Record::Node(record), Revision(2));
    let all = signals.all(&signals.gather(&more, now)).unwrap();
    assert_eq!(all[0].signal.as_ref().map(|signal| signal.suspect_bins), Some(720));
    // Gone, it has no part.
    let mut gone = node("a3");
    gone.state = NodeState::Gone;
    let record = NodeRecord {
        stamp: "a".parse().unwrap(),
        node: gone,
        incarnation: Incarnation(1),
        version: "0.1.0".into(),
    };
    more.load(Record::Node(record), Revision(3));
    let all = signals.all(&signals.gather(&more, now)).unwrap();
    assert_eq!(all[0].nodes, 2);
}

/// The bins of a window of ten, as letters: `B` busy, `a` away, `?` missing.
fn letters(told: &[(u64, f64)], suspect: &[u64], in_rotation_now: bool) -> String {
    let minutes = Minutes::in_memory().unwrap();
    let signals = Signals { minutes: Arc::new(minutes), terms: SignalTerms::default() };
    let bins = told.iter().zip(1..).map(|((at, rotation), sequence)| {
        let doubts = if suspect.contains(at) { vec!["clock_step".to_owned()] } else { Vec::new() };
        NodeBin { in_rotation_seconds: *rotation, suspect: doubts, ..bin(sequence, FIRST + at, 0.5) }
    });
    tell(&signals, "a1", bins.collect());
    let rows: Rows = signals.minutes.all().remove(0).rows;
    let window = Window { first: FIRST, bins: 10, bin_seconds: 60 };
    let letter = |bin: &Option<dataproxy_planner::Bin>| match bin {
        None => '?',
        Some(bin) if bin.in_rotation_seconds < 30.0 => 'a',
        Some(_) => 'B',
    };
    series(&rows, window, in_rotation_now, 0.5).iter().map(letter).collect()
}

#[test]
fn a_gap_is_missing_unless_the_node_had_left_the_rotation_before_it() {
    let full = |at: std::ops::Range<u64>| at.map(|at| (at, 60.0)).collect::<Vec<_>>();
    assert_eq!(letters(&full(0..10), &[], true), "BBBBBBBBBB");
    assert_eq!(letters(&full(3..10), &[], true), "aaaBBBBBBB", "it was not there before");
    assert_eq!(letters(&full(0..6), &[], true), "BBBBBB????", "it should have told");
    assert_eq!(letters(&full(0..6), &[], false), "BBBBBB?aaa", "it ended in the minute after");
    let mut drained = full(0..4);
    drained.extend([(4, 10.0), (8, 60.0), (9, 60.0)]);
    assert_eq!(letters(&drained, &[], true), "BBBBaaaaBB", "it drained, and came back");
    let mut crashed = full(0..4);
    crashed.extend([(7, 60.0), (8, 60.0), (9, 60.0)]);
    assert_eq!(letters(&crashed, &[], true), "BBBB???BBB", "nobody knows");
    assert_eq!(letters(&full(0..10), &[2, 5], true), "BB?BB?BBBB");
}

#[test]
fn the_peak_window_is_of_whole_hours_and_of_the_busiest_half_of_the_day() {
    let (signals, state) = (signals(), state());
    // Two days from midnight UTC; from 20:00 to 08:00 it is busy.
    let midnight = FIRST / 1440 * 1440;
    for name in ["a1", "a2"] {
        let ratio = |at: u64| if (480..1200).contains(&(at % 1440)) { 0.1 } else { 0.4 };
        for first in (0..2880).step_by(720) {
            tell(
                &signals,
                name,
                (first..first + 720).map(|at| bin(at + 1, midnight + at, ratio(at))).collect(),
            );
        }
    }
    let now = UnixMillis((midnight + 2880) * 60_000);
    let pools = signals.gather(&state, now);
    let [pool] = pools.as_slice() else { panic!("{pools:?}") };
    assert!(pool.is_peak);
    assert_eq!(pool.window, Window { first: midnight + 1200, bins: 720, bin_seconds: 60 });
    let all = signals.all(&pools).unwrap();
    assert!(all[0].peak && all[0].signal.as_ref().is_some_and(|signal| (signal.p95 - 0.4).abs() < 1e-6));
}

#[test]
fn bins_of_seconds_are_labelled_scaled() {
    let (mut signals, state) = (signals(), state());
    signals.terms.scaled_bins = 30;
    for name in ["a1", "a2"] {
        let scaled = |at: u64| NodeBin {
            bin_seconds: 2,
            busy_seconds: 1.2,
            observed_seconds: 2.0,
            in_rotation_seconds: 2.0,
            registries: Vec::new(),
            ..bin(at + 1, FIRST + at, 0.0)
        };
        tell(&signals, name, (0..30).map(scaled).collect());
    }
    let all = signals.all(&signals.gather(&state, UnixMillis((FIRST + 30) * 2000))).unwrap();
    let signal = all[0].signal.as_ref().unwrap();
    assert!(all[0].scaled && signal.is_valid() && (signal.p95 - 0.3).abs() < 1e-6, "{all:?}");
}

#[test]
fn the_planner_s_fleet_has_the_same_signal_the_shares_and_what_registries_read() {
    let (signals, state) = (signals(), state());
    let now = half_day(&signals, 720);
    let fleet = signals.fleet(&state, now).unwrap();
    let pool = &fleet.stamps[0].pools[0];
    let signal = dataproxy_planner::signal::signal(pool, &SignalRules::default()).unwrap();
    let shown = signals.all(&signals.gather(&state, now)).unwrap();
    assert_eq!(Some(&signal), shown[0].signal.as_ref());
    let [share] = pool.shares.as_slice() else { panic!("{:?}", pool.shares) };
    assert!((share.busy[0][120] - 0.3).abs() < 1e-6 && (share.busy[1][0] - 0.05).abs() < 1e-6);
    let contoso = &fleet.registries[0];
    assert!(contoso.measured && (contoso.mean_flows - 4.0).abs() < 1e-6, "{contoso:?}");
    assert_eq!((contoso.peak_bytes_per_second, contoso.peak_requests_per_second), (220.0, 2.0));
    assert!((contoso.hit_share - 6000.0 / 6600.0).abs() < 1e-9);
    assert_eq!(fleet.accounts[0].peak_read_bytes_per_second, 20.0);
    let nodes: Vec<&NodeName> = pool.nodes.iter().map(|node| &node.name).collect();
    assert_eq!(nodes, ["a1", "a2"].map(|name| name.parse::<NodeName>().unwrap()).iter().collect::<Vec<_>>());
}
