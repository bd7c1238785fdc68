//! URLs that let a client read one blob from storage itself, for a while.
//!
//! With the account's key: a service SAS. With an identity: a user-delegation SAS, signed with a key that storage
//! lends the identity (role Storage Blob Delegator), fetched once for many URLs. With a SAS there is nothing to sign
//! with, and what we hold is not handed out.

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::Secret;
use azure_core::time::{OffsetDateTime, to_rfc3339};
use azure_storage_blob::clients::BlobServiceClient;
use azure_storage_blob::models::{BlobServiceClientGetUserDelegationKeyOptions, KeyInfo};
use dataproxy_cache::{ObjectName, OriginError, OriginErrorKind};

use crate::Endpoint;
use crate::account::{Account, RequestId};
use crate::credential::{Key, Opened, WatchedKey};
use crate::failure::{self, Asked};
use crate::place::{self, Place};
use crate::renewed::{Dated, Renewed};

/// The version that signatures are made for; its string to sign is below. Storage keeps old versions.
const VERSION: &str = "2022-11-02";
/// Life of a lent key; storage allows seven days.
const LENT_LIFE: Duration = Duration::from_secs(6 * 3600);
/// A lent key is renewed while it has this much left. A URL ends with its key.
const LENT_AHEAD: Duration = Duration::from_secs(2 * 3600);
/// How long a URL waits for a lent key, where there is none yet.
const LENT_WAIT: Duration = Duration::from_secs(5);
/// A lent key is good from a moment ago, in case our clock is ahead of storage's.
const LENT_BEFORE: Duration = Duration::from_secs(15 * 60);

/// What URLs are signed with.
#[derive(Debug)]
pub(crate) enum Signer {
    /// Nothing.
    None,
    /// The account's key.
    Own(WatchedKey),
    /// A key lent to our identity.
    Lent(Renewed<Arc<LentKey>>),
}

impl Signer {
    pub(crate) fn new(endpoint: &Endpoint, credential: &Opened, service: &Arc<BlobServiceClient>) -> Self {
        match credential {
            Opened::Sas(_) => Self::None,
            Opened::SharedKey(key) => Self::Own(Arc::clone(key)),
            Opened::Token(_) => {
                let (service, account) = (Arc::clone(service), endpoint.account().to_owned());
                Self::Lent(Renewed::new("user delegation key", LENT_AHEAD, move || {
                    lend(Arc::clone(&service), account.clone())
                }))
            }
        }
    }

    /// A signature over one blob, for `valid` or for as long as what signs is good.
    async fn query(
        &self,
        endpoint: &Endpoint,
        place: Place<'_>,
        valid: Duration,
    ) -> Result<Option<String>, OriginError> {
        let expires = OffsetDateTime::now_utc() + valid;
        Ok(match self {
            Self::None => None,
            Self::Own(key) => Some(Signed::new(endpoint, place, expires).by_account(&key.current())),
            Self::Lent(lent) => {
                let late = |_| OriginError::new(OriginErrorKind::Timeout, "no user delegation key in time");
                let lent = tokio::time::timeout(LENT_WAIT, lent.get()).await.map_err(late)??;
                // Storage refuses a URL that outlives its key.
                Some(Signed::new(endpoint, place, expires.min(lent.expires)).by_lent(&lent.value))
            }
        })
    }
}

/// A key that storage lends, with what it says of it. Cannot be printed.
pub(crate) struct LentKey {
    key: Key,
    object_id: String,
    tenant_id: String,
    starts: String,
    expires: String,
    service: String,
    version: String,
}

async fn lend(service: Arc<BlobServiceClient>, account: String) -> Result<Dated<Arc<LentKey>>, OriginError> {
    let now = OffsetDateTime::now_utc();
    let request = RequestId::new();
    let lent = async {
        let wanted =
            KeyInfo { start: Some(now - LENT_BEFORE), expiry: Some(now + LENT_LIFE), ..KeyInfo::default() };
        let options = BlobServiceClientGetUserDelegationKeyOptions {
            method_options: request.options(),
            ..BlobServiceClientGetUserDelegationKeyOptions::default()
        };
        service.get_user_delegation_key(wanted.try_into()?, Some(options)).await?.into_model()
    };
    let lent = lent.await.map_err(|error| {
        let asked =
            Asked { account: &account, what: "user delegation key", client_request_id: request.as_str() };
        failure::of_storage(&error, asked, || Some("the role Storage Blob Delegator lends keys".to_owned()))
    })?;
    let missing =
        || OriginError::new(OriginErrorKind::Protocol, "the user delegation key came without its parts");
    let expires = lent.signed_expiry.ok_or_else(missing)?;
    let key = LentKey {
        key: Key::new(&lent.value.ok_or_else(missing)?),
        object_id: lent.signed_oid.ok_or_else(missing)?,
        tenant_id: lent.signed_tid.ok_or_else(missing)?,
        starts: seconds(lent.signed_start.ok_or_else(missing)?),
        expires: seconds(expires),
        service: lent.signed_service.ok_or_else(missing)?,
        version: lent.signed_version.ok_or_else(missing)?,
    };
    Ok(Dated { value: Arc::new(key), expires })
}

impl Account {
    /// A URL that lets anybody read `object`, and nothing else, for `valid`, or `None` if the credential cannot sign.
    /// One that is signed with a lent key is good for as long as that is, if that is less. The blob is not looked at.
    /// The URL is a secret for as long as it is valid.
    ///
    /// # Errors
    /// [`OriginError`] where no key is lent within 5 s, and for names of no blob.
    pub async fn sign(&self, object: &ObjectName, valid: Duration) -> Result<Option<Secret>, OriginError> {
        let place = place::of_blob(object)?;
        let Some(query) = self.inner.signer.query(&self.inner.endpoint, place, valid).await? else {
            return Ok(None);
        };
        let mut url = self.inner.endpoint.blob(place.container, place.blob);
        url.set_query(Some(&query));
        Ok(Some(Secret::new(String::from(url))))
    }
}

/// What is signed: one blob, to be read, until then, by this protocol.
struct Signed {
    canonical: String,
    expires: String,
    protocol: &'static str,
}

impl Signed {
    fn new(endpoint: &Endpoint, place: Place<'_>, expires: OffsetDateTime) -> Self {
        Self {
            canonical: format!("/blob/{}/{}/{}", endpoint.account(), place.container, place.blob),
            expires: seconds(expires),
            protocol: if endpoint.is_tls() { "https" } else { "https,http" },
        }
    }

    /// "Create a service SAS", Azure Storage reference, version 2020-12-06 and later.
    fn by_account(&self, key: &Key) -> String {
        let Self { canonical, expires, protocol } = self;
        let none = "";
        let text = [
            "r", none, expires, canonical, none, none, protocol, VERSION, "b", none, none, none, none, none,
            none, none,
        ];
        self.query(&[], &key.sign(&text.join("\n")))
    }

    /// "Create a user delegation SAS", Azure Storage reference, version 2020-12-06 and later.
    fn by_lent(&self, lent: &LentKey) -> String {
        let Self { canonical, expires, protocol } = self;
        let none = "";
        let text = [
            "r",
            none,
            expires,
            canonical,
            &lent.object_id,
            &lent.tenant_id,
            &lent.starts,
            &lent.expires,
            &lent.service,
            &lent.version,
            none,
            none,
            none,
            none,
            protocol,
            VERSION,
            "b",
            none,
            none,
            none,
            none,
            none,
            none,
            none,
        ];
        let more = [
            ("skoid", &*lent.object_id),
            ("sktid", &*lent.tenant_id),
            ("skt", &*lent.starts),
            ("ske", &*lent.expires),
            ("sks", &*lent.service),
            ("skv", &*lent.version),
        ];
        self.query(&more, &lent.key.sign(&text.join("\n")))
    }

    fn query(&self, more: &[(&str, &str)], signature: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("sv", VERSION).append_pair("sr", "b").append_pair("sp", "r");
        query.append_pair("se", &self.expires).append_pair("spr", self.protocol);
        query.extend_pairs(more).append_pair("sig", signature);
        query.finish()
    }
}

/// A time as signatures have it: whole seconds.
fn seconds(time: OffsetDateTime) -> String {
    to_rfc3339(&time.replace_nanosecond(0).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use azure_core::time::parse_rfc3339;

    use super::*;

    fn signed(url: &str) -> Signed {
        let endpoint = Endpoint::at_url(url, None).expect("an endpoint");
        let expires = parse_rfc3339("2026-11-25T02:00:00Z").expect("a time");
        Signed::new(&endpoint, Place { container: "c", blob: "/docker/x y" }, expires)
    }

    /// A signer whose lent key is good for so long.
    fn lent(life: Duration) -> Signer {
        Signer::Lent(Renewed::new("user delegation key", LENT_AHEAD, move || async move {
            let expires = OffsetDateTime::now_utc() + life;
            let key = LentKey {
                key: Key::new(b"key"),
                object_id: "o".to_owned(),
                tenant_id: "t".to_owned(),
                starts: seconds(expires - LENT_LIFE),
                expires: seconds(expires),
                service: "b".to_owned(),
                version: VERSION.to_owned(),
            };
            Ok(Dated { value: Arc::new(key), expires })
        }))
    }

    fn value(query: &str, name: &str) -> OffsetDateTime {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (_, value) = pairs.find(|(key, _)| key == name).expect(name);
        parse_rfc3339(&value).expect("a time")
    }

    fn is_near(found: OffsetDateTime, expected: OffsetDateTime) -> bool {
        (found - expected).abs() < Duration::from_secs(10)
    }

    #[tokio::test]
    async fn a_url_is_good_for_as_long_as_was_asked_for_but_does_not_outlive_a_lent_key() {
        let endpoint = Endpoint::at_url("https://acct.blob.core.windows.net", None).expect("an endpoint");
        let place = Place { container: "c", blob: "x" };
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (life, asked) in [(6, 4), (1, 4), (1, 24)] {
            let signed = lent(hours(life)).query(&endpoint, place, hours(asked)).await;
            let query = signed.expect("no failure").expect("signed");
            let (end, key_end) = (value(&query, "se"), value(&query, "ske"));
            assert!(end <= key_end, "{end}, and the key {key_end}");
            assert!(is_near(end, OffsetDateTime::now_utc() + hours(asked.min(life))), "{end}");
        }
    }

    #[tokio::test]
    async fn a_url_signed_with_the_accounts_key_is_good_for_a_whole_day_if_asked_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("key");
        std::fs::write(&file, "c2VjcmV0LWtleS1vZi1ub2JvZHk=").expect("a file");
        let settings = crate::Settings {
            endpoint: Endpoint::at_url("http://127.0.0.1:1/acct", None).expect("an endpoint"),
            credential: crate::Credential::SharedKey(crate::SecretSource::File(file)),
            ca_file: None,
        };
        let account = Account::open(&settings, &mut crate::Transports::default()).expect("an account");
        let day = Duration::from_secs(24 * 3600);
        let url =
            account.sign(&ObjectName::new("contoso/x"), day).await.expect("no failure").expect("signed");
        let (_, query) = url.secret().split_once('?').expect("a query");
        let end = value(query, "se");
        assert!(is_near(end, OffsetDateTime::now_utc() + day), "{end}");
    }

    #[test]
    fn a_service_sas_covers_one_blob_for_reading_and_https_where_there_is_any() {
        let query = signed("https://acct.blob.core.windows.net").by_account(&Key::new(b"key"));
        // The string to sign of the reference; that a key signs right is shown beside it.
        let text =
            "r\n\n2026-11-25T02:00:00Z\n/blob/acct/c//docker/x y\n\n\nhttps\n2022-11-02\nb\n\n\n\n\n\n\n";
        let signature: String =
            form_urlencoded::byte_serialize(Key::new(b"key").sign(text).as_bytes()).collect();
        let expected =
            format!("sv=2022-11-02&sr=b&sp=r&se=2026-11-25T02%3A00%3A00Z&spr=https&sig={signature}");
        assert_eq!(query, expected);
        let plain = signed("http://127.0.0.1:10000/acct").by_account(&Key::new(b"key"));
        assert!(plain.contains("spr=https%2Chttp&"), "{plain}");
    }

    #[test]
    fn times_are_whole_seconds() {
        let time = OffsetDateTime::from_unix_timestamp_nanos(1_795_572_000_123_456_789).expect("a time");
        assert_eq!(seconds(time), "2026-11-25T02:00:00Z");
    }
}
