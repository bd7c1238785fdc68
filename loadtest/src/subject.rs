//! What is pulled: an image or a blob, at a registry.
//!
//! ```text
//! http://127.0.0.1:5000/contoso/hello:v1                      an image by its tag
//! https://contoso.registry.test/app@sha256:<64 hex>           an image by its digest
//! http://127.0.0.1:5000/v2/contoso/hello/blobs/sha256:<hex>   one blob
//! http://127.0.0.1:8080/files/a.tar                           any URL, read as one blob without a digest
//! ```
//!
//! Without a scheme it is `https`, or `http` where the host is a loopback address or `localhost`, as docker has it.

use std::fmt;
use std::str::FromStr;

/// One thing that can be pulled.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Subject {
    /// Where it is asked for.
    pub endpoint: Endpoint,
    /// What is asked for there.
    pub what: What,
}

/// A registry's address.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Endpoint {
    /// Whether it is spoken to by TLS.
    pub tls: bool,
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// Port; 443 or 80 where the text says none.
    pub port: u16,
}

/// What a subject is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum What {
    /// An image: manifests, config and layers.
    Image {
        /// The repository, such as `contoso/hello`.
        repository: String,
        /// A tag, or a digest `sha256:…`.
        reference: String,
    },
    /// One blob, or any other URL.
    Blob {
        /// Path and query.
        path: String,
        /// Its sha256, lower-case hex, where the path ends in one.
        sha256: Option<String>,
    },
}

/// A text that names nothing that can be pulled.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{text:?} names nothing to pull: {problem}; an image is HOST[:PORT]/REPOSITORY:TAG or …@sha256:<64 hex>, a blob a URL such as \
     http://127.0.0.1:5000/v2/contoso/hello/blobs/sha256:<64 hex>"
)]
pub struct SubjectError {
    text: String,
    problem: String,
}

impl Endpoint {
    /// `host` or `host:port`, as a `Host` header has it: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let default = if self.tls { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

impl Subject {
    /// The registry it counts under for popularity and in limits: the first label of the path where the repository has several,
    /// else the host.
    pub fn registry(&self) -> &str {
        match &self.what {
            What::Image { repository, .. } => {
                repository.split_once('/').map_or(self.endpoint.host.as_str(), |(first, _)| first)
            }
            What::Blob { path, .. } => blob_repository(path)
                .and_then(|repository| repository.split_once('/'))
                .map_or(self.endpoint.host.as_str(), |(first, _)| first),
        }
    }

    /// As it is written, without a query, which may hold a signature.
    pub fn without_query(&self) -> String {
        let text = self.to_string();
        match text.split_once('?') {
            Some((before, _)) => format!("{before}?…"),
            None => text,
        }
    }

    /// The repository; for a URL that is not a blob's, its path.
    pub fn repository(&self) -> &str {
        match &self.what {
            What::Image { repository, .. } => repository,
            What::Blob { path, .. } => blob_repository(path).unwrap_or(path),
        }
    }
}

fn blob_repository(path: &str) -> Option<&str> {
    path.strip_prefix("/v2/")?.rsplit_once("/blobs/").map(|(repository, _)| repository)
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let wrong = |problem: &str| SubjectError { text: text.to_owned(), problem: problem.to_owned() };
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let (authority, path) = rest.split_once('/').ok_or_else(|| wrong("it has no path"))?;
        let uri = authority.parse::<http::uri::Authority>().map_err(|_| wrong("its host is not one"))?;
        if uri.host().is_empty() || authority.contains('@') {
            return Err(wrong("its host is not one"));
        }
        let host = uri.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match scheme {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err(wrong("its scheme is neither http nor https")),
            None => !is_loopback(&host),
        };
        let port = match authority[uri.host().len()..].strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| wrong("its port is not one"))?,
            None if tls => 443,
            None => 80,
        };
        if path.is_empty() {
            return Err(wrong("its path is empty"));
        }
        if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(wrong("its path has characters that a URL cannot have"));
        }
        let endpoint = Endpoint { tls, host, port };
        let what = image(path).unwrap_or_else(|| blob(path));
        Ok(Self { endpoint, what })
    }
}

/// `REPOSITORY:TAG` or `REPOSITORY@DIGEST`, by the grammar of the OCI distribution specification.
fn image(path: &str) -> Option<What> {
    if path.starts_with("v2/") {
        return None;
    }
    let (repository, reference) = match path.split_once('@') {
        Some((repository, digest)) => {
            sha256(digest)?;
            (repository.split_once(':').map_or(repository, |(repository, _)| repository), digest)
        }
        None => path.split_once(':')?,
    };
    let is_component = |component: &str| {
        component.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && component.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    let is_tag = |tag: &str| {
        !tag.is_empty()
            && tag.len() <= 128
            && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let fits = repository.split('/').all(is_component) && (sha256(reference).is_some() || is_tag(reference));
    fits.then(|| What::Image { repository: repository.to_owned(), reference: reference.to_owned() })
}

fn blob(path: &str) -> What {
    let last = path.split('?').next().and_then(|path| path.rsplit('/').next());
    What::Blob { path: format!("/{path}"), sha256: last.and_then(sha256).map(str::to_owned) }
}

fn sha256(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix("sha256:")?;
    (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))).then_some(hex)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.endpoint.scheme(), self.endpoint.authority())?;
        match &self.what {
            What::Image { repository, reference } => {
                let separator = if reference.contains(':') { '@' } else { ':' };
                write!(f, "/{repository}{separator}{reference}")
            }
            What::Blob { path, .. } => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_subject_is_written_as_it_is_read() {
        for text in [
            "http://127.0.0.1:5000/contoso/hello:v1".to_owned(),
            format!("https://contoso.registry.test/app@sha256:{HEX}"),
            format!("http://127.0.0.1:5000/v2/contoso/hello/blobs/sha256:{HEX}"),
            "http://[::1]:8080/files/a.tar?x=1".to_owned(),
        ] {
            let subject: Subject = text.parse().expect(&text);
            assert_eq!(subject.to_string(), text);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            failure_persistence: None,
            ..proptest::prelude::ProptestConfig::default()
        })]

        #[test]
        fn whatever_is_read_as_a_subject_is_read_from_its_own_text_as_the_same(
            text in "(https?://|ftp://|)(\\[::1\\]|[a-z0-9.@]{0,6}|ä)(:[0-9]{0,6})?(/[a-z0-9._:@?#é-]{0,6}){0,4}"
        ) {
            if let Ok(subject) = text.parse::<Subject>() {
                proptest::prop_assert_eq!(subject.to_string().parse::<Subject>(), Ok(subject), "{}", text);
            }
        }
    }

    #[test]
    fn what_has_no_scheme_is_https_unless_its_host_is_loopback() {
        for (text, tls, port) in [
            ("127.0.0.1:5000/a/b:1", false, 5000),
            ("localhost/a:1", false, 80),
            ("contoso.example/a:1", true, 443),
        ] {
            let subject: Subject = text.parse().expect(text);
            assert_eq!((subject.endpoint.tls, subject.endpoint.port), (tls, port), "{text}");
        }
    }

    #[test]
    fn a_blob_is_known_by_its_path_and_any_other_url_is_read_without_a_digest() {
        let blob: Subject =
            format!("http://h:1/v2/contoso/a/b/blobs/sha256:{HEX}?ns=x").parse().expect("valid");
        assert_eq!(
            blob.what,
            What::Blob {
                path: format!("/v2/contoso/a/b/blobs/sha256:{HEX}?ns=x"),
                sha256: Some(HEX.to_owned())
            }
        );
        assert_eq!((blob.registry(), blob.repository()), ("contoso", "contoso/a/b"));
        let file: Subject = "http://h:1/files/a.tar".parse().expect("valid");
        assert_eq!(file.what, What::Blob { path: "/files/a.tar".to_owned(), sha256: None });
    }

    #[test]
    fn what_cannot_be_pulled_is_refused_with_what_can() {
        for (text, problem) in [
            ("contoso", "no path"),
            ("ftp://h/a:1", "scheme"),
            ("http://h:x/a:1", "port is not one"),
            ("http://h:/a:1", "port is not one"),
            ("http://user@h/a:1", "host is not one"),
            ("http://h/", "path is empty"),
            ("http://h/a b", "characters"),
        ] {
            let error = text.parse::<Subject>().expect_err(text).to_string();
            assert!(
                error.contains(problem) && error.contains("HOST[:PORT]/REPOSITORY:TAG"),
                "{text}: {error}"
            );
        }
    }
}
