use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn of(value: &str) -> Ranged {
    let mut headers = HeaderMap::new();
    headers.insert(header::RANGE, HeaderValue::from_str(value).expect("a header"));
    Ranged::of(&headers)
}

fn closed(first: u64, last: u64) -> Ranged {
    Ranged::Part(Wanted::Closed { first, last })
}

#[test]
fn the_three_forms_are_understood() {
    assert_eq!(of("bytes=500-1499"), closed(500, 1499));
    assert_eq!(of("bytes=500-"), Ranged::Part(Wanted::From(500)));
    assert_eq!(of("bytes=-500"), Ranged::Part(Wanted::Suffix(500)));
    assert_eq!(of("bytes=0-"), Ranged::Part(Wanted::From(0)));
    assert_eq!(of("bytes=0-0"), closed(0, 0));
    assert_eq!(of("bytes=007-08"), closed(7, 8));
}

#[test]
fn the_unit_has_no_case_and_lists_may_have_empty_elements() {
    assert_eq!(of("BYTES=1-2"), closed(1, 2));
    assert_eq!(of("bytes= 1-2 "), closed(1, 2));
    assert_eq!(of("bytes=,\t1-2,"), closed(1, 2));
}

#[test]
fn a_range_that_no_blob_has_is_unsatisfiable() {
    for value in [
        "bytes=500-0",
        "bytes=1-0",
        "bytes=-0",
        "bytes=-00",
        "bytes=18446744073709551616-",
        "bytes=99999999999999999999999-99999999999999999999999",
    ] {
        assert_eq!(of(value), Ranged::Unsatisfiable, "{value}");
    }
}

#[test]
fn numbers_that_overflow_mean_the_end() {
    assert_eq!(of("bytes=5-18446744073709551615"), closed(5, u64::MAX));
    assert_eq!(of("bytes=5-18446744073709551616"), closed(5, u64::MAX));
    assert_eq!(of("bytes=-18446744073709551616"), Ranged::Part(Wanted::Suffix(u64::MAX)));
    assert_eq!(of("bytes=18446744073709551615-"), Ranged::Part(Wanted::From(u64::MAX)));
}

#[test]
fn what_is_not_understood_is_ignored() {
    for value in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=1--2",
        "bytes=+1-2",
        "bytes=0x10-0x20",
        "bytes=1 - 2",
        "bytes =1-2",
        "bytes:1-2",
        "items=1-2",
        "bytes=1-2;q=1",
        "bytes=1_0-2_0",
        "bytes=1.5-2",
        "1-2",
        "=1-2",
    ] {
        assert_eq!(of(value), Ranged::Whole, "{value:?}");
    }
}

#[test]
fn several_ranges_are_answered_whole() {
    assert_eq!(of("bytes=0-1,5-6"), Ranged::Whole);
    assert_eq!(of("bytes=0-1, 0-1"), Ranged::Whole);
    let many = format!("bytes={}", "0-,".repeat(1000));
    assert_eq!(of(&many), Ranged::Whole);
    let mut headers = HeaderMap::new();
    headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
    headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
    assert_eq!(Ranged::of(&headers), Ranged::Whole);
    assert_eq!(Ranged::of(&HeaderMap::new()), Ranged::Whole);
}

#[test]
fn a_value_that_is_no_text_is_ignored() {
    let mut headers = HeaderMap::new();
    headers.insert(header::RANGE, HeaderValue::from_bytes(b"bytes=0-1\xff").expect("a header"));
    assert_eq!(Ranged::of(&headers), Ranged::Whole);
}

/// The ranges of the OCI conformance suite, on its blob of 2048 bytes.
#[test]
fn the_conformance_suites_ranges_resolve_as_it_expects() {
    let bytes = |value| match of(value) {
        Ranged::Part(wanted) => wanted.resolve(2048).ok(),
        Ranged::Whole | Ranged::Unsatisfiable => None,
    };
    assert_eq!(bytes("bytes=500-1499"), Some(500..1500));
    assert_eq!(bytes("bytes=500-"), Some(500..2048));
    assert_eq!(bytes("bytes=-500"), Some(1548..2048));
    assert_eq!(bytes("bytes=2000-5000"), Some(2000..2048));
    assert_eq!(bytes("bytes=500-0"), None);
    assert_eq!(bytes("bytes=5000-10000"), None);
}

#[test]
fn a_range_from_the_start_of_an_empty_blob_means_the_empty_whole() {
    for (value, covers) in [
        ("bytes=0-", true),
        ("bytes=0-9", true),
        ("bytes=-5", true),
        ("bytes=1-", false),
        ("bytes=1-5", false),
    ] {
        let Ranged::Part(wanted) = of(value) else { panic!("{value}") };
        assert_eq!(covers_empty(wanted), covers, "{value}");
    }
}

proptest! {
    #[test]
    fn a_part_lies_inside_the_blob_and_is_what_was_asked(
        first in any::<u64>(), length in 1..=u64::MAX, size in 1..=u64::MAX,
    ) {
        let last = first.saturating_add(length - 1);
        let Ranged::Part(wanted) = of(&format!("bytes={first}-{last}")) else { panic!("not a part") };
        match wanted.resolve(size) {
            Ok(range) => {
                prop_assert_eq!(range.start, first);
                prop_assert_eq!(range.end, last.saturating_add(1).min(size));
                prop_assert!(range.start < range.end && range.end <= size);
            }
            Err(_) => prop_assert!(first >= size),
        }
    }

    #[test]
    fn no_value_panics(value in "bytes=[0-9,\\- \t]{0,40}|[ -~]{0,40}", size in any::<u64>()) {
        if let Ranged::Part(wanted) = of(&value) && let Ok(range) = wanted.resolve(size) {
            prop_assert!(range.end <= size);
        }
    }
}
