//! One manifest request: asked, timed, and checked against its digest.

use crate::image::{Descriptor, Manifest, digest_of};
use crate::kept::Kept;
use crate::outcome::{Failure, Outcome};
use crate::phase::Phase;
use crate::request::{Accept, Method, Request};
use crate::session::Session;
use crate::wire::{Head, Intake, Taker};

/// What a manifest is asked by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) repository: &'a str,
    /// A tag or a digest.
    pub(crate) reference: &'a str,
    /// Its size, where whoever names it says so.
    pub(crate) size: Option<u64>,
}

/// What a HEAD tells.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) digest: Option<String>,
    pub(crate) media_type: String,
    pub(crate) length: Option<u64>,
}

/// A manifest that came, and is what was asked for.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) manifest: Manifest,
    /// The digest of what came.
    pub(crate) digest: String,
    pub(crate) media_type: String,
}

/// Why a manifest did not come.
#[derive(Debug)]
pub(crate) struct Missed {
    pub(crate) failure: Failure,
    /// `Retry-After`, seconds.
    pub(crate) retry_after: Option<u64>,
}

impl Asked<'_> {
    pub(crate) fn path(&self) -> String {
        format!("/v2/{}/manifests/{}", self.repository, self.reference)
    }

    /// HEAD: what the manifest is, without it.
    pub(crate) async fn head(&self, session: &Session<'_>, accept: Accept<'_>) -> Result<Resolved, Failure> {
        let path = self.path();
        let request = Request { accept, ..Request::new(Method::Head, &path) };
        let asked = self.ask(session, &request, |kept| match kept.status {
            200 => Ok(()),
            status => {
                Err(session.failed(Outcome::Status, Some(status), Method::Head, &path, &kept.problem()))
            }
        });
        let (Kept { digest, media_type, length, .. }, judged) = asked.await?;
        judged?;
        Ok(Resolved { digest, media_type: media_type.unwrap_or_default(), length })
    }

    /// GET. The manifest is hashed where a digest is known, by the reference or by the answer.
    pub(crate) async fn get(&self, session: &Session<'_>, accept: Accept<'_>) -> Result<Fetched, Missed> {
        let path = self.path();
        let request = Request { accept, ..Request::new(Method::Get, &path) };
        let missed = |failure| Missed { failure, retry_after: None };
        let (kept, checked) =
            self.ask(session, &request, |kept| self.check(session, &path, kept)).await.map_err(missed)?;
        let retry_after = kept.retry_after.as_deref().and_then(|text| text.parse().ok());
        checked.map_err(|failure| Missed { failure, retry_after })?;
        let digest = digest_of(&kept.body);
        let manifest = Manifest::read(&kept.body)
            .map_err(|what| missed(session.failed(Outcome::Protocol, None, Method::Get, &path, &what)))?;
        Ok(Fetched { manifest, digest, media_type: kept.media_type.unwrap_or_default() })
    }

    /// What an index led to, where it is an image.
    pub(crate) fn image(
        &self,
        session: &Session<'_>,
        manifest: Manifest,
    ) -> Result<(Descriptor, Vec<Descriptor>), Failure> {
        match manifest {
            Manifest::Image { config, layers } => Ok((config, layers)),
            Manifest::Index(_) => {
                let what = "an index led to another index";
                Err(session.failed(Outcome::Protocol, None, Method::Get, &self.path(), what))
            }
        }
    }

    /// Asks, and times it with what `judge` makes of the answer.
    async fn ask<'s>(
        &self,
        session: &Session<'s>,
        request: &Request<'_>,
        judge: impl FnOnce(&Kept<'s>) -> Result<(), Failure>,
    ) -> Result<(Kept<'s>, Result<(), Failure>), Failure> {
        let mut clocked =
            Clocked { kept: Kept::counted(session.seen), timed: session.seen.time(Phase::Manifest) };
        let asked = session.ask(request, &mut clocked).await;
        let Clocked { kept, mut timed } = clocked;
        if asked.is_err() {
            timed.end_with(&asked);
        }
        asked?;
        let judged = judge(&kept);
        timed.end_with(&judged);
        Ok((kept, judged))
    }

    fn check(&self, session: &Session<'_>, path: &str, kept: &Kept<'_>) -> Result<(), Failure> {
        let fail = |outcome, what: &str| Err(session.failed(outcome, None, Method::Get, path, what));
        if kept.status != 200 {
            return Err(session.failed(
                Outcome::Status,
                Some(kept.status),
                Method::Get,
                path,
                &kept.problem(),
            ));
        }
        if kept.encoded {
            return fail(Outcome::Protocol, "it came with a Content-Encoding");
        }
        if kept.is_too_long() {
            return fail(Outcome::Protocol, "it is longer than the 4 MiB that a manifest may have");
        }
        let came = kept.body.len() as u64;
        if let Some(size) = self.size.filter(|size| *size != came) {
            return fail(Outcome::Protocol, &format!("{came} bytes came, and the index says {size}"));
        }
        let by_reference = self.reference.contains(':').then_some(self.reference);
        let by_answer = kept.digest.as_deref().filter(|digest| digest.starts_with("sha256:"));
        if by_reference.or(by_answer).is_some() {
            let digest = digest_of(&kept.body);
            for expected in [by_reference, by_answer].into_iter().flatten() {
                if expected != digest {
                    return fail(
                        Outcome::WrongDigest,
                        &format!("what came has the digest {digest}, not {expected}"),
                    );
                }
            }
        }
        Ok(())
    }
}

/// Starts the clock again where a token had to be got first.
struct Clocked<'s> {
    kept: Kept<'s>,
    timed: crate::seen::Timed<'s>,
}

impl Taker for Clocked<'_> {
    fn begin(&mut self) {
        self.timed.restart();
    }

    fn head(&mut self, head: &Head<'_>) -> Intake {
        self.kept.head(head)
    }

    fn body(&mut self, count: u64, bytes: Option<&[u8]>) {
        self.kept.body(count, bytes);
    }

    fn wanted(&self) -> u64 {
        self.kept.wanted()
    }
}
