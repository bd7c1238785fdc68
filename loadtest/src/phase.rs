//! The parts of a pull that are timed.

use serde::{Deserialize, Serialize};

/// One timed part. A pull passes some of them many times (each connection, each blob) and the last one once.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A host name to its addresses. Not passed when the target is an address.
    Resolve,
    /// TCP: from the first SYN to an open connection.
    Connect,
    /// TLS: from the hello to the first byte that may be sent.
    Tls,
    /// From the challenge to a token, its connection included.
    Token,
    /// One manifest request, HEAD or GET: from before its connection to its last byte.
    Manifest,
    /// One blob request: from before its connection to the first byte of the body.
    FirstByte,
    /// One blob: from before its first connection to its last byte, redirects and resumes included.
    Blob,
    /// The whole pull: from its *intended* start to its end.
    Pull,
}

impl Phase {
    /// Every phase, in the order of a pull.
    pub const ALL: [Self; 8] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Token,
        Self::Manifest,
        Self::FirstByte,
        Self::Blob,
        Self::Pull,
    ];

    /// The stable name in reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Token => "token",
            Self::Manifest => "manifest",
            Self::FirstByte => "first_byte",
            Self::Blob => "blob",
            Self::Pull => "pull",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_listed_once_in_the_order_of_a_pull_under_the_name_that_reports_use() {
        let mut sorted = Phase::ALL;
        sorted.sort_unstable();
        assert_eq!(sorted, Phase::ALL);
        for phase in Phase::ALL {
            assert_eq!(serde_json::to_string(&phase).expect("a name"), format!("\"{}\"", phase.as_str()));
        }
    }
}
