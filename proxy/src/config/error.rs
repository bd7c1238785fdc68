//! A configuration that cannot be: which file, line and key, what is wrong and what is allowed.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A configuration that cannot be.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A setting is wrong.
    Setting {
        /// The file.
        path: PathBuf,
        /// Line of the setting, from 1.
        line: usize,
        /// The setting, such as `cache.block`; empty for the file as a whole.
        key: String,
        /// What is wrong and what is allowed.
        message: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => {
                write!(f, "{}: the configuration cannot be read: {error}", path.display())
            }
            Self::Setting { path, line, key, message } if key.is_empty() => {
                write!(f, "{}:{line}: {message}", path.display())
            }
            Self::Setting { path, line, key, message } => {
                write!(f, "{}:{line}: {key}: {message}", path.display())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// A value that parses and still cannot be.
#[derive(Debug)]
pub(super) struct Invalid {
    /// The setting, such as `cache.block`.
    pub(super) key: String,
    /// What is wrong and what is allowed.
    pub(super) message: String,
}

impl Invalid {
    pub(super) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

/// Where the settings stand in a file.
pub(super) struct Places<'a> {
    path: &'a Path,
    text: &'a str,
}

impl<'a> Places<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text }
    }

    /// Turns the parser's error into ours.
    pub(super) fn parse_error(&self, error: &toml::de::Error) -> ConfigError {
        let offset = error.span().map_or(0, |span| span.start);
        let key = self.tree().and_then(|tree| key_at(tree.get_ref(), offset)).unwrap_or_default();
        let message = error
            .message()
            .replace("unknown field", "unknown setting")
            .replace("missing field", "missing setting");
        self.setting(offset, key, message)
    }

    /// Points at the line of a setting that parses and still cannot be; a setting that the file leaves out
    /// is reported on the line of its section.
    pub(super) fn invalid(&self, invalid: Invalid) -> ConfigError {
        let tree = self.tree();
        let mut key = invalid.key.as_str();
        let offset = loop {
            match tree.as_ref().and_then(|tree| offset_of(tree.get_ref(), key)) {
                Some(offset) => break offset,
                None => match key.rsplit_once('.') {
                    Some((section, _)) => key = section,
                    None => break 0,
                },
            }
        };
        self.setting(offset, invalid.key, invalid.message)
    }

    fn setting(&self, offset: usize, key: String, message: String) -> ConfigError {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError::Setting { path: self.path.to_owned(), line, key, message }
    }

    fn tree(&self) -> Option<Spanned<DeTable<'a>>> {
        DeTable::parse(self.text).ok()
    }
}

/// The deepest setting whose name or value covers `offset`.
fn key_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        if let DeValue::Table(inner) = value.get_ref()
            && let Some(key) = key_at(inner, offset)
        {
            return Some(format!("{}.{key}", name.get_ref()));
        }
        let here = name.span().contains(&offset) || value.span().contains(&offset);
        here.then(|| name.get_ref().to_string())
    })
}

/// Where the name of a setting stands.
fn offset_of(table: &DeTable<'_>, key: &str) -> Option<usize> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let (name, value) = table.iter().find(|(name, _)| name.get_ref() == first)?;
    match (rest, value.get_ref()) {
        (None, _) => Some(name.span().start),
        (Some(rest), DeValue::Table(inner)) => offset_of(inner, rest),
        (Some(_), _) => None,
    }
}
