//! dockerd's own puller, 20.10 to 28, with its default image store.

use std::time::Duration;

use futures_util::future::try_join;

use super::{Manner, at_once};
use crate::blob::{Blob, Download, Stopped, WholeAgain};
use crate::habits::{Habits, Keeping, TokenRequest};
use crate::image::{Manifest, media, sha256};
use crate::manifest::Asked;
use crate::outcome::{Failure, Outcome};
use crate::plan::Client;
use crate::request::Accept;
use crate::session::Session;

pub(super) static HABITS: Habits = Habits {
    user_agent: "docker/20.10.24 go/go1.19.8 git-commit/5d6db84 kernel/6.1.0 os/linux arch/amd64 \
                 UpstreamClient(Docker-Client/20.10.24 \\(linux\\))",
    keeping: Keeping::Never,
    layers_at_once: 3,
    accept_encoding: Some("gzip"),
    connect_within: Duration::from_secs(30),
    tls_within: Duration::from_secs(10),
    names_media_types: false,
    tokens: TokenRequest::Get,
};

/// Attempts at one layer.
const ATTEMPTS: u32 = 5;

/// Between two attempts, times the number of those that failed.
const WAIT: Duration = Duration::from_secs(5);

/// docker writes them in a random order, new for each request; here it is always this one.
const ACCEPT: Accept<'static> =
    Accept::Lines(&[media::DOCKER_MANIFEST, media::DOCKER_LIST, media::OCI_MANIFEST, media::OCI_INDEX]);

/// Error codes after which docker does not try again.
const TERMINAL: [&str; 6] =
    ["UNAUTHORIZED", "UNSUPPORTED", "DENIED", "TOOMANYREQUESTS", "NAME_UNKNOWN", "BLOB_UNKNOWN"];

/// `GET /v2/`, HEAD of the manifest, GET of it by digest, of the one for the platform, then config and layers.
pub(super) async fn image(
    session: &Session<'_>,
    manner: &Manner<'_>,
    repository: &str,
    reference: &str,
) -> Result<Outcome, Failure> {
    session.ping().await?;
    let named = Asked { repository, reference, size: None };
    let digest = resolve(session, &named).await?;
    let asked = Asked { reference: &digest, ..named };
    let (config, layers) = match get(session, &asked).await? {
        Manifest::Image { config, layers } => (config, layers),
        Manifest::Index(chosen) => {
            let asked = Asked { reference: &chosen.digest, size: Some(chosen.size), ..named };
            asked.image(session, get(session, &asked).await?)?
        }
    };
    let config = manner.blobs(session, repository, [&config]);
    let layers = manner.blobs(session, repository, &layers);
    let (config, layers) = try_join(
        // The config is got in one go, beside the layers.
        at_once::blobs(Client::Plain, session, &config, 1),
        at_once::blobs(Client::Docker, session, &layers, manner.layers_at_once),
    )
    .await?;
    Ok(config.max(layers))
}

async fn resolve(session: &Session<'_>, named: &Asked<'_>) -> Result<String, Failure> {
    if named.reference.contains(':') {
        return Ok(named.reference.to_owned());
    }
    match named.head(session, ACCEPT).await {
        Ok(resolved) => {
            if let Some(digest) = resolved.digest.filter(|digest| sha256(digest).is_some()) {
                return Ok(digest);
            }
        }
        // Any status: the same is asked by GET, for the sake of the error in its body.
        Err(failure) if failure.outcome == Outcome::Status => {}
        Err(failure) => return Err(failure),
    }
    named.get(session, ACCEPT).await.map(|fetched| fetched.digest).map_err(|missed| missed.failure)
}

async fn get(session: &Session<'_>, asked: &Asked<'_>) -> Result<Manifest, Failure> {
    asked.get(session, ACCEPT).await.map(|fetched| fetched.manifest).map_err(|missed| missed.failure)
}

/// Up to five attempts with a growing wait, each going on from where the last one ended.
pub(super) async fn blob(session: &Session<'_>, blob: &Blob<'_>) -> Result<Outcome, Failure> {
    let mut download = Download::new(session, blob);
    let mut attempts = 1;
    loop {
        let began = download.at();
        let (failure, again) = match attempt(&mut download).await {
            Ok(()) => match download.judge() {
                Ok(outcome) => return Ok(outcome),
                // What was put together wrongly is got anew; what came wrong in one piece is not.
                Err(failure) => (failure, (began > 0).then_some(Again::FromTheBegin)),
            },
            Err(stopped) => {
                let again = again(&stopped);
                (stopped.failure, again)
            }
        };
        let Some(again) = again.filter(|_| attempts < ATTEMPTS) else { return Err(failure) };
        if again == Again::FromTheBegin {
            download.start_over();
        }
        session.seen.retried(&failure);
        tokio::time::sleep(WAIT * attempts).await;
        attempts += 1;
    }
}

/// One attempt sends its request twice where nothing of a body comes: the first is for the size, and its failure is ignored.
async fn attempt(download: &mut Download<'_>) -> Result<(), Stopped> {
    match download.attempt(WholeAgain::Refuse).await {
        Err(stopped) if !stopped.cut => download.attempt(WholeAgain::Refuse).await,
        result => result,
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Again {
    FromHere,
    FromTheBegin,
}

/// Whether docker tries again, and from where.
fn again(stopped: &Stopped) -> Option<Again> {
    if stopped.range_ignored {
        return Some(Again::FromTheBegin);
    }
    let terminal = match stopped.failure.status {
        Some(404) => true,
        // Only the code counts, and only where the answer says that it is JSON.
        Some(400..500) if stopped.error.is_json => {
            stopped.error.code.as_deref().is_none_or(|code| TERMINAL.contains(&code))
        }
        Some(400..500) => true,
        _ => false,
    };
    (!terminal).then_some(Again::FromHere)
}
