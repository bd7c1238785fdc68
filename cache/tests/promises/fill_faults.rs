//! Fills under everything that storage and readers do to them, counted. `DATAPROXY_SEED` repeats a run.

use dataproxy_cache::fakes::Fault;
use dataproxy_cache::{CacheError, OriginErrorKind, Wanted};
use futures_util::StreamExt;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{BLOCK, RANGE, Rig, Stored, drain, drain_into, eventually, take, within};
use crate::random_operations::seed;

const SIZE: u64 = 40 * BLOCK + 77;

/// What a fault, met once, may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passes {
    /// It is tried again, and nobody sees it.
    Unseen,
    /// It cannot be told from content that is wrong, or is storage that lies: readers may be told of an error.
    MayBeTold,
}

fn faults(phase: u64) -> Vec<(&'static str, Passes, Fault)> {
    use OriginErrorKind::{Throttled, Unavailable};
    use Passes::{MayBeTold, Unseen};
    let mut faults = vec![
        ("unavailable", Unseen, Fault::Refuse(Unavailable)),
        ("busy", Unseen, Fault::Refuse(Throttled(None))),
        ("silent", Unseen, Fault::Mute),
        ("wrong byte", MayBeTold, Fault::Corrupt { at: phase }),
        ("another range", MayBeTold, Fault::Shift { by: BLOCK }),
        ("too much", MayBeTold, Fault::Overrun { bytes: 100 }),
    ];
    for after_bytes in [0, 1, BLOCK, BLOCK + 1, RANGE - 1] {
        faults.extend([
            ("stall", Unseen, Fault::Stall { after_bytes }),
            ("break", Unseen, Fault::Break { after_bytes, kind: Unavailable }),
            ("short", Unseen, Fault::Truncate { after_bytes }),
        ]);
    }
    faults
}

/// Reads; what came is whole and right unless an error is told.
async fn read(rig: &Rig, blob: &Stored, wanted: Wanted) -> Result<(), CacheError> {
    read_held_to(rig, blob, wanted, true).await
}

/// The same; a part of a blob is served before the digest of the whole is known, so it is not held to the bytes of storage
/// that are wrong.
async fn read_held_to(rig: &Rig, blob: &Stored, wanted: Wanted, bytes: bool) -> Result<(), CacheError> {
    let mut reader = rig.cache.read(&blob.key, &blob.source, wanted).await?;
    let range = reader.range();
    let mut found = Vec::new();
    let ended = drain_into(&mut reader, &mut found).await;
    let came = ended.as_ref().unwrap_or(&found);
    let expected = &blob.content[range.start as usize..range.end as usize];
    match ended {
        Ok(_) if bytes => assert!(came == expected, "{wanted:?} looks whole and is not"),
        Ok(_) => assert!(came.len() == expected.len(), "{wanted:?} ends early and says nothing"),
        // Before the verdict on the whole, bytes of wrong content may have left: never the last of them.
        Err(_) => assert!(came.len() < expected.len(), "{wanted:?} is whole and then fails"),
    }
    ended.map(drop)
}

#[tokio::test(start_paused = true)]
async fn whatever_storage_does_at_any_phase_no_body_looks_whole_and_is_wrong() {
    let (mut cases, mut reads, mut told) = (0, 0, 0);
    for phase in [0, 20 * BLOCK, SIZE - 1] {
        for (name, passes, fault) in faults(phase) {
            for times in [Some(1), None] {
                for disk in [true, false] {
                    let rig = if disk { Rig::new().await } else { Rig::without_disk().await };
                    let blob = rig.blob(SIZE);
                    rig.origin.script(move |asked| asked.range.contains(&phase), times, fault.clone());
                    let wishes = [
                        Wanted::Whole,
                        Wanted::Whole,
                        Wanted::From(0),
                        Wanted::From(17 * BLOCK + 5),
                        Wanted::Closed { first: 3, last: 20 * BLOCK },
                        Wanted::Suffix(BLOCK + 1),
                    ];
                    let ends = join_all(wishes.map(|wanted| {
                        let whole = matches!(wanted, Wanted::Whole | Wanted::From(0));
                        read_held_to(&rig, &blob, wanted, whole || name != "wrong byte")
                    }))
                    .await;
                    cases += 1;
                    reads += ends.len();
                    let failed: Vec<_> = ends.iter().filter_map(|end| end.as_ref().err()).collect();
                    told += failed.len();
                    assert!(
                        failed.is_empty() || times.is_none() || passes == Passes::MayBeTold,
                        "{name} once at {phase}: {failed:?}"
                    );
                    rig.origin.heal();
                    rig.idle().await;
                    let again = read(&rig, &blob, Wanted::Whole).await;
                    assert!(again.is_ok(), "{name} at {phase}, when all is well again: {again:?}");
                }
            }
        }
    }
    println!("{cases} cases, {reads} reads: {told} ended with an error, 0 looked whole and were wrong");
    assert!(told > 0, "no fault was ever met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_dies_early_midway_or_late_fails_no_follower() {
    const RUNS: usize = 20;
    let mut refetched = 0;
    for tenth in [1, 5, 9] {
        for _ in 0..RUNS {
            let rig = Rig::with(|config| config.finish_bytes = 0).await;
            let blob = rig.blob(SIZE);
            let mut leader = rig.read(&blob, Wanted::Whole).await;
            let followers = join_all((0..10).map(|_| read(&rig, &blob, Wanted::Whole)));
            let dies = async {
                take(&mut leader, (SIZE * tenth / 10) as usize).await;
                drop(leader);
            };
            let both = async { tokio::join!(followers, dies) };
            let (ends, ()) = within(both).await.expect("nobody hangs");
            assert!(ends.iter().all(Result::is_ok), "the leader dies at {tenth} tenths: {ends:?}");
            rig.idle().await;
            let more = rig.origin_bytes() - SIZE;
            assert!(more <= BLOCK, "{more} bytes are fetched again");
            refetched += more;
        }
    }
    println!("{} leaders died under 10 followers each: 0 failed, {refetched} bytes fetched again", 3 * RUNS);
}

/// The bug that a public registry was seen with (microsoft/containerregistry#196): readers of 12 MB/s and of 64 KiB/s of one
/// blob, and the fast ones got a truncated body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_leader_truncates_nobody_in_200_runs() {
    const RUNS: usize = 200;
    let seed = seed();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut followed = 0;
    for run in 0..RUNS {
        let rig = if run % 2 == 0 { Rig::new().await } else { Rig::without_disk().await };
        let blob = rig.blob(SIZE);
        let mut leader = rig.read(&blob, Wanted::Whole).await;
        let mut head = take(&mut leader, random.random_range(1..SIZE as usize / 2)).await;
        let fast = random.random_range(1..8);
        let mut fast: Vec<_> = join_all((0..fast).map(|_| rig.read(&blob, Wanted::Whole))).await;
        followed += fast.len();
        // The slow one takes a piece for each blob that a fast one takes.
        for follower in &mut fast {
            let found = within(drain(follower)).await.expect("nobody waits for the slow one");
            assert!(found.expect("no error") == blob.content, "run {run}: a fast one is wrong");
            if let Some(piece) = leader.next().await {
                head.extend_from_slice(&piece.expect("no error"));
            }
        }
        head.extend(within(drain(&mut leader)).await.expect("it is not forgotten").expect("no error"));
        assert!(head == blob.content, "run {run}: the slow one is wrong");
        eventually("the fill ends", || rig.cache.stats().fills_running == 0).await;
    }
    println!("{RUNS} runs, {followed} fast followers of a slow leader: 0 truncated");
}
