//! Which accounts hold a registry's bytes, and where in them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::AccountName;

/// Longest prefix in bytes: a blob's name has at most 1024 on Azure, and a link's name needs its part.
const PREFIX_MAX: usize = 256;
/// What follows a prefix in every name. A prefix that held it would put one registry's tree inside another's.
const LAYOUT: &str = "docker/registry/v2/";

/// What comes before `docker/registry/v2/` in the names of a registry's objects, the container not included.
///
/// Empty, or ending with `/`. One leading slash is a part of the name: `/` gives `<container>//docker/…`, which older
/// CNCF distribution and ACR write. Between slashes are letters, digits, `-`, `_` and `.`, never ending with `.`, so
/// that no name leaves its container. No prefix holds `docker/registry/v2/`: two registries have the same tree or
/// trees without a name in common.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(Arc<str>);

/// A text that is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "prefix {text:?} is not valid: {reason}; allowed are \"\", \"/\", \"team-a/\" or \"/team-a/\": letters, digits, '-', '_' and '.' between slashes, with a '/' at the end"
)]
pub struct PrefixError {
    /// The offending text, cut to 80 characters.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Prefix {
    /// The prefix as it stands in names.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self(Arc::from(""))
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        match fault(text) {
            None => Ok(Self(Arc::from(text))),
            Some(reason) => Err(PrefixError { text: text.chars().take(80).collect(), reason }),
        }
    }
}

fn fault(text: &str) -> Option<&'static str> {
    if text.is_empty() || text == "/" {
        return None;
    }
    if text.len() > PREFIX_MAX {
        return Some("it has more than 256 bytes");
    }
    let Some(segments) = text.strip_suffix('/') else { return Some("it does not end with '/'") };
    let segments = segments.strip_prefix('/').unwrap_or(segments);
    for segment in segments.split('/') {
        if segment.is_empty() {
            return Some("there is nothing between two slashes");
        }
        if segment.ends_with('.') {
            return Some("a part of it is '.', '..' or ends with '.'");
        }
        if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return Some("it has a character that is not allowed");
        }
    }
    if format!("/{text}").contains(&format!("/{LAYOUT}")) {
        return Some("it holds docker/registry/v2/, which comes after it");
    }
    None
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> String {
        prefix.0.as_ref().to_owned()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// One place that holds all of a registry's content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    /// The storage account.
    pub account: AccountName,
    /// The container (a folder, for a local account).
    pub container: String,
    /// What comes before `docker/registry/v2/` in names.
    #[serde(default, skip_serializing_if = "Prefix::is_empty")]
    pub prefix: Prefix,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.account, self.container, self.prefix)
    }
}

/// The storage that holds a registry's content. Separate from the binding: a re-bind copies nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The storage account that is asked first, or the upstream registry.
    pub account: AccountName,
    /// The container (a folder, for a local account) that holds the registry's content. Left out, which reads as
    /// empty, for an account that has no containers: an upstream registry.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// What comes before `docker/registry/v2/` in names.
    #[serde(default, skip_serializing_if = "Prefix::is_empty")]
    pub prefix: Prefix,
    /// Other accounts that hold the same content, all of it, in the order in which they are asked while the first
    /// cannot answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<Location>,
}

impl Placement {
    /// A placement without copies, with no prefix.
    pub fn new(account: AccountName, container: impl Into<String>) -> Self {
        Self { account, container: container.into(), prefix: Prefix::default(), copies: Vec::new() }
    }

    /// The place that is asked first.
    pub fn own(&self) -> Location {
        let (account, container) = (self.account.clone(), self.container.clone());
        Location { account, container, prefix: self.prefix.clone() }
    }

    /// Every place, the one that is asked first before its copies.
    pub fn locations(&self) -> impl Iterator<Item = Location> + '_ {
        std::iter::once(self.own()).chain(self.copies.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_never_leaves_its_container_nor_enters_another_registrys_tree() {
        for good in
            ["", "/", "team-a/", "/team-a/", "a/b/c_d.e/", "docker/", "docker/registry/", "v2/docker/"]
        {
            assert_eq!(good.parse::<Prefix>().expect(good).as_str(), good);
        }
        for (bad, reason) in [
            ("team-a", "does not end"),
            ("/team-a", "does not end"),
            ("//", "nothing between"),
            ("//a/", "nothing between"),
            ("a//b/", "nothing between"),
            ("../", "'..'"),
            ("a/../b/", "'..'"),
            ("./", "'.'"),
            ("a./", "'.'"),
            ("a\u{0}/", "not allowed"),
            ("a\n/", "not allowed"),
            ("a b/", "not allowed"),
            ("a%2e/", "not allowed"),
            ("a\\b/", "not allowed"),
            ("é/", "not allowed"),
            ("docker/registry/v2/", "comes after it"),
            ("/docker/registry/v2/repositories/x/", "comes after it"),
            ("a/docker/registry/v2/blobs/", "comes after it"),
            (&format!("{}/", "a".repeat(256)), "256 bytes"),
        ] {
            let error = bad.parse::<Prefix>().expect_err(bad);
            assert!(error.reason.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_placement_names_its_own_place_before_its_copies() {
        let placement: Placement = serde_json::from_str(
            r#"{"account":"one","container":"c","copies":[{"account":"two","container":"d","prefix":"/"}]}"#,
        )
        .expect("a placement");
        let shown: Vec<String> = placement.locations().map(|place| place.to_string()).collect();
        assert_eq!(shown, ["one:c/", "two:d//"]);
        let text = serde_json::to_string(&Placement::new("one".parse().expect("a name"), "c")).expect("JSON");
        assert_eq!(text, r#"{"account":"one","container":"c"}"#);
    }
}
