//! What nodes of a stamp show each other: HMAC-SHA256 by a key that they share, over what is asked, by whom, of whom and when; and
//! over what an answer says, with the question's own signature in it.
//!
//! A question is good for one part of one blob of one registry, at one node, for a minute. An answer is good for one question. The
//! bytes themselves are not signed: they are held to their digest.

use std::fmt;

use dataproxy_cache::Digest;
use dataproxy_router_api::{NodeName, RegistryName, StampName};
use http::{HeaderMap, HeaderValue, header};

use crate::redirect::Keys;

/// How far two nodes' clocks may be apart, in seconds.
pub(super) const SKEW_MAX: u64 = 60;
const SCHEME: &str = "Dataproxy-Stamp";
const QUESTION: &str = "dataproxy stamp question 1";
const ANSWER: &str = "dataproxy stamp answer 1";

/// What is asked of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Bytes of a blob, both offsets included.
    Read { registry: RegistryName, digest: Digest, first: u64, last: u64 },
    /// Whether it would lend.
    Ready,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { registry, digest, first, last } => write!(f, "{registry} {digest} {first}-{last}"),
            Self::Ready => f.write_str("ready"),
        }
    }
}

/// What an answer says of what it lends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Size of the blob in bytes.
    pub(super) size: u64,
    /// First and last offset that follow.
    pub(super) range: (u64, u64),
    /// The version of the object in storage.
    pub(super) version: String,
}

/// The proof that a node of this stamp has asked this. Only [`verify`] makes one.
#[derive(Debug)]
pub(crate) struct Vouched {
    signature: String,
}

/// The two ends of a question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends<'e> {
    pub(super) stamp: &'e StampName,
    pub(super) from: &'e NodeName,
    pub(super) to: &'e NodeName,
}

fn question(ends: Ends<'_>, question: &Question, time: u64, nonce: &str) -> String {
    let Ends { stamp, from, to } = ends;
    // None of the parts can hold a line's end.
    format!("{QUESTION}\n{stamp}\n{from}\n{to}\n{question}\n{time}\n{nonce}")
}

fn answer(signature: &str, terms: Option<&Terms>) -> String {
    match terms {
        Some(Terms { size, range: (first, last), version }) => {
            format!("{ANSWER}\n{signature}\n{size}\n{first}-{last}\n{version}")
        }
        None => format!("{ANSWER}\n{signature}\nready"),
    }
}

/// Signs a question at `now`, in seconds since 1970: the value of `Authorization`, and the signature in it.
pub(super) fn sign(keys: &Keys, ends: Ends<'_>, asked: &Question, now: u64) -> Option<(HeaderValue, String)> {
    let nonce = format!("{:016x}", rand::random::<u64>());
    let signature = keys.tag(&question(ends, asked, now, &nonce));
    let value = HeaderValue::try_from(format!("{SCHEME} {} {now} {nonce} {signature}", ends.from));
    let mut value = value.ok()?;
    value.set_sensitive(true);
    Some((value, signature))
}

/// Checks that a node of `stamp` asks `to` this, now.
pub(super) fn verify(
    keys: &Keys,
    stamp: &StampName,
    to: &NodeName,
    asked: &Question,
    headers: &HeaderMap,
    now: u64,
) -> Result<Vouched, &'static str> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parts: Vec<&str> = value.split(' ').collect();
    let [SCHEME, from, time, nonce, signature] = parts[..] else { return Err("it is not signed") };
    let (Ok(from), Ok(time)) = (from.parse::<NodeName>(), time.parse::<u64>()) else {
        return Err("it is not signed as nodes sign");
    };
    let ends = Ends { stamp, from: &from, to };
    if !keys.check(&question(ends, asked, time, nonce), signature) {
        return Err("its signature is not right");
    }
    if now.abs_diff(time) > SKEW_MAX {
        return Err("it was signed at another time; do the nodes' clocks agree?");
    }
    Ok(Vouched { signature: signature.to_owned() })
}

/// Signs an answer.
pub(super) fn sign_answer(keys: &Keys, to: &Vouched, terms: Option<&Terms>) -> String {
    keys.tag(&answer(&to.signature, terms))
}

/// Whether an answer to a question with this signature is of a node that has the key.
pub(super) fn verify_answer(keys: &Keys, signature: &str, terms: Option<&Terms>, proof: &str) -> bool {
    keys.check(&answer(signature, terms), proof)
}

#[cfg(test)]
mod tests {
    use dataproxy_cache::Algorithm;

    use super::*;

    fn keys(text: &str) -> Keys {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("key");
        std::fs::write(&path, text.repeat(32)).expect("written");
        Keys::open(path, None).expect("a key")
    }

    fn read(registry: &str, content: &[u8], first: u64, last: u64) -> Question {
        let digest = Digest::of(Algorithm::Sha256, content);
        Question::Read { registry: registry.parse().expect("a name"), digest, first, last }
    }

    #[test]
    fn a_question_is_good_for_what_it_asks_of_whom_it_asks_for_a_minute_and_nothing_else() {
        let keys = keys("k");
        let stamp: StampName = "a".parse().expect("a name");
        let [from, to]: [NodeName; 2] = ["a1", "a2"].map(|name| name.parse().expect("a name"));
        let asked = read("contoso", b"x", 0, 99);
        let ends = Ends { stamp: &stamp, from: &from, to: &to };
        let (value, signature) = sign(&keys, ends, &asked, 1000).expect("signed");
        assert!(!format!("{value:?}").contains(&signature), "it is not shown in logs");
        let with = |value: &HeaderValue| HeaderMap::from_iter([(header::AUTHORIZATION, value.clone())]);
        let headers = with(&value);
        let check = |stamp: &str, to: &str, asked: &Question, now| {
            let (stamp, to) = (stamp.parse().expect("a name"), to.parse().expect("a name"));
            verify(&keys, &stamp, &to, asked, &headers, now).map(|_| ())
        };
        for now in [940, 1000, 1060] {
            assert_eq!(check("a", "a2", &asked, now), Ok(()));
        }
        for now in [939, 1061] {
            assert!(check("a", "a2", &asked, now).is_err_and(|why| why.contains("clocks")));
        }
        for (stamp, to, other) in [
            ("b", "a2", &asked),
            ("a", "a3", &asked),
            ("a", "a2", &read("fabrikam", b"x", 0, 99)),
            ("a", "a2", &read("contoso", b"y", 0, 99)),
            ("a", "a2", &read("contoso", b"x", 1, 99)),
            ("a", "a2", &read("contoso", b"x", 0, 100)),
            ("a", "a2", &Question::Ready),
        ] {
            assert_eq!(
                check(stamp, to, other, 1000),
                Err("its signature is not right"),
                "{stamp} {to} {other}"
            );
        }
        let text = value.to_str().expect("text");
        for forged in [
            text.replace(" a1 ", " a3 "),
            text.replace(" 1000 ", " 1001 "),
            text.replace("Dataproxy-Stamp", "Bearer"),
            text.replace(&signature, ""),
            String::new(),
        ] {
            let headers = with(&HeaderValue::try_from(&forged).expect("a value"));
            assert!(verify(&keys, &stamp, &to, &asked, &headers, 1000).is_err(), "{forged}");
        }
        let other = self::keys("o");
        assert!(verify(&other, &stamp, &to, &asked, &headers, 1000).is_err(), "a node without the key");
        let again = sign(&keys, ends, &asked, 1000).expect("signed").1;
        assert_ne!(again, signature, "no two questions are the same");
    }

    #[test]
    fn an_answer_is_good_for_its_question_and_what_it_says() {
        let keys = keys("k");
        let vouched = Vouched { signature: "q1".to_owned() };
        let terms = Terms { size: 10, range: (0, 4), version: "v".to_owned() };
        let proof = sign_answer(&keys, &vouched, Some(&terms));
        assert!(verify_answer(&keys, "q1", Some(&terms), &proof));
        assert!(!verify_answer(&keys, "q2", Some(&terms), &proof));
        assert!(!verify_answer(&keys, "q1", None, &proof));
        assert!(!verify_answer(&keys, "q1", Some(&Terms { size: 11, ..terms.clone() }), &proof));
        assert!(!verify_answer(
            &keys,
            "q1",
            Some(&Terms { version: "w".to_owned(), ..terms.clone() }),
            &proof
        ));
        assert!(!verify_answer(&self::keys("o"), "q1", Some(&terms), &proof));
    }
}
