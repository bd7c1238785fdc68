//! A tree of processes that are made up, and some that are real.

use super::super::shell::{BURN, Shell};
use super::*;

const SCALE: Scale = Scale { ticks_per_second: 100.0, page: 4096 };

fn stat(pid: u32, started: u64, parent: u32, own: u64, waited: u64) -> Stat {
    Stat {
        identity: Identity { pid, started },
        parent,
        own: Ticks { user: own, system: 0 },
        waited: Ticks { user: waited, system: 0 },
        resident_pages: 1,
    }
}

/// A tree of process 10, which has used 5 s before.
fn tree() -> Tree {
    let root = stat(10, 1, 1, 500, 0);
    Tree {
        known: BTreeMap::from([(root.identity, root)]),
        banked: Ticks::default(),
        before: root.total(),
        begun: 1000,
        scale: SCALE,
    }
}

fn user(tree: &mut Tree, now: &[Stat]) -> f64 {
    tree.take_in(now);
    tree.seen().cpu.user
}

#[test]
fn a_child_counts_while_it_runs_and_once_after_it_was_waited_for() {
    let mut tree = tree();
    let child = stat(11, 1100, 10, 200, 0);
    assert_eq!(user(&mut tree, &[stat(10, 1, 1, 600, 0), child]), 3.0);
    assert_eq!(user(&mut tree, &[stat(10, 1, 1, 600, 250)]), 3.5);
}

#[test]
fn a_grandchild_is_found_and_its_time_comes_up_through_its_parent() {
    let mut tree = tree();
    // Listed before its parent, as /proc may.
    let all = [stat(12, 1200, 11, 70, 0), stat(11, 1100, 10, 30, 0), stat(10, 1, 1, 500, 0)];
    assert_eq!(user(&mut tree, &all), 1.0);
    assert_eq!(user(&mut tree, &[stat(10, 1, 1, 500, 100)]), 1.0);
}

#[test]
fn a_child_that_nobody_waits_for_leaves_what_was_last_seen_of_it() {
    let mut tree = tree();
    assert_eq!(user(&mut tree, &[stat(10, 1, 1, 500, 0), stat(11, 1100, 10, 200, 0)]), 2.0);
    // The parent ignores its children: nothing has come into its account.
    assert_eq!(user(&mut tree, &[stat(10, 1, 1, 500, 0)]), 2.0);
}

#[test]
fn an_orphan_stays_in_the_tree_and_leaves_its_time_there() {
    let mut tree = tree();
    assert_eq!(user(&mut tree, &[stat(10, 1, 1, 500, 0), stat(11, 1100, 10, 200, 0)]), 2.0);
    // The root has ended with all it used, and its child was given to process 1.
    assert_eq!(user(&mut tree, &[stat(11, 1100, 1, 300, 0)]), 3.0);
    assert_eq!(user(&mut tree, &[]), 3.0);
    assert_eq!(tree.seen().processes, 0);
}

#[test]
fn a_stranger_with_the_number_of_one_that_ended_is_not_counted() {
    let mut tree = tree();
    assert_eq!(user(&mut tree, &[stat(10, 1, 1, 600, 0), stat(11, 1100, 10, 200, 0)]), 3.0);
    let stranger = stat(11, 1300, 1, 9_000, 0);
    let child_of_the_stranger = stat(12, 1301, 11, 9_000, 0);
    let later = [stat(10, 1, 1, 600, 200), stranger, child_of_the_stranger];
    assert_eq!(user(&mut tree, &later), 3.0);
    // The same of the root itself.
    assert_eq!(user(&mut tree, &[stat(10, 1400, 1, 9_000, 9_000)]), 3.0);
}

#[test]
fn a_process_that_is_adopted_does_not_bring_its_past() {
    let mut tree = tree();
    assert_eq!(user(&mut tree, &[stat(10, 1, 1, 500, 0), stat(20, 900, 10, 700, 0)]), 0.0);
    assert_eq!(user(&mut tree, &[stat(10, 1, 1, 500, 0), stat(20, 900, 10, 800, 0)]), 1.0);
    assert_eq!(user(&mut tree, &[stat(10, 1, 1, 500, 800)]), 1.0);
}

#[test]
fn the_cpu_of_children_that_have_ended_is_what_the_kernel_charged_their_parent() {
    let mut shell = Shell::start();
    // A past that must not count.
    shell.run(&format!("sh -c '{BURN}'"));
    let (own, past) = (shell.own(), shell.children());
    let mut tree = Tree::of(&[shell.pid()]).expect("it runs");
    shell.run(&format!("sh -c '{BURN}'; sh -c 'sh -c \"$1\"; true' x '{BURN}'"));
    let seen = tree.look().expect("readable");
    let charged = shell.children() - past + shell.own() - own;
    assert!(charged > 0.1, "they used only {charged} s");
    // A tick each for user and system time at both ends, and what the questions themselves cost.
    let found = seen.cpu.total();
    assert!((found - charged).abs() <= 0.06, "found {found} s, the kernel charged {charged} s");
}

#[test]
fn an_orphan_that_was_seen_goes_on_being_counted() {
    let mut shell = Shell::start();
    let mut tree = Tree::of(&[shell.pid()]).expect("it runs");
    shell.tell(&format!("sh -c '{{ {BURN}; echo burnt; exec sleep 1000; }} & read x; echo gone'"));
    shell.hear("burnt");
    let seen = tree.look().expect("readable");
    assert_eq!(seen.processes, 3);
    shell.tell("");
    shell.hear("done");
    let orphaned = tree.look().expect("readable");
    assert_eq!(orphaned.processes, 2, "the middle one has ended");
    assert!(orphaned.cpu.total() >= seen.cpu.total() && seen.cpu.total() > 0.05);
    let orphan = tree.pids().into_iter().find(|pid| *pid != shell.pid()).expect("it sleeps");
    shell.run(&format!("kill -9 {orphan}"));
    assert!(tree.look().expect("readable").cpu.total() >= orphaned.cpu.total());
}

#[test]
fn a_process_that_does_not_run_is_refused_with_what_to_give() {
    let error = Tree::of(&[u32::MAX]).expect_err("there is none").to_string();
    assert!(error.contains("no process 4294967295") && error.contains("pgrep"), "{error}");
}
