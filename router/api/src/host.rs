//! Names by which clients know a registry that is not of our zone: `docker.io`, `registry.corp.example:5000`.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name in bytes: a DNS name and a port.
const LENGTH_MAX: usize = 253 + 6;

/// A registry's host as clients write it in an image's name: lower case, perhaps with a port. It is only ever compared
/// with what a request says; nothing dials it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistryHost(String);

/// A text that is not a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "host {0:?} is not valid: a lower-case DNS name or IP address, perhaps with a port, is allowed, such as docker.io"
)]
pub struct HostError(String);

impl RegistryHost {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// Hash and order are those of the text.
impl Borrow<str> for RegistryHost {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for RegistryHost {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
            _ => (text, None),
        };
        let fits = text.len() <= LENGTH_MAX && port.is_none_or(is_port) && (is_dns(name) || is_ipv6(name));
        if fits { Ok(Self(text.to_owned())) } else { Err(HostError(text.chars().take(80).collect())) }
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0 && port.to_string() == text)
}

fn is_dns(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
    name.split('.').all(is_label)
}

fn is_ipv6(name: &str) -> bool {
    let inside = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok())
}

impl TryFrom<String> for RegistryHost {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl From<RegistryHost> for String {
    fn from(host: RegistryHost) -> String {
        host.0
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_with_or_without_a_port_are_names_of_a_registry() {
        for good in ["docker.io", "localhost", "localhost:5000", "10.0.0.1:5000", "[::1]:5000", "[fd00::1]"] {
            assert_eq!(good.parse::<RegistryHost>().expect(good).as_str(), good);
        }
        for bad in [
            "",
            ".",
            "docker.io.",
            "Docker.io",
            "https://docker.io",
            "docker.io/library",
            "a..b",
            "a:",
            "a:0",
            "a:070",
            "a:65536",
            "a:b",
            "::1",
            "[::1",
            "[x]",
            "u@a",
            "a b",
            "é.io",
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<RegistryHost>().is_err(), "{bad:?}");
        }
    }
}
