//! The log is as long as the samples in memory need it.

use pharos_head::{Head, HeadConfig};
use pharos_model::{Matcher, TimeRange};

use crate::support::*;

const W: i64 = 2 * HOUR;

fn head_at(fs: &MemFs, now: i64) -> Head {
    try_open_at(fs, HeadConfig { out_of_order_window_ms: 1000 * HOUR, ..config() }, now).unwrap()
}

/// Fills a segment with samples of a window, of which nothing is left in memory afterwards.
fn pass(head: &Head, window: i64) {
    for i in 0..100 {
        append(head, &[(1, window + i * 1000, 0.1 * i as f64), (2, window + i * 1000, 0.7 * i as f64)]);
    }
    flush(head, window);
}

fn flush(head: &Head, window: i64) {
    let cut = head.cut(&tenant(), window, &all_shards());
    head.mark_flushed(&cut).wait().unwrap();
    head.evict_flushed(&tenant(), window, &all_shards()).unwrap();
}

fn late(round: i64) -> (u32, i64, f64) {
    ((round % 7) as u32, 1_000_000 + round, round as f64)
}

#[test]
fn late_samples_that_leave_memory_soon_do_not_keep_the_log_of_their_window() {
    let fs = MemFs::default();
    let head = head_at(&fs, 0);
    // This one stays, and so does the window.
    append(&head, &[(9, 5, 5.0)]);
    for round in 1..100 {
        pass(&head, round * W);
        append(&head, &[late(round)]);
        let others = head.cut(&tenant(), 0, &(0..64).filter(|s| *s != shard_of(9)).collect());
        head.mark_flushed(&others).wait().unwrap();
        head.evict_flushed(&tenant(), 0, others.shards()).unwrap();
        assert!(fs.files().len() < 12, "{} segments in round {round}", fs.files().len());
    }
    let left = read_all(&head);
    assert!(left.contains_key(&(labels(9), 5)));
    drop(head);
    assert_eq!(read_all(&head_at(&fs, 0)), left);
}

fn shard_of(series: u32) -> u32 {
    pharos_model::hash::shard_of(pharos_model::series_hash(&tenant(), labels(series).as_bytes()), 64)
}

#[test]
fn a_few_samples_that_stay_do_not_keep_the_log_of_those_that_left() {
    let fs = MemFs::default();
    let mut head = head_at(&fs, 0);
    let mut expected = Samples::new();
    for round in 1..100 {
        pass(&head, round * W);
        let (series, t, v) = late(round);
        append(&head, &[(series, t, v)]);
        expected.insert((labels(series), t), v.to_bits());
        assert!(fs.files().len() < 16, "{} segments in round {round}", fs.files().len());
        if round % 10 == 0 {
            drop(head);
            fs.crash(round % 20 == 0);
            head = head_at(&fs, 0);
        }
        assert_eq!(read_all(&head), expected);
    }
    drop(head);
    assert_eq!(read_all(&head_at(&fs, 0)), expected);
}

/// A log of which the samples of an old window were repeated: two of them flushed, one not, and one deleted since.
fn repeated(fs: &MemFs) -> Head {
    let head = head_at(fs, 0);
    append(&head, &[(1, 1000, 1.0), (2, 1000, 2.0)]);
    let cut = head.cut(&tenant(), 0, &all_shards());
    head.mark_flushed(&cut).wait().unwrap();
    append(&head, &[(1, 2000, 3.0), (3, 2000, 4.0)]);
    let first = fs.files()[0].0.clone();
    let mut round = 0;
    while fs.files()[0].0 == first {
        round += 1;
        assert!(round < 50, "the first segment is removed in the end");
        pass(&head, round * W);
    }
    head.delete(&tenant(), &[Matcher::equal("instance", "3")], TimeRange::ALL, 0).unwrap().wait().unwrap();
    head
}

#[test]
fn repeated_samples_stay_flushed_or_unflushed_across_restarts() {
    let fs = MemFs::default();
    let head = repeated(&fs);
    let window = |head: &Head| {
        let mut found = head.windows(&tenant()).remove(0);
        // Once the segments with its first cuts are gone, the log knows later ones only.
        found.shards.iter_mut().for_each(|held| held.first_generation = 0);
        (found.start, found.flushed_samples, found.unflushed_samples, found.newest_cut, found.shards)
    };
    let before = (read_all(&head), read_unflushed(&head), window(&head));
    assert_eq!(before.1, Samples::from([((labels(1), 2000), 3f64.to_bits())]));
    assert_eq!((before.2.0, before.2.1, before.2.2), (0, 2, 1));
    drop(head);
    for _ in 0..2 {
        let again = head_at(&fs, 0);
        assert_eq!((read_all(&again), read_unflushed(&again), window(&again)), before);
    }
}

#[test]
fn repeated_samples_leave_memory_and_the_log_as_others_do() {
    let fs = MemFs::default();
    let head = repeated(&fs);
    flush(&head, 0);
    for round in 100..103 {
        pass(&head, round * W);
    }
    assert!(read_all(&head).is_empty());
    assert!(fs.files().len() <= 3, "{} segments", fs.files().len());
    drop(head);
    assert!(read_all(&head_at(&fs, 0)).is_empty());
}

#[test]
fn samples_survive_a_death_at_every_operation_while_others_are_repeated() {
    for operation in (1..150).step_by(5) {
        for keep_torn in [false, true] {
            let fs = MemFs::default();
            let head = head_at(&fs, 0);
            append(&head, &[(1, 1000, 1.0), (3, 2000, 4.0)]);
            (1..8).for_each(|round| pass(&head, round * W));
            let before = read_all(&head);
            fs.fault_at(operation, Fault::Die);
            for round in 8..12 {
                let samples: Vec<_> = (0..40).map(|i| (5, round * W + i, 0.3 * i as f64)).collect();
                if head.append(&tenant(), &batch(&samples)).is_err() {
                    break;
                }
                let cut = head.cut(&tenant(), round * W, &all_shards());
                let _marked = head.mark_flushed(&cut);
                if head.evict_flushed(&tenant(), round * W, &all_shards()).is_err() {
                    break;
                }
            }
            drop(head);
            fs.crash(keep_torn);
            let found = read_all(&head_at(&fs, 0));
            let survive = before.iter().all(|(key, bits)| found.get(key) == Some(bits));
            assert!(survive, "death at operation {operation}, torn: {keep_torn}");
        }
    }
}
