//! Reports in files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{FORMAT, Report};

/// A file that is no report that can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what `loadtest` writes.
    #[error("{}: not a report of loadtest: {source}", path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// Where it differs.
        source: serde_json::Error,
    },
    /// It was written in another form.
    #[error("{}: a report of format {found}, and this loadtest reads format {FORMAT}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

impl Report {
    /// Reads a report that a run has written.
    ///
    /// # Errors
    /// [`ReadError`], which names the file.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let form = |source| ReadError::Form { path: path.to_owned(), source };
        let text = fs::read(path).map_err(|source| ReadError::File { path: path.to_owned(), source })?;
        // The format first: another one may have other fields.
        let Form { format } = serde_json::from_slice(&text).map_err(form)?;
        if format != FORMAT {
            return Err(ReadError::Format { path: path.to_owned(), found: format });
        }
        serde_json::from_slice(&text).map_err(form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn read(text: &str) -> Result<Report, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("run.json");
        fs::write(&path, text).expect("a file");
        Report::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let report = sample::report();
        let read = read(&serde_json::to_string(&report).expect("JSON")).expect("a report");
        assert_eq!(
            (&read.plan, &read.machine, &read.command),
            (&report.plan, &report.machine, &report.command)
        );
        for (read, written) in read.flows.iter().zip(&report.flows) {
            assert_eq!((&read.pulls, &read.bytes), (&written.pulls, &written.bytes));
            assert_eq!(read.phases.len(), written.phases.len());
            for (read, written) in read.phases.iter().zip(&written.phases) {
                // serde_json may be off in the last bit.
                let off = (read.summary.p99 - written.summary.p99).abs();
                assert!(off <= written.summary.p99 * 1e-12, "{off}");
                assert_eq!(read.histogram.len(), written.histogram.len());
            }
        }
    }

    #[test]
    fn what_is_no_report_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "not a report"),
            ("{}", "missing field `format`"),
            ("{\"format\": 2}", "a report of format 2, and this loadtest reads format 1"),
            ("{\"format\": 1}", "missing field `tool`"),
        ] {
            let Err(error) = read(text) else { panic!("{text} was read") };
            assert!(error.contains(why) && error.contains("run.json"), "{error}");
        }
        let error = Report::read(Path::new("/nowhere/run.json")).expect_err("there is none").to_string();
        assert!(error.contains("/nowhere/run.json: No such file"), "{error}");
    }
}
