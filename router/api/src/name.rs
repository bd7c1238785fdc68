//! Names: one type each, one grammar for all.
//!
//! A name is a DNS label (RFC 1123): 1 to 63 characters of `a-z`, `0-9` and `-`, not beginning or
//! ending with `-`. So a registry's name can be looked up from a host name and never escapes a path.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A text that is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: 1 to 63 of a-z, 0-9 and '-' are allowed, with no '-' at either end")]
pub struct NameError {
    /// What was to be named.
    pub what: &'static str,
    /// The offending text, cut to 80 characters.
    pub text: String,
}

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if fits { Ok(()) } else { Err(NameError { what, text: text.chars().take(80).collect() }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        // Hash and order are those of the text.
        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check($what, text)?;
                Ok(Self(Arc::from(text)))
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

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
    };
}

name!(
    /// A tenant's registry: the unit that is bound to a stamp.
    RegistryName,
    "registry"
);
name!(
    /// A deployment unit inside a region.
    StampName,
    "stamp"
);
name!(
    /// A storage account. What it is and how to reach it is in each node's own configuration.
    AccountName,
    "account"
);
name!(
    /// One machine or process of a stamp.
    NodeName,
    "node"
);
name!(
    /// The region that a router serves.
    RegionName,
    "region"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_labels_are_names() {
        for good in ["a", "contoso", "x-1", &"a".repeat(63)] {
            assert!(good.parse::<RegistryName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Contoso", "a.b", "a/b", "..", "a_b", "é", &"a".repeat(64)] {
            let error = bad.parse::<RegistryName>().expect_err(bad);
            assert!(error.to_string().contains("registry"), "{error}");
        }
    }
}
