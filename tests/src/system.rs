//! Where a client's programs lie: on this machine (Debian 12), or in a Debian 13 tree that is made once.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::run::{Failed, Ran, run};

const ENTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/enter");
const MAKE_TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/debian-tree");
const MAKE_LIMIT: Duration = Duration::from_secs(900);

/// A release of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// 12, bookworm: what the tests run on.
    Debian12,
    /// 13, trixie: a tree below `/var/cache/dataproxy-tests`, or below `DATAPROXY_TESTS_CACHE`.
    Debian13,
}

/// A release, with files of the test's own shown in some places.
#[derive(Clone, Debug)]
pub struct System {
    root: Option<PathBuf>,
    shown: Vec<(PathBuf, &'static str)>,
}

impl System {
    /// This machine as it is.
    pub fn machine() -> Self {
        Self { root: None, shown: Vec::new() }
    }

    /// The system of this release; its tree is made if it is not there.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn of(release: Release) -> Self {
        let root = match release {
            Release::Debian12 => None,
            Release::Debian13 => {
                let cache = std::env::var_os("DATAPROXY_TESTS_CACHE")
                    .map_or_else(|| PathBuf::from("/var/cache/dataproxy-tests"), PathBuf::from);
                let tree = cache.join("trixie");
                run(MAKE_TREE, &[&tree], MAKE_LIMIT).await.unwrap_or_else(|failed| panic!("{failed}"));
                Some(tree)
            }
        };
        Self { root, shown: Vec::new() }
    }

    /// The same, where every program sees the file `from` at `to`. There has to be a file at `to`; it is left alone.
    #[must_use]
    pub fn showing(mut self, from: &Path, to: &'static str) -> Self {
        self.shown.push((from.to_owned(), to));
        self
    }

    /// What has to be run here so that `program` runs there: a program and its arguments. It becomes `program` in
    /// the same process. The folder of temporary files is the machine's own.
    pub fn command<A: AsRef<OsStr>>(&self, program: &str, args: &[A]) -> (String, Vec<OsString>) {
        let args = args.iter().map(|arg| arg.as_ref().to_owned());
        if self.root.is_none() && self.shown.is_empty() {
            return (program.to_owned(), args.collect());
        }
        let root = self.root.as_deref().unwrap_or(Path::new("/"));
        let mut all: Vec<OsString> =
            ["--mount", "--propagation", "private", "--", ENTER].map(OsString::from).into();
        all.push(root.into());
        for (from, to) in &self.shown {
            let mut pair = from.clone().into_os_string();
            pair.push(":");
            pair.push(to);
            all.push(pair);
        }
        all.push("--".into());
        all.push(program.into());
        all.extend(args);
        ("unshare".into(), all)
    }

    /// Runs a command there to its end, or ends it after `limit`.
    ///
    /// # Errors
    /// [`Failed`] if it does not exit with 0 in time.
    pub async fn run<A: AsRef<OsStr>>(
        &self,
        program: &str,
        args: &[A],
        limit: Duration,
    ) -> Result<Ran, Failed> {
        let (program, args) = self.command(program, args);
        run(&program, &args, limit).await
    }
}
