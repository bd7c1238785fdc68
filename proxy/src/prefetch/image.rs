//! One image that may be being pulled: its layers, which of them were asked for, and whether anybody is still at it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataproxy_cache::Digest;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

/// A client that has asked for nothing of an image for this long has gone.
const GONE: Duration = Duration::from_secs(10);
/// More layers than an image has: OverlayFS takes 500, docker 127.
const LAYERS_MAX: usize = 512;

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
    #[serde(default)]
    urls: Vec<String>,
}

/// A layer as its manifest has it.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// The room that it takes of the budget, once it is fetched and until it is asked for.
    room: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Layer {
    fn room(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An image that a client was given the manifest of.
#[derive(Debug)]
pub(crate) struct Image {
    config: Digest,
    layers: Vec<Layer>,
    begun: AtomicBool,
    pulls: watch::Sender<Pulls>,
}

#[derive(Debug)]
struct Pulls {
    /// Blobs of it that are being sent.
    active: usize,
    /// When one was last asked for or had ended.
    last: Instant,
    /// Which layers were asked for.
    asked: Vec<bool>,
}

/// Held while a blob of an image is sent.
#[derive(Debug)]
pub(crate) struct Pulling(Arc<Image>);

impl Pulls {
    fn is_asked_for(&self, layer: usize) -> bool {
        self.asked.get(layer).copied().unwrap_or(true)
    }

    fn is_settled(&self, layer: usize) -> bool {
        self.asked.iter().skip(layer).any(|asked| *asked)
    }
}

impl Image {
    /// The image of this manifest; `None` if it is none, or has no layer but the first to fetch ahead.
    pub(super) fn of(manifest: &[u8]) -> Option<Self> {
        let manifest: Manifest = serde_json::from_slice(manifest).ok()?;
        let layer = |layer: Descriptor| {
            // What has addresses of its own is not pulled from a registry.
            let digest = layer.urls.is_empty().then(|| layer.digest.parse().ok())??;
            Some(Layer { digest, size: layer.size, room: Mutex::default() })
        };
        let config = manifest.config.digest.parse().ok()?;
        let layers: Vec<_> = manifest.layers.into_iter().take(LAYERS_MAX).filter_map(layer).collect();
        let pulls = Pulls { active: 0, last: Instant::now(), asked: vec![false; layers.len()] };
        let (begun, pulls) = (AtomicBool::new(false), watch::Sender::new(pulls));
        (layers.len() > 1).then_some(Self { config, layers, begun, pulls })
    }

    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Its config and layers.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Digest> {
        std::iter::once(&self.config).chain(self.layers.iter().map(|layer| &layer.digest))
    }

    /// Whether this is the first layer of it that is asked for.
    pub(super) fn begin(&self, blob: &Digest) -> bool {
        self.layers.iter().any(|layer| layer.digest == *blob) && !self.begun.swap(true, Relaxed)
    }

    /// Notes that a blob is asked for.
    pub(super) fn asked(self: &Arc<Self>, digest: &Digest) -> Pulling {
        self.pulls.send_modify(|pulls| {
            pulls.active += 1;
            pulls.last = Instant::now();
            for (layer, asked) in self.layers.iter().zip(&mut pulls.asked) {
                *asked |= layer.digest == *digest;
            }
            let settled = pulls.asked.iter().rposition(|asked| *asked).map_or(0, |last| last + 1);
            self.layers.iter().take(settled).for_each(|layer| drop(layer.room().take()));
        });
        Pulling(Arc::clone(self))
    }

    /// Lets a layer that was fetched keep its room until it is asked for.
    pub(super) fn keep_room(&self, layer: usize, room: OwnedSemaphorePermit) {
        let pulls = self.pulls.borrow();
        if !pulls.is_settled(layer)
            && let Some(layer) = self.layers.get(layer)
        {
            *layer.room() = Some(room);
        }
    }

    /// Gives all room back.
    pub(super) fn free(&self) {
        self.layers.iter().for_each(|layer| drop(layer.room().take()));
    }

    /// Waits until a layer is left to its client; whether that has asked for it. A client that has asked for a later one
    /// has this one already.
    pub(super) async fn is_settled(&self, layer: usize) -> bool {
        self.until(|pulls| pulls.is_settled(layer)).await;
        self.pulls.borrow().is_asked_for(layer)
    }

    /// Waits until all layers are.
    pub(super) async fn are_all_settled(&self) {
        self.until(|pulls| pulls.asked.last().copied().unwrap_or(true)).await;
    }

    async fn until(&self, condition: impl FnMut(&Pulls) -> bool) {
        let mut changes = self.pulls.subscribe();
        // The sender is ours: this ends only by the condition.
        drop(changes.wait_for(condition).await);
    }

    /// Waits until nobody pulls it any more.
    pub(super) async fn left(&self) {
        let mut changes = self.pulls.subscribe();
        loop {
            let (active, last) = {
                let pulls = changes.borrow_and_update();
                (pulls.active, pulls.last)
            };
            if active > 0 {
                if changes.changed().await.is_err() {
                    return;
                }
            } else if tokio::time::timeout_at(last + GONE, changes.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        self.0.pulls.send_modify(|pulls| {
            pulls.active -= 1;
            pulls.last = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn manifest(layers: &[&str]) -> String {
        let descriptor = |content: &str| {
            let digest = Digest::of(dataproxy_cache::Algorithm::Sha256, content.as_bytes());
            serde_json::json!({ "digest": digest.to_string(), "size": content.len() })
        };
        let layers: Vec<_> = layers.iter().map(|layer| descriptor(layer)).collect();
        serde_json::json!({ "config": descriptor("config"), "layers": layers }).to_string()
    }

    #[test]
    fn only_an_image_of_several_layers_is_one_to_fetch_ahead() {
        assert!(Image::of(manifest(&["a", "b"]).as_bytes()).is_some());
        for other in [&manifest(&["a"]), r#"{"manifests":[{"digest":"sha256:0","size":1}]}"#, "[]", ""] {
            assert!(Image::of(other.as_bytes()).is_none(), "{other}");
        }
        let foreign = manifest(&["a", "b", "c"]).replacen("\"size\"", "\"urls\":[\"http://x\"],\"size\"", 2);
        assert_eq!(Image::of(foreign.as_bytes()).map(|image| image.layers.len()), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_gone_once_it_has_pulled_nothing_of_an_image_for_ten_seconds() {
        let image = Arc::new(Image::of(manifest(&["a", "b"]).as_bytes()).unwrap());
        let begun = Instant::now();
        let mut left = std::pin::pin!(image.left());
        tokio::time::advance(GONE / 2).await;
        let pulling = image.asked(&image.config);
        assert!(left.as_mut().now_or_never().is_none());
        tokio::time::advance(10 * GONE).await;
        assert!(left.as_mut().now_or_never().is_none(), "a blob is being sent");
        drop(pulling);
        left.await;
        assert_eq!(begun.elapsed(), GONE / 2 + 11 * GONE);
    }
}
