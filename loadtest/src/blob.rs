//! One blob: asked for, counted, hashed, and continued where it was cut.

mod body;
mod chunks;
mod ranges;

use sha2::{Digest, Sha256};

use crate::image::written;
use crate::outcome::{Failure, Outcome};
use crate::plan::Ranges;
use crate::request::{Accept, Method, Request};
use crate::session::Session;

use body::{Body, Span};
pub(crate) use ranges::ranges;

/// A blob that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Blob<'a> {
    pub(crate) path: String,
    pub(crate) accept: Accept<'a>,
    /// What whoever names it says of its size.
    pub(crate) size: Option<u64>,
    /// Its digest, where it is to be checked.
    pub(crate) digest: Option<[u8; 32]>,
    /// Bytes per second that it is read with at most.
    pub(crate) rate: Option<u64>,
    /// Read in chunks of so many bytes, and so many of them at once.
    pub(crate) chunks: Option<(u64, usize)>,
    /// Only ranges of it are read.
    pub(crate) ranges: Option<Ranges>,
}

/// A blob while it is pulled, over as many requests as it takes.
pub(crate) struct Download<'a> {
    pub(crate) session: &'a Session<'a>,
    pub(crate) blob: &'a Blob<'a>,
    hash: Option<Sha256>,
    /// Bytes of it that came, from its first on.
    at: u64,
    /// Its size, once somebody has said it.
    size: Option<u64>,
    resumed: bool,
}

/// Why a request for a blob did not bring it to its end.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) failure: Failure,
    /// The connection ended in the middle of a body that was wanted.
    pub(crate) cut: bool,
    /// The request was for the rest, and the whole came.
    pub(crate) range_ignored: bool,
    /// What the body of an error says, and whether it says so as JSON.
    pub(crate) error: body::ErrorBody,
}

/// What is done with a 200 to a request for the rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WholeAgain {
    /// The bytes that are already there are read past.
    Skip,
    /// It cannot be used.
    Refuse,
}

impl<'a> Download<'a> {
    pub(crate) fn new(session: &'a Session<'a>, blob: &'a Blob<'a>) -> Self {
        let hash = blob.digest.map(|_| Sha256::new());
        Self { session, blob, hash, at: 0, size: blob.size, resumed: false }
    }

    /// Where it stands.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Whether all came that whoever names the blob says it has, though the coding of its body was cut before its end. Then
    /// containerd asks for nothing more: its reader of what lies behind the last byte is an empty one.
    pub(crate) fn is_all_there(&mut self) -> bool {
        let all = self.blob.size.is_some_and(|size| self.at >= size);
        self.resumed |= all;
        all
    }

    /// Forgets what came.
    pub(crate) fn start_over(&mut self) {
        self.at = 0;
        self.resumed = false;
        self.size = self.blob.size;
        self.hash = self.hash.as_ref().map(|_| Sha256::new());
    }

    /// Asks for what is still missing, and reads it to its end.
    pub(crate) async fn attempt(&mut self, whole_again: WholeAgain) -> Result<(), Stopped> {
        let range = (self.at > 0).then_some((self.at, None));
        self.count_as_resumed();
        let span = match range {
            None => Span::Whole,
            Some((from, _)) => Span::Rest { from, skip: whole_again == WholeAgain::Skip },
        };
        let request = Request {
            accept: self.blob.accept,
            range,
            rate: self.blob.rate,
            ..Request::new(Method::Get, &self.blob.path)
        };
        let mut body = Body::new(self.session.seen, span, self.size, self.hash.as_mut());
        let asked = self.session.ask(&request, &mut body).await;
        self.at += body.came();
        self.size = self.size.or(body.size());
        body.end(self.session, &self.blob.path, asked)
    }

    fn count_as_resumed(&mut self) {
        if self.at > 0 {
            self.resumed = true;
            self.session.seen.resumed();
        }
    }

    /// What came, judged: its size, then its digest.
    pub(crate) fn judge(&self) -> Result<Outcome, Failure> {
        let fail =
            |outcome, what: &str| Err(self.session.failed(outcome, None, Method::Get, &self.blob.path, what));
        if let Some(size) = self.size.filter(|size| *size != self.at) {
            return fail(Outcome::Protocol, &format!("{} bytes came, and it has {size}", self.at));
        }
        if let (Some(hash), Some(expected)) = (&self.hash, &self.blob.digest) {
            let hash = hash.clone().finalize();
            if hash.as_slice() != expected {
                let (came, expected) = (written(&hash), written(expected));
                return fail(
                    Outcome::WrongDigest,
                    &format!("what came has the digest {came}, not {expected}"),
                );
            }
        }
        Ok(if self.resumed { Outcome::Resumed } else { Outcome::Ok })
    }
}
