//! Numbers that follow from the model: sums over outcomes, flows and nodes.

use super::{ByOutcome, FlowReport, Point, Report};
use crate::outcome::Outcome;

/// Bytes in a GiB.
const GIB: f64 = 1_073_741_824.0;

/// Of these counts, those whose outcome is good (`ok`, `resumed`).
pub(crate) fn good(counts: &ByOutcome) -> u64 {
    counts.iter().filter(|(name, _)| is_good(name)).fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

/// All of them.
pub(crate) fn all(counts: &ByOutcome) -> u64 {
    counts.values().fold(0, |sum, count| sum.saturating_add(*count))
}

/// Those whose outcome is not good. A name that this version does not know is not good.
pub(crate) fn failed(counts: &ByOutcome) -> u64 {
    all(counts).saturating_sub(good(counts))
}

/// Whether a name of an outcome is that of a good one.
pub(crate) fn is_good(name: &str) -> bool {
    Outcome::ALL.iter().any(|outcome| outcome.as_str() == name && outcome.is_good())
}

/// The names in these counts, in the order of [`Outcome::ALL`]; those not known come last.
pub(crate) fn names(counts: &ByOutcome) -> Vec<&str> {
    let rank = |name: &str| Outcome::ALL.iter().position(|outcome| outcome.as_str() == name);
    let mut names: Vec<&str> =
        counts.iter().filter(|(_, count)| **count > 0).map(|(name, _)| name.as_str()).collect();
    names.sort_by_key(|name| rank(name).unwrap_or(Outcome::ALL.len()));
    names
}

/// All flows together.
pub(crate) fn sum<'a>(counts: impl IntoIterator<Item = &'a ByOutcome>) -> ByOutcome {
    let mut sum = ByOutcome::new();
    for (name, count) in counts.into_iter().flatten() {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*count);
    }
    sum
}

/// `amount` per second of the time that counts; absent where that is nothing.
pub(crate) fn per_second(report: &Report, amount: u64) -> Option<f64> {
    (report.seconds > 0.0).then(|| amount as f64 / report.seconds)
}

/// Failed pulls as a share of those that ended; absent where none ended.
pub(crate) fn failed_share(flow: &FlowReport) -> Option<f64> {
    let ended = all(&flow.pulls);
    (ended > 0).then(|| failed(&flow.pulls) as f64 / ended as f64)
}

/// Bytes of bodies of all flows, in GiB.
pub(crate) fn gib(report: &Report) -> f64 {
    report.flows.iter().map(|flow| all(&flow.bytes) as f64).sum::<f64>() / GIB
}

/// CPU of all watched servers, seconds per GiB; absent where a server has no such number, or none was watched.
pub(crate) fn cpu_per_gib(report: &Report) -> Option<f64> {
    sum_of_all(report.servers.iter().map(|server| server.per_gib))
}

/// As [`cpu_per_gib`], per request.
pub(crate) fn cpu_per_request(report: &Report) -> Option<f64> {
    sum_of_all(report.servers.iter().map(|server| server.per_request))
}

fn sum_of_all(numbers: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let numbers: Vec<f64> = numbers.collect::<Option<_>>()?;
    (!numbers.is_empty()).then(|| numbers.iter().sum())
}

/// CPU of the hottest node over the mean of all; absent without nodes, and where none used any.
pub(crate) fn hottest_over_mean(report: &Report) -> Option<f64> {
    let used: Vec<f64> = report.nodes.iter().map(|node| node.cpu).collect();
    let mean = used.iter().sum::<f64>() / used.len() as f64;
    (mean > 0.0).then(|| used.iter().copied().fold(0.0, f64::max) / mean)
}

/// For each reading the hottest node: its value, and its place among `series`. Nodes are read at about the same times, and
/// one may have missed some: what lies closer together than half the usual distance is one reading.
pub(crate) fn hottest(series: &[&[Point]]) -> Vec<(Point, usize)> {
    let mut points: Vec<(Point, usize)> = Vec::new();
    for (node, of_node) in series.iter().enumerate() {
        points.extend(of_node.iter().filter(|point| point.value.is_finite()).map(|point| (*point, node)));
    }
    points.sort_by(|(a, _), (b, _)| a.at.total_cmp(&b.at));
    let apart = distance(series) / 2.0;
    let mut readings: Vec<(f64, (Point, usize))> = Vec::new();
    for (point, node) in points {
        match readings.last_mut() {
            Some((begin, hottest)) if point.at <= *begin + apart => {
                if point.value > hottest.0.value {
                    *hottest = (point, node);
                }
            }
            _ => readings.push((point.at, (point, node))),
        }
    }
    readings.into_iter().map(|(_, hottest)| hottest).collect()
}

/// The usual time between two readings of one node: the median; 0 where no node was read twice.
fn distance(series: &[&[Point]]) -> f64 {
    let mut gaps: Vec<f64> = series
        .iter()
        .flat_map(|points| points.windows(2))
        .filter_map(|pair| match pair {
            [earlier, later] => Some(later.at - earlier.at),
            _ => None,
        })
        .filter(|gap| gap.is_finite() && *gap > 0.0)
        .collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> ByOutcome {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn a_name_that_is_not_known_counts_as_failed_and_is_named_last() {
        let counts = counts(&[("ok", 5), ("aborted", 2), ("resumed", 1), ("wrong_digest", 1), ("short", 0)]);
        assert_eq!((good(&counts), failed(&counts), all(&counts)), (6, 3, 9));
        assert_eq!(names(&counts), ["ok", "resumed", "wrong_digest", "aborted"]);
    }

    #[test]
    fn the_hottest_node_may_be_another_at_each_time_and_one_that_was_missed_shifts_nothing() {
        let points = |values: &[(f64, f64)]| -> Vec<Point> {
            values.iter().map(|(at, value)| Point { at: *at, value: *value }).collect()
        };
        let a = points(&[(1.0, 1.0), (2.0, 5.0), (3.0, f64::NAN), (4.0, 7.0)]);
        let b = points(&[(1.1, 2.0), (3.1, 3.0), (4.1, 6.0)]);
        let hottest: Vec<_> =
            hottest(&[&a, &b]).into_iter().map(|(point, node)| (point.value, node)).collect();
        assert_eq!(hottest, [(2.0, 1), (5.0, 0), (3.0, 1), (7.0, 0)]);
    }
}
