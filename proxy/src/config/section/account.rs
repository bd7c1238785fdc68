//! `[accounts]`: the storage accounts and upstream registries of a node.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use dataproxy_router_api::AccountName;
use serde::Deserialize;

use crate::config::unit;
use crate::store::guard::AccountBounds;
use crate::store::s3::S3Options;
use crate::upstream;

/// `[accounts]`: the storage accounts and upstream registries that the node may read, by name.
pub type Accounts = BTreeMap<AccountName, Account>;

/// `[accounts.NAME]`: one storage account or upstream registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A folder in the layout of CNCF distribution.
    Local {
        /// The folder that holds one folder per container.
        path: PathBuf,
    },
    /// An account of Azure Blob.
    Azure(Box<dataproxy_azure::Settings>),
    /// A server that speaks as Amazon S3 does.
    S3(S3Options),
    /// Another registry, pulled through.
    Registry(Box<upstream::Settings>),
}

/// Where it is and how it is reached; never a secret.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { path } => write!(f, "{}", path.display()),
            Self::Azure(settings) => write!(f, "{settings}"),
            Self::S3(settings) => write!(f, "{settings}"),
            Self::Registry(settings) => write!(f, "{}", settings.url),
        }
    }
}

/// `[accounts.NAME]` as written: which keys a kind needs is checked once they are all read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AccountSection {
    pub(in crate::config) kind: AccountKind,
    pub(in crate::config) path: Option<PathBuf>,
    pub(in crate::config) account: Option<String>,
    pub(in crate::config) endpoint_suffix: Option<String>,
    pub(in crate::config) endpoint: Option<String>,
    pub(in crate::config) region: Option<String>,
    pub(in crate::config) path_style: Option<bool>,
    pub(in crate::config) url: Option<String>,
    pub(in crate::config) repository_prefix: Option<String>,
    pub(in crate::config) credential: Option<CredentialKind>,
    pub(in crate::config) secret_file: Option<PathBuf>,
    pub(in crate::config) secret_env: Option<String>,
    pub(in crate::config) access_key_id: Option<String>,
    pub(in crate::config) client_id: Option<String>,
    pub(in crate::config) tenant_id: Option<String>,
    pub(in crate::config) token_file: Option<PathBuf>,
    pub(in crate::config) authority: Option<String>,
    pub(in crate::config) identity_endpoint: Option<String>,
    pub(in crate::config) username: Option<String>,
    pub(in crate::config) password_file: Option<PathBuf>,
    pub(in crate::config) password_env: Option<String>,
    pub(in crate::config) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(in crate::config) clients: ClientAccess,
    pub(in crate::config) max_in_flight: Option<usize>,
    #[serde(default, deserialize_with = "unit::some_bytes")]
    pub(in crate::config) egress_limit: Option<u64>,
    pub(in crate::config) request_limit: Option<u64>,
}

/// What holds for an account, whatever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Whether clients can reach it.
    pub clients: ClientAccess,
    /// What it is asked at most.
    pub bounds: AccountBounds,
}

/// Whether clients can reach an account themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAccess {
    /// They cannot, or should not: everything goes through nodes.
    #[default]
    Closed,
    /// They can.
    Open,
}

/// What an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum AccountKind {
    Local,
    Azure,
    S3,
    Registry,
}

/// How an account is shown who asks. The first four are Azure's, the others S3's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum CredentialKind {
    Sas,
    SharedKey,
    ManagedIdentity,
    WorkloadIdentity,
    Key,
    Environment,
    None,
}
