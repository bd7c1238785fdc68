//! An account, and its ranged reads: one call is one request.

use std::fmt;
use std::num::NonZero;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use azure_core::Uuid;
use azure_core::http::request::options::ClientRequestId;
use azure_core::http::{ClientMethodOptions, ClientOptions, Context, Etag, Pipeline};
use azure_storage_blob::clients::{BlobClient, BlobServiceClient, BlobServiceClientOptions};
use azure_storage_blob::models::{BlobClientDownloadOptions, BlobClientDownloadResult, HttpRange};
use dataproxy_cache::{ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead};
use dataproxy_outbound::TrustError;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use crate::Endpoint;
use crate::answer::{AsAskedPolicy, content_range};
use crate::credential::{self, Credential, CredentialError, Opened};
use crate::failure::{self, Asked};
use crate::place::{self, Place};
use crate::sign::Signer;
use crate::transport::Transports;

/// The version of the service that is spoken: what we ask for is older than it, and clouds that get new versions late,
/// and emulators, know it.
pub(crate) const SERVICE_VERSION: &str = "2023-11-03";

/// No blob is larger (50 000 blocks of 4000 MiB are 190.7 TiB), and no number of ours then too large for a header.
const BLOB_MAX: u64 = 1 << 48;

/// An account, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it is.
    pub endpoint: Endpoint,
    /// How it is shown who asks.
    pub credential: Credential,
    /// PEM file of an authority that is trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// Where it is and how it is shown who asks; never a secret.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.endpoint, self.credential)
    }
}

/// Why an account cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its credential.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Whom to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A token would be sent in the clear.
    #[error("{0} is not https; an identity's token is only sent by TLS")]
    TokenWithoutTls(Endpoint),
    /// The SDK refuses our settings.
    #[error("the account cannot be set up: {0}")]
    Setup(String),
}

/// An account of Azure Blob. Cheap to clone.
#[derive(Clone)]
pub struct Account {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) endpoint: Endpoint,
    pub(crate) credential: Opened,
    pub(crate) service: Arc<BlobServiceClient>,
    /// For what the SDK's clients cannot ask.
    pub(crate) pipeline: Pipeline,
    pub(crate) signer: Signer,
    shown: String,
}

impl Account {
    /// Opens an account: reads its secrets, and asks nobody over the network. Blocks on files.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(settings: &Settings, transports: &mut Transports) -> Result<Self, OpenError> {
        let Settings { endpoint, credential, ca_file } = settings;
        if credential.is_token() && !endpoint.is_tls() {
            return Err(OpenError::TokenWithoutTls(endpoint.clone()));
        }
        let transport = transports.get(endpoint.is_tls(), ca_file.as_deref())?;
        let opened = Opened::open(credential, &transport)?;
        let mut options = credential::client_options(&transport);
        options.per_try_policies = vec![opened.policy(endpoint.account()), Arc::new(AsAskedPolicy)];
        let service = Arc::new(service(endpoint, options.clone())?);
        let name = (Some(env!("CARGO_PKG_NAME")), Some(env!("CARGO_PKG_VERSION")));
        let pipeline = Pipeline::new(name.0, name.1, options, Vec::new(), Vec::new(), None);
        let signer = Signer::new(endpoint, &opened, &service);
        let shown = settings.to_string();
        let inner =
            Inner { endpoint: endpoint.clone(), credential: opened, service, pipeline, signer, shown };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn blob(&self, place: Place<'_>) -> BlobClient {
        self.inner.service.blob_client(place.container, place.blob)
    }

    /// What a failed request means; told in the log too.
    pub(crate) fn failure(&self, error: &azure_core::Error, what: &str, request: &RequestId) -> OriginError {
        let asked =
            Asked { account: self.inner.endpoint.account(), what, client_request_id: request.as_str() };
        failure::of_storage(error, asked, || self.inner.credential.excuse())
    }

    async fn read(
        &self,
        object: &ObjectName,
        range: Range<u64>,
        pin: Option<&ETag>,
    ) -> Result<OriginRead, OriginError> {
        let place = place::of_blob(object)?;
        let request = RequestId::new();
        let Some(length) = clamp(&range) else {
            let message = format!("{object:?}: the range {range:?} is empty");
            return Err(OriginError::new(OriginErrorKind::Protocol, message));
        };
        let options = BlobClientDownloadOptions {
            range: Some(HttpRange::new(range.start, length.get())),
            // One part: the SDK asks once and hands the body on as it comes.
            partition_size: NonZero::new(usize::try_from(length.get()).unwrap_or(usize::MAX)),
            parallel: Some(NonZero::<usize>::MIN),
            if_match: pin.map(|pin| Etag::from(pin.as_str())),
            method_options: request.options(),
            ..BlobClientDownloadOptions::default()
        };
        match self.blob(place).download(Some(options)).await {
            Ok(answer) => self.answer(object, answer, &request),
            Err(error) if is_range_invalid(&error) => {
                Err(self.range_invalid(object, place, range.start, &error).await)
            }
            Err(error) => Err(self.failure(&error, object.as_str(), &request)),
        }
    }

    fn answer(
        &self,
        object: &ObjectName,
        answer: BlobClientDownloadResult,
        request: &RequestId,
    ) -> Result<OriginRead, OriginError> {
        let header = |name: &'static str| answer.headers.get_optional_str(&name.into());
        let wrong =
            |kind, message: &str| Err(OriginError::new(kind, format!("{object:?}: {message} ({request})")));
        let Some(etag) = header("etag").map(ETag::new) else {
            return wrong(OriginErrorKind::Protocol, "the answer names no version (ETag)");
        };
        let (range, size) = match header("content-range") {
            Some(text) => match content_range(text) {
                Some(told) => told,
                None => return wrong(OriginErrorKind::Protocol, "the answer's Content-Range is none"),
            },
            // No range of an empty blob can be had, so the SDK has asked again for the whole.
            None if header("content-length") == Some("0") => (0..0, 0),
            None => return wrong(OriginErrorKind::Unavailable, "it was written to while it was read"),
        };
        let (object, request) = (object.clone(), request.clone());
        let body = answer.body.map(move |piece| {
            piece.map_err(|error| {
                let told = failure::of_wire(&error);
                OriginError::new(told.kind, format!("{object:?}: {} ({request})", told.message))
            })
        });
        Ok(OriginRead { size, etag, range, body: body.boxed(), lent: false })
    }

    /// The size of a blob that ends before `start`. Storage does not always tell it with its refusal; then it is asked
    /// for with the blob's first byte.
    async fn range_invalid(
        &self,
        object: &ObjectName,
        place: Place<'_>,
        start: u64,
        error: &azure_core::Error,
    ) -> OriginError {
        let invalid = |size| {
            let message = format!("{object:?} has {size} bytes, the range starts at {start}");
            OriginError::new(OriginErrorKind::RangeInvalid(size), message)
        };
        if let Some(size) = told_size(error) {
            return invalid(size);
        }
        let request = RequestId::new();
        let options = BlobClientDownloadOptions {
            range: Some(HttpRange::new(0, 1)),
            partition_size: Some(NonZero::<usize>::MIN),
            parallel: Some(NonZero::<usize>::MIN),
            method_options: request.options(),
            ..BlobClientDownloadOptions::default()
        };
        let read = match self.blob(place).download(Some(options)).await {
            Ok(answer) => self.answer(object, answer, &request),
            Err(error) => Err(self.failure(&error, object.as_str(), &request)),
        };
        match read {
            Ok(read) if read.size <= start => invalid(read.size),
            Ok(_) => {
                OriginError::new(OriginErrorKind::Changed, format!("{object:?} has grown while it was read"))
            }
            Err(error) => error,
        }
    }
}

impl Origin for Account {
    fn get<'a>(
        &'a self,
        object: &'a ObjectName,
        range: Range<u64>,
        pin: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<OriginRead, OriginError>> {
        Box::pin(self.read(object, range, pin))
    }
}

/// Where it is and how it is shown who asks; never a secret.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.shown)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({self})")
    }
}

fn service(endpoint: &Endpoint, client_options: ClientOptions) -> Result<BlobServiceClient, OpenError> {
    // Our own policy shows the credential, tokens too: the SDK would let every request wait for a renewal.
    let options = BlobServiceClientOptions { client_options, version: SERVICE_VERSION.to_owned() };
    BlobServiceClient::new(endpoint.url().clone(), None, Some(options))
        .map_err(|error| OpenError::Setup(error.to_string()))
}

/// The length to ask for: to the range's end, or to where no blob has bytes.
fn clamp(range: &Range<u64>) -> Option<NonZero<u64>> {
    let last = range.start.saturating_add(1).max(BLOB_MAX);
    NonZero::new(range.end.min(last).saturating_sub(range.start))
}

fn is_range_invalid(error: &azure_core::Error) -> bool {
    error.http_status().is_some_and(|status| u16::from(status) == 416)
}

/// RFC 9110, 15.5.17: `Content-Range: bytes */<size>`.
fn told_size(error: &azure_core::Error) -> Option<u64> {
    let azure_core::error::ErrorKind::HttpResponse { raw_response: Some(response), .. } = error.kind() else {
        return None;
    };
    response.headers().get_optional_str(&"content-range".into())?.strip_prefix("bytes */")?.parse().ok()
}

/// Our name of one request, which storage logs and we log.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    pub(crate) fn new() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn context(&self) -> Context<'static> {
        Context::new().with_value(ClientRequestId::new(self.0.to_string()))
    }

    pub(crate) fn options(&self) -> ClientMethodOptions<'static> {
        ClientMethodOptions { context: self.context() }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client request {}", self.0)
    }
}
