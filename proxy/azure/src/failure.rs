//! What storage says when it does not do what was asked → what that means. Absence and outage never look alike:
//! only storage's own word that a *blob* is not there is absence; a container or account that is not there is a fault
//! in the set-up, and a bare 404 of whoever stands between is none of storage's words.
//!
//! Codes: "Common REST API error codes" and "Blob Service error codes", Azure Storage reference.

use std::time::Duration;

use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::RawResponse;
use azure_core::time::{OffsetDateTime, parse_rfc7231};
use dataproxy_cache::{OriginError, OriginErrorKind};

/// What is repeated of storage's words, in characters.
const WORDS_MAX: usize = 200;
/// Storage takes a request's time if it is at most 15 min off; a clock this wrong is worth telling before.
const SKEW_TOLD: Duration = Duration::from_secs(5 * 60);

/// What was asked, to tell it when it fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) account: &'a str,
    /// The object, container or list.
    pub(crate) what: &'a str,
    /// Our name of the request, which storage logs.
    pub(crate) client_request_id: &'a str,
}

/// What a failed request means; told in the log too. `excuse`: what the credential has to say for itself.
pub(crate) fn of_storage(
    error: &Error,
    asked: Asked<'_>,
    excuse: impl FnOnce() -> Option<String>,
) -> OriginError {
    let Asked { account, what, client_request_id } = asked;
    let ErrorKind::HttpResponse { raw_response: Some(response), .. } = error.kind() else {
        let told = of_wire(error);
        let message = format!("{what}: {} (client request {client_request_id})", told.message);
        let told = OriginError::new(told.kind, message);
        tracing::warn!(account, object = what, client_request_id, error = %told, "storage was not reached");
        return told;
    };
    let said = Said::of(response);
    let kind = said.kind();
    let request_id = said.header("x-ms-request-id").unwrap_or("none");
    let mut message = format!("{what}: {}", said.status);
    if !said.code.is_empty() {
        message.push_str(&format!(" {}", said.code));
    }
    for words in [said.words(), said.hint().map(str::to_owned)].into_iter().flatten() {
        message.push_str("; ");
        message.push_str(&words);
    }
    if kind == OriginErrorKind::Denied {
        for words in [excuse(), said.skew()].into_iter().flatten() {
            message.push_str("; ");
            message.push_str(&words);
        }
    }
    message.push_str(&format!(" (request {request_id}, client request {client_request_id})"));
    let told = OriginError::new(kind, message);
    let (status, code) = (said.status, said.code);
    match kind {
        OriginErrorKind::NotFound | OriginErrorKind::Changed | OriginErrorKind::RangeInvalid(_) => {
            tracing::debug!(
                account,
                object = what,
                status,
                code,
                request_id,
                client_request_id,
                "storage answered"
            );
        }
        _ => tracing::warn!(
            account, object = what, status, code, request_id, client_request_id, error = %told, "storage refused"
        ),
    }
    told
}

/// Why an identity gave no token.
pub(crate) fn of_identity(what: &str, error: &Error) -> OriginError {
    let mut kind = OriginErrorKind::Unavailable;
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(own) = error.downcast_ref::<OriginError>() {
            kind = own.kind;
        }
        if let Some(status) = error.downcast_ref::<Error>().and_then(Error::http_status) {
            // What an identity service refuses is refused until somebody changes something.
            kind = match u16::from(status) {
                408 | 429 | 500.. => OriginErrorKind::Unavailable,
                _ => OriginErrorKind::Denied,
            };
        }
        source = error.source();
    }
    let words: String =
        error.to_string().lines().next().unwrap_or_default().chars().take(WORDS_MAX * 2).collect();
    OriginError::new(kind, format!("no {what}: {words}"))
}

/// An error of ours, as the pipeline carries it.
pub(crate) fn carried(error: OriginError) -> Error {
    Error::new(ErrorKind::Other, error)
}

/// What a failure without an answer means.
pub(crate) fn of_wire(error: &Error) -> OriginError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(own) = error.downcast_ref::<OriginError>() {
            return own.clone();
        }
        source = error.source();
    }
    let kind = match error.kind() {
        ErrorKind::Io | ErrorKind::Connection => OriginErrorKind::Unavailable,
        ErrorKind::Credential => OriginErrorKind::Denied,
        _ => OriginErrorKind::Protocol,
    };
    let words: String = error.to_string().chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect();
    OriginError::new(kind, words)
}

/// An answer that is no success.
struct Said<'a> {
    response: &'a RawResponse,
    status: u16,
    /// Storage's code; empty where storage has not answered itself.
    code: &'a str,
}

impl<'a> Said<'a> {
    fn of(response: &'a RawResponse) -> Self {
        let code = response.headers().get_optional_str(&"x-ms-error-code".into());
        let code = code.or_else(|| element(response, "Code")).unwrap_or_default();
        Self { response, status: response.status().into(), code }
    }

    fn header(&self, name: &'static str) -> Option<&'a str> {
        self.response.headers().get_optional_str(&name.into())
    }

    fn kind(&self) -> OriginErrorKind {
        match (self.status, self.code) {
            (404, "BlobNotFound" | "PathNotFound") => OriginErrorKind::NotFound,
            (401 | 403, _)
            | (404, "ContainerNotFound" | "ResourceNotFound" | "FilesystemNotFound" | "AccountNotFound")
            | (400, "AccountRequiresHttps" | "InvalidAuthenticationInfo" | "InvalidResourceName")
            | (
                409,
                "BlobArchived"
                | "BlobBeingRehydrated"
                | "ContainerBeingDeleted"
                | "ContainerDisabled"
                | "AccountBeingCreated"
                | "PublicAccessNotPermitted",
            ) => OriginErrorKind::Denied,
            (412, _) => OriginErrorKind::Changed,
            // Its size is not known here; the caller makes it a RangeInvalid.
            (416, _) => OriginErrorKind::Protocol,
            (429, _) | (503, "ServerBusy") | (500, "OperationTimedOut") => {
                OriginErrorKind::Throttled(self.wait())
            }
            // Limits have codes of their own, such as EgressIsOverAccountLimit.
            (503, code) if code.contains("Limit") => OriginErrorKind::Throttled(self.wait()),
            (408 | 504, _) => OriginErrorKind::Timeout,
            (409 | 500.., _) => OriginErrorKind::Unavailable,
            _ => OriginErrorKind::Protocol,
        }
    }

    /// RFC 9110, 10.2.3, and Azure's own header in milliseconds.
    fn wait(&self) -> Option<Duration> {
        let own =
            self.header("x-ms-retry-after-ms").and_then(|text| text.parse().ok()).map(Duration::from_millis);
        let text = self.header("retry-after");
        let seconds = || text?.parse().ok().map(Duration::from_secs);
        let date = || Duration::try_from(parse_rfc7231(text?).ok()? - OffsetDateTime::now_utc()).ok();
        own.or_else(seconds).or_else(date)
    }

    /// The first line of storage's message. What repeats a signature is not repeated.
    fn words(&self) -> Option<String> {
        let line = element(self.response, "Message")?.lines().next()?.trim();
        let safe = !line.is_empty() && !line.contains("sig=") && !line.contains("MAC signature");
        safe.then(|| line.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect())
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match (self.status, self.code) {
            (404, "ContainerNotFound" | "FilesystemNotFound") => {
                "the placement names a container that is not in the account; that says nothing about the image"
            }
            (404, "ResourceNotFound" | "AccountNotFound") => {
                "the account or its blob service is not there, or does not admit who is unknown"
            }
            (404, "") => "a 404 that is not storage's; something between answers in its place",
            (403, "AuthorizationFailure") => {
                "the account's firewall or private endpoint keeps this machine out, or the SAS does not cover this"
            }
            (403, "AuthorizationPermissionMismatch") => {
                "the identity needs the role Storage Blob Data Reader"
            }
            (403, "KeyBasedAuthenticationNotPermitted") => {
                "the account allows no shared key and no SAS signed with one; use an identity"
            }
            (403, "AuthorizationProtocolMismatch") => "the SAS demands https",
            (409, "BlobArchived") => "the blob is in the archive tier; rehydrate it, then pull again",
            (409, "BlobBeingRehydrated") => {
                "the blob comes back from the archive tier; pull again when it is there"
            }
            (300..400, _) => "a redirect in place of an answer is not followed",
            _ => return None,
        })
    }

    /// How wrong this machine's clock is, if storage's own is enough off for signatures to fail.
    fn skew(&self) -> Option<String> {
        let theirs = parse_rfc7231(self.header("date")?).ok()?;
        let ours = OffsetDateTime::now_utc();
        let (off, which) =
            if ours > theirs { (ours - theirs, "ahead of") } else { (theirs - ours, "behind") };
        let off = Duration::try_from(off).ok().filter(|off| *off > SKEW_TOLD)?;
        Some(format!("this machine's clock is {} min {which} storage's; set it right", off.as_secs() / 60))
    }
}

/// The text of an element of the XML that explains an error.
fn element<'a>(response: &'a RawResponse, name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(response.body()).ok()?;
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use azure_core::http::StatusCode;
    use azure_core::http::headers::Headers;
    use azure_core::time::to_rfc7231;

    use super::*;

    const ASKED: Asked<'_> = Asked { account: "acct", what: "c/b", client_request_id: "mine" };

    fn error(status: u16, headers: &[(&'static str, &str)], body: &str) -> Error {
        let mut all = Headers::new();
        for (name, value) in headers {
            all.insert(*name, (*value).to_owned());
        }
        let status = StatusCode::from(status);
        let raw_response = Some(Box::new(RawResponse::from_bytes(status, all, body.to_owned())));
        ErrorKind::HttpResponse { status, error_code: None, raw_response }.into_error()
    }

    fn told(status: u16, headers: &[(&'static str, &str)], body: &str) -> OriginError {
        of_storage(&error(status, headers, body), ASKED, || None)
    }

    #[test]
    fn every_word_of_storage_has_its_meaning_and_only_a_missing_blob_is_absence() {
        use OriginErrorKind::*;
        for (status, code, kind) in [
            (404, "BlobNotFound", NotFound),
            (404, "ContainerNotFound", Denied),
            (404, "ResourceNotFound", Denied),
            (404, "", Protocol),
            (403, "AuthenticationFailed", Denied),
            (403, "AuthorizationFailure", Denied),
            (403, "AuthorizationPermissionMismatch", Denied),
            (403, "AccountIsDisabled", Denied),
            (403, "", Denied),
            (401, "NoAuthenticationInformation", Denied),
            (400, "InvalidAuthenticationInfo", Denied),
            (400, "InvalidHeaderValue", Protocol),
            (409, "BlobArchived", Denied),
            (409, "ContainerBeingDeleted", Denied),
            (409, "LeaseIdMissing", Unavailable),
            (412, "ConditionNotMet", Changed),
            (429, "", Throttled(None)),
            (503, "ServerBusy", Throttled(None)),
            (503, "EgressIsOverAccountLimit", Throttled(None)),
            (503, "", Unavailable),
            (500, "OperationTimedOut", Throttled(None)),
            (500, "InternalError", Unavailable),
            (502, "", Unavailable),
            (504, "", Timeout),
            (302, "", Protocol),
            (307, "", Protocol),
            (418, "", Protocol),
        ] {
            let headers = [("x-ms-error-code", code)];
            let headers = if code.is_empty() { &headers[..0] } else { &headers[..] };
            assert_eq!(told(status, headers, "").kind, kind, "{status} {code}");
            let body =
                format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>");
            assert_eq!(told(status, &[], &body).kind, kind, "{status} {code} in the body alone");
        }
    }

    #[test]
    fn a_wait_is_read_in_all_its_forms() {
        let wait = |headers: &[(&'static str, &str)]| {
            let headers: Vec<_> =
                [("x-ms-error-code", "ServerBusy")].iter().chain(headers).copied().collect();
            match told(503, &headers, "").kind {
                OriginErrorKind::Throttled(wait) => wait,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(
            wait(&[("retry-after", "7"), ("x-ms-retry-after-ms", "250")]),
            Some(Duration::from_millis(250))
        );
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        let date = to_rfc7231(&(OffsetDateTime::now_utc() + Duration::from_secs(60)));
        let until = wait(&[("retry-after", &date)]).expect("a date");
        assert!((Duration::from_secs(50)..=Duration::from_secs(60)).contains(&until), "{until:?}");
    }

    #[test]
    fn a_refusal_says_what_would_help_and_which_request_it_was() {
        let date = |off: i64| {
            let time = OffsetDateTime::from_unix_timestamp(OffsetDateTime::now_utc().unix_timestamp() + off);
            to_rfc7231(&time.expect("a time"))
        };
        let said = |off| {
            let headers = [
                ("x-ms-error-code", "AuthenticationFailed"),
                ("x-ms-request-id", "theirs"),
                ("date", &date(off)),
            ];
            let body = "<Error><Code>AuthenticationFailed</Code><Message>Server failed to authenticate the request.\n\
                        RequestId:x</Message><AuthenticationErrorDetail>sig=hidden</AuthenticationErrorDetail></Error>";
            let excuse = || Some("the SAS expired at 2020-01-02T03:04:05Z".to_owned());
            of_storage(&error(403, &headers, body), ASKED, excuse).message.to_string()
        };
        let plain = said(10);
        assert_eq!(
            plain,
            "c/b: 403 AuthenticationFailed; Server failed to authenticate the request.; the SAS expired at \
             2020-01-02T03:04:05Z (request theirs, client request mine)"
        );
        assert!(said(-1200).contains("this machine's clock is 20 min ahead of storage's"), "{}", said(-1200));
        assert!(said(1230).contains("clock is 20 min behind storage's"), "{}", said(1230));
        assert!(told(403, &[("x-ms-error-code", "AuthorizationFailure")], "").message.contains("firewall"));
        assert!(told(409, &[("x-ms-error-code", "BlobArchived")], "").message.contains("rehydrate"));
        assert!(told(404, &[("x-ms-error-code", "ContainerNotFound")], "").message.contains("placement"));
    }

    #[test]
    fn an_answer_that_repeats_a_signature_is_not_repeated() {
        for message in
            ["at /c/b?sp=r&sig=hidden", "The MAC signature found in the HTTP request 'hidden' is not"]
        {
            let told = told(403, &[], &format!("<Error><Code>X</Code><Message>{message}</Message></Error>"));
            assert!(!told.message.contains("hidden"), "{told}");
        }
        let html = told(502, &[], "<html>GET /c/b?sig=hidden</html>");
        assert!(!html.message.contains("hidden"), "{html}");
    }
}
