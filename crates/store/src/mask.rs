//! Deleted samples do not show: a set of series without the time ranges that deletions mask.

use std::ops::Range;
use std::sync::Arc;

use pharos_cluster::Deletion;
use pharos_model::{Labels, Matcher, SelectError, SeriesBatch, SeriesSet, SeriesView, TimeRange};
use pharos_promql::syntax;

/// A deletion in a form that can be applied.
pub(crate) struct Mask {
    matchers: Vec<Matcher>,
    range: TimeRange,
    /// It masks blocks up to this sequence.
    sequence: u64,
}

impl Mask {
    /// Reads a deletion of the catalogue.
    pub(crate) fn parse(deletion: &Deletion) -> Result<Self, SelectError> {
        let unreadable = |e| SelectError::Storage(format!("deletion {:?} in the catalogue: {e}", deletion.selector));
        let matchers = syntax::parse_metric_selector(&deletion.selector).map_err(unreadable)?;
        Ok(Mask { matchers, range: TimeRange::new(deletion.start, deletion.end), sequence: deletion.sequence })
    }

    fn masks(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")))
    }
}

/// The set without what the masks hide in a block of this sequence; series that are hidden whole are left out.
pub(crate) fn apply(set: Arc<dyn SeriesSet>, masks: &[Mask], sequence: u64, block: TimeRange) -> Arc<dyn SeriesSet> {
    let masks: Vec<&Mask> = masks.iter().filter(|m| m.sequence >= sequence && m.range.overlaps(&block)).collect();
    if masks.is_empty() {
        return set;
    }
    let mut kept = Vec::new();
    for (at, labels) in set.labels().iter().enumerate() {
        let hidden: Vec<TimeRange> = masks.iter().filter(|m| m.masks(labels)).map(|m| m.range).collect();
        let whole = hidden.iter().any(|r| r.start <= block.start && block.end <= r.end);
        if !whole {
            kept.push((at, hidden));
        }
    }
    let labels = kept.iter().map(|(at, _)| set.labels()[*at].clone()).collect();
    Arc::new(MaskedSet { set, labels, kept })
}

struct MaskedSet {
    set: Arc<dyn SeriesSet>,
    labels: Vec<Labels>,
    /// Position in `set` and hidden ranges of each series.
    kept: Vec<(usize, Vec<TimeRange>)>,
}

impl SeriesSet for MaskedSet {
    fn labels(&self) -> &[Labels] {
        &self.labels
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        let kept = &self.kept[series];
        let (Some((first, _)), Some((last, _))) = (kept.first(), kept.last()) else { return Ok(()) };
        let mut all = SeriesBatch::default();
        self.set.fetch(*first..last + 1, range, &mut all)?;
        for (at, hidden) in kept {
            push_visible(out, all.view(at - first), hidden);
        }
        Ok(())
    }
}

fn push_visible(out: &mut SeriesBatch, view: SeriesView<'_>, hidden: &[TimeRange]) {
    let shown = |t: &i64| !hidden.iter().any(|range| range.contains(*t));
    let floats: Vec<usize> = (0..view.t.len()).filter(|&i| shown(&view.t[i])).collect();
    let histograms: Vec<usize> = (0..view.ht.len()).filter(|&i| shown(&view.ht[i])).collect();
    fn pick<T: Clone>(from: &[T], at: &[usize]) -> Vec<T> {
        if from.is_empty() { Vec::new() } else { at.iter().map(|&i| from[i].clone()).collect() }
    }
    out.push(SeriesView {
        t: &pick(view.t, &floats),
        v: &pick(view.v, &floats),
        st: &pick(view.st, &floats),
        ht: &pick(view.ht, &histograms),
        h: &pick(view.h, &histograms),
        hst: &pick(view.hst, &histograms),
    });
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn deleted_time_and_series_do_not_show_in_older_blocks() {
        let masks = [deletion("{__name__=\"a\"}", 2, 2, 7), deletion("{__name__=~\"b|x\"}", 0, 9, 7)];
        assert_eq!(visible(&masks, 7), [("a".into(), vec![1, 3]), ("c".into(), vec![1, 2, 3])]);
        assert_eq!(visible(&masks, 8).len(), 3);
    }

    #[test]
    fn an_unreadable_deletion_is_an_error_not_a_resurrection() {
        let bad = Deletion { selector: "{".into(), start: 0, end: 1, sequence: 1 };
        assert!(Mask::parse(&bad).is_err());
    }
}
