//! What is taken, refused, marked, kept and found again.

use dataproxy_router_api::{Node, RegistryBin, Revision, Used};

use super::*;

/// A minute of UTC, and the time at which it has just ended.
const NUMBER: u64 = 28_333_333;
const NOW: UnixMillis = UnixMillis((NUMBER + 1) * 60_000 + 500);

fn used(cpu_seconds: f64) -> Used {
    Used { cpu_seconds, requests: 3, hit_bytes: 1 << 33, miss_bytes: 5, flows: 1.25, ..Used::default() }
}

fn bin(sequence: u64, number: u64) -> NodeBin {
    let registries =
        ["contoso", "fabrikam"].map(|name| RegistryBin { registry: name.parse().unwrap(), used: used(4.5) });
    NodeBin {
        sequence,
        number,
        bin_seconds: 60,
        busy_seconds: 30.25,
        steal_seconds: 0.5,
        cores: 2.0,
        observed_seconds: 60.0,
        in_rotation_seconds: 59.0,
        scope: "cgroup".into(),
        suspect: Vec::new(),
        registries: registries.into(),
        other: used(0.25),
    }
}

fn report(process: u64, bins: Vec<NodeBin>) -> NodeReport {
    let address = "127.0.1.1:5000".parse().unwrap();
    NodeReport {
        region: "local".parse().unwrap(),
        stamp: "a".parse().unwrap(),
        node: Node::new("a1".parse().unwrap(), address, address, Role::Dataproxy),
        incarnation: Incarnation(process),
        version: "0.1.0".into(),
        sequence: 1,
        history: Default::default(),
        revision: Revision(1),
        in_flight: 0,
        registries: Vec::new(),
        time_ms: None,
        bins,
    }
}

fn row(minutes: &Minutes, number: u64) -> Option<Row> {
    minutes.all().first().and_then(|node| node.rows.get(number))
}

#[test]
fn a_bin_that_is_told_twice_counts_once_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("minutes");
    let minutes = Minutes::open(&path).unwrap();
    let told = report(7, vec![bin(1, NUMBER - 1), bin(2, NUMBER)]);
    for _ in 0..3 {
        let taken = minutes.take(&told, NOW).unwrap();
        assert_eq!(taken, Taken { sequence: 2, refused: Vec::new() });
    }
    let once = row(&minutes, NUMBER).unwrap();
    assert_eq!((once.busy, once.observed, once.suspect), (30.25, 60.0, false));
    drop(minutes);
    let minutes = Minutes::open(&path).unwrap();
    assert_eq!(minutes.told(told.name(), Incarnation(7)), 2);
    assert_eq!(row(&minutes, NUMBER), Some(once));
    assert_eq!(minutes.take(&told, NOW).unwrap().sequence, 2);
    assert_eq!(row(&minutes, NUMBER), Some(once));
    assert_eq!(minutes.all()[0].place.role, Role::Dataproxy);
    let mut found = Vec::new();
    minutes.bins(told.name(), 60, NUMBER..NUMBER + 1, |bin| found.push(bin)).unwrap();
    assert_eq!(found, [bin(2, NUMBER)]);
}

#[test]
fn the_next_process_of_a_node_counts_beside_the_one_before() {
    let minutes = Minutes::in_memory().unwrap();
    let half =
        |sequence| NodeBin { observed_seconds: 20.0, in_rotation_seconds: 20.0, ..bin(sequence, NUMBER) };
    minutes.take(&report(7, vec![half(9)]), NOW).unwrap();
    assert_eq!(minutes.told(&"a1".parse().unwrap(), Incarnation(8)), 0);
    minutes.take(&report(8, vec![half(1)]), NOW).unwrap();
    let row = row(&minutes, NUMBER).unwrap();
    assert_eq!((row.observed, row.busy, row.suspect), (40.0, 60.5, false));
}

#[test]
fn what_is_no_measurement_is_refused_with_the_reason_and_not_asked_for_again() {
    let wrong: Vec<(&str, NodeBin)> = vec![
        ("busy_seconds is NaN", NodeBin { busy_seconds: f64::NAN, ..bin(1, NUMBER) }),
        ("busy_seconds is -1", NodeBin { busy_seconds: -1.0, ..bin(1, NUMBER) }),
        ("cores is inf", NodeBin { cores: f64::INFINITY, ..bin(1, NUMBER) }),
        ("of 0 cores", NodeBin { cores: 0.0, ..bin(1, NUMBER) }),
        ("observed_seconds is 90 s; the bin has", NodeBin { observed_seconds: 90.0, ..bin(1, NUMBER) }),
        ("in_rotation_seconds is 70 s", NodeBin { in_rotation_seconds: 70.0, ..bin(1, NUMBER) }),
        ("length is 7 s", NodeBin { bin_seconds: 7, ..bin(1, NUMBER) }),
        ("length is 0 s", NodeBin { bin_seconds: 0, ..bin(1, NUMBER) }),
        ("apart by a bin or more", bin(1, NUMBER + 2)),
        ("apart by a bin or more", bin(1, u64::MAX)),
        ("more than 14 days ago", bin(1, NUMBER - 14 * 1440 - 2)),
        ("flows is NaN", NodeBin { other: Used { flows: f64::NAN, ..used(0.0) }, ..bin(1, NUMBER) }),
        ("contoso is in it twice", {
            let mut twice = bin(1, NUMBER);
            twice.registries.push(twice.registries[0].clone());
            twice
        }),
        ("more doubts", NodeBin { suspect: vec!["x".repeat(33)], ..bin(1, NUMBER) }),
    ];
    for (words, wrong) in wrong {
        let minutes = Minutes::in_memory().unwrap();
        let sound = bin(2, NUMBER);
        let taken = minutes.take(&report(7, vec![wrong, sound]), NOW).unwrap();
        let [(1, why)] = taken.refused.as_slice() else { panic!("{words}: {taken:?}") };
        assert!(why.contains(words), "{words}: {why}");
        assert_eq!(taken.sequence, 2, "{words}");
        assert_eq!(row(&minutes, NUMBER).map(|row| row.busy), Some(30.25), "{words}: the others are taken");
        assert!(minutes.all()[0].refused.as_ref().is_some_and(|(_, why)| why.contains(words)));
    }
}

#[test]
fn what_is_doubtful_is_kept_and_marked() {
    let minutes = Minutes::in_memory().unwrap();
    let four = NodeBin { busy_seconds: 480.0, ..bin(1, NUMBER) };
    let taken = minutes.take(&report(7, vec![four]), NOW).unwrap();
    assert_eq!(taken.refused, []);
    let row_of = row(&minutes, NUMBER).unwrap();
    assert!(
        row_of.suspect && (row_of.ratio() - 4.0).abs() < 1e-6,
        "400 % is told as it was, and not believed"
    );

    let minutes = Minutes::in_memory().unwrap();
    let skewed = NodeReport { time_ms: Some(NOW.0 - 6_000), ..report(7, vec![bin(1, NUMBER)]) };
    minutes.take(&skewed, NOW).unwrap();
    assert!(row(&minutes, NUMBER).unwrap().suspect, "clocks are 6 s apart");

    let minutes = Minutes::in_memory().unwrap();
    let near =
        NodeReport { time_ms: Some(NOW.0 - 4_000), ..report(7, vec![bin(1, NUMBER), bin(2, NUMBER + 1)]) };
    minutes.take(&near, NOW).unwrap();
    assert!(!row(&minutes, NUMBER).unwrap().suspect, "4 s are not");
    assert!(row(&minutes, NUMBER + 1).unwrap().suspect, "this minute has not ended");
}

#[test]
fn fourteen_days_are_kept_in_few_bytes_and_what_is_past_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("minutes");
    let minutes = Minutes::open(&path).unwrap();
    let names: Vec<_> = (0..32).map(|number| format!("registry-{number}")).collect();
    let full = |sequence, number| {
        let of = |name: &String| RegistryBin { registry: name.parse().unwrap(), used: used(0.75) };
        NodeBin { registries: names.iter().map(of).collect(), ..bin(sequence, number) }
    };
    // A day, as a router that was away is told it.
    for first in (0..1440).step_by(60) {
        let bins = (first..first + 60).map(|at| full(at + 1, NUMBER - 1439 + at)).collect();
        minutes.take(&report(7, bins), NOW).unwrap();
    }
    let all = minutes.all();
    assert_eq!(all[0].rows.numbers(), NUMBER - 1439..NUMBER + 1);
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < 4 << 20, "{size} bytes for a day of a node with 32 registries");
    // Fifteen days later the first of them are gone, in memory and in the file.
    let later = NUMBER + 15 * 1440;
    let now = UnixMillis((later + 1) * 60_000);
    minutes.take(&report(7, vec![full(2000, later)]), now).unwrap();
    assert_eq!(row(&minutes, NUMBER - 1000), None);
    let mut found = 0;
    minutes.bins(&"a1".parse().unwrap(), 60, 0..later + 1, |_| found += 1).unwrap();
    assert_eq!(found, 1);
}
