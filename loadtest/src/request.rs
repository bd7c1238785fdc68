//! One request on one connection, as a client sends it.

use std::borrow::Cow;
use std::io::Write;

use crate::habits::{Habits, Keeping};
use crate::outcome::{Failure, Outcome};
use crate::sink::Sink;
use crate::subject::Endpoint;
use crate::wire::{Connection, Dialer, Fault, Pool, Sent, Taker};

/// A method.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
}

/// What is asked for; where, and with whose rights, is said apart, as both change on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: &'a str,
    pub(crate) accept: Accept<'a>,
    /// From its first byte to its last; to the end without one.
    pub(crate) range: Option<(u64, Option<u64>)>,
    /// A form.
    pub(crate) form: Option<&'a str>,
    /// Bytes per second that the body is read with at most.
    pub(crate) rate: Option<u64>,
}

/// The `Accept` lines of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accept<'a> {
    /// None.
    Nothing,
    /// One line.
    Line(&'a str),
    /// `<type>, */*`.
    OrAnything(&'a str),
    /// One line each.
    Lines(&'a [&'a str]),
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
        }
    }
}

impl<'a> Request<'a> {
    /// A request with nothing beyond what every request has.
    pub(crate) fn new(method: Method, path: &'a str) -> Self {
        Self { method, path, accept: Accept::Nothing, range: None, form: None, rate: None }
    }

    /// Its bytes, its fields in the order that Go's client writes them.
    fn write(&self, authority: &str, authorization: Option<&str>, habits: &Habits) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512 + self.path.len() + authorization.map_or(0, str::len));
        let out = &mut bytes;
        put(out, &[self.method.as_str(), " ", self.path, " HTTP/1.1\r\nHost: ", authority]);
        put(out, &["\r\nUser-Agent: ", habits.user_agent, "\r\n"]);
        if let Some(form) = self.form {
            put_number(out, "Content-Length: ", form.len() as u64, "\r\n");
        }
        match self.accept {
            Accept::Nothing => {}
            Accept::Line(line) => put(out, &["Accept: ", line, "\r\n"]),
            Accept::OrAnything(media_type) => put(out, &["Accept: ", media_type, ", */*\r\n"]),
            Accept::Lines(lines) => lines.iter().for_each(|line| put(out, &["Accept: ", line, "\r\n"])),
        }
        if let Some(authorization) = authorization {
            put(out, &["Authorization: ", authorization, "\r\n"]);
        }
        if self.form.is_some() {
            put(out, &["Content-Type: application/x-www-form-urlencoded\r\n"]);
        }
        if let Some((first, last)) = self.range {
            put_number(out, "Range: bytes=", first, "-");
            match last {
                Some(last) => put_number(out, "", last, "\r\n"),
                None => put(out, &["\r\n"]),
            }
        } else if let Some(encoding) = habits.accept_encoding
            && self.method != Method::Head
        {
            put(out, &["Accept-Encoding: ", encoding, "\r\n"]);
        }
        if habits.keeping == Keeping::Never {
            put(out, &["Connection: close\r\n"]);
        }
        put(out, &["\r\n", self.form.unwrap_or_default()]);
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| bytes.extend_from_slice(part.as_bytes()));
}

fn put_number(bytes: &mut Vec<u8>, before: &str, number: u64, after: &str) {
    // Writing to a Vec cannot fail.
    let _ = write!(bytes, "{before}{number}{after}");
}

/// Carries requests to whoever they are for, on connections that are kept or made.
pub(crate) struct Courier<'a> {
    pub(crate) dialer: &'a Dialer,
    pub(crate) pool: &'a Pool,
    pub(crate) habits: &'a Habits,
    pub(crate) sink: &'a dyn Sink,
}

impl Courier<'_> {
    /// Sends a request and hands its answer to `taker`.
    ///
    /// A connection that had been kept and gives no answer at all is replaced, and the request sent once more: the server
    /// closed it while it was idle (RFC 9112, 9.3.1).
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        authority: &str,
        authorization: Option<&str>,
        request: &Request<'_>,
        taker: &mut dyn Taker,
    ) -> Result<(), Fault> {
        let bytes = request.write(authority, authorization, self.habits);
        let sent = Sent { bytes: &bytes, bodiless: request.method == Method::Head, rate: request.rate };
        if let Some(connection) = self.pool.take(endpoint) {
            match self.exchange(endpoint, connection, sent, taker).await {
                Err(fault) if fault.unanswered => {}
                result => return result,
            }
        }
        let connection = self.dialer.dial(endpoint, self.sink).await?;
        self.exchange(endpoint, connection, sent, taker).await
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        mut connection: Connection,
        sent: Sent<'_>,
        taker: &mut dyn Taker,
    ) -> Result<(), Fault> {
        self.sink.request();
        if connection.exchange(sent, taker).await? && self.pool.keeps() {
            self.pool.put(endpoint, connection);
        }
        Ok(())
    }
}

/// The most characters of what came that a sentence repeats: a server may say 4 MiB where a word is expected.
const TOLD: usize = 300;

/// The sentence of a failure: what was asked, of whom, and what came. A query is left out, as it may hold a signature.
pub(crate) fn failure(
    outcome: Outcome,
    status: Option<u16>,
    method: Method,
    endpoint: &Endpoint,
    path: &str,
    what: &str,
) -> Failure {
    let (path, query) = path.split_once('?').map_or((path, ""), |(path, _)| (path, "?…"));
    let (method, scheme, authority) = (method.as_str(), endpoint.scheme(), endpoint.authority());
    let (path, what) = (short(path), short(what));
    let detail = format!("{method} {scheme}://{authority}{path}{query}: {what}");
    Failure { outcome, status, detail }
}

fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(TOLD) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}
