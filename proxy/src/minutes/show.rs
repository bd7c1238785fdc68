//! The last bin, as metrics. Written by hand: the labels are of the registries that used most in that bin, and a recorder
//! would keep the series of all that ever did.

use std::fmt::Write;

use dataproxy_router_api::{NodeBin, Role, Used};

use super::Minutes;
use crate::admin::Identity;
use crate::metrics::METRICS;

impl Minutes {
    /// Appends the metrics of the bin that ended last, if it is the newest that can have ended by `now`, in seconds since
    /// 1970: an old one would pass for what is now.
    pub fn show(&self, identity: &Identity, now: u64, out: &mut String) {
        let last = self.last();
        let newest = |bin: &NodeBin| bin.number + 1 == now / u64::from(bin.bin_seconds.max(1));
        if let Some(bin) = last.filter(newest) {
            write(identity, &bin, out);
        }
    }
}

/// `1m`, or the length and that it is scaled.
fn length(bin_seconds: u32) -> String {
    if bin_seconds == 60 { "1m".to_owned() } else { format!("{bin_seconds}s scaled") }
}

fn write(identity: &Identity, bin: &NodeBin, out: &mut String) {
    let stamp = identity.stamp.as_ref().map_or("", |stamp| stamp.as_str());
    let pool = match (stamp, identity.role) {
        ("", _) => "front",
        (_, Role::All) => "all",
        (_, Role::Registry) => "registry",
        (_, Role::Dataproxy) => "dataproxy",
    };
    let (node, length) = (identity.name.as_str(), length(bin.bin_seconds));
    let labels = format!("stamp=\"{stamp}\",pool=\"{pool}\",node=\"{node}\",bin=\"{length}\"");
    let mut gauge = Gauge { labels: &labels, out };
    // A ratio that is not to be believed is not shown as one.
    if bin.suspect.is_empty() && bin.observed_seconds > 0.0 {
        let scope = format!("scope=\"{}\"", bin.scope);
        gauge.head("dataproxy_node_cpu_busy_ratio");
        gauge.value("dataproxy_node_cpu_busy_ratio", &scope, bin.ratio());
        gauge.one("dataproxy_node_cpu_steal_ratio", bin.steal_seconds / (bin.cores * bin.observed_seconds));
    }
    gauge.one("dataproxy_node_cpu_cores", bin.cores);
    gauge.one("dataproxy_node_cpu_observed_seconds", bin.observed_seconds);
    gauge.one("dataproxy_node_in_rotation_seconds", bin.in_rotation_seconds);
    gauge.head("dataproxy_node_cpu_suspect");
    for why in &bin.suspect {
        gauge.value("dataproxy_node_cpu_suspect", &format!("reason=\"{why}\""), 1.0);
    }
    let other = ("other", bin.other);
    let system = ("system", Used { cpu_seconds: bin.system_seconds(), ..Used::default() });
    let most = bin.registries.iter().map(|of| (of.registry.as_str(), of.used));
    let all: Vec<(&str, Used)> = most.chain([other, system]).collect();
    gauge.each("dataproxy_registry_bin_cpu_seconds", &all, |used| used.cpu_seconds);
    let registries = all.get(..all.len() - 1).unwrap_or_default();
    gauge.each("dataproxy_registry_bin_requests", registries, |used| used.requests as f64);
    gauge.each("dataproxy_registry_bin_flows", registries, |used| used.flows);
    gauge.pairs(
        "dataproxy_registry_bin_bytes",
        registries,
        "result",
        [("hit", |used| used.hit_bytes), ("miss", |used| used.miss_bytes)],
    );
    gauge.pairs(
        "dataproxy_registry_bin_tls_handshakes",
        registries,
        "kind",
        [("full", |used| used.full_handshakes), ("resumed", |used| used.resumed_handshakes)],
    );
}

/// One of the numbers of what was used.
type Count = fn(&Used) -> u64;

/// Writes gauges in the text format.
struct Gauge<'a> {
    labels: &'a str,
    out: &'a mut String,
}

impl Gauge<'_> {
    fn head(&mut self, name: &str) {
        let help = METRICS.iter().find(|metric| metric.name == name).map_or("", |metric| metric.text);
        let _ = writeln!(self.out, "\n# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn value(&mut self, name: &str, more: &str, value: f64) {
        let comma = if more.is_empty() { "" } else { "," };
        let _ = writeln!(self.out, "{name}{{{}{comma}{more}}} {value}", self.labels);
    }

    fn one(&mut self, name: &str, value: f64) {
        self.head(name);
        self.value(name, "", value);
    }

    fn each(&mut self, name: &str, registries: &[(&str, Used)], of: fn(&Used) -> f64) {
        self.head(name);
        for (registry, used) in registries {
            self.value(name, &format!("registry=\"{registry}\""), of(used));
        }
    }

    fn pairs(&mut self, name: &str, registries: &[(&str, Used)], label: &str, of: [(&str, Count); 2]) {
        self.head(name);
        for (registry, used) in registries {
            for (word, value) in of {
                let more = format!("registry=\"{registry}\",{label}=\"{word}\"");
                self.value(name, &more, value(used) as f64);
            }
        }
    }
}
