use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::drive::scripted::{Script, Scripted};
use crate::outcome::Outcome;
use crate::pull::Job;
use crate::report::totals;
use crate::snapshot::{EventState, Snapshot, Stage};

/// A pull takes some milliseconds; each seventh fails.
#[derive(Clone)]
struct Mixed;

impl Script for Mixed {
    async fn serve(&self, job: &Job) {
        tokio::time::sleep(Duration::from_millis(1 + job.number % 5)).await;
    }

    fn outcome(&self, job: &Job) -> Outcome {
        if job.number % 7 == 3 { Outcome::Short } else { Outcome::Ok }
    }

    fn bytes(&self, job: &Job) -> u64 {
        1000 + job.number
    }
}

/// Answers the first ten and then nothing more.
#[derive(Clone)]
struct Dying;

impl Script for Dying {
    async fn serve(&self, job: &Job) {
        if job.number >= 10 {
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Clone, Default)]
struct Recording(Arc<Mutex<(Vec<Snapshot>, u32)>>);

impl Live for Recording {
    fn show(&mut self, now: &Snapshot) {
        self.0.lock().expect("whole").0.push(now.clone());
    }

    fn end(&mut self) {
        self.0.lock().expect("whole").1 += 1;
    }
}

fn given() -> Vec<Weighted> {
    vec![Weighted::named("127.0.0.1:5000/contoso/a:1").expect("a subject")]
}

fn options<'a>() -> RunOptions<'a> {
    RunOptions {
        pins: Vec::new(),
        most_under_way: MOST_UNDER_WAY,
        watched: Vec::new(),
        metrics: Vec::new(),
        command: vec!["loadtest".to_owned()],
        live: None,
        stop: Stop::new(),
    }
}

fn run<S: Script>(plan: &str, script: S, options: &mut RunOptions<'_>) -> Report {
    let plan: Plan = toml::from_str(plan).expect("TOML");
    let prepared = Prepared::new(plan, &given(), options.most_under_way).expect("valid");
    prepared.run(&Scripted::new(script), options).expect("run")
}

#[test]
fn the_sums_of_a_report_add_up() {
    let plan = "
        title = 'sums'
        seed = 3
        threads = 2
        warm_up = '500ms'
        duration = '1s'
        [[flow]]
        name = 'open'
        arrivals = { kind = 'constant', rate = 200 }
        [[flow]]
        name = 'burst'
        begin = '600ms'
        arrivals = { kind = 'burst', pulls = 21 }
        [[limit]]
        flow = 'burst'
        measure = 'failed'
        at_most = 3
        [[limit]]
        flow = 'open'
        measure = 'failed'
        at_most = 0
    ";
    let report = run(plan, Mixed, &mut options());
    let [open, burst] = report.flows.as_slice() else { panic!("{report:?}") };
    // 200 a second from 0 s on: 100 before 0.5 s, 200 from then until before 1.5 s.
    assert_eq!((open.warm_up_pulls, burst.warm_up_pulls), (100, 0));
    assert_eq!((totals::all(&open.pulls), totals::all(&burst.pulls)), (200, 21));
    let expected = (100..300_u64).filter(|number| number % 7 == 3).count() as u64;
    assert_eq!(open.pulls.get("short"), Some(&expected));
    assert_eq!(totals::all(&open.bytes), (100..300).map(|number| 1000 + number).sum::<u64>());
    for flow in &report.flows {
        let pulls = totals::all(&flow.pulls);
        assert_eq!(flow.requests, pulls);
        assert_eq!(flow.unfinished, 0);
        assert_eq!(flow.lateness.count, pulls);
        assert_eq!(flow.phases.iter().map(|phase| phase.summary.count).sum::<u64>(), pulls);
        assert_eq!(flow.series.iter().map(|bin| totals::all(&bin.pulls)).sum::<u64>(), pulls);
        assert_eq!(flow.series.iter().map(|bin| bin.bytes).sum::<u64>(), totals::all(&flow.bytes));
        for phase in &flow.phases {
            assert_eq!(phase.histogram.iter().map(|(_, count)| count).sum::<u64>(), phase.summary.count);
        }
    }
    assert_eq!(report.seed, 3);
    assert!(report.seconds >= 1.0, "a flow that lasts counts to the end of the run: {}", report.seconds);
    assert_eq!(report.judged.iter().map(|judged| judged.held).collect::<Vec<_>>(), [true, false]);
    assert!(!report.passed && report.stalled.is_none());
    assert!(report.machine.cores > 0 && report.started.ends_with('Z'));
    let json = serde_json::to_string(&report).expect("JSON");
    let again: Report = serde_json::from_str(&json).expect("read again");
    assert_eq!(again.plan, report.plan);
    assert_eq!(again.flows[0].pulls, report.flows[0].pulls);
}

#[test]
fn a_run_in_which_nothing_comes_any_more_is_stopped_and_says_what_waits() {
    let plan = "
        title = 'stall'
        duration = '1h'
        stall_after = '300ms'
        [[flow]]
        name = 'dying'
        arrivals = { kind = 'constant', rate = 100 }
    ";
    let report = run(plan, Dying, &mut options());
    let stalled = report.stalled.as_ref().expect("it stalled");
    assert!(stalled.contains("of the flow \"dying\"") && stalled.contains("for an answer"), "{stalled}");
    assert_eq!(totals::all(&report.flows[0].pulls), 10);
    assert!(report.flows[0].unfinished > 0);
    assert!(!report.passed && report.seconds < 600.0);
}

#[test]
fn events_are_run_reported_and_a_failed_one_fails_the_run() {
    let plan = |command: &str| {
        format!(
            "
            title = 'events'
            duration = '1s'
            [[flow]]
            name = 'few'
            arrivals = {{ kind = 'burst', pulls = 2 }}
            [[event]]
            at = '300ms'
            name = 'drain'
            run = '{command}'
        "
        )
    };
    // The event comes after the last pull has ended, and is waited for.
    let report = run(&plan("true"), Mixed, &mut options());
    assert!(report.passed, "{report:?}");
    assert!(report.events[0].at >= 0.3 && report.events[0].failure.is_none());
    let report = run(&plan("echo no such node; exit 4"), Mixed, &mut options());
    assert!(!report.passed);
    let failure = report.events[0].failure.as_ref().expect("failed");
    assert!(failure.contains("exit status: 4") && failure.contains("no such node"), "{failure}");
}

#[test]
fn a_run_is_shown_while_it_runs_stage_by_stage() {
    let plan = "
        title = 'shown'
        warm_up = '700ms'
        duration = '900ms'
        [[flow]]
        name = 'open'
        arrivals = { kind = 'constant', rate = 100 }
        [[event]]
        at = '100ms'
        name = 'now'
        run = 'true'
    ";
    let recording = Recording::default();
    let mut options = RunOptions { live: Some(Box::new(recording.clone())), ..options() };
    let report = run(plan, Mixed, &mut options);
    let (shown, ended) = recording.0.lock().expect("whole").clone();
    assert_eq!(ended, 1);
    let stages: Vec<Stage> = shown.iter().map(|now| now.stage).collect();
    assert!(stages.contains(&Stage::WarmUp) && stages.contains(&Stage::Measuring), "{stages:?}");
    assert!(shown.windows(2).all(|pair| pair[0].elapsed <= pair[1].elapsed));
    let warm = shown.iter().find(|now| now.stage == Stage::WarmUp).expect("shown");
    assert_eq!(warm.flows[0].planned, Some(70));
    let last = shown.last().expect("shown");
    let flow = &last.flows[0];
    assert_eq!((flow.planned, flow.started, flow.under_way), (Some(90), 90, 0));
    let finished: u64 = flow.finished.iter().map(|(_, count)| count).sum();
    assert_eq!(finished, totals::all(&report.flows[0].pulls));
    assert_eq!(flow.bytes, totals::all(&report.flows[0].bytes));
    assert!(flow.pull_rate > 0.0 && flow.byte_rate > 0.0, "{flow:?}");
    assert_eq!(flow.latency.count, totals::good(&report.flows[0].pulls));
    assert_eq!(flow.recent_latency.count, flow.latency.count);
    assert_eq!((last.events[0].name.as_str(), &last.events[0].state), ("now", &EventState::Done));
}

#[test]
fn a_server_that_does_not_run_ends_the_run_at_once() {
    let plan =
        "title = 't'\nduration = '1h'\n[[flow]]\nname = 'f'\narrivals = { kind = 'constant', rate = 1 }";
    let mut options = RunOptions { watched: vec!["gone=4294967295".parse().expect("a server")], ..options() };
    let prepared = Prepared::new(toml::from_str(plan).expect("TOML"), &given(), 10).expect("valid");
    let error = prepared.run(&Scripted::new(Mixed), &mut options).expect_err("refused").to_string();
    assert!(error.contains("gone: there is no process"), "{error}");
}
