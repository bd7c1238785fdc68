//! The account's key: each try is signed anew, since the signature covers the time.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use azure_core::base64;
use azure_core::credentials::Secret;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use azure_core::time::{OffsetDateTime, to_rfc7231};

use super::secret::Watched;

/// A key that signs. Cannot be printed.
pub(crate) struct Key(hmac::Key);

impl Key {
    /// Reads a key as the portal shows it: base64.
    pub(super) fn parse(text: &Secret) -> Result<Self, &'static str> {
        if text.secret().starts_with("DefaultEndpointsProtocol=") || text.secret().contains("AccountKey=") {
            return Err("it is a connection string; the value of its AccountKey alone is allowed");
        }
        let bytes = base64::decode(text.secret()).map_err(|_| "it is not base64, as an account's key is")?;
        Ok(Self::new(&bytes))
    }

    /// A key of these bytes.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// HMAC-SHA256 of the text, in base64.
    pub(crate) fn sign(&self, text: &str) -> String {
        base64::encode(hmac::sign(&self.0, text.as_bytes()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Signs each try ("Authorize with Shared Key", Azure Storage reference).
#[derive(Debug)]
pub(super) struct SharedKeyPolicy {
    key: Arc<Watched<Key>>,
    account: String,
}

impl SharedKeyPolicy {
    pub(super) fn new(key: Arc<Watched<Key>>, account: String) -> Self {
        Self { key, account }
    }
}

#[async_trait]
impl Policy for SharedKeyPolicy {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        // What is signed must be what is sent, and hyper would add the length by itself.
        if let Some(length) = request.body().len().filter(|length| *length > 0) {
            request.insert_header("content-length", length.to_string());
        }
        request.insert_header("x-ms-date", to_rfc7231(&OffsetDateTime::now_utc()));
        let signature = self.key.current().sign(&string_to_sign(request, &self.account));
        request.insert_header("authorization", format!("SharedKey {}:{signature}", self.account));
        super::forward(context, request, next).await
    }
}

fn string_to_sign(request: &Request, account: &str) -> String {
    let header = |name: &'static str| request.headers().get_optional_str(&name.into()).unwrap_or_default();
    let mut text = request.method().as_str().to_owned();
    for name in [
        "content-encoding",
        "content-language",
        "content-length",
        "content-md5",
        "content-type",
        "date",
        "if-modified-since",
        "if-match",
        "if-none-match",
        "if-unmodified-since",
        "range",
    ] {
        let value = header(name);
        // Since version 2015-02-21 a length of zero is an empty one.
        let value = if name == "content-length" && value == "0" { "" } else { value };
        text.push('\n');
        // The time is signed as x-ms-date.
        text.push_str(if name == "date" { "" } else { value });
    }
    text.push('\n');
    let mut own: Vec<(&str, &str)> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| name.starts_with("x-ms-"))
        .collect();
    own.sort_unstable();
    for (name, value) in own {
        text.push_str(&format!("{name}:{}\n", value.trim()));
    }
    text.push_str(&format!("/{account}{}", request.url().path()));
    let mut query: Vec<(String, String)> = request
        .url()
        .query_pairs()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned()))
        .collect();
    query.sort_unstable();
    for (name, value) in query {
        text.push_str(&format!("\n{name}:{value}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use azure_core::http::{Method, Url};

    use super::*;

    #[test]
    fn the_string_to_sign_is_that_of_the_reference() {
        let url = "http://127.0.0.1:10000/dev/c/a%20b?restype=container&comp=list&prefix=x%2Fy";
        let mut request = Request::new(Url::parse(url).expect("a URL"), Method::Get);
        request.insert_header("x-ms-version", "2026-04-06");
        request.insert_header("x-ms-date", "Wed, 25 Nov 2026 01:13:10 GMT");
        request.insert_header("range", "bytes=0-1");
        request.insert_header("if-match", "\"0x8\"");
        request.insert_header("content-length", "0");
        request.insert_header("accept", "application/xml");
        let expected = "GET\n\n\n\n\n\n\n\n\"0x8\"\n\n\nbytes=0-1\n\
                        x-ms-date:Wed, 25 Nov 2026 01:13:10 GMT\nx-ms-version:2026-04-06\n\
                        /dev/dev/c/a%20b\ncomp:list\nprefix:x/y\nrestype:container";
        assert_eq!(string_to_sign(&request, "dev"), expected);
    }

    #[test]
    fn a_key_signs_and_is_not_shown() {
        // RFC 4231, test case 2.
        let key = Key::new(b"Jefe");
        let mac = "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=";
        assert_eq!(key.sign("what do ya want for nothing?"), mac);
        assert_eq!(format!("{key:?}"), "Key");
        for text in ["not base64!", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=aGlkZGVu"] {
            let reason = Key::parse(&Secret::new(text)).expect_err(text);
            assert!(!reason.contains("aGlkZGVu") && !reason.contains("not base64!"), "{reason}");
        }
    }
}
