//! The identity of a Kubernetes service account: its federated token is exchanged for one of storage.

use std::path::PathBuf;
use std::sync::Arc;

use azure_core::cloud::CustomConfiguration;
use azure_core::http::{ClientOptions, Url};
use azure_identity::{
    ClientAssertionCredentialOptions, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};

use super::CredentialError;
use super::token::Tokens;

pub(super) fn open(
    tenant_id: Option<String>,
    client_id: Option<String>,
    token_file: Option<PathBuf>,
    authority: Option<&Url>,
    mut client_options: ClientOptions,
) -> Result<Arc<Tokens>, CredentialError> {
    if let Some(authority) = authority {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = authority.to_string();
        client_options.cloud = Some(Arc::new(cloud.into()));
    }
    Tokens::new("workload identity's token", move || {
        let options = WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions { client_options: client_options.clone() },
            client_id: client_id.clone(),
            tenant_id: tenant_id.clone(),
            token_file_path: token_file.clone(),
        };
        WorkloadIdentityCredential::new(Some(options))
            .map(|credential| credential as _)
            .map_err(|error| CredentialError::Identity(error.to_string()))
    })
}
