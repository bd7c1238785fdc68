//! A shared access signature: a query string that is added to every request.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::Secret;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use azure_core::time::{OffsetDateTime, parse_rfc3339, to_rfc3339};

use super::secret::Watched;

/// A signature, and when it holds.
#[derive(Clone)]
pub(crate) struct Sas {
    query: Secret,
    starts: Option<OffsetDateTime>,
    expires: Option<OffsetDateTime>,
}

impl Sas {
    /// Reads a query string as portal and command line show it, with or without `?` before it.
    pub(super) fn parse(text: &Secret) -> Result<Self, &'static str> {
        let query = text.secret().trim_start_matches('?');
        if query.contains("://") {
            return Err("it is a whole URL; a SAS is the part after '?', such as sv=…&sp=rl&sig=…");
        }
        if query.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') || !query.is_ascii() {
            return Err("it holds what no query string does; a SAS is such as sv=…&sp=rl&sig=…");
        }
        let value = |name: &str| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        if value("sig").is_none_or(|signature| signature.is_empty()) {
            return Err("it has no signature; a SAS is such as sv=…&sp=rl&sig=…");
        }
        // A stored access policy may say when, so neither must be there.
        let time = |name: &str| value(name).and_then(|text| parse_time(&text));
        Ok(Self { query: Secret::new(query.to_owned()), starts: time("st"), expires: time("se") })
    }

    /// Why storage may refuse it.
    pub(super) fn excuse(&self) -> Option<String> {
        let now = OffsetDateTime::now_utc();
        match (self.starts, self.expires) {
            (_, Some(expires)) if expires <= now => {
                Some(format!("the SAS expired at {}", to_rfc3339(&expires)))
            }
            (Some(starts), _) if starts > now => {
                Some(format!("the SAS is not valid before {}", to_rfc3339(&starts)))
            }
            _ => None,
        }
    }
}

/// "2026-11-25T01:13Z", with or without seconds, or a day alone.
fn parse_time(text: &str) -> Option<OffsetDateTime> {
    let minutes = || text.strip_suffix('Z').map(|text| format!("{text}:00Z"));
    let day = || Some(format!("{text}T00:00:00Z"));
    let parse = |text: String| parse_rfc3339(&text).ok();
    parse(text.to_owned()).or_else(|| minutes().and_then(parse)).or_else(|| day().and_then(parse))
}

impl fmt::Debug for Sas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sas").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Adds the signature that is in force to each try.
#[derive(Debug)]
pub(super) struct SasPolicy {
    sas: Arc<Watched<Sas>>,
}

impl SasPolicy {
    pub(super) fn new(sas: Arc<Watched<Sas>>) -> Self {
        Self { sas }
    }
}

#[async_trait]
impl Policy for SasPolicy {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let sas = self.sas.current();
        let url = request.url_mut();
        let query = match url.query().filter(|query| !query.is_empty()) {
            None => sas.query.secret().to_owned(),
            Some(query) => with_signature(query, sas.query.secret()),
        };
        url.set_query(Some(&query));
        super::forward(context, request, next).await
    }
}

/// The query with the signature; that of a try before goes.
fn with_signature(query: &str, sas: &str) -> String {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let signed: Vec<String> = sas.split('&').map(name).collect();
    let own = query.split('&').filter(|pair| !signed.contains(&name(pair)));
    own.chain(std::iter::once(sas)).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Sas, &'static str> {
        Sas::parse(&Secret::new(text.to_owned()))
    }

    #[test]
    fn a_sas_is_read_as_tools_show_it_and_its_expiry_is_known() {
        for text in [
            "sv=2022-11-02&ss=b&srt=co&sp=rl&se=2020-01-02T03:04:05Z&sig=aGlkZGVu%3D",
            "?sp=rl&se=2020-01-02T03%3A04%3A05Z&sr=c&sig=aGlkZGVu%3D",
            "sp=rl&se=2020-01-02T03:04Z&sr=c&sig=aGlkZGVu%3D",
            "sp=rl&se=2020-01-02&sr=c&sig=aGlkZGVu%3D",
        ] {
            let sas = parse(text).expect(text);
            let excuse = sas.excuse().expect("long expired");
            assert!(excuse.starts_with("the SAS expired at 2020-01-02"), "{excuse}");
            assert!(!format!("{sas:?}").contains("aGlkZGVu"), "{sas:?}");
        }
        assert_eq!(parse("sr=c&si=policy&sig=x").expect("a stored policy says when").excuse(), None);
        let excuse = parse("st=2999-01-01&se=2999-02-01&sig=x").expect("a SAS").excuse().expect("an excuse");
        assert!(excuse.starts_with("the SAS is not valid before 2999-01-01"), "{excuse}");
    }

    #[test]
    fn what_is_no_sas_is_refused_without_being_repeated() {
        for text in
            ["https://a.example/c?sv=1&sig=hidden", "sv=1&sp=r", "sig=", "sv=1 &sig=hidden", "sig=hidden#x"]
        {
            let reason = parse(text).expect_err(text);
            assert!(!reason.contains("hidden"), "{reason}");
        }
    }

    #[test]
    fn a_signature_takes_the_place_of_the_one_before() {
        let (old, new) = ("sv=1&sp=rl&sig=old", "sv=2&sp=rl&sig=new");
        let first = with_signature("comp=list&prefix=a%2F", old);
        assert_eq!(first, "comp=list&prefix=a%2F&sv=1&sp=rl&sig=old");
        assert_eq!(with_signature(&first, new), "comp=list&prefix=a%2F&sv=2&sp=rl&sig=new");
        assert_eq!(with_signature(&first, old), first);
    }
}
