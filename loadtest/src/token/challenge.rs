//! `WWW-Authenticate` (RFC 9110, 11.6.1; Docker's token specification).

/// A challenge that can be met.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token, from somewhere else.
    Bearer(Bearer),
}

/// Where a token is to be had, and for what.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Bearer {
    pub(super) realm: String,
    pub(super) service: Option<String>,
    pub(super) scope: Option<String>,
}

/// The challenge to meet: Bearer before Basic, as docker and containerd have it.
pub(super) fn choose(lines: &[String]) -> Option<Challenge> {
    let mut basic = false;
    for line in lines {
        let (scheme, parameters) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            let mut bearer = Bearer::default();
            for (name, value) in Parameters(parameters) {
                match name.to_ascii_lowercase().as_str() {
                    "realm" => bearer.realm = value,
                    "service" => bearer.service = Some(value),
                    "scope" if !value.is_empty() => bearer.scope = Some(value),
                    _ => {}
                }
            }
            if !bearer.realm.is_empty() {
                return Some(Challenge::Bearer(bearer));
            }
        }
        basic |= scheme.eq_ignore_ascii_case("basic");
    }
    basic.then_some(Challenge::Basic)
}

/// `name=value, name="quoted value"`; ends at what is neither.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, String);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start_matches([' ', '\t', ',']);
        let (name, rest) = rest.split_once('=')?;
        let (value, rest) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (value, rest) = rest.split_at_checked(end)?;
                (value.trim().to_owned(), rest)
            }
        };
        self.0 = rest;
        Some((name.trim(), value))
    }
}

fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            character => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(lines: &[&str]) -> Option<Challenge> {
        choose(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
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
    fn a_bearer_challenge_is_read_with_commas_inside_its_scope() {
        assert_eq!(
            chosen(&[
                r#"Bearer realm="https://h/token",service="s",scope="repository:a/b:pull,push",error="x""#
            ]),
            bearer("https://h/token", Some("s"), Some("repository:a/b:pull,push"))
        );
        assert_eq!(chosen(&[r#"bearer realm=https://h/t , scope="""#]), bearer("https://h/t", None, None));
        assert_eq!(chosen(&[r#"Bearer realm="a\"b""#]), bearer("a\"b", None, None));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            failure_persistence: None,
            ..proptest::prelude::ProptestConfig::default()
        })]

        #[test]
        fn a_challenge_reads_as_it_is_written_whatever_its_values_hold(
            realm in "\\PC{1,20}", service in "\\PC{0,20}", scope in "\\PC{1,20}"
        ) {
            let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let line = format!(
                "Bearer realm={}, service={},scope={}",
                quoted(&realm),
                quoted(&service),
                quoted(&scope)
            );
            proptest::prop_assert_eq!(chosen(&[&line]), bearer(&realm, Some(&service), Some(&scope)));
        }

        #[test]
        fn no_challenge_is_too_odd_to_be_read(line in "(Bearer|Basic|)( ?[a-z]{0,5}=?[\"\\\\a-zé,=]{0,6}){0,6}") {
            let _ = chosen(&[&line]);
        }
    }

    #[test]
    fn bearer_goes_before_basic_and_what_is_neither_is_not_met() {
        assert_eq!(
            chosen(&["Basic realm=\"x\"", "Bearer realm=\"https://h\""]),
            bearer("https://h", None, None)
        );
        assert_eq!(chosen(&["BASIC realm=x"]), Some(Challenge::Basic));
        for lines in [&[][..], &["Digest realm=\"x\""], &["Bearer"], &["Bearer realm=\"open"]] {
            assert_eq!(chosen(lines), None, "{lines:?}");
        }
    }
}
