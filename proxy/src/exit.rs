//! How the process ends: every exit code there is. Codes from 64 on are those of BSD's `sysexits`.

use std::fmt::Write;
use std::process::ExitCode;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked; when serving: every pull had ended.
    Done,
    /// The command line is wrong.
    Usage,
    /// It cut responses that still ran at the drain deadline, or at a second signal, so that their clients resume.
    Cut,
    /// Connections were open at the hard stop, and ended with it.
    HardStop,
    /// An input is missing or bad: the bindings, the certificate or its key, an account's credential or authorities.
    Input,
    /// `check --reach`: a registry could not be served by this node.
    Unreached,
    /// An address cannot be listened on.
    Listen,
    /// A folder cannot be used: a storage account's, or the cache's.
    Folder,
    /// The system gave no thread or runtime.
    System,
    /// The configuration is wrong.
    Config,
}

impl Exit {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 10] = [
        Self::Done,
        Self::Usage,
        Self::Cut,
        Self::HardStop,
        Self::Input,
        Self::Unreached,
        Self::Listen,
        Self::System,
        Self::Folder,
        Self::Config,
    ];

    /// The code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 2,
            Self::Cut => 3,
            Self::HardStop => 4,
            Self::Input => 66,
            Self::Unreached => 68,
            Self::Listen => 69,
            Self::System => 71,
            Self::Folder => 73,
            Self::Config => 78,
        }
    }

    /// What it says.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "Done; when serving: every pull had ended",
            Self::Usage => "The command line is wrong",
            Self::Cut => {
                "Responses that still ran at the drain deadline, or at a second signal, were cut with FIN; clients resume them elsewhere"
            }
            Self::HardStop => {
                "Connections were still open at the hard stop, 30 s after the deadline, and ended with the process"
            }
            Self::Input => {
                "The bindings file, the certificate or its key, an account's credential or authorities, or a key of signed URLs or of the stamp are missing or bad, or they do not fit each other"
            }
            Self::Unreached => {
                "`check --reach`: this node could not serve a registry of the bindings; the table says which and why"
            }
            Self::Listen => "An address cannot be listened on; the message names the setting that moves it",
            Self::Folder => "The folder of a storage account or of the cache cannot be used",
            Self::System => "The system gave no thread or runtime",
            Self::Config => "The configuration is wrong; the message names file, line and key",
        }
    }

    /// The table of `docs/configuration.md`.
    pub fn markdown() -> String {
        let mut out = "| code | meaning |\n|---|---|\n".to_owned();
        for exit in Self::ALL {
            let _ = writeln!(out, "| {} | {} |", exit.code(), exit.meaning());
        }
        out
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A start that failed: how the process ends, and what to tell the user.
#[derive(Debug)]
pub struct Failure {
    /// How it ends.
    pub exit: Exit,
    /// What went wrong and what would be right.
    pub message: String,
}

impl Failure {
    /// A failure that ends the process so.
    pub fn new(exit: Exit, error: impl ToString) -> Self {
        Self { exit, message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_is_its_own_and_documented() {
        let codes: std::collections::BTreeSet<u8> = Exit::ALL.map(Exit::code).into();
        assert_eq!(codes.len(), Exit::ALL.len());
        crate::documented::check("configuration.md", "exit codes", &Exit::markdown());
    }
}
