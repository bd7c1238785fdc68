//! The data endpoint: a URL with the names of registry, stamp, region and zone left open.

use dataproxy_router_api::{RegionName, RegistryName, StampName};
use http::Uri;

use crate::identify::Zone;

/// A text that is not a data endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a data endpoint: {reason}; allowed is a URL without a path, such as \"https://{{registry}}.{{region}}.data.{{zone}}\" or \"http://10.0.0.7:5000\", with {{registry}}, {{stamp}}, {{region}} and {{zone}} where they are to be put in"
)]
pub struct EndpointError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Where a stamp's nodes serve blobs, for any registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataEndpoint(String);

impl DataEndpoint {
    /// Reads a template and puts region and zone in.
    ///
    /// # Errors
    /// [`EndpointError`]: it is not an `http` or `https` URL of a host alone.
    pub fn new(template: &str, region: &RegionName, zone: &Zone) -> Result<Self, EndpointError> {
        let text = template.trim_end_matches('/');
        let text = text.replace("{region}", region.as_str()).replace("{zone}", zone.as_str());
        let refuse = |reason| Err(EndpointError { text: template.chars().take(200).collect(), reason });
        let example = text.replace("{registry}", "contoso").replace("{stamp}", "a");
        if example.contains(['{', '}']) {
            return refuse("it has another placeholder than these");
        }
        let Ok(uri) = example.parse::<Uri>() else { return refuse("it is no URL") };
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return refuse("it does not begin with http:// or https://");
        }
        match uri.authority() {
            Some(authority) if !authority.as_str().contains('@') => {}
            _ => return refuse("it has a user, or no host"),
        }
        if uri.path() != "/" || uri.query().is_some() || example.contains('#') {
            return refuse("it has a path, a query or a fragment");
        }
        Ok(Self(text))
    }

    /// The endpoint for a registry at home in this stamp, without a slash at the end.
    pub fn of(&self, registry: &RegistryName, stamp: &StampName) -> String {
        self.0.replace("{registry}", registry.as_str()).replace("{stamp}", stamp.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(template: &str) -> Result<String, &'static str> {
        let region = "west".parse().expect("a name");
        let endpoint = DataEndpoint::new(template, &region, &"registry.test".parse().expect("a zone"));
        let endpoint = endpoint.map_err(|error| error.reason)?;
        Ok(endpoint.of(&"contoso".parse().expect("a name"), &"a".parse().expect("a name")))
    }

    #[test]
    fn a_data_endpoint_is_the_url_of_a_host_with_names_put_in() {
        let full = endpoint("https://{registry}.{region}.data.{zone}");
        assert_eq!(full.as_deref(), Ok("https://contoso.west.data.registry.test"));
        assert_eq!(endpoint("http://127.0.0.1:5000/").as_deref(), Ok("http://127.0.0.1:5000"));
        assert_eq!(endpoint("https://{stamp}.example:8443").as_deref(), Ok("https://a.example:8443"));
        for (bad, reason) in [
            ("ftp://host", "it does not begin with http:// or https://"),
            ("data.registry.test", "it does not begin with http:// or https://"),
            ("https://{tenant}.data", "it has another placeholder than these"),
            ("https://user:secret@host", "it has a user, or no host"),
            ("https://host/path", "it has a path, a query or a fragment"),
            ("https://host?x=1", "it has a path, a query or a fragment"),
            ("https://host#x", "it has a path, a query or a fragment"),
            ("", "it is no URL"),
            ("https://a b", "it is no URL"),
        ] {
            assert_eq!(endpoint(bad), Err(reason), "{bad}");
        }
    }
}
