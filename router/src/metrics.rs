//! What a router counts, in one table; `/metrics` shows it in Prometheus's text format.
//!
//! Labels are bounded: nothing that a client chooses becomes one.

use std::fmt::Write;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

mod dns;
mod shown;
mod table;

pub use dns::DnsCounters;
pub use shown::show;
pub use table::{Kind, METRICS, Metric};

use Kind::{Counter, Gauge, Histogram};

/// Time between two moves of what histograms have gathered into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// The table in words: `docs/metrics.md`.
pub fn markdown() -> String {
    let mut out = "| metric | kind | unit | labels | what it says |\n|---|---|---|---|---|\n".to_owned();
    for Metric { name, kind, unit, labels, text } in METRICS {
        let kind = match kind {
            Counter => "counter",
            Gauge => "gauge",
            Histogram(_) => "histogram",
        };
        let _ = writeln!(out, "| `{name}` | {kind} | {unit} | {labels} | {text} |");
    }
    out
}

/// Installs the recorder, once a process; a second call gives the same one.
///
/// # Errors
/// Another library has installed a recorder of its own.
pub fn install() -> Result<PrometheusHandle, String> {
    static INSTALLED: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    INSTALLED.get_or_init(|| recorder().map_err(|error| error.to_string())).clone()
}

fn recorder() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Histogram(bounds) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)?;
        }
    }
    let handle = builder.install_recorder()?;
    for Metric { name, kind, unit, text, .. } in METRICS {
        let unit = match *unit {
            "seconds" => Unit::Seconds,
            "bytes" => Unit::Bytes,
            _ => Unit::Count,
        };
        match kind {
            Counter => describe_counter!(*name, unit, *text),
            Gauge => describe_gauge!(*name, unit, *text),
            Histogram(_) => describe_histogram!(*name, unit, *text),
        }
    }
    gauge!("router_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!("router_start_time_seconds").set(since.as_secs_f64());
    show_zeroes();
    Ok(handle)
}

/// What has not happened yet is shown as 0, so that a rate over it is right from the first time on.
fn show_zeroes() {
    counter!("router_terms_total").absolute(0);
    for outcome in ["taken", "refused"] {
        counter!("router_reports_total", "outcome" => outcome).absolute(0);
    }
    for event in ["snapshot", "change"] {
        counter!("router_told_total", "event" => event).absolute(0);
    }
    for outcome in ["done", "nothing", "refused", "failed"] {
        counter!("router_changes_total", "outcome" => outcome).absolute(0);
    }
    for operation in ["get", "list", "commit", "watch", "grant", "keep_alive", "revoke"] {
        counter!("router_store_requests_total", "operation" => operation, "outcome" => "ok").absolute(0);
    }
    gauge!("router_watchers").set(0.0);
    gauge!("router_reconcile_age_seconds").set(0.0);
}

/// One more change that was asked for.
pub(crate) fn changed(outcome: &'static str) {
    counter!("router_changes_total", "outcome" => outcome).increment(1);
}

/// One more report of a node.
pub(crate) fn reported(outcome: &'static str) {
    counter!("router_reports_total", "outcome" => outcome).increment(1);
}

/// A pass over what is due.
pub(crate) fn passed(took: Duration) {
    histogram!("router_reconcile_seconds").record(took.as_secs_f64());
}

/// This router leads from now on.
pub(crate) fn led() {
    counter!("router_terms_total").increment(1);
}

/// A request of the API that was answered.
pub(crate) fn answered(route: String, method: &str, status: u16, took: Duration) {
    let method = match method {
        "GET" => "GET",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        _ => "other",
    };
    histogram!("router_api_seconds", "route" => route.clone()).record(took.as_secs_f64());
    let status = status.to_string();
    counter!("router_api_requests_total", "route" => route, "method" => method, "status" => status)
        .increment(1);
}

/// Events that were written to a stream.
pub(crate) fn told(event: &'static str, count: usize) {
    counter!("router_told_total", "event" => event).increment(u64::try_from(count).unwrap_or(0));
}

/// A stream of events for as long as it is held.
#[derive(Debug)]
pub(crate) struct Watcher(());

impl Watcher {
    pub(crate) fn new() -> Self {
        gauge!("router_watchers").increment(1.0);
        Self(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        gauge!("router_watchers").decrement(1.0);
    }
}

/// Moves what histograms have gathered into their buckets, for as long as it is polled.
pub async fn upkeep(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests;
