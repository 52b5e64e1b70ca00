//! The number of windows that a tenant may have open is bounded, and nothing that was acknowledged suffers from it.

use pharos_head::{Head, HeadConfig};
use pharos_model::WriteError;

use crate::support::*;

const W: i64 = 2 * HOUR;
const NOW: i64 = 10_000 * W;
const LIMIT: usize = 3;

fn limited(fs: &MemFs) -> Head {
    try_open_at(fs, HeadConfig { max_open_windows: LIMIT, ..config() }, NOW).unwrap()
}

/// The message with which a write is refused as an overload.
fn overload(head: &Head, samples: &[(u32, i64, f64)]) -> String {
    match head.append(&tenant(), &batch(samples)) {
        Err(WriteError::Overloaded(message)) => message,
        Err(error) => panic!("{error}"),
        Ok((outcome, _)) => panic!("{outcome:?}"),
    }
}

/// One sample in each of some windows.
fn history(windows: std::ops::Range<i64>) -> Vec<(u32, i64, f64)> {
    windows.map(|window| (1, window * W + 5, window as f64)).collect()
}

#[test]
fn a_backfill_is_slowed_down_before_it_opens_too_many_windows() {
    let fs = MemFs::default();
    let head = limited(&fs);
    append(&head, &history(0..LIMIT as i64));
    let message = overload(&head, &history(9..10));
    assert!(message.contains("3 windows") && message.contains("timestamp 64800005"), "{message}");
    // Open windows still take samples, and so do new series in them.
    append(&head, &[(1, 6, 1.0), (2, W + 6, 1.0)]);
    // Once a window is flushed there is room for another.
    let cut = head.cut(&tenant(), 0, &all_shards());
    head.mark_flushed(&cut).wait().unwrap();
    append(&head, &history(9..10));
    assert!(overload(&head, &[(1, 7, 1.0)]).contains("timestamp 7 "), "a flushed window would be opened again");
}

#[test]
fn a_request_over_too_many_windows_makes_progress_whenever_it_is_sent_again() {
    let head = limited(&MemFs::default());
    let wanted = history(0..8);
    let mut rounds = 0;
    while head.append(&tenant(), &batch(&wanted)).is_err() {
        rounds += 1;
        for window in head.windows(&tenant()) {
            let cut = head.cut(&tenant(), window.start, &all_shards());
            head.mark_flushed(&cut).wait().unwrap();
        }
        assert!(rounds < 5, "{:?}", head.windows(&tenant()));
    }
    assert_eq!(read_all(&head).len(), wanted.len());
}

#[test]
fn what_was_taken_of_a_refused_request_is_in_the_log_and_a_refused_series_is_not_created() {
    let fs = MemFs::default();
    let head = limited(&fs);
    let mut samples = history(0..5);
    samples.push((7, 4 * W + 5, 1.0));
    overload(&head, &samples);
    head.commit().wait().unwrap();
    let taken = read_all(&head);
    assert_eq!(taken.len(), LIMIT);
    assert!(taken.keys().all(|(of, _)| *of == labels(1)));
    drop(head);
    assert_eq!(read_all(&limited(&fs)), taken);
}

#[test]
fn live_samples_are_taken_while_history_fills_the_windows() {
    let head = limited(&MemFs::default());
    append(&head, &history(0..LIMIT as i64));
    append(&head, &[(1, NOW, 1.0), (1, NOW - W, 1.0), (1, NOW + W, 1.0)]);
    overload(&head, &[(1, NOW + 3 * W, 1.0)]);
}

#[test]
fn a_copy_from_another_head_is_taken_whole() {
    let head = limited(&MemFs::default());
    head.append_copy(&tenant(), &batch(&history(0..9)), 0).unwrap().commit.wait().unwrap();
    assert_eq!(read_all(&head).len(), 9);
}
