//! The zone: its name, its servers, how long its answers are valid.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::rr::Name;
use serde::Deserialize;

/// The longest name of a registry below a zone, with its region, has to fit 253 characters.
const LONGEST_ZONE: usize = 100;

/// The zone as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneSettings {
    /// The domain, such as `registry.example`.
    pub name: String,
    /// How long a positive answer is valid, in seconds. 5 unless set.
    #[serde(default = "default_ttl")]
    pub ttl_seconds: u32,
    /// How long it is valid that there is no such name or no such address, in seconds. 2 unless set.
    #[serde(default = "default_negative_ttl")]
    pub negative_ttl_seconds: u32,
    /// The zone's servers: the routers. Without any, `ns1.dns.<zone>` without an address.
    #[serde(default)]
    pub name_servers: Vec<NameServer>,
}

fn default_ttl() -> u32 {
    5
}

fn default_negative_ttl() -> u32 {
    2
}

impl ZoneSettings {
    /// The usual settings of a zone.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ttl_seconds: default_ttl(),
            negative_ttl_seconds: default_negative_ttl(),
            name_servers: Vec::new(),
        }
    }
}

/// A server of the zone, as its parent zone names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameServer {
    /// Its name; below the zone it is best below `dns.<zone>`, where no registry can be.
    pub name: String,
    /// Its addresses, where its name lies below the zone.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
}

/// Settings that are no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// The domain cannot be.
    #[error("the zone {0:?} is not valid: a domain such as registry.example, of up to 100 characters, is")]
    Zone(String),
    /// A server's name cannot be.
    #[error("the name server {0:?} is not valid: a host name such as ns1.dns.registry.example is")]
    NameServer(String),
    /// A server would hide a registry.
    #[error(
        "the name server {0:?} has the name of a registry; a name such as ns1.dns.<zone>, or one outside the zone, is right"
    )]
    HidesRegistry(String),
    /// A time to live that resolvers do not take.
    #[error("a TTL of {0:?} is too long: a day is the most")]
    Ttl(Duration),
}

/// A zone that can be served.
#[derive(Clone, Debug)]
pub struct Zone {
    pub(super) name: Name,
    pub(super) ttl: u32,
    pub(super) negative_ttl: u32,
    pub(super) servers: Vec<(Name, Vec<IpAddr>)>,
}

impl Zone {
    /// The zone of these settings.
    ///
    /// # Errors
    /// [`ZoneError`]
    pub fn new(settings: &ZoneSettings) -> Result<Self, ZoneError> {
        let text = settings.name.trim_end_matches('.').to_ascii_lowercase();
        let name = host(&text).filter(|_| text.len() <= LONGEST_ZONE);
        let name = name.ok_or_else(|| ZoneError::Zone(settings.name.clone()))?;
        for ttl in [settings.ttl_seconds, settings.negative_ttl_seconds] {
            if ttl > 86_400 {
                return Err(ZoneError::Ttl(Duration::from_secs(ttl.into())));
            }
        }
        let mut servers = Vec::new();
        for server in &settings.name_servers {
            let given = server.name.trim_end_matches('.').to_ascii_lowercase();
            let found = host(&given).ok_or_else(|| ZoneError::NameServer(server.name.clone()))?;
            if name.zone_of(&found) && found.num_labels() <= name.num_labels() + 1 {
                return Err(ZoneError::HidesRegistry(server.name.clone()));
            }
            servers.push((found, server.addresses.clone()));
        }
        if servers.is_empty() {
            let first = host(&format!("ns1.dns.{text}"));
            servers.push((first.ok_or_else(|| ZoneError::Zone(settings.name.clone()))?, Vec::new()));
        }
        Ok(Self { name, ttl: settings.ttl_seconds, negative_ttl: settings.negative_ttl_seconds, servers })
    }

    /// A name below the zone, labels first to last; `None` if it would be too long.
    pub(super) fn below(&self, labels: &[&str]) -> Option<Name> {
        Name::from_labels(labels.iter().map(|label| label.as_bytes()))
            .ok()
            .and_then(|labels| labels.append_domain(&self.name).ok())
    }
}

/// An absolute name of labels as host names have them.
fn host(text: &str) -> Option<Name> {
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.split('.').all(fits).then(|| Name::from_ascii(format!("{text}.")).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_served_are_refused_with_what_is_right() {
        let zone = |text: &str| Zone::new(&ZoneSettings::new(text));
        assert_eq!(zone("Registry.Test.").unwrap().name.to_ascii(), "registry.test.");
        for bad in ["", ".", "a..b", "a b", "-a.test", "ü.test", &"a.".repeat(60)] {
            assert!(matches!(zone(bad), Err(ZoneError::Zone(_))), "{bad}");
        }
        let with = |name: &str| {
            let server = NameServer { name: name.into(), addresses: Vec::new() };
            Zone::new(&ZoneSettings { name_servers: vec![server], ..ZoneSettings::new("registry.test") })
        };
        assert!(matches!(with("ns1.registry.test"), Err(ZoneError::HidesRegistry(_))));
        assert!(matches!(with("registry.test"), Err(ZoneError::HidesRegistry(_))));
        assert!(matches!(with("a b"), Err(ZoneError::NameServer(_))));
        for good in ["ns1.dns.registry.test", "ns1.elsewhere.test"] {
            assert_eq!(with(good).unwrap().servers[0].0.to_ascii(), format!("{good}."));
        }
        let long = ZoneSettings { ttl_seconds: 100_000, ..ZoneSettings::new("registry.test") };
        assert!(matches!(Zone::new(&long), Err(ZoneError::Ttl(_))));
    }
}
