//! containers/image: skopeo 1.18, podman 5.4, CRI-O.

use std::time::Duration;

use tokio::time::Instant;

use super::{Manner, at_once};
use crate::blob::{Blob, Download, WholeAgain};
use crate::habits::{Habits, Keeping, TokenRequest};
use crate::image::{Manifest, media};
use crate::manifest::{Asked, Missed};
use crate::outcome::{Failure, Outcome};
use crate::plan::Client;
use crate::request::Accept;
use crate::session::Session;

pub(super) static HABITS: Habits = Habits {
    user_agent: "containers/5.34.3 (github.com/containers/image)",
    keeping: Keeping::ForThePull { idle: 2, idle_for: Duration::from_secs(90) },
    layers_at_once: 6,
    accept_encoding: Some("gzip"),
    connect_within: Duration::from_secs(30),
    tls_within: Duration::from_secs(10),
    names_media_types: false,
    tokens: TokenRequest::Get,
};

const ACCEPT: Accept<'static> = Accept::Lines(&[
    media::OCI_MANIFEST,
    media::DOCKER_MANIFEST,
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
    media::DOCKER_LIST,
    media::OCI_INDEX,
]);

/// Sends of one request that is answered 429.
const SENDS: u32 = 5;

/// Before the second send, where the server does not say; doubled each time.
const BACK_OFF: Duration = Duration::from_secs(2);

/// The longest wait, whatever the server says.
const LONGEST: Duration = Duration::from_secs(60);

/// Before the rest of a cut body is asked for; the client adds up to 0.1 s at random.
const RECONNECT: Duration = Duration::from_secs(1);

/// A second reconnection needs so much progress, or so much time, since the one before.
const PROGRESS: u64 = 1024 * 1024;

const SINCE_LAST: Duration = Duration::from_secs(60);

/// `GET /v2/`, GET of the manifest and of the one for the platform, the config, then the layers.
pub(super) async fn image(
    session: &Session<'_>,
    manner: &Manner<'_>,
    repository: &str,
    reference: &str,
) -> Result<Outcome, Failure> {
    session.ping().await?;
    let named = Asked { repository, reference, size: None };
    let (config, layers) = match get(session, &named).await? {
        Manifest::Image { config, layers } => (config, layers),
        Manifest::Index(chosen) => {
            let asked = Asked { reference: &chosen.digest, size: Some(chosen.size), ..named };
            asked.image(session, get(session, &asked).await?)?
        }
    };
    let client = Client::ContainersImage;
    let config = at_once::blobs(client, session, &manner.config(session, repository, &config), 1).await?;
    let layers = manner.blobs(session, repository, &layers);
    Ok(at_once::blobs(client, session, &layers, manner.layers_at_once).await?.max(config))
}

async fn get(session: &Session<'_>, asked: &Asked<'_>) -> Result<Manifest, Failure> {
    let mut sends = 1;
    loop {
        match asked.get(session, ACCEPT).await {
            Ok(fetched) => return Ok(fetched.manifest),
            Err(Missed { failure, retry_after }) if failure.status == Some(429) && sends < SENDS => {
                back_off(session, &failure, retry_after, sends).await;
                sends += 1;
            }
            Err(missed) => return Err(missed.failure),
        }
    }
}

async fn back_off(session: &Session<'_>, failure: &Failure, retry_after: Option<u64>, sends: u32) {
    let wait = retry_after.map_or(BACK_OFF * 2u32.pow(sends - 1), Duration::from_secs);
    session.pause(failure, wait.min(LONGEST)).await;
}

/// GET, and after a cut of either kind GET of the rest, if that is worth it.
pub(super) async fn blob(session: &Session<'_>, blob: &Blob<'_>) -> Result<Outcome, Failure> {
    let mut download = Download::new(session, blob);
    let (mut sends, mut last): (u32, Option<(u64, Instant)>) = (1, None);
    let mut cut: Option<Failure> = None;
    loop {
        let Err(stopped) = download.attempt(WholeAgain::Refuse).await else { return download.judge() };
        let failure = stopped.failure;
        if failure.status == Some(429) && sends < SENDS {
            back_off(session, &failure, stopped.error.retry_after, sends).await;
            sends += 1;
            continue;
        }
        // What it reports is the cut; that the rest was not to be had is a remark.
        if let Some(cut) = cut.take().filter(|_| !stopped.cut) {
            let detail = format!("{}; when the rest was asked for: {}", cut.detail, failure.detail);
            return Err(Failure { detail, ..cut });
        }
        let is_worth_it =
            last.is_none_or(|(at, when)| download.at() - at >= PROGRESS || when.elapsed() >= SINCE_LAST);
        // Nothing to continue: without a byte, the client would ask for the whole as `bytes=0-`, to the same end.
        if !stopped.cut || !is_worth_it {
            return Err(failure);
        }
        session.pause(&failure, RECONNECT).await;
        last = Some((download.at(), Instant::now()));
        cut = Some(failure);
    }
}
