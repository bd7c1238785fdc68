//! What a registry asks for before it serves: the challenges of `WWW-Authenticate` (RFC 9110, 11.6.1), of which two
//! are understood.

use http::{HeaderMap, header};

/// A way to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token of a service (distribution's token authentication).
    Bearer(Bearer),
    /// Name and password (RFC 7617).
    Basic,
}

/// Where a token is to be had, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    /// The token service's URL.
    pub(super) realm: String,
    /// Who the token is for.
    pub(super) service: Option<String>,
    /// What it is to allow.
    pub(super) scope: Option<String>,
}

/// The challenge to answer: a token if one is asked for, else name and password. `None` if neither is understood.
pub(super) fn best(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let found: Vec<Challenge> = values.flat_map(read).collect();
    let bearer = found.iter().find(|challenge| matches!(challenge, Challenge::Bearer(_)));
    bearer.or(found.first()).cloned()
}

/// The challenges of one header, as far as it can be read.
fn read(text: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((scheme, after)) = token(skip(rest)) {
        let (parameters, after) = parameters(after);
        rest = after;
        let value = |name: &str| {
            parameters
                .iter()
                .find(|(found, _)| found.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = value("realm")
        {
            let (service, scope) = (value("service"), value("scope"));
            found.push(Challenge::Bearer(Bearer { realm, service, scope }));
        }
    }
    found
}

/// Leading space and commas off.
fn skip(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', ','])
}

/// `name=value` pairs up to the next scheme, and what follows them.
fn parameters(text: &str) -> (Vec<(&str, String)>, &str) {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some((name, after)) = token(skip(rest)) {
        let Some(after) = after.trim_start().strip_prefix('=') else { break };
        let after = after.trim_start();
        match value(after) {
            Some((value, after)) => {
                found.push((name, value));
                rest = after;
            }
            None if after.starts_with('"') => return (found, ""),
            // A token68, which ends its challenge (RFC 9110, 11.2).
            None => return (found, after.find(',').and_then(|at| after.get(at..)).unwrap_or_default()),
        }
    }
    (found, rest)
}

fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, rest)| (value.to_owned(), rest));
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return quoted.get(at + 1..).map(|rest| (value, rest)),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, value.parse().expect("a header"));
        }
        best(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: owned(service),
            scope: owned(scope),
        }))
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull""#;
        let scope = Some("repository:library/x:pull");
        let wanted = bearer("https://auth.docker.io/token", Some("registry.docker.io"), scope);
        assert_eq!(of(&[hub]), wanted);
        assert_eq!(of(&["Basic realm=\"x\"", hub]), wanted, "a token is better than a password");
        assert_eq!(of(&[&format!("basic realm=x, {hub}")]), wanted);
        assert_eq!(
            of(&[r#"bearer Realm = "https://a/\"b\"" , SERVICE=plain ,error="insufficient_scope""#]),
            bearer("https://a/\"b\"", Some("plain"), None)
        );
        assert_eq!(of(&["Negotiate abc==, Basic realm=\"a, b\""]), Some(Challenge::Basic));
        assert_eq!(of(&["Basic"]), Some(Challenge::Basic));
        for none in
            ["", "Bearer", "Bearer service=\"x\"", "Digest realm=\"x\"", "Bearer realm=\"open", "=", ",,"]
        {
            assert_eq!(of(&[none]), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics_or_hangs(text in "[ -~]{0,80}") {
            let _ = read(&text);
        }
    }
}
