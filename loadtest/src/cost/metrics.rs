//! What a node says of its CPU, in Prometheus's text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). Reads only what is asked for: the sum of a name's series.

/// What is wanted of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeCpu {
    /// Seconds of CPU since the process began.
    pub seconds: f64,
    /// Cores that it may use, where it says so.
    pub cores: Option<f64>,
}

/// Counters of CPU seconds, the first that is there counts: of our nodes, and of client libraries for Go, Java, Python, Rust.
const CPU_SECONDS: [&str; 2] = ["dataproxy_cpu_seconds_total", "process_cpu_seconds_total"];
/// Gauges of cores: what Go's runtime schedules on.
const CORES: [&str; 1] = ["go_sched_gomaxprocs_threads"];

/// The CPU of a scrape, or nothing if it tells none.
pub fn node_cpu(text: &str) -> Option<NodeCpu> {
    let first = |names: &[&str]| names.iter().find_map(|name| sum(text, name));
    Some(NodeCpu { seconds: first(&CPU_SECONDS)?, cores: first(&CORES).filter(|cores| *cores > 0.0) })
}

/// The names that [`node_cpu`] looks for, for messages.
pub fn names() -> String {
    CPU_SECONDS.join(" or ")
}

/// The sum over all series of this name, or nothing if there is none.
pub fn sum(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix(name)?;
        let rest = if rest.starts_with('{') { after_labels(rest)? } else { rest };
        // The name goes on: another one.
        let value = rest.strip_prefix([' ', '\t'])?.split_ascii_whitespace().next()?;
        value.parse::<f64>().ok().filter(|value| value.is_finite())
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// What follows `{…}`; a value in quotes may hold brackets and escaped quotes.
fn after_labels(text: &str) -> Option<&str> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return text.get(at + 1..),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = concat!(
        "# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.\n",
        "# TYPE process_cpu_seconds_total counter\n",
        "process_cpu_seconds_total 12.5\n",
        "process_cpu_seconds_total_more 99\n",
        "go_sched_gomaxprocs_threads 4\n",
        "x{a=\"}\\\" 7 \\\\\",b=\"{\"} 3 1700000000000\n",
        "x{} 4e-1\n",
        "x\t1\r\n",
        "x NaN\n",
        "x{a=\"cut\n",
    );

    #[test]
    fn series_are_summed_by_their_whole_name_whatever_their_labels_hold() {
        assert_eq!(sum(TEXT, "x"), Some(4.4));
        assert_eq!(sum(TEXT, "process_cpu_seconds_total"), Some(12.5));
        assert_eq!(sum(TEXT, "process_cpu_seconds"), None);
        assert_eq!(sum(TEXT, "HELP"), None);
    }

    #[test]
    fn our_own_counter_is_taken_before_that_of_a_client_library() {
        assert_eq!(node_cpu(TEXT), Some(NodeCpu { seconds: 12.5, cores: Some(4.0) }));
        let ours = format!("{TEXT}dataproxy_cpu_seconds_total 3\n");
        assert_eq!(node_cpu(&ours).map(|cpu| cpu.seconds), Some(3.0));
        assert_eq!(node_cpu("up 1\n"), None);
    }
}
