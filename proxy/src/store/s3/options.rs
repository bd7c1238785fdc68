//! What there is to know of an account before it is asked: where it is, and what requests are signed with.

use std::fmt;
use std::path::PathBuf;

use dataproxy_outbound::TrustError;
use object_store::signer::Url;

/// Where an account is and how to ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Options {
    /// The server, if it is not AWS's own of the region.
    pub endpoint: Option<Url>,
    /// The region that requests are signed for.
    pub region: String,
    /// Whether the bucket is in the path and not in the host's name.
    pub path_style: bool,
    /// What requests are signed with.
    pub credential: S3Credential,
    /// Certificate authorities besides the system's, PEM.
    pub ca: Option<PathBuf>,
}

/// What requests are signed with: says where the secret is, holds none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Credential {
    /// A key pair.
    Key {
        /// The public half.
        id: String,
        /// Where the secret half is.
        secret: S3Secret,
    },
    /// What the environment says (`AWS_…`: keys, web identity, container), else the instance's own role.
    Environment,
    /// None: the buckets are open.
    Anonymous,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Secret {
    /// A file that holds nothing else; white space around it does not count.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

/// Where it is and how it is shown who asks; never a secret.
impl fmt::Display for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Some(url) => write!(f, "S3 at {url}, ")?,
            None => write!(f, "S3 of {}, ", self.region)?,
        }
        match &self.credential {
            S3Credential::Key { id, secret: S3Secret::File(path) } => {
                write!(f, "key {id} with the secret from {}", path.display())
            }
            S3Credential::Key { id, secret: S3Secret::Variable(name) } => {
                write!(f, "key {id} with the secret from ${name}")
            }
            S3Credential::Environment => f.write_str("credential of the environment"),
            S3Credential::Anonymous => f.write_str("no credential"),
        }
    }
}

/// Why an account cannot be used; the setting comes first.
#[derive(Debug, thiserror::Error)]
pub enum S3OpenError {
    /// The secret's file.
    #[error("secret_file: {}: {what}; the secret key alone is allowed", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The secret's variable.
    #[error("secret_env: ${0} is not set in the environment, is empty or is no text")]
    Variable(String),
    /// The authorities.
    #[error("ca_file: {0}")]
    Authorities(#[from] TrustError),
}

impl S3Secret {
    /// Reads it.
    pub(super) fn read(&self) -> Result<String, S3OpenError> {
        match self {
            Self::File(path) => {
                let file = |what: String| S3OpenError::File { path: path.clone(), what };
                let text = std::fs::read_to_string(path).map_err(|error| file(error.to_string()))?;
                match text.trim() {
                    "" => Err(file("it is empty".to_owned())),
                    secret => Ok(secret.to_owned()),
                }
            }
            Self::Variable(name) => {
                let secret = std::env::var(name).ok().map(|text| text.trim().to_owned());
                secret.filter(|text| !text.is_empty()).ok_or_else(|| S3OpenError::Variable(name.clone()))
            }
        }
    }
}
