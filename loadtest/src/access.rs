//! With what rights, and by what way, registries are asked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;

pub use crate::wire::{Redirected, TrustError};

/// Where a password is looked for when no file is named.
pub const PASSWORD_VARIABLE: &str = "LOADTEST_PASSWORD";

/// The part of the command line that says how registries are reached. Secrets come from files or the environment alone, as a
/// command line is shown to everybody on the machine.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AccessOptions {
    /// User name for registries that ask for one; the password comes from --password-file or LOADTEST_PASSWORD
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// File with the password of --user (one line)
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// File with a registry's bearer token, sent with every request to it
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub token_file: Option<PathBuf>,
    /// PEM file of certificate authorities, trusted as those of the system are
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Trust any certificate
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// Ask as containerd asks a mirror: with ?ns=HOST
    #[arg(long, value_name = "HOST")]
    pub ns: Option<String>,
    /// Connect to the second place for whatever is at the first; names in requests and certificates stay. May be repeated
    #[arg(long, value_name = "HOST:PORT=HOST:PORT")]
    pub connect: Vec<Redirected>,
}

/// Rights and ways, ready for use. Shared by all threads.
#[derive(Clone)]
pub struct Access {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) token: Option<Secret>,
    pub(crate) ns: Option<String>,
    pub(crate) redirected: Arc<[Redirected]>,
    pub(crate) tls: TlsConnector,
}

/// A user and a password.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: Secret,
}

/// A text that is never printed.
#[derive(Clone)]
pub(crate) struct Secret(String);

/// Why nothing can be asked.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file of secrets cannot be read.
    #[error("{} cannot be read: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file of secrets holds none.
    #[error("{} holds no {what}: one line is expected", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A user without a password.
    #[error("--user needs a password, from --password-file FILE or from the variable {PASSWORD_VARIABLE}")]
    NoPassword,
    /// Something that cannot be part of a request.
    #[error("{what} {text:?} cannot be sent: only visible ASCII characters can")]
    Unfit {
        /// The option.
        what: &'static str,
        /// Its value.
        text: String,
    },
    /// No TLS.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A way to read that the client does not have, or that says nothing.
    #[error("{0}")]
    Reading(&'static str),
}

impl AccessOptions {
    /// Reads the files and the environment.
    ///
    /// Errors: a file or a certificate that is not what it should be, a user without a password.
    pub fn open(&self) -> Result<Access, AccessError> {
        self.open_with(std::env::var(PASSWORD_VARIABLE).ok())
    }

    fn open_with(&self, password: Option<String>) -> Result<Access, AccessError> {
        let credentials = match &self.user {
            Some(user) => {
                let password = match &self.password_file {
                    Some(file) => line(file, "password")?,
                    None => {
                        password.filter(|password| !password.is_empty()).ok_or(AccessError::NoPassword)?
                    }
                };
                Some(Credentials { user: user.clone(), password: Secret(password) })
            }
            None => None,
        };
        let token = self.token_file.as_deref().map(|file| line(file, "token")).transpose()?;
        if let Some(file) = &self.token_file
            && !token.as_deref().is_none_or(is_visible)
        {
            return Err(AccessError::Empty { file: file.clone(), what: "token" });
        }
        if let Some(ns) = self.ns.as_ref().filter(|ns| !is_visible(ns) || ns.contains(['&', '#'])) {
            return Err(AccessError::Unfit { what: "--ns", text: ns.clone() });
        }
        Ok(Access {
            credentials,
            token: token.map(Secret),
            ns: self.ns.clone(),
            redirected: self.connect.clone().into(),
            tls: crate::wire::trust(self.ca.as_deref(), self.insecure)?,
        })
    }
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn line(file: &Path, what: &'static str) -> Result<String, AccessError> {
    let text =
        std::fs::read_to_string(file).map_err(|error| AccessError::File { file: file.to_owned(), error })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.contains(['\r', '\n']) {
        return Err(AccessError::Empty { file: file.to_owned(), what });
    }
    Ok(text.to_owned())
}

impl Secret {
    /// The text, for the request that it is meant for.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("credentials", &self.credentials)
            .field("token", &self.token)
            .field("ns", &self.ns)
            .field("redirected", &self.redirected)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_comes_from_its_file_or_the_environment_and_is_never_printed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        std::fs::write(&file, "from file\n").expect("written");
        let mut options = AccessOptions { user: Some("ann".to_owned()), ..AccessOptions::default() };
        let password = |options: &AccessOptions, variable: Option<&str>| {
            let access = options.open_with(variable.map(str::to_owned))?;
            assert!(!format!("{access:?}").contains("from"), "{access:?}");
            Ok::<_, AccessError>(access.credentials.expect("credentials").password.reveal().to_owned())
        };
        assert!(matches!(password(&options, None), Err(AccessError::NoPassword)));
        assert_eq!(password(&options, Some("from variable")).expect("valid"), "from variable");
        options.password_file = Some(file.clone());
        assert_eq!(password(&options, Some("from variable")).expect("valid"), "from file");
        std::fs::write(&file, "\n").expect("written");
        assert!(matches!(password(&options, None), Err(AccessError::Empty { .. })));
    }

    #[test]
    fn a_file_that_is_no_certificate_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "hello\n").expect("written");
        for ca in [file.clone(), folder.path().join("absent.pem")] {
            let options = AccessOptions { ca: Some(ca.clone()), ..AccessOptions::default() };
            let error = options.open().expect_err("no certificate").to_string();
            assert!(error.contains(&ca.display().to_string()), "{error}");
        }
    }
}
