//! The library's HTTP, on our own client: one stack of HTTP and TLS in the process, and no redirect followed.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use dataproxy_outbound::{ConnectLimitReached, Connector};
use http_body_util::{BodyExt, Limited};
use hyper_util::client::legacy::Client;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};

use super::seen::{ERROR_MAX, Seen};

/// The client that every bucket of an account is asked with.
#[derive(Clone)]
pub(super) struct Transport(Arc<Client<Connector, HttpRequestBody>>);

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

impl Transport {
    pub(super) fn new(client: Client<Connector, HttpRequestBody>) -> Self {
        Self(Arc::new(client))
    }
}

impl HttpConnector for Transport {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let seen = request.extensions().get::<Seen>().cloned();
        let answered = self.0.request(request).await;
        let response = answered.map_err(|error| {
            let kind = kind_of(&error, error.is_connect());
            if let Some(seen) = &seen {
                seen.failure(kind);
            }
            HttpError::new(kind, error)
        })?;
        if let Some(seen) = &seen {
            seen.answer(response.status(), response.headers());
        }
        let (head, body) = response.into_parts();
        let body = if head.status.is_success() {
            HttpResponseBody::new(body.map_err(|error| HttpError::new(kind_of(&error, false), error)))
        } else {
            // The library reads an error's document whole.
            let bounded = Limited::new(body, ERROR_MAX);
            HttpResponseBody::new(bounded.map_err(|error| HttpError::new_boxed(HttpErrorKind::Decode, error)))
        };
        Ok(HttpResponse::from_parts(head, body))
    }
}

fn kind_of(error: &(dyn Error + 'static), connecting: bool) -> HttpErrorKind {
    let timed_out = |io: &std::io::Error| io.kind() == std::io::ErrorKind::TimedOut;
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<ConnectLimitReached>() || error.downcast_ref().is_some_and(timed_out) {
            return HttpErrorKind::Timeout;
        }
        next = error.source();
    }
    if connecting { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted }
}
