//! The rejected samples of a batch, one by one, so that replicas can compare their verdicts.
//!
//! A head names a sample by its position in a column of the batch. Between nodes a sample is named by its number within its
//! shard: floats are numbered in the order of the batch, and so are histograms. A batch and its encoded shards have the
//! samples in the same order, so sender and receivers mean the same sample by a number.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Range;

use super::{BatchSeries, RejectReason, WriteBatch};
use crate::hash::shard_of;

/// A sample of a batch or of one of its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SampleIndex {
    /// Whether it is a histogram.
    pub is_histogram: bool,
    /// The position in the column of its kind, or the number among the samples of its kind in the shard.
    pub at: u32,
}

/// A sample that was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusedSample {
    /// The sample.
    pub sample: SampleIndex,
    /// Why it was rejected.
    pub reason: RejectReason,
}

/// Rejected samples by shard, ascending by number.
pub type RefusedByShard = BTreeMap<u32, Vec<RefusedSample>>;

impl WriteBatch {
    /// Groups rejected samples by shard. `refused` holds positions in the columns of this batch, the result numbers within
    /// the shards.
    pub fn refused_by_shard(&self, shards: u32, mut refused: Vec<RefusedSample>) -> RefusedByShard {
        let mut by_shard = RefusedByShard::new();
        if refused.is_empty() || shards == 0 {
            return by_shard;
        }
        refused.sort_unstable();
        let (floats, histograms) = refused.split_at(refused.partition_point(|r| !r.sample.is_histogram));
        let (mut floats, mut histograms) = (floats.iter().peekable(), histograms.iter().peekable());
        // How many floats and histograms of each shard came before the series at hand.
        let mut before = vec![(0u32, 0u32); shards as usize];
        for series in self.series() {
            let shard = shard_of(series.hash, shards);
            let (floats_before, histograms_before) = &mut before[shard as usize];
            for (column, refused, before) in [
                (&series.samples, &mut floats, floats_before),
                (&series.histograms, &mut histograms, histograms_before),
            ] {
                while let Some(found) = refused.next_if(|r| r.sample.at < column.end) {
                    let at = *before + found.sample.at.saturating_sub(column.start);
                    let sample = SampleIndex { at, ..found.sample };
                    by_shard.entry(shard).or_default().push(RefusedSample { sample, ..*found });
                }
                *before += column.len() as u32;
            }
        }
        by_shard.values_mut().for_each(|refused| refused.sort_unstable());
        by_shard
    }

    /// Copies the samples with these numbers into another batch. `series` are all series of one shard in their order, and
    /// `samples` ascends. Numbers beyond the last sample are ignored.
    pub fn pick<'a>(&self, series: impl Iterator<Item = &'a BatchSeries>, samples: &[SampleIndex], out: &mut Self) {
        let (floats, histograms) = samples.split_at(samples.partition_point(|sample| !sample.is_histogram));
        let (mut floats, mut histograms) = (floats.iter().peekable(), histograms.iter().peekable());
        let (mut floats_before, mut histograms_before) = (0, 0);
        for entry in series {
            let floats = positions(&mut floats, &mut floats_before, &entry.samples);
            let histograms = positions(&mut histograms, &mut histograms_before, &entry.histograms);
            if floats.is_empty() && histograms.is_empty() {
                continue;
            }
            out.begin_known_series(self.labels_of(entry), entry.hash);
            out.samples.extend(floats.iter().map(|at| self.samples[*at]));
            out.histograms.extend(histograms.iter().map(|at| self.histograms[*at].clone()));
        }
        out.finish_series();
    }
}

/// The positions in the column of a series of the samples that come next, of which `before` precede the series.
fn positions<'a>(
    next: &mut Peekable<impl Iterator<Item = &'a SampleIndex>>,
    before: &mut u32,
    column: &Range<u32>,
) -> Vec<usize> {
    let first = *before;
    *before += column.len() as u32;
    let within = std::iter::from_fn(|| next.next_if(|sample| sample.at < *before));
    within.map(|sample| (column.start + sample.at.saturating_sub(first)) as usize).collect()
}

#[cfg(test)]
mod tests;
