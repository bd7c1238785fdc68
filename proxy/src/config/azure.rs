//! `[accounts.NAME]` of kind `azure`: where it is and how it is shown who asks. Secrets are named, never written.

use std::path::Path;

use dataproxy_azure::{Credential, Endpoint, EndpointError, PUBLIC_SUFFIX, SecretSource, Settings, Url};
use dataproxy_router_api::AccountName;

use super::error::Invalid;
use super::section::{AccountSection, CredentialKind};

/// What an account of another kind may not have.
pub(super) fn refuse_its_keys(name: &AccountName, section: &AccountSection) -> Result<(), Invalid> {
    let kind = "an account of another kind than \"azure\" has none; leave it out";
    refuse(name, &[("credential", section.credential.is_some())], kind)?;
    refuse(name, &place_keys(section), kind)?;
    refuse(name, &credential_keys(section), kind)
}

/// Checks an account of kind `azure`. Paths are taken from `folder`.
pub(super) fn settings(
    name: &AccountName,
    section: AccountSection,
    folder: &Path,
) -> Result<Settings, Invalid> {
    refuse(name, &[("path", section.path.is_some())], "an account of kind \"azure\" has none; leave it out")?;
    let endpoint = endpoint(name, &section)?;
    let credential = credential(name, &section, folder)?;
    if credential.is_token() && !endpoint.is_tls() {
        let message = format!("{endpoint} is not https; an identity's token is only sent by TLS");
        return Err(Invalid::new(key(name, "endpoint"), message));
    }
    Ok(Settings { endpoint, credential, ca_file: section.ca_file.map(|path| folder.join(path)) })
}

fn key(name: &AccountName, key: &str) -> String {
    format!("accounts.{name}.{key}")
}

fn refuse(name: &AccountName, keys: &[(&str, bool)], why: &str) -> Result<(), Invalid> {
    match keys.iter().find(|(_, set)| *set) {
        Some((found, _)) => Err(Invalid::new(key(name, found), format!("set, but {why}"))),
        None => Ok(()),
    }
}

fn place_keys(section: &AccountSection) -> [(&'static str, bool); 4] {
    [
        ("account", section.account.is_some()),
        ("endpoint_suffix", section.endpoint_suffix.is_some()),
        ("endpoint", section.endpoint.is_some()),
        ("ca_file", section.ca_file.is_some()),
    ]
}

/// The keys that belong to one credential or another, the credential itself apart.
fn credential_keys(section: &AccountSection) -> [(&'static str, bool); 7] {
    [
        ("secret_file", section.secret_file.is_some()),
        ("secret_env", section.secret_env.is_some()),
        ("client_id", section.client_id.is_some()),
        ("identity_endpoint", section.identity_endpoint.is_some()),
        ("tenant_id", section.tenant_id.is_some()),
        ("token_file", section.token_file.is_some()),
        ("authority", section.authority.is_some()),
    ]
}

fn endpoint(name: &AccountName, section: &AccountSection) -> Result<Endpoint, Invalid> {
    let invalid = |setting: &str, error: EndpointError| Invalid::new(key(name, setting), error.to_string());
    let account = section.account.as_deref();
    match (&section.endpoint, account) {
        (Some(url), account) => {
            let suffix = [("endpoint_suffix", section.endpoint_suffix.is_some())];
            refuse(name, &suffix, "endpoint gives the whole address; leave one of the two out")?;
            Endpoint::at_url(url, account).map_err(|error| invalid("endpoint", error))
        }
        (None, Some(account)) => {
            let suffix = section.endpoint_suffix.as_deref().unwrap_or(PUBLIC_SUFFIX);
            Endpoint::of_account(account, suffix).map_err(|error| {
                let setting =
                    if matches!(error, EndpointError::Suffix(_)) { "endpoint_suffix" } else { "account" };
                invalid(setting, error)
            })
        }
        (None, None) => Err(Invalid::new(
            key(name, "account"),
            "missing; an account of kind \"azure\" needs the account's name, or the whole address as endpoint",
        )),
    }
}

fn credential(name: &AccountName, section: &AccountSection, folder: &Path) -> Result<Credential, Invalid> {
    let kind = section.credential.ok_or_else(|| {
        Invalid::new(
            key(name, "credential"),
            "missing; sas, shared_key, managed_identity or workload_identity is allowed",
        )
    })?;
    let (word, own): (&str, &[&str]) = match kind {
        CredentialKind::Sas => ("sas", &["secret_file", "secret_env"]),
        CredentialKind::SharedKey => ("shared_key", &["secret_file", "secret_env"]),
        CredentialKind::ManagedIdentity => ("managed_identity", &["client_id", "identity_endpoint"]),
        CredentialKind::WorkloadIdentity => {
            ("workload_identity", &["client_id", "tenant_id", "token_file", "authority"])
        }
    };
    let others: Vec<_> = credential_keys(section).into_iter().filter(|(key, _)| !own.contains(key)).collect();
    refuse(name, &others, &format!("the credential {word:?} has none; leave it out"))?;
    let url = |setting: &str, text: &Option<String>, schemes: &[&str]| {
        text.as_deref().map(|text| base_url(name, setting, text, schemes)).transpose()
    };
    Ok(match kind {
        CredentialKind::Sas => Credential::Sas(secret(name, section, folder)?),
        CredentialKind::SharedKey => Credential::SharedKey(secret(name, section, folder)?),
        CredentialKind::ManagedIdentity => Credential::ManagedIdentity {
            client_id: section.client_id.clone(),
            endpoint: url("identity_endpoint", &section.identity_endpoint, &["http", "https"])?,
        },
        CredentialKind::WorkloadIdentity => Credential::WorkloadIdentity {
            tenant_id: section.tenant_id.clone(),
            client_id: section.client_id.clone(),
            token_file: section.token_file.as_ref().map(|path| folder.join(path)),
            authority: url("authority", &section.authority, &["https"])?,
        },
    })
}

fn secret(name: &AccountName, section: &AccountSection, folder: &Path) -> Result<SecretSource, Invalid> {
    match (&section.secret_file, &section.secret_env) {
        (Some(path), None) => Ok(SecretSource::File(folder.join(path))),
        (None, Some(variable)) if !variable.is_empty() && !variable.contains(['=', '\0']) => {
            Ok(SecretSource::Variable(variable.clone()))
        }
        // What stands there may be the secret itself.
        (None, Some(_)) => Err(Invalid::new(
            key(name, "secret_env"),
            "not a name of an environment variable; the name of the one that holds the secret is allowed",
        )),
        (Some(_), Some(_)) => {
            Err(Invalid::new(key(name, "secret_env"), "set, and so is secret_file; a secret is in one place"))
        }
        (None, None) => Err(Invalid::new(
            key(name, "secret_file"),
            "missing; a secret is in a file, or in the environment variable that secret_env names",
        )),
    }
}

/// A scheme, host and port, and nothing else.
fn base_url(name: &AccountName, setting: &str, text: &str, schemes: &[&str]) -> Result<Url, Invalid> {
    let url = Url::parse(text).ok().filter(|url| {
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        bare && url.has_host() && url.username().is_empty() && schemes.contains(&url.scheme())
    });
    url.ok_or_else(|| {
        let schemes = schemes.join(" or ");
        Invalid::new(
            key(name, setting),
            format!("not a URL of {schemes} with a host, a port and nothing after"),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::config::{Account, Config};

    const LEAST: &str =
        "[node]\nname = \"n1\"\n[bindings]\nsource = \"file\"\npath = \"b.json\"\n[accounts.main]\n";

    fn parse(keys: &str) -> Result<dataproxy_azure::Settings, String> {
        let text = format!("{LEAST}kind = \"azure\"\n{keys}");
        let config = Config::parse("/etc/dp/node.toml".as_ref(), &text).map_err(|error| error.to_string())?;
        match config.accounts.into_values().next() {
            Some(Account::Azure(settings)) => Ok(*settings),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_credential_is_read_and_shown_without_a_secret() {
        for (keys, shown) in [
            (
                "account = \"contoso1\"\ncredential = \"sas\"\nsecret_file = \"sas\"",
                "https://contoso1.blob.core.windows.net, SAS from /etc/dp/sas",
            ),
            (
                "endpoint = \"http://127.0.0.1:10000/devstoreaccount1\"\ncredential = \"shared_key\"\nsecret_env = \"KEY\"",
                "http://127.0.0.1:10000/devstoreaccount1, shared key from $KEY",
            ),
            (
                "account = \"contoso1\"\nendpoint_suffix = \"blob.core.usgovcloudapi.net\"\ncredential = \"managed_identity\"",
                "https://contoso1.blob.core.usgovcloudapi.net, managed identity of the machine",
            ),
            (
                "account = \"contoso1\"\ncredential = \"managed_identity\"\nclient_id = \"1-2\"\nidentity_endpoint = \"http://10.0.0.1\"",
                "https://contoso1.blob.core.windows.net, managed identity 1-2",
            ),
            (
                "endpoint = \"https://blobs.example\"\naccount = \"contoso1\"\ncredential = \"workload_identity\"\ntenant_id = \"t\"\nclient_id = \"c\"\ntoken_file = \"token\"\nauthority = \"https://login.microsoftonline.us\"\nca_file = \"ca.pem\"",
                "https://blobs.example, workload identity c",
            ),
        ] {
            let settings = parse(keys).expect(keys);
            assert_eq!(Account::Azure(Box::new(settings)).to_string(), shown);
        }
        let settings = parse(
            "account = \"contoso1\"\ncredential = \"workload_identity\"\ntoken_file = \"t\"\nca_file = \"ca.pem\"",
        );
        assert_eq!(settings.expect("settings").ca_file, Some(PathBuf::from("/etc/dp/ca.pem")));
    }

    #[test]
    fn every_wrong_setting_is_named_with_what_is_allowed_and_no_secret() {
        let sas = "credential = \"sas\"\nsecret_file = \"sas\"\n";
        for (keys, message) in [
            (sas.to_owned(), "6: accounts.main.account: missing; an account of kind"),
            ("account = \"contoso1\"".to_owned(), "6: accounts.main.credential: missing; sas, shared_key"),
            (
                "account = \"contoso1\"\ncredential = \"password\"".to_owned(),
                "9: accounts.main.credential: unknown variant `password`, expected one of `sas`",
            ),
            (format!("{sas}account = \"Contoso\""), "10: accounts.main.account: \"Contoso\" is not the name"),
            (
                format!("{sas}account = \"contoso1\"\nendpoint_suffix = \"core.windows.net\""),
                "11: accounts.main.endpoint_suffix: \"core.windows.net\" is not the suffix",
            ),
            (
                format!("{sas}endpoint = \"https://a.example\"\nendpoint_suffix = \"blob.x\""),
                "11: accounts.main.endpoint_suffix: set, but endpoint gives the whole address",
            ),
            (
                format!("{sas}endpoint = \"https://a.example?sig=hidden\""),
                "10: accounts.main.endpoint: \"https://a.example\" is not the URL of a blob service; it has no query",
            ),
            (format!("{sas}account = \"contoso1\"\npath = \"x\""), "11: accounts.main.path: set, but an account of"),
            (
                format!("{sas}account = \"contoso1\"\nclient_id = \"x\""),
                "11: accounts.main.client_id: set, but the credential \"sas\" has none",
            ),
            (
                format!("{sas}account = \"contoso1\"\nsecret_env = \"SAS\""),
                "11: accounts.main.secret_env: set, and so is secret_file",
            ),
            (
                "account = \"contoso1\"\ncredential = \"shared_key\"".to_owned(),
                "6: accounts.main.secret_file: missing; a secret is in a file",
            ),
            (
                "account = \"contoso1\"\ncredential = \"sas\"\nsecret_env = \"sv=1&sig=hidden\"".to_owned(),
                "10: accounts.main.secret_env: not a name of an environment variable",
            ),
            (
                "endpoint = \"http://127.0.0.1:10000/dev\"\ncredential = \"managed_identity\"".to_owned(),
                "8: accounts.main.endpoint: http://127.0.0.1:10000/dev is not https",
            ),
            (
                "account = \"contoso1\"\ncredential = \"workload_identity\"\nauthority = \"http://login.example\"".to_owned(),
                "10: accounts.main.authority: not a URL of https with a host",
            ),
            (
                "account = \"contoso1\"\ncredential = \"managed_identity\"\nidentity_endpoint = \"http://a.example/x\"".to_owned(),
                "10: accounts.main.identity_endpoint: not a URL of http or https",
            ),
        ] {
            let error = parse(&keys).expect_err(&keys);
            let found = error.strip_prefix("/etc/dp/node.toml:").expect(&error);
            assert!(found.starts_with(message), "{keys}\n  is reported as {found}\n  instead of     {message}");
            assert!(!error.contains("hidden"), "{error}");
        }
        let text = format!("{LEAST}kind = \"local\"\npath = \"x\"\nca_file = \"y\"");
        let error = Config::parse("/n".as_ref(), &text).expect_err("another kind's key").to_string();
        assert_eq!(
            error,
            "/n:9: accounts.main.ca_file: set, but an account of another kind than \"azure\" has none; leave it out"
        );
    }
}
