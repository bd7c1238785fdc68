//! Signatures of blob URLs: HMAC-SHA256 (RFC 2104) by a key that all nodes of a region have, over who may read what
//! until when.
//!
//! Two keys are accepted and one signs, so that a key can be changed with no pull lost: put the next key beside the one
//! in force on every node, then let it sign, then take the old one away once its last URL has expired.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use dataproxy_cache::Digest;
use dataproxy_router_api::RegistryName;

use crate::lifecycle::Lifecycle;
use crate::name::Repository;
use crate::refusal::Refusal;
use crate::watch::FileWatch;

/// Least length of a key in bytes: that of the hash (RFC 2104, 3).
const KEY_MIN: usize = 32;
/// Query parameters.
pub(crate) const EXPIRES: &str = "dp-expires";
pub(crate) const SIGNATURE: &str = "dp-signature";
/// What is signed begins with this, so that no other use of the key can be mistaken for it.
const PURPOSE: &str = "dataproxy blob url 1";

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("{}: the key cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is too short to be safe.
    #[error(
        "{}: the key has {found} bytes; at least 32 are needed, such as those of `openssl rand -hex 32`",
        path.display()
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// Its bytes, white space at the end left out.
        found: usize,
    },
}

/// What a URL lets its holder read.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'s> {
    /// The registry.
    pub registry: &'s RegistryName,
    /// The repository in it.
    pub repository: &'s Repository,
    /// The blob.
    pub digest: &'s Digest,
}

impl Subject<'_> {
    fn signed(&self, expires: u64) -> String {
        let Self { registry, repository, digest } = self;
        // None of the parts can hold a line's end.
        format!("{PURPOSE}\n{registry}\n{repository}\n{digest}\n{expires}")
    }
}

/// What a request claims by its query.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// Until when it is good, in seconds since 1970.
    pub expires: Option<String>,
    /// The signature in lower-case hex.
    pub signature: Option<String>,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// The proof that the request's URL was signed for what it asks for. Only [`Keys::verify`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified(());

struct Pair {
    signing: hmac::Key,
    other: Option<hmac::Key>,
}

/// The keys in force, fed from files.
pub struct Keys {
    key: PathBuf,
    other: Option<PathBuf>,
    in_force: ArcSwap<Pair>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("key", &self.key).field("other", &self.other).finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the key that signs, and another one that is accepted too: the next one, or the one before.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn open(key: PathBuf, other: Option<PathBuf>) -> Result<Self, KeyError> {
        let pair = load(&key, other.as_deref())?;
        Ok(Self { key, other, in_force: ArcSwap::from_pointee(pair) })
    }

    /// The query of a URL for this subject, good until `expires` in seconds since 1970.
    pub fn sign(&self, subject: &Subject<'_>, expires: u64) -> String {
        format!("{EXPIRES}={expires}&{SIGNATURE}={}", self.tag(&subject.signed(expires)))
    }

    /// Checks a claim on this subject at `now`, in seconds since 1970. The comparison takes the same time for every
    /// signature.
    ///
    /// # Errors
    /// [`Refusal::UrlRefused`]: it is not what one of the keys has signed, or has expired.
    pub fn verify(&self, subject: &Subject<'_>, claim: &Claim, now: u64) -> Result<Verified, Refusal> {
        const FORGED: Refusal = Refusal::UrlRefused("its signature is not right");
        let expires = claim.expires.as_deref().and_then(|text| text.parse().ok()).ok_or(FORGED)?;
        let signature = claim.signature.as_deref().ok_or(FORGED)?;
        if !self.check(&subject.signed(expires), signature) {
            return Err(FORGED);
        }
        if now >= expires {
            return Err(Refusal::UrlRefused("it has expired"));
        }
        Ok(Verified(()))
    }

    /// The signature of a text, in lower-case hex. The text begins with what it is for.
    pub(crate) fn tag(&self, text: &str) -> String {
        hex(hmac::sign(&self.in_force.load().signing, text.as_bytes()).as_ref())
    }

    /// Whether one of the keys has signed this text so. Takes the same time for every signature.
    pub(crate) fn check(&self, text: &str, signature: &str) -> bool {
        let Some(tag) = bytes(signature) else { return false };
        let pair = self.in_force.load();
        let mut keys = std::iter::once(&pair.signing).chain(&pair.other);
        keys.any(|key| hmac::verify(key, text.as_bytes(), &tag).is_ok())
    }

    /// Follows the files for as long as it is polled. A key that cannot be used changes nothing. Safe to drop at any
    /// point.
    pub async fn follow(self: Arc<Self>, life: &Lifecycle) {
        let paths = std::iter::once(&self.key).chain(&self.other).cloned().collect();
        let mut watch = FileWatch::new(paths, life.reloads());
        // What changed between the first load and here has no version to differ from.
        loop {
            let keys = Arc::clone(&self);
            // A panic in it would only cost this one reload.
            let _ = tokio::task::spawn_blocking(move || match load(&keys.key, keys.other.as_deref()) {
                Ok(pair) => keys.in_force.store(Arc::new(pair)),
                Err(error) => tracing::error!(%error, "keys refused; those in force stay"),
            })
            .await;
            watch.changed().await;
        }
    }
}

fn load(key: &Path, other: Option<&Path>) -> Result<Pair, KeyError> {
    let one = |path: &Path| {
        let text = std::fs::read(path).map_err(|error| KeyError::Read { path: path.to_owned(), error })?;
        let text = text.trim_ascii_end();
        if text.len() < KEY_MIN {
            return Err(KeyError::Short { path: path.to_owned(), found: text.len() });
        }
        Ok(hmac::Key::new(HMAC_SHA256, text))
    };
    Ok(Pair { signing: one(key)?, other: other.map(one).transpose()? })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of lower-case hex.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use dataproxy_cache::Algorithm;

    use super::*;

    fn claim(query: &str) -> Claim {
        let value = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        Claim { expires: value(EXPIRES), signature: value(SIGNATURE) }
    }

    fn why(result: Result<Verified, Refusal>) -> &'static str {
        match result {
            Ok(_) => "good",
            Err(Refusal::UrlRefused(reason)) => reason,
            Err(other) => panic!("{other}"),
        }
    }

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        fn key(&self, name: &str, content: &str) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, content).expect("written");
            path
        }
    }

    #[test]
    fn a_signature_is_good_for_its_subject_until_it_expires_and_for_nothing_else() {
        let files = Files::new();
        let keys = Keys::open(files.key("key", &"k".repeat(32)), None).expect("keys");
        let (contoso, fabrikam) = ("contoso".parse().expect("a name"), "fabrikam".parse().expect("a name"));
        let (app, other): (Repository, Repository) =
            ("app".parse().expect("a name"), "b".parse().expect("a name"));
        let [blob, another] = [b"x", b"y"].map(|content| Digest::of(Algorithm::Sha256, content));
        let subject = Subject { registry: &contoso, repository: &app, digest: &blob };
        let query = keys.sign(&subject, 1000);
        let good = claim(&query);
        assert_eq!(why(keys.verify(&subject, &good, 999)), "good");
        assert_eq!(why(keys.verify(&subject, &good, 1000)), "it has expired");
        for wrong in [
            Subject { registry: &fabrikam, ..subject },
            Subject { repository: &other, ..subject },
            Subject { digest: &another, ..subject },
        ] {
            assert_eq!(why(keys.verify(&wrong, &good, 0)), "its signature is not right", "{wrong:?}");
        }
        let signature = good.signature.clone().expect("a signature");
        for (expires, forged) in [
            (Some("2000"), Some(signature.clone())),
            (Some("1000"), Some(signature.to_uppercase())),
            (Some("1000"), Some(signature[2..].to_owned())),
            (Some("1000"), Some(format!("{signature}00"))),
            (Some("1000"), Some("é".to_owned())),
            (Some("1000"), Some(String::new())),
            (Some("1000"), None),
            (Some("-1"), Some(signature.clone())),
            (None, Some(signature.clone())),
            (None, None),
        ] {
            let claim = Claim { expires: expires.map(str::to_owned), signature: forged };
            assert_eq!(why(keys.verify(&subject, &claim, 0)), "its signature is not right", "{claim:?}");
        }
        assert!(!format!("{good:?} {keys:?}").contains(&signature));
        assert!(!format!("{keys:?}").contains("kkkk"));
    }

    #[test]
    fn a_key_is_changed_with_no_url_lost() {
        let files = Files::new();
        let (old, new) = (files.key("old", &"o".repeat(40)), files.key("new", &"n".repeat(40)));
        let registry = "contoso".parse().expect("a name");
        let repository = "app".parse().expect("a name");
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let subject = Subject { registry: &registry, repository: &repository, digest: &digest };
        let open =
            |key: &PathBuf, other: Option<&PathBuf>| Keys::open(key.clone(), other.cloned()).expect("keys");
        let steps = [open(&old, None), open(&old, Some(&new)), open(&new, Some(&old)), open(&new, None)];
        // Nodes are one step apart at most.
        for pair in steps.windows(2) {
            for (signer, verifier) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                let claim = claim(&signer.sign(&subject, 10));
                assert_eq!(why(verifier.verify(&subject, &claim, 0)), "good");
            }
        }
        let claim = claim(&steps[0].sign(&subject, 10));
        assert_eq!(why(steps[3].verify(&subject, &claim, 0)), "its signature is not right");
    }

    #[test]
    fn a_key_that_is_too_short_or_not_there_is_refused_with_what_is_right() {
        let files = Files::new();
        let short = files.key("short", &format!("{}\n\n", "k".repeat(31)));
        let error = Keys::open(short, None).expect_err("too short").to_string();
        assert!(error.contains("31 bytes; at least 32"), "{error}");
        let error = Keys::open(files.0.path().join("none"), None).expect_err("absent").to_string();
        assert!(error.contains("cannot be read"), "{error}");
        let good = files.key("good", &"k".repeat(32));
        assert!(Keys::open(good, Some(files.0.path().join("none"))).is_err());
    }
}
