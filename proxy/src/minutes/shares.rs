//! Whose a bin's CPU time was.

use std::collections::HashMap;
use std::time::Duration;

use dataproxy_cpu::Spent;
use dataproxy_router_api::{RegistryBin, RegistryName, Used};

/// What a registry has used by now: of its purse, and the time of its requests under way, added up.
pub(super) type Total = (Spent, Duration);

/// Takes differences of totals.
#[derive(Debug, Default)]
pub(super) struct Shares {
    before: HashMap<RegistryName, Total>,
}

/// What registries used in a bin.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Shared {
    /// Those that used most, most first.
    pub(super) most: Vec<RegistryBin>,
    /// All others.
    pub(super) other: Used,
}

impl Shares {
    /// What was used since the last call, in `elapsed`, of no more than `busy_seconds` in all: the `most` who used most by
    /// themselves, the rest together.
    ///
    /// What is measured is a sample, and may come to a little more than the node used: it is scaled down to that.
    pub(super) fn take(
        &mut self,
        totals: impl Iterator<Item = (RegistryName, Total)>,
        elapsed: Duration,
        busy_seconds: f64,
        most: usize,
    ) -> Shared {
        let now: HashMap<RegistryName, Total> = totals.collect();
        let mut all: Vec<RegistryBin> = now
            .iter()
            .map(|(registry, (spent, flown))| {
                let (spent_before, flown_before) = self.before.get(registry).copied().unwrap_or_default();
                let used = used(spent.since(&spent_before), flown.saturating_sub(flown_before), elapsed);
                RegistryBin { registry: registry.clone(), used }
            })
            .filter(|of| !of.used.is_nothing())
            .collect();
        self.before = now;
        let measured: f64 = all.iter().map(|of| of.used.cpu_seconds).sum();
        if measured > busy_seconds {
            let scale = busy_seconds / measured;
            all.iter_mut().for_each(|of| of.used.cpu_seconds *= scale);
        }
        all.sort_by(|one, two| {
            let bytes = |of: &RegistryBin| of.used.hit_bytes + of.used.miss_bytes;
            let by_cpu = two.used.cpu_seconds.total_cmp(&one.used.cpu_seconds);
            by_cpu.then_with(|| bytes(two).cmp(&bytes(one))).then_with(|| one.registry.cmp(&two.registry))
        });
        let mut other = Used::default();
        for rest in all.drain(most.min(all.len())..) {
            other.add(&rest.used);
        }
        Shared { most: all, other }
    }
}

fn used(spent: Spent, flown: Duration, elapsed: Duration) -> Used {
    let seconds = elapsed.as_secs_f64();
    Used {
        cpu_seconds: spent.cpu.as_secs_f64(),
        requests: spent.requests,
        hit_bytes: spent.hit_bytes,
        miss_bytes: spent.miss_bytes,
        full_handshakes: spent.full_handshakes,
        resumed_handshakes: spent.resumed_handshakes,
        flows: if seconds > 0.0 { flown.as_secs_f64() / seconds } else { 0.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(cpu_ms: u64, requests: u64, flown_s: u64) -> Total {
        let spent = Spent { cpu: Duration::from_millis(cpu_ms), requests, ..Spent::default() };
        (spent, Duration::from_secs(flown_s))
    }

    fn totals(all: &[(&str, Total)]) -> impl Iterator<Item = (RegistryName, Total)> {
        all.iter().map(|(name, total)| (name.parse().unwrap(), *total)).collect::<Vec<_>>().into_iter()
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_bin_has_the_differences_those_who_used_most_first_and_the_rest_together() {
        let mut shares = Shares::default();
        let first = [
            ("a", total(500, 10, 60)),
            ("b", total(700, 1, 0)),
            ("c", total(10, 2, 6)),
            ("d", total(0, 0, 0)),
        ];
        let shared = shares.take(totals(&first), MINUTE, 30.0, 2);
        let named: Vec<_> =
            shared.most.iter().map(|of| (of.registry.as_str(), of.used.cpu_seconds)).collect();
        assert_eq!(named, [("b", 0.7), ("a", 0.5)]);
        assert_eq!((shared.most[1].used.flows, shared.most[1].used.requests), (1.0, 10));
        assert_eq!((shared.other.cpu_seconds, shared.other.flows, shared.other.requests), (0.01, 0.1, 2));
        let second = [("a", total(500, 10, 60)), ("b", total(900, 1, 30)), ("c", total(5, 0, 0))];
        let shared = shares.take(totals(&second), MINUTE, 30.0, 2);
        let [b] = shared.most.as_slice() else { panic!("{shared:?}") };
        assert_eq!((b.registry.as_str(), b.used.flows), ("b", 0.5));
        assert!((b.used.cpu_seconds - 0.2).abs() < 1e-9, "who began anew used nothing yet: {shared:?}");
        assert!(shared.other.is_nothing());
    }

    #[test]
    fn a_sample_that_comes_to_more_than_the_node_used_is_scaled_down() {
        let all = [("a", total(9_000, 1, 0)), ("b", total(3_000, 1, 0))];
        let shared = Shares::default().take(totals(&all), MINUTE, 10.0, 1);
        let (most, other) = (shared.most[0].used.cpu_seconds, shared.other.cpu_seconds);
        assert!((most - 7.5).abs() < 1e-9 && (other - 2.5).abs() < 1e-9, "{most} {other}");
    }
}
