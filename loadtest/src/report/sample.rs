//! A made-up report for tests and pictures: five minutes, three flows, a node's drain and return, and a stall. Each call
//! makes the same one.

mod draws;
mod odd;

use std::sync::LazyLock;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{
    Client, EventReport, FORMAT, FlowReport, Judged, Machine, Node, Point, Report, Sample, Server, Summary,
};
use crate::outcome::Outcome;
use crate::plan::{self, Plan};
use draws::{Draws, FlowShape};

const GIB: f64 = 1_073_741_824.0;
const WARM_UP: f64 = 10.0;
const SECONDS: f64 = 300.0;
/// Nothing answers for so long.
const STALL: std::ops::Range<f64> = 188.0..194.0;

const PLAN: &str = r#"
title = "mixed day, one node drained"
about = "A warm flow, cold pulls by docker, and lazy ranges, while a node is drained and comes back."
seed = 42
warm_up = "10s"
duration = "5m"
[[flow]]
name = "warm"
subjects = ["http://127.0.0.1:5000/contoso/hello:v1"]
arrivals = { kind = "poisson", rate = 120.0 }
popularity = { kind = "zipf", exponent = 1.0 }
[[flow]]
name = "cold"
subjects = ["http://127.0.0.1:5000/fabrikam/base:v1"]
client = "docker"
arrivals = { kind = "constant", rate = 6.0 }
[[flow]]
name = "lazy"
subjects = ["http://127.0.0.1:5000/contoso/multi:v1"]
arrivals = { kind = "poisson", rate = 30.0 }
reading = { hash = false, ranges = { count = 4, size = 65536 }, timeout = "20s" }
[[event]]
at = "2m"
name = "drain a1"
run = "stampctl node drain a1"
[[event]]
at = "4m"
name = "a1 back"
run = "stampctl node uncordon a1"
[[limit]]
flow = "warm"
measure = "p99"
at_most = 0.25
[[limit]]
measure = "failed_share"
at_most = 0.01
[[limit]]
flow = "cold"
measure = "p50"
at_most = 5.0
[[limit]]
measure = "hottest_over_mean"
at_most = 1.5
"#;

/// The report.
pub fn report() -> Report {
    static MADE: LazyLock<Report> = LazyLock::new(|| run(42, 1.0));
    MADE.clone()
}

/// Another run of the same plan: with other dice, and every latency and all CPU so many times higher.
///
/// # Panics
/// Never: the plan is written here.
#[allow(clippy::expect_used, reason = "what is read is written above")]
pub fn run(seed: u64, slower: f64) -> Report {
    let plan: Plan = toml::from_str(PLAN).expect("the plan above is one");
    let mut random = StdRng::seed_from_u64(seed);
    let shapes = [
        FlowShape {
            rate: 120.0,
            median: 0.018 * slower,
            spread: 0.45,
            bytes: 2_400_000,
            requests: 5,
            failed: 0.000_4,
        },
        FlowShape {
            rate: 6.0,
            median: 1.7 * slower,
            spread: 0.35,
            bytes: 71_000_000,
            requests: 8,
            failed: 0.02,
        },
        FlowShape {
            rate: 30.0,
            median: 0.006 * slower,
            spread: 0.6,
            bytes: 262_144,
            requests: 5,
            failed: 0.0,
        },
    ];
    let flows: Vec<FlowReport> =
        plan.flows.iter().zip(shapes).map(|(flow, shape)| flow_report(flow, shape, &mut random)).collect();
    let nodes = nodes(&mut random);
    let mut report = Report {
        format: FORMAT,
        tool: format!("loadtest {}", env!("CARGO_PKG_VERSION")),
        machine: Machine {
            cpu: "AMD EPYC 7763 64-Core Processor".to_owned(),
            cores: 8,
            memory: 33_554_432 * 1024,
            kernel: "Linux 6.1.0-18-amd64".to_owned(),
            congestion_control: "bbr".to_owned(),
            system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        },
        started: "2026-03-14T09:26:53Z".to_owned(),
        command: ["loadtest", "scenario", "mixed day.toml", "--server", "region=4711"]
            .map(str::to_owned)
            .into(),
        seed: plan.seed.unwrap_or_default(),
        plan,
        seconds: SECONDS,
        servers: vec![server(&flows, slower, &mut random)],
        flows,
        nodes,
        client: client(),
        events: vec![event("drain a1", 120.0, 6.3), event("a1 back", 240.0, 0.4)],
        judged: Vec::new(),
        stalled: None,
        passed: false,
    };
    report.judged = crate::judge::judge(&report);
    report.passed = crate::judge::passed(&report, &report.judged);
    report
}

/// A report that no run would write, another for each seed: numbers that are none, empty and very long series, the largest
/// counts.
pub fn odd_report(seed: u64) -> Report {
    odd::report(report(), seed)
}

/// A report whose every text is `text`: file names, subjects, details, all that a target or a plan may say.
pub fn report_with_texts(text: &str) -> Report {
    let mut report = report();
    let own = || text.to_owned();
    report.tool = own();
    report.machine =
        Machine { cpu: own(), kernel: own(), congestion_control: own(), system: own(), ..report.machine };
    report.started = own();
    report.command = vec![own(), own()];
    (report.plan.title, report.plan.about) = (own(), own());
    for flow in &mut report.plan.flows {
        (flow.name, flow.subjects, flow.only) = (own(), vec![own()], Some(own()));
    }
    for event in &mut report.plan.events {
        (event.name, event.run) = (own(), own());
    }
    for limit in &mut report.plan.limits {
        limit.flow = Some(own());
    }
    for flow in &mut report.flows {
        flow.name = own();
        flow.pulls.insert(own(), 3);
        flow.bytes.insert(own(), 3);
        for bin in &mut flow.series {
            bin.pulls.insert(own(), 1);
        }
        flow.failures.push(Sample { at: 1.0, subject: own(), outcome: Outcome::Status, detail: own() });
    }
    report.servers.iter_mut().for_each(|server| server.name = own());
    report.nodes.iter_mut().for_each(|node| node.url = own());
    report.client.bottlenecks = vec![own()];
    for event in &mut report.events {
        (event.name, event.failure) = (own(), Some(own()));
    }
    report.judged =
        vec![Judged { limit: report.plan.limits[0].clone(), flow: own(), found: None, held: false }];
    report.stalled = Some(own());
    report
}

fn flow_report(flow: &plan::Flow, shape: FlowShape, random: &mut StdRng) -> FlowReport {
    let mut draws = Draws::new(WARM_UP, SECONDS, 5.0);
    let pulls = (shape.rate * SECONDS) as u64;
    let mut failures: Vec<Sample> = Vec::new();
    let subject = flow.subjects.first().cloned().unwrap_or_default();
    for number in 0..pulls {
        let at = WARM_UP + number as f64 / shape.rate;
        let mut latency = shape.latency(random);
        // Who comes in the stall waits for its end; while a node is away the others are a little slower.
        if STALL.contains(&at) {
            latency += STALL.end - at;
        } else if (120.0..240.0).contains(&at) {
            latency *= 1.3;
        }
        let outcome = match random.random::<f64>() {
            dice if dice < shape.failed * 0.7 => Outcome::Reset,
            dice if dice < shape.failed => Outcome::Status,
            _ if shape.failed > 0.01 && (120.0..126.0).contains(&at) => Outcome::Resumed,
            _ => Outcome::Ok,
        };
        if !outcome.is_good() && failures.iter().filter(|sample| sample.outcome == outcome).count() < 10 {
            let detail = match outcome {
                Outcome::Reset => "GET blob sha256:9c5e…: the connection was reset after 31457280 bytes",
                _ => "GET /v2/fabrikam/base/manifests/v1: status 503 Service Unavailable, wanted 200",
            };
            failures.push(Sample { at, subject: subject.clone(), outcome, detail: detail.to_owned() });
        }
        draws.pull(at, latency, outcome, shape.bytes);
        draws.parts(latency, outcome, flow.client == plan::Client::Docker);
    }
    let (pulls, bytes, phases, series) = draws.finish();
    let all: u64 = pulls.values().sum();
    FlowReport {
        name: flow.name.clone(),
        subjects: 12,
        resumes: pulls.get("resumed").copied().unwrap_or_default(),
        pulls,
        warm_up_pulls: (shape.rate * WARM_UP) as u64,
        unfinished: 0,
        bytes,
        requests: all * shape.requests,
        connections: if flow.client == plan::Client::Docker { all * shape.requests } else { all * 3 },
        phases,
        lateness: Summary {
            count: all,
            p50: 40e-6,
            p90: 90e-6,
            p95: 130e-6,
            p99: 1.1e-3,
            p999: 4e-3,
            max: 9e-3,
            mean: 60e-6,
            min: 2e-6,
            stdev: 1e-4,
        },
        series,
        failures,
    }
}

fn server(flows: &[FlowReport], slower: f64, random: &mut StdRng) -> Server {
    let bytes: u64 = flows.iter().flat_map(|flow| flow.bytes.values()).sum();
    let requests: u64 = flows.iter().map(|flow| flow.requests).sum();
    let (user, system) = (61.3 * slower, 104.9 * slower);
    Server {
        name: "region".to_owned(),
        user,
        system,
        seconds: SECONDS,
        per_gib: Some((user + system) / (bytes as f64 / GIB)),
        per_request: Some((user + system) / requests as f64),
        peak_rss: 812 * 1024 * 1024,
        cores: series(|at| if STALL.contains(&at) { 0.05 } else { 0.55 + 0.06 * random.random::<f64>() }),
    }
}

fn nodes(random: &mut StdRng) -> Vec<Node> {
    let shares = [("127.0.1.1", 0.11), ("127.0.1.2", 0.16), ("127.0.2.1", 0.12), ("127.0.2.2", 0.13)];
    let node = |(index, (address, share)): (usize, (&str, f64))| {
        let cores = series(|at| match index {
            _ if STALL.contains(&at) => 0.01,
            0 if (126.0..240.0).contains(&at) => 0.002,
            _ if (120.0..240.0).contains(&at) => share * 1.35 + 0.03 * random.random::<f64>(),
            _ => share + 0.03 * random.random::<f64>(),
        });
        let utilisation =
            cores.iter().map(|point| Point { at: point.at, value: point.value / 2.0 }).collect();
        let cpu = cores.iter().map(|point| point.value * 5.0).sum();
        Node {
            url: format!("http://{address}:9100/metrics"),
            cores,
            utilisation,
            cpu,
            missed: u64::from(index == 0),
        }
    };
    shares.into_iter().enumerate().map(node).collect()
}

fn series(mut value: impl FnMut(f64) -> f64) -> Vec<Point> {
    let times = (0..60).map(|step| WARM_UP + f64::from(step) * 5.0);
    times.map(|at| Point { at, value: value(at) }).collect()
}

fn client() -> Client {
    Client {
        cpu: 212.4,
        busiest_thread: 0.93,
        timer_lag: Summary { count: 30_000, p50: 60e-6, p90: 2e-4, p95: 5e-4, p99: 3.2e-3, p999: 11e-3, max: 19e-3, mean: 1e-4, min: 1e-6, stdev: 4e-4 },
        peak_connections: 148,
        other_cores: 0.21,
        bottlenecks: vec![
            "a pulling thread used 93 % of its core: give the run more threads".to_owned(),
            "loopback uses BBR, whose timers triple the cost of a byte there: sysctl net.ipv4.tcp_congestion_control=cubic"
                .to_owned(),
        ],
    }
}

fn event(name: &str, at: f64, took: f64) -> EventReport {
    EventReport { name: name.to_owned(), at, took, failure: None }
}
