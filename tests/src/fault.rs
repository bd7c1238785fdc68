//! Faults of a real disk under a real process: a small file system, and system calls that fail or take long.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::daemon::signal;
use crate::eventually::eventually;

/// A file system in memory of a size of its own. Needs root. Unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts one of `mib` MiB.
    ///
    /// # Panics
    /// If it cannot be mounted.
    pub fn mount(mib: u32) -> Self {
        let dir = TempDir::with_prefix("disk.").expect("a folder can be made");
        let options = format!("size={mib}m");
        command(
            "mount",
            &["-t".as_ref(), "tmpfs".as_ref(), "-o".as_ref(), options.as_ref(), "tmpfs".as_ref(), dir.path()],
        );
        Self { dir }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Changes its options, such as `ro` or `size=8m`; whether the system would.
    pub fn remount(&self, options: &str) -> bool {
        let options = format!("remount,{options}");
        Command::new("mount")
            .args(["-o", &options])
            .arg(self.path())
            .status()
            .is_ok_and(|ended| ended.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, as a node that still ends may have it open.
        let _unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn command(program: &str, args: &[&Path]) {
    let ended = Command::new(program).args(args).status();
    assert!(ended.as_ref().is_ok_and(std::process::ExitStatus::success), "{program} {args:?}: {ended:?}");
}

/// strace, which changes how some system calls of a process end. Needs root. Lets go of the process when dropped.
#[derive(Debug)]
pub struct Injection {
    child: Child,
}

impl Injection {
    /// Injects `what`, such as `pread64:error=EIO`, into all threads of a process where they touch one of `paths`.
    ///
    /// # Panics
    /// If strace does not take hold of the process within 10 s.
    pub async fn begin(pid: u32, what: &str, paths: &[PathBuf]) -> Self {
        let log = TempDir::with_prefix("strace.").expect("a folder can be made");
        let said = log.path().join("said");
        let call = what.split(':').next().unwrap_or_default();
        let child = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-p", &pid.to_string()])
            .args(["-e", &format!("trace={call}"), "-e", &format!("inject={what}")])
            .args(paths.iter().flat_map(|path| [Path::new("-P"), path]))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&said).expect("a file can be made"))
            .spawn()
            .expect("strace can be started");
        eventually("strace", Duration::from_secs(10), async || {
            let text = std::fs::read_to_string(&said).unwrap_or_default();
            if text.contains("attached") { Ok(()) } else { Err(text) }
        })
        .await;
        Self { child }
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        signal(self.child.id(), "TERM");
        let _ended = self.child.wait();
    }
}

/// The files of this kind below a folder.
///
/// # Panics
/// If a folder cannot be read.
pub fn files(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder can be read") {
            let path = entry.expect("a folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == kind) {
                found.push(path);
            }
        }
    }
    found
}
