//! How an account is shown who asks.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{ClientOptions, Context, Request, RetryOptions, Transport, Url};
use dataproxy_cache::OriginErrorKind;

mod managed_identity;
mod sas;
mod secret;
mod shared_key;
mod token;
mod workload_identity;

pub use secret::{SecretError, SecretSource};
pub(crate) use shared_key::Key;

/// The account's key, as it is now.
pub(crate) type WatchedKey = Arc<Watched<Key>>;

use sas::{Sas, SasPolicy};
use secret::Watched;
use shared_key::SharedKeyPolicy;
use token::{BearerPolicy, Tokens};

use crate::transport;

/// A credential as configured: says where secrets are, holds none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A shared access signature: a query string. Read again when it changes, so that it can be replaced before it
    /// expires.
    Sas(SecretSource),
    /// One of the account's two keys, in base64. Read again when it changes.
    SharedKey(SecretSource),
    /// The identity of the machine, by its metadata service.
    ManagedIdentity {
        /// Client id of a user-assigned identity; the machine's own if absent.
        client_id: Option<String>,
        /// Where the metadata service answers, if not at its well-known address.
        endpoint: Option<Url>,
    },
    /// The identity of a Kubernetes service account, by a federated token. What is absent is taken from the
    /// environment that the workload identity webhook sets.
    WorkloadIdentity {
        /// The tenant; `AZURE_TENANT_ID` if absent.
        tenant_id: Option<String>,
        /// The client id; `AZURE_CLIENT_ID` if absent.
        client_id: Option<String>,
        /// The file with the service account's token; `AZURE_FEDERATED_TOKEN_FILE` if absent.
        token_file: Option<PathBuf>,
        /// Where tokens are issued, such as `https://login.microsoftonline.us`; `AZURE_AUTHORITY_HOST` if absent.
        authority: Option<Url>,
    },
}

impl Credential {
    /// Whether it is shown as a token, which is only ever sent by TLS.
    pub fn is_token(&self) -> bool {
        matches!(self, Self::ManagedIdentity { .. } | Self::WorkloadIdentity { .. })
    }
}

/// What it is and where it is read from; never a secret.
impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sas(source) => write!(f, "SAS from {source}"),
            Self::SharedKey(source) => write!(f, "shared key from {source}"),
            Self::ManagedIdentity { client_id: Some(id), .. } => write!(f, "managed identity {id}"),
            Self::ManagedIdentity { client_id: None, .. } => f.write_str("managed identity of the machine"),
            Self::WorkloadIdentity { client_id: Some(id), .. } => write!(f, "workload identity {id}"),
            Self::WorkloadIdentity { client_id: None, .. } => {
                f.write_str("workload identity of the environment")
            }
        }
    }
}

/// Why a credential cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A secret cannot be read or is not one.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The identity is not fully configured.
    #[error("{0}")]
    Identity(String),
}

/// A credential, opened.
#[derive(Clone, Debug)]
pub(crate) enum Opened {
    Sas(Arc<Watched<Sas>>),
    SharedKey(WatchedKey),
    Token(Arc<Tokens>),
}

impl Opened {
    /// Reads what the credential names. Blocks on files; asks nobody over the network.
    ///
    /// # Errors
    /// [`CredentialError`]
    pub(crate) fn open(
        credential: &Credential,
        transport: &Arc<transport::Transport>,
    ) -> Result<Self, CredentialError> {
        Ok(match credential {
            Credential::Sas(source) => Self::Sas(Watched::open(source.clone(), Sas::parse)?),
            Credential::SharedKey(source) => Self::SharedKey(Watched::open(source.clone(), Key::parse)?),
            Credential::ManagedIdentity { client_id, endpoint } => Self::Token(managed_identity::open(
                client_id.clone(),
                endpoint.clone(),
                client_options(transport),
            )?),
            Credential::WorkloadIdentity { tenant_id, client_id, token_file, authority } => {
                Self::Token(workload_identity::open(
                    tenant_id.clone(),
                    client_id.clone(),
                    token_file.clone(),
                    authority.as_ref(),
                    client_options(transport),
                )?)
            }
        })
    }

    /// The policy that shows it with each try of a request to `account`.
    pub(crate) fn policy(&self, account: &str) -> Arc<dyn Policy> {
        match self {
            Self::Sas(sas) => Arc::new(SasPolicy::new(Arc::clone(sas))),
            Self::SharedKey(key) => Arc::new(SharedKeyPolicy::new(Arc::clone(key), account.to_owned())),
            Self::Token(tokens) => Arc::new(BearerPolicy::new(Arc::clone(tokens))),
        }
    }

    /// What there is to say about it when storage refuses it, such as that it has expired.
    pub(crate) fn excuse(&self) -> Option<String> {
        match self {
            Self::Sas(sas) => sas.current().excuse(),
            Self::SharedKey(_) | Self::Token(_) => None,
        }
    }
}

/// A pipeline over our transport that tries once: who calls it knows when to try again.
pub(crate) fn client_options(transport: &Arc<transport::Transport>) -> ClientOptions {
    ClientOptions {
        transport: Some(Transport::new(Arc::clone(transport) as _)),
        retry: RetryOptions::none(),
        ..ClientOptions::default()
    }
}

/// Hands a request to the next policy; the transport is always the last, so there is one.
pub(crate) async fn forward(
    context: &Context<'_>,
    request: &mut Request,
    next: &[Arc<dyn Policy>],
) -> PolicyResult {
    match next.split_first() {
        Some((policy, rest)) => policy.send(context, request, rest).await,
        None => Err(transport::failed(OriginErrorKind::Protocol, "no transport".to_owned())),
    }
}
