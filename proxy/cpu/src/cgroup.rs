//! The control groups that this process is in: their quotas and what they have used. Version 2 (`cgroup-v2.rst` in the
//! kernel's documentation) and version 1 (`cgroup-v1/cpuacct.rst`, `scheduler/sched-bwc.rst`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A group and those that it is in, each with a quota of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    version: Version,
    /// Innermost first, below the mount points.
    paths: Vec<PathBuf>,
    /// Where quotas are.
    quotas: PathBuf,
    /// Where usage is: another hierarchy, it may be, in version 1.
    usage: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A group's quota.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quota {
    /// Its place in the chain, innermost first.
    pub(crate) level: usize,
    /// Cores that it allows.
    pub(crate) cores: f64,
}

impl Groups {
    /// The groups of this process, as `/proc/self` below `root` has them. `None` where no group counts CPU time.
    pub(crate) fn of_process(root: &Path) -> Option<Self> {
        let own = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
        let one = || {
            let (quotas, path) = hierarchy(root, &own, &mounts, "cpu")?;
            let (usage, used) = hierarchy(root, &own, &mounts, "cpuacct")?;
            // Two hierarchies count the same processes only where the paths agree.
            (path == used).then(|| Self { version: Version::One, paths: chain(&path), quotas, usage })
        };
        let two = || {
            let (mount, path) = unified(root, &own, &mounts)?;
            let groups =
                Self { version: Version::Two, paths: chain(&path), quotas: mount.clone(), usage: mount };
            groups.used(0).is_some().then_some(groups)
        };
        // Where both are mounted, the controllers are in version 1.
        one().filter(|groups| groups.used(0).is_some()).or_else(two)
    }

    /// The quota that allows least, if there is one.
    pub(crate) fn quota(&self) -> Option<Quota> {
        let all = self.paths.iter().enumerate().filter_map(|(level, path)| {
            let group = self.quotas.join(path);
            let cores = match self.version {
                Version::Two => quota_of_two(&fs::read_to_string(group.join("cpu.max")).ok()?),
                Version::One => quota_of_one(&group),
            };
            Some(Quota { level, cores: cores? })
        });
        all.min_by(|one, two| one.cores.total_cmp(&two.cores))
    }

    /// What the group at `level` has used.
    pub(crate) fn used(&self, level: usize) -> Option<Duration> {
        let group = self.usage.join(self.paths.get(level)?);
        match self.version {
            Version::Two => {
                let text = fs::read_to_string(group.join("cpu.stat")).ok()?;
                let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
                Some(Duration::from_micros(line.trim().parse().ok()?))
            }
            Version::One => {
                let text = fs::read_to_string(group.join("cpuacct.usage")).ok()?;
                Some(Duration::from_nanos(text.trim().parse().ok()?))
            }
        }
    }

    /// The group at `level`, for people.
    pub(crate) fn name(&self, level: usize) -> String {
        let version = match self.version {
            Version::One => 1,
            Version::Two => 2,
        };
        let path = self.paths.get(level).map(|path| path.display().to_string()).unwrap_or_default();
        format!("/{path} (version {version})")
    }
}

/// `50000 100000` or `max 100000`: the time that may be used in each period, in microseconds.
fn quota_of_two(text: &str) -> Option<f64> {
    let mut words = text.split_ascii_whitespace();
    let (quota, period) = (words.next()?.parse::<f64>().ok()?, words.next()?.parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// Two files; a quota of -1 is none.
fn quota_of_one(group: &Path) -> Option<f64> {
    let number = |name| fs::read_to_string(group.join(name)).ok()?.trim().parse::<f64>().ok();
    let (quota, period) = (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// A path and those above it, up to the mount point.
fn chain(path: &Path) -> Vec<PathBuf> {
    path.ancestors().map(Path::to_owned).collect()
}

/// Where version 1 mounts a controller, and the process's path in there.
fn hierarchy(root: &Path, own: &str, mounts: &str, controller: &str) -> Option<(PathBuf, PathBuf)> {
    let has = |list: &str| list.split(',').any(|name| name == controller);
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        has(controllers).then_some(path)
    })?;
    mounted(root, mounts, path, |kind, options| kind == "cgroup" && has(options))
}

/// Where version 2 is mounted, and the process's path in there.
fn unified(root: &Path, own: &str, mounts: &str) -> Option<(PathBuf, PathBuf)> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounted(root, mounts, path, |kind, _| kind == "cgroup2")
}

/// The mount of which `is_it` says so by type and options, and `path` as seen from there (proc_pid_mountinfo(5)).
fn mounted(
    root: &Path,
    mounts: &str,
    path: &str,
    is_it: impl Fn(&str, &str) -> bool,
) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (shown, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, _source, options) = (after.next()?, after.next()?, after.next()?);
        if !is_it(kind, options) {
            return None;
        }
        // A container may see its own group as the mount's root, or a path from outside of it.
        let inside =
            Path::new(path).strip_prefix(shown).or_else(|_| Path::new(path).strip_prefix("/")).ok()?;
        let point = root.join(point.strip_prefix('/').unwrap_or(point));
        let inside = if point.join(inside).is_dir() { inside } else { Path::new("") };
        Some((point, inside.to_owned()))
    })
}
