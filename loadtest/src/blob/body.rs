//! The answer to one request for a blob or a part of it.

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::Stopped;
use crate::kept::{ERROR_BYTES, error_code, problem};
use crate::outcome::{Failure, Outcome};
use crate::phase::Phase;
use crate::request::Method;
use crate::seen::{Seen, Timed};
use crate::session::Session;
use crate::wire::{Head, Intake, Taker};

/// What was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Span {
    /// All of it, without a range.
    Whole,
    /// From `from` to the end; `skip`: if all of it comes, its begin is read past.
    Rest { from: u64, skip: bool },
    /// A closed range.
    Part { first: u64, last: u64 },
    /// From `from` on, and hung up on after so many bytes.
    Chunk { from: u64, bytes: u64 },
}

/// The body of an answer that was not wanted.
#[derive(Debug, Default)]
pub(crate) struct ErrorBody {
    /// The first code in it, where it is an OCI error.
    pub(crate) code: Option<String>,
    /// It says that it is JSON.
    pub(crate) is_json: bool,
    /// `Retry-After`, seconds.
    pub(crate) retry_after: Option<u64>,
}

/// Takes the answer to one request.
pub(crate) struct Body<'b, 's> {
    first_byte: Timed<'s>,
    seen: &'s Seen<'s>,
    span: Span,
    /// Of the whole blob.
    size: Option<u64>,
    hash: Option<&'b mut Sha256>,
    /// Where the bytes of a chunk go, as they may be early.
    kept: Option<&'b mut Vec<u8>>,
    /// Told of the whole size when a chunk's answer is a range.
    tell: Option<oneshot::Sender<u64>>,
    /// What is wrong with the head.
    wrong: Option<Wrong>,
    in_body: bool,
    /// Bytes to read past.
    skip: u64,
    came: u64,
    error: Vec<u8>,
    error_is_json: bool,
    retry_after: Option<u64>,
}

#[derive(Debug)]
enum Wrong {
    Status(u16),
    Answer(String),
    RangeIgnored,
}

impl<'b, 's> Body<'b, 's> {
    pub(crate) fn new(
        seen: &'s Seen<'s>,
        span: Span,
        size: Option<u64>,
        hash: Option<&'b mut Sha256>,
    ) -> Self {
        Self {
            first_byte: seen.time(Phase::FirstByte),
            seen,
            span,
            size,
            hash,
            kept: None,
            tell: None,
            wrong: None,
            in_body: false,
            skip: 0,
            came: 0,
            error: Vec::new(),
            error_is_json: false,
            retry_after: None,
        }
    }

    /// Keeps the bytes, instead of hashing them as they come.
    pub(crate) fn keep(mut self, kept: &'b mut Vec<u8>) -> Self {
        self.kept = Some(kept);
        self
    }

    /// Tells the size of the whole as soon as the head says that ranges are taken.
    pub(crate) fn tell(mut self, tell: oneshot::Sender<u64>) -> Self {
        self.tell = Some(tell);
        self
    }

    /// Bytes of what was asked for.
    pub(crate) fn came(&self) -> u64 {
        self.came
    }

    /// The size of the whole blob, where it was told or the answer says it.
    pub(crate) fn size(&self) -> Option<u64> {
        self.size
    }

    /// What the answer was, given how the exchange ended.
    pub(crate) fn end(
        mut self,
        session: &Session<'_>,
        path: &str,
        asked: Result<(), Failure>,
    ) -> Result<(), Stopped> {
        let code = error_code(&self.error);
        let fail = |outcome, status, what: &str| session.failed(outcome, status, Method::Get, path, what);
        let mut range_ignored = false;
        let cut = self.in_body && asked.is_err();
        let result = match (&self.wrong, asked) {
            // A bad answer is the reason, whatever became of its body.
            (Some(Wrong::Status(status)), _) => {
                Err(fail(Outcome::Status, Some(*status), &problem(*status, &self.error)))
            }
            (Some(Wrong::Answer(what)), _) => Err(fail(Outcome::Protocol, None, what)),
            (Some(Wrong::RangeIgnored), _) => {
                range_ignored = true;
                Err(fail(Outcome::Protocol, None, "the rest was asked for by range, and the whole came"))
            }
            (None, Err(failure)) => Err(failure),
            (None, Ok(())) => self.judge_length().map_err(|(outcome, what)| fail(outcome, None, &what)),
        };
        // An empty body has no first byte; its end stands for it.
        self.first_byte.end_with(&result);
        result.map_err(|failure| Stopped {
            failure,
            cut,
            range_ignored,
            error: ErrorBody { code, is_json: self.error_is_json, retry_after: self.retry_after },
        })
    }

    /// A body that ended by its own framing may still be too short or too long.
    fn judge_length(&self) -> Result<(), (Outcome, String)> {
        let Some(expected) = self.expected() else { return Ok(()) };
        if self.skip > 0 || self.came < expected {
            return Err((Outcome::Short, format!("the body ended after {} of {expected} bytes", self.came)));
        }
        if self.came > expected {
            return Err((
                Outcome::Protocol,
                format!("more than the {expected} bytes came that there should be"),
            ));
        }
        Ok(())
    }

    /// Bytes that should come, where it can be said.
    fn expected(&self) -> Option<u64> {
        match self.span {
            Span::Whole => self.size,
            Span::Rest { from, .. } => Some(self.size?.saturating_sub(from)),
            Span::Part { first, last } => Some((last - first).saturating_add(1)),
            Span::Chunk { from, bytes } => {
                Some(self.size.map_or(bytes, |size| bytes.min(size.saturating_sub(from))))
            }
        }
    }

    fn judge_head(&mut self, head: &Head<'_>) -> Result<(), Wrong> {
        if let Some(coding) =
            head.field("content-encoding").filter(|coding| !coding.eq_ignore_ascii_case("identity"))
        {
            return Err(Wrong::Answer(format!(
                "it came with Content-Encoding {coding:?}, which changes its bytes"
            )));
        }
        let (from, last) = match (self.span, head.status) {
            (Span::Whole, 200) => return self.judge_whole(head),
            (Span::Rest { from, skip: true }, 200) => {
                self.skip = from;
                return self.judge_whole(head);
            }
            (Span::Rest { skip: false, .. }, 200) => return Err(Wrong::RangeIgnored),
            // No ranges here: this one answer is all of it.
            (Span::Chunk { from, .. }, 200) if self.tell.take().is_some() => {
                (self.span, self.skip) = (Span::Rest { from, skip: true }, from);
                return self.judge_whole(head);
            }
            (Span::Part { .. } | Span::Chunk { .. }, 200) => return Err(Wrong::RangeIgnored),
            (Span::Rest { from, .. } | Span::Chunk { from, .. }, 206) => (from, None),
            (Span::Part { first, last }, 206) => (first, Some(last)),
            (_, status) => return Err(Wrong::Status(status)),
        };
        let range = head.content_range().ok_or_else(|| {
            Wrong::Answer("a 206 came without a Content-Range that says which bytes it holds".to_owned())
        })?;
        let last = last.or(range.total.or(self.size).map(|total| total.saturating_sub(1)));
        if range.first != from || last.is_some_and(|last| range.last != last) {
            let asked = last.map_or(String::new(), |last| last.to_string());
            return Err(Wrong::Answer(format!(
                "bytes {from}-{asked} were asked for, and bytes {}-{} came",
                range.first, range.last
            )));
        }
        let length = (range.last - range.first).saturating_add(1);
        if let Some(other) = head.length.filter(|other| *other != length) {
            return Err(Wrong::Answer(format!(
                "its Content-Length is {other} and its Content-Range has {length} bytes"
            )));
        }
        self.judge_size(range.total)?;
        if let Some((tell, size)) = self.tell.take().zip(self.size) {
            // Nobody listens any more: the pull has ended.
            let _ = tell.send(size);
        }
        Ok(())
    }

    fn judge_whole(&mut self, head: &Head<'_>) -> Result<(), Wrong> {
        self.judge_size(head.length)
    }

    fn judge_size(&mut self, said: Option<u64>) -> Result<(), Wrong> {
        match (self.size, said) {
            (Some(size), Some(said)) if size != said => Err(Wrong::Answer(format!(
                "the server says that it has {said} bytes, and it should have {size}"
            ))),
            (None, said) => {
                self.size = said;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Taker for Body<'_, '_> {
    fn begin(&mut self) {
        self.first_byte.restart();
    }

    fn head(&mut self, head: &Head<'_>) -> Intake {
        match self.judge_head(head) {
            Ok(()) => {
                self.in_body = true;
                let looks = self.hash.is_some() || self.kept.is_some();
                if looks { Intake::Show } else { Intake::Drop }
            }
            Err(wrong) => {
                self.wrong = Some(wrong);
                self.error_is_json = head.field("content-type").is_some_and(|kind| {
                    let kind = kind.split(';').next().unwrap_or_default().trim();
                    kind == "application/json" || kind == "application/vnd.api+json"
                });
                self.retry_after = head.field("retry-after").and_then(|text| text.parse().ok());
                Intake::Show
            }
        }
    }

    fn body(&mut self, count: u64, bytes: Option<&[u8]>) {
        if self.wrong.is_some() {
            self.error.extend_from_slice(bytes.unwrap_or_default());
            return;
        }
        self.seen.received(count);
        let past = count.min(self.skip);
        self.skip -= past;
        if past == count {
            return;
        }
        self.first_byte.end(Outcome::Ok);
        self.came += count - past;
        let bytes = bytes.and_then(|bytes| bytes.get(usize::try_from(past).ok()?..)).unwrap_or_default();
        match (&mut self.kept, &mut self.hash) {
            (Some(kept), _) if matches!(self.span, Span::Chunk { .. }) => kept.extend_from_slice(bytes),
            (_, Some(hash)) => hash.update(bytes),
            _ => {}
        }
    }

    fn wanted(&self) -> u64 {
        if self.wrong.is_some() {
            return ERROR_BYTES.saturating_sub(self.error.len()) as u64;
        }
        match (self.span, self.expected()) {
            // The rest of a chunk's answer belongs to other requests.
            (Span::Chunk { .. }, Some(expected)) => {
                expected.saturating_sub(self.came).saturating_add(self.skip)
            }
            // One byte more shows that too many come.
            (_, Some(expected)) => {
                expected.saturating_add(1).saturating_sub(self.came).saturating_add(self.skip)
            }
            (_, None) => u64::MAX,
        }
    }
}
