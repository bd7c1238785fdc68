//! No client in particular: one request after the other on a connection that is kept, nothing retried. What wrk does.

use std::time::Duration;

use super::{Manner, at_once};
use crate::blob::{Blob, Download, WholeAgain};
use crate::habits::{Habits, Keeping, TokenRequest};
use crate::image::{Manifest, media};
use crate::manifest::Asked;
use crate::outcome::{Failure, Outcome};
use crate::plan::Client;
use crate::request::Accept;
use crate::session::Session;

pub(super) static HABITS: Habits = Habits {
    user_agent: concat!("dataproxy-loadtest/", env!("CARGO_PKG_VERSION")),
    keeping: Keeping::Always,
    layers_at_once: 1,
    accept_encoding: None,
    connect_within: Duration::from_secs(30),
    tls_within: Duration::from_secs(30),
    names_media_types: false,
    tokens: TokenRequest::Get,
};

const ACCEPT: Accept<'static> =
    Accept::Lines(&[media::OCI_INDEX, media::OCI_MANIFEST, media::DOCKER_LIST, media::DOCKER_MANIFEST]);

/// GET of the manifest, of the one for the platform, of config and layers.
pub(super) async fn image(
    session: &Session<'_>,
    manner: &Manner<'_>,
    repository: &str,
    reference: &str,
) -> Result<Outcome, Failure> {
    let asked = Asked { repository, reference, size: None };
    let first = asked.get(session, ACCEPT).await.map_err(|missed| missed.failure)?.manifest;
    let (config, layers) = match first {
        Manifest::Image { config, layers } => (config, layers),
        Manifest::Index(chosen) => {
            let asked = Asked { repository, reference: &chosen.digest, size: Some(chosen.size) };
            let second = asked.get(session, ACCEPT).await.map_err(|missed| missed.failure)?.manifest;
            asked.image(session, second)?
        }
    };
    let all = manner.blobs(session, repository, std::iter::once(&config).chain(&layers));
    at_once::blobs(Client::Plain, session, &all, manner.layers_at_once).await
}

/// One GET.
pub(super) async fn blob(session: &Session<'_>, blob: &Blob<'_>) -> Result<Outcome, Failure> {
    let mut download = Download::new(session, blob);
    download.attempt(WholeAgain::Refuse).await.map_err(|stopped| stopped.failure)?;
    download.judge()
}
