//! Storage that holds other bytes than it says: no client gets a whole wrong blob, and nothing of it is kept.

use std::net::SocketAddr;
use std::path::PathBuf;

use dataproxy_tests::download::{Download, download};
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::node::{Options, Stamp};

/// A blob in storage, and a way to put other bytes in its place.
struct Stored {
    stamp: Stamp,
    file: PathBuf,
    bytes: Vec<u8>,
    digest: String,
    target: String,
}

impl Stored {
    async fn new(nodes: u8) -> Self {
        let stamp = Stamp::start_with(Options { nodes, ..Options::default() }).await;
        let image = Image::empty_layer().await;
        let container = stamp.container("contoso");
        container.put_image(&image, "app", TAG);
        let (digest, _) = image.largest_blob();
        let file = container.data(&digest);
        let bytes = std::fs::read(&file).expect("the blob is there");
        let target = format!("/v2/contoso/app/blobs/{digest}");
        Self { stamp, file, bytes, digest, target }
    }

    /// Another file takes the blob's place, as the old one may be linked elsewhere.
    fn replace(&self, bytes: &[u8]) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, bytes).expect("a file can be written");
        std::fs::rename(&new, &self.file).expect("a file can be moved");
    }

    fn with_one_wrong_bit(&self) -> Vec<u8> {
        let mut wrong = self.bytes.clone();
        wrong[self.bytes.len() / 2] ^= 1;
        wrong
    }

    /// Downloads it from `address` and finds that no whole body came.
    async fn assert_cut_short(&self, address: SocketAddr) {
        let mut cut = Download::open(address, &self.target, &[]).await.expect("an answer");
        if cut.head().status == 200 {
            let announced = cut.head().content_length().expect("a length");
            let came = cut.read_to(u64::MAX).await.unwrap_or_default();
            assert!(came < announced, "{address} delivered a whole wrong blob");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_blob_ends_short_and_is_served_once_storage_is_mended() {
    let stored = Stored::new(1).await;
    let node = stored.stamp.nodes[0].pull();
    stored.replace(&stored.with_one_wrong_bit());
    stored.assert_cut_short(node).await;
    stored.replace(&stored.bytes[..stored.bytes.len() - 1000]);
    stored.assert_cut_short(node).await;

    stored.replace(&stored.bytes);
    let mended = download(node, &stored.target).await.expect("a whole body");
    assert_eq!((mended.digest, mended.bytes), (stored.digest.clone(), stored.bytes.len() as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_front_door_does_not_make_a_whole_of_a_damaged_blob() {
    let stored = Stored::new(2).await;
    stored.replace(&stored.with_one_wrong_bit());
    stored.assert_cut_short(stored.stamp.front.pull()).await;
}
