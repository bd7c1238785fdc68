//! Manifests, by tag and by digest.
//!
//! `Accept` is not judged: every client in use lists all that it understands, in random order or with `*/*` behind it,
//! and would rather be told what there is than get a 406. What was pushed is what is served, byte for byte.

use bytes::Bytes;
use dataproxy_cache::{BlobKey, Cache, Outcome};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::account::Account;
use crate::content::{Content, OwnedManifest};
use crate::media_type::sniff;
use crate::name::Reference;
use crate::precondition::{digest_in, etag, not_modified};
use crate::prefetch::Prefetch;
use crate::refusal::Refusal;
use crate::resolve::ResolvedStamp;
use crate::respond::{Answer, CONTENT_DIGEST, IMMUTABLE, Payload};

/// Largest manifest served, in bytes: what registries accept and clients read.
pub(crate) const MANIFEST_MAX: u64 = 4 << 20;
/// Kinds remembered.
const KINDS: u64 = 16_384;

/// Reads manifests and remembers of which kind each is, as that costs a parse.
#[derive(Debug)]
pub(crate) struct Manifests {
    cache: Cache,
    kinds: moka::sync::Cache<BlobKey, HeaderValue>,
}

impl Manifests {
    /// Reads through this cache.
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache, kinds: moka::sync::Cache::new(KINDS) }
    }

    /// Answers a GET.
    ///
    /// # Errors
    /// [`Refusal`]
    pub(crate) async fn answer(
        &self,
        content: &Content,
        at: &ResolvedStamp<'_>,
        reference: &Reference,
        headers: &HeaderMap,
        prefetch: Option<&Prefetch>,
        account: &mut Account,
    ) -> Result<Answer, Refusal> {
        let owned = content.manifest(at, reference).await?;
        let etag = etag(owned.digest());
        let keep = match reference {
            Reference::Digest(_) => IMMUTABLE,
            // A tag may move: what is kept has to be asked for again, which its ETag makes cheap.
            Reference::Tag(_) => HeaderValue::from_static("no-cache"),
        };
        let mut answer = match not_modified(headers, &etag) {
            Ok(true) => {
                Answer::new(StatusCode::NOT_MODIFIED, Payload::None).with(header::CACHE_CONTROL, keep)
            }
            Ok(false) => {
                let (bytes, outcome) = self.read(&owned).await?;
                account.served(outcome);
                let kind = self.kind(&owned, &bytes)?;
                if let Some(prefetch) = prefetch {
                    prefetch.served(owned.key(), at.repository(), &bytes);
                }
                Answer::new(StatusCode::OK, Payload::Bytes(bytes))
                    .with(header::CONTENT_TYPE, kind)
                    .with(header::CACHE_CONTROL, keep)
            }
            // Refused for how it was asked for: what there is to ask for is said all the same.
            Err(refusal) => {
                account.refused(&refusal);
                Answer::from(&refusal)
            }
        };
        if let Some(age) = owned.stale() {
            account.stale();
            // RFC 9111 gave 110 and 111 up; 299 is what OCI clients show to their users.
            let warning =
                format!("299 - \"storage gives no answer; this tag was last read {} s ago\"", age.as_secs());
            answer = answer.with_text(header::WARNING, warning);
        }
        Ok(answer.with_text(CONTENT_DIGEST, digest_in(&etag)).with_text(header::ETAG, etag))
    }

    /// The bytes of a manifest, verified.
    ///
    /// # Errors
    /// [`Refusal`]; above [`MANIFEST_MAX`] nothing is read or kept.
    pub(crate) async fn read(&self, owned: &OwnedManifest) -> Result<(Bytes, Outcome), Refusal> {
        let read = self.cache.read_all(owned.key(), owned.source(), MANIFEST_MAX).await;
        let (bytes, outcome) = read.map_err(|error| {
            tracing::warn!(key = %owned.key(), %error, "a manifest cannot be read");
            Refusal::of_cache(&error, Refusal::ManifestUnknown)
        })?;
        // Content of zero bytes is content that has gone: no manifest is empty.
        if bytes.is_empty() { Err(Refusal::ManifestUnknown) } else { Ok((bytes, outcome)) }
    }

    fn kind(&self, owned: &OwnedManifest, bytes: &[u8]) -> Result<HeaderValue, Refusal> {
        if let Some(kind) = self.kinds.get(owned.key()) {
            return Ok(kind);
        }
        let kind = sniff(bytes).map_err(Refusal::ManifestInvalid)?;
        self.kinds.insert(owned.key().clone(), kind.clone());
        Ok(kind)
    }
}
