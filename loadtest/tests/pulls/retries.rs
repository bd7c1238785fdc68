//! What each client does after a cut or a status, and how often.

use std::num::NonZeroU32;

use dataproxy_loadtest::outcome::Outcome;
use dataproxy_loadtest::phase::Phase;
use dataproxy_loadtest::plan::Client;
use dataproxy_loadtest::sink::Finished;

use crate::image::{Image, bytes, digest};
use crate::seen::{Seen, pull, puller, reading, run};
use crate::server::{Answer, Asked, Server};

const SIZE: usize = 3_000_000;

struct Tried {
    finished: Finished,
    seen: Seen,
    /// The ranges that were asked for; `None` for a request without one.
    ranges: Vec<Option<String>>,
}

/// Pulls one blob, with the client's pauses made short.
async fn tried(client: Client, answer: impl Fn(&Asked, &[u8], usize) -> Answer + 'static) -> Tried {
    let body = bytes(SIZE, 1);
    let path = format!("/v2/contoso/app/blobs/{}", digest(&body));
    let server = Server::start(move |asked, before| answer(asked, &body, before)).await;
    let puller = puller(client, reading()).in_a_hurry(NonZeroU32::new(1000).expect("not 0"));
    let (finished, seen) = pull(&puller, &server.url(&path)).await;
    let ranges = server.asked().iter().map(|asked| asked.field("Range").map(str::to_owned)).collect();
    Tried { finished, seen, ranges }
}

fn rest(at: usize) -> Option<String> {
    Some(format!("bytes={at}-"))
}

#[test]
fn containerd_goes_on_at_the_byte_after_each_fin() {
    run(async {
        let Tried { finished, seen, ranges } = tried(Client::Containerd, |asked, body, before| {
            let answer = Answer::file(asked, body);
            match before {
                0 => answer.cut_at(1_000_000),
                1 => answer.cut_at(999_999),
                _ => answer,
            }
        })
        .await;
        assert_eq!(finished.outcome, Outcome::Resumed, "{:?}", finished.failure);
        assert_eq!(ranges, [None, rest(1_000_000), rest(1_999_999)]);
        assert_eq!((finished.resumes, finished.bytes), (2, SIZE as u64));
        assert_eq!(seen.of(Phase::Blob), [Outcome::Resumed]);
        assert_eq!(seen.of(Phase::FirstByte), [Outcome::Ok; 3]);
    });
}

#[test]
fn containerd_gives_up_after_three_more_cuts_at_one_place() {
    run(async {
        let Tried { finished, ranges, .. } = tried(Client::Containerd, |asked, body, before| {
            Answer::file(asked, body).cut_at(if before == 0 { 500 } else { 0 })
        })
        .await;
        assert_eq!(finished.outcome, Outcome::Short, "{:?}", finished.failure);
        assert_eq!(ranges, [None, rest(500), rest(500), rest(500)]);
    });
}

#[test]
fn containerd_reads_past_what_it_has_when_its_range_is_ignored() {
    run(async {
        let Tried { finished, .. } = tried(Client::Containerd, |asked, body, before| match before {
            0 => Answer::file(asked, body).cut_at(1_234_567),
            _ => Answer::new(200, body),
        })
        .await;
        assert_eq!(finished.outcome, Outcome::Resumed, "{:?}", finished.failure);
        assert_eq!(finished.bytes, (SIZE + 1_234_567) as u64);
    });
}

#[test]
fn containerd_fails_at_a_reset_and_at_a_body_that_ends_by_itself() {
    run(async {
        let reset =
            tried(Client::Containerd, |asked, body, _| Answer::file(asked, body).reset_at(1000)).await;
        assert_eq!((reset.finished.outcome, reset.ranges.len()), (Outcome::Reset, 1));
        let image = Image::new(&[1000]);
        let path = image.path(&image.layers[0]);
        let server = Server::start(move |asked, _| {
            if asked.what().ends_with(&path) {
                return Answer::new(200, &image.layers[0][..900]).chunked(&[100]);
            }
            image.answer(asked)
        })
        .await;
        let (finished, _) =
            pull(&puller(Client::Containerd, reading()), &server.url("/contoso/app:v1")).await;
        assert_eq!((finished.outcome, finished.resumes), (Outcome::Short, 0), "{:?}", finished.failure);
    });
}

/// Pulls an image whose one layer comes whole, in chunks, and is cut before the last chunk of no bytes.
async fn cut_before_the_last_chunk(client: Client) -> (Finished, Vec<Option<String>>) {
    let image = Image::new(&[100_000]);
    let path = image.path(&image.layers[0]);
    let layer = path.clone();
    let server = Server::start(move |asked, _| {
        let answer = image.answer(asked);
        let is_whole = asked.what().ends_with(&layer) && asked.field("Range").is_none();
        if is_whole { answer.chunked_without_end(&[7000]) } else { answer }
    })
    .await;
    let puller = puller(client, reading()).in_a_hurry(NonZeroU32::new(1000).expect("not 0"));
    let (finished, _) = pull(&puller, &server.url("/contoso/app:v1")).await;
    let asked = server.asked();
    let of_layer = asked.iter().filter(|asked| asked.what().ends_with(&path));
    (finished, of_layer.map(|asked| asked.field("Range").map(str::to_owned)).collect())
}

#[test]
fn a_cut_between_the_last_byte_and_the_last_chunk_is_borne_by_containerd_alone() {
    run(async {
        // The size is the manifest's, so that there is nothing left to ask for.
        let (finished, ranges) = cut_before_the_last_chunk(Client::Containerd).await;
        assert_eq!((finished.outcome, finished.resumes), (Outcome::Resumed, 0), "{:?}", finished.failure);
        assert_eq!(ranges, [None]);
        // These ask for the bytes behind the last one, and the 416 ends it.
        let (finished, ranges) = cut_before_the_last_chunk(Client::ContainersImage).await;
        assert_eq!(finished.outcome, Outcome::Short, "{:?}", finished.failure);
        assert!(finished.failure.is_some_and(|failure| failure.detail.contains("status 416")));
        assert_eq!(ranges, [None, rest(100_000)]);
        let (finished, ranges) = cut_before_the_last_chunk(Client::Docker).await;
        assert_eq!(finished.outcome, Outcome::Status, "{:?}", finished.failure);
        assert_eq!(ranges, [None, rest(100_000), rest(100_000)]);
        let (finished, ranges) = cut_before_the_last_chunk(Client::Plain).await;
        assert_eq!((finished.outcome, ranges.len()), (Outcome::Short, 1), "{:?}", finished.failure);
    });
}

#[test]
fn containerd_asks_for_the_rest_of_a_blob_whose_size_nobody_has_said() {
    run(async {
        let Tried { finished, ranges, .. } = tried(Client::Containerd, |asked, body, before| {
            let answer = Answer::file(asked, body);
            if before == 0 { answer.chunked_without_end(&[70_000]) } else { answer }
        })
        .await;
        assert_eq!(finished.outcome, Outcome::Status, "{:?}", finished.failure);
        assert_eq!(ranges, [None, rest(SIZE)]);
    });
}

#[test]
fn another_range_than_was_asked_for_is_a_protocol_fault() {
    run(async {
        for (range, length) in [
            ("bytes 999-2999999/3000000", 2_999_001),
            ("bytes 1000-1999/3000000", 1000),
            ("bytes 1000-2999998/2999999", 2_998_999),
        ] {
            let Tried { finished, .. } = tried(Client::Containerd, move |asked, body, before| match before {
                0 => Answer::file(asked, body).cut_at(1000),
                _ => Answer::new(206, &body[..length]).with("Content-Range", range),
            })
            .await;
            assert_eq!(finished.outcome, Outcome::Protocol, "{range} {:?}", finished.failure);
        }
    });
}

#[test]
fn containerd_sends_six_times_at_429_and_once_at_503() {
    run(async {
        for (status, sends) in [(429, 6), (408, 6), (503, 1), (502, 1), (404, 1)] {
            let Tried { finished, ranges, .. } =
                tried(Client::Containerd, move |_, _, _| Answer::new(status, b"").with("Retry-After", "3"))
                    .await;
            assert_eq!((finished.outcome, ranges.len()), (Outcome::Status, sends), "{status}");
            assert_eq!(finished.failure.and_then(|failure| failure.status), Some(status));
        }
        let once = tried(Client::Containerd, |asked, body, before| match before {
            0 => Answer::new(429, b""),
            _ => Answer::file(asked, body),
        })
        .await;
        assert_eq!(once.finished.outcome, Outcome::Ok);
        assert_eq!(once.seen.of(Phase::FirstByte), [Outcome::Status, Outcome::Ok]);
    });
}

#[test]
fn docker_goes_on_at_the_byte_after_a_fin_and_after_a_reset() {
    run(async {
        for reset in [true, false] {
            let Tried { finished, ranges, seen } = tried(Client::Docker, move |asked, body, before| {
                let answer = Answer::file(asked, body);
                match before {
                    0 | 1 if reset => answer.reset_at(1_000_000),
                    0 | 1 => answer.cut_at(1_000_000),
                    _ => answer,
                }
            })
            .await;
            assert_eq!(finished.outcome, Outcome::Resumed, "{:?}", finished.failure);
            // A reset may overtake bytes that were sent before it.
            assert_eq!((ranges.len(), finished.resumes), (3, 2), "{ranges:?}");
            if !reset {
                assert_eq!(ranges, [None, rest(1_000_000), rest(2_000_000)]);
            }
            assert_eq!(seen.connections.get(), 3);
        }
    });
}

#[test]
fn docker_waits_five_seconds_before_its_second_attempt() {
    run(async {
        let image = Image::new(&[1000]);
        let path = image.path(&image.layers[0]);
        let url = path.clone();
        let asked = std::cell::Cell::new(false);
        let server = Server::start(move |request, _| {
            let answer = image.answer(request);
            if request.what().ends_with(&path) && !asked.replace(true) { answer.cut_at(10) } else { answer }
        })
        .await;
        let (finished, _) = pull(&puller(Client::Docker, reading()), &server.url(&url)).await;
        assert_eq!(finished.outcome, Outcome::Resumed, "{:?}", finished.failure);
        assert!(finished.latency() >= std::time::Duration::from_secs(5));
    });
}

#[test]
fn docker_makes_five_attempts_of_two_requests_where_no_body_comes() {
    run(async {
        let json = |code: &str| {
            let body = format!("{{\"errors\":[{{\"code\":\"{code}\"}}]}}");
            move |status| {
                Answer::new(status, body.as_bytes()).with("Content-Type", "application/json; charset=utf-8")
            }
        };
        let sends = [
            (json("UNAVAILABLE")(503), 10),
            (Answer::new(502, b"oops"), 10),
            (json("UNAVAILABLE")(429), 10),
            (json("TOOMANYREQUESTS")(429), 2),
            (Answer::new(429, b""), 2),
            (json("DENIED")(403), 2),
            (json("UNAVAILABLE")(404), 2),
        ];
        for (answer, sends) in sends {
            let shown = format!("{answer:?}");
            let Tried { finished, ranges, .. } = tried(Client::Docker, move |_, _, _| answer.clone()).await;
            assert_eq!((finished.outcome, ranges.len()), (Outcome::Status, sends), "{shown}");
        }
    });
}

#[test]
fn docker_starts_over_when_the_rest_comes_as_the_whole_or_is_wrong() {
    run(async {
        let Tried { finished, ranges, .. } = tried(Client::Docker, |asked, body, before| match before {
            0 => Answer::file(asked, body).cut_at(1000),
            // Ranges are not taken here: both requests of the attempt get all of it.
            1 | 2 => Answer::new(200, body),
            _ => Answer::file(asked, body),
        })
        .await;
        assert_eq!(finished.outcome, Outcome::Ok, "{:?}", finished.failure);
        assert_eq!(ranges, [None, rest(1000), rest(1000), None]);
        let Tried { finished, ranges, .. } = tried(Client::Docker, |asked, body, before| match before {
            0 => Answer::file(asked, body).cut_at(1000),
            1 => Answer::file(asked, &vec![0; SIZE]),
            _ => Answer::file(asked, body),
        })
        .await;
        assert_eq!(finished.outcome, Outcome::Ok, "{:?}", finished.failure);
        assert_eq!(ranges, [None, rest(1000), None]);
    });
}

#[test]
fn docker_does_not_fetch_again_what_came_wrong_in_one_piece() {
    run(async {
        let Tried { finished, ranges, .. } =
            tried(Client::Docker, |asked, _, _| Answer::file(asked, &vec![0; SIZE])).await;
        assert_eq!((finished.outcome, ranges.len()), (Outcome::WrongDigest, 1));
    });
}

#[test]
fn docker_asks_a_manifest_that_fails_once_more_by_get_and_then_fails() {
    run(async {
        let server = Server::start(|asked, _| match asked.what() {
            "GET /v2/" => Answer::new(200, b""),
            _ => Answer::new(503, b""),
        })
        .await;
        let (finished, seen) = pull(&puller(Client::Docker, reading()), &server.url("/contoso/app:v1")).await;
        assert_eq!(finished.outcome, Outcome::Status);
        assert_eq!(
            server.whats()[1..],
            ["HEAD /v2/contoso/app/manifests/v1", "GET /v2/contoso/app/manifests/v1"]
        );
        assert_eq!(seen.of(Phase::Manifest), [Outcome::Status; 2]);
    });
}

#[test]
fn containers_image_goes_on_after_either_cut_while_there_is_progress() {
    run(async {
        for reset in [true, false] {
            let Tried { finished, ranges, .. } =
                tried(Client::ContainersImage, move |asked, body, before| {
                    let answer = Answer::file(asked, body);
                    match before {
                        0 if reset => answer.reset_at(1000),
                        0 => answer.cut_at(1000),
                        1 => answer.cut_at(1_500_000),
                        _ => answer,
                    }
                })
                .await;
            assert_eq!(finished.outcome, Outcome::Resumed, "{:?}", finished.failure);
            assert_eq!((ranges.len(), finished.resumes), (3, 2), "{ranges:?}");
        }
        // The second cut comes too soon after the first.
        let Tried { finished, ranges, .. } =
            tried(Client::ContainersImage, |asked, body, _| Answer::file(asked, body).cut_at(1000)).await;
        assert_eq!((finished.outcome, ranges), (Outcome::Short, vec![None, rest(1000)]));
    });
}

#[test]
fn containers_image_waits_as_long_as_the_server_says_at_429_alone() {
    run(async {
        for (status, sends) in [(429, 5), (503, 1)] {
            let Tried { finished, ranges, .. } = tried(Client::ContainersImage, move |_, _, _| {
                Answer::new(status, b"").with("Retry-After", "2")
            })
            .await;
            assert_eq!((finished.outcome, ranges.len()), (Outcome::Status, sends), "{status}");
        }
    });
}

#[test]
fn plain_retries_nothing() {
    run(async {
        let cut = tried(Client::Plain, |asked, body, _| Answer::file(asked, body).cut_at(1000)).await;
        assert_eq!((cut.finished.outcome, cut.ranges.len()), (Outcome::Short, 1));
        let status = tried(Client::Plain, |_, _, _| Answer::new(429, b"")).await;
        assert_eq!((status.finished.outcome, status.ranges.len()), (Outcome::Status, 1));
    });
}
