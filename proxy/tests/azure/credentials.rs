//! Credentials over their life: replaced without a restart, signed anew, renewed, refused.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dataproxy_azure::{Account, Credential, Endpoint, OpenError, SecretSource, Settings, Transports, Url};

use crate::scripted::{Scripted, some_authority};

#[tokio::test]
async fn a_sas_that_is_replaced_is_used_from_then_on_and_a_bad_one_is_not() {
    let storage = Scripted::start_with(b"x", "sv=1&sig=first").await;
    let uses = |signature: &str| {
        let sent = format!("sig={signature}");
        storage
            .asked()
            .last()
            .is_some_and(|head| head.lines().next().is_some_and(|line| line.contains(&sent)))
    };
    storage.read(0..1).await.expect("a read");
    assert!(uses("first"));

    let new = storage.sas_file.with_extension("new");
    std::fs::write(&new, "sv=1&sig=second\n").expect("a file");
    std::fs::rename(&new, &storage.sas_file).expect("put in place");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        storage.read(0..1).await.expect("a read");
        if uses("second") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the new SAS is not used");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    std::fs::write(&storage.sas_file, "nonsense").expect("a file");
    for _ in 0..30 {
        storage.read(0..1).await.expect("a read");
        assert!(uses("second"), "a bad SAS is not used");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What an identity service answers instead of a token.
enum Reply {
    Status(u16),
    /// The head of a token's answer, and nothing after it.
    Stall,
}

/// An identity service that gives out numbered tokens, for as long as it is told.
struct Identity {
    address: std::net::SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    dir: tempfile::TempDir,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Identity {
    /// Answers with these first, then with tokens.
    async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (heads, mut replies) = (Arc::clone(&asked), replies.into_iter().collect::<VecDeque<Reply>>());
        let serving = tokio::spawn(async move {
            let mut stalled = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                let count = {
                    let mut heads = heads.lock().expect("unpoisoned");
                    heads.push(String::from_utf8_lossy(&head).into_owned());
                    heads.len()
                };
                let reply = replies.pop_front().unwrap_or(Reply::Status(200));
                let status = if let Reply::Status(status) = reply { status } else { 200 };
                let body = format!(
                    r#"{{"access_token":"token-{count}","expires_on":"4102444800","token_type":"Bearer","resource":"x"}}"#
                );
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                if matches!(reply, Reply::Stall) {
                    stalled.push(stream);
                    continue;
                }
                let _ = stream.write_all(body.as_bytes()).await;
            }
        });
        Self { address, asked, dir: tempfile::tempdir().expect("a folder"), serving }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("unpoisoned").clone()
    }

    /// An account whose storage nobody serves: what is looked at is the way to a token.
    fn account(&self) -> Account {
        let settings = Settings {
            endpoint: Endpoint::at_url("https://127.0.0.1:1/acct", None).expect("an endpoint"),
            credential: Credential::ManagedIdentity {
                client_id: Some("some-id".to_owned()),
                endpoint: Some(Url::parse(&format!("http://{}", self.address)).expect("a URL")),
            },
            ca_file: Some(some_authority(self.dir.path())),
        };
        Account::open(&settings, &mut Transports::default()).expect("an account")
    }
}

async fn failure(account: &Account) -> dataproxy_cache::OriginError {
    let object = dataproxy_cache::ObjectName::new("contoso/x");
    dataproxy_cache::Origin::get(account, &object, 0..1, None).await.expect_err("nobody serves")
}

#[tokio::test]
async fn many_reads_ask_the_machines_identity_once() {
    let identity = Identity::start([]).await;
    let account = identity.account();
    let reads = (0..20).map(|_| failure(&account));
    for error in futures_util::future::join_all(reads).await {
        assert!(error.message.contains("no connection"), "the token was had, storage was not: {error}");
        assert!(!error.message.contains("token-"), "{error}");
    }
    let asked = identity.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let line = asked[0].lines().next().expect("a request");
    assert!(line.starts_with("GET /metadata/identity/oauth2/token?"), "{line}");
    assert!(
        line.contains("resource=https%3A%2F%2Fstorage.azure.com") && line.contains("client_id=some-id"),
        "{line}"
    );
    assert!(asked[0].to_lowercase().contains("metadata: true"), "{}", asked[0]);
}

#[tokio::test]
async fn an_identity_that_is_refused_is_no_outage_of_storage_and_no_absence() {
    let identity = Identity::start([400, 400, 400].map(Reply::Status)).await;
    let error = failure(&identity.account()).await;
    assert_eq!(error.kind, dataproxy_cache::OriginErrorKind::Denied, "{error}");
    assert!(error.message.contains("no managed identity's token"), "{error}");
}

#[tokio::test]
async fn an_identity_that_goes_silent_inside_an_answer_is_given_up_and_asked_again() {
    let identity = Identity::start([Reply::Stall]).await;
    let account = Arc::new(identity.account());
    let reading = tokio::spawn({
        let account = Arc::clone(&account);
        async move { failure(&account).await }
    });
    while identity.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    let error = tokio::time::timeout(Duration::from_secs(1), reading).await;
    let error = error.expect("it does not wait for ever").expect("no panic");
    assert_eq!(error.kind, dataproxy_cache::OriginErrorKind::Timeout, "{error}");
    // A failure is told for a moment.
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    let error = failure(&account).await;
    assert!(error.message.contains("no connection"), "the token was had, storage was not: {error}");
    assert_eq!(identity.asked().len(), 2);
}

#[test]
fn an_identity_that_is_not_fully_configured_is_refused_at_the_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = some_authority(dir.path());
    let open = |url: &str, credential| {
        let endpoint = Endpoint::at_url(url, None).expect(url);
        let settings = Settings { endpoint, credential, ca_file: Some(authority.clone()) };
        Account::open(&settings, &mut Transports::default()).expect_err("not complete")
    };
    let workload = Credential::WorkloadIdentity {
        tenant_id: Some("t".to_owned()),
        client_id: Some("c".to_owned()),
        token_file: Some(PathBuf::from("/no/such/token")),
        authority: None,
    };
    let error = open("https://a.blob.example", workload.clone()).to_string();
    assert!(error.contains("/no/such/token"), "{error}");
    let error = open("http://127.0.0.1:1/acct", workload);
    assert!(matches!(error, OpenError::TokenWithoutTls(_)), "{error}");
    let sas = Credential::Sas(SecretSource::Variable("DATAPROXY_NO_SUCH_VARIABLE".to_owned()));
    let error = open("http://127.0.0.1:1/acct", sas).to_string();
    assert_eq!(error, "$DATAPROXY_NO_SUCH_VARIABLE: the environment variable is not set");
}
