//! Whether a subject can be pulled at all, asked before a run.

use std::time::Duration;

use super::Puller;
use crate::image::media;
use crate::kept::Kept;
use crate::outcome::{Failure, Outcome};
use crate::phase::Phase;
use crate::request::{Accept, Courier, Method, Request, failure};
use crate::seen::Seen;
use crate::session::Session;
use crate::sink::{Finished, Sink};
use crate::subject::{Subject, What};
use crate::wire::Pool;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

const MANIFESTS: [&str; 4] =
    [media::OCI_MANIFEST, media::OCI_INDEX, media::DOCKER_MANIFEST, media::DOCKER_LIST];

/// Takes no notice.
struct Nobody;

impl Sink for Nobody {
    fn phase(&self, _: Phase, _: Outcome, _: Duration) {}
    fn request(&self) {}
    fn connection(&self) {}
    fn received(&self, _: u64) {}
    fn finished(&self, _: &Finished) {}
}

impl Puller {
    /// Asks once for the head of an image's manifest; for a blob only whether its registry answers anything, since asking for
    /// the blob may warm the cache that is to be found cold.
    ///
    /// Errors: why its pulls would fail.
    pub(crate) async fn check(&self, subject: &Subject) -> Result<(), Failure> {
        let checked = tokio::time::timeout(PATIENCE, self.ask(subject)).await;
        checked.unwrap_or_else(|_| {
            let what = format!("it gave no answer within {} s", PATIENCE.as_secs());
            Err(failure(Outcome::Timeout, None, Method::Head, &subject.endpoint, "/v2/", &what))
        })
    }

    async fn ask(&self, subject: &Subject) -> Result<(), Failure> {
        let (seen, pool) = (Seen::new(&Nobody), Pool::new(0, Duration::ZERO));
        let courier = Courier { dialer: &self.dialer, pool: &pool, habits: self.habits, sink: &Nobody };
        let repository = subject.repository();
        let session = Session::new(
            &self.access,
            courier,
            (&self.tokens, &self.places),
            &seen,
            &subject.endpoint,
            repository,
        );
        let What::Image { repository, reference } = &subject.what else { return session.ping().await };
        let path = format!("/v2/{repository}/manifests/{reference}");
        let accept = Accept::Lines(&MANIFESTS);
        let head = Request { accept, ..Request::new(Method::Head, &path) };
        let mut kept = Kept::uncounted();
        session.ask(&head, &mut kept).await?;
        let status = kept.status;
        match status {
            200..300 => Ok(()),
            // A registry that has no HEAD may still have the manifest.
            405 | 501 => Ok(()),
            404 => {
                let what = "there is no such image (404)";
                Err(session.failed(Outcome::Status, Some(status), Method::Head, &path, what))
            }
            _ => Err(session.failed(Outcome::Status, Some(status), Method::Head, &path, &kept.problem())),
        }
    }
}
