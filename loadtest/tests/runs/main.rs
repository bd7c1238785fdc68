//! Runs of the whole program against a server whose latencies are known.

#![allow(clippy::expect_used)]

mod program;
mod server;

use std::time::Duration;

use program::{Program, Report};
use server::{Scripted, Server};

/// Pulls a second.
const RATE: f64 = 80.0;
const SECONDS: u64 = 4;
const LATENCY: Duration = Duration::from_millis(30);
const STALL: (Duration, Duration) = (Duration::from_millis(1500), Duration::from_millis(2500));

fn stalling() -> Scripted {
    Scripted { body: vec![7; 1000], latency: LATENCY, stall: Some(STALL), answers: u64::MAX }
}

/// What a user would have waited who came at `at`, in seconds.
fn expected(at: f64) -> f64 {
    let (from, to) = (STALL.0.as_secs_f64(), STALL.1.as_secs_f64());
    let waits = if (from..to).contains(&at) { to - at } else { 0.0 };
    waits + LATENCY.as_secs_f64()
}

fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let rank = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[test]
fn an_open_loop_recovers_the_latencies_of_a_server_that_stalls_and_counts_what_it_sent() {
    let server = Server::start(stalling());
    let arguments = ["--rate", "80", "--duration", "4s", "--client", "plain", "--no-check"];
    let (code, report) = Program::pull(&server.url(), &arguments).ended();
    assert_eq!(code, 0, "{report:?}");

    let mut waits: Vec<f64> =
        (0..(RATE as u64 * SECONDS)).map(|number| expected(number as f64 / RATE)).collect();
    waits.sort_by(f64::total_cmp);
    let (pulls, lag) = (waits.len() as u64, report.timer_lag());
    // What a busy machine adds is known, and is no fault of the measure.
    for (name, part) in [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)] {
        let (found, right) = (report.latency(name), quantile(&waits, part));
        let tolerance = 0.05 * right + lag + server.lag().as_secs_f64();
        assert!((found - right).abs() <= tolerance, "{name}: {found} for {right} ± {tolerance}");
    }
    assert_eq!((report.pulls("ok"), report.number("requests")), (pulls, pulls));
    assert_eq!((report.bytes(), server.requests()), (pulls * 1000, pulls));
    assert_eq!(server.bytes(), report.bytes());

    let server = Server::start(stalling());
    let arguments = ["--closed", "2", "--duration", "4s", "--client", "plain", "--no-check"];
    let (_, closed) = Program::pull(&server.url(), &arguments).ended();
    let right = quantile(&waits, 0.9);
    let hidden = closed.latency("p90");
    assert!(hidden < right / 2.0, "a closed loop says {hidden} where users wait {right}");
}

#[test]
fn ctrl_c_ends_a_run_with_a_report_of_what_was_seen() {
    let scripted = Scripted { answers: 20, ..stalling() };
    let server = Server::start(Scripted { stall: None, ..scripted });
    let arguments = ["--rate", "100", "--duration", "1h", "--client", "plain", "--no-check"];
    let program = Program::pull(&server.url(), &arguments);
    // The server has answered all that it will, and there are pulls that wait for it.
    server.wait_for(30);
    program.interrupt();
    let (code, report) = program.ended();
    assert_eq!(code, 1);
    assert!(report.text("stalled").contains("interrupted"), "{report:?}");
    assert_eq!(report.pulls("ok"), 20);
    assert!(report.number("unfinished") >= 10, "{report:?}");
}

#[test]
fn a_second_ctrl_c_ends_the_program_at_once() {
    let server = Server::start(Scripted { answers: 0, ..stalling() });
    // The report of the first waits for a last reading of metrics, which do not come.
    let metrics = server.url().replace("/blob", "/metrics");
    let arguments = ["--rate", "100", "--duration", "1h", "--no-check", "--metrics", &metrics];
    let program = Program::pull(&server.url(), &arguments);
    server.wait_for(5);
    assert_eq!(program.interrupt_until_gone(), 130);
}

#[test]
fn a_run_in_which_nothing_comes_any_more_is_ended_and_says_what_is_waited_for() {
    let server = Server::start(Scripted { answers: 5, stall: None, ..stalling() });
    let arguments =
        ["--rate", "50", "--duration", "1h", "--stall-after", "500ms", "--client", "plain", "--no-check"];
    let (code, report) = Program::pull(&server.url(), &arguments).ended();
    assert_eq!(code, 1);
    let stalled = report.text("stalled");
    assert!(stalled.contains("\"pull\"") && stalled.contains("for an answer"), "{stalled}");
}

#[test]
fn connections_that_this_machine_has_no_files_for_are_not_blamed_on_the_server() {
    let server = Server::start(Scripted { answers: 0, stall: None, ..stalling() });
    let arguments =
        ["--burst", "200", "--duration", "1h", "--stall-after", "500ms", "--client", "plain", "--no-check"];
    let (code, report) = Program::pull_with_files(60, &server.url(), &arguments).ended();
    assert_eq!(code, 1);
    assert!(report.pulls("refused") >= 100, "{report:?}");
    assert!(report.bottlenecks().contains("no server refused them"), "{}", report.bottlenecks());
}

#[test]
fn the_check_asks_for_no_blob_and_finds_what_is_unreachable() {
    let server = Server::start(Scripted { stall: None, ..stalling() });
    let (code, report) = Program::pull(&server.url(), &["--burst", "3", "--client", "plain"]).ended();
    assert_eq!(code, 0, "{report:?}");
    assert_eq!(server.paths(), ["/v2/", "/blob", "/blob", "/blob"]);
    drop(server);
    let (code, _) = Program::pull("http://127.0.0.1:1/blob", &["--burst", "1"]).ended();
    assert_eq!(code, 3);
}

/// A report is what the program wrote, read by what is written there alone.
impl Report {
    fn latency(&self, name: &str) -> f64 {
        let phases = self.flow()["phases"].as_array().expect("phases");
        let pull = phases.iter().find(|phase| phase["phase"] == "pull" && phase["outcome"] == "ok");
        pull.expect("pulls ended well")["summary"][name].as_f64().expect("a number")
    }
}
