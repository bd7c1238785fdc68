//! Tokens of an identity: fetched ahead of their expiry, once for all who wait, shown with each try.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request, StatusCode};
use dataproxy_cache::{OriginError, OriginErrorKind};

use super::CredentialError;
use crate::failure;
use crate::renewed::{Dated, Renewed};
use crate::transport::failed;

/// The audience that storage of every cloud takes.
const SCOPE: &str = "https://storage.azure.com/.default";
/// So long an outage of the identity service goes unnoticed, if it begins just before a renewal.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// The tokens of one identity.
pub(crate) struct Tokens {
    what: &'static str,
    tokens: Renewed<Secret>,
}

impl Tokens {
    /// Tokens of the credentials that `open` gives, which may block on files. It is tried here, so that one that is
    /// not fully configured is told at once.
    ///
    /// Each fetch takes a new one: the SDK's credentials keep a token until five minutes before its end, one that
    /// storage has refused too.
    ///
    /// # Errors
    /// Those of `open`.
    pub(super) fn new(
        what: &'static str,
        open: impl Fn() -> Result<Arc<dyn TokenCredential>, CredentialError> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, CredentialError> {
        open()?;
        let open = Arc::new(open);
        let fetch = move || {
            let open = Arc::clone(&open);
            async move {
                let gone = |reason: &dyn fmt::Display| {
                    OriginError::new(OriginErrorKind::Unavailable, format!("no {what}: {reason}"))
                };
                let opened = tokio::task::spawn_blocking(move || open()).await;
                let credential = opened.map_err(|error| gone(&error))?.map_err(|error| gone(&error))?;
                let fetched = credential.get_token(&[SCOPE], None).await;
                let token = fetched.map_err(|error| failure::of_identity(what, &error))?;
                Ok(Dated { value: token.token, expires: token.expires_on })
            }
        };
        Ok(Arc::new(Self { what, tokens: Renewed::new(what, AHEAD, fetch) }))
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use azure_core::http::headers::Headers;
    use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Method, Transport, Url};

    use super::*;
    use crate::credential::managed_identity;

    /// A metadata service that numbers its tokens, which are good for years.
    #[derive(Debug, Default)]
    struct Numbered(AtomicUsize);

    #[async_trait]
    impl HttpClient for Numbered {
        async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
            let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            let body = format!(
                r#"{{"access_token":"token-{number}","expires_on":"4102444800","token_type":"Bearer","resource":"x"}}"#
            );
            Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, Headers::new(), body.into_bytes()))
        }
    }

    /// Storage that refuses the first token.
    #[derive(Debug)]
    struct Storage;

    #[async_trait]
    impl Policy for Storage {
        async fn send(&self, _: &Context, request: &mut Request, _: &[Arc<dyn Policy>]) -> PolicyResult {
            let shown = request.headers().get_optional_str(&"authorization".into());
            let status =
                if shown == Some("Bearer token-1") { StatusCode::Unauthorized } else { StatusCode::Ok };
            Ok(AsyncRawResponse::from_bytes(status, Headers::new(), Vec::new()))
        }
    }

    #[tokio::test]
    async fn a_token_that_storage_refuses_is_asked_for_anew_long_before_it_expires() {
        let identity = Arc::new(Numbered::default());
        let options = ClientOptions {
            transport: Some(Transport::new(Arc::<Numbered>::clone(&identity) as _)),
            ..ClientOptions::default()
        };
        let policy = BearerPolicy::new(managed_identity::open(None, None, options).expect("an identity"));
        let storage: [Arc<dyn Policy>; 1] = [Arc::new(Storage)];
        for expected in [StatusCode::Unauthorized, StatusCode::Ok, StatusCode::Ok] {
            let url = Url::parse("https://acct.blob.example/c/b").expect("a URL");
            let mut request = Request::new(url, Method::Get);
            let answer = policy.send(&Context::new(), &mut request, &storage).await.expect("an answer");
            assert_eq!(answer.status(), expected);
        }
        assert_eq!(identity.0.load(Ordering::SeqCst), 2, "one token more for the one that was refused");
    }
}
