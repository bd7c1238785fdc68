//! One pull's dealings with its registry: rights, redirects, and who is to blame when something fails.

mod location;

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::access::Access;
use crate::kept::Kept;
use crate::outcome::{Failure, Outcome};
use crate::places::Places;
use crate::request::{Courier, Method, Request, failure};
use crate::seen::Seen;
use crate::subject::Endpoint;
use crate::token::{Tokens, encode};
use crate::wire::{Head, Intake, Taker};
use location::follow;

/// How often a request is sent on to another place, as Go does.
const REDIRECTS: u8 = 10;

/// The most that is read of a body that nobody wants, to keep its connection.
const UNWANTED_BYTES: u64 = 64 * 1024;

/// A registry during one pull.
pub(crate) struct Session<'a> {
    pub(crate) access: &'a Access,
    pub(crate) courier: Courier<'a>,
    pub(crate) tokens: &'a Tokens,
    pub(crate) places: &'a Places,
    pub(crate) seen: &'a Seen<'a>,
    pub(crate) registry: &'a Endpoint,
    /// Divides the client's pauses.
    pub(crate) hurry: u32,
    authority: String,
    /// The repository, for the scope of tokens where a challenge names none.
    repository: &'a str,
    authorization: RefCell<Option<Rc<str>>>,
}

/// Where a request is at present.
struct Place<'a> {
    endpoint: Cow<'a, Endpoint>,
    authority: Cow<'a, str>,
    path: Cow<'a, str>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        access: &'a Access,
        courier: Courier<'a>,
        (tokens, places): (&'a Tokens, &'a Places),
        seen: &'a Seen<'a>,
        registry: &'a Endpoint,
        repository: &'a str,
    ) -> Self {
        let given = access.token.as_ref().map(|token| Rc::from(format!("Bearer {}", token.reveal())));
        let authority = registry.authority();
        let authorization = RefCell::new(given);
        let hurry = 1;
        Self { access, courier, tokens, places, seen, registry, hurry, authority, repository, authorization }
    }

    /// Asks the registry, follows redirects, and gets a token once if it wants one. The answer that is neither a redirect nor
    /// such a challenge goes to `taker`.
    ///
    /// Errors: the failures of the wire, of the redirects and of the token; a status is no error here.
    pub(crate) async fn ask(&self, request: &Request<'_>, taker: &mut dyn Taker) -> Result<(), Failure> {
        let mut place = Place {
            endpoint: Cow::Borrowed(self.registry),
            authority: Cow::Borrowed(&self.authority),
            path: self.scoped(request.path),
        };
        let (mut redirects, mut challenged) = (0, false);
        taker.begin();
        loop {
            let at_home = *place.endpoint == *self.registry;
            let authorization = if at_home { self.authorization.borrow().clone() } else { None };
            let mut routed = Routed::new(&mut *taker, at_home && !challenged && self.access.token.is_none());
            let sent = Request { path: &place.path, ..*request };
            self.send(&place, authorization.as_deref(), &sent, &mut routed).await?;
            match routed.turn {
                Turn::Taken => return Ok(()),
                Turn::To(location) => {
                    redirects += 1;
                    place = self.redirected(&place, request.method, location.as_deref(), redirects)?;
                }
                Turn::Challenged(challenges) => {
                    challenged = true;
                    self.authorize(&challenges, request.method, &place.path).await?;
                    taker.begin();
                }
            }
        }
    }

    /// `GET /v2/`, as docker and containers/image ask first; whatever is answered will do. A challenge is met at once.
    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        let place = Place {
            endpoint: Cow::Borrowed(self.registry),
            authority: Cow::Borrowed(&self.authority),
            path: Cow::Borrowed("/v2/"),
        };
        let mut kept = Kept::uncounted();
        self.send(&place, None, &Request::new(Method::Get, "/v2/"), &mut kept).await?;
        if kept.status == 401 && self.access.token.is_none() {
            self.authorize(&kept.challenges, Method::Get, "/v2/").await?;
        }
        Ok(())
    }

    /// Forgets connections and rights.
    pub(crate) fn begin_anew(&self) {
        self.courier.pool.clear();
        self.tokens.forget();
        if self.access.token.is_none() {
            self.authorization.take();
        }
    }

    /// Gets a token for these challenges, and uses it from now on.
    async fn authorize(&self, challenges: &[String], method: Method, path: &str) -> Result<(), Failure> {
        let refused =
            |outcome, status, what: &str| failure(outcome, status, method, self.registry, path, what);
        // A token that this pull already had is not good any more.
        let stale = self.authorization.borrow_mut().take();
        let got = self
            .tokens
            .authorization(
                &self.courier,
                self.access,
                self.seen,
                self.registry,
                self.repository,
                challenges,
                stale,
            )
            .await;
        match got {
            Ok(authorization) => {
                self.authorization.replace(Some(authorization));
                Ok(())
            }
            Err(crate::token::Refused::Failed(failure)) => Err(failure),
            Err(crate::token::Refused::Unusable(what)) => Err(refused(Outcome::Status, Some(401), &what)),
        }
    }

    /// Lets the client pause after a failure, before it tries again.
    pub(crate) async fn pause(&self, failure: &Failure, pause: Duration) {
        self.seen.retried(failure);
        tokio::time::sleep(pause / self.hurry).await;
    }

    /// A failure of a request to the registry itself.
    pub(crate) fn failed(
        &self,
        outcome: Outcome,
        status: Option<u16>,
        method: Method,
        path: &str,
        what: &str,
    ) -> Failure {
        failure(outcome, status, method, self.registry, path, what)
    }

    async fn send(
        &self,
        place: &Place<'_>,
        authorization: Option<&str>,
        request: &Request<'_>,
        taker: &mut dyn Taker,
    ) -> Result<(), Failure> {
        let mut under_way = UnderWay { seen: self.seen, method: request.method, place, over: false };
        let sent = self.courier.send(&place.endpoint, &place.authority, authorization, request, taker).await;
        under_way.over = true;
        sent.map_err(|fault| {
            failure(fault.outcome, None, request.method, &place.endpoint, &place.path, &fault.what)
        })
    }

    /// The path with `ns`, where the client was told that this is a mirror.
    fn scoped<'p>(&self, path: &'p str) -> Cow<'p, str> {
        match &self.access.ns {
            None => Cow::Borrowed(path),
            Some(ns) => {
                let separator = if path.contains('?') { '&' } else { '?' };
                Cow::Owned(format!("{path}{separator}{}", encode([("ns", ns.as_str())].into_iter())))
            }
        }
    }

    fn redirected(
        &self,
        from: &Place<'_>,
        method: Method,
        location: Option<&str>,
        redirects: u8,
    ) -> Result<Place<'static>, Failure> {
        let wrong = |what: &str| failure(Outcome::Protocol, None, method, &from.endpoint, &from.path, what);
        if redirects > REDIRECTS {
            return Err(wrong("it was redirected more than 10 times"));
        }
        let (endpoint, path) = location
            .and_then(|location| follow(&from.endpoint, &from.path, location))
            .ok_or_else(|| wrong("it was redirected, and not to an http or https URL"))?;
        let authority = Cow::Owned(endpoint.authority());
        Ok(Place { endpoint: Cow::Owned(endpoint), authority, path: Cow::Owned(path) })
    }
}

/// What becomes of a request next.
enum Turn {
    Taken,
    To(Option<String>),
    Challenged(Vec<String>),
}

/// Lets an answer through to its taker, unless it is a redirect or a challenge that can be met.
struct Routed<'t> {
    taker: &'t mut dyn Taker,
    may_authorize: bool,
    turn: Turn,
    left: u64,
}

impl<'t> Routed<'t> {
    fn new(taker: &'t mut dyn Taker, may_authorize: bool) -> Self {
        Self { taker, may_authorize, turn: Turn::Taken, left: UNWANTED_BYTES }
    }
}

impl Taker for Routed<'_> {
    fn head(&mut self, head: &Head<'_>) -> Intake {
        self.turn = match head.status {
            301 | 302 | 303 | 307 | 308 => Turn::To(head.field("location").map(str::to_owned)),
            401 if self.may_authorize => {
                Turn::Challenged(head.all("www-authenticate").map(str::to_owned).collect())
            }
            _ => return self.taker.head(head),
        };
        Intake::Drop
    }

    fn body(&mut self, count: u64, bytes: Option<&[u8]>) {
        match self.turn {
            Turn::Taken => self.taker.body(count, bytes),
            _ => self.left = self.left.saturating_sub(count),
        }
    }

    fn wanted(&self) -> u64 {
        match self.turn {
            Turn::Taken => self.taker.wanted(),
            _ => self.left,
        }
    }
}

/// Says what was under way when the pull's time was up.
struct UnderWay<'a> {
    seen: &'a Seen<'a>,
    method: Method,
    place: &'a Place<'a>,
    over: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.over && self.seen.has_timed_out() {
            let what = "had not ended";
            let Place { endpoint, path, .. } = self.place;
            self.seen.cut_off(failure(Outcome::Timeout, None, self.method, endpoint, path, what).detail);
        }
    }
}
