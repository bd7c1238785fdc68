//! Being let in: tokens, one for each repository, fetched once for all who need it and renewed before it is over; or name
//! and password, where the upstream wants that.
//!
//! Distribution's "Token Authentication": 401 with a realm, GET of the realm with service and scope, a token back. The
//! scope is always to pull and nothing more, whatever the upstream would like.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use dataproxy_cache::{OriginError, OriginErrorKind};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use metrics::counter;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::challenge::{Bearer, Challenge};
use super::failure::{collect, failure};
use super::wire::{Answer, Wire};

/// How long a token lasts that does not say (distribution's specification).
const LIFE: Duration = Duration::from_secs(60);
/// Longest life believed: nothing is kept for ever on another's word.
const LIFE_MAX: Duration = Duration::from_secs(3600);
/// How long the token service has for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a failure is told to others before the token service is asked again: a wrong password, asked with for every
/// pull, locks accounts.
const FAILED_FOR: Duration = Duration::from_secs(2);
/// Longest pause that a token service gets that asks for one.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Largest answer of a token service, in bytes.
const ANSWER_MAX: usize = 64 << 10;
/// Longest token that is taken, in bytes: it is sent with every request.
const TOKEN_MAX: usize = 16 << 10;
/// Memory for tokens, in bytes. Which repositories there are tokens for is for clients to choose.
const TOKENS_BYTES: u64 = 8 << 20;

#[derive(Clone, Debug)]
struct Entry {
    said: Result<HeaderValue, OriginError>,
    /// When a new one is asked for.
    ask_after: Instant,
    /// When this one is worth nothing.
    expires: Instant,
}

/// Who this node is at one upstream.
#[derive(Debug)]
pub(super) struct Tokens {
    basic: Option<HeaderValue>,
    /// What the upstream asked for last.
    challenge: ArcSwapOption<Challenge>,
    tokens: moka::future::Cache<String, Entry>,
}

impl Tokens {
    /// Nobody has asked for anything yet. `basic` is what name and password make, where there are any.
    pub(super) fn new(basic: Option<HeaderValue>) -> Self {
        let tokens = moka::future::Cache::builder()
            .time_to_live(LIFE_MAX)
            .max_capacity(TOKENS_BYTES)
            .weigher(|repository: &String, entry: &Entry| {
                let said = entry.said.as_ref().map_or_else(|error| error.message.len(), HeaderValue::len);
                u32::try_from(repository.len() + said + 256).unwrap_or(u32::MAX)
            })
            .build();
        Self { basic, challenge: ArcSwapOption::empty(), tokens }
    }

    /// What to show for a repository, as far as the upstream has let know that it wants anything.
    ///
    /// # Errors
    /// [`OriginError`] of the token service.
    pub(super) async fn current(
        &self,
        wire: &Wire,
        repository: &str,
    ) -> Result<Option<HeaderValue>, OriginError> {
        match self.challenge.load_full().as_deref() {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(self.basic.clone()),
            // The scope is another repository's.
            Some(Challenge::Bearer(bearer)) => {
                let bearer = Bearer { scope: None, ..bearer.clone() };
                self.token(wire, repository, &bearer, None).await.map(Some)
            }
        }
    }

    /// What to show after the upstream has answered `challenge` to `shown`.
    ///
    /// # Errors
    /// [`OriginErrorKind::Denied`] if there is nothing else to show; [`OriginError`] of the token service.
    pub(super) async fn answer(
        &self,
        wire: &Wire,
        repository: &str,
        challenge: Option<Challenge>,
        shown: Option<&HeaderValue>,
    ) -> Result<HeaderValue, OriginError> {
        let denied = |message: &str| OriginError::new(OriginErrorKind::Denied, message);
        let Some(challenge) = challenge else {
            return Err(denied("the upstream answered 401 without a challenge that is understood"));
        };
        self.challenge.store(Some(Arc::new(challenge.clone())));
        match challenge {
            Challenge::Bearer(bearer) => self.token(wire, repository, &bearer, shown).await,
            Challenge::Basic => match &self.basic {
                Some(basic) if shown != Some(basic) => Ok(basic.clone()),
                Some(_) => Err(denied("the upstream refuses the account's username and password")),
                None => Err(denied("the upstream wants a username and password; the account has none")),
            },
        }
    }

    /// The repository's token, but not `refused`; asked for at most once at a time.
    async fn token(
        &self,
        wire: &Wire,
        repository: &str,
        bearer: &Bearer,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, OriginError> {
        let is_old = |entry: &Entry| is_refused(entry, refused) || entry.ask_after <= Instant::now();
        let known = self.tokens.get(repository).await;
        let ask = async {
            match (self.ask(wire, repository, bearer).await, known) {
                // Asked for early, so the old one does for a while yet.
                (Err(error), Some(old)) if !is_refused(&old, refused) && may_wait(&old, error.kind) => {
                    tracing::warn!(repository, %error, "a token cannot be renewed; the old one is used");
                    Entry { ask_after: old.expires.min(Instant::now() + FAILED_FOR), ..old }
                }
                (Err(error), _) => {
                    let until = Instant::now() + pause(error.kind);
                    Entry { said: Err(error), ask_after: until, expires: until }
                }
                (Ok(entry), _) => entry,
            }
        };
        self.tokens.entry_by_ref(repository).or_insert_with_if(ask, is_old).await.into_value().said
    }

    async fn ask(&self, wire: &Wire, repository: &str, bearer: &Bearer) -> Result<Entry, OriginError> {
        let asked = timeout(PATIENCE, self.fetch(wire, repository, bearer)).await;
        let late = || {
            let message = format!("the token service gave no answer within {PATIENCE:?}");
            OriginError::new(OriginErrorKind::Timeout, message)
        };
        let asked = asked.unwrap_or_else(|_| Err(late()));
        let outcome = asked.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok");
        counter!("dataproxy_upstream_tokens_total", "outcome" => outcome).increment(1);
        asked
    }

    async fn fetch(&self, wire: &Wire, repository: &str, bearer: &Bearer) -> Result<Entry, OriginError> {
        let uri = wire.resolve(&question(bearer, repository), &wire.home("/v2/")?)?;
        let mut headers = HeaderMap::new();
        if let Some(basic) = &self.basic {
            headers.insert(header::AUTHORIZATION, basic.clone());
        }
        let asked = Instant::now();
        // No redirect is followed: name and password go to the realm and to nobody else.
        let response = wire.hop("token", &Method::GET, &uri, headers).await?;
        let from = uri.authority().cloned().unwrap_or_else(|| http::uri::Authority::from_static("unknown"));
        match response.status() {
            StatusCode::OK => {
                let body = collect(response.into_body(), ANSWER_MAX).await?;
                entry(&body, asked)
            }
            // A token service that does not know us says so in several ways; none of them is an absence.
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                let message = format!("the token service {from} answered {status} for {repository}");
                Err(OriginError::new(OriginErrorKind::Denied, message))
            }
            _ => Err(failure(Answer { response, from, is_home: false, lead: None }).await),
        }
    }
}

/// How long a failure is told to others: not at all where another try may help at once.
fn pause(kind: OriginErrorKind) -> Duration {
    match kind {
        OriginErrorKind::Throttled(asked) => asked.unwrap_or(FAILED_FOR).clamp(FAILED_FOR, PAUSE_MAX),
        kind if kind.is_transient() => Duration::ZERO,
        _ => FAILED_FOR,
    }
}

/// The token service's URL, with what is asked of it.
fn question(bearer: &Bearer, repository: &str) -> String {
    let (service_url, query) = bearer.realm.split_once('?').unwrap_or((&bearer.realm, ""));
    let mut query = form_urlencoded::Serializer::new(query.to_owned());
    if let Some(service) = &bearer.service {
        query.append_pair("service", service);
    }
    query.append_pair("scope", &scope(bearer, repository));
    format!("{service_url}?{}", query.finish())
}

fn is_refused(entry: &Entry, refused: Option<&HeaderValue>) -> bool {
    refused.is_some() && entry.said.as_ref().ok() == refused
}

fn may_wait(old: &Entry, kind: OriginErrorKind) -> bool {
    old.said.is_ok() && Instant::now() < old.expires && kind.is_transient()
}

/// To pull, and nothing more. The challenge's own words are used where they say that: some registries have names inside
/// that differ from their URLs.
fn scope(bearer: &Bearer, repository: &str) -> String {
    let asked = bearer.scope.as_deref().filter(|scope| {
        let name = scope.strip_prefix("repository:").and_then(|rest| rest.strip_suffix(":pull"));
        name.is_some_and(|name| !name.is_empty() && !name.contains([' ', ',']))
    });
    asked.map_or_else(|| format!("repository:{repository}:pull"), str::to_owned)
}

#[derive(Deserialize)]
struct Told {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

/// Reads a token service's answer, asked for at `asked`: its own clock does not matter.
fn entry(body: &[u8], asked: Instant) -> Result<Entry, OriginError> {
    let bad = |message: &str| OriginError::new(OriginErrorKind::Protocol, message);
    let told: Told =
        serde_json::from_slice(body).map_err(|_| bad("the token service's answer is not JSON"))?;
    let token = told.token.or(told.access_token).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| bad("the token service's answer has neither token nor access_token"))?;
    if token.len() > TOKEN_MAX {
        return Err(bad(&format!("the token service's token is longer than {TOKEN_MAX} bytes")));
    }
    let mut said = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| bad("the token service's token cannot be in a header"))?;
    said.set_sensitive(true);
    let life = told.expires_in.filter(|seconds| *seconds >= 1.0);
    let life =
        life.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(LIFE).min(LIFE_MAX);
    // Renewed in its last quarter, so that none is over while it is under way.
    Ok(Entry { said: Ok(said), ask_after: asked + life.mul_f32(0.75), expires: asked + life })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn either_name_is_a_token_and_it_lasts_a_minute_unless_it_says() {
        let asked = Instant::now();
        for (body, token, life) in [
            (r#"{"token":"t"}"#, "Bearer t", 60),
            (r#"{"access_token":"a","expires_in":300,"issued_at":"1970-01-01T00:00:00Z"}"#, "Bearer a", 300),
            (r#"{"token":"t","access_token":"a","expires_in":0}"#, "Bearer t", 60),
            (r#"{"token":"t","expires_in":1e300}"#, "Bearer t", 60),
            (r#"{"token":"t","expires_in":999999}"#, "Bearer t", 3600),
        ] {
            let entry = entry(body.as_bytes(), asked).expect(body);
            assert_eq!(entry.said.expect(body), token, "{body}");
            assert_eq!(entry.expires - asked, Duration::from_secs(life), "{body}");
            assert!(entry.ask_after < entry.expires, "{body}");
        }
        for body in ["", "<html>", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":1}"#] {
            let error = entry(body.as_bytes(), asked).expect_err(body);
            assert_eq!(error.kind, OriginErrorKind::Protocol, "{body}");
        }
    }

    #[tokio::test]
    async fn memory_for_tokens_is_bounded_in_bytes_and_a_token_too_long_is_refused() {
        let answer = |length: usize| format!(r#"{{"token":"{}"}}"#, "t".repeat(length));
        let error = entry(answer(TOKEN_MAX + 1).as_bytes(), Instant::now()).expect_err("too long");
        assert_eq!(error.kind, OriginErrorKind::Protocol);
        let longest = entry(answer(TOKEN_MAX).as_bytes(), Instant::now()).expect("just short enough");
        let tokens = Tokens::new(None);
        for number in 0..1024 {
            tokens.tokens.insert(format!("library/{number}"), longest.clone()).await;
        }
        tokens.tokens.run_pending_tasks().await;
        let (kept, bytes) = (tokens.tokens.entry_count(), tokens.tokens.weighted_size());
        assert!(kept > 0 && bytes <= TOKENS_BYTES && bytes >= kept * TOKEN_MAX as u64, "{kept}: {bytes}");
    }

    #[test]
    fn a_scope_is_to_pull_and_nothing_more() {
        let scope_of = |asked: Option<&str>| {
            let bearer = Bearer { realm: String::new(), service: None, scope: asked.map(str::to_owned) };
            scope(&bearer, "library/x")
        };
        assert_eq!(scope_of(None), "repository:library/x:pull");
        assert_eq!(scope_of(Some("repository:mirror/library/x:pull")), "repository:mirror/library/x:pull");
        for greedy in [
            "repository:library/x:pull,push",
            "repository:library/x:*",
            "registry:catalog:*",
            "repository:a:pull repository:b:pull",
            "repository::pull",
        ] {
            assert_eq!(scope_of(Some(greedy)), "repository:library/x:pull", "{greedy}");
        }
    }
}
