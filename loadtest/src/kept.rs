//! An answer that is kept whole: a manifest, a token, an error.

use crate::seen::Seen;
use crate::wire::{Head, Intake, Taker};

/// The most that is kept of a body; distribution and ACR allow a manifest 4 MiB.
pub(crate) const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// What is kept of an error's body: its code is all that is told of it.
pub(crate) const ERROR_BYTES: usize = 16 * 1024;

/// An answer, and what of its head somebody asks for.
pub(crate) struct Kept<'a> {
    /// Counts what comes, where it is a manifest.
    seen: Option<&'a Seen<'a>>,
    pub(crate) status: u16,
    pub(crate) length: Option<u64>,
    pub(crate) digest: Option<String>,
    pub(crate) media_type: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) challenges: Vec<String>,
    pub(crate) encoded: bool,
    pub(crate) body: Vec<u8>,
    most: usize,
}

impl<'a> Kept<'a> {
    /// Counts its bytes into `seen`.
    pub(crate) fn counted(seen: &'a Seen<'a>) -> Self {
        Self { seen: Some(seen), ..Self::uncounted() }
    }

    /// Counts nothing.
    pub(crate) fn uncounted() -> Self {
        Self {
            seen: None,
            status: 0,
            length: None,
            digest: None,
            media_type: None,
            retry_after: None,
            challenges: Vec::new(),
            encoded: false,
            body: Vec::new(),
            most: KEPT_BYTES,
        }
    }

    /// Whether more came than is kept.
    pub(crate) fn is_too_long(&self) -> bool {
        self.body.len() > self.most
    }

    /// What the answer says went wrong.
    pub(crate) fn problem(&self) -> String {
        problem(self.status, &self.body)
    }
}

impl Taker for Kept<'_> {
    fn head(&mut self, head: &Head<'_>) -> Intake {
        let owned = |name: &str| head.field(name).map(str::to_owned);
        self.status = head.status;
        if !(200..300).contains(&head.status) {
            self.most = ERROR_BYTES;
        }
        self.length = head.length;
        self.digest = owned("docker-content-digest");
        self.media_type = head.field("content-type").map(bare_type);
        self.retry_after = owned("retry-after");
        self.challenges = head.all("www-authenticate").map(str::to_owned).collect();
        self.encoded =
            head.field("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"));
        Intake::Show
    }

    fn body(&mut self, count: u64, bytes: Option<&[u8]>) {
        if let Some(seen) = self.seen {
            seen.received(count);
        }
        self.body.extend_from_slice(bytes.unwrap_or_default());
    }

    fn wanted(&self) -> u64 {
        // One byte more than may come shows that too many came.
        (self.most + 1).saturating_sub(self.body.len()) as u64
    }
}

/// A media type without its parameters.
fn bare_type(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_owned()
}

/// `status 404 MANIFEST_UNKNOWN`: a status and, where the body is an OCI error, its code.
pub(crate) fn problem(status: u16, body: &[u8]) -> String {
    match error_code(body) {
        Some(code) => format!("status {status} {code}"),
        None => format!("status {status}"),
    }
}

/// The first code of an OCI error body; upper-case letters, digits and underscores, as the specification has it.
pub(crate) fn error_code(body: &[u8]) -> Option<String> {
    let errors: serde_json::Value = serde_json::from_slice(body).ok()?;
    let code = errors.get("errors")?.get(0)?.get("code")?.as_str()?;
    let fits = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    fits.then(|| code.to_owned())
}
