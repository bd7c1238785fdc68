//! What a node's access log says of one client's pull.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::eventually::eventually;
use crate::node::Node;
use crate::raw_http;

/// The lines of the access log between two moments.
#[derive(Clone, Debug, Default)]
pub struct Seen(Vec<Value>);

/// A moment in a node's access log.
#[derive(Clone, Copy, Debug)]
pub struct Moment(usize);

impl Moment {
    /// Now: after every answer that has ended. Asks the node for something, and waits until that is logged.
    ///
    /// # Panics
    /// If it is not within 10 s.
    pub async fn now(node: &Node) -> Self {
        let id = format!("moment-{:016x}", rand::random::<u64>());
        let header = format!("X-Request-Id: {id}");
        let host = node.pull().to_string();
        raw_http::send(node.pull(), "GET", "/v2/", &host, &[&header]).await.expect("the node answers");
        let logged = eventually("the access log", Duration::from_secs(10), async || {
            let log = node.access_log();
            let at = log.iter().position(|line| line["request_id"] == id.as_str());
            at.ok_or_else(|| "it is not logged yet".to_owned())
        });
        Self(logged.await)
    }

    /// What was logged from here to `end`.
    pub fn until(self, end: Self, node: &Node) -> Seen {
        Seen(node.access_log().drain(self.0 + 1..end.0).collect())
    }
}

impl Seen {
    /// Requests.
    pub fn requests(&self) -> usize {
        self.0.len()
    }

    /// Requests by method and kind, in the order of a pull: `HEAD manifest, 2 GET manifest`.
    pub fn asked(&self) -> String {
        let mut counts = BTreeMap::<_, usize>::new();
        for line in &self.0 {
            let kind = line["kind"].as_str().unwrap_or_default();
            let place = ["ping", "manifest", "blob"].iter().position(|known| *known == kind).unwrap_or(9);
            // HEAD comes before GET.
            let method = line["method"].as_str().unwrap_or_default();
            *counts.entry((place, method == "GET", method, kind)).or_default() += 1;
        }
        let told = counts.into_iter().map(|((_, _, method, kind), count)| match count {
            1 => format!("{method} {kind}"),
            count => format!("{count} {method} {kind}"),
        });
        told.collect::<Vec<_>>().join(", ")
    }

    /// The versions of HTTP, joined by a comma.
    pub fn http(&self) -> String {
        self.texts("http").into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Connections.
    pub fn connections(&self) -> usize {
        self.texts("peer").len()
    }

    /// Connections whose TLS session was resumed.
    pub fn resumed_sessions(&self) -> usize {
        let resumed = self.0.iter().filter(|line| line["tls_resumed"] == true);
        resumed.filter_map(|line| line["peer"].as_str()).collect::<BTreeSet<_>>().len()
    }

    /// What named the registry: `path`, `host`, `ns`, … for every request that named one.
    pub fn named_by(&self) -> String {
        self.texts("named_by").into_iter().collect::<Vec<_>>().join(", ")
    }

    /// The ranges of the requests that were answered 206.
    pub fn ranges(&self) -> Vec<String> {
        let partial = self.0.iter().filter(|line| line["status"] == 206);
        partial.filter_map(|line| Some(line["range"].as_str()?.to_owned())).collect()
    }

    /// What was refused, or failed while it was sent, one text each.
    pub fn refused(&self) -> Vec<String> {
        let bad = |line: &Value| line["status"].as_u64().is_some_and(|status| status >= 400);
        self.0.iter().filter(|line| bad(line) || line["end"] == "failed").map(Value::to_string).collect()
    }

    /// GETs of blobs.
    pub fn blobs(&self) -> usize {
        self.0.iter().filter(|line| line["method"] == "GET" && line["kind"] == "blob").count()
    }

    /// How often this blob was asked for.
    pub fn gets_of(&self, digest: &str) -> usize {
        self.0.iter().filter(|line| line["method"] == "GET" && line["reference"] == digest).count()
    }

    fn texts(&self, field: &str) -> BTreeSet<String> {
        self.0.iter().filter_map(|line| Some(line[field].as_str()?.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_told_by_method_and_kind_in_the_order_of_a_pull() {
        let line =
            |method: &str, kind: &str, peer: &str| json!({ "method": method, "kind": kind, "peer": peer });
        let seen = Seen(vec![
            line("GET", "blob", "127.0.0.1:1"),
            line("GET", "manifest", "127.0.0.1:2"),
            line("HEAD", "manifest", "127.0.0.1:2"),
            line("GET", "ping", "127.0.0.1:2"),
            line("GET", "blob", "127.0.0.1:2"),
        ]);
        assert_eq!(seen.asked(), "GET ping, HEAD manifest, GET manifest, 2 GET blob");
        assert_eq!((seen.requests(), seen.connections()), (5, 2));
    }
}
