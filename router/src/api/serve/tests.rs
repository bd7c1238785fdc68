use std::path::Path;

use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::AsyncReadExt;

use super::*;
use crate::api::Certificate;
use crate::client::{Client, ClientError, ClientOptions};

/// An authority that vouches for names, as files of `folder`: `ca.pem`, `cert.pem`, `key.pem`.
fn vouch(folder: &Path, authority: &(CertificateParams, KeyPair), name: &str) {
    let (params, authority_key) = authority;
    let certificate = params.self_signed(authority_key).unwrap();
    let issuer = Issuer::new(params.clone(), authority_key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    for (file, text) in
        [("ca.pem", certificate.pem()), ("cert.pem", server.pem()), ("key.pem", key.serialize_pem())]
    {
        std::fs::write(folder.join(file), text).unwrap();
    }
}

fn authority() -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params, KeyPair::generate().unwrap())
}

async fn served(certificate: &Arc<Certificate>) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, end) = (listener.local_addr().unwrap(), CancellationToken::new());
    let router = axum::Router::new().route("/", get(|| async { axum::Json(1) }));
    let tls = Some(certificate.acceptor().unwrap());
    tokio::spawn(serve(listener, tls, router, end.clone()));
    (address, end)
}

fn client(address: SocketAddr, scheme: &str, ca: &Path) -> Client {
    let router = format!("{scheme}://{address}");
    Client::new(&ClientOptions { router, ca_file: Some(ca.to_owned()), ..ClientOptions::default() }).unwrap()
}

#[tokio::test]
async fn the_api_is_served_over_tls_to_who_believes_its_authority_and_to_nobody_in_the_clear() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    vouch(folder.path(), &authority(), "127.0.0.1");
    vouch(other.path(), &authority(), "127.0.0.1");
    let of = |file: &str| folder.path().join(file);
    let certificate = Certificate::open(of("cert.pem"), of("key.pem")).unwrap();
    let (address, _end) = served(&certificate).await;
    assert_eq!(client(address, "https", &of("ca.pem")).get("/").await.unwrap(), 1);
    let strange = client(address, "https", &other.path().join("ca.pem")).get("/").await.unwrap_err();
    assert!(matches!(strange, ClientError::Unreachable { .. }), "{strange}");
    let plain = client(address, "http", &of("ca.pem")).get("/").await.unwrap_err();
    assert_eq!(plain.to_string(), "refused (tls): this API is served over TLS; ask by https://");
    // HTTP/2 is offered, and taken by who asks for it.
    let mut roots = rustls::RootCertStore::empty();
    use rustls::pki_types::pem::PemObject;
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(of("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "it begins with its settings");
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_from_then_on_and_a_bad_one_is_not() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), authority());
    let of = |file: &str| folder.path().join(file);
    vouch(folder.path(), &authority, "elsewhere.example");
    let certificate = Certificate::open(of("cert.pem"), of("key.pem")).unwrap();
    let (address, _end) = served(&certificate).await;
    client(address, "https", &of("ca.pem")).get("/").await.unwrap_err();
    vouch(folder.path(), &authority, "127.0.0.1");
    certificate.refresh().unwrap();
    assert_eq!(client(address, "https", &of("ca.pem")).get("/").await.unwrap(), 1);
    let key = std::fs::read(of("key.pem")).unwrap();
    std::fs::write(of("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let unfit = certificate.refresh().unwrap_err().to_string();
    assert!(unfit.contains("cert.pem and ") && unfit.contains("key.pem"), "{unfit}");
    std::fs::write(of("key.pem"), key).unwrap();
    std::fs::write(of("cert.pem"), "nothing").unwrap();
    let empty = certificate.refresh().unwrap_err().to_string();
    assert!(empty.contains("the certificate cannot be read"), "{empty}");
    assert_eq!(client(address, "https", &of("ca.pem")).get("/").await.unwrap(), 1);
}
