use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use super::alarm::Alarm;
use super::scripted::{Script, Scripted};
use super::*;
use crate::plan::{Arrivals, Flow, Popularity};
use crate::pull::Job;
use crate::report::FlowReport;
use crate::schedule::Schedule;
use crate::tally::{flow_report, merged};
use crate::workload::Weighted;

const SEED: u64 = 11;

struct Run {
    report: FlowReport,
    taken: BTreeMap<u64, String>,
    held_back: u64,
    /// The worst lag of a pulling thread's timer: what a busy machine may add to any time.
    lag: f64,
}

fn work(arrivals: Arrivals, seconds: u64) -> FlowWork {
    let text = "name = \"f\"\narrivals = { kind = \"burst\", pulls = 1 }";
    let flow = Flow {
        arrivals,
        popularity: Popularity::Zipf { exponent: 1.0 },
        ..toml::from_str(text).expect("a flow")
    };
    let given: Vec<Weighted> = (0..20)
        .map(|tag| Weighted::named(&format!("127.0.0.1:5000/contoso/a:{tag}")).expect("a subject"))
        .collect();
    FlowWork {
        name: "f".to_owned(),
        timing: Timing::new(&flow, 0, SEED, Duration::from_secs(seconds)).expect("valid"),
        workload: Workload::new(&flow, 0, SEED, &given).expect("valid"),
        timeout: Duration::from_secs(20),
    }
}

fn settings(threads: usize, seconds: u64) -> Settings {
    Settings {
        threads,
        pins: Vec::new(),
        most_under_way: 20_000,
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(seconds),
    }
}

fn drive_scripted<S: Script>(work: FlowWork, settings: &Settings, stop: &Stop, script: S) -> Run {
    let maker = Scripted::new(script);
    let flows = [work];
    let (report, held_back, lag) = drive(&flows, &maker, settings, stop, async |mut running| {
        running.ended().await;
        let whole = merged(&running.tallies[0]).expect("one thread at least");
        let mut lag = Distribution::new().expect("made");
        for thread in &running.threads {
            lag.add(&thread.timer_lag.lock().expect("whole"));
        }
        (flow_report("f", 20, &whole, &running.frame), running.held_back(), lag.summary().max)
    })
    .expect("driven");
    let taken = maker.taken();
    Run { report, taken, held_back, lag }
}

fn latencies(report: &FlowReport) -> crate::report::Summary {
    let pull = report.phases.iter().find(|phase| phase.phase == crate::phase::Phase::Pull);
    pull.expect("pulls ended").summary
}

/// Answers after `service`, but nothing while it stalls.
#[derive(Clone)]
struct Stalling {
    begun: Arc<std::sync::OnceLock<Instant>>,
}

const SERVICE: Duration = Duration::from_millis(40);
const STALL_FROM: Duration = Duration::from_millis(1000);
const STALL_TO: Duration = Duration::from_millis(2000);

fn answer_at(asked: Duration) -> Duration {
    if (STALL_FROM..STALL_TO).contains(&asked) { STALL_TO + SERVICE } else { asked + SERVICE }
}

impl Script for Stalling {
    async fn serve(&self, job: &Job) {
        let begun = *self.begun.get_or_init(|| job.intended);
        let asked = Instant::now().saturating_duration_since(begun);
        let answered = begun + answer_at(asked);
        Alarm::new().expect("a timer").until(answered).await.expect("a time");
    }
}

fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let rank = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[test]
fn an_open_loop_recovers_the_latencies_of_a_server_that_stalls_and_a_closed_loop_does_not() {
    let open = work(Arrivals::Constant { rate: 100.0 }, 3);
    let Timing::Open(schedule) = &open.timing else { panic!("open") };
    let mut expected: Vec<f64> =
        Schedule::clone(schedule).map(|arrival| (answer_at(arrival.at) - arrival.at).as_secs_f64()).collect();
    expected.sort_by(f64::total_cmp);
    let stalling = || Stalling { begun: Arc::default() };
    let run = drive_scripted(open, &settings(1, 3), &Stop::new(), stalling());
    let found = latencies(&run.report);
    assert_eq!(found.count, expected.len() as u64);
    for (name, found, q) in [
        ("p50", found.p50, 0.5),
        ("p90", found.p90, 0.9),
        ("p95", found.p95, 0.95),
        ("p99", found.p99, 0.99),
        ("max", found.max, 1.0),
    ] {
        let expected = quantile(&expected, q);
        let tolerance = 0.05 * expected + run.lag;
        assert!((found - expected).abs() <= tolerance, "{name}: {found} for {expected} ± {tolerance}");
    }

    let closed = work(Arrivals::Closed { pullers: 4, think: Duration::ZERO }, 3);
    let run = drive_scripted(closed, &settings(1, 3), &Stop::new(), stalling());
    let hidden = latencies(&run.report);
    let right = quantile(&expected, 0.9);
    assert!(hidden.p90 < right / 2.0, "a closed loop says {} where users wait {right}", hidden.p90);
}

/// Every pull waits until so many have been started.
#[derive(Clone)]
struct Together {
    started: Arc<AtomicUsize>,
    all: usize,
    go: Arc<tokio::sync::Notify>,
}

impl Script for Together {
    async fn serve(&self, _job: &Job) {
        let go = self.go.notified();
        if self.started.fetch_add(1, Ordering::SeqCst) + 1 == self.all {
            self.go.notify_waiters();
        } else {
            go.await;
        }
    }
}

#[test]
fn a_pull_starts_at_its_time_however_many_still_run() {
    let together = Together { started: Arc::default(), all: 500, go: Arc::default() };
    let run =
        drive_scripted(work(Arrivals::Burst { pulls: 500 }, 5), &settings(2, 5), &Stop::new(), together);
    assert_eq!(run.report.pulls, [("ok".to_owned(), 500)].into());
    assert_eq!(run.held_back, 0);
}

/// Counts the pulls under way.
#[derive(Clone, Default)]
struct Counting {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

const PAUSE: Duration = Duration::from_millis(20);

impl Script for Counting {
    async fn serve(&self, _job: &Job) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(PAUSE).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn at_the_bound_of_pulls_under_way_waiting_is_counted_as_latency_and_noted() {
    let counting = Counting::default();
    let bounded = Settings { most_under_way: 10, ..settings(1, 5) };
    let work = work(Arrivals::Burst { pulls: 30 }, 5);
    let run = drive_scripted(work, &bounded, &Stop::new(), counting.clone());
    assert_eq!(counting.most.load(Ordering::SeqCst), 10);
    assert_eq!(run.report.pulls, [("ok".to_owned(), 30)].into());
    assert!(run.held_back >= 1, "{}", run.held_back);
    let latency = latencies(&run.report);
    assert!(latency.max >= 3.0 * PAUSE.as_secs_f64(), "the last ten wait for two rounds: {latency:?}");
    assert!(run.report.lateness.max >= 2.0 * PAUSE.as_secs_f64(), "{:?}", run.report.lateness);
}

#[test]
fn the_pulls_are_the_same_whatever_the_number_of_threads() {
    let run = |threads| {
        let work = work(Arrivals::Poisson { rate: 300.0 }, 1);
        drive_scripted(work, &settings(threads, 1), &Stop::new(), Counting::default())
    };
    let [one, three] = [1, 3].map(run);
    assert!(one.taken.len() > 200, "seed {SEED}: {}", one.taken.len());
    assert_eq!(one.taken, three.taken, "seed {SEED}");
    assert_eq!(one.report.pulls, three.report.pulls, "seed {SEED}");
}

#[test]
fn a_closed_loop_keeps_its_pullers_busy_and_no_more_and_ends_with_its_most_pulls() {
    let counting = Counting::default();
    let mut work = work(Arrivals::Closed { pullers: 5, think: Duration::from_millis(1) }, 60);
    work.timing.at_most(23);
    let run = drive_scripted(work, &settings(2, 60), &Stop::new(), counting.clone());
    assert_eq!(run.report.pulls, [("ok".to_owned(), 23)].into());
    assert_eq!(run.taken.keys().copied().collect::<Vec<_>>(), (0..23).collect::<Vec<_>>());
    assert!(counting.most.load(Ordering::SeqCst) <= 5);
}

/// Never answers; asks for the end of the run at its fifth pull.
#[derive(Clone)]
struct Silent(Stop);

impl Script for Silent {
    async fn serve(&self, job: &Job) {
        if job.number == 4 {
            self.0.ask("enough");
            self.0.ask("a later reason");
        }
        std::future::pending::<()>().await;
    }
}

#[test]
fn a_run_that_is_stopped_says_why_and_counts_what_had_not_ended() {
    let stop = Stop::new();
    let work = work(Arrivals::Constant { rate: 100.0 }, 600);
    let run = drive_scripted(work, &settings(1, 600), &stop, Silent(stop.clone()));
    assert_eq!(stop.reason().as_deref(), Some("enough"));
    assert_eq!(run.report.pulls.len(), 0);
    assert!(run.report.unfinished >= 5, "{}", run.report.unfinished);
}

#[test]
fn pulls_that_were_due_and_held_back_when_the_run_was_stopped_are_unfinished() {
    let stop = Stop::new();
    let bounded = Settings { most_under_way: 5, ..settings(1, 600) };
    let run = drive_scripted(work(Arrivals::Burst { pulls: 30 }, 600), &bounded, &stop, Silent(stop.clone()));
    assert_eq!(run.taken.len(), 5);
    assert_eq!(run.report.unfinished, 30);
}

struct Unmakeable;

impl MakePull for Unmakeable {
    type Pull = Scripted<Counting>;

    fn make(&self, _flow: usize, thread: usize) -> Result<Self::Pull, String> {
        if thread == 1 { Err("no certificates".to_owned()) } else { Ok(Scripted::new(Counting::default())) }
    }
}

#[test]
fn a_puller_that_cannot_be_made_ends_the_run_before_it_begins() {
    let flows = [work(Arrivals::Burst { pulls: 1 }, 60)];
    let ran = drive(&flows, &Unmakeable, &settings(2, 60), &Stop::new(), async |_| ());
    let error = ran.expect_err("refused").to_string();
    assert!(error.contains("no certificates"), "{error}");
}

#[test]
fn a_thread_is_not_bound_to_a_cpu_that_is_not_there() {
    let flows = [work(Arrivals::Burst { pulls: 1 }, 60)];
    for core in [1023, 1_000_000] {
        let pinned = Settings { pins: vec![core], ..settings(1, 60) };
        let maker = Scripted::new(Counting::default());
        let ran = drive(&flows, &maker, &pinned, &Stop::new(), async |_| ());
        let error = ran.expect_err("refused").to_string();
        assert!(error.contains(&format!("CPU {core}")), "{error}");
    }
}
