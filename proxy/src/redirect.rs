//! Blobs that are answered by a redirect, where the registry's binding wants it: to a signed URL of the storage account,
//! if its clients can reach it, or else from a node of role `registry` to the data endpoint.
//!
//! Everything that a stream of the bytes would need comes first: the permit, and the repository's ownership. A URL is
//! the permission to read one blob for a while, and is shown to nobody but the client: no log and no error has it.
//! HEAD is always answered here. What cannot be redirected is streamed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataproxy_cache::{ObjectName, OriginError, OriginErrorKind};
use dataproxy_router_api::AccountName;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::timeout;

use crate::content::OwnedBlob;
use crate::precondition::{etag, not_modified};
use crate::process::now_seconds;
use crate::resolve::ResolvedStamp;
use crate::respond::{Answer, Payload};
use crate::store::{SignedUrl, Store};

mod endpoint;
mod signature;

pub use endpoint::{DataEndpoint, EndpointError};
pub use signature::{Claim, KeyError, Keys, Subject, Verified};
pub(crate) use signature::{EXPIRES, SIGNATURE};

/// How long an account has to sign a URL, for which it may have to fetch what it signs with. After that the blob is
/// streamed, for which it may need no such thing.
const SIGN_MAX: Duration = Duration::from_secs(1);

/// Where a client is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The storage account.
    Storage,
    /// The data endpoint of the stamp.
    Node,
}

impl Destination {
    /// The stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Node => "node",
        }
    }
}

/// When a blob is answered by a redirect, and with which URL.
#[derive(Debug)]
pub struct Redirects {
    /// Accounts that clients can reach.
    pub open: HashSet<AccountName>,
    /// Where this node sends clients for blobs; `None` if it streams them.
    pub data_endpoint: Option<DataEndpoint>,
    /// What URLs of nodes are signed and verified with.
    pub keys: Option<Arc<Keys>>,
    /// How long a URL is valid.
    pub valid: Duration,
}

impl Default for Redirects {
    /// No redirect at all.
    fn default() -> Self {
        Self { open: HashSet::new(), data_endpoint: None, keys: None, valid: Duration::from_secs(20 * 60) }
    }
}

impl Redirects {
    /// The redirect that answers a GET of a blob of a registry that redirects, if one does, within [`SIGN_MAX`]. `is_signed` says whether it came by a node's signed URL:
    /// such a request is not sent to a node again.
    pub(crate) async fn answer(
        &self,
        at: &ResolvedStamp<'_>,
        owned: &OwnedBlob,
        is_signed: bool,
        headers: &HeaderMap,
    ) -> Option<(Answer, Destination)> {
        // What the client has already is said here.
        if not_modified(headers, &etag(&owned.key().digest)) != Ok(false) {
            return None;
        }
        if let Some(url) = self.storage_url(at, owned).await {
            return Some((redirect(&url)?, Destination::Storage));
        }
        let url = self.node_url(at, owned).filter(|_| !is_signed)?;
        Some((redirect(&url)?, Destination::Node))
    }

    async fn storage_url(&self, at: &ResolvedStamp<'_>, owned: &OwnedBlob) -> Option<SignedUrl> {
        let binding = at.binding();
        if !self.open.contains(&binding.placement.account) {
            return None;
        }
        match signed_in_time(&**at.holdings().store()?, &owned.source().object, self.valid).await {
            Ok(url) => url,
            Err(error) => {
                let (account, registry) = (&binding.placement.account, &binding.registry);
                tracing::warn!(%account, %registry, %error, "no URL could be signed; the blob is streamed");
                None
            }
        }
    }

    fn node_url(&self, at: &ResolvedStamp<'_>, owned: &OwnedBlob) -> Option<SignedUrl> {
        let (endpoint, keys) = (self.data_endpoint.as_ref()?, self.keys.as_ref()?);
        let binding = at.binding();
        let subject =
            Subject { registry: &binding.registry, repository: at.repository(), digest: &owned.key().digest };
        let expires = now_seconds() as u64 + self.valid.as_secs();
        let base = endpoint.of(&binding.registry, &binding.home_stamp);
        let query = keys.sign(&subject, expires);
        let Subject { registry, repository, digest } = subject;
        Some(SignedUrl::new(format!("{base}/t/{registry}/v2/{repository}/blobs/{digest}?{query}")))
    }
}

async fn signed_in_time(
    store: &dyn Store,
    object: &ObjectName,
    valid: Duration,
) -> Result<Option<SignedUrl>, OriginError> {
    timeout(SIGN_MAX, store.sign(object, valid)).await.unwrap_or_else(|_| {
        Err(OriginError::new(OriginErrorKind::Timeout, format!("no URL within {SIGN_MAX:?}")))
    })
}

/// 307: the method and the range are sent again as they are. The answer is one client's own, and says nothing of the
/// content: who follows it gets that from where it is.
fn redirect(url: &SignedUrl) -> Option<Answer> {
    let mut location = HeaderValue::from_str(url.expose()).ok()?;
    location.set_sensitive(true);
    let answer = Answer::new(StatusCode::TEMPORARY_REDIRECT, Payload::Bytes(Bytes::new()));
    Some(
        answer
            .with(header::LOCATION, location)
            .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    )
}
