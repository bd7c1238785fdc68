//! Which requests each client sends, literally, and on which connections.

use dataproxy_loadtest::outcome::Outcome;
use dataproxy_loadtest::phase::Phase;
use dataproxy_loadtest::plan::{Client, Reading};

use crate::image::{CONFIG, INDEX, Image, LAYER, MANIFEST, digest};
use crate::seen::{Seen, pull, puller, reading, run};
use crate::server::{Answer, Asked, Server};

/// Pulls `contoso/app:v1` and gives what was asked.
async fn asked_by(client: Client, image: Image) -> (Vec<Asked>, Seen) {
    let size = image.size();
    let server = Server::start(move |asked, _| image.answer(asked)).await;
    let (finished, seen) = pull(&puller(client, reading()), &server.url("/contoso/app:v1")).await;
    assert_eq!(finished.outcome, Outcome::Ok, "{:?}", finished.failure);
    assert_eq!(finished.bytes, size);
    (server.asked(), seen)
}

fn lines(asked: &Asked) -> Vec<&str> {
    asked.lines.iter().map(String::as_str).collect()
}

fn host(asked: &Asked) -> String {
    format!("Host: {}", asked.field("Host").expect("a host"))
}

/// The requests for blobs, in no order.
fn blobs(asked: &[Asked]) -> Vec<String> {
    let mut blobs: Vec<String> = asked.iter().map(|asked| asked.what().to_owned()).collect();
    blobs.sort_unstable();
    blobs
}

fn expected_blobs(image: &Image) -> Vec<String> {
    let all = std::iter::once(&image.config).chain(&image.layers);
    let mut blobs: Vec<String> = all.map(|blob| format!("GET {}", image.path(blob))).collect();
    blobs.sort_unstable();
    blobs
}

#[test]
fn containerd_asks_head_then_manifests_by_digest_then_blobs_on_kept_connections() {
    run(async {
        let image = Image::new(&[100_000, 200_000, 50]);
        let (index, manifest, expected) =
            (digest(&image.index), digest(&image.manifest), expected_blobs(&image));
        let (asked, seen) = asked_by(Client::Containerd, image).await;
        let host = host(&asked[0]);
        assert_eq!(
            lines(&asked[0]),
            [
                "HEAD /v2/contoso/app/manifests/v1 HTTP/1.1",
                &host,
                "User-Agent: containerd/1.7.27",
                "Accept: application/vnd.docker.distribution.manifest.v2+json, \
                 application/vnd.docker.distribution.manifest.list.v2+json, \
                 application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*",
            ]
        );
        for (asked, digest, kind) in [(&asked[1], index, INDEX), (&asked[2], manifest, MANIFEST)] {
            assert_eq!(
                lines(asked),
                [
                    &format!("GET /v2/contoso/app/manifests/{digest} HTTP/1.1"),
                    &host,
                    "User-Agent: containerd/1.7.27",
                    &format!("Accept: {kind}, */*"),
                    "Accept-Encoding: gzip",
                ]
            );
        }
        assert_eq!(blobs(&asked[3..]), expected);
        let mut kinds: Vec<_> = asked[3..].iter().filter_map(|asked| asked.field("Accept")).collect();
        kinds.sort_unstable();
        let layer = format!("{LAYER}, */*");
        assert_eq!(kinds, [&format!("{CONFIG}, */*"), &layer, &layer, &layer]);
        assert_eq!(asked[1].connection, asked[2].connection, "kept");
        assert_ne!(asked[0].connection, asked[1].connection, "the fetcher has a transport of its own");
        assert_eq!(seen.of(Phase::Manifest), [Outcome::Ok; 3]);
        assert_eq!(seen.of(Phase::FirstByte), [Outcome::Ok; 4]);
        assert_eq!(seen.of(Phase::Blob), [Outcome::Ok; 4]);
        assert_eq!((seen.requests.get(), seen.connections.get()), (7, 4));
        assert_eq!(seen.of(Phase::Connect), [Outcome::Ok; 4]);
        assert_eq!(seen.of(Phase::Resolve), [], "the target is an address");
    });
}

#[test]
fn docker_pings_and_makes_a_new_connection_for_each_request() {
    run(async {
        let image = Image::new(&[100_000, 200_000, 50]);
        let (index, manifest, expected) =
            (digest(&image.index), digest(&image.manifest), expected_blobs(&image));
        let (asked, seen) = asked_by(Client::Docker, image).await;
        let host = host(&asked[0]);
        let agent = asked[0].field("User-Agent").expect("an agent");
        assert!(
            agent.starts_with("docker/20.10.24 go/go1.19.8 ") && agent.ends_with(" \\(linux\\))"),
            "{agent}"
        );
        let agent = format!("User-Agent: {agent}");
        let common = [&host, &agent, "Accept-Encoding: gzip", "Connection: close"];
        let accepts = [
            "Accept: application/vnd.docker.distribution.manifest.v2+json",
            "Accept: application/vnd.docker.distribution.manifest.list.v2+json",
            "Accept: application/vnd.oci.image.manifest.v1+json",
            "Accept: application/vnd.oci.image.index.v1+json",
        ];
        assert_eq!(lines(&asked[0]), [&["GET /v2/ HTTP/1.1"][..], &common].concat());
        assert_eq!(
            lines(&asked[1]),
            [
                &["HEAD /v2/contoso/app/manifests/v1 HTTP/1.1", &host, &agent][..],
                &accepts,
                &["Connection: close"]
            ]
            .concat()
        );
        for (asked, digest) in [(&asked[2], index), (&asked[3], manifest)] {
            let line = format!("GET /v2/contoso/app/manifests/{digest} HTTP/1.1");
            assert_eq!(lines(asked), [&[line.as_str(), &host, &agent][..], &accepts, &common[2..]].concat());
        }
        assert_eq!(blobs(&asked[4..]), expected);
        for one in &asked[4..] {
            assert_eq!(lines(one)[1..], common);
        }
        let mut connections: Vec<usize> = asked.iter().map(|asked| asked.connection).collect();
        connections.sort_unstable();
        connections.dedup();
        assert_eq!(connections.len(), asked.len());
        assert_eq!(seen.connections.get(), 8);
    });
}

#[test]
fn containers_image_pings_gets_manifests_and_reads_the_config_before_the_layers() {
    run(async {
        let image = Image::new(&[1000, 2000, 3000, 4000, 5000, 6000, 7000]);
        let (manifest, expected) = (digest(&image.manifest), expected_blobs(&image));
        let config = format!("GET {}", image.path(&image.config));
        let (asked, seen) = asked_by(Client::ContainersImage, image).await;
        let whats: Vec<&str> = asked.iter().map(Asked::what).collect();
        assert_eq!(
            whats[..4],
            [
                "GET /v2/",
                "GET /v2/contoso/app/manifests/v1",
                &format!("GET /v2/contoso/app/manifests/{manifest}"),
                &config,
            ]
        );
        let accepts: Vec<_> = asked[1].lines.iter().filter(|line| line.starts_with("Accept: ")).collect();
        assert_eq!(accepts.len(), 6);
        assert_eq!(blobs(&asked[3..]), expected);
        assert_eq!(seen.connections.get(), 6, "six layers at once, the first connection among theirs");
    });
}

#[test]
fn plain_asks_one_thing_after_the_other_on_one_connection_for_all_pulls() {
    run(async {
        let image = Image::new(&[1000, 2000]);
        let (manifest, size) = (digest(&image.manifest), image.size());
        let [config, one, two] = [&image.config, &image.layers[0], &image.layers[1]]
            .map(|blob| format!("GET {}", image.path(blob)));
        let server = Server::start(move |asked, _| image.answer(asked)).await;
        let puller = puller(Client::Plain, reading());
        for _ in 0..2 {
            let (finished, _) = pull(&puller, &server.url("/contoso/app:v1")).await;
            assert_eq!((finished.outcome, finished.bytes), (Outcome::Ok, size), "{:?}", finished.failure);
        }
        let expected = [
            "GET /v2/contoso/app/manifests/v1".to_owned(),
            format!("GET /v2/contoso/app/manifests/{manifest}"),
            config,
            one,
            two,
        ];
        assert_eq!(server.whats(), [expected.clone(), expected].concat());
        assert!(server.asked().iter().all(|asked| asked.connection == 0));
    });
}

#[test]
fn no_more_layers_are_asked_for_at_once_than_the_client_does() {
    run(async {
        // Nothing is ever answered, so that what is asked is what is asked at once.
        for (client, at_once, most) in [
            (Client::Containerd, None, 3),
            (Client::Docker, None, 4),
            (Client::ContainersImage, Some(2), 2),
            (Client::Plain, None, 1),
        ] {
            let image = Image::new(
                &[1000; 9]
                    .map(|size| size + 1)
                    .iter()
                    .zip(0..)
                    .map(|(size, more)| size + more)
                    .collect::<Vec<_>>(),
            );
            let config = image.path(&image.config);
            let server = Server::start(move |asked, _| {
                let stalls = asked.what().contains("/blobs/")
                    && (client == Client::Docker
                        || client == Client::Containerd
                        || !asked.what().ends_with(&config));
                let answer = image.answer(asked);
                if stalls { answer.stalled_at(0) } else { answer }
            })
            .await;
            let reading = Reading {
                layers_at_once: at_once,
                timeout: std::time::Duration::from_millis(400),
                ..reading()
            };
            let (finished, seen) = pull(&puller(client, reading), &server.url("/contoso/app:v1")).await;
            assert_eq!(finished.outcome, Outcome::Timeout);
            let stalled =
                seen.of(Phase::Blob).into_iter().filter(|outcome| *outcome == Outcome::Timeout).count();
            assert_eq!(stalled, most, "{client:?}");
        }
    });
}

#[test]
fn a_mirror_is_asked_with_ns_and_its_ping_without() {
    run(async {
        let image = Image::new(&[1000]);
        let server = Server::start(move |asked, _| image.answer(asked)).await;
        let options = dataproxy_loadtest::access::AccessOptions {
            // Written as Go writes a query.
            ns: Some("docker.io:443".to_owned()),
            ..Default::default()
        };
        let puller = crate::seen::puller_with(&options, Client::Docker, reading());
        let (finished, _) = pull(&puller, &server.url("/contoso/app:v1")).await;
        assert_eq!(finished.outcome, Outcome::Ok, "{:?}", finished.failure);
        for what in server.whats() {
            assert_eq!(what.ends_with("?ns=docker.io%3A443"), what != "GET /v2/", "{what}");
        }
    });
}

#[test]
fn containerd_gets_a_manifest_without_a_digest_to_find_it() {
    run(async {
        let image = Image::new(&[1000]);
        let index = digest(&image.index);
        let server = Server::start(move |asked, before| match before {
            0 => Answer::new(405, b""),
            1 => Answer::new(200, &image.index).with("Content-Type", INDEX),
            _ => image.answer(asked),
        })
        .await;
        let (finished, _) =
            pull(&puller(Client::Containerd, reading()), &server.url("/contoso/app:v1")).await;
        assert_eq!(finished.outcome, Outcome::Ok, "{:?}", finished.failure);
        assert_eq!(
            server.whats()[..3],
            [
                "HEAD /v2/contoso/app/manifests/v1".to_owned(),
                "GET /v2/contoso/app/manifests/v1".to_owned(),
                format!("GET /v2/contoso/app/manifests/{index}"),
            ]
        );
    });
}
