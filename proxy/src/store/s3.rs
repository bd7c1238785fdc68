//! An S3-compatible account: AWS S3, MinIO, Ceph, R2 and others that distribution's S3 driver writes to.
//!
//! The first segment of an object's name is the bucket, the rest is the key. One read is one GET: size and version
//! come with its answer, and what a refusal says is taken from the answer itself (`s3/seen.rs`), which the library does
//! not hand on in full. Retries are the fetch's business, so the library makes none.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dataproxy_cache::{ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead};
use dataproxy_router_api::Prefix;
use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path as Key;
use object_store::signer::Signer;
pub use object_store::signer::Url;
use object_store::{GetOptions, GetRange, ObjectStore, RetryConfig, StaticCredentialProvider};

use super::{Listing, SignedUrl, Store};

mod folders;
mod options;
mod seen;
mod transport;

use folders::FolderPage;
pub use options::{S3Credential, S3OpenError, S3Options, S3Secret};
use seen::Seen;
use transport::Transport;

/// Keys that one page of a listing asks for at most; S3 gives no more.
const PAGE_KEYS: usize = 1000;

/// An S3-compatible account. Cheap to clone.
#[derive(Clone)]
pub struct S3Store {
    options: Arc<S3Options>,
    transport: Transport,
    /// Of the buckets that were asked for. Bindings name them, so they are few.
    buckets: Arc<Mutex<Buckets>>,
}

struct Buckets {
    clients: HashMap<String, AmazonS3>,
    /// Tokens are had once for all buckets.
    credentials: Option<AwsCredentialProvider>,
}

/// The library's own Debug may show what it signs with.
impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Store({})", self.options)
    }
}

fn credentials(credential: &S3Credential) -> Result<Option<AwsCredentialProvider>, S3OpenError> {
    let S3Credential::Key { id, secret } = credential else { return Ok(None) };
    let credential = AwsCredential { key_id: id.clone(), secret_key: secret.read()?, token: None };
    Ok(Some(Arc::new(StaticCredentialProvider::new(credential))))
}

impl S3Store {
    /// The account of these options: reads its secret, and asks nobody yet. Blocks on files.
    ///
    /// # Errors
    /// [`S3OpenError`]
    pub fn open(options: &S3Options) -> Result<Self, S3OpenError> {
        let is_tls = options.endpoint.as_ref().is_none_or(|url| url.scheme() == "https");
        let client = dataproxy_outbound::client(is_tls, options.ca.as_deref())?;
        let buckets = Buckets { clients: HashMap::new(), credentials: credentials(&options.credential)? };
        Ok(Self {
            options: Arc::new(options.clone()),
            transport: Transport::new(client),
            buckets: Arc::new(Mutex::new(buckets)),
        })
    }

    /// The client of the bucket that `object` is in, and the object's key there.
    fn bucket<'o>(&self, object: &'o ObjectName) -> Result<(AmazonS3, &'o str), OriginError> {
        let (bucket, key) = object.as_str().split_once('/').unwrap_or((object.as_str(), ""));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = buckets.clients.get(bucket) {
            return Ok((client.clone(), key));
        }
        let client = self.client_of(bucket, buckets.credentials.clone()).map_err(|error| {
            OriginError::new(OriginErrorKind::Unavailable, format!("bucket {bucket}: {error}"))
        })?;
        buckets.credentials.get_or_insert_with(|| Arc::clone(client.credentials()));
        buckets.clients.insert(bucket.to_owned(), client.clone());
        Ok((client, key))
    }

    fn client_of(
        &self,
        bucket: &str,
        credentials: Option<AwsCredentialProvider>,
    ) -> object_store::Result<AmazonS3> {
        let options = &self.options;
        let mut builder = match &options.credential {
            S3Credential::Environment => of_environment(),
            S3Credential::Key { .. } => AmazonS3Builder::new(),
            S3Credential::Anonymous => AmazonS3Builder::new().with_skip_signature(true),
        };
        if let Some(credentials) = credentials {
            builder = builder.with_credentials(credentials);
        }
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_allow_http(endpoint.scheme() == "http").with_endpoint(at(
                endpoint,
                bucket,
                options.path_style,
            ));
        }
        let no_retries = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        builder
            .with_region(&options.region)
            .with_bucket_name(bucket)
            .with_virtual_hosted_style_request(!options.path_style)
            .with_retry(no_retries)
            .with_http_connector(self.transport.clone())
            .build()
    }
}

/// What the environment says of credentials, and of nothing else: where the account is, is for the settings to say.
fn of_environment() -> AmazonS3Builder {
    let keys = [
        AmazonS3ConfigKey::AccessKeyId,
        AmazonS3ConfigKey::SecretAccessKey,
        AmazonS3ConfigKey::Token,
        AmazonS3ConfigKey::WebIdentityTokenFile,
        AmazonS3ConfigKey::RoleArn,
        AmazonS3ConfigKey::RoleSessionName,
        AmazonS3ConfigKey::StsEndpoint,
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
        AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
        AmazonS3ConfigKey::MetadataEndpoint,
    ];
    let environment = AmazonS3Builder::from_env();
    keys.into_iter().fold(AmazonS3Builder::new(), |builder, key| match environment.get_config_value(&key) {
        Some(value) => builder.with_config(key, value),
        None => builder,
    })
}

/// The endpoint as the library wants it: with the bucket in its host where that is the style.
fn at(endpoint: &Url, bucket: &str, path_style: bool) -> String {
    let text = endpoint.as_str().trim_end_matches('/');
    match text.split_once("://") {
        Some((scheme, rest)) if !path_style => format!("{scheme}://{bucket}.{rest}"),
        _ => text.to_owned(),
    }
}

/// A name of plain segments; any other names nothing.
fn key(name: &str) -> Result<Key, OriginError> {
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    let absent =
        |why: &str| OriginError::new(OriginErrorKind::NotFound, format!("{name:?} is no key: {why}"));
    if !name.split('/').all(plain) {
        return Err(absent("a segment is empty, '.' or '..'"));
    }
    Key::parse(name).map_err(|error| absent(&error.to_string()))
}

impl Origin for S3Store {
    fn get<'a>(
        &'a self,
        object: &'a ObjectName,
        range: Range<u64>,
        pin: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<OriginRead, OriginError>> {
        Box::pin(async move {
            let (bucket, name) = self.bucket(object)?;
            let key = key(name)?;
            let seen = Seen::default();
            let mut options = GetOptions {
                range: Some(GetRange::Bounded(range.clone())),
                if_match: pin.map(|pin| pin.as_str().to_owned()),
                ..GetOptions::default()
            };
            options.extensions.insert(seen.clone());
            let got = match bucket.get_opts(&key, options).await {
                Ok(got) => got,
                Err(error) if range.start == 0 && seen.is_empty_object(&error) => return Ok(empty()),
                Err(error) => return Err(seen.error(object.as_str(), &error)),
            };
            let Some(etag) = got.meta.e_tag.clone() else {
                let message = format!("{object:?}: the answer has no ETag, so no later read could be pinned");
                return Err(OriginError::new(OriginErrorKind::Protocol, message));
            };
            let (size, range, name) = (got.meta.size, got.range.clone(), object.clone());
            let body = got.into_stream().map(move |piece| {
                piece.map_err(|error| {
                    // Once the head is there, what fails is the way.
                    OriginError::new(OriginErrorKind::Unavailable, format!("{name:?}: {error}"))
                })
            });
            Ok(OriginRead { size, etag: ETag::new(etag), range, body: body.boxed(), lent: false })
        })
    }
}

/// S3 refuses every range of an object that has no bytes, and names no version in the refusal; there is but one
/// content of no bytes.
fn empty() -> OriginRead {
    OriginRead {
        size: 0,
        etag: ETag::new("\"empty\""),
        range: 0..0,
        body: futures_util::stream::empty().boxed(),
        lent: false,
    }
}

impl Store for S3Store {
    fn list<'a>(
        &'a self,
        prefix: &'a ObjectName,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, OriginError>> {
        Box::pin(async move {
            let (bucket, name) = self.bucket(prefix)?;
            let name = name.strip_suffix('/').unwrap_or(name);
            let below = if name.is_empty() { String::new() } else { format!("{}/", key(name)?) };
            let mut page = FolderPage::new(after, limit);
            let mut token = None;
            loop {
                let seen = Seen::default();
                let mut options = PaginatedListOptions {
                    // Folders come by their keys, `after` itself among them: see `FolderPage`.
                    offset: after.map(|after| format!("{below}{after}")),
                    delimiter: Some("/".into()),
                    max_keys: Some(PAGE_KEYS),
                    page_token: token,
                    ..PaginatedListOptions::default()
                };
                options.extensions.insert(seen.clone());
                let prefix_key = (!below.is_empty()).then_some(below.as_str());
                let listed = match bucket.list_paginated(prefix_key, options).await {
                    Ok(listed) => listed,
                    Err(error) => match seen.error(prefix.as_str(), &error) {
                        error if error.kind == OriginErrorKind::NotFound => return Ok(page.finish()),
                        error => return Err(error),
                    },
                };
                let folders = listed.result.common_prefixes.iter();
                page.extend(folders.filter_map(|folder| folder.as_ref().strip_prefix(below.as_str())));
                token = listed.page_token;
                if token.is_none() || page.is_settled() {
                    return Ok(page.finish());
                }
            }
        })
    }

    fn refuses(&self, prefix: &Prefix) -> Option<&'static str> {
        let is_rooted = prefix.as_str().starts_with('/');
        is_rooted.then_some(
            "an S3 key that begins with a slash cannot be read; leave it out of the placement's prefix",
        )
    }

    /// Signed with whatever requests are signed with; open buckets need no signature.
    fn sign<'a>(
        &'a self,
        object: &'a ObjectName,
        valid: Duration,
    ) -> BoxFuture<'a, Result<Option<SignedUrl>, OriginError>> {
        Box::pin(async move {
            if matches!(self.options.credential, S3Credential::Anonymous) {
                return Ok(None);
            }
            let (bucket, name) = self.bucket(object)?;
            let url = bucket.signed_url(http::Method::GET, &key(name)?, valid).await;
            url.map(|url| Some(SignedUrl::new(url.into())))
                .map_err(|error| Seen::default().error(object.as_str(), &error))
        })
    }
}

#[cfg(test)]
mod tests;
