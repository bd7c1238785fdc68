//! Blobs that are read in parts: chunks at once, and ranges of a lazy pull.

use std::cell::Cell;
use std::rc::Rc;

use dataproxy_loadtest::outcome::Outcome;
use dataproxy_loadtest::phase::Phase;
use dataproxy_loadtest::plan::{Client, Ranges, Reading};
use dataproxy_loadtest::pull::Puller;

use crate::image::{Image, bytes, digest};
use crate::seen::{pull, puller, reading, run};
use crate::server::{Answer, Asked, Server};

fn sorted_ranges(server: &Server) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = server.asked().iter().filter_map(Asked::range).collect();
    ranges.sort_unstable();
    ranges
}

#[test]
fn chunks_are_asked_for_without_an_end_and_hung_up_on() {
    run(async {
        for hash in [true, false] {
            let image = Image::new(&[1_000_000]);
            let path = image.path(&image.layers[0]);
            let subjects = [path.clone(), "/contoso/app:v1".to_owned()];
            let server = Server::start(move |asked, _| image.answer(asked)).await;
            let reading = Reading { chunk: Some(300_000), hash, ..reading() };
            let puller = puller(Client::Containerd, reading);
            for subject in subjects {
                let before = server.asked().len();
                let (finished, seen) = pull(&puller, &server.url(&subject)).await;
                assert_eq!(finished.outcome, Outcome::Ok, "{:?}", finished.failure);
                let mut ranges: Vec<_> = server.asked()[before..]
                    .iter()
                    .filter(|asked| asked.what().ends_with(&path))
                    .map(|asked| asked.field("Range").expect("a range").to_owned())
                    .collect();
                ranges.sort_unstable();
                assert_eq!(ranges, ["bytes=0-", "bytes=300000-", "bytes=600000-", "bytes=900000-"]);
                assert!(finished.bytes >= 1_000_000 && finished.bytes < 1_010_000, "{}", finished.bytes);
                assert!(seen.of(Phase::Blob).iter().all(|outcome| *outcome == Outcome::Ok));
            }
        }
    });
}

#[test]
fn a_server_without_ranges_is_read_in_one_piece() {
    run(async {
        let body = bytes(1_000_000, 1);
        let path = format!("/v2/contoso/app/blobs/{}", digest(&body));
        let server = Server::start(move |_, _| Answer::new(200, &body)).await;
        let reading = Reading { chunk: Some(300_000), ..reading() };
        let (finished, _) = pull(&puller(Client::Containerd, reading), &server.url(&path)).await;
        assert_eq!((finished.outcome, finished.bytes), (Outcome::Ok, 1_000_000), "{:?}", finished.failure);
        assert_eq!(server.asked().len(), 1);
    });
}

#[test]
fn a_flipped_byte_in_any_chunk_is_a_wrong_digest_and_a_cut_one_goes_on() {
    run(async {
        for at in [0, 299_999, 300_000, 999_999] {
            let body = bytes(1_000_000, 1);
            let path = format!("/v2/contoso/app/blobs/{}", digest(&body));
            let server = Server::start(move |asked, _| {
                let mut body = body.clone();
                body[at] ^= 1;
                Answer::file(asked, &body)
            })
            .await;
            let reading = Reading { chunk: Some(300_000), ..reading() };
            let (finished, _) = pull(&puller(Client::Containerd, reading), &server.url(&path)).await;
            assert_eq!(finished.outcome, Outcome::WrongDigest, "{at}");
        }
        let body = bytes(1_000_000, 1);
        let path = format!("/v2/contoso/app/blobs/{}", digest(&body));
        let cut = Cell::new(false);
        let server = Server::start(move |asked, _| {
            let answer = Answer::file(asked, &body);
            if asked.from() == Some(300_000) && !cut.replace(true) { answer.cut_at(1234) } else { answer }
        })
        .await;
        let reading = Reading { chunk: Some(300_000), ..reading() };
        let (finished, _) = pull(&puller(Client::Containerd, reading), &server.url(&path)).await;
        assert_eq!((finished.outcome, finished.resumes), (Outcome::Resumed, 1), "{:?}", finished.failure);
        assert!(server.asked().iter().any(|asked| asked.field("Range") == Some("bytes=301234-")));
    });
}

#[test]
fn a_lazy_pull_reads_so_many_closed_ranges_of_each_layer_at_places_of_its_seed() {
    run(async {
        let image = Rc::new(Image::new(&[500_000, 100]));
        let mut all = Vec::new();
        for seed in [1, 1, 2] {
            let served = Rc::clone(&image);
            let server = Server::start(move |asked, _| served.answer(asked)).await;
            let reading = Reading { ranges: Some(Ranges { count: 5, size: 4096 }), ..reading() };
            let access = dataproxy_loadtest::access::AccessOptions::default().open().expect("access");
            let puller = Puller::new(access.into(), Client::Containerd, reading, seed).expect("a puller");
            let (finished, seen) = pull(&puller, &server.url("/contoso/app:v1")).await;
            assert_eq!(finished.outcome, Outcome::Ok, "{:?}", finished.failure);
            let ranges = sorted_ranges(&server);
            assert_eq!(ranges.len(), 10);
            assert_eq!(
                ranges.iter().filter(|range| **range == (0, 99)).count(),
                5,
                "the small layer is read whole"
            );
            assert!(ranges.iter().all(|(first, last)| last - first == 4095 || (*first, *last) == (0, 99)));
            assert_eq!(seen.of(Phase::FirstByte).len(), 11, "the config is read whole");
            all.push(ranges);
        }
        assert_eq!(all[0], all[1]);
        assert_ne!(all[0], all[2]);
    });
}

#[test]
fn a_lazy_pull_of_one_blob_asks_for_its_size_once() {
    run(async {
        let body = bytes(500_000, 1);
        let path = format!("/v2/contoso/app/blobs/{}", digest(&body));
        let server = Server::start(move |asked, _| Answer::file(asked, &body)).await;
        let reading = Reading { ranges: Some(Ranges { count: 2, size: 10 }), ..reading() };
        let puller = puller(Client::Plain, reading);
        for _ in 0..2 {
            assert_eq!(pull(&puller, &server.url(&path)).await.0.outcome, Outcome::Ok);
        }
        let heads = server.whats().iter().filter(|what| what.starts_with("HEAD ")).count();
        assert_eq!((heads, server.asked().len()), (1, 5));
    });
}

/// Answers a range of a body, given its first and last byte.
type Part = fn(&[u8], usize, usize) -> Answer;

#[test]
fn a_range_that_is_not_the_one_asked_for_is_caught_without_a_digest() {
    run(async {
        let answers: [Part; 4] = [
            |body, _, _| Answer::new(200, body),
            |body, first, last| Answer::new(206, &body[first..=last]),
            |body, first, last| {
                Answer::new(206, &body[first..last])
                    .with("Content-Range", &format!("bytes {first}-{}/500000", last - 1))
            },
            |body, first, last| {
                Answer::new(206, &body[first..=last])
                    .with("Content-Range", &format!("bytes {first}-{last}/500001"))
            },
        ];
        for answer in answers {
            let body = bytes(500_000, 1);
            let path = format!("/v2/contoso/app/blobs/{}", digest(&body));
            let server = Server::start(move |asked, _| match asked.range() {
                Some((first, last)) => answer(&body, first, last),
                None => Answer::new(200, &body),
            })
            .await;
            let reading = Reading { ranges: Some(Ranges { count: 1, size: 1000 }), ..reading() };
            let (finished, _) = pull(&puller(Client::Plain, reading), &server.url(&path)).await;
            assert_eq!(finished.outcome, Outcome::Protocol, "{:?}", finished.failure);
        }
    });
}
