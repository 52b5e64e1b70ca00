//! A failing disk: no acknowledged sample is lost, none is stored twice, and writing resumes once the disk recovers.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pharos_head::{Head, HeadConfig, HeadError};
use pharos_model::WriteError;

use crate::support::*;

/// Appends until the disk dies. After a crash every acknowledged sample must be there once, whatever was torn.
#[test]
fn acknowledged_samples_survive_a_death_at_every_operation() {
    for operation in 1..60 {
        for keep_torn in [false, true] {
            let fs = MemFs::default();
            let head = open(&fs);
            fs.fault_at(operation, Fault::Die);
            let mut acknowledged = Samples::new();
            for i in 0..40i64 {
                let samples: Vec<_> = (0..12).map(|s| (s, i * 1000, (i * 7) as f64 + 0.25)).collect();
                let Ok((_, commit)) = head.append(&tenant(), &batch(&samples)) else { break };
                if i == 20 {
                    let cut = head.cut(&tenant(), 0, &all_shards());
                    let _marked = head.mark_flushed(&cut);
                }
                while !commit.is_durable() && !fs.is_dead() {
                    std::thread::yield_now();
                }
                if !commit.is_durable() {
                    break;
                }
                acknowledged.extend(samples.iter().map(|(s, t, v)| ((labels(*s), *t), v.to_bits())));
            }
            drop(head);
            fs.crash(keep_torn);
            let head = open(&fs);
            let found = read_all(&head);
            for (sample, bits) in &acknowledged {
                assert_eq!(found.get(sample), Some(bits), "death at operation {operation}, torn: {keep_torn}");
            }
            append(&head, &[(1, 50_000, 1.0)]);
            drop(head);
            assert_eq!(read_all(&open(&fs)).len(), found.len() + 1);
        }
    }
}

#[test]
fn a_single_failure_of_any_operation_is_repaired_without_a_restart() {
    for fault in [Fault::Fail, Fault::Short] {
        for operation in 1..40 {
            let fs = MemFs::default();
            let head = open(&fs);
            fs.fault_at(operation, fault);
            for i in 0..15i64 {
                append(&head, &(0..10).map(|s| (s, i * 1000, i as f64)).collect::<Vec<_>>());
            }
            let before = read_all(&head);
            assert_eq!(before.len(), 150);
            drop(head);
            fs.crash(false);
            assert_eq!(read_all(&open(&fs)), before, "{fault:?} at operation {operation}");
        }
    }
}

#[test]
fn a_new_log_is_incomplete_until_it_is_declared_complete() {
    let fs = MemFs::default();
    let head = open(&fs);
    assert!(head.is_incomplete());
    append(&head, &[(1, 0, 0.0)]);
    drop(head);
    fs.crash(false);
    let head = open(&fs);
    assert!(head.is_incomplete());
    fs.set_failing(true);
    assert!(head.set_complete().is_err());
    assert!(head.is_incomplete());
    fs.set_failing(false);
    head.set_complete().unwrap();
    assert!(!head.is_incomplete());
    drop(head);
    fs.crash(false);
    let head = open(&fs);
    assert!(!head.is_incomplete());
    head.set_complete().unwrap();
    assert_eq!(read_all(&head).len(), 1);
}

#[test]
fn a_new_log_that_cannot_be_marked_as_incomplete_does_not_open() {
    for operation in 1..=3 {
        let fs = MemFs::default();
        fs.fault_at(operation, Fault::Fail);
        assert!(matches!(try_open(&fs, config()), Err(HeadError::Io { .. })), "operation {operation}");
    }
}

#[test]
fn a_full_disk_refuses_writes_before_memory_is_touched() {
    let fs = MemFs::default();
    let head = try_open(&fs, HeadConfig { max_pending_bytes: 4096, ..config() }).unwrap();
    append(&head, &[(1, 0, 0.0)]);
    fs.set_failing(true);
    let mut commits = Vec::new();
    let refused = (1..10_000i64).find_map(|i| match head.append(&tenant(), &batch(&[(1, i, i as f64)])) {
        Ok((_, commit)) => {
            commits.push(commit);
            None
        }
        Err(error) => Some((i, error)),
    });
    let (at, error) = refused.unwrap();
    assert!(matches!(error, WriteError::Unavailable(_)), "{error}");
    assert_eq!(read_all(&head).len() as i64, at, "refused samples are not in memory");
    assert!(commits.iter().all(|c| !c.is_durable()), "nothing is acknowledged");
    fs.set_failing(false);
    until_durable(&head);
    assert!(commits.iter().all(|c| c.is_durable()));
    append(&head, &[(1, at, 1.0)]);
    let before = read_all(&head);
    drop(head);
    fs.crash(false);
    assert_eq!(read_all(&open(&fs)), before);
}

#[test]
fn a_repeated_sample_is_acknowledged_only_when_the_first_is_durable() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, 0, 0.0)]);
    fs.set_failing(true);
    let (_, first) = head.append(&tenant(), &batch(&[(1, 5, 1.0)])).unwrap();
    let (outcome, again) = head.append(&tenant(), &batch(&[(1, 5, 1.0)])).unwrap();
    assert_eq!(outcome.samples, 1);
    assert!(!again.is_durable());
    fs.set_failing(false);
    until_durable(&head);
    assert!(first.is_durable() && again.is_durable());
}

/// Waits until the log has recovered. Until then, commits fail at once.
fn until_durable(head: &Head) {
    while head.commit().wait().is_err() {
        std::thread::yield_now();
    }
}

#[test]
fn a_commit_fails_while_the_log_cannot_be_written() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, 0, 0.0)]);
    fs.set_failing(true);
    let (_, commit) = head.append(&tenant(), &batch(&[(1, 5, 1.0)])).unwrap();
    let error = commit.wait().unwrap_err();
    assert!(error.to_string().starts_with("the write-ahead log cannot be written: "), "{error}");
    assert!(head.append(&tenant(), &batch(&[(1, 6, 1.0)])).is_err(), "and so do appends");
    fs.set_failing(false);
    until_durable(&head);
    append(&head, &[(1, 5, 1.0), (1, 6, 1.0)]);
    assert_eq!(read_all(&head).len(), 3);
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_pending_commit_wakes_and_fails_when_the_log_closes() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, 0, 0.0)]);
    fs.set_failing(true);
    let (_, commit) = head.append(&tenant(), &batch(&[(1, 5, 1.0)])).unwrap();
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(flag.clone());
    let mut commit = pin!(commit);
    assert!(commit.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(head);
    assert!(flag.0.load(Ordering::SeqCst));
    let polled = commit.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(matches!(polled, Poll::Ready(Err(WriteError::Unavailable(_)))));
}

#[test]
fn a_commit_that_is_durable_resolves_at_once() {
    let head = open(&MemFs::default());
    append(&head, &[(1, 0, 0.0)]);
    let mut commit = pin!(head.commit());
    assert!(commit.is_durable());
    assert!(matches!(commit.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
}

#[test]
fn a_pending_commit_wakes_when_the_log_recovers() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, 0, 0.0)]);
    fs.set_failing(true);
    let (_, commit) = head.append(&tenant(), &batch(&[(1, 5, 1.0)])).unwrap();
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(flag.clone());
    let mut commit = pin!(commit);
    let _ = commit.as_mut().poll(&mut Context::from_waker(&waker));
    fs.set_failing(false);
    until_durable(&head);
    assert!(commit.is_durable());
    assert!(matches!(commit.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(()))));
}

#[test]
fn the_queue_drains_once_everything_is_durable() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, 0, 0.0)]);
    assert_eq!(head.pending_bytes(), 0);
    fs.set_failing(true);
    let (_, _commit) = head.append(&tenant(), &batch(&[(1, 5, 1.0)])).unwrap();
    assert!(head.pending_bytes() > 0);
    fs.set_failing(false);
    until_durable(&head);
    assert_eq!(head.pending_bytes(), 0);
}

#[test]
fn an_eviction_whose_segments_cannot_be_removed_is_an_error_and_succeeds_later() {
    let fs = MemFs::default();
    let head = try_open(&fs, HeadConfig { out_of_order_window_ms: 0, ..config() }).unwrap();
    for i in 0..200 {
        append(&head, &[(1, i * 1000, i as f64)]);
    }
    let cut = head.cut(&tenant(), 0, &all_shards());
    head.mark_flushed(&cut).wait().unwrap();
    append(&head, &[(1, 10 * HOUR, 1.0)]);
    let before = fs.files().len();
    fs.set_failing(true);
    assert!(matches!(head.evict_flushed(&tenant(), 0, &all_shards()), Err(HeadError::Io { action: "remove", .. })));
    assert_eq!(fs.files().len(), before);
    fs.set_failing(false);
    until_durable(&head);
    head.evict_flushed(&tenant(), 0, &all_shards()).unwrap();
    assert!(fs.files().len() < before);
    assert_eq!(read_all(&head).len(), 1);
}

#[test]
fn what_a_killed_process_had_not_fsynced_is_durable_once_the_log_is_open() {
    let fs = MemFs::default();
    let head = open(&fs);
    append(&head, &[(1, HOUR, 1.0)]);
    // The write succeeds, the fsync does not.
    fs.fault_at(2, Fault::Die);
    let (_, commit) = head.append(&tenant(), &batch(&[(1, HOUR + 1, 2.0)])).unwrap();
    commit.wait().unwrap_err();
    drop(head);
    fs.kill();
    let head = open(&fs);
    // A sender that tries again is told that it is there.
    append(&head, &[(1, HOUR + 1, 2.0)]);
    append(&head, &[(1, HOUR + 2, 3.0)]);
    drop(head);
    fs.crash(false);
    assert_eq!(read_all(&open(&fs)).len(), 3);
}
