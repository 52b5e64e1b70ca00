//! What shard leaders have decided about samples of the shards that this node learns.
//!
//! A copy takes time: its source may have read a value that a leader has overruled since, at the source and here. Such a value
//! must not return with the copy. So this node remembers what it was told to force and to retract while it learns, and
//! leaves those samples out of what it copies. What it was told before its learning began is not needed, because the source
//! refuses older epochs before it reads.

use std::collections::HashMap;

use pharos_cluster::View;
use pharos_model::hash::shard_of;
use pharos_model::shards::histogram_value;
use pharos_model::write::{BatchSeries, HistogramSample};
use pharos_model::{Sample, SeriesHash, WriteBatch, WriteError};
use pharos_transport::append::Action;

use super::policy::WantedShards;

/// Limit of remembered decisions. Beyond it the node refuses more, so that its learning ends and begins again.
const MAX_DECISIONS: usize = 200_000;

/// A decision of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Decision {
    /// The sample at this timestamp is the one that was forced.
    Forced(SeriesHash, i64),
    /// The sample with this timestamp and value does not exist.
    Retracted(SeriesHash, i64, u64),
}

/// Decisions, by shard, with the newest epoch at which they were made.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    by_shard: HashMap<u32, HashMap<Decision, u64>>,
}

/// A sample's timestamp and the number that stands for its value in digests.
type Value = (i64, u64);

fn of_float(s: &Sample) -> Value {
    (s.t, s.v.to_bits())
}

fn of_histogram(s: &HistogramSample) -> Value {
    (s.t, histogram_value(&s.h))
}

impl Decided {
    /// Remembers what was decided at an epoch about the samples of a batch in one of `shards` shards.
    pub(crate) fn remember(
        &mut self,
        batch: &WriteBatch,
        action: Action,
        (shard, epoch): (u32, u64),
        shards: u32,
    ) -> Result<(), WriteError> {
        let count: usize = self.by_shard.values().map(HashMap::len).sum();
        if count + batch.samples.len() + batch.histograms.len() > MAX_DECISIONS {
            let reason =
                format!("this node has {count} decisions about samples that it copies, the limit is {MAX_DECISIONS}");
            return Err(WriteError::Unavailable(reason));
        }
        let of_shard = self.by_shard.entry(shard).or_default();
        for series in batch.series().iter().filter(|series| shard_of(series.hash, shards) == shard) {
            for (t, value) in values(batch, series) {
                let decision = match action {
                    Action::Append => continue,
                    Action::Force => Decision::Forced(series.hash, t),
                    Action::Retract => Decision::Retracted(series.hash, t, value),
                };
                let newest = of_shard.entry(decision).or_default();
                *newest = epoch.max(*newest);
            }
        }
        Ok(())
    }

    /// Forgets what was decided before this node began to learn shards.
    pub(crate) fn begin(&mut self, shards: &WantedShards) {
        for (shard, since) in shards {
            if let Some(of_shard) = self.by_shard.get_mut(shard) {
                of_shard.retain(|_, epoch| *epoch >= *since);
            }
        }
    }

    /// Forgets the shards that a node does not learn any more.
    pub(crate) fn keep_learned(&mut self, me: &str, view: &View) {
        // Requests may know newer epochs than the view.
        let is_known = |shard: u32, epoch: u64| epoch <= view.epoch(shard);
        let learns = |shard: u32| view.shard(shard).is_some_and(|known| known.learns_since(me).is_some());
        self.by_shard.retain(|shard, of_shard| {
            let is_over = !learns(*shard) && of_shard.values().all(|epoch| is_known(*shard, *epoch));
            !is_over && !of_shard.is_empty()
        });
    }

    /// The batch without the samples about which something else was decided; `None` if it may be copied as it is.
    pub(crate) fn without(&self, batch: &WriteBatch, shards: u32) -> Option<WriteBatch> {
        let is_copied = |series: &BatchSeries, (t, value): Value| {
            self.by_shard.get(&shard_of(series.hash, shards)).is_none_or(|decided| {
                !decided.contains_key(&Decision::Forced(series.hash, t))
                    && !decided.contains_key(&Decision::Retracted(series.hash, t, value))
            })
        };
        let is_whole = |series: &BatchSeries| values(batch, series).all(|value| is_copied(series, value));
        if self.by_shard.is_empty() || batch.series().iter().all(is_whole) {
            return None;
        }
        let mut copied = WriteBatch::default();
        copied.metadata.clone_from(&batch.metadata);
        for series in batch.series() {
            copied.begin_known_series(batch.labels_of(series), series.hash);
            let floats = batch.samples_of(series).iter();
            copied.samples.extend(floats.filter(|s| is_copied(series, of_float(s))));
            let histograms = batch.histograms_of(series).iter();
            copied.histograms.extend(histograms.filter(|s| is_copied(series, of_histogram(s))).cloned());
            copied.exemplars.extend_from_slice(batch.exemplars_of(series));
        }
        copied.finish_series();
        Some(copied)
    }
}

fn values<'a>(batch: &'a WriteBatch, series: &BatchSeries) -> impl Iterator<Item = Value> + 'a {
    let floats = batch.samples_of(series).iter().map(of_float);
    floats.chain(batch.histograms_of(series).iter().map(of_histogram))
}

#[cfg(test)]
mod tests;
