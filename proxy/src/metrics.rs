//! Every metric of a node in one table: name, unit, labels, what it says. `docs/metrics.md` shows it.
//!
//! Labels are bounded: nothing that a client chooses becomes one, but a registry that the bindings know.

use std::fmt::Write;
use std::sync::OnceLock;

use dataproxy_cache::Stats;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::process::{self, Usage};

mod table;

pub use table::{Kind, METRICS, Metric};

use Kind::{Counter, Gauge, Histogram};

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

/// Where the process's metrics are rendered from.
#[derive(Clone, Debug)]
pub struct Registry {
    handle: PrometheusHandle,
    max_fds: u64,
}

/// Installs the recorder, once per process; a second call gives the same one.
///
/// # Errors
/// Another library has installed a recorder of its own.
pub fn install(max_fds: u64) -> Result<Registry, String> {
    static INSTALLED: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let handle = INSTALLED.get_or_init(|| recorder().map_err(|error| error.to_string())).clone()?;
    Ok(Registry { handle, max_fds })
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
    gauge!("dataproxy_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!("dataproxy_start_time_seconds").set(process::now_seconds());
    Ok(handle)
}

impl Registry {
    /// The metrics as Prometheus reads them, the process's own cost as of now.
    pub fn render(&self) -> String {
        let usage = Usage::now();
        // A counter of whole numbers cannot hold CPU seconds: they are rendered by hand.
        gauge!("dataproxy_resident_bytes").set(usage.resident_bytes as f64);
        gauge!("dataproxy_anonymous_bytes").set(usage.anonymous_bytes as f64);
        gauge!("dataproxy_open_fds").set(usage.open_fds as f64);
        gauge!("dataproxy_max_fds").set(self.max_fds as f64);
        gauge!("dataproxy_threads").set(usage.threads as f64);
        let mut text = self.handle.render();
        let cpu = METRICS.iter().find(|metric| metric.name == "dataproxy_cpu_seconds_total");
        if let Some(Metric { name, text: help, .. }) = cpu {
            let seconds = usage.cpu_seconds;
            let _ = write!(text, "\n# HELP {name} {help}\n# TYPE {name} counter\n{name} {seconds}\n");
        }
        text
    }

    /// Moves what histograms have gathered into their buckets; call it every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Shows what the cache counts.
pub fn show_cache(stats: &Stats) {
    for (name, total) in [
        ("dataproxy_cache_origin_requests_total", stats.origin_requests),
        ("dataproxy_cache_origin_bytes_total", stats.origin_bytes),
        ("dataproxy_cache_lent_requests_total", stats.lent_requests),
        ("dataproxy_cache_lent_bytes_total", stats.lent_bytes),
        ("dataproxy_cache_origin_retries_total", stats.origin_retries),
        ("dataproxy_cache_fills_started_total", stats.fills_started),
        ("dataproxy_cache_fills_completed_total", stats.fills_completed),
        ("dataproxy_cache_fills_partial_total", stats.fills_partial),
        ("dataproxy_cache_fills_failed_total", stats.fills_failed),
        ("dataproxy_cache_mismatches_total", stats.mismatches),
        ("dataproxy_cache_bad_blocks_total", stats.bad_blocks),
        ("dataproxy_cache_scrubbed_bytes_total", stats.scrubbed_bytes),
        ("dataproxy_cache_evictions_total", stats.evictions),
        ("dataproxy_cache_disk_errors_total", stats.disk_errors),
        ("dataproxy_cache_disk_stalls_total", stats.disk_stalls),
        ("dataproxy_cache_unverified_range_reads_total", stats.unverified_range_reads),
    ] {
        counter!(name).absolute(total);
    }
    for (name, now) in [
        ("dataproxy_cache_fills_running", stats.fills_running),
        ("dataproxy_cache_fill_bytes", stats.fill_bytes),
        ("dataproxy_cache_fill_bytes_peak", stats.fill_bytes_peak),
        ("dataproxy_cache_memory_bytes", stats.memory_bytes),
        ("dataproxy_cache_memory_blocks", stats.memory_blocks),
        ("dataproxy_cache_disk_bytes", stats.disk_bytes),
        ("dataproxy_cache_disk_complete", stats.disk_complete),
        ("dataproxy_cache_disk_partial", stats.disk_partial),
        ("dataproxy_cache_disk_open_files", stats.disk_open_files),
        ("dataproxy_cache_disk_reads_off", stats.disk_reads_off),
        ("dataproxy_cache_disk_writes_off", stats.disk_writes_off),
        ("dataproxy_cache_disk_recovering", stats.disk_recovering),
    ] {
        gauge!(name).set(now as f64);
    }
}

/// Sets the gauge of the node's state.
pub fn show_state(now: crate::lifecycle::State) {
    use crate::lifecycle::State;
    for state in State::ALL {
        let shown = if state == now { 1.0 } else { 0.0 };
        gauge!("dataproxy_state", "state" => state.as_str()).set(shown);
    }
}

/// Shows what connections do.
pub fn show_connections(counts: &crate::connections::Counts) {
    for (connections, now) in [("busy", counts.busy), ("idle", counts.idle), ("ending", counts.ending)] {
        gauge!("dataproxy_in_flight", "connections" => connections).set(now as f64);
    }
    gauge!("dataproxy_in_flight_bytes").set(counts.bytes_left as f64);
    gauge!("dataproxy_oldest_in_flight_seconds").set(counts.oldest_seconds);
}

/// Makes every counter without labels visible as 0, so that a rate over its first event is not lost.
pub fn show_zeroes() {
    for metric in METRICS.iter().filter(|metric| metric.kind == Counter && metric.labels.is_empty()) {
        if metric.name != "dataproxy_cpu_seconds_total" {
            counter!(metric.name).increment(0);
        }
    }
    for kind in ["soft", "hard"] {
        counter!("dataproxy_cuts_total", "kind" => kind).increment(0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Every `dataproxy_…` word in the sources of the node but for tests.
    fn named(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named(&path, names);
                continue;
            }
            if path.ends_with("metrics.rs") || path.ends_with("table.rs") || path.ends_with("tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let quoted = text.split('"').filter(|word| {
                word.starts_with("dataproxy_") && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            });
            names.extend(quoted.map(str::to_owned));
        }
    }

    #[test]
    fn the_table_lists_every_metric_that_is_written_and_no_other() {
        let mut written = BTreeSet::new();
        named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut written);
        let own = concat!(include_str!("metrics.rs"), include_str!("metrics/table.rs"));
        let listed: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
        // This file writes those of the process itself: named once in the table and once more.
        let here = listed.iter().filter(|name| own.matches(&format!("\"{name}\"")).count() > 1);
        written.extend(here.cloned());
        assert_eq!(listed, written);
        assert_eq!(listed.len(), METRICS.len(), "a metric has one row");
    }

    #[test]
    fn the_documentation_shows_the_table() {
        crate::documented::check("metrics.md", "metrics", &markdown());
    }

    #[test]
    fn a_scrape_shows_the_process_with_help_and_type() {
        let registry = install(1024).unwrap();
        show_zeroes();
        let text = registry.render();
        for line in [
            "# TYPE dataproxy_cpu_seconds_total counter",
            "# HELP dataproxy_open_fds Open descriptors",
            "dataproxy_max_fds 1024",
            "dataproxy_request_panics_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
        }
        assert!(
            text.contains(&format!("dataproxy_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")))
        );
    }
}
