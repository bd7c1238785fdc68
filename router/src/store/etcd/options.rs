//! Where the cluster is and how it is entered.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// A connection that takes longer is not waited for.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// etcd refuses pings that come more often than every 5 s (`--grpc-keepalive-min-time`).
const PING_EVERY: Duration = Duration::from_secs(6);
const PING_LIMIT: Duration = Duration::from_secs(3);

/// An etcd cluster, and the place in it.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// The members' client URLs, such as `https://etcd-0.example:2379`.
    pub endpoints: Vec<String>,
    /// What every key begins with, such as `/dataproxy/v1/`.
    pub prefix: String,
    /// How long one call may take, all tries together.
    pub limit: Duration,
    /// For `https` endpoints.
    pub tls: EtcdTls,
    /// Whom to be, where the cluster has users.
    pub user: Option<EtcdUser>,
}

impl EtcdOptions {
    /// The usual prefix.
    pub const PREFIX: &str = "/dataproxy/v1/";
    /// The usual limit of a call.
    pub const LIMIT: Duration = Duration::from_secs(5);

    /// The cluster at these endpoints, with the usual prefix and limit, the system's authorities and no user.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: Self::PREFIX.into(),
            limit: Self::LIMIT,
            tls: EtcdTls::default(),
            user: None,
        }
    }
}

/// Whom to believe, and who to be.
#[derive(Clone, Debug, Default)]
pub struct EtcdTls {
    /// A PEM file of the authorities that alone are believed; the system's if absent.
    pub ca_file: Option<PathBuf>,
    /// PEM files of a certificate and its key, for a cluster that wants one (`--client-cert-auth`).
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the members' certificates have, where that is not the endpoint's.
    pub server_name: Option<String>,
}

/// A user of the cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdUser {
    /// Its name.
    pub name: String,
    /// A file with its password; read at each login, so that it can be changed.
    pub password_file: PathBuf,
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}

/// Options that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EtcdOptionsError {
    /// There is no endpoint.
    #[error("no etcd endpoint is named; name at least one, such as http://127.0.0.1:2379")]
    NoEndpoint,
    /// An endpoint is no URL.
    #[error(
        "the etcd endpoint {endpoint:?} cannot be used: {reason}; http://HOST:PORT or https://HOST:PORT is right"
    )]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// The prefix would be everything, or not apart from another.
    #[error("the etcd prefix {0:?} must begin and end with '/' and have something between")]
    Prefix(String),
    /// A file cannot be read.
    #[error("{} cannot be read: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// How to reach each endpoint.
pub(super) fn endpoints(options: &EtcdOptions) -> Result<Vec<Endpoint>, EtcdOptionsError> {
    if options.endpoints.is_empty() {
        return Err(EtcdOptionsError::NoEndpoint);
    }
    let tls = tls(&options.tls)?;
    let reach = |text: &String| {
        let bad = |reason: String| EtcdOptionsError::Endpoint { endpoint: text.clone(), reason };
        let endpoint = Endpoint::from_shared(text.clone()).map_err(|error| bad(error.to_string()))?;
        let secure = match endpoint.uri().scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("it is neither http nor https".into())),
        };
        let endpoint = endpoint
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            // etcd takes pings on an idle connection for an attack.
            .keep_alive_while_idle(false);
        if secure {
            endpoint.tls_config(tls.clone()).map_err(|error| bad(error.to_string()))
        } else {
            Ok(endpoint)
        }
    };
    options.endpoints.iter().map(reach).collect()
}

fn tls(options: &EtcdTls) -> Result<ClientTlsConfig, EtcdOptionsError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| EtcdOptionsError::File { path: path.clone(), error })
    };
    let mut tls = match &options.ca_file {
        Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let Some((certificate, key)) = &options.identity {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(match &options.server_name {
        Some(name) => tls.domain_name(name.clone()),
        None => tls,
    })
}
