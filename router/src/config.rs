//! The router's settings: one TOML file.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dataproxy_router_api::RegionName;
use serde::Deserialize;

use crate::api::Role;

/// Everything that a router is told at its start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The region. A router serves one.
    pub region: RegionName,
    /// The API.
    #[serde(default)]
    pub api: Api,
    /// Where the state lies.
    pub store: Store,
    /// Who may use the API. Everybody as an administrator if there are none, which only loopback addresses allow.
    #[serde(default)]
    pub tokens: Vec<Token>,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
}

/// The API.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Where it listens.
    pub listen: SocketAddr,
}

impl Default for Api {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 7000)) }
    }
}

/// Where the state lies.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Store {
    /// In one file, which this router alone has open.
    Embedded {
        /// The file. Made if absent; its folder has to be there.
        path: PathBuf,
    },
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { path } => write!(f, "embedded, {}", path.display()),
        }
    }
}

/// Somebody who may use the API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Who, as the audit shows them.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The file with the token.
    pub file: PathBuf,
}

/// What is logged.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important level: `error`, `warn`, `info`, `debug` or `trace`; by module, as `info,dataproxy_router=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into() }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: the settings cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A setting is wrong.
    #[error("{}: {error}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        error: Box<toml::de::Error>,
    },
    /// Settings do not go together.
    #[error("{}: {reason}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

impl Config {
    /// Reads and checks the settings of a file.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = || path.to_owned();
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: file(), error })?;
        Self::parse(&text).map_err(|reason| match reason {
            Wrong::Parse(error) => ConfigError::Parse { path: file(), error },
            Wrong::Unfit(reason) => ConfigError::Unfit { path: file(), reason },
        })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let config: Self = toml::from_str(text).map_err(|error| Wrong::Parse(Box::new(error)))?;
        let listen = config.api.listen;
        if config.tokens.is_empty() && !listen.ip().is_loopback() {
            return Err(Wrong::Unfit(format!(
                "api.listen is {listen}, which others can reach, and there are no tokens; give at least one under [[tokens]], or listen on a loopback address"
            )));
        }
        for (at, token) in config.tokens.iter().enumerate() {
            if config.tokens[..at].iter().any(|other| other.name == token.name) {
                return Err(Wrong::Unfit(format!(
                    "tokens: {} is named twice; each name is somebody's own",
                    token.name
                )));
            }
        }
        Ok(config)
    }
}

enum Wrong {
    Parse(Box<toml::de::Error>),
    Unfit(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        match Config::parse(text) {
            Ok(config) => panic!("{config:?}"),
            Err(Wrong::Parse(error)) => error.to_string(),
            Err(Wrong::Unfit(reason)) => reason,
        }
    }

    const LEAST: &str = "region = \"local\"\nstore = { kind = \"embedded\", path = \"r.redb\" }\n";

    #[test]
    fn a_region_and_a_store_are_all_that_has_to_be_said() {
        let Ok(config) = Config::parse(LEAST) else { panic!("{}", wrong(LEAST)) };
        assert_eq!(config.api.listen.to_string(), "127.0.0.1:7000");
        assert_eq!(config.store.to_string(), "embedded, r.redb");
    }

    #[test]
    fn a_router_that_others_can_reach_has_tokens() {
        let open = format!("{LEAST}[api]\nlisten = \"0.0.0.0:7000\"\n");
        assert!(wrong(&open).contains("there are no tokens; give at least one"), "{}", wrong(&open));
        let token = "[[tokens]]\nname = \"ada\"\nrole = \"admin\"\nfile = \"t\"\n";
        assert!(Config::parse(&format!("{open}{token}")).is_ok());
        let twice = format!("{LEAST}{token}{token}");
        assert!(wrong(&twice).contains("ada is named twice"));
    }

    #[test]
    fn what_is_not_known_is_named_with_its_line() {
        for (text, words) in [
            ("regoin = \"x\"", "unknown field `regoin`"),
            ("region = \"Bad Name\"", "1 to 63 of a-z"),
            ("region = \"local\"\n[store]\nkind = \"paper\"", "unknown variant `paper`"),
            ("region = \"local\"", "missing field `store`"),
            (
                &format!("{LEAST}[[tokens]]\nname = \"a\"\nrole = \"king\"\nfile = \"t\""),
                "unknown variant `king`",
            ),
        ] {
            let error = wrong(text);
            assert!(error.contains(words) && error.contains("line"), "{error}");
        }
    }
}
