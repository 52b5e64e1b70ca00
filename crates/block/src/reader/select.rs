//! The series of a block that a selector matched.

use std::ops::Range;
use std::sync::Arc;

use pharos_model::{Exemplar, Labels, Metadata, SeriesBatch, SeriesHash, TimeRange};

use super::table::SeriesTable;
use super::{BlockReader, extras, fetch};
use crate::error::BlockError;

/// Some series of a block, in label order. Cheap to clone.
#[derive(Clone)]
pub struct BlockSelection {
    pub(super) reader: BlockReader,
    pub(super) table: Arc<SeriesTable>,
    pub(super) sids: Arc<[u32]>,
    labels: Arc<[Labels]>,
}

impl BlockSelection {
    pub(super) fn new(reader: BlockReader, table: Arc<SeriesTable>, sids: Vec<u32>, labels: Vec<Labels>) -> Self {
        BlockSelection { reader, table, sids: sids.into(), labels: labels.into() }
    }

    /// The label sets, ascending.
    pub fn labels(&self) -> &[Labels] {
        &self.labels
    }

    /// The number of series.
    pub fn len(&self) -> usize {
        self.sids.len()
    }

    /// Whether no series matched.
    pub fn is_empty(&self) -> bool {
        self.sids.is_empty()
    }

    /// The hash of a series.
    pub fn hash(&self, series: usize) -> SeriesHash {
        self.table.hashes[self.sids[series] as usize]
    }

    /// What is known of a series' metric.
    pub fn metadata(&self, series: usize) -> Option<Metadata> {
        self.table.metadata(self.sids[series])
    }

    /// Keeps the series for which `keep` is true, for example those of some shards.
    pub fn filter(self, mut keep: impl FnMut(&Labels, SeriesHash) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.len()).filter(|at| keep(&self.labels[*at], self.hash(*at))).collect();
        let sids = kept.iter().map(|at| self.sids[*at]).collect();
        let labels = kept.iter().map(|at| self.labels[*at].clone()).collect();
        BlockSelection::new(self.reader, self.table, sids, labels)
    }

    /// Appends the series at positions `series`, in that order, with their samples in `range`, to `out`; a series without
    /// samples there is appended empty. Series with the same timestamps share them. Walk forward for best speed, some
    /// thousands of series at a time: compressed pages of all of them are held until it is done.
    pub async fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), BlockError> {
        fetch::fetch(self, series, range, out).await
    }

    /// The exemplars of the series at positions `series` that are in `range`, each with its series' position.
    pub async fn exemplars(
        &self,
        series: Range<usize>,
        range: TimeRange,
    ) -> Result<Vec<(usize, Exemplar)>, BlockError> {
        extras::exemplars(self, series, range).await
    }
}
