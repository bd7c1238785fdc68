//! Every metric of a router: name, unit, labels, what it says. `docs/metrics.md` shows it.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by size, with these upper bounds.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it counts in.
    pub unit: &'static str,
    /// Its labels, with the values they take.
    pub labels: &'static str,
    /// What it says.
    pub text: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    labels: &'static str,
    text: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels, text }
}

use Kind::{Counter, Gauge, Histogram};

/// From what memory answers to what a store gives up after.
const TIMES: &[f64] = &[0.000_1, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The table.
pub const METRICS: &[Metric] = &[
    metric("router_build_info", Gauge, "1", "version", "The version that runs; always 1"),
    metric(
        "router_start_time_seconds",
        Gauge,
        "seconds",
        "",
        "When the process started, in seconds since 1970",
    ),
    metric("router_resident_bytes", Gauge, "bytes", "", "Resident memory"),
    metric("router_anonymous_bytes", Gauge, "bytes", "", "Resident memory that no file backs"),
    metric("router_revision", Gauge, "1", "", "The revision that was followed last"),
    metric(
        "router_history",
        Gauge,
        "1",
        "",
        "The history that it is of; 0 for a store that was never restored",
    ),
    metric(
        "router_leads",
        Gauge,
        "1",
        "",
        "1 while this router leads; over all routers of a store the sum is 1, or 0 for a moment",
    ),
    metric("router_terms_total", Counter, "1", "", "Times that this router became the leader"),
    metric(
        "router_store_requests_total",
        Counter,
        "1",
        "operation = get, list, commit, watch, grant, keep_alive, revoke; outcome = ok, conflict, or what kind of error",
        "Calls of the store; of watches, the batches and the errors that ended them",
    ),
    metric(
        "router_store_seconds",
        Histogram(TIMES),
        "seconds",
        "operation, but watch",
        "Time that calls of the store took",
    ),
    metric("router_stamps", Gauge, "1", "state = active, cordoned, draining, retired", "Stamps"),
    metric(
        "router_nodes",
        Gauge,
        "1",
        "state = joining, ready, draining, gone",
        "Nodes, as the store has them",
    ),
    metric("router_nodes_in_rotation", Gauge, "1", "", "Nodes that new traffic is sent to"),
    metric(
        "router_nodes_behind",
        Gauge,
        "1",
        "",
        "Nodes that report here and do not yet work from the newest revision of what they are told",
    ),
    metric(
        "router_bindings",
        Gauge,
        "1",
        "phase = stable, preparing, draining, observing",
        "Registries, by the phase of their binding",
    ),
    metric(
        "router_migrations",
        Gauge,
        "1",
        "state = preparing, draining, observing, done, aborted, rolled_back, paused",
        "Moves that are kept; one that is paused counts as that",
    ),
    metric(
        "router_restarts",
        Gauge,
        "1",
        "state = running, done, aborted, paused",
        "Last restarts of stamps; one that is paused counts as that",
    ),
    metric("router_reports_total", Counter, "1", "outcome = taken, refused", "Reports of nodes"),
    metric("router_watchers", Gauge, "1", "", "Streams of events that are open: one a node, and consoles"),
    metric("router_told_total", Counter, "1", "event = snapshot, change", "Events written to those streams"),
    metric(
        "router_api_requests_total",
        Counter,
        "1",
        "route, as the API's description has it, or none; method; status",
        "Requests of the API answered",
    ),
    metric("router_api_seconds", Histogram(TIMES), "seconds", "route", "Time to the answer's headers"),
    metric(
        "router_changes_total",
        Counter,
        "1",
        "outcome = done, nothing, refused, failed",
        "Changes that were asked for by operators, or due by themselves",
    ),
    metric(
        "router_reconcile_seconds",
        Histogram(TIMES),
        "seconds",
        "",
        "Time that a pass over what is due took, as the leader",
    ),
    metric(
        "router_reconcile_age_seconds",
        Gauge,
        "seconds",
        "",
        "Time since the last pass ended; 0 while another router leads. One is due every quarter of a second",
    ),
    metric(
        "router_dns_queries_total",
        Counter,
        "1",
        "type = A, AAAA, NS, SOA, other; rcode = NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, other",
        "DNS queries answered",
    ),
];
