//! What a node used in one bin of time, by default a minute, and for whom.

use serde::{Deserialize, Deserializer, Serialize};

use crate::RegistryName;

/// One bin of one process of a node. Bins are stretches of the wall's clock in UTC, aligned to multiples of their length
/// since 1970. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeBin {
    /// Counts the bins of this process from 1: with the node and its incarnation it names the bin, so that one that is
    /// told twice counts once.
    pub sequence: u64,
    /// The bin's start since 1970, divided by its length. It may come again, where a clock was set back.
    pub number: u64,
    /// Its length. Anything but 60 is scaled.
    pub bin_seconds: u32,
    /// CPU time, of all cores.
    #[serde(deserialize_with = "number")]
    pub busy_seconds: f64,
    /// The part of it that a hypervisor gave to others.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "is_zero")]
    pub steal_seconds: f64,
    /// Cores that the limit allowed.
    #[serde(deserialize_with = "number")]
    pub cores: f64,
    /// The part of the bin that was measured.
    #[serde(deserialize_with = "number")]
    pub observed_seconds: f64,
    /// The part of it in which new traffic was sent to the node, as the node sees it.
    #[serde(deserialize_with = "number")]
    pub in_rotation_seconds: f64,
    /// What was measured: `host`, `cgroup` or `process`.
    pub scope: String,
    /// Why it is not to be believed, a word each; nothing is wrong if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspect: Vec<String>,
    /// Who used most. With `other` it adds up to no more than `busy_seconds`; the rest is the node's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<RegistryBin>,
    /// All other registries together.
    #[serde(default, skip_serializing_if = "Used::is_nothing")]
    pub other: Used,
}

/// What one registry caused in a bin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegistryBin {
    /// The registry.
    pub registry: RegistryName,
    /// What it caused.
    #[serde(flatten)]
    pub used: Used,
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Used {
    /// CPU time.
    #[serde(deserialize_with = "number")]
    pub cpu_seconds: f64,
    /// Requests that ended.
    pub requests: u64,
    /// Body bytes that the cache had.
    pub hit_bytes: u64,
    /// Body bytes that it did not have.
    pub miss_bytes: u64,
    /// TLS handshakes with all that belongs to them.
    #[serde(skip_serializing_if = "is_none")]
    pub full_handshakes: u64,
    /// TLS handshakes that went on from an earlier session.
    #[serde(skip_serializing_if = "is_none")]
    pub resumed_handshakes: u64,
    /// Requests under way, on average: over HTTP/1.1, as many connections.
    #[serde(deserialize_with = "number")]
    pub flows: f64,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn is_none(value: &u64) -> bool {
    *value == 0
}

/// JSON has no NaN, and writes `null` in its place: that is a number that cannot be, not a report that cannot be read.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

impl NodeBin {
    /// The busy part of what the cores had while they were observed: 0 to 1 where nothing is suspect; 0 if nothing was.
    pub fn ratio(&self) -> f64 {
        let capacity = self.cores * self.observed_seconds;
        if capacity > 0.0 { self.busy_seconds / capacity } else { 0.0 }
    }

    /// CPU time that no registry caused.
    pub fn system_seconds(&self) -> f64 {
        let registries: f64 = self.registries.iter().map(|of| of.used.cpu_seconds).sum();
        (self.busy_seconds - registries - self.other.cpu_seconds).max(0.0)
    }
}

impl Used {
    /// Whether it is nothing at all.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another used.
    pub fn add(&mut self, other: &Self) {
        self.cpu_seconds += other.cpu_seconds;
        self.requests += other.requests;
        self.hit_bytes += other.hit_bytes;
        self.miss_bytes += other.miss_bytes;
        self.full_handshakes += other.full_handshakes;
        self.resumed_handshakes += other.resumed_handshakes;
        self.flows += other.flows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bin() -> NodeBin {
        let used = Used { cpu_seconds: 4.5, requests: 7, hit_bytes: 1 << 30, flows: 1.5, ..Used::default() };
        NodeBin {
            sequence: 3,
            number: 28_333_334,
            bin_seconds: 60,
            busy_seconds: 30.0,
            steal_seconds: 0.0,
            cores: 2.0,
            observed_seconds: 60.0,
            in_rotation_seconds: 60.0,
            scope: "host".into(),
            suspect: Vec::new(),
            registries: vec![RegistryBin { registry: "contoso".parse().unwrap(), used }],
            other: Used { cpu_seconds: 0.5, ..Used::default() },
        }
    }

    #[test]
    fn a_bin_is_read_as_it_was_written_and_adds_up() {
        let text = serde_json::to_string(&bin()).unwrap();
        assert_eq!(serde_json::from_str::<NodeBin>(&text).unwrap(), bin());
        assert_eq!((bin().ratio(), bin().system_seconds()), (0.25, 25.0));
    }

    #[test]
    fn what_the_next_version_adds_is_ignored_and_what_it_leaves_out_is_nothing() {
        let least = r#"{"sequence": 1, "number": 2, "bin_seconds": 60, "busy_seconds": 1, "cores": 1, "observed_seconds": 60,
            "in_rotation_seconds": 0, "scope": "pod", "later": [1], "registries": [{"registry": "a", "cpu_seconds": 1, "gpu": 2}]}"#;
        let bin: NodeBin = serde_json::from_str(least).unwrap();
        assert_eq!(
            (bin.scope.as_str(), bin.other, bin.registries[0].used.requests),
            ("pod", Used::default(), 0)
        );
    }

    #[test]
    fn a_number_that_cannot_be_does_not_make_a_report_unreadable() {
        let broken = NodeBin { busy_seconds: f64::NAN, ..bin() };
        let text = serde_json::to_string(&broken).unwrap();
        assert!(text.contains("\"busy_seconds\":null"), "{text}");
        assert!(serde_json::from_str::<NodeBin>(&text).unwrap().busy_seconds.is_nan());
    }
}
