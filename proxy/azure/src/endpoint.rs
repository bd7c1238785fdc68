//! Where an account is.

use std::fmt;

use azure_core::http::Url;

/// The suffix of the public cloud's blob endpoints. Others: `blob.core.usgovcloudapi.net`, `blob.core.chinacloudapi.cn`.
pub const PUBLIC_SUFFIX: &str = "blob.core.windows.net";

/// The address of one account's blob service.
///
/// Either `https://<account>.<suffix>`, or a whole URL: a private endpoint, a custom domain, or an emulator with the
/// account as the first segment of the path (`http://127.0.0.1:10000/devstoreaccount1`).
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    account: String,
}

/// An endpoint that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL, or not one of an account.
    #[error("{0:?} is not the URL of a blob service; {1}")]
    Url(String, &'static str),
    /// The account's name is not one.
    #[error("{0:?} is not the name of a storage account; 3 to 24 of a-z and 0-9 are allowed")]
    Account(String),
    /// The suffix is not one of a blob service.
    #[error("{0:?} is not the suffix of a cloud's blob service; such as blob.core.windows.net is allowed")]
    Suffix(String),
}

impl Endpoint {
    /// The endpoint of an account in a cloud.
    ///
    /// # Errors
    /// [`EndpointError`]
    pub fn of_account(account: &str, suffix: &str) -> Result<Self, EndpointError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if !(3..=24).contains(&account.len()) || !account.chars().all(plain) {
            return Err(EndpointError::Account(account.to_owned()));
        }
        let wrong = || EndpointError::Suffix(suffix.to_owned());
        let host = |c: char| plain(c) || matches!(c, '.' | '-');
        // `z01.blob.storage.azure.net` is one too: accounts with a DNS zone.
        if !suffix.chars().all(host) || !suffix.split('.').any(|label| label == "blob") {
            return Err(wrong());
        }
        let url = Url::parse(&format!("https://{account}.{suffix}")).map_err(|_| wrong())?;
        Ok(Self { url, account: account.to_owned() })
    }

    /// The endpoint at a whole URL. The account is `account`, else the path's first segment, else the host's first
    /// label.
    ///
    /// # Errors
    /// [`EndpointError`]
    pub fn at_url(text: &str, account: Option<&str>) -> Result<Self, EndpointError> {
        // A URL with a query may hold a secret: it is not repeated.
        let shown = text.split_once('?').map_or(text, |(open, _)| open).to_owned();
        let wrong = |why| EndpointError::Url(shown.clone(), why);
        let mut url =
            Url::parse(text).map_err(|_| wrong("such as https://account.blob.core.windows.net is"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("http and https are allowed"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(
                "it has no query; a SAS is a credential and comes from a file or the environment",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("it names no user"));
        }
        let path = url.path().trim_matches('/').to_owned();
        if path.contains('/') {
            return Err(wrong("its path is empty, or the account's name alone"));
        }
        let label = || url.domain().and_then(|host| host.split('.').next()).map(str::to_owned);
        let in_path = || (!path.is_empty()).then(|| path.clone());
        let account = account.map(str::to_owned).or_else(in_path).or_else(label);
        let account =
            account.ok_or_else(|| wrong("an address of numbers needs the account's name as its path"))?;
        url.set_path(&path);
        Ok(Self { url, account })
    }

    /// The account's name.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Whether it is reached by TLS.
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The service's URL.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// The URL of a container.
    pub(crate) fn container(&self, container: &str) -> Url {
        self.below(std::iter::once(container))
    }

    /// The URL of a blob, its slashes as they are.
    pub(crate) fn blob(&self, container: &str, blob: &str) -> Url {
        self.below(std::iter::once(container).chain(blob.split('/')))
    }

    fn below<'a>(&self, segments: impl Iterator<Item = &'a str>) -> Url {
        let mut url = self.url.clone();
        // Fails only for URLs that cannot have a path, which http and https ones can.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_every_cloud_have_their_endpoint() {
        for (suffix, url) in [
            (PUBLIC_SUFFIX, "https://contoso1.blob.core.windows.net"),
            ("blob.core.usgovcloudapi.net", "https://contoso1.blob.core.usgovcloudapi.net"),
            ("blob.core.chinacloudapi.cn", "https://contoso1.blob.core.chinacloudapi.cn"),
            ("z01.blob.storage.azure.net", "https://contoso1.z01.blob.storage.azure.net"),
        ] {
            let endpoint = Endpoint::of_account("contoso1", suffix).expect(suffix);
            assert_eq!((endpoint.to_string().as_str(), endpoint.account()), (url, "contoso1"));
            assert!(endpoint.is_tls());
        }
    }

    #[test]
    fn a_whole_url_says_which_account_it_is() {
        for (url, given, account) in [
            ("http://127.0.0.1:10000/devstoreaccount1", None, "devstoreaccount1"),
            ("http://127.0.0.1:10000/devstoreaccount1/", None, "devstoreaccount1"),
            ("https://contoso1.blob.core.windows.net/", None, "contoso1"),
            ("https://contoso1.privatelink.blob.core.windows.net", None, "contoso1"),
            ("https://blobs.contoso.example", Some("contoso1"), "contoso1"),
        ] {
            let endpoint = Endpoint::at_url(url, given).expect(url);
            assert_eq!(endpoint.account(), account, "{url}");
            assert_eq!(endpoint.to_string(), url.trim_end_matches('/'));
        }
    }

    #[test]
    fn names_are_put_into_urls_as_they_are() {
        let path = Endpoint::at_url("http://127.0.0.1:10000/dev", None).expect("an endpoint");
        let host = Endpoint::of_account("abc", PUBLIC_SUFFIX).expect("an endpoint");
        assert_eq!(path.blob("c", "a/b c%").as_str(), "http://127.0.0.1:10000/dev/c/a/b%20c%25");
        assert_eq!(
            host.blob("c", "/docker/x?#").as_str(),
            "https://abc.blob.core.windows.net/c//docker/x%3F%23"
        );
        assert_eq!(host.container("c").as_str(), "https://abc.blob.core.windows.net/c");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_what_would_be_and_without_a_secret() {
        let url = |text| Endpoint::at_url(text, None).expect_err(text).to_string();
        assert!(url("contoso").contains("such as https://"));
        assert!(url("ftp://a.example").contains("http and https"));
        assert!(url("http://127.0.0.1:10000").contains("as its path"));
        assert!(url("https://a.example/b/c").contains("its path"));
        assert!(url("https://me:word@a.example").contains("names no user"));
        let sas = url("https://a.example/?sv=1&sig=hidden");
        assert!(sas.contains("comes from a file") && !sas.contains("hidden"), "{sas}");
        let of = |account, suffix| Endpoint::of_account(account, suffix).expect_err(account).to_string();
        assert!(of("Contoso", PUBLIC_SUFFIX).contains("3 to 24"));
        assert!(of("contoso", "core.windows.net").contains("suffix"));
        assert!(of("contoso", "blob.example/x").contains("suffix"));
    }
}
