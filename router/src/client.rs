//! The way to a router: one request, one JSON answer. What stampctl and `region` ask through.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HttpPool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use crate::api::ErrorBody;

/// Longest wait for an answer.
const TIME_LIMIT: Duration = Duration::from_secs(15);
/// Largest answer, in bytes.
const ANSWER_BYTES: usize = 256 << 20;

/// Where a router is, and who asks.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Its API, such as `http://127.0.0.1:7000`.
    pub router: String,
    /// File with the token to show.
    pub token_file: Option<PathBuf>,
    /// File with the certificates of the authorities to believe, in PEM, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Who asks, for the audit of a router without tokens.
    pub actor: String,
}

/// A request that did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is none.
    #[error("the router {0:?} is no URL; http://127.0.0.1:7000 is one")]
    Url(String),
    /// A file cannot be read.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Nobody answers.
    #[error("the router at {router} cannot be asked: {why}")]
    Unreachable {
        /// The router.
        router: String,
        /// Why.
        why: String,
    },
    /// It answers with something else than JSON.
    #[error("what answers at {router} is no router: {status}, {what}")]
    NoRouter {
        /// What was asked.
        router: String,
        /// The answer's status.
        status: StatusCode,
        /// The beginning of the answer.
        what: String,
    },
    /// A rule is against it.
    #[error("refused ({rule}): {message}")]
    Refused {
        /// The rule.
        rule: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// The router failed.
    #[error("the router failed ({rule}): {message}")]
    Failed {
        /// What kind of failure, as a stable word.
        rule: String,
        /// What failed.
        message: String,
    },
}

/// Connections that are kept, to any server.
pub(crate) type Pool = HttpPool<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A pool that believes the authorities of a file, or the system's.
pub(crate) fn pool(ca_file: Option<&Path>) -> Result<Pool, ClientError> {
    let file = |path: &Path, what: String| ClientError::File { path: path.to_owned(), what };
    let mut roots = rustls::RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let found = read.map_err(|error| file(path, format!("no certificates can be read: {error}")))?;
            roots.add_parsable_certificates(found);
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Unreachable { router: "any".into(), why: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .build();
    Ok(HttpPool::builder(TokioExecutor::new()).build(connector))
}

/// A client of one router.
pub struct Client {
    pool: Pool,
    router: String,
    token: Option<String>,
    actor: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("router", &self.router).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the router that `options` name. Nothing is asked yet.
    ///
    /// # Errors
    /// [`ClientError::Url`], [`ClientError::File`]
    pub fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        let router = options.router.trim_end_matches('/').to_owned();
        let parsed: Option<Uri> = router.parse().ok();
        let whole = parsed.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some()
        });
        if !whole {
            return Err(ClientError::Url(options.router.clone()));
        }
        let file = |path: &PathBuf, what: String| ClientError::File { path: path.clone(), what };
        let token = match &options.token_file {
            None => None,
            Some(path) => {
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|error| file(path, format!("the token cannot be read: {error}")))?;
                Some(text.trim().to_owned())
            }
        };
        let pool = pool(options.ca_file.as_deref())?;
        Ok(Self { pool, router, token, actor: options.actor.clone() })
    }

    /// What there is at a path.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.send(Method::GET, path, None).await
    }

    /// One request. Dropping it leaves undecided whether the router has carried it out.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::Refused`] nothing was changed.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, ClientError> {
        let unreachable = |why: String| ClientError::Unreachable { router: self.router.clone(), why };
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.router));
        request = request.header("dataproxy-actor", &self.actor);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Full::from(body.to_string())
            }
            None => Full::default(),
        };
        let request = request.body(body).map_err(|error| unreachable(error.to_string()))?;
        let asked = async {
            let response = self.pool.request(request).await.map_err(|error| unreachable(whole(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            Ok((status, body.map_err(|error| unreachable(error.to_string()))?.to_bytes()))
        };
        let timed = tokio::time::timeout(TIME_LIMIT, asked).await;
        let late = |_| unreachable(format!("it does not answer within {} s", TIME_LIMIT.as_secs()));
        let (status, bytes) = timed.map_err(late)??;
        self.read(status, &bytes)
    }

    fn read(&self, status: StatusCode, bytes: &[u8]) -> Result<Value, ClientError> {
        let no_router = || ClientError::NoRouter {
            router: self.router.clone(),
            status,
            what: String::from_utf8_lossy(bytes).chars().take(80).collect(),
        };
        if status.is_success() {
            return serde_json::from_slice(bytes).map_err(|_| no_router());
        }
        let ErrorBody { error: message, rule } = serde_json::from_slice(bytes).map_err(|_| no_router())?;
        if status.is_server_error() {
            return Err(ClientError::Failed { rule, message });
        }
        Err(ClientError::Refused { rule, message })
    }
}

/// An error with what is behind it: a pool's own says only that it could not connect.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        text = format!("{text}: {error}");
        behind = error.source();
    }
    text
}
