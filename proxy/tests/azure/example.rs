//! The example of deploy/azure is one that a node takes, and `dataproxy check` shows no secret.

use std::path::Path;
use std::process::Command;

use crate::scripted::SIGNATURE;

#[test]
fn the_example_for_azure_is_accepted_and_shown_without_its_secrets() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    // A machine of tests may trust nobody.
    let key = rcgen::KeyPair::generate().expect("a key");
    let authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    let authority = write("ca.pem", &authority.self_signed(&key).expect("signed").pem());
    let token = write("token", "a-federated-token");
    let check = |sas: Option<&str>| {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/azure/dataproxy.toml");
        let mut run = Command::new(env!("CARGO_BIN_EXE_dataproxy"));
        run.args(["check", "--config"]).arg(example).env_clear();
        run.env("SSL_CERT_FILE", &authority).env("AZURE_FEDERATED_TOKEN_FILE", &token);
        run.env("AZURE_TENANT_ID", "some-tenant").env("AZURE_CLIENT_ID", "some-client");
        if let Some(sas) = sas {
            run.env("CONTOSOARCHIVE_SAS", sas);
        }
        let ran = run.output().expect("it runs");
        (ran.status.code(), [ran.stdout, ran.stderr].concat())
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");

    let (code, shown) = check(Some(&format!("sv=2022-11-02&sp=rl&sr=c&sig={SIGNATURE}")));
    let shown = text(shown);
    assert_eq!(code, Some(0), "{shown}");
    for line in [
        "account main: https://contosoblobs.blob.core.windows.net, workload identity of the environment",
        "account archive: https://contosoarchive.blob.core.windows.net, SAS from $CONTOSOARCHIVE_SAS",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line:?} is not in {shown}");
    }
    assert!(!shown.contains(SIGNATURE) && !shown.contains("a-federated-token"), "{shown}");

    let (code, shown) = check(None);
    let shown = text(shown);
    assert_eq!(code, Some(66), "{shown}");
    assert!(
        shown.contains("accounts.archive: $CONTOSOARCHIVE_SAS: the environment variable is not set"),
        "{shown}"
    );
}
