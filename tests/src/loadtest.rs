//! The `loadtest` binary, run as a person runs it, and what it found.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::binary;
use crate::run::{Failed, Ran, run};

/// Longest run of a test.
const LIMIT: Duration = Duration::from_secs(100);

/// What a run found.
#[derive(Debug)]
pub struct Found {
    /// The exit code.
    pub code: i32,
    /// What it printed, standard error first.
    pub output: String,
    /// Its JSON report; null where it wrote none.
    pub report: Value,
    folder: TempDir,
}

impl Found {
    /// The first flow of the report.
    pub fn flow(&self) -> &Value {
        &self.report["flows"][0]
    }

    /// How many pulls of the first flow ended so.
    pub fn pulls(&self, outcome: &str) -> u64 {
        self.flow()["pulls"][outcome].as_u64().unwrap_or(0)
    }

    /// How many pulls of the first flow ended, however they did.
    pub fn ended(&self) -> u64 {
        let pulls = self.flow()["pulls"].as_object().expect("a run has pulls");
        pulls.values().filter_map(Value::as_u64).sum()
    }

    /// The bytes of bodies of the first flow.
    pub fn bytes(&self) -> u64 {
        let bytes = self.flow()["bytes"].as_object().expect("a run has bytes");
        bytes.values().filter_map(Value::as_u64).sum()
    }

    /// A file that the run was told to write, by the name it was given.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Runs `loadtest` with these arguments, with a report where they end in one: `pull` and `scenario run`.
///
/// # Panics
/// If it does not end by itself.
pub async fn loadtest(arguments: &[&str]) -> Found {
    let folder = TempDir::with_prefix("loadtest.").expect("a folder can be made");
    let json = folder.path().join("run.json");
    let program = binary::path("loadtest").await.display().to_string();
    let mut line: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    if matches!(arguments, ["pull", ..] | ["scenario", "run", ..]) {
        line.extend(["--json".to_owned(), json.display().to_string()]);
    }
    let (code, output) = match run(&program, &line, LIMIT).await {
        Ok(Ran { stdout, stderr, .. }) => (0, format!("{stderr}\n{stdout}")),
        Err(Failed { status: Some(status), output, .. }) => {
            (status.code().unwrap_or_else(|| panic!("killed: {output}")), output)
        }
        Err(failed) => panic!("{failed}"),
    };
    let text = std::fs::read_to_string(&json).unwrap_or_else(|_| "null".to_owned());
    let report = serde_json::from_str(&text).expect("the report is JSON");
    Found { code, output, report, folder }
}
