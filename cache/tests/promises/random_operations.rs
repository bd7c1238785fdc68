//! Random operations against the simplest model there is: a read gives the object's bytes, or an error if the origin
//! was made to fail. `DATAPROXY_SEED` repeats a run.

use std::io::ErrorKind;
use std::time::Duration;

use dataproxy_cache::fakes::Fault;
use dataproxy_cache::fault::DiskCall;
use dataproxy_cache::{OriginErrorKind, Wanted};
use futures_util::StreamExt;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{BLOCK, Rig, Stored};

pub(crate) fn seed() -> u64 {
    match std::env::var("DATAPROXY_SEED") {
        Ok(seed) => seed.parse().expect("DATAPROXY_SEED is a number"),
        Err(_) => rand::random(),
    }
}

fn wish(random: &mut StdRng, size: u64) -> Wanted {
    match random.random_range(0..6) {
        0 | 1 => Wanted::Whole,
        2 => Wanted::From(random.random_range(0..size)),
        3 => Wanted::Suffix(random.random_range(1..size + 10)),
        4 => Wanted::From(0),
        _ => {
            let first = random.random_range(0..size);
            Wanted::Closed { first, last: first + random.random_range(0..20 * BLOCK) }
        }
    }
}

/// Reads, gives up after `pieces`, and checks what came. Whether it ended well.
async fn read(rig: &Rig, blob: &Stored, wanted: Wanted, pieces: usize) -> bool {
    let Ok(mut reader) = rig.cache.read(&blob.key, &blob.source, wanted).await else { return false };
    let range = reader.range();
    assert_eq!(range, wanted.resolve(blob.content.len() as u64).expect("satisfiable"), "{wanted:?}");
    let mut at = range.start as usize;
    for _ in 0..pieces {
        match reader.next().await {
            Some(Ok(piece)) => {
                assert!(piece == blob.content[at..at + piece.len()], "wrong bytes at {at} for {wanted:?}");
                at += piece.len();
            }
            Some(Err(_)) => return false,
            None => {
                assert_eq!(at as u64, range.end, "{wanted:?} ended early");
                break;
            }
        }
    }
    true
}

fn fault(random: &mut StdRng) -> Fault {
    let after_bytes = random.random_range(0..5 * BLOCK);
    match random.random_range(0..7) {
        0 => Fault::Refuse(OriginErrorKind::Unavailable),
        1 => Fault::Refuse(OriginErrorKind::Throttled(None)),
        2 => Fault::Break { after_bytes, kind: OriginErrorKind::Unavailable },
        3 => Fault::Truncate { after_bytes },
        4 => Fault::Stall { after_bytes },
        5 => Fault::Shift { by: 1 },
        _ => Fault::Mute,
    }
}

async fn run(seed: u64, disk: bool) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rig = Rig::with(|config| {
        config.finish_bytes = random.random_range(0..100) * BLOCK;
        config.memory_bytes = random.random_range(0..200) * BLOCK;
        match &mut config.disk {
            Some(tier) if disk => tier.capacity_bytes = random.random_range(60..400) * BLOCK,
            _ => config.disk = None,
        }
    })
    .await;
    let blobs: Vec<_> = (0..6).map(|_| rig.blob(random.random_range(1..100 * BLOCK))).collect();
    for step in 0..40 {
        let mut faults = 0;
        while random.random_bool(0.3) {
            rig.origin.next(fault(&mut random));
            faults += 1;
        }
        if random.random_bool(0.1) {
            let call = [DiskCall::Open, DiskCall::Read, DiskCall::Write][random.random_range(0..3)];
            let error = [ErrorKind::StorageFull, ErrorKind::Other][random.random_range(0..2)];
            rig.cache.fail_disk(call, Some(error));
        }
        let reads: Vec<_> = (0..random.random_range(1..8))
            .map(|_| {
                let blob = &blobs[random.random_range(0..blobs.len())];
                let pieces = if random.random_bool(0.3) { random.random_range(0..30) } else { usize::MAX };
                (blob, wish(&mut random, blob.content.len() as u64), pieces)
            })
            .collect();
        let all = join_all(reads.iter().map(|(blob, wanted, pieces)| read(&rig, blob, *wanted, *pieces)));
        // The clock is paused: this is far more than all idle timeouts and back-offs of one step.
        let ended = tokio::time::timeout(Duration::from_secs(3600), all).await;
        let ended = ended.unwrap_or_else(|_| panic!("step {step} hangs under {faults} faults"));
        assert!(
            faults >= 3 || ended.iter().all(|well| *well),
            "step {step}: a read failed under {faults} faults"
        );
        rig.origin.heal();
        for call in [DiskCall::Open, DiskCall::Read, DiskCall::Write] {
            rig.cache.fail_disk(call, None);
        }
        match random.random_range(0..20) {
            0 => drop(rig.cache.purge(&blobs[0].key.scope, None).await),
            1 => drop(rig.cache.purge(&blobs[0].key.scope, Some(&blobs[0].key.digest)).await),
            2 if disk => rig.reopen().await,
            _ => {}
        }
    }
    for blob in &blobs {
        rig.check(blob, Wanted::Whole).await;
    }
    rig.idle().await;
    assert_eq!(rig.cache.stats().fill_bytes, 0, "a fill left bytes behind");
}

#[tokio::test(start_paused = true)]
async fn any_order_of_reads_faults_purges_and_restarts_gives_the_right_bytes() {
    let first = seed();
    for round in 0..12 {
        let seed = first.wrapping_add(round);
        println!("DATAPROXY_SEED={seed}");
        run(seed, round % 3 != 2).await;
    }
}
