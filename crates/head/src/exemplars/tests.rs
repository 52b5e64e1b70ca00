use super::*;
use crate::series::SeriesData;

fn series(id: u32, shard: u16) -> Arc<Series> {
    let labels = Labels::from_pairs([("series", id.to_string())]);
    Arc::new(Series { id, shard, hash: 0, labels, data: parking_lot::Mutex::new(SeriesData::new()) })
}

fn at(t: i64) -> Exemplar {
    Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 1.0, t }
}

fn filled(capacity: usize, times: std::ops::Range<i64>) -> (ExemplarRing, Arc<Series>) {
    let mut ring = ExemplarRing::new(capacity);
    let one = series(1, 0);
    for t in times {
        assert_eq!(ring.add(&one, &at(t), 0), ExemplarInsert::Added);
    }
    (ring, one)
}

fn timestamps(ring: &ExemplarRing, range: TimeRange) -> Vec<i64> {
    ring.select(range, |_, _| true).iter().flat_map(|s| s.exemplars.iter().map(|e| e.t)).collect()
}

#[test]
fn the_ring_keeps_the_newest_exemplars() {
    let (ring, _) = filled(3, 0..10);
    assert_eq!(timestamps(&ring, TimeRange::ALL), [7, 8, 9]);
}

#[test]
fn a_range_selects_by_timestamp() {
    let (ring, _) = filled(10, 0..10);
    assert_eq!(timestamps(&ring, TimeRange::new(8, 9)), [8, 9]);
}

#[test]
fn a_second_exemplar_at_the_newest_timestamp_is_added() {
    let (mut ring, one) = filled(3, 0..1);
    assert_eq!(ring.add(&one, &Exemplar { value: 2.0, ..at(0) }, 0), ExemplarInsert::Added);
}

#[test]
fn exemplars_are_kept_in_any_order_of_time() {
    let mut ring = ExemplarRing::new(10);
    let one = series(1, 0);
    for t in [5, 9, 3, 7] {
        assert_eq!(ring.add(&one, &at(t), 0), ExemplarInsert::Added);
    }
    assert_eq!(timestamps(&ring, TimeRange::ALL), [3, 5, 7, 9], "oldest first");
}

#[test]
fn an_exemplar_that_is_sent_again_is_kept_once() {
    let (mut ring, one) = filled(10, 0..10);
    for t in [3, 9, 0] {
        assert_eq!(ring.add(&one, &at(t), 0), ExemplarInsert::Ignored);
    }
    assert_eq!(ring.add(&series(2, 0), &at(3), 0), ExemplarInsert::Added, "of another series");
    assert_eq!(timestamps(&ring, TimeRange::ALL).len(), 10);
}

#[test]
fn labels_over_the_limit_of_openmetrics_are_rejected() {
    let (mut ring, one) = filled(3, 0..1);
    let long = |chars: usize| Exemplar { labels: Labels::from_pairs([("id", "ä".repeat(chars))]), ..at(99) };
    assert_eq!(ring.add(&one, &long(126), 0), ExemplarInsert::Added);
    assert!(matches!(ring.add(&one, &long(127), 0), ExemplarInsert::Rejected(_)));
}

#[test]
fn an_exemplar_that_was_pushed_out_may_be_added_again() {
    let (mut ring, one) = filled(1, 5..6);
    assert_eq!(ring.add(&series(2, 0), &at(9), 0), ExemplarInsert::Added);
    assert_eq!(ring.add(&one, &at(5), 0), ExemplarInsert::Added);
}

#[test]
fn removing_a_series_leaves_the_others() {
    let (mut ring, _) = filled(10, 0..3);
    ring.add(&series(2, 0), &at(7), 0);
    ring.remove_series(|series| series.id == 1);
    assert_eq!(timestamps(&ring, TimeRange::ALL), [7]);
}

#[test]
fn a_removed_series_starts_over() {
    let (mut ring, one) = filled(3, 5..9);
    ring.remove_series(|series| series.id == 1);
    assert_eq!(ring.add(&one, &at(5), 0), ExemplarInsert::Added);
}

#[test]
fn a_smaller_capacity_removes_the_oldest() {
    let (mut ring, _) = filled(10, 0..10);
    ring.set_capacity(2);
    assert_eq!(timestamps(&ring, TimeRange::ALL), [8, 9]);
}

#[test]
fn a_ring_without_capacity_ignores_exemplars() {
    let mut ring = ExemplarRing::new(0);
    assert_eq!(ring.add(&series(1, 0), &at(1), 0), ExemplarInsert::Ignored);
    assert!(timestamps(&ring, TimeRange::ALL).is_empty());
}

#[test]
fn a_selection_sees_series_and_generation() {
    let mut ring = ExemplarRing::new(10);
    for (id, generation) in [(2, 1), (1, 1), (3, 2)] {
        ring.add(&series(id, id as u16), &at(1), generation);
    }
    let found = ring.select(TimeRange::ALL, |series, generation| series.shard < 3 && generation == 1);
    let labels: Vec<_> = found.iter().map(|s| s.labels.get("series").unwrap()).collect();
    assert_eq!(labels, ["1", "2"], "by ascending labels");
}
