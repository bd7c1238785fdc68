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

/// A client's TLS settings: TLS 1.2 and 1.3, the system's authorities, and those of `ca_file` besides.
/// `needed` if TLS is spoken for certain; else it is no error that nobody is believed.
///
/// # Errors
/// [`TrustError`]
pub fn client_config(ca_file: Option<&Path>, needed: bool) -> Result<ClientConfig, TrustError> {
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
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let bad = |reason: String| TrustError::File { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| bad(error.to_string()))?;
    if found.is_empty() { Err(bad("it holds no CERTIFICATE section".to_owned())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(content: Option<&str>) -> String {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ca.pem");
        if let Some(content) = content {
            std::fs::write(&path, content).expect("written");
        }
        client_config(Some(&path), false).expect_err("no authorities").to_string()
    }

    #[test]
    fn a_file_of_authorities_that_is_none_is_refused_with_the_reason() {
        for (content, reason) in [
            (None, "No such file"),
            (Some(""), "it holds no CERTIFICATE section"),
            (Some("hello"), "it holds no CERTIFICATE section"),
            (Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "invalid"),
        ] {
            let message = refused(content);
            assert!(message.contains("ca.pem") && message.contains(reason), "{content:?}: {message}");
        }
    }

    #[test]
    fn authorities_of_a_file_come_on_top() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ca.pem");
        let own = rcgen::generate_simple_self_signed(["account.test".to_owned()]).expect("a certificate");
        std::fs::write(&path, own.cert.pem()).expect("written");
        client_config(Some(&path), true).expect("accepted");
    }
}
