//! `[accounts.NAME]` of kind `registry`: another registry that is pulled through.

use std::path::PathBuf;

use super::super::section::ClientAccess;
use super::{AccountSection, Invalid, Place};
use crate::name::Repository;
use crate::upstream::{Login, PasswordFrom, Settings, Url};

const KEYS: [&str; 6] = ["url", "username", "password_file", "password_env", "ca_file", "repository_prefix"];

/// Checks an account of kind `registry`.
pub(super) fn settings(section: AccountSection, at: &Place<'_>) -> Result<Settings, Invalid> {
    section.takes_only(at, "registry", &KEYS)?;
    let bounds = [
        ("max_in_flight", section.max_in_flight.is_some()),
        ("egress_limit", section.egress_limit.is_some()),
        ("request_limit", section.request_limit.is_some()),
        ("clients", section.clients == ClientAccess::Open),
    ];
    at.refuse(&bounds, "that is of storage accounts; another registry bounds its own clients; leave it out")?;
    let url = section.url.ok_or_else(|| {
        at.invalid("url", "missing; an account of kind \"registry\" needs the URL of the registry")
    })?;
    let url = Url::parse(&url).map_err(|message| at.invalid("url", &message))?;
    let password = match (section.password_file, section.password_env) {
        (Some(_), Some(_)) => {
            return Err(at.invalid("password_env", "set beside password_file; a password has one place"));
        }
        (Some(file), None) => Some(PasswordFrom::File(at.folder.join(file))),
        (None, Some(name)) if name.is_empty() || name.contains(['=', '\0']) => {
            // What stands there may be the password itself.
            let message = "not a name of an environment variable; the name of the one that holds the password is allowed";
            return Err(at.invalid("password_env", message));
        }
        (None, Some(name)) => Some(PasswordFrom::Environment(name)),
        (None, None) => None,
    };
    let credentials = match (section.username, password) {
        (Some(username), Some(_)) if username.is_empty() || username.contains(':') => {
            return Err(at.invalid("username", "empty, or with a \":\" in it, which ends a name (RFC 7617)"));
        }
        (Some(username), Some(password)) => Some(Login { username, password }),
        (None, None) => None,
        (Some(_), None) => {
            let message = "set without a password; name its place by password_file or password_env";
            return Err(at.invalid("username", message));
        }
        (None, Some(_)) => {
            return Err(at.invalid("username", "missing; a password belongs to a username"));
        }
    };
    if section.ca_file.is_some() && !url.is_tls() {
        return Err(at.invalid("ca_file", "set, but the url is not https; there is nobody to vouch for"));
    }
    let prefix = section.repository_prefix.map(|prefix| prefix.parse::<Repository>()).transpose();
    Ok(Settings {
        url,
        credentials,
        ca_file: section.ca_file.map(|path: PathBuf| at.folder.join(path)),
        repository_prefix: prefix.map_err(|error| at.invalid("repository_prefix", error.to_string()))?,
    })
}
