//! TLS for pulls: the certificate is read again when it changes, without dropping a connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use metrics::counter;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::lifecycle::Lifecycle;
use crate::watch::FileWatch;

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
    /// The library refuses our own settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// The certificate in force, fed from two files.
#[derive(Debug)]
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    in_force: ArcSwap<CertifiedKey>,
    error: ArcSwapOption<String>,
}

impl Certificate {
    /// Loads a chain and its key.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn open(cert: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let pair = load(&cert, &key, &provider)?;
        Ok(Self { cert, key, provider, in_force: ArcSwap::from_pointee(pair), error: ArcSwapOption::empty() })
    }

    /// A server's settings that always use the certificate in force: TLS 1.2 and 1.3, AES-128-GCM first,
    /// sessions resumed by tickets, `h2` offered only if wanted.
    ///
    /// # Errors
    /// [`TlsError::Setup`]
    pub fn server_config(self: &Arc<Self>, http2: bool) -> Result<ServerConfig, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.ignore_client_order = true;
        // One is enough to resume by, and each connection gets a new one; a second costs a tenth of a handshake.
        config.send_tls13_tickets = 1;
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Setup)?;
        if http2 {
            config.alpn_protocols.push(b"h2".to_vec());
        }
        config.alpn_protocols.push(b"http/1.1".to_vec());
        Ok(config)
    }

    /// Why the files as they are now are not in force, if they are not.
    pub fn error(&self) -> Option<Arc<String>> {
        self.error.load_full()
    }

    /// Follows the files for as long as it is polled. Safe to drop at any point.
    pub async fn follow(self: Arc<Self>, life: &Lifecycle) {
        let mut watch = FileWatch::new(vec![self.cert.clone(), self.key.clone()], life.reloads());
        // What changed between the first load and here has no version to differ from.
        loop {
            let certificate = Arc::clone(&self);
            // The reload logs and counts for itself; a panic in it would only cost this one reload.
            let _ = tokio::task::spawn_blocking(move || certificate.refresh()).await;
            watch.changed().await;
        }
    }

    fn refresh(&self) {
        match load(&self.cert, &self.key, &self.provider) {
            // A key belongs to the chain's leaf, so the same chain is the same pair.
            Ok(pair) if pair.cert == self.in_force.load().cert => self.error.store(None),
            Ok(pair) => {
                self.in_force.store(Arc::new(pair));
                self.error.store(None);
                counter!("dataproxy_certificate_changes_total").increment(1);
                tracing::info!(cert = %self.cert.display(), "certificate in force");
            }
            Err(error) => {
                counter!("dataproxy_certificate_errors_total").increment(1);
                tracing::error!(%error, "certificate refused; the one in force stays");
                self.error.store(Some(Arc::new(error.to_string())));
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.in_force.load_full())
    }
}

/// The one crypto provider, with the suite that costs least on servers first: CPU per byte is the product.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    provider
}

fn load(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let file = |path: &Path, what, reason: String| TlsError::File { path: path.to_owned(), what, reason };
    let read = |path: &Path, what| std::fs::read(path).map_err(|error| file(path, what, error.to_string()));
    let pem = read(cert, "the certificate cannot be read")?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| file(cert, "no PEM certificate chain", error.to_string()))?;
    if chain.is_empty() {
        let reason = "it holds no CERTIFICATE section".to_owned();
        return Err(file(cert, "no PEM certificate chain", reason));
    }
    let pem = read(key, "the key cannot be read")?;
    let private = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| file(key, "no PEM private key", error.to_string()))?;
    let pair = |error| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), error };
    CertifiedKey::from_der(chain, private, provider).map_err(pair)
}
