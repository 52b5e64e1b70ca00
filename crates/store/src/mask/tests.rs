//! Masks over a set of three series, a, b and c, with samples at 1, 2 and 3.

use super::*;

fn deletion(selector: &str, start: i64, end: i64, sequence: u64) -> Mask {
    Mask::parse(&Deletion { selector: selector.into(), start, end, sequence }).unwrap()
}

/// The entry of a block with samples from 1 to 3.
fn block(sequence: u64, deletions_seen: Option<u64>) -> BlockEntry {
    BlockEntry {
        id: "B".into(),
        window_start: 0,
        window_end: 10,
        min_t: 1,
        max_t: 3,
        shards: vec![0],
        delta: false,
        sequence,
        bytes: 1,
        series: 3,
        samples: 9,
        resolution_ms: 0,
        cut: None,
        digests: Vec::new(),
        deletions_seen,
        meta: String::new(),
    }
}

fn labels() -> [Labels; 3] {
    ["a", "b", "c"].map(|name| Labels::from_pairs([("__name__", name)]))
}

/// Appends the visible samples of series that are visible.
fn fetch(visible: &Visible, series: Range<usize>) -> SeriesBatch {
    let (mut all, mut out) = (SeriesBatch::default(), SeriesBatch::default());
    let positions = visible.positions(series.clone());
    positions.for_each(|i| all.push(SeriesView { t: &[1, 2, 3], v: &[i as f64; 3], ..SeriesView::EMPTY }));
    visible.append(series, &all, &mut out);
    out
}

const TIMES: [TimeRange; 3] = [TimeRange { start: 1, end: 3 }; 3];

fn visible(masks: &[Mask], sequence: u64) -> Vec<(String, Vec<i64>)> {
    visible_of(masks, &block(sequence, None))
}

fn visible_of(masks: &[Mask], block: &BlockEntry) -> Vec<(String, Vec<i64>)> {
    let visible = BlockMasks::of(block, masks).visible(&labels(), TIMES.into_iter());
    let out = fetch(&visible, 0..visible.labels().len());
    visible.labels().iter().enumerate().map(|(i, l)| (l.metric_name().to_string(), out.view(i).t.to_vec())).collect()
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
fn a_block_is_masked_by_the_deletions_that_it_has_not_seen() {
    let masks = [deletion("{__name__=\"a\"}", 0, 9, 7), deletion("{__name__=\"b\"}", 0, 9, 8)];
    let names = |seen| visible_of(&masks, &block(9, Some(seen))).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(6), ["c"]);
    assert_eq!(names(7), ["a", "c"]);
    assert_eq!(names(8), ["a", "b", "c"]);
}

#[test]
fn a_series_that_went_in_two_deletions_is_omitted() {
    let masks = [deletion("{__name__=\"a\"}", 2, 9, 7), deletion("{__name__=~\"a|b\"}", 0, 1, 8)];
    assert_eq!(visible(&masks, 7), expected(&[("b", &[2, 3]), ("c", &ALL)]));
    let with_a_gap = [deletion("{__name__=\"a\"}", 3, 9, 7), deletion("{__name__=\"a\"}", 0, 1, 8)];
    assert_eq!(visible(&with_a_gap, 7)[0], ("a".to_string(), vec![2]));
}

#[test]
fn a_series_is_omitted_when_its_own_time_is_deleted() {
    let masks = [deletion("{__name__=~\"a|b\"}", 2, 3, 7)];
    let times = [TimeRange::new(2, 3), TimeRange::new(1, 3), TimeRange::new(2, 2)];
    let visible = BlockMasks::of(&block(1, Some(0)), &masks).visible(&labels(), times.into_iter());
    let names: Vec<&str> = visible.labels().iter().map(Labels::metric_name).collect();
    assert_eq!(names, ["b", "c"]);
}

#[test]
fn exemplars_of_masked_time_are_hidden() {
    let masks = [deletion("{__name__=\"a\"}", 2, 3, 7)];
    let masks = BlockMasks::of(&block(1, Some(0)), &masks).0;
    let shows = |name: &str, t: i64| {
        let labels = Labels::from_pairs([("__name__", name)]);
        BlockMasks(masks.clone()).shows(&labels, &Exemplar { labels: Labels::default(), value: 1.0, t })
    };
    assert!(!shows("a", 2) && shows("a", 1) && shows("b", 2));
}

#[test]
fn deletions_are_parsed_again_only_when_the_catalogue_has_changed() {
    let cache = MaskCache::new();
    let tenant = TenantId::default();
    let of = |sequence| {
        let deletions = vec![Deletion { selector: "{}".into(), start: 0, end: 1, sequence }];
        Arc::new(TenantCatalogue { deletions, ..TenantCatalogue::default() })
    };
    let (before, after) = (of(1), of(2));
    let first = cache.masks(&tenant, &before).unwrap();
    assert!(Arc::ptr_eq(&first, &cache.masks(&tenant, &before).unwrap()));
    assert_eq!(cache.masks(&tenant, &after).unwrap()[0].deletion.sequence, 2);
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
    let visible = BlockMasks::of(&block(7, None), &masks).visible(&labels(), TIMES.into_iter());
    assert_eq!(fetch(&visible, 1..2).view(0).v, [2.0; 3], "the series c");
    assert!(fetch(&visible, 0..0).is_empty());
}

#[test]
fn an_unreadable_deletion_is_an_error() {
    let bad = Deletion { selector: "{".into(), start: 0, end: 1, sequence: 1 };
    let error = Mask::parse(&bad).err().unwrap().to_string();
    assert!(error.contains("deletion \"{\" in the catalogue"), "{error}");
}
