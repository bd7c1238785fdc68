//! `[accounts.NAME]`: which settings each kind of account takes and needs.

use std::path::{Path, PathBuf};

use dataproxy_router_api::AccountName;

use super::error::Invalid;
use super::section::{Account, AccountKind, AccountSection};
use crate::name::Repository;
use crate::upstream::{Login, PasswordFrom, Settings, Url};

impl AccountSection {
    /// The account that is meant. Relative paths are taken from `folder`.
    ///
    /// # Errors
    /// The first setting that is missing, or has no meaning for this kind.
    pub(super) fn resolve(self, name: &AccountName, folder: &Path) -> Result<Account, Invalid> {
        let invalid = |key: &str, message: &str| Invalid::new(format!("accounts.{name}.{key}"), message);
        match self.kind {
            AccountKind::Local => {
                if let Some(key) = self.first_of_a_registry() {
                    return Err(invalid(
                        key,
                        "set, but an account of kind \"local\" is a folder and has none",
                    ));
                }
                let path = self.path.ok_or_else(|| {
                    invalid("path", "missing; an account of kind \"local\" needs the path of its folder")
                })?;
                Ok(Account::Local { path: folder.join(path) })
            }
            AccountKind::Registry => {
                if self.path.is_some() {
                    return Err(invalid(
                        "path",
                        "set, but an account of kind \"registry\" has a url and no folder",
                    ));
                }
                let settings = self.registry(folder, invalid)?;
                Ok(Account::Registry(Box::new(settings)))
            }
        }
    }

    fn first_of_a_registry(&self) -> Option<&'static str> {
        [
            ("url", self.url.is_some()),
            ("username", self.username.is_some()),
            ("password_file", self.password_file.is_some()),
            ("password_env", self.password_env.is_some()),
            ("ca_file", self.ca_file.is_some()),
            ("repository_prefix", self.repository_prefix.is_some()),
        ]
        .into_iter()
        .find_map(|(key, is_set)| is_set.then_some(key))
    }

    fn registry(self, folder: &Path, invalid: impl Fn(&str, &str) -> Invalid) -> Result<Settings, Invalid> {
        let url = self.url.ok_or_else(|| {
            invalid("url", "missing; an account of kind \"registry\" needs the URL of the registry")
        })?;
        let url = Url::parse(&url).map_err(|message| invalid("url", &message))?;
        let password = match (self.password_file, self.password_env) {
            (Some(_), Some(_)) => {
                return Err(invalid("password_env", "set beside password_file; a password has one place"));
            }
            (Some(file), None) => Some(PasswordFrom::File(folder.join(file))),
            (None, Some(name)) => Some(PasswordFrom::Environment(name)),
            (None, None) => None,
        };
        let credentials = match (self.username, password) {
            (Some(username), Some(_)) if username.is_empty() || username.contains(':') => {
                return Err(invalid(
                    "username",
                    "empty, or with a \":\" in it, which ends a name (RFC 7617)",
                ));
            }
            (Some(username), Some(password)) => Some(Login { username, password }),
            (None, None) => None,
            (Some(_), None) => {
                let message = "set without a password; name its place by password_file or password_env";
                return Err(invalid("username", message));
            }
            (None, Some(_)) => {
                return Err(invalid("username", "missing; a password belongs to a username"));
            }
        };
        if self.ca_file.is_some() && !url.is_tls() {
            return Err(invalid("ca_file", "set, but the url is not https; there is nobody to vouch for"));
        }
        let prefix = self.repository_prefix.map(|prefix| prefix.parse::<Repository>()).transpose();
        Ok(Settings {
            url,
            credentials,
            ca_file: self.ca_file.map(|path: PathBuf| folder.join(path)),
            repository_prefix: prefix.map_err(|error| invalid("repository_prefix", &error.to_string()))?,
        })
    }
}
