//! Each fault of a server, and what it is called.

use std::time::Duration;

use dataproxy_loadtest::outcome::Outcome;
use dataproxy_loadtest::phase::Phase;
use dataproxy_loadtest::plan::{Client, Reading};

use crate::image::{Image, bytes, digest};
use crate::seen::{pull, puller, reading, run};
use crate::server::{Answer, Asked, Server};

/// Pulls one layer of 300,000 bytes by a client that retries nothing, and gives the outcome and its sentence.
async fn outcome_of(answer: impl Fn(&Asked, &[u8]) -> Answer + 'static) -> (Outcome, String) {
    outcome_with(reading(), answer).await
}

async fn outcome_with(
    reading: Reading,
    answer: impl Fn(&Asked, &[u8]) -> Answer + 'static,
) -> (Outcome, String) {
    let body = bytes(300_000, 1);
    let path = format!("/v2/contoso/app/blobs/{}", digest(&body));
    let server = Server::start(move |asked, _| answer(asked, &body)).await;
    let url = server.url(&path);
    let (finished, seen) = pull(&puller(Client::Plain, reading), &url).await;
    assert_eq!(seen.of(Phase::Blob), [finished.outcome]);
    let detail = finished.failure.map(|failure| failure.detail).unwrap_or_default();
    assert!(detail.is_empty() || detail.contains(&format!("GET {url}")), "{detail}");
    (finished.outcome, detail)
}

#[test]
fn a_flipped_byte_anywhere_is_a_wrong_digest() {
    run(async {
        for at in [0, 1, 123_456, 299_999] {
            let (outcome, detail) = outcome_of(move |asked, body| {
                let mut body = body.to_vec();
                body[at] ^= 1;
                Answer::file(asked, &body)
            })
            .await;
            assert_eq!(outcome, Outcome::WrongDigest, "{at}: {detail}");
        }
    });
}

#[test]
fn a_fin_before_the_announced_length_is_short_wherever_it_comes() {
    run(async {
        for hash in [true, false] {
            for at in [0, 1, 40_000, 299_999] {
                let reading = Reading { hash, ..reading() };
                let (outcome, detail) =
                    outcome_with(reading, move |asked, body| Answer::file(asked, body).cut_at(at)).await;
                assert_eq!(outcome, Outcome::Short, "{at}: {detail}");
                assert!(detail.ends_with(&format!("the body ended after {at} of 300000 bytes")), "{detail}");
            }
        }
    });
}

#[test]
fn a_reset_is_a_reset_in_the_body_and_before_the_head() {
    run(async {
        for hash in [true, false] {
            let reading = Reading { hash, ..reading() };
            let (outcome, detail) =
                outcome_with(reading, |asked, body| Answer::file(asked, body).reset_at(100_000)).await;
            assert_eq!(outcome, Outcome::Reset, "{detail}");
        }
        for answer in [Answer::raw(b"").reset_at(0), Answer::raw(b""), Answer::raw(b"HTTP/1.1 200 O")] {
            let (outcome, detail) = outcome_of(move |_, _| answer.clone()).await;
            assert_eq!(outcome, Outcome::Reset, "{detail}");
        }
    });
}

#[test]
fn a_status_that_is_not_200_is_named_with_its_code() {
    run(async {
        let json = b"{\"errors\":[{\"code\":\"BLOB_UNKNOWN\",\"message\":\"x\"}]}";
        for (answer, expected) in [
            (Answer::new(404, json), "status 404 BLOB_UNKNOWN"),
            (Answer::new(503, b"<html>"), "status 503"),
            (Answer::new(204, b""), "status 204"),
            (Answer::new(206, b"abc").with("Content-Range", "bytes 0-2/3"), "status 206"),
        ] {
            let (outcome, detail) = outcome_of(move |_, _| answer.clone()).await;
            assert_eq!(outcome, Outcome::Status, "{detail}");
            assert!(detail.ends_with(expected), "{detail}");
        }
    });
}

#[test]
fn a_page_of_html_for_a_blob_is_caught_by_its_digest_or_by_its_length() {
    run(async {
        let page = || Answer::new(200, b"<html>please log in</html>").with("Content-Type", "text/html");
        assert_eq!(outcome_of(move |_, _| page()).await.0, Outcome::WrongDigest);
        // As a layer, its size is known.
        let image = Image::new(&[1000]);
        let path = image.path(&image.layers[0]);
        let server = Server::start(
            move |asked, _| if asked.what().ends_with(&path) { page() } else { image.answer(asked) },
        )
        .await;
        let reading = Reading { hash: false, ..reading() };
        let (finished, _) = pull(&puller(Client::Containerd, reading), &server.url("/contoso/app:v1")).await;
        assert_eq!(finished.outcome, Outcome::Protocol, "{:?}", finished.failure);
    });
}

#[test]
fn answers_that_break_http_are_protocol_faults() {
    run(async {
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 200_000]].concat();
        for answer in [
            Answer::raw(b"220 mail.example ESMTP\r\n\r\n"),
            Answer::raw(b"\x15\x03\x01\x00\x02\x02\x46"),
            Answer::raw(&endless),
            Answer::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
            Answer::raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense"),
            Answer::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc"),
            Answer::new(200, b"abc").with("Content-Encoding", "gzip"),
            Answer::raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        ] {
            let (outcome, detail) = outcome_of(move |_, _| answer.clone()).await;
            assert_eq!(outcome, Outcome::Protocol, "{detail}");
        }
    });
}

#[test]
fn bodies_end_by_length_by_chunks_or_with_the_connection() {
    run(async {
        for hash in [true, false] {
            let reading = || Reading { hash, ..reading() };
            let good: [fn(&Asked, &[u8]) -> Answer; 4] = [
                |asked, body| Answer::file(asked, body),
                |asked, body| Answer::file(asked, body).chunked(&[1, 70_000, 3]),
                |asked, body| Answer::file(asked, body).until_close(),
                |asked, body| {
                    Answer::file(asked, body).in_pieces(&[1, 9_999]).with("Connection", "close").closing()
                },
            ];
            for answer in good {
                assert_eq!(outcome_with(reading(), answer).await.0, Outcome::Ok);
            }
            let (outcome, detail) = outcome_with(reading(), |asked, body| {
                Answer::file(asked, body).chunked(&[1000]).cut_at(150_000)
            })
            .await;
            assert_eq!(outcome, Outcome::Short, "{detail}");
        }
    });
}

#[test]
fn interim_answers_are_read_past() {
    run(async {
        let (outcome, detail) = outcome_of(|_, body| {
            let head = format!(
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            Answer::raw(&[head.as_bytes(), body].concat()).in_pieces(&[10])
        })
        .await;
        assert_eq!(outcome, Outcome::Ok, "{detail}");
    });
}

#[test]
fn a_layer_of_another_size_than_its_manifest_says_is_caught() {
    run(async {
        for hash in [true, false] {
            for (length, until_close, expected) in [
                (999, false, Outcome::Protocol),
                (1001, false, Outcome::Protocol),
                (999, true, Outcome::Short),
                (1001, true, Outcome::Protocol),
            ] {
                let image = Image::new(&[1000]);
                let path = image.path(&image.layers[0]);
                let server = Server::start(move |asked, _| {
                    if !asked.what().ends_with(&path) {
                        return image.answer(asked);
                    }
                    let mut body = image.layers[0].clone();
                    body.resize(length, 0);
                    let answer = Answer::new(200, &body);
                    if until_close { answer.until_close() } else { answer }
                })
                .await;
                let reading = Reading { hash, ..reading() };
                let (finished, _) =
                    pull(&puller(Client::Plain, reading), &server.url("/contoso/app:v1")).await;
                assert_eq!(finished.outcome, expected, "{length} {until_close} {:?}", finished.failure);
            }
        }
    });
}

#[test]
fn a_manifest_that_is_not_the_one_that_was_asked_for_is_a_wrong_digest() {
    run(async {
        for client in [Client::Plain, Client::Containerd, Client::Docker, Client::ContainersImage] {
            let image = Image::new(&[1000]);
            let by_digest = digest(&image.manifest);
            let server = Server::start(move |asked, _| {
                if asked.what().ends_with(&by_digest) {
                    let mut wrong = image.manifest.clone();
                    let at = wrong.len() - 2;
                    wrong[at] = b' ';
                    return Answer::new(200, &wrong).with("Docker-Content-Digest", &by_digest);
                }
                image.answer(asked)
            })
            .await;
            let (finished, seen) = pull(&puller(client, reading()), &server.url("/contoso/app:v1")).await;
            assert_eq!(finished.outcome, Outcome::WrongDigest, "{client:?} {:?}", finished.failure);
            assert_eq!(seen.of(Phase::Manifest).last(), Some(&Outcome::WrongDigest));
        }
    });
}

#[test]
fn sizes_and_ranges_at_the_end_of_numbers_are_faults_like_others() {
    run(async {
        for chunk in [None, Some(1000)] {
            let (layer, config) = (digest(b"x"), b"{}");
            let named = |digest: &str, size: u64| serde_json::json!({ "digest": digest, "size": size });
            let layers = [named(&layer, u64::MAX)];
            let manifest = serde_json::json!({ "config": named(&digest(config), 2), "layers": layers });
            let manifest = manifest.to_string().into_bytes();
            let server = Server::start(move |asked, _| match asked.what() {
                what if what.contains("/manifests/") => Answer::new(200, &manifest)
                    .with("Docker-Content-Digest", &digest(&manifest))
                    .with("Content-Type", "application/vnd.oci.image.manifest.v1+json"),
                what if what.ends_with(&layer) => match asked.from() {
                    None => Answer::new(200, b"x").until_close(),
                    Some(from) => {
                        let range = format!("bytes {from}-{}/{}", u64::MAX - 1, u64::MAX);
                        Answer::new(206, b"x").until_close().with("Content-Range", &range)
                    }
                },
                _ => Answer::new(200, config),
            })
            .await;
            let reading = Reading { chunk, ..reading() };
            let (finished, _) =
                pull(&puller(Client::Containerd, reading), &server.url("/contoso/app:v1")).await;
            assert_eq!(finished.outcome, Outcome::Short, "{chunk:?}: {:?}", finished.failure);
        }
        let server = Server::start(|_, _| {
            Answer::new(206, b"x").until_close().with("Content-Range", &format!("bytes 0-{}/*", u64::MAX))
        })
        .await;
        let puller = puller(Client::Containerd, Reading { chunk: Some(1000), ..reading() });
        let path = format!("/v2/contoso/app/blobs/{}", digest(b"x"));
        let (finished, _) = pull(&puller, &server.url(&path)).await;
        assert_eq!(finished.outcome, Outcome::Short, "{:?}", finished.failure);
    });
}

#[test]
fn what_a_server_says_at_length_is_told_in_short() {
    run(async {
        let long = "x".repeat(3_000_000);
        for body in [format!("\"{long}\""), format!("{{\"mediaType\":\"{long}\"}}")] {
            let server = Server::start(move |_, _| Answer::new(200, body.as_bytes())).await;
            let (finished, _) = pull(&puller(Client::Plain, reading()), &server.url("/contoso/app:v1")).await;
            let failure = finished.failure.expect("it fails");
            assert_eq!(failure.outcome, Outcome::Protocol);
            assert!(failure.detail.chars().count() < 500, "{} characters", failure.detail.chars().count());
        }
        // Of an error no more is read than may hold its code.
        let server = Server::start(|_, _| Answer::new(500, &vec![b' '; 3_000_000])).await;
        let (finished, seen) = pull(&puller(Client::Plain, reading()), &server.url("/contoso/app:v1")).await;
        assert_eq!(finished.outcome, Outcome::Status);
        assert!(seen.received.get() < 200_000, "{}", seen.received.get());
    });
}

#[test]
fn a_server_that_says_nothing_more_is_a_timeout_in_every_phase_under_way() {
    run(async {
        let reading = || Reading { timeout: Duration::from_millis(200), ..reading() };
        let (outcome, detail) =
            outcome_with(reading(), |asked, body| Answer::file(asked, body).stalled_at(100_000)).await;
        assert_eq!(outcome, Outcome::Timeout);
        assert!(
            detail.starts_with("the pull had not ended within 200ms, after 100000 bytes; GET http"),
            "{detail}"
        );
        let (outcome, _) = outcome_with(reading(), |_, _| Answer::raw(b"").stalled_at(0)).await;
        assert_eq!(outcome, Outcome::Timeout);
    });
}

#[test]
fn a_port_that_nobody_listens_on_is_refused_and_a_name_without_an_address_too() {
    run(async {
        let closed =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
        for (host, phase) in
            [(closed.to_string(), Phase::Connect), ("nobody.invalid:1".to_owned(), Phase::Resolve)]
        {
            let (finished, seen) =
                pull(&puller(Client::Plain, reading()), &format!("http://{host}/a/b:c")).await;
            assert_eq!(finished.outcome, Outcome::Refused, "{:?}", finished.failure);
            assert_eq!(seen.of(phase), [Outcome::Refused]);
            assert_eq!(seen.of(Phase::Manifest), [Outcome::Refused]);
            assert_eq!((seen.requests.get(), seen.connections.get()), (0, 0));
        }
    });
}

#[test]
fn a_kept_connection_that_the_server_closed_is_replaced_without_a_word() {
    run(async {
        let body = bytes(1000, 1);
        let path = format!("/v2/contoso/app/blobs/{}", digest(&body));
        // The server closes after each answer without having said so.
        let server = Server::start(move |asked, _| Answer::file(asked, &body).closing()).await;
        let puller = puller(Client::Plain, reading());
        for connections in [1, 1, 1] {
            let (finished, seen) = pull(&puller, &server.url(&path)).await;
            assert_eq!(finished.outcome, Outcome::Ok, "{:?}", finished.failure);
            assert_eq!(seen.connections.get(), connections);
        }
        assert_eq!(server.asked().len(), 3);
    });
}

#[test]
fn a_slow_reader_takes_the_time_that_its_rate_gives() {
    run(async {
        for hash in [true, false] {
            let body = bytes(300_000, 1);
            let path = format!("/v2/contoso/app/blobs/{}", digest(&body));
            let server = Server::start(move |asked, _| Answer::file(asked, &body)).await;
            let reading = Reading { hash, rate: Some(1_000_000), ..reading() };
            let (finished, _) = pull(&puller(Client::Plain, reading), &server.url(&path)).await;
            assert_eq!(finished.outcome, Outcome::Ok, "{:?}", finished.failure);
            // No upper bound: the machine may be busy. 32 KiB come with the head.
            assert!(finished.latency() >= Duration::from_millis(260), "{:?}", finished.latency());
        }
    });
}
