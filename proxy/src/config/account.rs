//! `[accounts.NAME]`: which settings each kind of account takes and needs. Secrets are named, never written.

use std::path::Path;

use dataproxy_router_api::AccountName;

use super::error::Invalid;
use super::section::{Account, AccountKind, AccountSection};

mod azure;
mod registry;
mod s3;

impl AccountSection {
    /// The account that is meant. Relative paths are taken from `folder`.
    ///
    /// # Errors
    /// The first setting that is missing, or has no meaning for this kind.
    pub(super) fn resolve(self, name: &AccountName, folder: &Path) -> Result<Account, Invalid> {
        let at = Place { name, folder };
        match self.kind {
            AccountKind::Local => {
                self.takes_only(&at, "local", &["path"])?;
                let path = self.path.ok_or_else(|| {
                    at.invalid("path", "missing; an account of kind \"local\" needs the path of its folder")
                })?;
                Ok(Account::Local { path: folder.join(path) })
            }
            AccountKind::Azure => Ok(Account::Azure(Box::new(azure::settings(self, &at)?))),
            AccountKind::S3 => Ok(Account::S3(s3::settings(self, &at)?)),
            AccountKind::Registry => Ok(Account::Registry(Box::new(registry::settings(self, &at)?))),
        }
    }

    /// Every key that belongs to some kinds alone, and whether it is set.
    fn keys(&self) -> [(&'static str, bool); 21] {
        [
            ("path", self.path.is_some()),
            ("account", self.account.is_some()),
            ("endpoint_suffix", self.endpoint_suffix.is_some()),
            ("endpoint", self.endpoint.is_some()),
            ("region", self.region.is_some()),
            ("path_style", self.path_style.is_some()),
            ("url", self.url.is_some()),
            ("repository_prefix", self.repository_prefix.is_some()),
            ("credential", self.credential.is_some()),
            ("secret_file", self.secret_file.is_some()),
            ("secret_env", self.secret_env.is_some()),
            ("access_key_id", self.access_key_id.is_some()),
            ("client_id", self.client_id.is_some()),
            ("tenant_id", self.tenant_id.is_some()),
            ("token_file", self.token_file.is_some()),
            ("authority", self.authority.is_some()),
            ("identity_endpoint", self.identity_endpoint.is_some()),
            ("username", self.username.is_some()),
            ("password_file", self.password_file.is_some()),
            ("password_env", self.password_env.is_some()),
            ("ca_file", self.ca_file.is_some()),
        ]
    }

    /// Refuses a key that another kind has.
    fn takes_only(&self, at: &Place<'_>, kind: &str, own: &[&str]) -> Result<(), Invalid> {
        let foreign = self.keys().into_iter().find(|(key, set)| *set && !own.contains(key));
        foreign.map_or(Ok(()), |(key, _)| {
            Err(at.invalid(key, format!("set, but an account of kind {kind:?} has none; leave it out")))
        })
    }
}

/// Which account is read, and from where.
struct Place<'p> {
    name: &'p AccountName,
    folder: &'p Path,
}

impl Place<'_> {
    fn key(&self, key: &str) -> String {
        format!("accounts.{}.{key}", self.name)
    }

    fn invalid(&self, key: &str, message: impl Into<String>) -> Invalid {
        Invalid::new(self.key(key), message)
    }

    /// Refuses these keys, as far as they are set.
    fn refuse(&self, keys: &[(&str, bool)], why: &str) -> Result<(), Invalid> {
        let found = keys.iter().find(|(_, set)| *set);
        found.map_or(Ok(()), |(key, _)| Err(self.invalid(key, format!("set, but {why}"))))
    }
}
