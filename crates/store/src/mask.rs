//! Hides deleted samples: omits the time ranges that deletions mask from the series of a block.

use std::ops::Range;
use std::sync::Arc;

use moka::sync::Cache;
use pharos_cluster::{BlockEntry, Deletion, TenantCatalogue};
use pharos_model::{Exemplar, Labels, Matcher, SelectError, SeriesBatch, SeriesView, TenantId, TimeRange};
use pharos_promql::syntax;

/// The number of tenants whose parsed deletions are kept.
const MAX_PARSED_TENANTS: u64 = 1000;

/// A parsed deletion.
pub(crate) struct Mask {
    matchers: Vec<Matcher>,
    deletion: Deletion,
}

impl Mask {
    /// Parses a deletion of the catalogue. An unreadable one is an error, so that nothing deleted reappears.
    pub(crate) fn parse(deletion: &Deletion) -> Result<Self, SelectError> {
        let unreadable = |e| SelectError::Storage(format!("deletion {:?} in the catalogue: {e}", deletion.selector));
        let matchers = syntax::parse_metric_selector(&deletion.selector).map_err(unreadable)?;
        Ok(Mask { matchers, deletion: deletion.clone() })
    }

    fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")))
    }
}

/// The deletions of a tenant as of a version of its catalogue, parsed.
#[derive(Clone)]
struct Parsed {
    of: Arc<TenantCatalogue>,
    masks: Arc<[Mask]>,
}

/// Parsed deletions by tenant. A query finds those of its view parsed if the tenant's catalogue has not changed since.
pub(crate) struct MaskCache(Cache<TenantId, Parsed>);

impl MaskCache {
    pub(crate) fn new() -> MaskCache {
        MaskCache(Cache::new(MAX_PARSED_TENANTS))
    }

    pub(crate) fn masks(&self, tenant: &TenantId, of: &Arc<TenantCatalogue>) -> Result<Arc<[Mask]>, SelectError> {
        if of.deletions.is_empty() {
            return Ok(Arc::default());
        }
        if let Some(parsed) = self.0.get(tenant).filter(|parsed| Arc::ptr_eq(&parsed.of, of)) {
            return Ok(parsed.masks);
        }
        let masks: Arc<[Mask]> = of.deletions.iter().map(Mask::parse).collect::<Result<_, _>>()?;
        self.0.insert(tenant.clone(), Parsed { of: of.clone(), masks: masks.clone() });
        Ok(masks)
    }
}

/// The masks of one block.
pub(crate) struct BlockMasks<'a>(Vec<&'a Mask>);

impl<'a> BlockMasks<'a> {
    pub(crate) fn of(block: &BlockEntry, masks: &'a [Mask]) -> BlockMasks<'a> {
        BlockMasks(masks.iter().filter(|mask| mask.deletion.masks(block)).collect())
    }

    /// The hidden time of a series.
    fn hidden(&self, labels: &Labels) -> Vec<TimeRange> {
        self.0.iter().filter(|mask| mask.matches(labels)).map(|mask| mask.deletion.range()).collect()
    }

    /// Whether everything is visible.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is visible of the block's series. `times` has the time of the samples of each series.
    pub(crate) fn visible(&self, labels: &[Labels], times: impl Iterator<Item = TimeRange>) -> Visible {
        let mut kept = Vec::new();
        for (at, (labels, time)) in labels.iter().zip(times).enumerate() {
            let hidden = self.hidden(labels);
            if hidden.is_empty() || !covers(&hidden, time) {
                kept.push((at, hidden));
            }
        }
        Visible { labels: kept.iter().map(|(at, _)| labels[*at].clone()).collect(), kept }
    }

    /// Whether an exemplar is visible.
    pub(crate) fn shows(&self, labels: &Labels, exemplar: &Exemplar) -> bool {
        !self.0.iter().any(|mask| mask.deletion.range().contains(exemplar.t) && mask.matches(labels))
    }
}

/// Whether some ranges together contain all of another one.
fn covers(ranges: &[TimeRange], all: TimeRange) -> bool {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| range.start);
    let mut next = all.start;
    for range in sorted.iter().filter(|range| !range.is_empty()) {
        if range.start > next || next > all.end {
            break;
        }
        if range.end >= all.end {
            return true;
        }
        next = next.max(range.end.saturating_add(1));
    }
    next > all.end
}

/// The series of a block that have any visible time.
pub(crate) struct Visible {
    labels: Vec<Labels>,
    /// The position in the block's set and the hidden ranges of each of them.
    kept: Vec<(usize, Vec<TimeRange>)>,
}

impl Visible {
    /// The label sets of the visible series, ascending.
    pub(crate) fn labels(&self) -> &[Labels] {
        &self.labels
    }

    /// The positions in the block's set that span some visible series.
    pub(crate) fn positions(&self, series: Range<usize>) -> Range<usize> {
        let kept = &self.kept[series];
        kept.first().zip(kept.last()).map_or(0..0, |((first, _), (last, _))| *first..last + 1)
    }

    /// Appends the visible samples of some visible series, given those of their [`Visible::positions`].
    pub(crate) fn append(&self, series: Range<usize>, fetched: &SeriesBatch, out: &mut SeriesBatch) {
        let first = self.positions(series.clone()).start;
        for (at, hidden) in &self.kept[series] {
            push_visible(out, fetched.view(at - first), hidden);
        }
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
