//! A client that asks for a blob and takes hardly any of it, with buffers as small as a far one's.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::raw_http::request;

/// Nothing of ours takes longer to begin or to go on.
const LIMIT: Duration = Duration::from_secs(60);
/// A segment as on Ethernet. Loopback's are 64 KiB, and the kernel gives a sender of such 2.5 MiB of buffer.
const SEGMENT: u32 = 1460;
/// What the kernel keeps for the client, doubled by it.
const RECEIVE_BUFFER: u32 = 4096;

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<I: AsyncRead + AsyncWrite + Unpin + Send> Io for I {}

/// A response that has begun.
pub struct SlowReader {
    io: Box<dyn Io>,
    body: Vec<u8>,
}

/// A client that trusts this authority alone.
///
/// # Panics
/// If the file holds no certificate.
pub fn trust(authority: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority).expect("a certificate"))
        .expect("it is one of an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config).into()
}

impl SlowReader {
    /// Asks `server` for `target` from the address `from`, by TLS if `tls` is given, and has the first bytes of the answer.
    ///
    /// # Errors
    /// If there is no answer of status 200 within a minute.
    pub async fn open(
        from: IpAddr,
        server: SocketAddr,
        tls: Option<&TlsConnector>,
        target: &str,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_mss(SEGMENT)?;
        socket.set_nonblocking(true)?;
        let socket = TcpSocket::from_std_stream(socket.into());
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.bind(SocketAddr::new(from, 0))?;
        let open = async {
            let stream = socket.connect(server).await?;
            let mut io: Box<dyn Io> = match tls {
                Some(tls) => {
                    let name = ServerName::IpAddress(server.ip().into());
                    Box::new(tls.connect(name, stream).await?)
                }
                None => Box::new(stream),
            };
            io.write_all(request("GET", target, &server.to_string(), &[]).as_ref()).await?;
            io.flush().await?;
            let mut head = vec![0; 1024];
            let length = io.read(&mut head).await?;
            head.truncate(length);
            Ok::<_, io::Error>((io, head))
        };
        let (io, head) = timeout(LIMIT, open).await??;
        let end = head.windows(4).position(|window| window == b"\r\n\r\n");
        match end {
            Some(end) if head.starts_with(b"HTTP/1.1 200 ") => {
                Ok(Self { io, body: head.get(end + 4..).unwrap_or_default().to_vec() })
            }
            _ => Err(io::Error::other(format!("no answer of 200: {:?}", String::from_utf8_lossy(&head)))),
        }
    }

    /// Reads the rest, of `bytes` in all, as fast as it comes; gives the digest.
    ///
    /// # Errors
    /// If it ends early, or is silent for a minute.
    pub async fn finish(mut self, bytes: usize) -> io::Result<String> {
        let begun = self.body.len();
        self.body.resize(bytes, 0);
        let rest = self.body.get_mut(begun..).ok_or_else(|| io::Error::other("the body is too long"))?;
        timeout(LIMIT, self.io.read_exact(rest)).await??;
        let hex: String = Sha256::digest(&self.body).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("sha256:{hex}"))
    }
}
