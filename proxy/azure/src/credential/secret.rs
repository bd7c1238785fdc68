//! Secrets that lie in files or the environment. A file is read again when it is used and has changed.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
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
                std::fs::read_to_string(path).map_err(|error| self.error(error.to_string()))?
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
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the secret. Blocks on its file.
    ///
    /// # Errors
    /// [`SecretError`]
    pub(super) fn open(source: SecretSource, parse: Parse<T>) -> Result<Arc<Self>, SecretError> {
        let text = source.read()?;
        let parsed = parse(&text).map_err(|reason| source.error(reason))?;
        let seen = Seen { text, next_look: Instant::now() + LOOK_INTERVAL };
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

    fn is_due(&self) -> bool {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let due = seen.next_look <= now;
        if due {
            seen.next_look = now + LOOK_INTERVAL;
        }
        due
    }

    fn look(&self) {
        let read = self.source.read();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let parsed = match read {
            Ok(text) if text == seen.text => return,
            Ok(text) => {
                let parsed = (self.parse)(&text).map_err(|reason| self.source.error(reason));
                seen.text = text;
                parsed
            }
            Err(error) => Err(error),
        };
        match parsed {
            Ok(parsed) => {
                self.current.store(Arc::new(parsed));
                tracing::info!(secret = %self.source, "a new secret is in force");
            }
            Err(error) => tracing::error!(%error, "a new secret is refused; the one in force stays"),
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.source)
    }
}
