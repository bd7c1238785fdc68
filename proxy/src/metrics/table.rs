//! The table itself.

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

/// Upper bounds in seconds, from a hit in memory to the longest pull that is not yet a download of hours.
const SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
    60.0, 300.0, 1800.0,
];

/// Every metric, in the order of the page.
pub const METRICS: &[Metric] = &[
    metric("dataproxy_build_info", Gauge, "1", "version", "The version that runs; always 1"),
    metric(
        "dataproxy_start_time_seconds",
        Gauge,
        "seconds",
        "",
        "When the process started, in seconds since 1970",
    ),
    metric(
        "dataproxy_state",
        Gauge,
        "1",
        "state = starting, ready, draining, cutting",
        "1 for the state that the node is in",
    ),
    metric("dataproxy_cpu_seconds_total", Counter, "seconds", "", "CPU time of the process, user and system"),
    metric("dataproxy_resident_bytes", Gauge, "bytes", "", "Resident memory"),
    metric("dataproxy_anonymous_bytes", Gauge, "bytes", "", "Resident memory that no file backs"),
    metric("dataproxy_open_fds", Gauge, "1", "", "Open descriptors"),
    metric("dataproxy_max_fds", Gauge, "1", "", "Descriptors that may be open"),
    metric("dataproxy_threads", Gauge, "1", "", "Threads"),
    metric(
        "dataproxy_requests_total",
        Counter,
        "1",
        "kind = manifest, blob, tags, referrers, ping, invalid; method; status; outcome = memory_hit, disk_hit, filled, followed, bypassed, redirected, none",
        "Requests ended, by what was asked, the status and how the content was served",
    ),
    metric(
        "dataproxy_response_bytes_total",
        Counter,
        "bytes",
        "kind; outcome",
        "Body bytes handed to connections",
    ),
    metric(
        "dataproxy_request_first_byte_seconds",
        Histogram(SECONDS),
        "seconds",
        "kind; outcome",
        "From the request to the first byte of the body, or to the headers where there is no body",
    ),
    metric(
        "dataproxy_request_seconds",
        Histogram(SECONDS),
        "seconds",
        "kind; outcome",
        "From the request to the end of the answer",
    ),
    metric(
        "dataproxy_responses_cut_total",
        Counter,
        "1",
        "kind; end = aborted, failed",
        "Answers that ended short: aborted by the client, or failed in the middle",
    ),
    metric(
        "dataproxy_late_arrivals_total",
        Counter,
        "1",
        "registry",
        "Requests for a registry whose home is another stamp, served all the same",
    ),
    metric(
        "dataproxy_stale_tags_total",
        Counter,
        "1",
        "registry",
        "Tags answered from memory, with a warning, while storage did not answer",
    ),
    metric("dataproxy_registry_requests_total", Counter, "1", "registry", "Requests ended, by registry"),
    metric(
        "dataproxy_registry_response_bytes_total",
        Counter,
        "bytes",
        "registry",
        "Body bytes handed to connections, by registry",
    ),
    metric(
        "dataproxy_cache_origin_requests_total",
        Counter,
        "1",
        "",
        "Requests sent to storage accounts by fills",
    ),
    metric(
        "dataproxy_cache_origin_bytes_total",
        Counter,
        "bytes",
        "",
        "Body bytes received from storage accounts",
    ),
    metric("dataproxy_cache_origin_retries_total", Counter, "1", "", "Ranged reads that were tried again"),
    metric(
        "dataproxy_upstream_requests_total",
        Counter,
        "1",
        "account; kind = blob, manifest, tags, referrers, token; status = the answer's, or none",
        "Requests sent to upstream registries, and to where those led",
    ),
    metric(
        "dataproxy_upstream_tokens_total",
        Counter,
        "1",
        "outcome = ok, denied, throttled, unavailable, timeout, protocol",
        "Tokens asked for",
    ),
    metric(
        "dataproxy_account_requests_total",
        Counter,
        "1",
        "account; outcome = ok, abandoned, not_found, denied, throttled, unavailable, timeout, changed, range_invalid, protocol",
        "Requests sent to a storage account, by how they ended; `abandoned` by us before there was an answer",
    ),
    metric(
        "dataproxy_account_refusals_total",
        Counter,
        "1",
        "account; reason = dark, busy",
        "Requests not sent: the account does not answer, or as many as it copes with were under way for too long",
    ),
    metric(
        "dataproxy_account_retries_total",
        Counter,
        "1",
        "account; outcome = allowed, denied",
        "Retries that were asked for, by whether the account's budget had one: a fifth of its requests and ten a second",
    ),
    metric(
        "dataproxy_account_failovers_total",
        Counter,
        "1",
        "account; to",
        "Answers that came from a copy, since the account that was asked first had none",
    ),
    metric("dataproxy_account_bytes_total", Counter, "bytes", "account", "Body bytes read from the account"),
    metric("dataproxy_account_in_flight", Gauge, "1", "account", "Requests under way, bodies included"),
    metric(
        "dataproxy_account_in_flight_limit",
        Gauge,
        "1",
        "account",
        "Requests that may be under way at once, as the account's answers allow: 4 to `max_in_flight`",
    ),
    metric(
        "dataproxy_account_state",
        Gauge,
        "1",
        "account; state = healthy, throttled, dark",
        "1 for the state that the account is in: it answers, it has asked for less within 10 s, it does not answer",
    ),
    metric(
        "dataproxy_account_request_headroom",
        Gauge,
        "requests/s",
        "account; window = 10s, 60s",
        "`request_limit` less this node's own rate; of a fleet, subtract the rates of all nodes",
    ),
    metric(
        "dataproxy_account_egress_headroom_bytes",
        Gauge,
        "bytes/s",
        "account; window = 10s, 60s",
        "`egress_limit` less what this node reads; of a fleet, subtract the rates of all nodes",
    ),
    metric(
        "dataproxy_placements",
        Gauge,
        "1",
        "account; finding = reachable, empty, unlisted, denied, no_container, throttled, dark, strange, not_configured, unusable, upstream",
        "Places of the bindings' placements by what this node found when it tried them: at the start, at new bindings, and once a minute where it could not read",
    ),
    metric(
        "dataproxy_registries_unserved",
        Gauge,
        "1",
        "",
        "Registries that this node could not serve, as none of their places could be read",
    ),
    metric("dataproxy_cache_fills_running", Gauge, "1", "", "Fills running"),
    metric("dataproxy_cache_fills_started_total", Counter, "1", "", "Fills started"),
    metric(
        "dataproxy_cache_fills_completed_total",
        Counter,
        "1",
        "",
        "Fills that ended with a whole, verified blob",
    ),
    metric(
        "dataproxy_cache_fills_partial_total",
        Counter,
        "1",
        "",
        "Fills that stopped since nobody wanted more",
    ),
    metric("dataproxy_cache_fills_failed_total", Counter, "1", "", "Fills that ended with an error"),
    metric("dataproxy_cache_fill_bytes", Gauge, "bytes", "", "Bytes that fills hold in memory"),
    metric(
        "dataproxy_cache_fill_bytes_peak",
        Gauge,
        "bytes",
        "",
        "The most bytes that one fill ever held in memory",
    ),
    metric(
        "dataproxy_cache_mismatches_total",
        Counter,
        "1",
        "",
        "Blobs whose content did not hash to their digest",
    ),
    metric(
        "dataproxy_cache_bad_blocks_total",
        Counter,
        "1",
        "",
        "Blocks on disk that did not match their checksum",
    ),
    metric(
        "dataproxy_cache_scrubbed_bytes_total",
        Counter,
        "bytes",
        "",
        "Bytes on disk that were read to check them, by nobody's request",
    ),
    metric("dataproxy_cache_evictions_total", Counter, "1", "", "Blobs evicted from disk"),
    metric(
        "dataproxy_cache_disk_errors_total",
        Counter,
        "1",
        "",
        "Failed reads and writes of the disk tier, a full disk included",
    ),
    metric(
        "dataproxy_cache_disk_stalls_total",
        Counter,
        "1",
        "",
        "Calls of the disk tier that were not waited for any longer than `cache.disk_patience`",
    ),
    metric(
        "dataproxy_cache_unverified_range_reads_total",
        Counter,
        "1",
        "",
        "Ranged reads that were served bytes of a blob not yet verified",
    ),
    metric("dataproxy_cache_memory_bytes", Gauge, "bytes", "", "Bytes in the memory tier"),
    metric("dataproxy_cache_memory_blocks", Gauge, "1", "", "Blocks in the memory tier"),
    metric("dataproxy_cache_disk_bytes", Gauge, "bytes", "", "Bytes in the disk tier"),
    metric("dataproxy_cache_disk_complete", Gauge, "1", "", "Whole, verified blobs on disk"),
    metric("dataproxy_cache_disk_partial", Gauge, "1", "", "Other blobs on disk"),
    metric(
        "dataproxy_cache_disk_reads_off",
        Gauge,
        "1",
        "",
        "1 while nothing is read from the disk tier, as that hangs or has failed five times in a row",
    ),
    metric(
        "dataproxy_cache_disk_writes_off",
        Gauge,
        "1",
        "",
        "1 while nothing is written to the disk tier, as that hangs, has failed five times in a row, or there is no room",
    ),
    metric(
        "dataproxy_cache_disk_recovering",
        Gauge,
        "1",
        "",
        "1 while it is not known yet what a former process left on disk; what is asked for is looked for first",
    ),
    metric("dataproxy_connections_total", Counter, "1", "listener = plain, tls", "Connections accepted"),
    metric("dataproxy_connections_open", Gauge, "1", "listener = plain, tls", "Connections open"),
    metric(
        "dataproxy_accept_errors_total",
        Counter,
        "1",
        "",
        "Connections that the system did not hand over, for want of descriptors, say",
    ),
    metric("dataproxy_tls_handshake_failures_total", Counter, "1", "", "TLS handshakes that failed"),
    metric(
        "dataproxy_tls_hello_on_plain_total",
        Counter,
        "1",
        "",
        "TLS hellos on a plain address, each answered in plain HTTP",
    ),
    metric("dataproxy_request_panics_total", Counter, "1", "", "Requests that ended in a panic; must be 0"),
    metric("dataproxy_cuts_total", Counter, "1", "", "Connections cut at the drain deadline"),
    metric(
        "dataproxy_certificate_changes_total",
        Counter,
        "1",
        "",
        "Certificates put in force after the first",
    ),
    metric(
        "dataproxy_certificate_errors_total",
        Counter,
        "1",
        "",
        "Certificates refused on reload; the one in force stayed",
    ),
    metric("dataproxy_bindings_revision", Gauge, "1", "", "Revision of the bindings in force"),
    metric("dataproxy_bindings_changes_total", Counter, "1", "", "Bindings put in force after the first"),
    metric(
        "dataproxy_bindings_file_errors_total",
        Counter,
        "1",
        "",
        "Bindings files refused; the bindings in force stayed",
    ),
    metric(
        "dataproxy_log_lines_dropped_total",
        Counter,
        "1",
        "",
        "Log lines dropped since their reader was too slow",
    ),
    metric(
        "dataproxy_front_nodes",
        Gauge,
        "1",
        "state = ready, unready, down",
        "Nodes of the region as the front door sees them",
    ),
    metric(
        "dataproxy_front_tries_total",
        Counter,
        "1",
        "outcome = answered, refused, failed, timeout",
        "Requests sent to nodes, by how they ended",
    ),
    metric("dataproxy_front_unready_total", Counter, "1", "", "Requests that no node was ready for in time"),
    metric(
        "dataproxy_front_resumes_total",
        Counter,
        "1",
        "outcome = resumed, gave_up",
        "Bodies that lost their node: gone on with at another one, or cut short",
    ),
];
