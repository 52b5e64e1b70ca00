//! Ranges of time that are divided among sources, and sets of which only a part is fetched.

use std::ops::Range;
use std::sync::Arc;

use pharos_model::{Labels, SelectError, SeriesBatch, SeriesSet, SeriesView, TimeRange};

/// The part of a range before a timestamp. Empty for the earliest timestamp.
pub(crate) fn before(range: TimeRange, from: i64) -> TimeRange {
    from.checked_sub(1).map_or(TimeRange::EMPTY, |last| TimeRange::new(range.start, range.end.min(last)))
}

/// Limits what is fetched of a set to `range`, where fetches may ask for all of `whole`.
pub(crate) fn clipped(set: Arc<dyn SeriesSet>, range: TimeRange, whole: TimeRange) -> Arc<dyn SeriesSet> {
    if range == whole { set } else { Arc::new(Clipped { set, range }) }
}

struct Clipped {
    set: Arc<dyn SeriesSet>,
    range: TimeRange,
}

impl SeriesSet for Clipped {
    fn labels(&self) -> &[Labels] {
        self.set.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        let range = range.intersect(&self.range);
        if range.is_empty() {
            series.for_each(|_| out.push(SeriesView::EMPTY));
            return Ok(());
        }
        self.set.fetch(series, range, out)
    }

    fn prefetch(&self, series: Range<usize>, range: TimeRange) {
        let range = range.intersect(&self.range);
        if !range.is_empty() {
            self.set.prefetch(series, range);
        }
    }
}

#[cfg(test)]
mod tests {
    use pharos_model::SelectRequest;
    use pharos_testkit::{MemorySeries, floats_of};

    use super::*;

    fn set() -> Arc<dyn SeriesSet> {
        let labels = Labels::from_pairs([("__name__", "m")]);
        let series = MemorySeries::new().floats(labels, (0..10).map(|t| (t, 1.0)));
        series.select(&SelectRequest { matchers: Vec::new(), range: TimeRange::ALL, max_series: 0 })
    }

    #[test]
    fn the_part_before_a_timestamp_ends_just_before_it() {
        assert_eq!(before(TimeRange::new(0, 9), 5), TimeRange::new(0, 4));
        assert_eq!(before(TimeRange::new(0, 3), 5), TimeRange::new(0, 3));
    }

    #[test]
    fn there_is_nothing_before_the_earliest_timestamp() {
        assert!(before(TimeRange::ALL, i64::MIN).is_empty());
        assert!(before(TimeRange::new(5, 9), 5).is_empty());
    }

    #[test]
    fn a_clipped_set_fetches_only_its_range() {
        let clipped = clipped(set(), TimeRange::new(2, 4), TimeRange::ALL);
        let samples = floats_of(&*clipped, TimeRange::new(3, 9)).unwrap().remove(0).1;
        assert_eq!(samples, [(3, 1.0), (4, 1.0)]);
    }

    #[test]
    fn a_fetch_beside_the_range_gives_empty_series() {
        let clipped = clipped(set(), TimeRange::new(2, 4), TimeRange::ALL);
        let mut batch = SeriesBatch::default();
        clipped.fetch(0..1, TimeRange::new(5, 9), &mut batch).unwrap();
        assert_eq!(batch.len(), 1);
        assert!(batch.view(0).t.is_empty());
    }
}
