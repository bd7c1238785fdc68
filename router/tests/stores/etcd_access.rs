//! Who may enter a real cluster: certificates and users.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dataproxy_router::store::etcd::{EtcdOptions, EtcdStore, EtcdTls, EtcdUser};
use dataproxy_router::store::{Commit, Key, Store as _, StoreErrorKind};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;

use crate::etcd_server::Etcd;

/// PEM files of an authority, and of what it signed.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        let dir = TempDir::with_prefix("certificates.").expect("a folder");
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("signed");
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).expect("written");
        for name in ["server", "client"] {
            let mut params = CertificateParams::new(vec!["etcd.test".to_owned()]).expect("parameters");
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            let key = KeyPair::generate().expect("a key");
            let signed = params.signed_by(&key, &authority).expect("signed");
            std::fs::write(dir.path().join(format!("{name}.pem")), signed.pem()).expect("written");
            std::fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem()).expect("written");
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn tls(&self) -> EtcdTls {
        EtcdTls {
            ca_file: Some(self.path("ca.pem")),
            identity: Some((self.path("client.pem"), self.path("client.key"))),
            server_name: Some("etcd.test".into()),
        }
    }
}

async fn refused(options: &EtcdOptions, kind: StoreErrorKind) {
    let options = EtcdOptions { limit: Duration::from_secs(1), ..options.clone() };
    let store = EtcdStore::new(&options).expect("options");
    let error = store.get(&Key::new("a")).await.expect_err("it may not enter");
    assert_eq!(error.kind, kind, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_certificates_is_entered_with_one_and_believed_by_its_authority_alone() {
    let files = Certificates::new();
    let (ca, server, key) = (files.text("ca.pem"), files.text("server.pem"), files.text("server.key"));
    let tls = ["--cert-file", &server, "--key-file", &key, "--trusted-ca-file", &ca, "--client-cert-auth"];
    let etcd = Etcd::spawn(1, "https", &tls);
    let options = EtcdOptions { tls: files.tls(), ..etcd.options() };
    let store = EtcdStore::new(&options).expect("options");
    etcd.wait(&store).await;
    store.commit(&Commit::new().put(Key::new("a"), "1")).await.expect("committed");

    let anonymous = EtcdTls { identity: None, ..files.tls() };
    refused(&EtcdOptions { tls: anonymous, ..options.clone() }, StoreErrorKind::Unavailable).await;
    let misnamed = EtcdTls { server_name: Some("other.test".into()), ..files.tls() };
    refused(&EtcdOptions { tls: misnamed, ..options.clone() }, StoreErrorKind::Unavailable).await;
    let others = Certificates::new();
    let unbelieved = EtcdTls { ca_file: Some(others.path("ca.pem")), ..files.tls() };
    refused(&EtcdOptions { tls: unbelieved, ..options }, StoreErrorKind::Unavailable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_users_is_entered_by_password_and_again_when_it_has_forgotten() {
    let mut etcd = Etcd::start(1).await;
    let dir = tempfile::tempdir().expect("a folder");
    let password = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    for command in [
        &["user", "add", "root:secret-of-root"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "router:secret"],
        &["role", "add", "router"],
        &["role", "grant-permission", "router", "readwrite", "--prefix=true", "/dataproxy/v1/"],
        &["user", "grant-role", "router", "router"],
        &["auth", "enable"],
    ] {
        etcd.control(command);
    }
    let user = |name: &str, password_file: &Path| {
        let user = EtcdUser { name: name.into(), password_file: password_file.to_owned() };
        EtcdOptions { user: Some(user), ..etcd.options() }
    };
    let right = user("router", &password("right", "secret\n"));
    refused(&etcd.options(), StoreErrorKind::Denied).await;
    refused(&user("router", &password("wrong", "guess")), StoreErrorKind::Denied).await;
    refused(&user("router", &dir.path().join("absent")), StoreErrorKind::Denied).await;
    let elsewhere = EtcdOptions { prefix: "/elsewhere/".into(), ..right.clone() };
    refused(&elsewhere, StoreErrorKind::Denied).await;

    let store = EtcdStore::new(&right).expect("options");
    store.commit(&Commit::new().put(Key::new("a"), "1")).await.expect("committed");
    // A restart forgets who is logged in.
    etcd.members[0].kill();
    etcd.members[0].start();
    etcd.wait(&store).await;
    store.commit(&Commit::new().put(Key::new("a"), "2")).await.expect("committed");
    let mut watch = store.watch("", store.list("").await.expect("listed").revision);
    etcd.members[0].kill();
    etcd.members[0].start();
    etcd.wait(&store).await;
    store.commit(&Commit::new().put(Key::new("a"), "3")).await.expect("committed");
    let batch = futures_util::StreamExt::next(&mut watch).await.expect("a batch").expect("a batch");
    assert_eq!(batch.changes.len(), 1);
}
