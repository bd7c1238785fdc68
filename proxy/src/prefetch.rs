//! Layers fetched ahead of a client that has their manifest: while it pulls the first ones, the next ones come.
//!
//! A manifest that is served says which layers may be asked for. Nothing is fetched until the client asks for one of them:
//! a manifest alone is what scanners and look-ups read, and whoever has the first layers already asks for a later one.
//! Those after it are fetched in order, a few at a time and each by one ranged read at a time, into the disk tier. That
//! ends when the client is gone, and for a layer when it is asked for: who asks joins the running fill, which is as urgent
//! as any from then on. What was fetched and not asked for yet is bounded in bytes, over all images.

use std::sync::Arc;
use std::time::Duration;

use dataproxy_cache::{BlobKey, Cache, Digest, FetchAhead, Scope};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::content::OwnedBlob;
use crate::name::Repository;

mod image;

use image::Layer;
pub(crate) use image::{Image, Pulling};

/// Images that are remembered, and for how long a pull may take from a manifest to the first blob.
const IMAGES: u64 = 4096;
const REMEMBERED: Duration = Duration::from_secs(60);
/// What a permit of the budget stands for, in bytes.
const UNIT: u64 = 1 << 10;

/// How much is fetched ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Layers at a time, over all images.
    pub fetches: usize,
    /// Bytes fetched or being fetched that nobody has asked for yet.
    pub bytes: u64,
}

/// Has a layer's ownership looked up as a request for it would.
pub(crate) type Own = Box<dyn Fn(Digest) -> BoxFuture<'static, Option<OwnedBlob>> + Send + Sync>;

/// A blob or manifest as a repository has it.
type Part = (Scope, String, Digest);

/// What this node fetches ahead.
#[derive(Debug)]
pub(crate) struct Prefetch {
    cache: Cache,
    fetches: usize,
    bytes: u64,
    places: Arc<Semaphore>,
    room: Arc<Semaphore>,
    /// The image that a manifest, config or layer belongs to.
    images: moka::sync::Cache<Part, Arc<Image>>,
}

/// How the fetch of one layer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was fetched before anybody asked for it.
    Fetched,
    /// A client asked for it meanwhile, and has joined.
    Joined,
    /// The client has asked for a later one, so has it already.
    Passed,
    /// It was there, or somebody else was at it.
    Held,
    /// The client has gone.
    Left,
    /// It is larger than the budget, or than its manifest says.
    TooLarge,
    /// It cannot be had or kept now.
    Failed,
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Joined => "joined",
            Self::Passed => "passed",
            Self::Held => "held",
            Self::Left => "left",
            Self::TooLarge => "too_large",
            Self::Failed => "failed",
        }
    }
}

fn permits(bytes: u64) -> Option<u32> {
    u32::try_from(bytes.div_ceil(UNIT)).ok()
}

impl Prefetch {
    /// Fetches into this cache.
    pub(crate) fn new(cache: Cache, ahead: Ahead) -> Self {
        let most = usize::try_from(ahead.bytes / UNIT).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            cache,
            fetches: ahead.fetches,
            bytes: ahead.bytes,
            places: Arc::new(Semaphore::new(ahead.fetches)),
            room: Arc::new(Semaphore::new(most)),
            images: moka::sync::Cache::builder().max_capacity(IMAGES).time_to_live(REMEMBERED).build(),
        }
    }

    /// Notes a manifest that a client was given. One of an index says nothing of which image will be pulled.
    pub(crate) fn served(&self, manifest: &BlobKey, repository: &Repository, bytes: &[u8]) {
        let part = |digest: Digest| (manifest.scope.clone(), repository.as_str().to_owned(), digest);
        let known = part(manifest.digest.clone());
        if self.images.contains_key(&known) {
            return;
        }
        let Some(image) = Image::of(bytes).map(Arc::new) else { return };
        self.images.insert(known, Arc::clone(&image));
        for digest in image.blobs() {
            self.images.insert(part(digest.clone()), Arc::clone(&image));
        }
    }

    /// Notes a client that asks for a blob. Gives what it holds while it pulls; and the image, for the first that asks.
    pub(crate) fn asked(
        &self,
        blob: &BlobKey,
        repository: &Repository,
    ) -> Option<(Pulling, Option<Arc<Image>>)> {
        let part = (blob.scope.clone(), repository.as_str().to_owned(), blob.digest.clone());
        let image = self.images.get(&part)?;
        let first = image.begin(&blob.digest);
        let pulling = image.asked(&blob.digest);
        Some((pulling, first.then_some(image)))
    }

    /// Fetches the layers of an image that is being pulled, for as long as it is.
    pub(crate) async fn run(&self, image: Arc<Image>, own: Own) {
        let all = async {
            let layers = stream::iter(image.layers().iter().enumerate());
            let fetch = async |(at, layer)| {
                if let Some(end) = self.layer(&image, at, layer, &own).await {
                    tell(end);
                }
            };
            layers.for_each_concurrent(self.fetches, fetch).await;
            image.are_all_settled().await;
        };
        tokio::select! {
            () = all => {}
            () = image.left() => tell(End::Left),
        }
        image.free();
    }

    /// Waits for room and a place, and fetches one layer. `None` if it is left to its client before that begins.
    async fn layer(&self, image: &Image, at: usize, layer: &Layer, own: &Own) -> Option<End> {
        let (room, _place) = tokio::select! {
            biased;
            _ = image.is_settled(at) => return None,
            place = self.place(layer) => match place {
                Some(place) => place,
                None => return Some(End::TooLarge),
            },
        };
        let end = tokio::select! {
            biased;
            asked = image.is_settled(at) => if asked { End::Joined } else { End::Passed },
            end = self.fetch(layer, own) => end,
        };
        if end == End::Fetched {
            image.keep_room(at, room);
        }
        Some(end)
    }

    /// Room in the budget, and a place among the fetches that run. `None` if there will never be any.
    async fn place(&self, layer: &Layer) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let room = permits(layer.size).filter(|_| layer.size <= self.bytes)?;
        let room = Arc::clone(&self.room).acquire_many_owned(room).await.ok()?;
        Some((room, Arc::clone(&self.places).acquire_owned().await.ok()?))
    }

    async fn fetch(&self, layer: &Layer, own: &Own) -> End {
        let Some(owned) = own(layer.digest.clone()).await else { return End::Failed };
        let ended = match self.cache.fetch_ahead(owned.key(), owned.source()).await {
            Ok(FetchAhead::Begun(ahead)) if ahead.size() > layer.size => return End::TooLarge,
            Ok(FetchAhead::Begun(ahead)) => ahead.ended().await,
            Ok(FetchAhead::Held | FetchAhead::Running) => return End::Held,
            Ok(FetchAhead::Unkept) => Ok(false),
            Err(error) => Err(error),
        };
        match ended {
            Ok(true) => End::Fetched,
            Ok(false) => End::Failed,
            Err(error) => {
                tracing::debug!(key = %owned.key(), %error, "a layer is not fetched ahead");
                End::Failed
            }
        }
    }
}

fn tell(end: End) {
    counter!("dataproxy_prefetch_layers_total", "outcome" => end.as_str()).increment(1);
}
