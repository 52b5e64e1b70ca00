//! Hides deleted samples: wraps a set of series and omits the time ranges that deletions mask.

use std::ops::Range;
use std::sync::Arc;

use pharos_cluster::Deletion;
use pharos_model::{Labels, Matcher, SelectError, SeriesBatch, SeriesSet, SeriesView, TimeRange};
use pharos_promql::syntax;

/// A parsed deletion.
pub(crate) struct Mask {
    matchers: Vec<Matcher>,
    range: TimeRange,
    /// The sequence up to which it masks blocks.
    sequence: u64,
}

impl Mask {
    /// Parses a deletion of the catalogue. An unreadable one is an error, so that nothing deleted reappears.
    pub(crate) fn parse(deletion: &Deletion) -> Result<Self, SelectError> {
        let unreadable = |e| SelectError::Storage(format!("deletion {:?} in the catalogue: {e}", deletion.selector));
        let matchers = syntax::parse_metric_selector(&deletion.selector).map_err(unreadable)?;
        Ok(Mask { matchers, range: TimeRange::new(deletion.start, deletion.end), sequence: deletion.sequence })
    }

    fn masks(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")))
    }
}

/// Applies masks to a block's set of series, given the block's sequence and time range. Series without any visible time are
/// omitted.
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
    /// Index in `set` and hidden ranges of each remaining series.
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
mod tests;
