//! How an upstream is reached and who this node is there.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dataproxy_outbound::TrustError;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};

use crate::name::Repository;

/// Settings of one upstream registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it is.
    pub url: Url,
    /// Who this node is there; nobody if absent.
    pub credentials: Option<Login>,
    /// PEM file of authorities that are believed besides the system's.
    pub ca_file: Option<PathBuf>,
    /// What stands before every repository's name there.
    pub repository_prefix: Option<Repository>,
}

/// A registry's URL: scheme, host and port alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    authority: Authority,
}

impl Url {
    /// Reads `https://registry-1.docker.io`.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        const RIGHT: &str = "http:// or https://, a host and perhaps a port is allowed, such as \"https://registry-1.docker.io\"";
        let parsed = text.parse::<Uri>().ok().map(Uri::into_parts);
        let parts = parsed.ok_or_else(|| format!("it is not a URL; {RIGHT}"))?;
        let bare = parts.path_and_query.is_none_or(|path| path.as_str() == "/") && !text.contains(['#', '?']);
        match (parts.scheme, parts.authority) {
            // What stands before an @ is a secret, so it is not repeated.
            (_, Some(authority)) if authority.as_str().contains('@') => {
                Err("it holds a user; set username and password_file or password_env".to_owned())
            }
            (Some(scheme), Some(authority))
                if bare && (scheme == Scheme::HTTP || scheme == Scheme::HTTPS) =>
            {
                Ok(Self { scheme, authority })
            }
            _ => Err(format!("{text:?} is not a registry's URL; {RIGHT}")),
        }
    }

    /// Whether it is spoken to by TLS.
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    pub(super) fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// A name and where its password is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password's place.
    pub password: PasswordFrom,
}

/// Where a password is to be had; never the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordFrom {
    /// A file that holds nothing else but perhaps a final line break.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
}

/// Why an upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The password's file cannot be read.
    #[error("password_file: {}: {error}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The password's variable is not set. What stands there may be the password itself, so it is not told.
    #[error("password_env: the variable that it names is not set in the environment, or is not text")]
    PasswordEnvironment,
    /// The password cannot be used.
    #[error("the password is empty; a file or variable with the password or access token is needed")]
    PasswordEmpty,
    /// The authorities cannot be had.
    #[error("ca_file: {0}")]
    Trust(#[from] TrustError),
}

impl Login {
    /// The value of `Authorization` for it (RFC 7617). Marked as sensitive: it shows neither in Debug nor in logs.
    ///
    /// # Errors
    /// [`SetupError`]
    pub(super) fn basic(&self) -> Result<HeaderValue, SetupError> {
        let password = match &self.password {
            PasswordFrom::File(path) => std::fs::read_to_string(path)
                .map_err(|error| SetupError::PasswordFile { path: path.clone(), error })?,
            PasswordFrom::Environment(name) => {
                std::env::var(name).map_err(|_| SetupError::PasswordEnvironment)?
            }
        };
        let password = password.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(SetupError::PasswordEmpty);
        }
        let pair = BASE64_STANDARD.encode(format!("{}:{password}", self.username));
        let mut value =
            HeaderValue::try_from(format!("Basic {pair}")).map_err(|_| SetupError::PasswordEmpty)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_scheme_host_and_port_and_its_error_never_repeats_a_secret() {
        for good in ["https://registry-1.docker.io", "http://127.0.0.1:5000", "https://[::1]:5000"] {
            assert_eq!(Url::parse(good).expect(good).to_string(), good);
            assert_eq!(Url::parse(&format!("{good}/")).expect(good).to_string(), good);
        }
        for bad in [
            "",
            "docker.io",
            "ftp://a",
            "https://",
            "https://a/v2",
            "https://a?x=1",
            "https://a/#b",
            "https://a b",
        ] {
            let error = Url::parse(bad).expect_err(bad);
            assert!(error.contains("https://registry-1.docker.io"), "{bad}: {error}");
        }
        let error = Url::parse("https://me:canary@a").expect_err("a user");
        assert!(error.contains("password_file") && !error.contains("canary"), "{error}");
    }

    #[test]
    fn a_password_is_taken_without_its_line_break_and_is_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        std::fs::write(&path, "open sesame\r\n").expect("a file");
        let login = Login { username: "Aladdin".to_owned(), password: PasswordFrom::File(path.clone()) };
        let basic = login.basic().expect("a password");
        assert_eq!(basic, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "RFC 7617, 2");
        assert_eq!(format!("{basic:?}"), "Sensitive");
        std::fs::write(&path, "\n").expect("a file");
        assert!(matches!(login.basic(), Err(SetupError::PasswordEmpty)));
        std::fs::remove_file(&path).expect("a file");
        assert!(login.basic().expect_err("no file").to_string().contains("password_file"));
        let pasted = Login { password: PasswordFrom::Environment("canary".to_owned()), ..login };
        let error = pasted.basic().expect_err("no variable").to_string();
        assert!(error.contains("password_env") && !error.contains("canary"), "{error}");
    }
}
