//! Secrets that lie in files or the environment. A file is read again when it is used and has changed.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use azure_core::credentials::Secret;
use tokio::time::Instant;

/// A file is looked at again at most this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// No secret of ours is longer, in bytes.
const SECRET_MAX: usize = 8 << 10;

/// Where a secret is. Never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that holds nothing else; white space around it does not count.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "${name}"),
        }
    }
}

/// A secret that cannot be used. Says where it was looked for and what would be right, and repeats nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct SecretError {
    place: String,
    reason: String,
}

impl SecretSource {
    fn error(&self, reason: impl Into<String>) -> SecretError {
        SecretError { place: self.to_string(), reason: reason.into() }
    }

    fn read(&self) -> Result<Secret, SecretError> {
        let text = match self {
            Self::File(path) => {
                let bytes = read_bounded(path).map_err(|error| self.error(error.to_string()))?;
                if bytes.len() > SECRET_MAX {
                    return Err(self.error("it is too long for a secret"));
                }
                // The error's own words do not say what is wrong, and it holds the bytes.
                String::from_utf8(bytes).map_err(|_| self.error("it is not text"))?
            }
            Self::Variable(name) => std::env::var(name).map_err(|error| match error {
                std::env::VarError::NotPresent => self.error("the environment variable is not set"),
                // The error's own words hold the value.
                std::env::VarError::NotUnicode(_) => self.error("the environment variable is not text"),
            })?,
        };
        match text.trim() {
            "" => Err(self.error("it is empty")),
            secret if secret.len() > SECRET_MAX => Err(self.error("it is too long for a secret")),
            secret => Ok(Secret::new(secret.to_owned())),
        }
    }
}

/// The file, or as much of it as shows that it is too long: what the path names may have no end.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SECRET_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

type Parse<T> = fn(&Secret) -> Result<T, &'static str>;

/// A secret, parsed, as it is now.
pub(crate) struct Watched<T> {
    source: SecretSource,
    parse: Parse<T>,
    current: ArcSwap<T>,
    seen: Mutex<Seen>,
}

struct Seen {
    /// The secret that was parsed, or refused, last.
    text: Secret,
    next_look: Instant,
    /// A look that is under way, perhaps at a mount that hangs. There is one at most.
    looking: bool,
    /// What was last told of a file that cannot be read.
    unreadable: Option<SecretError>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the secret. Blocks on its file.
    ///
    /// # Errors
    /// [`SecretError`]
    pub(super) fn open(source: SecretSource, parse: Parse<T>) -> Result<Arc<Self>, SecretError> {
        let text = source.read()?;
        let parsed = parse(&text).map_err(|reason| source.error(reason))?;
        let next_look = Instant::now() + LOOK_INTERVAL;
        let seen = Seen { text, next_look, looking: false, unreadable: None };
        Ok(Arc::new(Self { source, parse, current: ArcSwap::from_pointee(parsed), seen: Mutex::new(seen) }))
    }

    /// The secret as it is known now. Looks at the file beside this call, once a second at most, so that a new one
    /// counts from a second after it was put there.
    pub(crate) fn current(self: &Arc<Self>) -> Arc<T> {
        if matches!(self.source, SecretSource::File(_)) && self.is_due() {
            let watched = Arc::clone(self);
            // What it finds is for the calls to come.
            tokio::task::spawn_blocking(move || watched.look());
        }
        self.current.load_full()
    }

    /// Whether to look now; who is told so does.
    fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut seen = self.seen();
        let due = seen.next_look <= now && !seen.looking;
        if due {
            seen.next_look = now + LOOK_INTERVAL;
            seen.looking = true;
        }
        due
    }

    fn look(&self) {
        let read = self.source.read();
        let mut seen = self.seen();
        seen.looking = false;
        let text = match read {
            Ok(text) => text,
            Err(error) => {
                if seen.unreadable.as_ref() != Some(&error) {
                    tracing::error!(%error, "{REFUSED}");
                }
                seen.unreadable = Some(error);
                return;
            }
        };
        seen.unreadable = None;
        if text == seen.text {
            return;
        }
        match (self.parse)(&text) {
            Ok(parsed) => {
                self.current.store(Arc::new(parsed));
                tracing::info!(secret = %self.source, "a new secret is in force");
            }
            Err(reason) => tracing::error!(error = %self.source.error(reason), "{REFUSED}"),
        }
        seen.text = text;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const REFUSED: &str = "a new secret is refused; the one in force stays";

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READS: Parse<String> = |text| match text.secret() {
        "bad" => Err("it is bad"),
        text => Ok(text.to_owned()),
    };

    fn watched(dir: &Path) -> (PathBuf, Arc<Watched<String>>) {
        let path = dir.join("secret");
        std::fs::write(&path, "first").expect("a file");
        let watched = Watched::open(SecretSource::File(path.clone()), READS).expect("a secret");
        (path, watched)
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_does_not_return_is_the_only_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, watched) = watched(dir.path());
        assert!(!watched.is_due(), "it has just been read");
        tokio::time::advance(LOOK_INTERVAL).await;
        assert!(watched.is_due());
        for _ in 0..100 {
            tokio::time::advance(LOOK_INTERVAL).await;
            assert!(!watched.is_due(), "the last look is still under way");
        }
        std::fs::write(&path, "second").expect("a file");
        watched.look();
        assert_eq!(*watched.current.load_full(), "second");
        assert!(watched.is_due(), "it has returned");
    }

    #[tokio::test]
    async fn what_is_refused_leaves_the_secret_in_force_until_a_good_one_comes() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, watched) = watched(dir.path());
        let long = "x".repeat(SECRET_MAX + 1);
        for refused in [&b"bad"[..], b"", b"\xff\xfe", long.as_bytes()] {
            std::fs::write(&path, refused).expect("a file");
            watched.look();
            assert_eq!(*watched.current.load_full(), "first");
        }
        std::fs::write(&path, "second").expect("a file");
        watched.look();
        assert_eq!(*watched.current.load_full(), "second");
    }

    #[test]
    fn a_file_without_end_is_no_secret() {
        let endless = SecretSource::File(PathBuf::from("/dev/zero"));
        let error = endless.read().expect_err("no secret").to_string();
        assert_eq!(error, "/dev/zero: it is too long for a secret");
    }
}
