//! The HTTP client that storage accounts and upstream registries are asked with.
//!
//! One stack for all of them: hyper's pool, rustls with aws-lc-rs, the system's certificate authorities and, where
//! an account has its own, those of one more file. Redirects are not followed and nothing is retried: what either
//! would mean is for whoever asks to decide.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// For a connection to be made. TLS comes on top; the caller's own deadline bounds both.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// An idle connection that is older than this is not used again: storage closes its own after some minutes, and a
/// request that meets such a close is lost.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle connections that are kept to one host.
pub const IDLE_PER_HOST: usize = 64;

/// How connections are made.
pub type Https = HttpsConnector<HttpConnector>;

/// What is wrong with the certificate authorities.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The file cannot be read or holds something else.
    #[error("{}: {what}; certificates in PEM are allowed", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The TLS stack refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A client that trusts the system's authorities and those in `ca`.
///
/// The system's are read once, when this is called; a system that has none is no error, as what is asked may be
/// plain HTTP: a TLS connection to it will then be refused with the reason.
///
/// # Errors
/// [`OutboundError`], if `ca` is given and is no file of certificates.
pub fn client<B>(ca: Option<&Path>) -> Result<Client<Https, B>, OutboundError>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls(ca)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build(connector))
}

/// The TLS settings of such a client: the safe versions, and no ALPN but HTTP/1.1's.
///
/// # Errors
/// As [`client`].
pub fn tls(ca: Option<&Path>) -> Result<ClientConfig, OutboundError> {
    let mut roots = RootCertStore::empty();
    // Single certificates of the system's that cannot be read are left out, as every client does.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        for certificate in authorities(path)? {
            let refused = |error| unusable(path, error);
            roots.add(certificate).map_err(refused)?;
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, OutboundError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read.map_err(|error| unusable(path, error))? {
        none if none.is_empty() => Err(unusable(path, "it holds no certificate")),
        some => Ok(some),
    }
}

fn unusable(path: &Path, what: impl fmt::Display) -> OutboundError {
    OutboundError::Authorities { path: path.to_owned(), what: what.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content: Option<&str>) -> String {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ca.pem");
        if let Some(content) = content {
            std::fs::write(&path, content).expect("written");
        }
        tls(Some(&path)).expect_err("no authorities").to_string()
    }

    #[test]
    fn a_file_of_authorities_that_is_none_is_refused_with_the_reason() {
        for (content, reason) in [
            (None, "No such file"),
            (Some(""), "it holds no certificate"),
            (Some("hello"), "it holds no certificate"),
            (Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "invalid"),
        ] {
            let message = message(content);
            assert!(message.contains("ca.pem") && message.contains(reason), "{content:?}: {message}");
        }
    }

    #[test]
    fn authorities_of_a_file_come_on_top() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ca.pem");
        let own = rcgen::generate_simple_self_signed(["account.test".to_owned()]).expect("a certificate");
        std::fs::write(&path, own.cert.pem()).expect("written");
        tls(Some(&path)).expect("accepted");
    }
}
