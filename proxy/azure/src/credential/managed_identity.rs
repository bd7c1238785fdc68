//! The identity of the machine, by its metadata service (IMDS), or by what App Service puts in its place.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{ClientOptions, Context, Request, Url};
use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};

use super::CredentialError;
use super::token::Tokens;

pub(super) fn open(
    client_id: Option<String>,
    endpoint: Option<Url>,
    mut client_options: ClientOptions,
) -> Result<Arc<Tokens>, CredentialError> {
    if let Some(endpoint) = endpoint {
        client_options.per_call_policies.push(Arc::new(Elsewhere { endpoint }));
    }
    Tokens::new("managed identity's token", move || {
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
            client_options: client_options.clone(),
        };
        ManagedIdentityCredential::new(Some(options))
            .map(|credential| credential as _)
            .map_err(|error| CredentialError::Identity(error.to_string()))
    })
}

/// Sends the SDK's requests, whose address is fixed, to another machine.
#[derive(Debug)]
struct Elsewhere {
    endpoint: Url,
}

#[async_trait]
impl Policy for Elsewhere {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let mut url = self.endpoint.clone();
        url.set_path(request.url().path());
        url.set_query(request.url().query());
        *request.url_mut() = url;
        super::forward(context, request, next).await
    }
}
