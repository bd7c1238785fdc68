//! How old an answer about a repository may be.

use std::time::Duration;

/// Ages, each a promise: nothing older is shown unless the `stale` ones say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// What a tag means, and a repository's list of referrers. Default 5 s.
    pub tag_ttl: Duration,
    /// That a repository owns a digest. Default 60 s.
    pub link_ttl: Duration,
    /// That something is not there. Default 2 s.
    pub negative_ttl: Duration,
    /// What a tag means, and that its repository owns the manifest, while storage does not answer. Such an answer
    /// carries a `Warning`. Default 1 h.
    pub stale_tag: Duration,
    /// That a repository owns a digest that is asked for by itself, while storage does not answer. So content that
    /// was taken from a repository in an outage may be served for this long. Default 10 min.
    pub stale_link: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            tag_ttl: Duration::from_secs(5),
            link_ttl: Duration::from_secs(60),
            negative_ttl: Duration::from_secs(2),
            stale_tag: Duration::from_secs(3600),
            stale_link: Duration::from_secs(600),
        }
    }
}
