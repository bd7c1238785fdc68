//! TLS for the API: a certificate and its key, read again when their files change, without dropping a connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// Time between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("{}: {what}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was looked for in it.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The two do not belong together, or the key is of no kind that TLS takes.
    #[error("{} and {}: {error}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
}

/// The certificate in force, fed from two files.
#[derive(Debug)]
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    in_force: ArcSwap<CertifiedKey>,
}

impl Certificate {
    /// Loads a chain and its key, both PEM. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn open(cert: PathBuf, key: PathBuf) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pair = load(&cert, &key, &provider)?;
        Ok(Arc::new(Self { cert, key, provider, in_force: ArcSwap::from_pointee(pair) }))
    }

    /// What connections are accepted by: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, the certificate that is in force then.
    ///
    /// # Errors
    /// The library refuses its own settings.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Follows the files for as long as it is polled. Safe to drop at any point.
    pub async fn follow(self: Arc<Self>) {
        let mut trouble = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let certificate = Arc::clone(&self);
            let looked =
                tokio::task::spawn_blocking(move || certificate.refresh().map_err(|error| error.to_string()));
            let error = looked.await.unwrap_or(Ok(())).err();
            if let Some(error) = error.as_ref().filter(|error| trouble.as_ref() != Some(*error)) {
                tracing::error!(error, "the API's certificate is refused; the one in force stays");
            }
            trouble = error;
        }
    }

    /// Puts in force what the files have now. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`TlsError`]; the pair in force stays.
    pub fn refresh(&self) -> Result<(), TlsError> {
        let pair = load(&self.cert, &self.key, &self.provider)?;
        // A key belongs to the chain's leaf, so the same chain is the same pair.
        if pair.cert != self.in_force.load().cert {
            self.in_force.store(Arc::new(pair));
            tracing::info!(cert = %self.cert.display(), "the API's certificate is in force");
        }
        Ok(())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.in_force.load_full())
    }
}

fn load(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let file = |path: &Path, what, reason: String| TlsError::File { path: path.to_owned(), what, reason };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file(cert, "the certificate cannot be read", error.to_string()))?;
    if chain.is_empty() {
        return Err(file(cert, "the certificate cannot be read", "there is none in it".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| file(key, "the key cannot be read", error.to_string()))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| TlsError::Pair {
        cert: cert.to_owned(),
        key: key.to_owned(),
        error,
    })
}
