//! The limit that binds, on scripted trees and on the machine that runs this.

use std::fs;

use super::*;
use crate::clock::thread_time;

/// A tree of files below a folder.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().expect("a folder"));
        tree.write("proc/stat", "cpu  0\ncpu0 100 0 0 900\ncpu1 300 0 0 700\ncpu2 0 0 0 0\ncpu3 0 0 0 0\n");
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn open(&self, wanted: Wanted) -> Result<Source, SourceError> {
        Source::below(self.0.path(), wanted, None)
    }

    fn read(&self, wanted: Wanted) -> Counters {
        self.open(wanted).and_then(|source| source.read()).expect("counters")
    }
}

/// A pod's two groups in version 2, as a container sees its own as the root.
fn pod() -> Tree {
    Tree::new(&[
        ("proc/self/cgroup", "0::/\n"),
        (
            "proc/self/mountinfo",
            "30 24 0:26 / /sys rw - sysfs sysfs rw\n31 30 0:27 / /sys/fs/cgroup ro,nosuid shared:9 - cgroup2 cgroup rw,nsdelegate\n",
        ),
        ("sys/fs/cgroup/cpu.max", "250000 100000\n"),
        ("sys/fs/cgroup/cpu.stat", "usage_usec 1500000\nuser_usec 1000000\n"),
    ])
}

/// Version 1, where a path from outside of the container is told.
fn container() -> Tree {
    let mounts = "40 32 0:33 /docker/ab /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n";
    Tree::new(&[
        ("proc/self/cgroup", "3:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n0::/docker/ab\n"),
        ("proc/self/mountinfo", mounts),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", "7000000000\n"),
    ])
}

#[test]
fn a_quota_below_the_processors_binds_in_both_versions() {
    let counters = pod().read(Wanted::Auto);
    assert_eq!((counters.scope, counters.cores), (Scope::Cgroup, 2.5));
    assert_eq!(counters.busy, Duration::from_millis(1500));
    let counters = container().read(Wanted::Auto);
    assert_eq!((counters.scope, counters.cores), (Scope::Cgroup, 0.5));
    assert_eq!(counters.busy, Duration::from_secs(7));
}

#[test]
fn without_a_quota_that_binds_it_is_the_processors_and_a_group_that_is_asked_for_has_them_all() {
    let tree = pod();
    for none in ["max 100000\n", "900000 100000\n"] {
        tree.write("sys/fs/cgroup/cpu.max", none);
        let counters = tree.read(Wanted::Auto);
        assert_eq!(
            (counters.scope, counters.cores, counters.busy),
            (Scope::Host, 4.0, Duration::from_secs(4))
        );
        let counters = tree.read(Wanted::Cgroup);
        assert_eq!((counters.scope, counters.cores), (Scope::Cgroup, 4.0));
    }
    let tree = container();
    tree.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    assert_eq!(tree.read(Wanted::Auto).scope, Scope::Host);
}

#[test]
fn the_smallest_quota_of_all_groups_above_binds_and_what_it_counts_is_used() {
    let tree = Tree::new(&[
        ("proc/self/cgroup", "0::/kubepods/pod7/box\n"),
        ("proc/self/mountinfo", "31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("sys/fs/cgroup/cpu.stat", "usage_usec 9000000\n"),
        ("sys/fs/cgroup/kubepods/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/kubepods/cpu.stat", "usage_usec 8000000\n"),
        ("sys/fs/cgroup/kubepods/pod7/cpu.max", "100000 100000\n"),
        ("sys/fs/cgroup/kubepods/pod7/cpu.stat", "usage_usec 3000000\n"),
        ("sys/fs/cgroup/kubepods/pod7/box/cpu.max", "200000 100000\n"),
        ("sys/fs/cgroup/kubepods/pod7/box/cpu.stat", "usage_usec 1000000\n"),
    ]);
    let source = tree.open(Wanted::Auto).expect("a source");
    let counters = source.read().expect("counters");
    assert_eq!((counters.scope, counters.cores, counters.busy.as_secs()), (Scope::Cgroup, 1.0, 3));
    let words = source.describe(&counters);
    assert_eq!(words, "control group /kubepods/pod7 (version 2), which allows 1 cores");
    // Another one binds from the next look, and is another counter.
    tree.write("sys/fs/cgroup/kubepods/pod7/box/cpu.max", "50000 100000\n");
    let next = source.read().expect("counters");
    assert_eq!((next.cores, next.busy.as_secs()), (0.5, 1));
    assert_ne!(next.counter, counters.counter);
}

#[test]
fn processors_that_may_not_be_used_are_no_cores_and_not_busy() {
    let tree = pod();
    let source = Source::below(tree.0.path(), Wanted::Auto, Some([1, 3].into())).expect("a source");
    let counters = source.read().expect("counters");
    assert_eq!((counters.scope, counters.cores, counters.busy), (Scope::Host, 2.0, Duration::from_secs(3)));
}

#[test]
fn what_cannot_be_measured_is_said_at_once() {
    let tree = Tree::new(&[]);
    let error = tree.open(Wanted::Cgroup).expect_err("no group");
    assert!(error.to_string().contains("scopes host and process do without"), "{error}");
    tree.write("proc/stat", "");
    let error = tree.open(Wanted::Auto).expect_err("no counters");
    assert!(error.to_string().contains("proc/stat tells of none of the processors"), "{error}");
    for cores in [0.0, -1.0, f64::NAN, 5000.0] {
        let error = tree.open(Wanted::Process { cores }).expect_err("no cores");
        assert!(error.to_string().contains("at most 4096"), "{error}");
    }
}

/// Uses so much of one processor.
fn burn(time: Duration) {
    let end = thread_time() + time;
    while thread_time() < end {}
}

#[test]
fn this_machine_s_own_counters_go_on_with_the_work_that_is_done() {
    let cores = std::thread::available_parallelism().expect("a number").get() as f64;
    for wanted in [Wanted::Auto, Wanted::Host, Wanted::Cgroup, Wanted::Process { cores: 0.5 }] {
        let source = match Source::open(wanted) {
            Ok(source) => source,
            // A machine may have no group that counts; all else is everywhere.
            Err(SourceError::NoGroup) if wanted == Wanted::Cgroup => continue,
            Err(error) => panic!("{wanted:?}: {error}"),
        };
        let before = source.read().expect("counters");
        burn(Duration::from_millis(300));
        let after = source.read().expect("counters");
        let used = after.busy - before.busy;
        // Ticks are of 10 ms, and the kernel gives one to who runs at its end.
        assert!(used >= Duration::from_millis(250), "{wanted:?}: {used:?} of {after:?}");
        let most = if wanted == (Wanted::Process { cores: 0.5 }) { 0.5 } else { cores };
        assert!(after.cores > 0.0 && after.cores <= most, "{wanted:?}: {after:?} of {cores}");
        assert!(!source.describe(&after).is_empty());
    }
}
