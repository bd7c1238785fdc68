//! Reports that no run would write: numbers that are none, nothing where something is expected, and far too much.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::outcome::Outcome;
use crate::phase::Phase;
use crate::plan::Limit;
use crate::report::{
    Bin, ByOutcome, Client, EventReport, FlowReport, Judged, Node, PhaseReport, Point, Report, Sample,
    Server, Summary,
};

const NUMBERS: [f64; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.000_1,
    3.7,
    1e300,
    1e-300,
    f64::MAX,
    f64::MIN_POSITIVE,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    300.0,
];
const COUNTS: [u64; 5] = [0, 1, 7, 1_000_000, u64::MAX];
const LENGTHS: [usize; 5] = [0, 1, 2, 60, 600];

struct Odd(StdRng);

/// A report by a seed: each seed another one.
pub(super) fn report(mut report: Report, seed: u64) -> Report {
    let mut odd = Odd(StdRng::seed_from_u64(seed));
    report.seconds = odd.number();
    report.machine.memory = odd.count();
    let flows = *[0, 1, 2, 9].choose(&mut odd.0).unwrap_or(&1);
    report.flows = (0..flows).map(|index| odd.flow(index)).collect();
    if odd.0.random() {
        report.plan.flows.clear();
    }
    report.servers = odd.many(Odd::server);
    report.nodes = odd.many(Odd::node);
    report.client = odd.client();
    report.events = odd.many(|odd| EventReport {
        name: "an event with a name that is far too long to be written".to_owned(),
        at: odd.number(),
        took: odd.number(),
        failure: odd.0.random::<bool>().then(String::new),
    });
    let limit = report.plan.limits.choose(&mut odd.0).cloned();
    report.judged = limit.map_or_else(Vec::new, |limit| {
        odd.many(|odd| Judged {
            limit: Limit { at_most: Some(odd.number()), ..limit.clone() },
            flow: String::new(),
            found: odd.0.random::<bool>().then(|| odd.number()),
            held: odd.0.random(),
        })
    });
    report.passed = odd.0.random();
    report
}

impl Odd {
    fn number(&mut self) -> f64 {
        NUMBERS.choose(&mut self.0).copied().unwrap_or(0.0)
    }

    fn count(&mut self) -> u64 {
        COUNTS.choose(&mut self.0).copied().unwrap_or(0)
    }

    fn length(&mut self) -> usize {
        LENGTHS.choose(&mut self.0).copied().unwrap_or(0)
    }

    fn many<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = *[0, 1, 3, 20].choose(&mut self.0).unwrap_or(&0);
        (0..count).map(|_| one(self)).collect()
    }

    fn counts(&mut self) -> ByOutcome {
        let names = ["ok", "resumed", "status", "not an outcome", "wrong_digest"];
        let mut counts = ByOutcome::new();
        for name in names {
            if self.0.random() {
                counts.insert(name.to_owned(), self.count());
            }
        }
        counts
    }

    fn summary(&mut self) -> Summary {
        Summary {
            count: self.count(),
            min: self.number(),
            mean: self.number(),
            stdev: self.number(),
            p50: self.number(),
            p90: self.number(),
            p95: self.number(),
            p99: self.number(),
            p999: self.number(),
            max: self.number(),
        }
    }

    fn points(&mut self) -> Vec<Point> {
        (0..self.length()).map(|_| Point { at: self.number(), value: self.number() }).collect()
    }

    fn series(&mut self) -> Vec<Bin> {
        let (length, in_order) = (self.number(), self.0.random::<bool>());
        let bin = |(index, odd): (usize, &mut Self)| Bin {
            at: if in_order { index as f64 } else { odd.number() },
            length: if in_order { 1.0 } else { length },
            pulls: odd.counts(),
            bytes: odd.count(),
            latency: odd.summary(),
        };
        (0..self.length()).map(|index| bin((index, self))).collect()
    }

    fn flow(&mut self, index: usize) -> FlowReport {
        let phases = Phase::ALL
            .into_iter()
            .flat_map(|phase| [(phase, Outcome::Ok), (phase, Outcome::Resumed), (phase, Outcome::Reset)]);
        let phases = phases.map(|(phase, outcome)| PhaseReport {
            phase,
            outcome,
            summary: self.summary(),
            histogram: (0..self.length()).map(|_| (self.number(), self.count())).collect(),
        });
        FlowReport {
            phases: phases.collect(),
            name: format!("flow {index}"),
            subjects: self.count(),
            pulls: self.counts(),
            warm_up_pulls: self.count(),
            unfinished: self.count(),
            bytes: self.counts(),
            requests: self.count(),
            connections: self.count(),
            resumes: self.count(),
            lateness: self.summary(),
            series: self.series(),
            failures: self.many(|odd| Sample {
                at: odd.number(),
                subject: String::new(),
                outcome: Outcome::Tls,
                detail: "x".repeat(300),
            }),
        }
    }

    fn server(&mut self) -> Server {
        Server {
            name: String::new(),
            user: self.number(),
            system: self.number(),
            seconds: self.number(),
            per_gib: self.0.random::<bool>().then(|| self.number()),
            per_request: self.0.random::<bool>().then(|| self.number()),
            peak_rss: self.count(),
            cores: self.points(),
        }
    }

    fn node(&mut self) -> Node {
        Node {
            url: String::new(),
            cores: self.points(),
            utilisation: self.points(),
            cpu: self.number(),
            missed: self.count(),
        }
    }

    fn client(&mut self) -> Client {
        Client {
            cpu: self.number(),
            busiest_thread: self.number(),
            timer_lag: self.summary(),
            peak_connections: self.count(),
            other_cores: self.number(),
            bottlenecks: self.many(|_| String::new()),
        }
    }
}
