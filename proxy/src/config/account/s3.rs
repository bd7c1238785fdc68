//! `[accounts.NAME]` of kind `s3`: a server that speaks as Amazon S3 does.

use super::super::section::CredentialKind;
use super::{AccountSection, Invalid, Place};
use crate::store::s3::{S3Credential, S3Options, S3Secret, Url};

const KEYS: [&str; 8] = [
    "endpoint",
    "region",
    "path_style",
    "credential",
    "access_key_id",
    "secret_file",
    "secret_env",
    "ca_file",
];

/// Checks an account of kind `s3`.
pub(super) fn settings(section: AccountSection, at: &Place<'_>) -> Result<S3Options, Invalid> {
    section.takes_only(at, "s3", &KEYS)?;
    let endpoint = section.endpoint.as_deref().map(|text| endpoint(at, text)).transpose()?;
    let region = section.region.clone().ok_or_else(|| {
        at.invalid("region", "missing; the region that requests are signed for, such as eu-central-1")
    })?;
    if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(at.invalid("region", "not a region; letters, digits and '-' are allowed"));
    }
    Ok(S3Options {
        // Servers of one's own have no name for each bucket; AWS wants one.
        path_style: section.path_style.unwrap_or(endpoint.is_some()),
        credential: credential(&section, at)?,
        endpoint,
        region,
        ca: section.ca_file.map(|path| at.folder.join(path)),
    })
}

fn endpoint(at: &Place<'_>, text: &str) -> Result<Url, Invalid> {
    let url = Url::parse(text).ok().filter(|url| {
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let of_a_server = url.has_host() && url.username().is_empty() && url.password().is_none();
        bare && of_a_server && matches!(url.scheme(), "http" | "https")
    });
    url.ok_or_else(|| {
        at.invalid("endpoint", "not a URL of http or https with a host, a port and nothing after")
    })
}

fn credential(section: &AccountSection, at: &Place<'_>) -> Result<S3Credential, Invalid> {
    let key_keys = ["access_key_id", "secret_file", "secret_env"];
    let of_key = |(key, _): &(&str, bool)| key_keys.contains(key);
    let of_key: Vec<_> = section.keys().into_iter().filter(of_key).collect();
    let without_key =
        |word: &str| at.refuse(&of_key, &format!("the credential {word:?} has none; leave it out"));
    match section.credential {
        Some(CredentialKind::Key) => {}
        Some(CredentialKind::Environment) => {
            return without_key("environment").map(|()| S3Credential::Environment);
        }
        Some(CredentialKind::None) => return without_key("none").map(|()| S3Credential::Anonymous),
        Some(_) | None => {
            return Err(
                at.invalid("credential", "key, environment or none is needed for an account of kind \"s3\"")
            );
        }
    }
    let id = section.access_key_id.clone().filter(|id| !id.is_empty()).ok_or_else(|| {
        at.invalid("access_key_id", "missing; the credential \"key\" is a key id and a secret")
    })?;
    let secret = match (&section.secret_file, &section.secret_env) {
        (Some(path), None) => S3Secret::File(at.folder.join(path)),
        (None, Some(variable)) if !variable.is_empty() && !variable.contains(['=', '\0']) => {
            S3Secret::Variable(variable.clone())
        }
        // What stands there may be the secret itself.
        (None, Some(_)) => {
            return Err(at.invalid(
                "secret_env",
                "not a name of an environment variable; the name of the one that holds the secret is allowed",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(at.invalid("secret_env", "set, and so is secret_file; a secret is in one place"));
        }
        (None, None) => {
            return Err(at.invalid(
                "secret_file",
                "missing; a secret is in a file, or in the environment variable that secret_env names",
            ));
        }
    };
    Ok(S3Credential::Key { id, secret })
}

#[cfg(test)]
mod tests {
    use crate::config::{Account, Config};
    use crate::store::s3::S3Options;

    const LEAST: &str =
        "[node]\nname = \"n1\"\n[bindings]\nsource = \"file\"\npath = \"b.json\"\n[accounts.main]\n";

    fn parse(keys: &str) -> Result<S3Options, String> {
        let text = format!("{LEAST}kind = \"s3\"\n{keys}");
        let config = Config::parse("/etc/dp/node.toml".as_ref(), &text).map_err(|error| error.to_string())?;
        match config.accounts.into_values().next() {
            Some(Account::S3(settings)) => Ok(settings),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn buckets_are_in_the_host_at_aws_and_in_the_path_elsewhere() {
        let aws = parse("region = \"eu-central-1\"\ncredential = \"environment\"").expect("valid");
        assert!(!aws.path_style);
        assert_eq!(aws.to_string(), "S3 of eu-central-1, credential of the environment");
        let own = parse(
            "endpoint = \"https://minio.example:9000\"\nregion = \"x\"\ncredential = \"key\"\naccess_key_id = \"AK\"\nsecret_file = \"s\"",
        );
        let own = own.expect("valid");
        assert!(own.path_style);
        assert_eq!(
            own.to_string(),
            "S3 at https://minio.example:9000/, key AK with the secret from /etc/dp/s"
        );
    }

    #[test]
    fn every_wrong_setting_is_named_with_what_is_allowed_and_no_secret() {
        for (keys, message) in [
            ("credential = \"none\"", "6: accounts.main.region: missing"),
            ("region = \"x\"", "6: accounts.main.credential: key, environment or none"),
            ("region = \"x\"\ncredential = \"sas\"", "9: accounts.main.credential: key, environment or none"),
            ("region = \"x\"\ncredential = \"key\"", "6: accounts.main.access_key_id: missing"),
            (
                "region = \"x\"\ncredential = \"key\"\naccess_key_id = \"AK\"",
                "6: accounts.main.secret_file: missing",
            ),
            (
                "region = \"x\"\ncredential = \"none\"\nsecret_env = \"S\"",
                "10: accounts.main.secret_env: set, but the credential \"none\" has none",
            ),
            (
                "region = \"x\"\ncredential = \"key\"\naccess_key_id = \"AK\"\nsecret_env = \"a=hidden\"",
                "11: accounts.main.secret_env: not a name of an environment variable",
            ),
            (
                "region = \"x\"\ncredential = \"none\"\nendpoint = \"https://u:hidden@a\"",
                "10: accounts.main.endpoint: not a URL of http or https",
            ),
            ("region = \"x\"\ncredential = \"none\"\nurl = \"https://a\"", "10: accounts.main.url: set, but"),
        ] {
            let error = parse(keys).expect_err(keys);
            let found = error.strip_prefix("/etc/dp/node.toml:").expect(&error);
            assert!(
                found.starts_with(message),
                "{keys}\n  is reported as {found}\n  instead of     {message}"
            );
            assert!(!error.contains("hidden"), "{error}");
        }
    }
}
