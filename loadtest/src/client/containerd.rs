//! containerd 1.7, and docker where it pulls by it.

use std::future::Future;
use std::time::Duration;

use super::{Manner, at_once};
use crate::blob::{Blob, Download, Stopped, WholeAgain};
use crate::habits::{Habits, Keeping, TokenRequest};
use crate::image::{Manifest, sha256};
use crate::manifest::{Asked, Fetched, Resolved};
use crate::outcome::{Failure, Outcome};
use crate::plan::Client;
use crate::request::Accept;
use crate::session::Session;

pub(super) static HABITS: Habits = Habits {
    user_agent: "containerd/1.7.27",
    keeping: Keeping::ForThePull { idle: 10, idle_for: Duration::from_secs(30) },
    layers_at_once: 3,
    accept_encoding: Some("gzip"),
    connect_within: Duration::from_secs(30),
    tls_within: Duration::from_secs(10),
    names_media_types: true,
    tokens: TokenRequest::PostFirst,
};

/// Sends of one request that is answered 408 or 429, all at once.
const SENDS: u32 = 6;

/// Cuts in a row at one place after which it gives up.
const CUTS_AT_ONE_PLACE: u32 = 3;

const RESOLVE: Accept<'static> = Accept::Line(
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*",
);

/// HEAD of the manifest, GET of it by digest, of the one for the platform, then config and layers together.
pub(super) async fn image(
    session: &Session<'_>,
    manner: &Manner<'_>,
    repository: &str,
    reference: &str,
) -> Result<Outcome, Failure> {
    let named = Asked { repository, reference, size: None };
    let root = resolve(session, &named).await?;
    // Its resolver and its fetcher each make a transport and an authorizer: connections and rights begin anew.
    session.begin_anew();
    let asked = Asked { reference: &root.digest, size: root.size, ..named };
    let (config, layers) = match fetch(session, &asked, &root.media_type).await?.manifest {
        Manifest::Image { config, layers } => (config, layers),
        Manifest::Index(chosen) => {
            let asked = Asked { reference: &chosen.digest, size: Some(chosen.size), ..named };
            let second = fetch(session, &asked, &chosen.media_type).await?.manifest;
            asked.image(session, second)?
        }
    };
    let mut all = manner.config(session, repository, &config);
    all.extend(manner.blobs(session, repository, &layers));
    at_once::blobs(Client::Containerd, session, &all, manner.layers_at_once).await
}

/// What a tag or digest stands for.
struct Root {
    digest: String,
    media_type: String,
    size: Option<u64>,
}

async fn resolve(session: &Session<'_>, named: &Asked<'_>) -> Result<Root, Failure> {
    match again(session, || named.head(session, RESOLVE)).await {
        Ok(Resolved { digest, media_type, length: size @ Some(_) }) => {
            let by_reference = named.reference.contains(':').then(|| named.reference.to_owned());
            if let Some(digest) = by_reference.or(digest.filter(|digest| sha256(digest).is_some())) {
                return Ok(Root { digest, media_type, size });
            }
        }
        Ok(_) => {}
        Err(failure) if failure.status == Some(405) => {}
        Err(failure) => return Err(failure),
    }
    // Without a digest or a size the manifest is fetched to find them, and then fetched again.
    let Fetched { digest, media_type, .. } =
        again(session, || async { named.get(session, RESOLVE).await.map_err(|missed| missed.failure) })
            .await?;
    Ok(Root { digest, media_type, size: None })
}

async fn fetch(session: &Session<'_>, asked: &Asked<'_>, media_type: &str) -> Result<Fetched, Failure> {
    let accept = match media_type {
        "" => Accept::Line("*/*"),
        media_type => Accept::OrAnything(media_type),
    };
    again(session, || async { asked.get(session, accept).await.map_err(|missed| missed.failure) }).await
}

/// Sends again, at once, what was answered 408 or 429.
async fn again<T, F: Future<Output = Result<T, Failure>>>(
    session: &Session<'_>,
    mut send: impl FnMut() -> F,
) -> Result<T, Failure> {
    let mut sends = 1;
    loop {
        match send().await {
            Err(failure) if is_retried(&failure) && sends < SENDS => {
                session.seen.retried(&failure);
                sends += 1;
            }
            result => return result,
        }
    }
}

fn is_retried(failure: &Failure) -> bool {
    matches!(failure.status, Some(408 | 429))
}

/// GET, and after a clean cut GET of the rest, at once.
pub(super) async fn blob(session: &Session<'_>, blob: &Blob<'_>) -> Result<Outcome, Failure> {
    let mut download = Download::new(session, blob);
    let (mut sends, mut cuts) = (1, 0);
    loop {
        let before = download.at();
        let attempt = match blob.chunks {
            None => download.attempt(WholeAgain::Skip).await,
            Some((bytes, most)) => download.attempt_in_chunks(bytes, most).await,
        };
        let Err(Stopped { failure, cut, .. }) = attempt else { return download.judge() };
        if cut && failure.outcome == Outcome::Short {
            if download.is_all_there() {
                return download.judge();
            }
            cuts = if download.at() > before { 1 } else { cuts + 1 };
            if cuts > CUTS_AT_ONE_PLACE {
                return Err(failure);
            }
        } else if is_retried(&failure) && sends < SENDS {
            sends += 1;
        } else {
            return Err(failure);
        }
        session.seen.retried(&failure);
    }
}
