//! Requests to an upstream and to where it leads: one hop, or a few with redirects.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::{Digest, OriginError, OriginErrorKind};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use metrics::counter;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::connect::{ConnectError, Connector};
use super::settings::Url;
use crate::via;

/// Redirects followed for one answer.
const REDIRECTS_MAX: usize = 5;
/// Longest URL that an upstream may lead to, in bytes; RFC 9110, 4.1, asks for 8000.
const URL_MAX: usize = 8 << 10;
/// How long an idle connection is kept, and how many to one host.
const POOL_IDLE: Duration = Duration::from_secs(30);
const POOL_SIZE: usize = 64;
/// Largest piece read at once, in bytes.
const READ: usize = 1 << 20;
/// What is read of a redirect's body so that its connection can be used again, in bytes, and for how long.
const REST_MAX: usize = 16 << 10;
const REST_PATIENCE: Duration = Duration::from_millis(250);

/// How many requests may wait for the head of an answer at once, and how long one waits to be among them. A busy registry
/// answers within a tenth of a second or so, so more are under way only where it hardly answers.
pub(super) const ASKED_MAX: usize = 256;
const PLACE_PATIENCE: Duration = Duration::from_secs(3);

const AGENT: HeaderValue = HeaderValue::from_static(concat!("dataproxy/", env!("CARGO_PKG_VERSION")));
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// What is asked of an upstream.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// Path and query, from `/v2/` on.
    pub(super) path: String,
    /// The repository's name there.
    pub(super) repository: String,
    /// What it is, for the metrics.
    pub(super) kind: &'static str,
    pub(super) headers: HeaderMap,
    /// `If-Match`, and the host that it is for: another host has versions of its own.
    pub(super) pin: Option<(String, HeaderValue)>,
}

/// An answer, and who gave it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) from: Authority,
    /// Whether the upstream itself gave it, and not a host that it has redirected to.
    pub(super) is_home: bool,
    /// Where the upstream has redirected to, if it has; which may be a place of its own.
    pub(super) lead: Option<Lead>,
}

/// Where a redirect led. Its query may be a secret, so Debug shows the host alone.
#[derive(Clone)]
pub(super) struct Lead(Uri);

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.host().unwrap_or_default())
    }
}

impl Lead {
    /// What it takes in memory, in bytes.
    pub(super) fn size(&self) -> usize {
        self.0.authority().map_or(0, |host| host.as_str().len())
            + self.0.path_and_query().map_or(0, |path| path.as_str().len())
    }

    /// Whether it leads to where a registry has this digest, and not to storage or a page.
    fn is_registrys(&self, digest: &Digest) -> bool {
        self.0.path().starts_with("/v2/") && self.0.path().ends_with(&format!("/{digest}"))
    }
}

impl Answer {
    /// Whether a registry says this, be it the one asked or another that it has led to.
    pub(super) fn is_registrys(&self, digest: &Digest) -> bool {
        self.lead.as_ref().is_none_or(|lead| lead.is_registrys(digest))
    }

    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }
}

/// The way to one upstream: one pool of connections.
#[derive(Debug)]
pub(super) struct Wire {
    url: Url,
    /// The account's name, for the metrics.
    account: String,
    client: Client<Connector, Empty<Bytes>>,
    places: Semaphore,
}

impl Wire {
    pub(super) fn new(account: &str, url: Url, tls: rustls::ClientConfig) -> Self {
        let connector = Connector::new(url.authority().clone(), tls);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .http1_max_buf_size(READ)
            .build(connector);
        Self { url, account: account.to_owned(), client, places: Semaphore::new(ASKED_MAX) }
    }

    /// A URL that the upstream has named, against the one that it was asked at.
    ///
    /// # Errors
    /// [`OriginErrorKind::Protocol`] if it is none, or would leave TLS.
    pub(super) fn resolve(&self, named: &str, base: &Uri) -> Result<Uri, OriginError> {
        let bad = |why: &str| {
            let shown: String =
                named.split(['?', '#']).next().unwrap_or_default().chars().take(120).collect();
            OriginError::new(OriginErrorKind::Protocol, format!("the upstream leads to {shown:?}: {why}"))
        };
        if named.len() > URL_MAX {
            return Err(bad("too long"));
        }
        let mut parts = named.parse::<Uri>().map_err(|_| bad("not a URL"))?.into_parts();
        let is_relative = named.starts_with('/') && !named.starts_with("//");
        if is_relative {
            parts.scheme = base.scheme().cloned();
            parts.authority = base.authority().cloned();
        } else if parts.path_and_query.is_none() {
            parts.path_and_query = Some(PathAndQuery::from_static("/"));
        }
        let uri = Uri::from_parts(parts).map_err(|_| bad("not an absolute URL"))?;
        let is_plain = uri.scheme() == Some(&Scheme::HTTP);
        if uri.scheme() != Some(&Scheme::HTTPS) && (!is_plain || self.url.is_tls()) {
            return Err(bad("only https may follow https"));
        }
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err(bad("it holds a user, or no host"));
        }
        Ok(uri)
    }

    fn is_home(&self, uri: &Uri) -> bool {
        uri.scheme() == Some(self.url.scheme()) && uri.authority() == Some(self.url.authority())
    }

    /// The upstream's own URL of a path.
    pub(super) fn home(&self, path: &str) -> Result<Uri, OriginError> {
        let uri = Uri::builder().scheme(self.url.scheme().clone()).authority(self.url.authority().clone());
        uri.path_and_query(path)
            .build()
            .map_err(|error| OriginError::new(OriginErrorKind::Protocol, format!("{path}: {error}")))
    }

    /// Sends one request and gets one response's head, whatever it is.
    ///
    /// # Errors
    /// [`OriginError`] if there is none; [`OriginErrorKind::Unavailable`] if too many others wait for one.
    pub(super) async fn hop(
        &self,
        kind: &'static str,
        method: &Method,
        uri: &Uri,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, OriginError> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::USER_AGENT, AGENT);
        request.headers_mut().insert(header::VIA, via::value());
        // Content goes by its digest: any encoding on the way would make it something else.
        request.headers_mut().insert(header::ACCEPT_ENCODING, IDENTITY);
        let place = timeout(PLACE_PATIENCE, self.places.acquire()).await;
        let Ok(Ok(place)) = place else {
            let message = format!("{ASKED_MAX} requests wait for an answer; there was no place for one more");
            return Err(OriginError::new(OriginErrorKind::Unavailable, message));
        };
        let sent = self.client.request(request).await;
        drop(place);
        let status = sent
            .as_ref()
            .map_or_else(|_| "none".to_owned(), |response| response.status().as_str().to_owned());
        counter!(
            "dataproxy_upstream_requests_total",
            "account" => self.account.clone(), "kind" => kind, "status" => status
        )
        .increment(1);
        sent.map_err(|error| unsent(&error, uri))
    }

    /// Sends a request, with `authorization` for the upstream alone, and follows redirects.
    ///
    /// # Errors
    /// [`OriginError`] if there is no answer, or a redirect leads where it must not.
    pub(super) async fn follow(
        &self,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, OriginError> {
        self.follow_from(ask, self.home(&ask.path)?, authorization).await
    }

    /// Sends a request to where an earlier one was redirected to.
    ///
    /// # Errors
    /// As [`Wire::follow`].
    pub(super) async fn follow_lead(&self, ask: &Ask, lead: Lead) -> Result<Answer, OriginError> {
        self.follow_from(ask, lead.0, None).await
    }

    async fn follow_from(
        &self,
        ask: &Ask,
        mut uri: Uri,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, OriginError> {
        for redirects in 0..=REDIRECTS_MAX {
            let mut headers = ask.headers.clone();
            let is_home = self.is_home(&uri);
            if let Some(authorization) = authorization.filter(|_| is_home) {
                headers.insert(header::AUTHORIZATION, authorization.clone());
            }
            let from = uri.authority().cloned().ok_or_else(|| no_host(&uri))?;
            if let Some((host, version)) = &ask.pin
                && from == host.as_str()
            {
                headers.insert(header::IF_MATCH, version.clone());
            }
            let response = self.hop(ask.kind, &ask.method, &uri, headers).await?;
            let next = match redirect(&response) {
                Some(location) => self.resolve(location, &uri)?,
                None => {
                    let lead = (redirects > 0).then_some(Lead(uri));
                    return Ok(Answer { response, from, is_home, lead });
                }
            };
            read_rest(response).await;
            uri = next;
        }
        let message = format!("more than {REDIRECTS_MAX} redirects");
        Err(OriginError::new(OriginErrorKind::Protocol, message))
    }
}

fn no_host(uri: &Uri) -> OriginError {
    OriginError::new(OriginErrorKind::Protocol, format!("{} has no host", uri.path()))
}

/// Where a response leads.
fn redirect(response: &Response<Incoming>) -> Option<&str> {
    let leads = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    response.headers().get(header::LOCATION).filter(|_| leads)?.to_str().ok()
}

/// Reads what is left of a small body, so that its connection can be used again. Nothing depends on it.
pub(super) async fn read_rest(response: Response<Incoming>) {
    let rest = Limited::new(response.into_body(), REST_MAX).collect();
    let _ = timeout(REST_PATIENCE, rest).await;
}

/// The error for a request that got no response. A URL's query may be a secret, so it is not told.
fn unsent(error: &hyper_util::client::legacy::Error, uri: &Uri) -> OriginError {
    let host = uri.authority().map_or("", Authority::as_str);
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<ConnectError>() {
            let kind = match refused {
                ConnectError::Forbidden(_) | ConnectError::Home(_) | ConnectError::Address(_) => {
                    OriginErrorKind::Protocol
                }
                _ => OriginErrorKind::Unavailable,
            };
            return OriginError::new(kind, refused.to_string());
        }
        match inner.source() {
            Some(deeper) => cause = Some(deeper),
            None => return OriginError::new(OriginErrorKind::Unavailable, format!("{host}: {inner}")),
        }
    }
    OriginError::new(OriginErrorKind::Unavailable, format!("{host}: {error}"))
}
