//! Where a record goes: one structured event of target `access`, and the metrics.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use dataproxy_router_api::RegistryName;
use http::StatusCode;
use metrics::{Counter, Histogram, counter, histogram};

use super::{End, Record};

const REQUESTS: &str = "dataproxy_requests_total";
const BYTES: &str = "dataproxy_response_bytes_total";
const FIRST_BYTE: &str = "dataproxy_request_first_byte_seconds";
const DURATION: &str = "dataproxy_request_seconds";
const ENDED: &str = "dataproxy_responses_cut_total";
const LATE: &str = "dataproxy_late_arrivals_total";
const STALE: &str = "dataproxy_stale_tags_total";
const REGISTRY_REQUESTS: &str = "dataproxy_registry_requests_total";
const REGISTRY_BYTES: &str = "dataproxy_registry_response_bytes_total";

fn outcome(record: &Record) -> &'static str {
    match (record.redirected, record.outcome) {
        (Some(_), _) => "redirected",
        (None, outcome) => outcome.map_or("none", |outcome| outcome.as_str()),
    }
}

/// A method, from a bounded set: a caller may invent any other.
fn method(record: &Record) -> &'static str {
    match record.method {
        http::Method::GET => "GET",
        http::Method::HEAD => "HEAD",
        http::Method::POST => "POST",
        http::Method::PUT => "PUT",
        http::Method::PATCH => "PATCH",
        http::Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// The version of HTTP, as people write it.
fn version(record: &Record) -> &'static str {
    match record.version {
        http::Version::HTTP_2 => "2",
        http::Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// What requests of one kind, method, status and outcome are counted with.
struct Handles {
    requests: Counter,
    bytes: Counter,
    first_byte: Histogram,
    duration: Histogram,
}

impl Handles {
    fn of((kind, method, status, outcome): Key) -> Self {
        let status = status.map_or_else(|| "none".to_owned(), |status| status.as_str().to_owned());
        Self {
            requests: counter!(REQUESTS, "kind" => kind, "method" => method, "status" => status, "outcome" => outcome),
            bytes: counter!(BYTES, "kind" => kind, "outcome" => outcome),
            first_byte: histogram!(FIRST_BYTE, "kind" => kind, "outcome" => outcome),
            duration: histogram!(DURATION, "kind" => kind, "outcome" => outcome),
        }
    }
}

/// Requests and bytes of one registry.
type OfRegistry = (Counter, Counter);
type Key = (&'static str, &'static str, Option<StatusCode>, &'static str);

thread_local! {
    /// A handle costs a look-up by name and labels, which is more than what is done with it. Its labels bound how many
    /// there are: nothing in them is a client's choice, but a registry that the bindings know.
    static HANDLES: RefCell<Vec<(Key, Handles)>> = RefCell::default();
    static REGISTRIES: RefCell<HashMap<RegistryName, OfRegistry>> = RefCell::default();
}

pub(super) fn count(record: &Record) {
    let key = (record.kind, method(record), record.status, outcome(record));
    // A record that ends with its thread finds no handles any more and is not counted.
    let _ = HANDLES.try_with(|handles| {
        let mut all = handles.borrow_mut();
        // There are few, and most pulls are like the one before: it is found first.
        let at = all.iter().position(|(of, _)| *of == key).unwrap_or_else(|| {
            all.push((key, Handles::of(key)));
            all.len() - 1
        });
        all.swap(0, at);
        let Some((_, handles)) = all.first() else { return };
        handles.requests.increment(1);
        handles.bytes.increment(record.sent);
        if let Some(first_byte) = record.first_byte {
            handles.first_byte.record(first_byte);
        }
        handles.duration.record(record.total);
    });
    if record.end != End::Complete {
        counter!(ENDED, "kind" => record.kind, "end" => record.end.as_str()).increment(1);
    }
    let Some(registry) = &record.registry else { return };
    let _ = REGISTRIES.try_with(|registries| {
        let mut registries = registries.borrow_mut();
        if !registries.contains_key(registry) {
            let of = |name: &'static str| counter!(name, "registry" => registry.to_string());
            registries.insert(registry.clone(), (of(REGISTRY_REQUESTS), of(REGISTRY_BYTES)));
        }
        if let Some((requests, bytes)) = registries.get(registry) {
            requests.increment(1);
            bytes.increment(record.sent);
        }
    });
    if record.late {
        let action = if record.forwarded { "forwarded" } else { "served" };
        counter!(LATE, "registry" => registry.to_string(), "action" => action).increment(1);
    }
    if record.stale {
        counter!(STALE, "registry" => registry.to_string()).increment(1);
    }
}

pub(super) fn log(record: &Record) {
    let millis = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
    tracing::info!(
        target: "access",
        node = record.node.as_str(),
        request_id = record.request_id,
        method = method(record),
        kind = record.kind,
        registry = record.registry.as_ref().map(|name| name.as_str()),
        repository = record.repository.as_ref().map(|name| name.as_str()),
        reference = record.reference,
        named_by = record.named_by.map(|by| by.as_str()),
        ns = record.namespace,
        home_stamp = record.home_stamp.as_ref().map(|name| name.as_str()),
        epoch = record.epoch.map(|epoch| epoch.0),
        late = record.late,
        forwarded = record.forwarded,
        stale = record.stale,
        status = record.status.map(|status| status.as_u16()),
        code = record.code,
        outcome = outcome(record),
        reason = record.outcome.and_then(|outcome| outcome.reason()),
        redirected = record.redirected.map(|to| to.as_str()),
        range = record.range,
        length = record.length,
        bytes = record.sent,
        end = record.end.as_str(),
        error = record.error,
        first_byte_ms = record.first_byte.map(millis),
        total_ms = millis(record.total),
        peer = record.peer.map(tracing::field::display),
        forwarded_for = record.forwarded_for,
        http = version(record),
        tls = record.tls,
        tls_resumed = record.tls_resumed,
        user_agent = record.user_agent,
        "request"
    );
}

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode};
    use metrics_exporter_prometheus::PrometheusBuilder;

    use crate::account::Account;

    #[test]
    fn every_request_is_counted_under_its_own_labels() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // A thread of its own, as handles are a thread's.
        let counting = std::thread::spawn(move || {
            metrics::with_local_recorder(&recorder, || {
                for (status, bytes) in [(200, 7), (200, 5), (404, 3)] {
                    let (parts, ()) = Request::get("/").body(()).unwrap().into_parts();
                    let mut account = Account::open(&parts, "n1".parse().unwrap(), None);
                    account.kept.as_mut().unwrap().record.registry = Some("contoso".parse().unwrap());
                    account.answered(StatusCode::from_u16(status).unwrap(), bytes);
                    account.sent(bytes);
                }
            });
        });
        counting.join().unwrap();
        let text = handle.render();
        for line in [
            "dataproxy_requests_total{kind=\"invalid\",method=\"GET\",status=\"200\",outcome=\"none\"} 2",
            "dataproxy_requests_total{kind=\"invalid\",method=\"GET\",status=\"404\",outcome=\"none\"} 1",
            "dataproxy_response_bytes_total{kind=\"invalid\",outcome=\"none\"} 15",
            "dataproxy_request_seconds_count{kind=\"invalid\",outcome=\"none\"} 3",
            "dataproxy_registry_requests_total{registry=\"contoso\"} 3",
            "dataproxy_registry_response_bytes_total{registry=\"contoso\"} 15",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
}
