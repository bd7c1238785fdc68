//! What a comparison found: the model of its JSON.

use serde::{Deserialize, Serialize};

use super::{Scheme, Work};
use crate::outcome::Outcome;
use crate::phase::Phase;
use crate::report::{Machine, Report};

/// The version of its form.
pub const FORMAT: u32 = 1;
const GIB: f64 = (1_u64 << 30) as f64;

/// Servers beside each other.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Comparison {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// `loadtest` and its version.
    pub tool: String,
    /// When it began, as RFC 3339 in UTC.
    pub started: String,
    /// Where it was measured.
    pub machine: Machine,
    /// Congestion control of loopback: BBR's timers triple the cost there.
    pub congestion_control: String,
    /// Rounds of each measurement, taken in turn.
    pub rounds: u32,
    /// Seconds of each measurement.
    pub seconds: f64,
    /// The servers, with their versions.
    pub servers: Vec<Contestant>,
    /// What a reader should know before believing the figures. Empty if nothing.
    pub notes: Vec<String>,
    /// One for each scheme, work and server.
    pub rows: Vec<Row>,
}

/// A server that was compared.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Contestant {
    /// Its name.
    pub name: String,
    /// As it tells it itself; empty where it does not.
    pub version: String,
}

/// One server under one kind of work.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Row {
    /// How it was reached.
    pub scheme: Scheme,
    /// What it did.
    pub work: Work,
    /// The work in words, with its sizes.
    pub title: String,
    /// Who.
    pub server: String,
    /// One measurement for each round.
    pub samples: Vec<Sample>,
}

/// One measurement. Seconds, unless a name says otherwise.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Sample {
    /// Server CPU for each GiB of bodies; absent where too few came to say.
    pub cpu_per_gib: Option<f64>,
    /// Server CPU for each request; absent where there was none.
    pub cpu_per_request: Option<f64>,
    /// GiB of bodies per second.
    pub gib_per_second: f64,
    /// Requests per second, of those that began after the warm-up; this and the times are absent where none of them ended well.
    pub requests_per_second: Option<f64>,
    /// Median time of a request.
    pub p50: Option<f64>,
    /// 99th percentile of it.
    pub p99: Option<f64>,
    /// Median time to the first byte of a body.
    pub first_byte_p50: Option<f64>,
    /// 99th percentile of it.
    pub first_byte_p99: Option<f64>,
    /// The most resident memory of the server, bytes.
    pub peak_rss: u64,
    /// Cores that the server used.
    pub server_cores: f64,
    /// Cores that this process used.
    pub client_cores: f64,
    /// Cores that the rest of the machine used: above 0.2 the figures are in doubt.
    pub other_cores: f64,
    /// Requests that failed.
    pub failed: u64,
}

/// The middle of some figures, and their ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
}

impl Sample {
    /// What one run says of its one server.
    pub(super) fn of(report: &Report) -> Self {
        let Some(flow) = report.flows.first() else { return Self::default() };
        let seconds = report.seconds.max(f64::MIN_POSITIVE);
        let all: u64 = flow.pulls.values().sum();
        let good: u64 = Outcome::ALL
            .iter()
            .filter(|outcome| outcome.is_good())
            .filter_map(|outcome| flow.pulls.get(outcome.as_str()))
            .sum();
        let of_phase = |phase: Phase| {
            flow.phases.iter().find(|of| of.phase == phase && of.outcome == Outcome::Ok).map(|of| of.summary)
        };
        let (whole, first) = (of_phase(Phase::Pull), of_phase(Phase::FirstByte));
        let server = report.servers.first();
        // Cost runs on until the last answer, which may have been asked for in the warm-up.
        let costed = server.map(|server| server.seconds).filter(|seconds| *seconds > 0.0).unwrap_or(seconds);
        let cpu = server.map_or(0.0, |server| server.user + server.system);
        let per_gib = server.and_then(|server| server.per_gib);
        // All that arrived after the warm-up, also of requests that began in it: what the cost was divided by.
        let gib = match per_gib {
            Some(per_gib) if per_gib > 0.0 => cpu / per_gib,
            _ => flow.bytes.values().sum::<u64>() as f64 / GIB,
        };
        Self {
            cpu_per_gib: per_gib,
            cpu_per_request: server.and_then(|server| server.per_request),
            gib_per_second: gib / costed,
            requests_per_second: (good > 0).then(|| good as f64 / seconds),
            p50: whole.map(|of| of.p50),
            p99: whole.map(|of| of.p99),
            first_byte_p50: first.map(|of| of.p50),
            first_byte_p99: first.map(|of| of.p99),
            peak_rss: server.map_or(0, |server| server.peak_rss),
            server_cores: cpu / costed,
            client_cores: report.client.cpu / costed,
            other_cores: report.client.other_cores,
            failed: all - good.min(all),
        }
    }
}

impl Row {
    /// The spread of one figure over the rounds that have it; nothing if none has.
    pub fn spread(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
        let mut values: Vec<f64> = self.samples.iter().filter_map(figure).collect();
        values.sort_by(f64::total_cmp);
        let (lowest, highest) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = if values.len().is_multiple_of(2) { *values.get(middle.checked_sub(1)?)? } else { upper };
        Some(Spread { median: f64::midpoint(lower, upper), lowest, highest })
    }

    /// The figure that the work's cost is told by: seconds of CPU for each GiB, or for each request.
    pub fn cost(&self) -> Option<Spread> {
        let by_bytes = self.work.is_by_bytes();
        self.spread(|sample| if by_bytes { sample.cpu_per_gib } else { sample.cpu_per_request })
    }
}

impl Comparison {
    /// The cost of a row over that of nginx at the same work, by medians.
    pub fn over_nginx(&self, row: &Row) -> Option<f64> {
        let nginx = self
            .rows
            .iter()
            .find(|other| other.server == "nginx" && (other.scheme, other.work) == (row.scheme, row.work))?;
        let (own, base) = (row.cost()?.median, nginx.cost()?.median);
        (base > 0.0).then(|| own / base)
    }

    /// Requests that failed, of all.
    pub fn failed(&self) -> u64 {
        self.rows.iter().flat_map(|row| &row.samples).map(|sample| sample.failed).sum()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn row(server: &str, work: Work, costs: &[f64]) -> Row {
        let samples = costs.iter().map(|&cost| Sample {
            cpu_per_gib: Some(cost),
            cpu_per_request: Some(cost / 1000.0),
            gib_per_second: 1.0 / cost,
            p50: Some(0.0123),
            peak_rss: 64 << 20,
            ..Sample::default()
        });
        Row {
            scheme: Scheme::Plain,
            work,
            title: work.describe(&super::super::Amount::default()),
            server: server.to_owned(),
            samples: samples.collect(),
        }
    }

    pub(crate) fn comparison(rows: Vec<Row>) -> Comparison {
        Comparison {
            format: FORMAT,
            tool: "loadtest 0".to_owned(),
            started: "2026-01-01T00:00:00Z".to_owned(),
            machine: Machine { cpu: "a CPU".to_owned(), cores: 2, ..Machine::default() },
            congestion_control: "cubic".to_owned(),
            rounds: 3,
            seconds: 2.0,
            servers: vec![Contestant { name: "nginx".to_owned(), version: "1 <2>".to_owned() }],
            notes: vec!["a note".to_owned()],
            rows,
        }
    }

    #[test]
    fn a_row_is_told_by_its_median_and_its_ends() {
        let spread = |costs: &[f64]| row("x", Work::C1, costs).cost();
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, lowest: 1.0, highest: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, lowest: 1.0, highest: 4.0 }));
        assert_eq!(spread(&[]), None);
        let small = row("x", Work::Small, &[2.0]).cost().expect("a sample");
        assert!((small.median - 0.002).abs() < 1e-12, "by request");
    }

    #[test]
    fn rates_are_over_the_time_that_cost_was_counted_and_times_that_nobody_saw_are_absent() {
        let mut report = crate::report::sample::report();
        report.flows.truncate(1);
        report.seconds = 2.0;
        let server = &mut report.servers[0];
        (server.user, server.system, server.seconds) = (1.0, 3.0, 4.0);
        server.per_gib = Some(1.0);
        let sample = Sample::of(&report);
        assert_eq!((sample.gib_per_second, sample.server_cores), (1.0, 1.0), "4 GiB and 4 s of CPU in 4 s");
        assert!(sample.p50.is_some() && sample.requests_per_second.is_some());
        report.flows[0].phases.clear();
        report.flows[0].pulls.clear();
        let sample = Sample::of(&report);
        assert_eq!((sample.p50, sample.first_byte_p99, sample.requests_per_second), (None, None, None));
    }

    #[test]
    fn a_ratio_is_to_nginx_at_the_same_work() {
        let all = comparison(vec![
            row("dataproxy", Work::C1, &[0.3, 0.1, 0.2]),
            row("nginx", Work::C8, &[9.0]),
            row("nginx", Work::C1, &[0.1]),
            row("varnish", Work::Small, &[1.0]),
        ]);
        let ratio = all.over_nginx(&all.rows[0]).expect("both");
        assert!((ratio - 2.0).abs() < 1e-9);
        assert_eq!(all.over_nginx(&all.rows[3]), None);
    }
}
