//! A token service for a real `docker-registry`: signs JSON Web Tokens (RFC 7519) by ES256, as distribution's "Token
//! Authentication Specification" says.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair, SigningKey as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::docker_registry::{Access, PASSWORD, SERVICE, USERNAME};

const ISSUER: &str = "token service of a test";

/// A running token service, which gives a token for any repository to [`USERNAME`].
#[derive(Debug)]
pub struct TokenService {
    address: SocketAddr,
    authorities: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

struct Signer {
    key: KeyPair,
    certificate: String,
    life_seconds: u64,
}

impl Drop for TokenService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TokenService {
    /// Starts one whose tokens last so long; its certificate is put into `dir`.
    ///
    /// # Panics
    /// If that fails.
    pub async fn start(dir: &Path, life_seconds: u64) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = CertificateParams::new(vec!["token.test".to_owned()]).expect("a name");
        let certificate = certificate.self_signed(&key).expect("it can be signed");
        let authorities = dir.join("token.crt");
        std::fs::write(&authorities, certificate.pem()).expect("a file can be written");
        let certificate = BASE64_STANDARD.encode(certificate.der());
        let signer = Arc::new(Signer { key, certificate, life_seconds });

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (signer, seen) = (Arc::clone(&signer), Arc::clone(&seen));
                // A client that hangs up is its own concern.
                tokio::spawn(async move { drop(answer(socket, &signer, &seen).await) });
            }
        });
        Self { address, authorities, asked, task }
    }

    /// What a registry is told of it.
    pub fn access(&self) -> Access {
        Access::Token {
            realm: format!("http://{}/token", self.address),
            issuer: ISSUER.to_owned(),
            authorities: self.authorities.clone(),
        }
    }

    /// The request lines so far.
    ///
    /// # Panics
    /// If an answer has panicked.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

async fn answer(mut socket: TcpStream, signer: &Signer, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let line = head.lines().next().unwrap_or_default().to_owned();
    seen.lock().expect("nobody panicked").push(line.clone());
    let basic = BASE64_STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    let is_known = head.lines().any(|line| {
        let (name, value) = line.split_once(": ").unwrap_or_default();
        name.eq_ignore_ascii_case("authorization") && value == format!("Basic {basic}")
    });
    let (status, body) = match repository(&line).filter(|_| is_known) {
        Some(repository) => {
            let token = signer.token(&repository);
            ("200 OK", json!({ "token": token, "expires_in": signer.life_seconds }).to_string())
        }
        None => ("401 Unauthorized", json!({ "details": "incorrect username or password" }).to_string()),
    };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    socket.write_all(text.as_bytes()).await?;
    socket.shutdown().await
}

/// `GET /token?service=…&scope=repository%3Alibrary%2Fapp%3Apull HTTP/1.1`
fn repository(line: &str) -> Option<String> {
    let (_, scope) = line.split_once("scope=repository%3A")?;
    let (name, _) = scope.split_once("%3Apull ")?;
    Some(name.replace("%2F", "/"))
}

impl Signer {
    fn token(&self, repository: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.certificate] });
        let claims = json!({
            "iss": ISSUER, "sub": USERNAME, "aud": SERVICE, "jti": "1",
            "nbf": now - 10, "iat": now, "exp": now + self.life_seconds,
            "access": [{ "type": "repository", "name": repository, "actions": ["pull"] }],
        });
        let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.key.sign(signed.as_bytes()).expect("it can be signed");
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(fixed(&signature)))
    }
}

/// The two numbers of a signature, 32 bytes each (RFC 7518, 3.4), out of their DER form.
fn fixed(der: &[u8]) -> Vec<u8> {
    let number = |at: usize| {
        let length = usize::from(der[at + 1]);
        let bytes = &der[at + 2..at + 2 + length];
        let bytes = &bytes[bytes.len().saturating_sub(32)..];
        ([vec![0; 32 - bytes.len()], bytes.to_vec()].concat(), at + 2 + length)
    };
    let (r, next) = number(2);
    [r, number(next).0].concat()
}
