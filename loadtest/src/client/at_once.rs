//! Several blobs at once, as many as the client allows; the first failure ends them all.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{containerd, containers_image, docker, plain};
use crate::blob::Blob;
use crate::outcome::{Failure, Outcome};
use crate::phase::Phase;
use crate::plan::Client;
use crate::session::Session;

/// Pulls these blobs, `most` at once. The worst outcome.
pub(super) async fn blobs(
    client: Client,
    session: &Session<'_>,
    blobs: &[Blob<'_>],
    most: usize,
) -> Result<Outcome, Failure> {
    stream::iter(blobs)
        .map(|one| blob(client, session, one))
        .buffer_unordered(most.max(1))
        .try_fold(Outcome::Ok, |worst, outcome| async move { Ok(worst.max(outcome)) })
        .await
}

/// Pulls one blob as this client does, and times it.
pub(super) async fn blob(client: Client, session: &Session<'_>, blob: &Blob<'_>) -> Result<Outcome, Failure> {
    let mut timed = session.seen.time(Phase::Blob);
    let result = match client {
        Client::Docker => docker::blob(session, blob).await,
        Client::Containerd => containerd::blob(session, blob).await,
        Client::ContainersImage => containers_image::blob(session, blob).await,
        Client::Plain => plain::blob(session, blob).await,
    };
    timed.end(result.as_ref().map_or_else(|failure| failure.outcome, |outcome| *outcome));
    result
}
