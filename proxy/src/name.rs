//! Names inside a registry: repositories, tags and references. Parsed once, safe in a path from then on.
//!
//! Grammar: OCI distribution-spec 1.1, "Pulling manifests". A component begins and ends with a lower-case letter or
//! digit, so no name can be `..`, be empty, or look like one of the storage layout's own `_` folders.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use dataproxy_cache::{Digest, DigestError};

/// Longest repository name in bytes: what clients allow.
pub const REPOSITORY_MAX: usize = 255;
/// Longest tag in bytes.
pub const TAG_MAX: usize = 128;

/// A repository's name, such as `team/app`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(Arc<str>);

/// A text that is not a repository's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a repository is 1 to 255 characters of lower-case components such as team/app: a-z and 0-9, joined inside by \
     '.', '_', '__' or '-'"
)]
pub struct RepositoryError;

impl Repository {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Splits off the first component; `None` if it is the only one.
    pub fn split_first(&self) -> Option<(&str, Repository)> {
        let (first, rest) = self.0.split_once('/')?;
        Some((first, Self(Arc::from(rest))))
    }
}

impl FromStr for Repository {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        if text.len() <= REPOSITORY_MAX && text.split('/').all(is_component) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(RepositoryError)
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separator: &[u8] = b"-";
    let mut rest = text.as_bytes();
    loop {
        let word = rest.iter().take_while(|b| is_word(**b)).count();
        let joined =
            matches!(separator, [b'.'] | [b'_'] | [b'_', b'_']) || separator.iter().all(|b| *b == b'-');
        if word == 0 || !joined {
            return false;
        }
        rest = rest.get(word..).unwrap_or_default();
        if rest.is_empty() {
            return true;
        }
        let length = rest.iter().take_while(|b| !is_word(**b)).count();
        (separator, rest) = rest.split_at(length);
    }
}

/// A tag, such as `v1`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

/// A text that is not a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag is 1 to 128 of letters, digits, '_', '.' and '-', not beginning with '.' or '-'")]
pub struct TagError;

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let fits =
            (1..=TAG_MAX).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(['.', '-']);
        if fits { Ok(Self(Arc::from(text))) } else { Err(TagError) }
    }
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A name that may be moved.
    Tag(Tag),
    /// The content itself.
    Digest(Digest),
}

/// A text that is neither a tag nor a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It has no `:`, so it was meant as a tag.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// It has a `:`, so it was meant as a digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

macro_rules! prints_as_it_was_read {
    ($($type:ident),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
prints_as_it_was_read!(Repository, Tag);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_specifications_names_are_repositories() {
        for good in ["a", "0", "team/app", "a.b_c__d-e---f/g", "a/b/c/d", &"a".repeat(255)] {
            assert_eq!(good.parse::<Repository>().expect(good).as_str(), good);
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a/.",
            "A",
            "a/B",
            "_a",
            "a_",
            "a___b",
            "a..b",
            "a._b",
            "-a",
            "a-",
            "a b",
            "a%2fb",
            "a\\b",
            "a\0",
            "é",
            "_layers",
            "a/_manifests",
            "a:b",
            "a@b",
            &"a".repeat(256),
        ] {
            assert_eq!(bad.parse::<Repository>(), Err(RepositoryError), "{bad:?}");
        }
    }

    #[test]
    fn only_the_specifications_tags_are_tags() {
        for good in ["v1", "_", "latest", "A.b-c_d", &"x".repeat(128)] {
            assert_eq!(good.parse::<Tag>().expect(good).as_str(), good);
        }
        for bad in ["", ".", "..", ".a", "-a", "a/b", "a:b", "a%20", "a b", "é", "a\0", &"x".repeat(129)] {
            assert_eq!(bad.parse::<Tag>(), Err(TagError), "{bad:?}");
        }
    }

    #[test]
    fn a_colon_decides_between_tag_and_digest() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert!(matches!(digest.parse(), Ok(Reference::Digest(_))));
        assert!(matches!("v1".parse(), Ok(Reference::Tag(_))));
        assert!(matches!("sha256:xyz".parse::<Reference>(), Err(ReferenceError::Digest(_))));
        assert!(matches!("..".parse::<Reference>(), Err(ReferenceError::Tag(_))));
    }

    #[test]
    fn the_first_component_splits_off_only_where_something_is_left() {
        let name: Repository = "contoso/team/app".parse().expect("valid");
        let (first, rest) = name.split_first().expect("three components");
        assert_eq!((first, rest.as_str()), ("contoso", "team/app"));
        assert!("contoso".parse::<Repository>().expect("valid").split_first().is_none());
    }
}
