//! Rights: what a challenge asks for, and the tokens that were got for it.

mod challenge;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::access::{Access, Credentials};
use crate::habits::TokenRequest;
use crate::kept::Kept;
use crate::outcome::{Failure, Outcome};
use crate::phase::Phase;
use crate::request::{Courier, Method, Request, failure};
use crate::seen::Seen;
use crate::subject::Endpoint;

use challenge::{Bearer, Challenge};

/// How long a token is good that does not say so, and the least that is believed (Docker's token specification).
const LIFE: Duration = Duration::from_secs(60);

/// A token is not used any more when it is about to end: a request that was under way would be refused.
const MARGIN: Duration = Duration::from_secs(5);

/// Tokens, one for each registry and scope, asked for once while others wait: those of one pull, or of all pulls of a puller
/// whose client keeps everything.
#[derive(Default)]
pub(crate) struct Tokens {
    slots: RefCell<HashMap<(Endpoint, String), Slot>>,
}

type Slot = Rc<Mutex<Option<Token>>>;

#[derive(Clone)]
struct Token {
    authorization: Rc<str>,
    until: Instant,
}

/// Why there is no token.
pub(crate) enum Refused {
    /// The challenge cannot be met: what is wrong with it, or what is missing.
    Unusable(String),
    /// The request for a token failed.
    Failed(Failure),
}

/// The answer of a token server; either name is in use.
#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    /// Forgets all of them.
    pub(crate) fn forget(&self) {
        self.slots.borrow_mut().clear();
    }

    /// What `Authorization` says from now on. `stale` is what the registry has just refused, if anything.
    #[expect(clippy::too_many_arguments, reason = "all of them are one pull's surroundings")]
    pub(crate) async fn authorization(
        &self,
        courier: &Courier<'_>,
        access: &Access,
        seen: &Seen<'_>,
        registry: &Endpoint,
        repository: &str,
        challenges: &[String],
        stale: Option<Rc<str>>,
    ) -> Result<Rc<str>, Refused> {
        let bearer = match challenge::choose(challenges) {
            Some(Challenge::Bearer(bearer)) => bearer,
            Some(Challenge::Basic) => return basic(access, stale),
            None => {
                return Err(Refused::Unusable("status 401 without a Basic or Bearer challenge".to_owned()));
            }
        };
        let scope = bearer.scope.clone().unwrap_or_else(|| format!("repository:{repository}:pull"));
        let slot = Rc::clone(self.slots.borrow_mut().entry((registry.clone(), scope.clone())).or_default());
        let good =
            |token: &Token| token.until > Instant::now() && stale.as_ref() != Some(&token.authorization);
        if let Ok(slot) = slot.try_lock()
            && let Some(token) = slot.as_ref().filter(|token| good(token))
        {
            return Ok(Rc::clone(&token.authorization));
        }
        let mut timed = seen.time(Phase::Token);
        // Whoever is first asks, the others wait here; if its pull ends before the answer, the next one asks.
        let mut slot = slot.lock().await;
        if let Some(token) = slot.as_ref().filter(|token| good(token)) {
            timed.end(Outcome::Ok);
            return Ok(Rc::clone(&token.authorization));
        }
        let result = fetch(courier, access, registry, &bearer, &scope).await;
        timed.end_with(&result);
        let token = result.map_err(Refused::Failed)?;
        *slot = Some(token.clone());
        Ok(token.authorization)
    }
}

fn basic(access: &Access, stale: Option<Rc<str>>) -> Result<Rc<str>, Refused> {
    let Some(credentials) = &access.credentials else {
        return Err(Refused::Unusable("it wants a user and a password (--user)".to_owned()));
    };
    let authorization: Rc<str> = basic_header(credentials).into();
    if stale.as_ref() == Some(&authorization) {
        return Err(Refused::Unusable("the user and password were refused".to_owned()));
    }
    Ok(authorization)
}

fn basic_header(Credentials { user, password }: &Credentials) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.reveal())))
}

async fn fetch(
    courier: &Courier<'_>,
    access: &Access,
    registry: &Endpoint,
    bearer: &Bearer,
    scope: &str,
) -> Result<Token, Failure> {
    let realm = Realm::new(registry, bearer, scope)?;
    let began = Instant::now();
    let granted = match (&access.credentials, courier.habits.tokens) {
        (Some(credentials), TokenRequest::PostFirst) => match realm.post(courier, credentials).await? {
            Some(granted) => granted,
            None => realm.get(courier, Some(credentials), false).await?,
        },
        (credentials, style) => realm.get(courier, credentials.as_ref(), style == TokenRequest::Get).await?,
    };
    let token = if granted.token.is_empty() { granted.access_token } else { granted.token };
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(realm.failed(Method::Get, Outcome::Protocol, None, "the answer holds no token"));
    }
    let life = Duration::from_secs(granted.expires_in.unwrap_or_default()).max(LIFE);
    let until = began.checked_add(life - MARGIN).unwrap_or(began + LIFE);
    Ok(Token { authorization: format!("Bearer {token}").into(), until })
}

/// A token server, and what it is asked for.
struct Realm<'a> {
    endpoint: Endpoint,
    path: String,
    service: Option<&'a str>,
    scope: &'a str,
}

impl<'a> Realm<'a> {
    fn new(registry: &Endpoint, bearer: &'a Bearer, scope: &'a str) -> Result<Self, Failure> {
        let wrong = |what: &str| failure(Outcome::Protocol, None, Method::Get, registry, "/v2/", what);
        let uri: http::Uri =
            bearer.realm.parse().map_err(|_| wrong("the realm of its challenge is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            // Credentials and tokens would leave the protection that the registry itself has.
            Some("http") if registry.tls => return Err(wrong("the realm of its challenge gives up TLS")),
            Some("http") => false,
            _ => return Err(wrong("the realm of its challenge is not an http or https URL")),
        };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("the realm of its challenge names no host"));
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let service = bearer.service.as_deref();
        Ok(Self { endpoint: Endpoint { tls, host, port }, path, service, scope })
    }

    /// Names sorted, as Go writes a query.
    async fn get(
        &self,
        courier: &Courier<'_>,
        credentials: Option<&Credentials>,
        named: bool,
    ) -> Result<Granted, Failure> {
        let account = credentials.filter(|_| named).map(|credentials| ("account", credentials.user.as_str()));
        let scopes = self.scope.split_whitespace().map(|scope| ("scope", scope));
        let service = self.service.map(|service| ("service", service));
        let query = encode(account.into_iter().chain(scopes).chain(service));
        let separator = if self.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{separator}{query}", self.path);
        let authorization = credentials.map(basic_header);
        let request = Request::new(Method::Get, &path);
        let kept = self.send(courier, authorization.as_deref(), &request).await?;
        match kept.status {
            200 => self.granted(Method::Get, &kept),
            status => Err(self.failed(Method::Get, Outcome::Status, Some(status), &kept.problem())),
        }
    }

    /// `None`: this server takes no form, and is to be asked by GET.
    async fn post(
        &self,
        courier: &Courier<'_>,
        credentials: &Credentials,
    ) -> Result<Option<Granted>, Failure> {
        let service = self.service.map(|service| ("service", service));
        let form = encode(
            [
                ("client_id", "containerd-client"),
                ("grant_type", "password"),
                ("password", credentials.password.reveal()),
            ]
            .into_iter()
            .chain([("scope", self.scope)])
            .chain(service)
            .chain([("username", credentials.user.as_str())]),
        );
        let request = Request { form: Some(&form), ..Request::new(Method::Post, &self.path) };
        let kept = self.send(courier, None, &request).await?;
        match kept.status {
            200 => self.granted(Method::Post, &kept).map(Some),
            400 | 401 | 404 | 405 => Ok(None),
            status => Err(self.failed(Method::Post, Outcome::Status, Some(status), &kept.problem())),
        }
    }

    async fn send(
        &self,
        courier: &Courier<'_>,
        authorization: Option<&str>,
        request: &Request<'_>,
    ) -> Result<Kept<'static>, Failure> {
        let mut kept = Kept::uncounted();
        let authority = self.endpoint.authority();
        courier
            .send(&self.endpoint, &authority, authorization, request, &mut kept)
            .await
            .map_err(|fault| self.failed(request.method, fault.outcome, None, &fault.what))?;
        Ok(kept)
    }

    fn granted(&self, method: Method, kept: &Kept<'_>) -> Result<Granted, Failure> {
        let wrong = |what: &str| self.failed(method, Outcome::Protocol, None, what);
        if kept.is_too_long() || kept.encoded {
            return Err(wrong("the answer is not a token as JSON"));
        }
        serde_json::from_slice(&kept.body).map_err(|_| wrong("the answer is not a token as JSON"))
    }

    fn failed(&self, method: Method, outcome: Outcome, status: Option<u16>, what: &str) -> Failure {
        failure(outcome, status, method, &self.endpoint, &self.path, what)
    }
}

/// `application/x-www-form-urlencoded`, as Go writes it.
pub(crate) fn encode<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    text.push(byte as char)
                }
                b' ' => text.push('+'),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_as_go_writes_it() {
        let pairs = [("scope", "repository:a/b:pull,push"), ("service", "a b~c")];
        assert_eq!(encode(pairs.into_iter()), "scope=repository%3Aa%2Fb%3Apull%2Cpush&service=a+b~c");
    }
}
