//! The work that every server is given.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::stage::{Amount, Blobs};
use crate::plan::{Arrivals, Client, Flow, Plan, Popularity, Ranges, Reading};
use crate::seed::Blob;

/// Connections are made in it, and do not count.
const WARM_UP: Duration = Duration::from_millis(300);
const RANGE: u64 = 1 << 20;

/// How clients reach it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// HTTP/1.1 over TCP.
    Plain,
    /// HTTP/1.1 over TLS 1.3 with AES-128-GCM.
    Tls,
}

/// One kind of work: keep-alive connections that ask for one blob after the other, all of them warm.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Large blobs, one connection.
    C1,
    /// Large blobs, 8 connections.
    C8,
    /// Large blobs, 64 connections.
    C64,
    /// Small blobs, 64 connections.
    Small,
    /// 1 MiB ranges at random places of large blobs, 8 connections.
    Range,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Tls => "TLS",
        })
    }
}

impl Work {
    /// Every one, in the order of the report.
    pub const ALL: [Self; 5] = [Self::C1, Self::C8, Self::C64, Self::Small, Self::Range];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::C1 => "c1",
            Self::C8 => "c8",
            Self::C64 => "c64",
            Self::Small => "small",
            Self::Range => "range",
        }
    }

    /// In words.
    pub fn describe(self, amount: &Amount) -> String {
        let (what, connections) = (self.what(amount), self.connections());
        let plural = if connections == 1 { "" } else { "s" };
        format!("{what}, {connections} connection{plural}")
    }

    /// Whether its cost is by bytes, and not by requests.
    pub fn is_by_bytes(self) -> bool {
        matches!(self, Self::C1 | Self::C8 | Self::C64)
    }

    fn what(self, amount: &Amount) -> String {
        match self {
            Self::Small => format!("{} blobs", size(amount.small_size)),
            Self::Range => {
                format!("{} ranges of {} blobs", size(RANGE.min(amount.large_size)), size(amount.large_size))
            }
            _ => format!("{} blobs", size(amount.large_size)),
        }
    }

    fn connections(self) -> u32 {
        match self {
            Self::C1 => 1,
            Self::C8 | Self::Range => 8,
            Self::C64 | Self::Small => 64,
        }
    }

    /// The plan of one measurement at a server whose blobs are below `url`.
    pub(super) fn plan(self, url: &str, blobs: &Blobs, amount: &Amount, duration: Duration) -> Plan {
        let blobs = if self == Self::Small { &blobs.small } else { &blobs.large };
        let range = Ranges { count: 1, size: RANGE.min(amount.large_size) };
        let reading =
            Reading { hash: false, ranges: (self == Self::Range).then_some(range), ..Reading::default() };
        let flow = flow(self.as_str(), urls(url, blobs), self.connections(), Popularity::RoundRobin, reading);
        plan(self.describe(amount), WARM_UP, duration, flow)
    }
}

/// Asks for every blob once, and compares each with its digest.
pub(super) fn first_pass(url: &str, blobs: &Blobs) -> Plan {
    pass(url, blobs, true)
}

/// Asks for every blob once more, as it will be asked for: caches admit some things only the second time.
pub(super) fn second_pass(url: &str, blobs: &Blobs) -> Plan {
    pass(url, blobs, false)
}

fn pass(url: &str, blobs: &Blobs, hash: bool) -> Plan {
    let urls = [&blobs.large, &blobs.small].into_iter().flat_map(|blobs| urls(url, blobs)).collect();
    let reading = Reading { hash, ..Reading::default() };
    let flow = flow("warm-up", urls, 8, Popularity::Once, reading);
    plan("warm-up".to_owned(), Duration::ZERO, Duration::from_secs(120), flow)
}

fn urls(url: &str, blobs: &[Blob]) -> Vec<String> {
    blobs.iter().map(|blob| format!("{url}{}", blob.digest())).collect()
}

fn flow(name: &str, subjects: Vec<String>, pullers: u32, popularity: Popularity, reading: Reading) -> Flow {
    Flow {
        name: name.to_owned(),
        subjects,
        only: None,
        client: Client::Plain,
        arrivals: Arrivals::Closed { pullers, think: Duration::ZERO },
        popularity,
        begin: Duration::ZERO,
        end: None,
        pulls: None,
        reading,
    }
}

fn plan(title: String, warm_up: Duration, duration: Duration, flow: Flow) -> Plan {
    Plan {
        title,
        about: String::new(),
        seed: Some(1),
        threads: 1,
        warm_up,
        duration,
        stall_after: Duration::from_secs(30),
        flows: vec![flow],
        events: Vec::new(),
        limits: Vec::new(),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} byte"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_said_in_words_with_the_sizes_that_it_has() {
        let amount = Amount::default();
        let said = Work::ALL.map(|work| work.describe(&amount));
        assert_eq!(
            said,
            [
                "64 MiB blobs, 1 connection",
                "64 MiB blobs, 8 connections",
                "64 MiB blobs, 64 connections",
                "16 KiB blobs, 64 connections",
                "1 MiB ranges of 64 MiB blobs, 8 connections",
            ]
        );
    }

    #[test]
    fn a_plan_asks_for_the_blobs_of_its_size_by_url() {
        let blob = |hex: &str| Blob { sha256: hex.to_owned(), size: 1 };
        let blobs = Blobs { large: vec![blob("aa")], small: vec![blob("bb")] };
        let plan = |work: Work| {
            work.plan("http://h:1/v2/x/blobs/", &blobs, &Amount::default(), Duration::from_secs(2))
                .flows
                .remove(0)
        };
        assert_eq!(plan(Work::C8).subjects, ["http://h:1/v2/x/blobs/sha256:aa"]);
        assert_eq!(plan(Work::Small).subjects, ["http://h:1/v2/x/blobs/sha256:bb"]);
        assert_eq!(plan(Work::Range).reading.ranges, Some(Ranges { count: 1, size: 1 << 20 }));
        assert!(!plan(Work::C1).reading.hash && plan(Work::C1).reading.ranges.is_none());
        let checked = &first_pass("http://h:1/", &blobs).flows[0];
        assert!(
            checked.reading.hash && checked.subjects.len() == 2 && checked.popularity == Popularity::Once
        );
    }
}
