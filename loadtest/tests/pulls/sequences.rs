//! Which requests each client sends, literally.

use dataproxy_loadtest::outcome::Outcome;
use dataproxy_loadtest::phase::Phase;
use dataproxy_loadtest::plan::Client;

use crate::image::{Image, digest};
use crate::seen::{pull, puller, reading, run};
use crate::server::Server;

#[test]
fn containerd_asks_head_then_manifests_by_digest_then_blobs_on_kept_connections() {
    run(async {
        let image = Image::new(&[100_000, 200_000, 50]);
        let (index, manifest, size) = (digest(&image.index), digest(&image.manifest), image.size());
        let blobs: Vec<String> = std::iter::once(&image.config)
            .chain(&image.layers)
            .map(|blob| format!("GET {}", image.path(blob)))
            .collect();
        let server = Server::start(move |asked, _| image.answer(asked)).await;
        let puller = puller(Client::Containerd, reading());
        let (finished, seen) = pull(&puller, &server.url("/contoso/app:v1")).await;
        assert_eq!(finished.outcome, Outcome::Ok, "{:?}", finished.failure);
        assert_eq!(finished.bytes, size);
        let whats = server.whats();
        assert_eq!(
            whats[..3],
            [
                "HEAD /v2/contoso/app/manifests/v1".to_owned(),
                format!("GET /v2/contoso/app/manifests/{index}"),
                format!("GET /v2/contoso/app/manifests/{manifest}"),
            ]
        );
        let mut rest = whats[3..].to_vec();
        rest.sort_unstable();
        let mut expected = blobs.clone();
        expected.sort_unstable();
        assert_eq!(rest, expected);
        assert_eq!(seen.of(Phase::Manifest), [Outcome::Ok; 3]);
        assert_eq!(seen.of(Phase::Blob), [Outcome::Ok; 4]);
        assert_eq!(seen.of(Phase::FirstByte), [Outcome::Ok; 4]);
        assert_eq!(seen.requests.get(), 7);
        assert_eq!(seen.connections.get(), 4, "one for the resolver, three for the fetcher");
    });
}
