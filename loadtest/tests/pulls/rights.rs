//! Who is let in, by which way, and whom a credential is never shown to.

use std::path::PathBuf;

use dataproxy_loadtest::access::AccessOptions;
use dataproxy_loadtest::outcome::Outcome;
use dataproxy_loadtest::phase::Phase;
use dataproxy_loadtest::plan::Client;
use tempfile::TempDir;

use crate::image::{Image, bytes, digest};
use crate::seen::{pull, puller, puller_with, reading, run};
use crate::server::{Answer, Asked, Server};

const CLIENTS: [Client; 4] = [Client::Docker, Client::Containerd, Client::ContainersImage, Client::Plain];

/// The password of `robot`, in a file as the command line takes it.
fn robot(folder: &TempDir) -> AccessOptions {
    let file: PathBuf = folder.path().join("password");
    std::fs::write(&file, "open sesame\n").expect("a file");
    AccessOptions { user: Some("robot".to_owned()), password_file: Some(file), ..AccessOptions::default() }
}

/// `robot:open sesame`, as Basic has it (RFC 7617).
const BASIC: &str = "Basic cm9ib3Q6b3BlbiBzZXNhbWU=";

fn path_of(body: &[u8]) -> String {
    format!("/v2/contoso/app/blobs/{}", digest(body))
}

/// A registry that serves one blob to who shows the token of `realm`.
async fn registry_with(realm: String, body: Vec<u8>) -> Server {
    Server::start(move |asked, _| {
        if asked.field("Authorization") == Some("Bearer good") {
            return Answer::file(asked, &body);
        }
        let challenge =
            format!("Bearer realm=\"{realm}\",service=\"contoso\",scope=\"repository:contoso/app:pull\"");
        Answer::new(401, b"").with("WWW-Authenticate", &challenge)
    })
    .await
}

#[test]
fn a_blob_over_tls_is_whole_where_the_authority_is_known_and_a_tls_failure_where_not() {
    run(async {
        let body = bytes(300_000, 3);
        let path = path_of(&body);
        let served = body.clone();
        let (server, pem) =
            Server::start_tls("localhost", move |asked, _| Answer::file(asked, &served)).await;
        let subject = format!("https://localhost:{}{path}", server.address.port());
        let folder = tempfile::tempdir().expect("a folder");
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, pem).expect("a file");
        let known = AccessOptions { ca: Some(ca), ..AccessOptions::default() };
        let careless = AccessOptions { insecure: true, ..AccessOptions::default() };
        for client in CLIENTS {
            for options in [&known, &careless] {
                let (finished, seen) = pull(&puller_with(options, client, reading()), &subject).await;
                assert_eq!(finished.outcome, Outcome::Ok, "{client:?}: {:?}", finished.failure);
                assert_eq!(finished.bytes, 300_000);
                assert!(seen.of(Phase::Tls).contains(&Outcome::Ok));
            }
        }
        // docker would try a blob five times, with pauses of up to 20 s.
        for client in [Client::Containerd, Client::Plain] {
            let (finished, seen) = pull(&puller(client, reading()), &subject).await;
            assert_eq!(finished.outcome, Outcome::Tls, "{client:?}");
            assert!(seen.of(Phase::Tls).contains(&Outcome::Tls));
        }
    });
}

#[test]
fn a_token_is_fetched_for_a_challenge_and_timed() {
    run(async {
        let body = bytes(1000, 4);
        let path = path_of(&body);
        let issuer = Server::start(|_, _| Answer::new(200, br#"{"token":"good","expires_in":300}"#)).await;
        let server = registry_with(issuer.url("/token"), body).await;
        for client in CLIENTS {
            let (finished, seen) = pull(&puller(client, reading()), &server.url(&path)).await;
            assert_eq!(finished.outcome, Outcome::Ok, "{client:?}: {:?}", finished.failure);
            assert_eq!(seen.of(Phase::Token), [Outcome::Ok], "{client:?}");
        }
        let asked = issuer.asked();
        assert!(asked.iter().all(|asked| asked.field("Authorization").is_none()), "nobody has credentials");
        let what = &asked[0].lines[0];
        for part in ["GET /token?", "service=contoso", "repository%3Acontoso%2Fapp%3Apull"] {
            assert!(
                what.contains(part) || what.contains(&part.replace("%3A", ":").replace("%2F", "/")),
                "{what}"
            );
        }
    });
}

/// A registry that serves `image` to who shows the token of `realm`.
async fn image_registry(realm: String, image: Image) -> Server {
    Server::start(move |asked, _| {
        if asked.field("Authorization") == Some("Bearer good") {
            return image.answer(asked);
        }
        Answer::new(401, b"")
            .with("WWW-Authenticate", &format!("Bearer realm=\"{realm}\",service=\"contoso\""))
    })
    .await
}

#[test]
fn each_pull_of_a_client_costs_the_token_server_what_it_costs_it_in_truth() {
    run(async {
        // containerd resolves by one authorizer and fetches by another.
        for (client, tokens) in [(Client::Docker, 1), (Client::Containerd, 2), (Client::ContainersImage, 1)] {
            let issuer =
                Server::start(|_, _| Answer::new(200, br#"{"token":"good","expires_in":300}"#)).await;
            let server = image_registry(issuer.url("/token"), Image::new(&[1000, 2000, 3000])).await;
            let puller = puller(client, reading());
            for _ in 0..2 {
                let (finished, seen) = pull(&puller, &server.url("/contoso/app:v1")).await;
                assert_eq!(finished.outcome, Outcome::Ok, "{client:?}: {:?}", finished.failure);
                assert_eq!(seen.of(Phase::Token), vec![Outcome::Ok; tokens], "{client:?}");
            }
            assert_eq!(issuer.asked().len(), 2 * tokens, "{client:?}");
        }
        // Who keeps its connections for ever keeps its tokens too.
        let issuer = Server::start(|_, _| Answer::new(200, br#"{"token":"good","expires_in":300}"#)).await;
        let server = image_registry(issuer.url("/token"), Image::new(&[1000])).await;
        let puller = puller(Client::Plain, reading());
        for _ in 0..2 {
            assert_eq!(pull(&puller, &server.url("/contoso/app:v1")).await.0.outcome, Outcome::Ok);
        }
        assert_eq!(issuer.asked().len(), 1);
    });
}

#[test]
fn containerd_posts_its_credentials_and_falls_back_to_get_where_that_is_not_known() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let body = bytes(1000, 5);
        let path = path_of(&body);
        let issuer = Server::start(|asked: &Asked, _| match asked.lines[0].starts_with("POST ") {
            true => Answer::new(404, b""),
            false => Answer::new(200, br#"{"access_token":"good"}"#),
        })
        .await;
        let server = registry_with(issuer.url("/token"), body).await;
        let puller = puller_with(&robot(&folder), Client::Containerd, reading());
        let (finished, _) = pull(&puller, &server.url(&path)).await;
        assert_eq!(finished.outcome, Outcome::Ok, "{:?}", finished.failure);
        let [post, get] = &issuer.asked()[..] else { panic!("{:?}", issuer.asked()) };
        assert!(
            post.form.contains("grant_type=password") && post.form.contains("username=robot"),
            "{}",
            post.form
        );
        assert!(post.form.contains("client_id=containerd-client") && post.form.contains("service=contoso"));
        assert_eq!(get.field("Authorization"), Some(BASIC));
    });
}

#[test]
fn refused_credentials_fail_with_their_status_and_without_their_words() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let issuer = Server::start(|_, _| Answer::new(401, b"")).await;
        let server = registry_with(issuer.url("/token"), bytes(10, 6)).await;
        for client in CLIENTS {
            let puller = puller_with(&robot(&folder), client, reading());
            let (finished, _) = pull(&puller, &server.url(&path_of(&bytes(10, 6)))).await;
            let failure = finished.failure.expect("it fails");
            assert_eq!((failure.outcome, failure.status), (Outcome::Status, Some(401)), "{client:?}");
            assert!(!failure.detail.contains("sesame"), "{}", failure.detail);
        }
        assert!(issuer.asked().len() <= 4 * 8, "{} requests for tokens", issuer.asked().len());
    });
}

#[test]
fn a_registry_that_wants_another_token_for_ever_is_asked_a_bounded_number_of_times() {
    run(async {
        let issuer = Server::start(|_, _| Answer::new(200, br#"{"token":"bad"}"#)).await;
        let server = registry_with(issuer.url("/token"), bytes(10, 7)).await;
        for client in CLIENTS {
            let before = server.asked().len();
            let (finished, _) = pull(&puller(client, reading()), &server.url(&path_of(&bytes(10, 7)))).await;
            assert_eq!(finished.outcome, Outcome::Status, "{client:?}");
            let asked = server.asked().len() - before;
            assert!(asked <= 20, "{client:?} asked {asked} times");
        }
    });
}

#[test]
fn a_right_is_never_shown_to_the_host_of_a_redirect() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let body = bytes(5000, 8);
        let path = path_of(&body);
        let storage = Server::start(move |asked, _| Answer::file(asked, &body)).await;
        let issuer = Server::start(|_, _| Answer::new(200, br#"{"token":"good"}"#)).await;
        let (realm, location) = (issuer.url("/token"), storage.url("/container/blob?sig=secret"));
        let server = Server::start(move |asked: &Asked, _| match asked.field("Authorization") {
            Some("Bearer good") => Answer::new(307, b"").with("Location", &location),
            _ => Answer::new(401, b"")
                .with("WWW-Authenticate", &format!("Bearer realm=\"{realm}\",service=\"contoso\"")),
        })
        .await;
        for client in CLIENTS {
            let puller = puller_with(&robot(&folder), client, reading());
            let (finished, _) = pull(&puller, &server.url(&path)).await;
            assert_eq!(finished.outcome, Outcome::Ok, "{client:?}: {:?}", finished.failure);
        }
        let asked = storage.asked();
        assert!(asked.len() >= 4);
        assert!(asked.iter().all(|asked| asked.field("Authorization").is_none()), "{asked:?}");
    });
}

#[test]
fn a_length_that_is_not_the_bodys_is_caught_both_ways() {
    run(async {
        for (announced, outcome) in [(900, Outcome::WrongDigest), (1100, Outcome::Short)] {
            let body = bytes(1000, 9);
            let path = path_of(&body);
            let server =
                Server::start(move |_, _| Answer::new(200, &body).announcing(announced).closing()).await;
            let (finished, _) = pull(&puller(Client::Plain, reading()), &server.url(&path)).await;
            assert!(!finished.outcome.is_good());
            assert!(
                finished.outcome == outcome || finished.outcome == Outcome::Protocol,
                "{announced}: {:?}",
                finished.outcome
            );
        }
    });
}
