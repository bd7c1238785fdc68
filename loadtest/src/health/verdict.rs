//! From numbers to sentences: why a result may say more of this machine than of the server.

use super::FULL;
use crate::report::{Client, Summary};

/// What else is known of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) threads: usize,
    /// CPUs that this process may use.
    pub(crate) cores: u32,
    pub(crate) flows: Vec<FlowSeen>,
    /// Pulls that were held back at the bound of pulls under way, and the bound.
    pub(crate) held_back: u64,
    pub(crate) most_under_way: usize,
    /// Connections that could not be opened for want of something of this machine.
    pub(crate) starved: u64,
    /// Files that this process may open.
    pub(crate) file_limit: u64,
    /// Whether servers were watched.
    pub(crate) watched: bool,
    /// The congestion controls of the loopback, where some target is reached over it.
    pub(crate) loopback: Vec<String>,
}

/// One flow.
#[derive(Clone, Debug)]
pub(crate) struct FlowSeen {
    pub(crate) name: String,
    pub(crate) lateness: Summary,
    /// Latency of good pulls.
    pub(crate) latency: Summary,
}

/// Late by less is not worth a word, whatever the latency.
const LATE: f64 = 0.000_2;
/// A share of the latency that the start may add before it is told.
const LATE_SHARE: f64 = 0.05;
/// A timer that is late by more was waiting for the thread or for a CPU.
const LAG: f64 = 0.002;

/// Everything that was found. `full`: in how many of how many stretches of a second the busiest thread had no room left;
/// `busy`: CPUs in use on the whole machine.
pub(super) fn bottlenecks(
    client: &Client,
    (full, stretches): (u32, u32),
    busy: f64,
    files: u64,
    seen: &Seen,
) -> Vec<String> {
    let mut found = Vec::new();
    if client.busiest_thread >= FULL || full > 0 {
        let how = match client.busiest_thread {
            share if share >= FULL => format!("used {share:.2} of a core"),
            _ => format!("used more than {FULL} of a core in {full} of {stretches} seconds"),
        };
        let remedy = match seen.threads + 1 {
            more if more <= seen.cores as usize => format!("use --threads {more}"),
            _ => "use a machine with more cores, or less load".to_owned(),
        };
        found.push(format!("the busiest pulling thread {how}: the client may have been the limit; {remedy}"));
    }
    for FlowSeen { name, lateness, latency } in &seen.flows {
        if lateness.p99 > LATE && lateness.p99 > LATE_SHARE * latency.p50 && latency.count > 0 {
            found.push(format!(
                "of the flow {name:?} one pull in 100 was started {} late or more, beside a median latency of {}: that \
                 part is of this machine",
                time(lateness.p99),
                time(latency.p50)
            ));
        }
    }
    if client.timer_lag.p99 > LAG {
        found.push(format!(
            "one timer in 100 of the pulling threads was {} late or more: the threads, or the machine, were busy with other \
             work",
            time(client.timer_lag.p99)
        ));
    }
    if seen.held_back > 0 {
        found.push(format!(
            "{} pulls waited to be started, since {} were under way (--most-under-way); their latencies count from their \
             intended starts",
            seen.held_back, seen.most_under_way
        ));
    }
    if seen.starved > 0 {
        found.push(format!(
            "{} connections could not be opened, as this machine had no port, file or memory left for them (the failures say \
             which): they count as refused, and no server refused them",
            seen.starved
        ));
    }
    if files as f64 > 0.9 * seen.file_limit as f64 {
        found.push(format!(
            "{files} files and connections were open of {} that this process may open; raise it with ulimit -Hn",
            seen.file_limit
        ));
    }
    if client.other_cores > 0.25 * f64::from(seen.cores) {
        let who = if seen.watched {
            "beyond the servers watched"
        } else {
            "the servers included, if they run here"
        };
        found.push(format!(
            "other processes of this machine used {:.1} of {} cores, {who}",
            client.other_cores, seen.cores
        ));
    }
    if busy > 0.95 * f64::from(seen.cores) && seen.cores > 0 {
        found.push(format!("all cores of this machine were busy: {busy:.2} of {}", seen.cores));
    }
    if seen.loopback.iter().any(|congestion| congestion.starts_with("bbr")) {
        found.push(
            "TCP over the loopback has bbr congestion control, whose timers triple its cost; give it another with: ip route \
             replace table local local 127.0.0.0/8 dev lo proto kernel scope host src 127.0.0.1 congctl cubic, and the same \
             for 127.0.0.1"
                .to_owned(),
        );
    }
    found
}

fn time(seconds: f64) -> String {
    if seconds < 0.001 { format!("{:.0} µs", seconds * 1e6) } else { format!("{:.1} ms", seconds * 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen { threads: 1, cores: 4, file_limit: 1000, most_under_way: 100, ..Seen::default() }
    }

    fn summary(p50: f64, p99: f64) -> Summary {
        Summary { count: 100, p50, p99, ..Summary::default() }
    }

    #[test]
    fn a_client_with_room_left_is_no_bottleneck() {
        let flow =
            FlowSeen { name: "f".to_owned(), lateness: summary(0.0, 0.000_1), latency: summary(0.001, 0.1) };
        let client = Client { busiest_thread: 0.5, timer_lag: summary(0.0, 0.001), ..Client::default() };
        let seen = Seen { flows: vec![flow], loopback: vec!["cubic".to_owned()], ..seen() };
        assert_eq!(bottlenecks(&client, (0, 10), 1.0, 100, &seen), Vec::<String>::new());
    }

    #[test]
    fn each_bottleneck_is_told_with_its_number_and_a_remedy() {
        let none = Client::default();
        let one = |client: &Client, full, busy, files, seen: &Seen| {
            let found = bottlenecks(client, full, busy, files, seen);
            assert_eq!(found.len(), 1, "{found:?}");
            found.into_iter().next().expect("one")
        };
        let check = |said: String, parts: &[&str]| {
            for part in parts {
                assert!(said.contains(part), "{said:?} without {part:?}");
            }
        };
        let busiest = Client { busiest_thread: 0.97, ..Client::default() };
        check(one(&busiest, (9, 10), 0.0, 0, &seen()), &["0.97 of a core", "--threads 2"]);
        check(one(&none, (3, 10), 0.0, 0, &seen()), &["3 of 10 seconds"]);
        let late =
            FlowSeen { name: "f".to_owned(), lateness: summary(0.0, 0.001), latency: summary(0.005, 0.1) };
        let with_late = Seen { flows: vec![late], ..seen() };
        check(one(&none, (0, 0), 0.0, 0, &with_late), &["\"f\"", "1.0 ms late", "5.0 ms"]);
        let lagging = Client { timer_lag: summary(0.0, 0.005), ..Client::default() };
        check(one(&lagging, (0, 0), 0.0, 0, &seen()), &["5.0 ms late"]);
        check(one(&none, (0, 0), 0.0, 0, &Seen { held_back: 7, ..seen() }), &["7 pulls", "since 100"]);
        check(
            one(&none, (0, 0), 0.0, 0, &Seen { starved: 7, ..seen() }),
            &["7 connections", "no server refused"],
        );
        check(one(&none, (0, 0), 0.0, 950, &seen()), &["950", "of 1000"]);
        let others = Client { other_cores: 1.5, ..Client::default() };
        check(one(&others, (0, 0), 0.0, 0, &seen()), &["1.5 of 4 cores"]);
        check(one(&none, (0, 0), 3.9, 0, &seen()), &["3.90 of 4"]);
        let bbr = Seen { loopback: vec!["cubic".to_owned(), "bbr".to_owned()], ..seen() };
        check(one(&none, (0, 0), 0.0, 0, &bbr), &["bbr congestion control", "congctl cubic"]);
    }
}
