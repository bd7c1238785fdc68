//! What the run cost: the servers' CPU, the nodes' own figures, and this process.

use serde::{Deserialize, Serialize};

use super::Summary;

/// A local server, by its process and all that descend from it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Server {
    /// What it is called.
    pub name: String,
    /// Seconds of CPU in user code, after the warm-up.
    pub user: f64,
    /// Seconds of CPU in the kernel.
    pub system: f64,
    /// Seconds that CPU, bytes and requests were counted over: from the end of the warm-up until all pulls had ended, those that had
    /// begun in the warm-up too. 0 in files of older versions.
    #[serde(default)]
    pub seconds: f64,
    /// Seconds of CPU per GiB of bodies; absent where too few came to say.
    pub per_gib: Option<f64>,
    /// Seconds of CPU per request.
    pub per_request: Option<f64>,
    /// The highest resident memory seen, bytes.
    pub peak_rss: u64,
    /// Cores in use, over time.
    pub cores: Vec<Point>,
}

/// A node, by its `/metrics`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Node {
    /// Where it was read.
    pub url: String,
    /// Its CPU in cores, over time.
    pub cores: Vec<Point>,
    /// Share of the cores that it has, over time; empty where it does not say how many it has.
    pub utilisation: Vec<Point>,
    /// Seconds of CPU after the warm-up.
    pub cpu: f64,
    /// How often it could not be read.
    pub missed: u64,
}

/// One value at one time.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Point {
    /// When.
    pub at: f64,
    /// What.
    pub value: f64,
}

/// How the load's own process fared.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Client {
    /// Seconds of CPU after the warm-up, all threads.
    pub cpu: f64,
    /// The busiest thread's share of one core.
    pub busiest_thread: f64,
    /// How late a timer of a pulling thread fired.
    pub timer_lag: Summary,
    /// The most connections open at once.
    pub peak_connections: u64,
    /// Cores that the rest of the machine used, beyond this process and the servers watched.
    pub other_cores: f64,
    /// Why the numbers may say more of this process than of the server; empty if nothing was found.
    pub bottlenecks: Vec<String>,
}
