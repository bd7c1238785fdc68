//! Names of repositories and tags, in the grammar of the OCI distribution-spec ("Pulling manifests").

use std::fmt;
use std::str::FromStr;

/// Longest name of a repository; clients join it with a host and many stop at 255 characters.
const REPOSITORY_MAX: usize = 255;
/// Longest tag.
const TAG_MAX: usize = 128;

/// A text that names no repository or tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {allowed}")]
pub struct NameError {
    what: &'static str,
    text: String,
    allowed: &'static str,
}

/// A repository inside a registry, such as `team/app`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository(String);

/// A tag, such as `v1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl FromStr for Repository {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= REPOSITORY_MAX && text.split('/').all(is_component) {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError {
            what: "repository",
            text: text.chars().take(80).collect(),
            allowed: "1 to 255 characters, parts of a-z and 0-9 joined by '/', inside a part also '.', '_', '__' or '-'",
        })
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separators =
        text.split(|c: char| c.is_ascii() && alphanumeric(c as u8)).filter(|part| !part.is_empty());
    let ends = text.bytes().next().is_some_and(alphanumeric) && text.bytes().last().is_some_and(alphanumeric);
    ends && separators.all(|part| matches!(part, "." | "_" | "__") || part.bytes().all(|b| b == b'-'))
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let fits = (1..=TAG_MAX).contains(&text.len())
            && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
            && text.bytes().next().is_some_and(word);
        if fits {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError {
            what: "tag",
            text: text.chars().take(80).collect(),
            allowed: "1 to 128 of letters, digits, '_', '.' and '-', not beginning with '.' or '-'",
        })
    }
}

impl Repository {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_follow_the_distribution_grammar() {
        for good in ["a", "team/app", "a.b_c__d-e---f/0", &"a".repeat(255)] {
            assert!(good.parse::<Repository>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "..",
            "a/../b",
            "A",
            "a..b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "é",
            "a:b",
            &"a".repeat(256),
        ] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_follow_the_distribution_grammar() {
        for good in ["v1", "_", "V1.0-rc_2", &"a".repeat(128)] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "a/b", "a b", "é", "a\n", &"a".repeat(129)] {
            let error = bad.parse::<Tag>().expect_err(bad).to_string();
            assert!(error.contains("tag") && error.contains("1 to 128"), "{error}");
        }
    }
}
