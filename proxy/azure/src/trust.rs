//! Whom a connection trusts: the system's authorities, and one more if a file names it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Why no TLS connection can be made.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file with the authority cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system names no authority.
    #[error(
        "this system trusts no certificate authority ({0}); install its ca-certificates package, or name a file with \
         one in SSL_CERT_FILE or ca_file"
    )]
    Nobody(String),
    /// The TLS library refuses our settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// The settings of a client: TLS 1.2 and 1.3, aws-lc-rs. Without `wanted`, nobody is trusted and only plain HTTP
/// works, so that a machine without authorities can still speak to an emulator.
///
/// # Errors
/// [`TrustError`]
pub(crate) fn client_config(wanted: bool, ca_file: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    if wanted {
        let native = rustls_native_certs::load_native_certs();
        // One unreadable certificate of the system must not take the others along.
        let _ = roots.add_parsable_certificates(native.certs);
        if roots.is_empty() {
            let why = native.errors.first().map_or_else(|| "none was found".to_owned(), ToString::to_string);
            return Err(TrustError::Nobody(why));
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TrustError> {
    let file = |reason: String| TrustError::File { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|error| file(error.to_string()))?;
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| file(format!("not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| file(format!("not an authority: {error}")))?;
    }
    if roots.len() == before {
        return Err(file("it holds no CERTIFICATE section".to_owned()));
    }
    Ok(())
}
