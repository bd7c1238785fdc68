//! Whose certificates are believed when this node is the client: the system's authorities, and those of a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Authorities that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or holds no certificate.
    #[error("{}: no PEM certificates of authorities: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is nobody to believe.
    #[error("the system has no certificate authorities ({0}); install ca-certificates, or set ca_file")]
    NoAuthorities(String),
    /// The library refuses our own settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// A client's TLS settings, for HTTP/1.1: TLS 1.2 and 1.3, the system's authorities, and those of `ca_file` besides.
/// `needed` if TLS is spoken for certain; else it is no error that nobody is believed.
///
/// # Errors
/// [`TrustError`]
pub(crate) fn client_config(ca_file: Option<&Path>, needed: bool) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    // One bad file among the system's many is no reason not to start; none at all is.
    let (_, _) = roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        for authority in read(path)? {
            let reason =
                |error: rustls::Error| TrustError::File { path: path.to_owned(), reason: error.to_string() };
            roots.add(authority).map_err(reason)?;
        }
    }
    if roots.is_empty() && needed {
        let reasons: Vec<String> = system.errors.iter().map(ToString::to_string).collect();
        return Err(TrustError::NoAuthorities(reasons.join("; ")));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(config)
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let bad = |reason: String| TrustError::File { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| bad(error.to_string()))?;
    if found.is_empty() { Err(bad("it holds no CERTIFICATE section".to_owned())) } else { Ok(found) }
}
