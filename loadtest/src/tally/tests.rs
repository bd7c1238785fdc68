use super::*;
use crate::outcome::Failure;
use crate::report::FlowReport;

const WARM_UP: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);

fn frame() -> Frame {
    Frame::new(Instant::now(), WARM_UP, Duration::from_secs(10), Duration::from_secs(5))
}

fn subject() -> Arc<Subject> {
    Arc::new("127.0.0.1:5000/contoso/a:1".parse().expect("a subject"))
}

/// A pull that was meant to start `at` after the start and took `latency`.
fn pull(tally: &Tally, at: Duration, latency: Duration, outcome: Outcome, bytes: u64) {
    let intended = tally.frame().start + at;
    let sink = tally.begin(intended, subject());
    sink.request();
    sink.received(bytes);
    let failure = (!outcome.is_good()).then(|| Failure {
        outcome,
        status: None,
        detail: format!("meant for {} s", at.as_secs()),
    });
    sink.finished(&Finished {
        number: 0,
        intended,
        started: intended + Duration::from_millis(1),
        ended: intended + latency,
        outcome,
        failure,
        bytes,
        resumes: 0,
    });
}

fn report(tallies: &[Arc<Tally>]) -> FlowReport {
    let frame = *tallies[0].frame();
    flow_report("f", 1, &merged(tallies).expect("one at least"), &frame)
}

fn tally() -> Arc<Tally> {
    Arc::new(Tally::new(frame()).expect("made"))
}

#[test]
fn what_was_meant_to_start_in_the_warm_up_counts_nowhere_else() {
    let tally = tally();
    let just_before = WARM_UP - Duration::from_nanos(1);
    pull(&tally, just_before, Duration::from_secs(5), Outcome::Timeout, 100);
    pull(&tally, WARM_UP, SECOND, Outcome::Ok, 10);
    let report = report(&[tally]);
    assert_eq!(report.warm_up_pulls, 1);
    assert_eq!(report.pulls, [("ok".to_owned(), 1)].into());
    assert_eq!(report.bytes, [("ok".to_owned(), 10)].into());
    assert_eq!((report.requests, report.lateness.count), (1, 1));
    assert_eq!(report.failures, []);
    assert_eq!(report.series.iter().map(|bin| bin.bytes).sum::<u64>(), 10);
    assert!(report.phases.iter().all(|phase| phase.outcome == Outcome::Ok));
}

#[test]
fn pulls_stand_in_the_bin_of_their_intended_start_whenever_they_end() {
    let tally = tally();
    pull(&tally, WARM_UP + SECOND * 3, SECOND * 4, Outcome::Ok, 10);
    let report = report(&[tally]);
    assert_eq!(report.series.len(), 10);
    assert_eq!(report.series[0].at, 2.0);
    for (place, bin) in report.series.iter().enumerate() {
        assert_eq!(bin.latency.count, u64::from(place == 3), "bin {place}");
    }
    assert!((report.series[3].latency.p50 / 4.0 - 1.0).abs() < 0.01);
}

#[test]
fn a_run_of_any_length_has_at_most_600_bins_and_none_below_a_second() {
    for (seconds, bin) in [(10, 1), (590, 1), (600, 2), (3600, 7), (7 * 86_400, 1009)] {
        let frame =
            Frame::new(Instant::now(), WARM_UP, Duration::from_secs(seconds), Duration::from_secs(10));
        assert_eq!(frame.bin, Duration::from_secs(bin), "{seconds} s");
        let tally = Arc::new(Tally::new(frame).expect("made"));
        pull(&tally, WARM_UP + Duration::from_secs(seconds + 1_000_000), SECOND, Outcome::Ok, 1);
        assert!(report(&[tally]).series.len() <= 600, "{seconds} s");
    }
}

#[test]
fn the_first_ten_failures_of_each_outcome_are_kept_whichever_thread_saw_them() {
    let start = frame();
    let tallies = [0, 1].map(|_| Arc::new(Tally::new(start).expect("made")));
    for second in 0..30 {
        let tally = &tallies[second % 2];
        pull(tally, WARM_UP + SECOND * second as u32, SECOND, Outcome::Status, 0);
    }
    pull(&tallies[0], WARM_UP, SECOND, Outcome::Reset, 0);
    let report = report(&tallies);
    let of = |outcome: Outcome| report.failures.iter().filter(move |sample| sample.outcome == outcome);
    let times: Vec<f64> = of(Outcome::Status).map(|sample| sample.at).collect();
    assert_eq!(times, (2..12).map(f64::from).collect::<Vec<_>>());
    let reset = of(Outcome::Reset).next().expect("kept");
    assert_eq!(reset.subject, "http://127.0.0.1:5000/contoso/a:1");
    assert_eq!(reset.detail, "meant for 2 s");
}

#[test]
fn threads_together_count_what_one_would() {
    let start = frame();
    let [one, two, alone] = [0; 3].map(|_| Arc::new(Tally::new(start).expect("made")));
    for second in 0..20 {
        let latency = Duration::from_millis(1 + 37 * u64::from(second));
        let outcome = if second % 5 == 0 { Outcome::Resumed } else { Outcome::Ok };
        let at = SECOND * second / 2;
        let split = if second % 2 == 0 { &one } else { &two };
        for tally in [split, &alone] {
            pull(tally, at, latency, outcome, 1000 + u64::from(second));
        }
    }
    let mut together = report(&[one, two]);
    let mut single = report(&[alone]);
    // Bytes are by their arrival, which was not at the same time.
    for bin in together.series.iter_mut().chain(&mut single.series) {
        bin.bytes = 0;
    }
    assert_eq!(together, single);
}

#[test]
fn a_pull_that_never_ends_is_unfinished_and_says_what_it_waits_for() {
    let tally = tally();
    let sink = tally.begin(tally.frame().counts_from(), subject());
    let waits = |waiting: Waiting| tally.read(|state| state.waiting[waiting as usize]);
    assert_eq!(waits(Waiting::Connection), 1);
    sink.connection();
    sink.request();
    assert_eq!((waits(Waiting::Connection), waits(Waiting::Answer)), (0, 1));
    sink.received(5);
    assert_eq!((waits(Waiting::Answer), waits(Waiting::Body)), (0, 1));
    drop(sink);
    assert_eq!(Waiting::ALL.map(waits), [0; WAITS]);
    let report = report(&[tally]);
    assert_eq!((report.unfinished, report.pulls.len()), (1, 0));
}

#[test]
fn the_whole_pull_is_timed_from_its_intended_start_once() {
    let tally = tally();
    let sink = tally.begin(tally.frame().counts_from(), subject());
    sink.phase(Phase::Pull, Outcome::Ok, SECOND);
    drop(sink);
    pull(&tally, WARM_UP, SECOND, Outcome::Ok, 0);
    let report = report(&[tally]);
    let pulls: Vec<u64> = report
        .phases
        .iter()
        .filter(|phase| phase.phase == Phase::Pull)
        .map(|phase| phase.summary.count)
        .collect();
    assert_eq!(pulls, [1]);
}

#[test]
fn only_what_comes_from_the_server_is_progress() {
    let tally = tally();
    let progress = || tally.read(|state| state.progress);
    let sink = tally.begin(tally.frame().counts_from(), subject());
    sink.phase(Phase::Connect, Outcome::Ok, SECOND);
    sink.connection();
    sink.request();
    assert_eq!(progress(), 0);
    sink.phase(Phase::FirstByte, Outcome::Ok, SECOND);
    sink.received(1);
    assert_eq!(progress(), 2);
    drop(sink);
    assert_eq!(progress(), 2);
}
