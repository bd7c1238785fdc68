//! Secrets stay where they are: no log at any level, no error and no `Debug` repeats one.

use std::path::Path;

use dataproxy::store::Store;
use dataproxy_azure::{Account, Credential, Endpoint, SecretSource, Settings, Transports};
use dataproxy_cache::{ObjectName, Origin};

use crate::scripted::{Answer, OBJECT, SIGNATURE, Scripted, refused};
use crate::telling::Log;

/// In base64, so that it is a key; its bytes are of no account.
const KEY: &str = "c2VjcmV0LWtleS1vZi1ub2JvZHk=";

fn account(scripted: &Scripted, credential: Credential) -> Account {
    let endpoint = Endpoint::at_url(&format!("http://{}/acct", scripted.address), None).expect("an endpoint");
    let settings = Settings { endpoint, credential, ca_file: None };
    Account::open(&settings, &mut Transports::default()).expect("an account")
}

/// Everything that an account does, well and badly, with all that it says of it.
async fn exercise(storage: &Scripted, account: &Account) -> String {
    let object = ObjectName::new(OBJECT);
    let mut said = format!("{account:?} {account}");
    let echo = |status: &str| {
        let body = format!(
            "<Error><Code>X</Code><Message>GET /c/b?sp=r&amp;sig={SIGNATURE}</Message><AuthenticationErrorDetail>\
             The MAC signature found in the HTTP request '{SIGNATURE}'</AuthenticationErrorDetail></Error>"
        );
        Answer::Whole(format!("{status}\r\nx-ms-error-code: AuthenticationFailed"), body)
    };
    let redirect = format!("302 Found\r\nlocation: http://127.0.0.1:1/?sig={SIGNATURE}");
    let script =
        [echo("403 F"), echo("500 I"), Answer::ResetAtOnce, Answer::Whole(redirect, SIGNATURE.to_owned())];
    for answer in script {
        storage.answers([answer]);
        let error = account.get(&object, 0..10, None).await.expect_err("a failure");
        said += &format!("{error} {error:?}");
    }
    let read = account.get(&object, 0..10, None).await.expect("an answer");
    said += &format!("{read:?}");
    storage.answers([refused("403 F", "AuthenticationFailed")]);
    let error = Store::list(account, &object, None, 10).await.expect_err("a failure");
    said += &format!("{error} {error:?}");
    storage.answers([echo("403 F")]);
    let error = account.put(&object, "x".into()).await.expect_err("a failure");
    said += &format!("{error} {error:?}");
    said
}

fn is_kept(secret: &str, said: &str) {
    for (at, line) in said.lines().enumerate() {
        assert!(!line.contains(secret), "line {at} has the secret: {line}");
    }
}

#[tokio::test]
async fn no_secret_is_in_a_log_an_error_or_debug() {
    let log = Log::default();
    let _collecting = log.collect();
    let storage = Scripted::start(b"0123456789").await;
    let said = exercise(&storage, &storage.account).await + &log.text();
    let plain = SIGNATURE.replace("%3D", "=");
    is_kept(SIGNATURE, &said);
    is_kept(&plain, &said);
    assert!(said.contains("127.0.0.1"), "the log has something to say");

    let key_file = storage.sas_file.with_file_name("key");
    std::fs::write(&key_file, KEY).expect("a file");
    let keyed = account(&storage, Credential::SharedKey(SecretSource::File(key_file)));
    storage.asked();
    let said = exercise(&storage, &keyed).await + &log.text();
    is_kept(KEY, &said);
    // A signature is good for a quarter of an hour.
    for head in storage.asked() {
        let signature = head.lines().find_map(|line| line.strip_prefix("authorization: SharedKey acct:"));
        is_kept(signature.expect("signed"), &said);
    }
    let object = ObjectName::new(OBJECT);
    let url = Store::sign(&keyed, &object, std::time::Duration::from_secs(60)).await.expect("no failure");
    let url = url.expect("a key signs");
    let (_, signature) = url.expose().split_once("sig=").expect("signed");
    is_kept(signature, &(format!("{url:?}") + &log.text()));
}

#[test]
fn a_secret_that_is_none_is_not_repeated() {
    let dir = tempfile::tempdir().expect("a folder");
    let open = |name: &str, text: &str, credential: fn(SecretSource) -> Credential| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        let endpoint = Endpoint::at_url("http://127.0.0.1:1/acct", None).expect("an endpoint");
        let settings = Settings { endpoint, credential: credential(SecretSource::File(path)), ca_file: None };
        Account::open(&settings, &mut Transports::default()).expect_err(name)
    };
    for error in [
        open("url", "https://a.example/?sig=hidden", Credential::Sas),
        open("no-signature", "sv=hidden", Credential::Sas),
        open("connection", "DefaultEndpointsProtocol=https;AccountKey=hidden", Credential::SharedKey),
        open("no-base64", "hidden!", Credential::SharedKey),
        open("empty", " \n", Credential::SharedKey),
    ] {
        let said = format!("{error} {error:?}");
        assert!(!said.contains("hidden") && said.contains(&dir.path().display().to_string()), "{said}");
    }
    let absent = SecretSource::File(Path::new("/no/such/file").to_owned());
    let endpoint = Endpoint::at_url("http://127.0.0.1:1/acct", None).expect("an endpoint");
    let settings = Settings { endpoint, credential: Credential::Sas(absent), ca_file: None };
    let error = Account::open(&settings, &mut Transports::default()).expect_err("no file").to_string();
    assert!(error.starts_with("/no/such/file: "), "{error}");
}
