//! What is known of an account, as metrics.

use std::time::Duration;

use dataproxy_router_api::AccountName;
use metrics::{Counter, Gauge, counter, gauge};

use super::{AccountState, Guard};

const REQUESTS: &str = "dataproxy_account_requests_total";
const REFUSALS: &str = "dataproxy_account_refusals_total";
const RETRIES: &str = "dataproxy_account_retries_total";
const BYTES: &str = "dataproxy_account_bytes_total";
const IN_FLIGHT: &str = "dataproxy_account_in_flight";
const LIMIT: &str = "dataproxy_account_in_flight_limit";
const STATE: &str = "dataproxy_account_state";
const REQUEST_HEADROOM: &str = "dataproxy_account_request_headroom";
const EGRESS_HEADROOM: &str = "dataproxy_account_egress_headroom_bytes";

/// Every way in which a request ends: those of `OriginErrorKind`, and two more.
const OUTCOMES: [&str; 10] = [
    "ok",
    "abandoned",
    "not_found",
    "denied",
    "throttled",
    "unavailable",
    "timeout",
    "changed",
    "range_invalid",
    "protocol",
];
const WINDOWS: [(&str, Duration); 2] = [("10s", Duration::from_secs(10)), ("60s", Duration::from_secs(60))];

/// The counters of one account, looked up once.
pub(super) struct Counts {
    ended: [(&'static str, Counter); OUTCOMES.len()],
    pub(super) bytes: Counter,
    pub(super) dark: Counter,
    pub(super) busy: Counter,
    pub(super) retried: Counter,
    pub(super) not_retried: Counter,
    in_flight: Gauge,
    limit: Gauge,
}

impl Counts {
    pub(super) fn of(account: &AccountName) -> Self {
        let account = account.to_string();
        let refused = |reason| counter!(REFUSALS, "account" => account.clone(), "reason" => reason);
        let retried = |outcome| counter!(RETRIES, "account" => account.clone(), "outcome" => outcome);
        Self {
            ended: OUTCOMES.map(|outcome| {
                (outcome, counter!(REQUESTS, "account" => account.clone(), "outcome" => outcome))
            }),
            bytes: counter!(BYTES, "account" => account.clone()),
            dark: refused("dark"),
            busy: refused("busy"),
            retried: retried("allowed"),
            not_retried: retried("denied"),
            in_flight: gauge!(IN_FLIGHT, "account" => account.clone()),
            limit: gauge!(LIMIT, "account" => account.clone()),
        }
    }

    /// A request ended so.
    pub(super) fn ended(&self, outcome: &str) {
        if let Some((_, counter)) = self.ended.iter().find(|(name, _)| *name == outcome) {
            counter.increment(1);
        }
    }
}

/// Makes the counters of an account visible as 0, so that a rate over its first event is not lost.
pub fn show_zeroes(guard: &Guard) {
    let counts = &guard.counts;
    let others = [&counts.bytes, &counts.dark, &counts.busy, &counts.retried, &counts.not_retried];
    for counter in counts.ended.iter().map(|(_, counter)| counter).chain(others) {
        counter.increment(0);
    }
}

impl Guard {
    /// Brings up to date what is only read off at a scrape.
    pub fn show(&self) {
        let (limit, in_flight) = self.limit.now();
        self.counts.limit.set(limit as f64);
        self.counts.in_flight.set(in_flight as f64);
        let (account, now) = (self.name.to_string(), self.state());
        for state in AccountState::ALL {
            let shown = if state == now { 1.0 } else { 0.0 };
            gauge!(STATE, "account" => account.clone(), "state" => state.as_str()).set(shown);
        }
        for (name, window) in WINDOWS {
            let headroom = |metric, limit: Option<u64>, used: f64| {
                if let Some(limit) = limit {
                    gauge!(metric, "account" => account.clone(), "window" => name).set(limit as f64 - used);
                }
            };
            headroom(REQUEST_HEADROOM, self.bounds.request_limit, self.requests.per_second(window));
            headroom(EGRESS_HEADROOM, self.bounds.egress_limit, self.egress.per_second(window));
        }
    }
}
