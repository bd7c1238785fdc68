//! Tokens of an identity: fetched ahead of their expiry, once for all who wait, shown with each try.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request, StatusCode};
use dataproxy_cache::OriginErrorKind;

use crate::failure;
use crate::renewed::{Dated, Renewed};
use crate::transport::failed;

/// The audience that storage of every cloud takes.
const SCOPE: &str = "https://storage.azure.com/.default";
/// The SDK's own cache gives its old token until five minutes before the end, so asking earlier brings nothing.
const AHEAD: Duration = Duration::from_secs(5 * 60 - 10);

/// The tokens of one identity.
pub(crate) struct Tokens {
    what: &'static str,
    tokens: Renewed<Secret>,
}

impl Tokens {
    pub(super) fn new(what: &'static str, credential: Arc<dyn TokenCredential>) -> Arc<Self> {
        let fetch = move || {
            let credential = Arc::clone(&credential);
            async move {
                let fetched = credential.get_token(&[SCOPE], None).await;
                let token = fetched.map_err(|error| failure::of_identity(what, &error))?;
                Ok(Dated { value: token.token, expires: token.expires_on })
            }
        };
        Arc::new(Self { what, tokens: Renewed::new(what, AHEAD, fetch) })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.what)
    }
}

/// Shows a token with each try.
#[derive(Debug)]
pub(super) struct BearerPolicy {
    tokens: Arc<Tokens>,
}

impl BearerPolicy {
    pub(super) fn new(tokens: Arc<Tokens>) -> Self {
        Self { tokens }
    }
}

#[async_trait]
impl Policy for BearerPolicy {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        // The settings do not allow it either; a token in the clear is not worth relying on that alone.
        if request.url().scheme() != "https" {
            return Err(failed(OriginErrorKind::Denied, "a token is not sent without TLS".to_owned()));
        }
        let token = self.tokens.tokens.get().await.map_err(failure::carried)?;
        request.insert_header("authorization", format!("Bearer {}", token.value.secret()));
        let answer = super::forward(context, request, next).await?;
        if answer.status() == StatusCode::Unauthorized {
            // The next request brings a new one.
            self.tokens.tokens.discard(|present| *present == token.value);
        }
        Ok(answer)
    }
}
