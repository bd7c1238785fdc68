//! Each fault, and what it is called.

use dataproxy_loadtest::outcome::Outcome;
use dataproxy_loadtest::plan::Client;

use crate::image::{Image, bytes};
use crate::seen::{pull, puller, reading, run};
use crate::server::{Answer, Server};

#[test]
fn a_flipped_byte_is_a_wrong_digest() {
    run(async {
        let image = Image::new(&[300_000]);
        let path = image.path(&image.layers[0]);
        let server = Server::start(|asked, _| {
            let mut body = bytes(300_000, 1);
            body[123_456] ^= 1;
            Answer::file(asked, &body)
        })
        .await;
        for client in [Client::Plain, Client::Containerd] {
            let (finished, _) = pull(&puller(client, reading()), &server.url(&path)).await;
            assert_eq!(finished.outcome, Outcome::WrongDigest, "{:?}", finished.failure);
        }
    });
}
