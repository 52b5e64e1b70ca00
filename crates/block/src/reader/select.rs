//! The series of a block that a selector matched.

use std::ops::Range;
use std::sync::Arc;

use pharos_model::{Exemplar, Labels, Metadata, SeriesBatch, SeriesHash, TimeRange};

use super::files::SelectedSeries;
use super::{extras, fetch};
use crate::error::BlockError;

/// Some series of a block, in label order. Cheap to clone.
#[derive(Clone)]
pub struct BlockSelection {
    selected: SelectedSeries,
    labels: Arc<[Labels]>,
}

impl BlockSelection {
    pub(super) fn new(selected: SelectedSeries, labels: Vec<Labels>) -> Self {
        BlockSelection { selected, labels: labels.into() }
    }

    /// The label sets of the series, ascending.
    pub fn labels(&self) -> &[Labels] {
        &self.labels
    }

    /// The number of series.
    pub fn len(&self) -> usize {
        self.selected.sids.len()
    }

    /// Whether no series matched.
    pub fn is_empty(&self) -> bool {
        self.selected.sids.is_empty()
    }

    /// The hash of the series at a position.
    pub fn hash(&self, series: usize) -> SeriesHash {
        self.selected.table.hashes[self.selected.sids[series] as usize]
    }

    /// The time from the first to the last sample of the series at a position.
    pub fn time(&self, series: usize) -> TimeRange {
        let (table, sid) = (&self.selected.table, self.selected.sids[series] as usize);
        TimeRange::new(table.first_t[sid], table.last_t[sid])
    }

    /// The metadata of the metric of the series at a position.
    pub fn metadata(&self, series: usize) -> Option<Metadata> {
        self.selected.table.metadata(self.selected.sids[series])
    }

    /// Keeps the series for which `keep` returns true, for example those of some shards.
    pub fn filter(self, mut keep: impl FnMut(&Labels, SeriesHash) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.len()).filter(|at| keep(&self.labels[*at], self.hash(*at))).collect();
        self.pick(&kept)
    }

    /// The series at some positions, which ascend.
    pub fn pick(&self, positions: &[usize]) -> Self {
        let sids = positions.iter().map(|at| self.selected.sids[*at]).collect();
        let labels = positions.iter().map(|at| self.labels[*at].clone()).collect();
        BlockSelection::new(SelectedSeries { sids, ..self.selected.clone() }, labels)
    }

    /// Appends the series at positions `series` to `out`, with their samples in `range`. A series without samples there is
    /// appended empty. Series with equal timestamps share them.
    ///
    /// For best speed, walk forward some thousands of series at a time. The compressed pages of all series of a call are in
    /// memory until it returns.
    pub async fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), BlockError> {
        fetch::fetch(&self.selected, series, range, out).await
    }

    /// The exemplars in `range` of the series at positions `series`, each with the position of its series.
    pub async fn exemplars(
        &self,
        series: Range<usize>,
        range: TimeRange,
    ) -> Result<Vec<(usize, Exemplar)>, BlockError> {
        extras::exemplars(&self.selected, series, range).await
    }
}
