//! An image whose manifests, configs and layers are all named by sha512: who can pull it, and that it is served right.
//!
//! What is seen has to be what `docs/clients.md` says; `UPDATE_DOCS=1` writes it there.

use dataproxy_tests::access::Access;
use dataproxy_tests::client::ARCHITECTURE;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::installed::{Installed, Running};
use dataproxy_tests::node::Stamp;
use dataproxy_tests::seen::Moment;
use dataproxy_tests::{raw_http, sha256sum};

use crate::every_client::{every_client, surroundings, table, tried};

every_client!(pulls_it_or_refuses_it);

async fn pulls_it_or_refuses_it(client: Installed) {
    let dir = tempfile::tempdir().expect("a folder");
    let stamp = Stamp::start().await;
    let running = client.start(&surroundings(dir.path(), "")).await;
    let mut row = vec![client.name()];
    for (repository, image) in [("blobs", Image::sha512_blobs().await), ("all", Image::sha512().await)] {
        stamp.container("contoso").put_image(&image, repository, TAG);
        row.push(verdict(client, &running, &stamp, repository, &image).await);
    }
    table("sha512").settle(&row);
}

async fn verdict(
    client: Installed,
    running: &Running,
    stamp: &Stamp,
    repository: &str,
    image: &Image,
) -> String {
    let name = format!("{}/contoso/{repository}:{TAG}", stamp.front.pull());
    let before = Moment::now(&stamp.front).await;
    let pulled = running.pull(&name, &Access::Plain).await;
    let seen = before.until(Moment::now(&stamp.front).await, &stamp.front);
    // Whatever a client makes of it, it was served all that it asked for.
    assert_eq!(seen.refused(), Vec::<String>::new());
    let verdict = match pulled {
        Err(failed) => {
            println!("{}, {repository}: {failed}", client.name());
            "refuses"
        }
        Ok(_) => match tried(running.check(&name, image)).await {
            Ok(()) => {
                running.forget().await;
                "pulls"
            }
            Err(why) => {
                println!("{}, {repository}: {why}", client.name());
                "**keeps other bytes**"
            }
        },
    };
    verdict.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_part_is_served_by_its_sha512_digest() {
    let dir = tempfile::tempdir().expect("a folder");
    let stamp = Stamp::start().await;
    let image = Image::sha512().await;
    stamp.container("contoso").put_image(&image, "app", TAG);
    let front = stamp.front.pull();
    let get = async |target: String| {
        let answer = raw_http::get(front, &target).await.expect("an answer");
        assert_eq!(answer.status, 200, "{target}");
        let file = dir.path().join("part");
        std::fs::write(&file, &answer.body).expect("a file can be written");
        let digest = sha256sum::by(&file, "sha512").await;
        assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()), "{target}");
        digest
    };

    assert_eq!(get(format!("/v2/contoso/app/manifests/{TAG}")).await, image.digest);
    for digest in image.manifests.keys() {
        assert_eq!(&get(format!("/v2/contoso/app/manifests/{digest}")).await, digest);
    }
    let platform = image.platform(ARCHITECTURE);
    assert!(platform.layers.len() == 4 && platform.layers.iter().all(|layer| layer.starts_with("sha512:")));
    for digest in image.blobs.keys() {
        for temperature in ["cold", "warm"] {
            let got = get(format!("/v2/contoso/app/blobs/{digest}")).await;
            assert_eq!(&got, digest, "{temperature}");
        }
    }
}
