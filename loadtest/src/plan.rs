//! What a run does, from the command line or from a scenario file (TOML), and written into its report.
//!
//! All a run does follows from its plan, its seed and the answers that come. Times are texts such as `30s` or `1m30s`;
//! sizes are bytes.

mod arrivals;
mod limit;
#[cfg(test)]
mod properties;
pub(crate) mod text;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use arrivals::{Arrivals, Step};
pub use limit::{Limit, LimitError, Measure, ShortLimitError};

/// A whole run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Names the run in its report.
    pub title: String,
    /// What the run shows, in a sentence or two.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Of every random choice. Drawn when the plan does not say, and written into the report either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Threads that pull, each with its own connections.
    #[serde(default = "one_thread")]
    pub threads: u16,
    /// How long pulls are made and not counted.
    #[serde(default, with = "text::duration")]
    pub warm_up: Duration,
    /// How long pulls that count are started, after the warm-up. What runs at the end is waited for.
    #[serde(default = "ten_seconds", with = "text::duration")]
    pub duration: Duration,
    /// A run in which nothing arrives and nothing ends for so long, while something is under way, is stopped and fails.
    #[serde(default = "half_a_minute", with = "text::duration")]
    pub stall_after: Duration,
    /// What is pulled, how, and when. At least one; all at the same time.
    #[serde(rename = "flow", default)]
    pub flows: Vec<Flow>,
    /// What is done to the servers meanwhile.
    #[serde(rename = "event", default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// What the result must hold to, else the run fails.
    #[serde(rename = "limit", default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
}

/// One stream of pulls.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Names it in the report and in limits.
    pub name: String,
    /// What it pulls, as [`crate::subject`] reads it; empty: what the command line names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// Takes only the subjects of this registry (the part before the first `/` of the path), of those of the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// Whose ways it has.
    #[serde(default)]
    pub client: Client,
    /// When pulls start.
    pub arrivals: Arrivals,
    /// Which subject each pull takes.
    #[serde(default)]
    pub popularity: Popularity,
    /// When it begins, after the start of the run (warm-up included).
    #[serde(default, with = "text::duration")]
    pub begin: Duration,
    /// When it stops starting pulls, after the start of the run; absent: with the run.
    #[serde(default, with = "text::maybe_duration", skip_serializing_if = "Option::is_none")]
    pub end: Option<Duration>,
    /// The most pulls that it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulls: Option<u64>,
    /// How each pull reads.
    #[serde(default)]
    pub reading: Reading,
}

/// The client whose requests, connections and retries are made.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Client {
    /// dockerd's own puller: ping, a new connection for each request, three layers at once, a cut resumed after a pause.
    Docker,
    /// containerd: keep-alive, three layers at once, a clean cut resumed at once. Also docker from 29 on.
    #[default]
    Containerd,
    /// skopeo, podman and CRI-O: keep-alive, six layers at once, a cut resumed.
    ContainersImage,
    /// None of them: keep-alive, one request after the other, nothing resumed or retried. What wrk does.
    Plain,
}

/// Which subject a pull takes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Popularity {
    /// One after the other, over and over.
    #[default]
    RoundRobin,
    /// Each subject once; the flow ends with them.
    Once,
    /// All the same likely.
    Uniform,
    /// The k-th registry, the k-th repository in it and the k-th subject in that with a weight of `1/k^exponent`.
    Zipf {
        /// 0 is uniform; 0.9 to 1.1 is what is seen of registries.
        exponent: f64,
    },
    /// By the weights in the file of subjects.
    Weighted,
}

/// How a pull reads what it asks for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reading {
    /// Whether every body is hashed and compared with its digest. Off: bodies are dropped, by plain HTTP inside the kernel.
    pub hash: bool,
    /// Bytes per second that each body is read with at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Layers asked for at once; absent: what the client does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers_at_once: Option<u16>,
    /// containerd from 2.1 on with `concurrent_layer_fetch_buffer`: each layer is read in chunks of so many bytes, several at
    /// once, by ranges without an end that are hung up on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk: Option<u64>,
    /// Lazy pulls (stargz, overlaybd): of each layer only so many closed ranges are read, at random places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Ranges>,
    /// A pull that takes longer counts as a timeout.
    #[serde(with = "text::duration")]
    pub timeout: Duration,
}

/// Closed ranges at random places of a blob.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// How many of each blob.
    pub count: u32,
    /// Bytes of each.
    pub size: u64,
}

/// A command that is run at its time, by `sh -c`; drawn into the plots.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// After the start of the run (warm-up included).
    #[serde(with = "text::duration")]
    pub at: Duration,
    /// What it is called in the report.
    pub name: String,
    /// What is run. A run whose command fails, fails.
    pub run: String,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            hash: true,
            rate: None,
            layers_at_once: None,
            chunk: None,
            ranges: None,
            timeout: Duration::from_secs(300),
        }
    }
}

fn one_thread() -> u16 {
    1
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        title = "a herd"
        duration = "1m30s"
        [[flow]]
        name = "herd"
        client = "docker"
        arrivals = { kind = "poisson", rate = 2.5 }
        popularity = { kind = "zipf", exponent = 1.0 }
        reading = { hash = false, rate = 1000000, ranges = { count = 3, size = 4096 }, timeout = "20s" }
        [[event]]
        at = "5s"
        name = "drain"
        run = "true"
        [[limit]]
        flow = "herd"
        measure = "p99"
        phase = "pull"
        at_most = 0.5
    "#;

    #[test]
    fn a_scenario_file_says_the_same_after_it_was_written_and_read_again() {
        let plan: Plan = toml::from_str(TEXT).expect("valid");
        assert_eq!(plan.duration, Duration::from_secs(90));
        assert_eq!(plan.flows[0].reading.timeout, Duration::from_secs(20));
        assert_eq!(plan.flows[0].arrivals, Arrivals::Poisson { rate: 2.5 });
        let again: Plan = toml::from_str(&toml::to_string(&plan).expect("TOML")).expect("valid");
        assert_eq!(again, plan);
        let json: Plan = serde_json::from_str(&serde_json::to_string(&plan).expect("JSON")).expect("valid");
        assert_eq!(json, plan);
    }

    #[test]
    fn a_word_that_is_not_known_is_refused_by_name() {
        for (wrong, right) in [("rat = 1000000", "rat"), ("kind = \"poison\"", "poison")] {
            let text = TEXT.replace("rate = 1000000", wrong).replace("kind = \"poisson\"", wrong);
            let error = toml::from_str::<Plan>(&text).expect_err(wrong).to_string();
            assert!(error.contains(right), "{error}");
        }
    }
}
