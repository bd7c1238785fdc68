//! What became of one request or one pull.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a request or a pull ended. Ordered from good to bad: a pull has the worst outcome of its requests.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All bytes came, and their digest is the one that was asked for (where hashing is on).
    Ok,
    /// As `Ok`, after a body was cut: the rest was asked for by range, as the client does, or no byte of it was missing.
    Resumed,
    /// No connection could be made: refused, unreachable, or the name has no address.
    Refused,
    /// The TLS handshake failed.
    Tls,
    /// The server answered with a status that this request cannot use.
    Status,
    /// An answer that breaks HTTP, or that the request did not ask for (another range, too many bytes, no manifest).
    Protocol,
    /// The connection was reset, or lost before the answer's head came.
    Reset,
    /// The body ended cleanly before its announced length, and the client does not resume or gave up doing so.
    Short,
    /// A limit of the client passed without progress, or the pull's own limit.
    Timeout,
    /// All bytes came, and they are not those that were asked for.
    WrongDigest,
}

impl Outcome {
    /// Every outcome, good ones first.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Resumed,
        Self::Refused,
        Self::Tls,
        Self::Status,
        Self::Protocol,
        Self::Reset,
        Self::Short,
        Self::Timeout,
        Self::WrongDigest,
    ];

    /// The stable name in reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Resumed => "resumed",
            Self::Refused => "refused",
            Self::Tls => "tls",
            Self::Status => "status",
            Self::Protocol => "protocol",
            Self::Reset => "reset",
            Self::Short => "short",
            Self::Timeout => "timeout",
            Self::WrongDigest => "wrong_digest",
        }
    }

    /// Whether the client has what it asked for.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Ok | Self::Resumed)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something did not come: the outcome it counts as, and one sentence for a person.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// What it counts as; never a good one.
    pub outcome: Outcome,
    /// The HTTP status, where the outcome is [`Outcome::Status`].
    pub status: Option<u16>,
    /// What was asked, of whom, and what came instead.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_listed_once_from_good_to_bad_under_the_name_that_reports_use() {
        let mut sorted = Outcome::ALL;
        sorted.sort_unstable();
        assert_eq!(sorted, Outcome::ALL);
        for outcome in Outcome::ALL {
            let written = serde_json::to_string(&outcome).expect("a name");
            assert_eq!(written, format!("\"{outcome}\""));
        }
    }
}
