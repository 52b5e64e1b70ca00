//! Windows: cuts are stable, late samples become later cuts, marks survive restarts, dropping frees.

use std::convert::Infallible;

use pharos_head::{Head, HeadConfig, HeadFilter, WindowCut};
use pharos_model::{Matcher, TimeRange};

use crate::support::*;

const W: i64 = 2 * HOUR;

fn contents(cut: &WindowCut) -> Samples {
    let (mut all, mut previous) = (Samples::new(), None);
    cut.for_each(|series| {
        assert!(previous.as_ref() < Some(series.labels), "ascending labels");
        previous = Some(series.labels.clone());
        all.extend(
            series.samples.t.iter().zip(series.samples.v).map(|(t, v)| ((series.labels.clone(), *t), v.to_bits())),
        );
        Ok::<_, Infallible>(())
    })
    .unwrap();
    all
}

fn sample(series: u32, t: i64, v: f64) -> ((pharos_model::Labels, i64), u64) {
    ((labels(series), t), v.to_bits())
}

fn head_with_two_windows(fs: &MemFs) -> Head {
    let head = open(fs);
    append(&head, &[(1, 100, 1.0), (2, 100, 2.0)]);
    append(&head, &[(1, 200, 3.0), (3, W + 100, 4.0)]);
    head
}

#[test]
fn a_cut_is_stable_and_late_samples_are_the_next_cut() {
    let fs = MemFs::default();
    let head = head_with_two_windows(&fs);
    let first = head.cut(&tenant(), 500, &all_shards());
    append(&head, &[(1, 300, 5.0), (1, 150, 6.0), (4, 100, 7.0)]);
    assert_eq!(contents(&first), Samples::from([sample(1, 100, 1.0), sample(2, 100, 2.0), sample(1, 200, 3.0)]));
    head.mark_flushed(&first).wait().unwrap();
    let info = head.windows(&tenant()).remove(0);
    assert_eq!((info.start, info.unflushed_samples, info.flushed_samples), (0, 3, 3));
    assert!((0..64).all(|shard| info.flushed(shard) == first.number()));
    let delta = head.cut(&tenant(), 0, &all_shards());
    assert_eq!(contents(&delta), Samples::from([sample(1, 300, 5.0), sample(1, 150, 6.0), sample(4, 100, 7.0)]));

    let served = |late| read(&head, TimeRange::ALL, HeadFilter { from: W, late, ..HeadFilter::ALL });
    assert_eq!(served(false), Samples::from([sample(3, W + 100, 4.0)]));
    assert_eq!(served(true).len(), 4, "late samples are served until they are flushed");
    head.mark_flushed(&delta).wait().unwrap();
    assert_eq!(served(true).len(), 1);
    assert_eq!(read_all(&head).len(), 7, "nothing is dropped yet");

    assert!(head.drop_flushed(&tenant(), 0, &all_shards()).unwrap() > 0);
    assert_eq!(read_all(&head), Samples::from([sample(3, W + 100, 4.0)]));
    assert_eq!(head.stats(&tenant(), 1).series, 1, "series without samples are gone");
    append(&head, &[(1, W + 200, 9.0)]);
    assert_eq!(read_all(&head).len(), 2);
}

#[test]
fn marks_survive_restarts_also_by_number() {
    let fs = MemFs::default();
    let head = head_with_two_windows(&fs);
    let cut = head.cut(&tenant(), 0, &all_shards());
    head.commit().wait().unwrap();
    append(&head, &[(1, 250, 8.0)]);
    drop(head);
    fs.crash(false);

    let head = open(&fs);
    assert_eq!(head.windows(&tenant())[0].cuts, 1);
    head.mark_flushed_cut(&tenant(), 0, cut.number(), cut.shards()).wait().unwrap();
    drop(head);
    fs.crash(false);

    let head = open(&fs);
    assert_eq!(contents(&head.cut(&tenant(), 0, &all_shards())), Samples::from([sample(1, 250, 8.0)]));
    head.drop_flushed(&tenant(), 0, &all_shards()).unwrap();
    let left = read_all(&head);
    assert_eq!(left, Samples::from([sample(1, 250, 8.0), sample(3, W + 100, 4.0)]));
    drop(head);
    assert_eq!(read_all(&open(&fs)), left);
}

#[test]
fn the_log_stays_short() {
    let fs = MemFs::default();
    let head = try_open(&fs, HeadConfig { out_of_order_window_ms: 0, ..config() }).unwrap();
    let mut most = 0;
    for window in 0..30 {
        for i in 0..100 {
            append(&head, &[(1, window * W + i * 60_000, i as f64), (2, window * W + i * 60_000, 0.1)]);
        }
        let cut = head.cut(&tenant(), window * W, &all_shards());
        head.mark_flushed(&cut).wait().unwrap();
        head.drop_flushed(&tenant(), window * W, &all_shards()).unwrap();
        most = most.max(fs.files().len());
    }
    assert!(most < 8, "{most} segments");
    assert!(head.windows(&tenant()).len() < 4);
    let left = read_all(&head);
    drop(head);
    assert_eq!(read_all(&open(&fs)), left);
}

#[test]
fn a_sample_sent_again_with_another_value_after_the_drop_survives_a_restart() {
    let fs = MemFs::default();
    let head = head_with_two_windows(&fs);
    let cut = head.cut(&tenant(), 0, &all_shards());
    head.mark_flushed(&cut).wait().unwrap();
    head.drop_flushed(&tenant(), 0, &all_shards()).unwrap();
    append(&head, &[(1, 100, 99.0)]);
    drop(head);
    let head = open(&fs);
    assert_eq!(contents(&head.cut(&tenant(), 0, &all_shards())), Samples::from([sample(1, 100, 99.0)]));
}

#[test]
fn deletions_survive_restarts() {
    let fs = MemFs::default();
    let head = head_with_two_windows(&fs);
    append(&head, &[(1, 50, 1.0)]);
    head.delete(&tenant(), &[Matcher::equal("instance", "1")], TimeRange::new(0, 150)).unwrap().wait().unwrap();
    head.delete(&tenant(), &[Matcher::equal("instance", "2")], TimeRange::ALL).unwrap().wait().unwrap();
    let left = Samples::from([sample(1, 200, 3.0), sample(3, W + 100, 4.0)]);
    assert_eq!(read_all(&head), left);
    assert_eq!(head.windows(&tenant())[0].unflushed_samples, 1);
    assert_eq!(head.stats(&tenant(), 1).series, 2);
    append(&head, &[(2, 300, 1.0)]);
    drop(head);
    let head = open(&fs);
    assert_eq!(read_all(&head).len(), 3);
    assert_eq!(head.windows(&tenant())[0].unflushed_samples, 2);
}
