//! The files that a run writes. They are opened before the run, so that an hour's work is not lost to a folder that is not
//! there.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::report::Report;
use crate::report::html::{self, PlotError};

/// Files for a report.
#[derive(Debug)]
pub(super) struct Outputs {
    json: Option<Output>,
    html: Option<Output>,
}

#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: File,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error("{} cannot be written: {error}", path.display())]
    Early { path: PathBuf, error: io::Error },
    #[error("{} cannot be written: {error}", path.display())]
    Late { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Page(#[from] PlotError),
}

impl Outputs {
    /// Opens the files that are named. What is in them stays until the report is written.
    pub(super) fn open(json: Option<&Path>, html: Option<&Path>) -> Result<Self, OutputError> {
        Ok(Self { json: json.map(Output::open).transpose()?, html: html.map(Output::open).transpose()? })
    }

    /// Writes the report to each.
    pub(super) fn write(self, report: &Report) -> Result<(), OutputError> {
        if let Some(json) = self.json {
            let mut text = serde_json::to_string_pretty(report)
                .map_err(|error| OutputError::Late { path: json.path.clone(), error: error.into() })?;
            text.push('\n');
            json.write(&text)?;
        }
        if let Some(page) = self.html {
            page.write(&html::render(report)?)?;
        }
        Ok(())
    }
}

impl Output {
    fn open(path: &Path) -> Result<Self, OutputError> {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let path = path.to_owned();
        match opened {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(OutputError::Early { path, error }),
        }
    }

    fn write(mut self, text: &str) -> Result<(), OutputError> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| {
            // What a longer report left. A device such as /dev/stdout has no length.
            let is_file = self.file.metadata()?.is_file();
            if is_file { self.file.set_len(text.len() as u64) } else { Ok(()) }
        });
        written.map_err(|error| OutputError::Late { path: self.path, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_noticed_before_the_run() {
        let error =
            Outputs::open(Some(Path::new("/nowhere/run.json")), None).expect_err("refused").to_string();
        assert!(error.contains("/nowhere/run.json cannot be written"), "{error}");
    }

    #[test]
    fn a_longer_file_of_an_earlier_run_is_replaced_whole() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "a longer text").expect("written");
        Output::open(file.path()).expect("opened").write("short").expect("written");
        assert_eq!(std::fs::read_to_string(file.path()).expect("read"), "short");
    }
}
