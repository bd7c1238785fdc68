//! What holds of every answer, whole or broken, however its bytes are cut.

use proptest::prelude::*;

use super::answer::Answer;
use super::chunked::Chunked;
use super::head;
use super::{Head, Intake, Taker};

/// Takes everything, or so much.
#[derive(Debug, Default, PartialEq)]
struct Taken {
    status: u16,
    etag: Option<String>,
    body: Vec<u8>,
    most: Option<usize>,
}

impl Taker for Taken {
    fn head(&mut self, head: &Head<'_>) -> Intake {
        self.status = head.status;
        self.etag = head.field("ETag").map(str::to_owned);
        Intake::Show
    }

    fn body(&mut self, _count: u64, bytes: Option<&[u8]>) {
        self.body.extend_from_slice(bytes.unwrap_or_default());
    }

    fn wanted(&self) -> u64 {
        self.most.map_or(u64::MAX, |most| most.saturating_sub(self.body.len()) as u64)
    }
}

/// What came of an answer: what was taken, whether the connection can go on, and what is wrong.
#[derive(Debug, PartialEq)]
struct Came {
    taken: Taken,
    reusable: bool,
    wrong: Option<String>,
}

/// Reads `bytes`, cut at these places, up to the end of the connection.
fn came(bytes: &[u8], cuts: &[usize], most: Option<usize>) -> Came {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    let (mut answer, mut taken) = (Answer::new(false), Taken { most, ..Taken::default() });
    let mut wrong = None;
    for pair in places.windows(2) {
        // As a connection does: after the end nothing is read.
        if answer.is_done() || pair[0] == pair[1] {
            continue;
        }
        if let Err(fault) = answer.push(&bytes[pair[0]..pair[1]], &mut taken) {
            wrong = Some(fault.what.to_string());
            break;
        }
    }
    if wrong.is_none() && !answer.is_done() {
        wrong = answer.end(false).err().map(|fault| fault.what.to_string());
    }
    Came { taken, reusable: answer.leaves_reusable(), wrong }
}

fn chunked(body: &[u8], sizes: &[usize], extension: &str, trailer: &str) -> Vec<u8> {
    let (mut coded, mut rest) = (Vec::new(), body);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at(rest.len().min(*size));
        coded.extend_from_slice(format!("{:X}{extension}\r\n", now.len()).as_bytes());
        coded.extend_from_slice(now);
        coded.extend_from_slice(b"\r\n");
        rest = later;
    }
    coded.extend_from_slice(format!("0{extension}\r\n{trailer}\r\n").as_bytes());
    coded
}

fn whole() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let parts = (
        any::<bool>(),
        prop_oneof![Just(""), Just("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")],
        prop::collection::vec(any::<u8>(), 0..600),
        prop::collection::vec(1_usize..200, 1..5),
        prop_oneof![Just(""), Just(";name=\"value\""), Just(" ")],
        prop_oneof![Just(""), Just("Digest: x\r\nMore: y\r\n")],
    );
    parts.prop_map(|(by_length, interim, body, sizes, extension, trailer)| {
        let mut bytes = format!("{interim}HTTP/1.1 200 OK\r\nETag: \"e\"\r\n").into_bytes();
        if by_length {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(&body);
        } else {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            bytes.extend_from_slice(&chunked(&body, &sizes, extension, trailer));
        }
        (bytes, body)
    })
}

/// Bytes that look like HTTP for a while.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Just(b"Content-Length: 18446744073709551615\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Content-Range: bytes 0-18446744073709551615/*\r\n".to_vec()),
        Just(b"FFFFFFFFFFFFFFFF\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"0\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_answer_is_the_same_however_its_bytes_are_cut(
        (bytes, body) in whole(),
        cuts in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let found = came(&bytes, &cuts, None);
        prop_assert_eq!(found.taken, Taken { status: 200, etag: Some("\"e\"".to_owned()), body, most: None });
        prop_assert!(found.reusable && found.wrong.is_none(), "{:?}", found.wrong);
    }

    #[test]
    fn no_part_of_an_answer_passes_for_the_whole(
        (bytes, body) in whole(),
        cuts in prop::collection::vec(any::<usize>(), 0..10),
        end in any::<usize>(),
    ) {
        let found = came(&bytes[..end % bytes.len()], &cuts, None);
        prop_assert!(found.wrong.is_some() && !found.reusable, "{found:?}");
        prop_assert!(body.starts_with(&found.taken.body));
    }

    #[test]
    fn who_wants_a_part_gets_that_part_and_no_connection_back_unless_it_was_all(
        (bytes, body) in whole(),
        cuts in prop::collection::vec(any::<usize>(), 0..10),
        most in 0_usize..700,
    ) {
        let found = came(&bytes, &cuts, Some(most));
        prop_assert_eq!(&found.taken.body[..], &body[..most.min(body.len())]);
        prop_assert!(found.wrong.is_none());
        prop_assert!(!found.reusable || body.len() <= most);
    }

    #[test]
    fn what_is_nearly_http_is_an_answer_or_a_fault_the_same_however_it_is_cut(
        bytes in nearly(),
        cuts in prop::collection::vec(any::<usize>(), 0..10),
    ) {
        let (whole, cut) = (came(&bytes, &[], Some(1000)), came(&bytes, &cuts, Some(1000)));
        // How much follows an end is only known of what was read with it.
        if !whole.wrong.as_ref().is_some_and(|wrong| wrong.contains("after the end of the body")) {
            prop_assert_eq!(&cut.taken, &whole.taken);
            prop_assert_eq!(cut.wrong.is_some(), whole.wrong.is_some(), "{:?} {:?}", cut, whole);
        }
    }

    #[test]
    fn the_chunked_coding_takes_no_more_than_it_is_given(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
        begin in prop_oneof![Just(&b""[..]), Just(&b"5\r\n"[..]), Just(&b"0\r\n"[..])],
    ) {
        let mut state = Chunked::new();
        for piece in std::iter::once(begin).chain(pieces.iter().map(Vec::as_slice)) {
            let Ok(count) = state.frame(piece) else { break };
            prop_assert!(count <= piece.len());
            let left = state.left();
            prop_assert!(left > 0 || count == piece.len() || state == Chunked::Done);
            state.took(left.min((piece.len() - count) as u64));
        }
    }

    #[test]
    fn a_content_range_reads_as_it_is_written(
        first in any::<u64>(), length in any::<u64>(), behind in prop::option::of(any::<u64>()),
    ) {
        let last = first.saturating_add(length);
        let total = behind.and_then(|behind| last.checked_add(1)?.checked_add(behind));
        let told = total.map_or("*".to_owned(), |total| total.to_string());
        let bytes = format!("HTTP/1.1 206 Part\r\nContent-Range: bytes {first}-{last}/{told}\r\n\r\n");
        let read = head::read(bytes.as_bytes(), false, |head, _| head.content_range()).expect("valid");
        let range = read.expect("whole").1.expect("a range");
        prop_assert_eq!((range.first, range.last, range.total), (first, last, total));
    }
}
