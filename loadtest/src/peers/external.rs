//! A server that somebody else has started: `NAME=URL,PID`.

use std::str::FromStr;

use super::Scheme;
use super::stage::{REGISTRY, REPOSITORY};
use crate::subject::Subject;

/// A server that runs already and serves the same content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct External {
    /// What it is called in the table.
    pub name: String,
    /// How it is reached.
    pub scheme: Scheme,
    /// What comes before `sha256:<hex>` in its URLs.
    pub url: String,
    /// Its processes; their descendants are found.
    pub pids: Vec<u32>,
}

/// A text that names no server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{text:?} names no server: {problem}; give NAME=URL,PID, such as mine=http://127.0.0.1:8080/v2/{REGISTRY}/{REPOSITORY}/blobs/,1234, \
     where URL is what comes before sha256:<hex>"
)]
pub struct ExternalError {
    text: String,
    problem: String,
}

impl FromStr for External {
    type Err = ExternalError;

    fn from_str(text: &str) -> Result<Self, ExternalError> {
        let wrong = |problem: &str| ExternalError { text: text.to_owned(), problem: problem.to_owned() };
        let (name, rest) = text.split_once('=').ok_or_else(|| wrong("it has no name"))?;
        let (url, pids) = rest.split_once(',').ok_or_else(|| wrong("it has no process"))?;
        let pids: Result<Vec<u32>, _> = pids.split(',').map(str::parse).collect();
        let pids =
            pids.ok().filter(|pids| !pids.contains(&0)).ok_or_else(|| wrong("its process is no number"))?;
        if name.is_empty() {
            return Err(wrong("it has no name"));
        }
        let (scheme, bare) = match url.split_once("://") {
            Some(("http", bare)) => (Scheme::Plain, bare),
            Some(("https", bare)) => (Scheme::Tls, bare),
            _ => return Err(wrong("its URL has neither http nor https")),
        };
        let url = match bare.split_once('/') {
            Some((_, path)) if !path.is_empty() => url.to_owned(),
            _ => format!("{}/v2/{REGISTRY}/{REPOSITORY}/blobs/", url.trim_end_matches('/')),
        };
        let blob = format!("{url}sha256:{}", "0".repeat(64));
        blob.parse::<Subject>().map_err(|error| wrong(&error.to_string()))?;
        Ok(Self { name: name.to_owned(), scheme, url, pids })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_ones_own_is_named_by_url_and_process() {
        let external: External = "mine=https://127.0.0.1:8443,12,13".parse().expect("valid");
        assert_eq!(external.url, "https://127.0.0.1:8443/v2/lab/x/blobs/");
        assert_eq!((external.scheme, external.pids.as_slice()), (Scheme::Tls, [12, 13].as_slice()));
        let external: External = "mine=http://127.0.0.1:1/files/,12".parse().expect("valid");
        assert_eq!(external.url, "http://127.0.0.1:1/files/");
        for (text, problem) in [
            ("mine", "no name"),
            ("=http://h:1/,2", "no name"),
            ("mine=http://h:1/", "no process"),
            ("mine=http://h:1/,x", "no number"),
            ("mine=h:1,2", "neither http nor https"),
            ("mine=http://h:x/,2", "port is not one"),
        ] {
            let error = text.parse::<External>().expect_err(text).to_string();
            assert!(error.contains(problem) && error.contains("NAME=URL,PID"), "{text}: {error}");
        }
    }
}
