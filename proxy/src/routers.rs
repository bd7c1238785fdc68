//! The way to the routers: where they are, and a client that shows them this node's token.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use dataproxy_outbound::{Connector, TrustError};
use dataproxy_router_api::Point;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;

#[cfg(test)]
pub(crate) mod scripted;

/// Time for a router to begin its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most of an answer that is read where it is not a stream, in bytes.
const ANSWER_MAX: usize = 64 << 10;

/// Where a router is: scheme, host and port alone.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct RouterUrl(String);

impl RouterUrl {
    fn is_tls(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl TryFrom<String> for RouterUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        const RIGHT: &str =
            "http:// or https://, a host and perhaps a port is allowed, such as \"http://10.0.0.1:7000\"";
        let parsed = text.parse::<Uri>().map_err(|_| format!("{text:?} is not a URL; {RIGHT}"))?;
        let bare = matches!(parsed.path(), "" | "/") && !text.contains(['#', '?', '@']);
        match (parsed.scheme_str(), parsed.authority()) {
            (Some(scheme @ ("http" | "https")), Some(authority)) if bare => {
                Ok(Self(format!("{scheme}://{authority}")))
            }
            _ => Err(format!("{text:?} is not a router's URL; {RIGHT}")),
        }
    }
}

impl fmt::Display for RouterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RouterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the routers are, and who this node is to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterSettings {
    /// The routers of the region.
    pub urls: Vec<RouterUrl>,
    /// The file of the token that they are shown; none if absent.
    pub token_file: Option<PathBuf>,
    /// PEM file of authorities that are believed besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// Why a router has no answer for this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The token cannot be shown.
    #[error("{}: the token cannot be read: {reason}", path.display())]
    Token {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be asked.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It says nothing.
    #[error("it did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// It refuses.
    #[error("it answers {status}: {words}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its reason, or what of its answer could be read.
        words: String,
    },
}

/// A router's refusal.
#[derive(Deserialize)]
struct Words {
    error: String,
}

/// The way to the routers.
#[derive(Debug)]
pub struct Routers {
    settings: RouterSettings,
    client: Client<Connector, Full<Bytes>>,
    newest: watch::Sender<Point>,
}

impl Routers {
    /// Asks nothing of anybody yet.
    ///
    /// # Errors
    /// [`TrustError`]: nobody could be believed.
    pub fn open(settings: RouterSettings) -> Result<Self, TrustError> {
        let is_tls = settings.urls.iter().any(RouterUrl::is_tls);
        let client = dataproxy_outbound::client(is_tls, settings.ca_file.as_deref())?;
        Ok(Self { settings, client, newest: watch::Sender::new(Point::default()) })
    }

    /// A router says that it is there.
    pub fn heard(&self, point: Point) {
        self.newest.send_if_modified(|newest| {
            let is_newer = point > *newest;
            *newest = point.max(*newest);
            is_newer
        });
    }

    /// The newest that any router has said to have.
    pub fn newest(&self) -> watch::Receiver<Point> {
        self.newest.subscribe()
    }

    /// Where they are.
    pub fn urls(&self) -> &[RouterUrl] {
        &self.settings.urls
    }

    /// Asks a router, and gives its answer once that has begun and is good. Dropping the future stops the asking.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn ask(
        &self,
        router: &RouterUrl,
        method: Method,
        path: &str,
        json: Option<Bytes>,
    ) -> Result<Response<Incoming>, AskError> {
        let broken = |error: http::Error| AskError::Unreachable(error.to_string());
        let mut request = Request::builder().method(method).uri(format!("{router}{path}"));
        if let Some(token) = self.token().await? {
            request = request.header(header::AUTHORIZATION, token);
        }
        if json.is_some() {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request = request.body(Full::new(json.unwrap_or_default())).map_err(broken)?;
        let asked = async {
            let response = self.client.request(request).await;
            let response = response.map_err(|error| AskError::Unreachable(with_causes(&error)))?;
            let status = response.status();
            if status == StatusCode::OK {
                return Ok(response);
            }
            let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let words = serde_json::from_slice::<Words>(&body).map(|words| words.error);
            let excerpt = || String::from_utf8_lossy(&body).chars().take(200).collect();
            Err(AskError::Refused { status, words: words.unwrap_or_else(|_| excerpt()) })
        };
        timeout(PATIENCE, asked).await.unwrap_or(Err(AskError::Silent))
    }

    /// The token as its file has it now: it may be replaced at any time.
    async fn token(&self) -> Result<Option<HeaderValue>, AskError> {
        let Some(path) = &self.settings.token_file else { return Ok(None) };
        let bad = |reason: String| AskError::Token { path: path.clone(), reason };
        let text = tokio::fs::read_to_string(path).await.map_err(|error| bad(error.to_string()))?;
        let value = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
        // The library's own words would repeat it.
        let mut value = value.map_err(|_| bad("it holds what no token does".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// An error with what it comes from, which the client's own words leave out.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_router_is_shown_the_token_that_the_file_has_now_and_no_error_repeats_it() {
        let router = scripted::ScriptedRouter::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let settings =
            RouterSettings { urls: vec![router.url()], token_file: Some(path.clone()), ca_file: None };
        let routers = Routers::open(settings).expect("a client");
        let ask = async || routers.ask(&router.url(), Method::GET, "/v1/watch", None).await.map(drop);
        assert!(matches!(ask().await, Err(AskError::Token { .. })));
        for token in ["first", "second\n"] {
            std::fs::write(&path, token).expect("written");
            ask().await.expect("an answer");
        }
        assert_eq!(router.authorizations(), ["Bearer first", "Bearer second"]);
        std::fs::write(&path, "canary\u{1}x").expect("written");
        let error = ask().await.expect_err("no token");
        assert!(!error.to_string().contains("canary"), "{error}");
    }

    #[test]
    fn a_router_is_a_scheme_a_host_and_perhaps_a_port() {
        for (good, shown) in [
            ("http://127.0.0.1:7000", "http://127.0.0.1:7000"),
            ("https://router.example/", "https://router.example"),
            ("http://[::1]:7000", "http://[::1]:7000"),
        ] {
            assert_eq!(RouterUrl::try_from(good.to_owned()).map(|url| url.to_string()), Ok(shown.to_owned()));
        }
        for bad in ["", "127.0.0.1:7000", "ftp://a", "http://a/b", "http://a?b", "http://me:secret@a", "/a"] {
            RouterUrl::try_from(bad.to_owned()).expect_err(bad);
        }
    }
}
