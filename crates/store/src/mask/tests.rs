//! Masks over a set of three series, a, b and c, with samples at 1, 2 and 3.

use super::*;

struct Fixed(Vec<Labels>);

impl SeriesSet for Fixed {
    fn labels(&self) -> &[Labels] {
        &self.0
    }
    fn fetch(&self, series: Range<usize>, _: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        series.for_each(|i| out.push(SeriesView { t: &[1, 2, 3], v: &[i as f64; 3], ..SeriesView::EMPTY }));
        Ok(())
    }
}

fn deletion(selector: &str, start: i64, end: i64, sequence: u64) -> Mask {
    Mask::parse(&Deletion { selector: selector.into(), start, end, sequence }).unwrap()
}

fn visible(masks: &[Mask], sequence: u64) -> Vec<(String, Vec<i64>)> {
    let labels = ["a", "b", "c"].map(|name| Labels::from_pairs([("__name__", name)])).to_vec();
    let set = apply(Arc::new(Fixed(labels)), masks, sequence, TimeRange::new(1, 3));
    let mut out = SeriesBatch::default();
    set.fetch(0..set.labels().len(), TimeRange::ALL, &mut out).unwrap();
    set.labels().iter().enumerate().map(|(i, l)| (l.metric_name().to_string(), out.view(i).t.to_vec())).collect()
}

const ALL: [i64; 3] = [1, 2, 3];

fn expected(series: &[(&str, &[i64])]) -> Vec<(String, Vec<i64>)> {
    series.iter().map(|(name, times)| (name.to_string(), times.to_vec())).collect()
}

#[test]
fn without_masks_everything_shows() {
    assert_eq!(visible(&[], 1), expected(&[("a", &ALL), ("b", &ALL), ("c", &ALL)]));
}

#[test]
fn a_masked_time_is_hidden_from_its_series_only() {
    let masks = [deletion("{__name__=\"a\"}", 2, 2, 7)];
    assert_eq!(visible(&masks, 7), expected(&[("a", &[1, 3]), ("b", &ALL), ("c", &ALL)]));
}

#[test]
fn a_series_without_visible_time_is_omitted() {
    let masks = [deletion("{__name__=~\"b|x\"}", 0, 9, 7)];
    assert_eq!(visible(&masks, 7), expected(&[("a", &ALL), ("c", &ALL)]));
}

#[test]
fn a_block_that_was_committed_later_is_not_masked() {
    let masks = [deletion("{__name__=\"a\"}", 0, 9, 7)];
    assert_eq!(visible(&masks, 8).len(), 3);
}

#[test]
fn masks_of_one_series_add_up() {
    let masks = [deletion("{__name__=\"a\"}", 1, 1, 7), deletion("{__name__=\"a\"}", 3, 3, 8)];
    assert_eq!(visible(&masks, 7), expected(&[("a", &[2]), ("b", &ALL), ("c", &ALL)]));
}

#[test]
fn a_mask_outside_the_block_changes_nothing() {
    let masks = [deletion("{__name__=\"a\"}", 4, 9, 7)];
    assert_eq!(visible(&masks, 7).len(), 3);
}

#[test]
fn a_matcher_for_a_missing_label_matches_the_empty_value() {
    let masks = [deletion("{__name__=~\".+\",job=\"\"}", 0, 9, 7)];
    assert_eq!(visible(&masks, 7), expected(&[]));
}

#[test]
fn a_part_of_a_masked_set_can_be_fetched() {
    let masks = [deletion("{__name__=\"a\"}", 0, 9, 7)];
    let labels = ["a", "b", "c"].map(|name| Labels::from_pairs([("__name__", name)])).to_vec();
    let set = apply(Arc::new(Fixed(labels)), &masks, 7, TimeRange::new(1, 3));
    let mut out = SeriesBatch::default();
    set.fetch(1..2, TimeRange::ALL, &mut out).unwrap();
    assert_eq!(out.view(0).v, [2.0; 3], "the series c");
    set.fetch(0..0, TimeRange::ALL, &mut out).unwrap();
}

#[test]
fn an_unreadable_deletion_is_an_error() {
    let bad = Deletion { selector: "{".into(), start: 0, end: 1, sequence: 1 };
    let error = Mask::parse(&bad).err().unwrap().to_string();
    assert!(error.contains("deletion \"{\" in the catalogue"), "{error}");
}
