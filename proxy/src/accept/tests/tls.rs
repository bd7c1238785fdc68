//! TLS: the right certificate, the right protocol, and an end in time.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::*;
use crate::tls::Certificate;

pub(super) struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn paths(&self) -> (std::path::PathBuf, std::path::PathBuf) {
        (self.folder.path().join("cert.pem"), self.folder.path().join("key.pem"))
    }

    /// Issues a self-signed certificate and returns the trust in it.
    pub(super) fn issue(&self) -> ClientConfig {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (cert, key) = self.paths();
        std::fs::write(key, issued.signing_key.serialize_pem()).unwrap();
        std::fs::write(cert, issued.cert.pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issued.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        config.with_root_certificates(roots).with_no_client_auth()
    }
}

type TlsStream = BufReader<tokio_rustls::client::TlsStream<TcpStream>>;

async fn connect(to: SocketAddr, config: &ClientConfig) -> std::io::Result<TlsStream> {
    let stream = TcpStream::connect(to).await?;
    let name = ServerName::try_from("localhost").unwrap();
    Ok(BufReader::new(TlsConnector::from(Arc::new(config.clone())).connect(name, stream).await?))
}

async fn get(stream: &mut TlsStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(head(stream).await.starts_with("http/1.1 200"));
    assert_eq!(body(stream, 5).await, "hello");
}

#[tokio::test]
async fn a_new_certificate_is_served_without_dropping_a_connection() {
    let pair = Pair::new();
    let old = pair.issue();
    let (cert, key) = pair.paths();
    let certificate = Arc::new(Certificate::open(cert.clone(), key).unwrap());
    let config = certificate.server_config(false).unwrap();
    let server = serve(Speaks::Tls(Arc::new(config)), bounds(), 100);
    let (followed, life) = (Arc::clone(&certificate), server.life.clone());
    tokio::spawn(async move { followed.follow(&life).await });

    let mut live = connect(server.addr, &old).await.unwrap();
    get(&mut live).await;
    assert_eq!(
        live.get_ref().get_ref().1.negotiated_cipher_suite().unwrap().suite(),
        rustls::CipherSuite::TLS13_AES_128_GCM_SHA256
    );

    std::fs::write(&cert, "no certificate").unwrap();
    wait("the bad one is reported", || certificate.error().is_some()).await;
    connect(server.addr, &old).await.expect("the old one stays in force");

    let new = pair.issue();
    let start = Instant::now();
    while connect(server.addr, &new).await.is_err() {
        assert!(start.elapsed() < PATIENCE, "the new certificate is not served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(certificate.error().is_none());
    get(&mut live).await;
}

#[tokio::test]
async fn a_request_on_a_resumed_session_says_so() {
    let pair = Pair::new();
    let client = pair.issue();
    let (cert, key) = pair.paths();
    let config = Arc::new(Certificate::open(cert, key).unwrap()).server_config(false).unwrap();
    let server = serve(Speaks::Tls(Arc::new(config)), bounds(), 100);
    // The client's settings keep the tickets that the first connection's answer brings.
    for session in ["first", "again"] {
        let mut stream = connect(server.addr, &client).await.unwrap();
        stream.write_all(b"GET /session HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert!(head(&mut stream).await.starts_with("http/1.1 200"));
        assert_eq!(body(&mut stream, 5).await, session);
    }
}

pub(super) async fn wait(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn http2_is_spoken_only_where_it_is_switched_on() {
    for (on, spoken) in [(false, Some(&b"http/1.1"[..])), (true, Some(&b"h2"[..]))] {
        let pair = Pair::new();
        let mut client = pair.issue();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (cert, key) = pair.paths();
        let config = Arc::new(Certificate::open(cert, key).unwrap()).server_config(on).unwrap();
        let server = serve(Speaks::Tls(Arc::new(config)), bounds(), 100);
        let stream = connect(server.addr, &client).await.unwrap();
        assert_eq!(stream.get_ref().get_ref().1.alpn_protocol(), spoken, "on: {on}");
        if on {
            let io = hyper_util::rt::TokioIo::new(stream.into_inner());
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(connection);
            let request =
                Request::get("https://localhost/").body(http_body_util::Empty::<Bytes>::new()).unwrap();
            assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
        }
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_its_key_is_refused_with_both_files_named() {
    let (one, other) = (Pair::new(), Pair::new());
    one.issue();
    other.issue();
    let (cert, key) = (one.paths().0, other.paths().1);
    let error = Certificate::open(cert.clone(), key.clone()).unwrap_err().to_string();
    assert!(error.contains(cert.to_str().unwrap()) && error.contains(key.to_str().unwrap()), "{error}");
    let error = Certificate::open(key.clone(), key.clone()).unwrap_err().to_string();
    assert!(error.contains("it holds no CERTIFICATE section"), "{error}");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_handshake() {
    let pair = Pair::new();
    pair.issue();
    let (cert, key) = pair.paths();
    let config = Arc::new(Certificate::open(cert, key).unwrap()).server_config(false).unwrap();
    let server = serve(Speaks::Tls(Arc::new(config)), bounds(), 100);
    let mut silent = send(server.addr, "").await;
    // The next one is served, so the silent one is accepted.
    let mut other = send(server.addr, "no handshake at all\r\n").await;
    let _alert = rest(&mut other).await;
    drop(other);
    let start = Instant::now();
    server.life.advance(State::Draining);
    assert_eq!(rest(&mut silent).await, b"");
    drop(silent);
    tokio::time::timeout(PATIENCE, server.empty).await.expect("empty").unwrap();
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_certificate_renewed_while_the_node_starts_is_served() {
    let pair = Pair::new();
    pair.issue();
    let (cert, key) = pair.paths();
    let certificate = Arc::new(Certificate::open(cert, key).unwrap());
    let config = certificate.server_config(false).unwrap();
    let new = pair.issue();
    let server = serve(Speaks::Tls(Arc::new(config)), bounds(), 100);
    let (followed, life) = (Arc::clone(&certificate), server.life.clone());
    tokio::spawn(async move { followed.follow(&life).await });
    let start = Instant::now();
    while connect(server.addr, &new).await.is_err() {
        assert!(start.elapsed() < PATIENCE, "the new certificate is not served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
