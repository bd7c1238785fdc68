//! The clients: which requests each makes, in which order, and what it does when one fails.
//!
//! | | docker | containerd | containers-image | plain |
//! |---|---|---|---|---|
//! | modelled on | dockerd 20.10 to 28 | 1.7 | skopeo 1.18, podman 5.4 | wrk |
//! | before a manifest | `GET /v2/` | `HEAD` | `GET /v2/` | – |
//! | connections | one per request | kept during the pull | kept during the pull | kept for ever |
//! | layers at once | 3 | 3, the config among them | 6 | 1 |
//! | clean cut | rest by range after 5 s × attempt | rest by range at once | rest by range after 1 s | fails |
//! | reset | as a clean cut | fails | as a clean cut | fails |
//! | 429 | as its JSON code says | 6 sends at once | waits `Retry-After` or 2, 4, 8, 16 s | fails |
//! | 5xx on a layer | 5 attempts | fails | fails | fails |
//!
//! Facts and sources: `docs/clients.md`.

mod at_once;
mod containerd;
mod containers_image;
mod docker;
mod plain;

use crate::blob::Blob;
use crate::habits::Habits;
use crate::image::{Descriptor, sha256, sha256_hex};
use crate::outcome::{Failure, Outcome};
use crate::plan::{Client, Reading};
use crate::request::Accept;
use crate::session::Session;

/// What a client is to do, beyond its own ways.
pub(crate) struct Manner<'a> {
    pub(crate) reading: &'a Reading,
    pub(crate) layers_at_once: usize,
}

impl Manner<'_> {
    /// The blobs that a manifest names.
    fn blobs<'d>(
        &self,
        session: &Session<'_>,
        repository: &str,
        descriptors: impl IntoIterator<Item = &'d Descriptor>,
    ) -> Vec<Blob<'d>> {
        descriptors
            .into_iter()
            .map(|descriptor| Blob {
                path: format!("/v2/{repository}/blobs/{}", descriptor.digest),
                accept: accept(session.courier.habits, &descriptor.media_type),
                size: Some(descriptor.size),
                digest: sha256(&descriptor.digest).filter(|_| self.reading.hash),
                rate: self.reading.rate,
            })
            .collect()
    }

    /// A blob that a URL names.
    pub(crate) fn blob<'d>(&self, habits: &Habits, path: &'d str, hex: Option<&str>) -> Blob<'d> {
        Blob {
            path: path.to_owned(),
            accept: accept(habits, ""),
            size: None,
            digest: hex.and_then(sha256_hex).filter(|_| self.reading.hash),
            rate: self.reading.rate,
        }
    }
}

fn accept<'d>(habits: &Habits, media_type: &'d str) -> Accept<'d> {
    match media_type {
        _ if !habits.names_media_types => Accept::Nothing,
        "" => Accept::Line("*/*"),
        media_type => Accept::OrAnything(media_type),
    }
}

/// The ways of a client.
pub(crate) fn habits(client: Client) -> &'static Habits {
    match client {
        Client::Docker => &docker::HABITS,
        Client::Containerd => &containerd::HABITS,
        Client::ContainersImage => &containers_image::HABITS,
        Client::Plain => &plain::HABITS,
    }
}

/// Pulls an image. The worst of its requests is the outcome.
pub(crate) async fn image(
    client: Client,
    session: &Session<'_>,
    manner: &Manner<'_>,
    repository: &str,
    reference: &str,
) -> Result<Outcome, Failure> {
    match client {
        Client::Docker => docker::image(session, manner, repository, reference).await,
        Client::Containerd => containerd::image(session, manner, repository, reference).await,
        Client::ContainersImage => containers_image::image(session, manner, repository, reference).await,
        Client::Plain => plain::image(session, manner, repository, reference).await,
    }
}

/// Pulls one blob.
pub(crate) async fn blob(client: Client, session: &Session<'_>, blob: &Blob<'_>) -> Result<Outcome, Failure> {
    at_once::blob(client, session, blob).await
}
