use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_model::Histogram;
use proptest::prelude::*;

use super::*;

const WINDOW: i64 = 1000;

fn float(t: i64, v: f64) -> Sample {
    Sample { t, v, st: 0 }
}

fn histogram(t: i64, sum: f64) -> HistogramSample {
    HistogramSample { t, st: 0, h: Arc::new(Histogram { sum, ..Histogram::default() }) }
}

fn at(t: i64, generation: u32) -> WindowGeneration {
    WindowGeneration { start: t.div_euclid(WINDOW) * WINDOW, generation }
}

fn insert(data: &mut SeriesData, t: i64, v: f64, generation: u32) -> Insert {
    data.insert(AnySample::Float(&float(t, v)), at(t, generation))
}

fn insert_histogram(data: &mut SeriesData, t: i64, sum: f64) -> Insert {
    data.insert(AnySample::Histogram(&histogram(t, sum)), at(t, 0))
}

/// All samples with their generations; the value of a histogram is its sum.
fn contents(data: &SeriesData) -> BTreeMap<i64, (f64, u32)> {
    let mut all = BTreeMap::new();
    data.for_each_run(|run| {
        let generation = run.generation();
        let mut add = |t: i64, v: f64| {
            assert_eq!(t.div_euclid(WINDOW), run.window_t().div_euclid(WINDOW), "a run lies in one window");
            assert!(all.insert(t, (v, generation)).is_none(), "timestamp {t} occurs twice");
        };
        match run {
            SampleRun::Chunk(chunk) if chunk.kind == ChunkKind::Histogram => chunk.histograms(|s| add(s.t, s.h.sum)),
            SampleRun::Chunk(chunk) => float_samples(chunk).iter().for_each(|s| add(s.t, s.v)),
            SampleRun::Late(late) => {
                late.floats.iter().for_each(|s| add(s.t, s.v));
                late.histograms.iter().for_each(|s| add(s.t, s.h.sum));
            }
        }
    });
    all
}

#[test]
fn a_new_series_is_empty_and_takes_no_heap_memory() {
    let data = SeriesData::new();
    assert!(data.is_empty());
    assert_eq!(data.heap_bytes(), 0);
}

#[test]
fn a_repeated_sample_is_the_same_and_another_value_a_conflict() {
    let mut data = SeriesData::new();
    for t in [100, 200, 150] {
        assert!(matches!(insert(&mut data, t, 1.0, 0), Insert::Added(_)));
    }
    for t in [100, 150, 200] {
        assert_eq!(insert(&mut data, t, 1.0, 0), Insert::Same);
        assert_eq!(insert(&mut data, t, 2.0, 0), Insert::Conflict);
    }
}

#[test]
fn histograms_and_floats_share_their_timestamps() {
    let mut data = SeriesData::new();
    insert(&mut data, 100, 1.0, 0);
    insert_histogram(&mut data, 200, 5.0);
    insert_histogram(&mut data, 150, 5.0);
    assert_eq!(insert_histogram(&mut data, 100, 1.0), Insert::Conflict);
    assert_eq!(insert(&mut data, 200, 5.0, 0), Insert::Conflict);
    assert_eq!(insert(&mut data, 150, 5.0, 0), Insert::Conflict);
    assert_eq!(insert_histogram(&mut data, 150, 5.0), Insert::Same);
    assert_eq!(insert_histogram(&mut data, 200, 6.0), Insert::Conflict);
}

#[test]
fn a_new_generation_begins_a_new_run() {
    let mut data = SeriesData::new();
    insert(&mut data, 100, 1.0, 0);
    insert(&mut data, 200, 2.0, 1);
    insert(&mut data, 150, 3.0, 1);
    assert_eq!(contents(&data), BTreeMap::from([(100, (1.0, 0)), (150, (3.0, 1)), (200, (2.0, 1))]));
}

#[test]
fn a_new_window_begins_a_new_run() {
    let mut data = SeriesData::new();
    insert(&mut data, 999, 1.0, 0);
    insert(&mut data, 1000, 2.0, 0);
    insert(&mut data, -1, 3.0, 0);
    assert_eq!(contents(&data).len(), 3);
}

#[test]
fn many_late_samples_are_sealed_into_a_chunk() {
    let mut data = SeriesData::new();
    insert(&mut data, 900, 0.0, 0);
    for t in (0..MAX_LATE_SAMPLES as i64).rev() {
        insert(&mut data, t, t as f64, 0);
    }
    assert!(data.late.is_none());
    assert_eq!(contents(&data).len(), MAX_LATE_SAMPLES + 1);
}

#[test]
fn evicted_runs_leave_the_others() {
    let mut data = SeriesData::new();
    insert(&mut data, 100, 1.0, 0);
    insert(&mut data, 50, 2.0, 0);
    insert(&mut data, 200, 3.0, 1);
    insert(&mut data, 150, 4.0, 1);
    let before = data.heap_bytes();
    let freed = data.evict_runs(|run| run.generation() == 0);
    assert_eq!(before - freed, data.heap_bytes());
    assert_eq!(contents(&data).into_keys().collect::<Vec<_>>(), [150, 200]);
    data.evict_runs(|_| true);
    assert!(data.is_empty());
    assert_eq!(data.heap_bytes(), 0);
}

#[test]
fn a_timestamp_is_free_again_after_its_eviction() {
    let mut data = SeriesData::new();
    insert(&mut data, 100, 1.0, 0);
    data.evict_runs(|_| true);
    assert!(matches!(insert(&mut data, 100, 2.0, 1), Insert::Added(_)));
    assert_eq!(contents(&data), BTreeMap::from([(100, (2.0, 1))]));
}

#[test]
fn removed_samples_are_reported_by_generation() {
    let mut data = SeriesData::new();
    for t in [100, 200, 300] {
        insert(&mut data, t, 1.0, 0);
    }
    insert(&mut data, 400, 1.0, 1);
    insert(&mut data, 250, 1.0, 1);
    let mut removed = BTreeMap::<u32, u64>::new();
    data.remove_samples(TimeRange::new(200, 260), |_, generation, n| *removed.entry(generation).or_default() += n);
    assert_eq!(removed, BTreeMap::from([(0, 1), (1, 1)]));
    assert_eq!(contents(&data).into_keys().collect::<Vec<_>>(), [100, 300, 400]);
}

#[test]
fn removing_a_range_without_samples_changes_nothing() {
    let mut data = SeriesData::new();
    insert(&mut data, 100, 1.0, 0);
    data.remove_samples(TimeRange::new(101, 500), |_, _, _| panic!("nothing is removed"));
    assert_eq!(contents(&data).len(), 1);
}

#[test]
fn removing_everything_leaves_an_empty_series() {
    let mut data = SeriesData::new();
    insert(&mut data, 100, 1.0, 0);
    insert_histogram(&mut data, 200, 1.0);
    insert_histogram(&mut data, 150, 1.0);
    data.remove_samples(TimeRange::ALL, |_, _, _| {});
    assert!(data.is_empty());
}

#[test]
fn floats_and_histograms_may_alternate() {
    let mut data = SeriesData::new();
    for t in 0..20 {
        match t % 2 {
            0 => insert(&mut data, t, t as f64, 0),
            _ => insert_histogram(&mut data, t, t as f64),
        };
    }
    assert_eq!(contents(&data), (0..20).map(|t| (t, (t as f64, 0))).collect());
}

proptest! {
    #[test]
    fn a_series_equals_a_map(
        samples in proptest::collection::vec((0i64..3000, 0u8..3, any::<bool>()), 1..300),
        removed in (0i64..3000, 0i64..3000),
    ) {
        let mut data = SeriesData::new();
        let mut model: BTreeMap<i64, (f64, bool)> = BTreeMap::new();
        let mut grown = 0isize;
        for (t, v, is_histogram) in samples {
            let v = f64::from(v);
            let inserted = if is_histogram { insert_histogram(&mut data, t, v) } else { insert(&mut data, t, v, 0) };
            match (inserted, model.get(&t)) {
                (Insert::Added(bytes), None) => {
                    grown += bytes;
                    model.insert(t, (v, is_histogram));
                }
                (Insert::Same, Some(had)) => prop_assert_eq!(*had, (v, is_histogram)),
                (Insert::Conflict, Some(had)) => prop_assert_ne!(*had, (v, is_histogram)),
                (inserted, had) => prop_assert!(false, "{:?} at {}, where {:?} was", inserted, t, had),
            }
        }
        prop_assert_eq!(grown, data.heap_bytes() as isize);
        let values = |model: &BTreeMap<i64, (f64, bool)>| model.iter().map(|(t, (v, _))| (*t, (*v, 0))).collect::<BTreeMap<_, _>>();
        prop_assert_eq!(contents(&data), values(&model));
        let range = TimeRange::new(removed.0.min(removed.1), removed.0.max(removed.1));
        let mut count = 0;
        data.remove_samples(range, |_, _, n| count += n);
        let before = model.len() as u64;
        model.retain(|t, _| !range.contains(*t));
        prop_assert_eq!(count, before - model.len() as u64);
        prop_assert_eq!(contents(&data), values(&model));
    }
}
