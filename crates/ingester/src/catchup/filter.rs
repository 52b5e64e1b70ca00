//! Omits from a copied batch what deletions delete that its source had not applied when it read the batch.

use pharos_model::{Matcher, TimeRange, WriteBatch};

/// The batch without the samples and exemplars that any of these deletions deletes. Series without any are omitted.
pub(super) fn without_deleted(batch: WriteBatch, deletions: &[(Vec<Matcher>, TimeRange)]) -> WriteBatch {
    if deletions.is_empty() {
        return batch;
    }
    let mut kept = WriteBatch::default();
    kept.metadata.clone_from(&batch.metadata);
    for series in batch.series() {
        let labels = batch.display_labels(series);
        let matches = |matchers: &[Matcher]| matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")));
        let deleted: Vec<TimeRange> =
            deletions.iter().filter(|(matchers, _)| matches(matchers)).map(|(_, range)| *range).collect();
        let is_kept = |t: i64| !deleted.iter().any(|range| range.contains(t));
        let mut times = batch.samples_of(series).iter().map(|s| s.t);
        let mut times_of_others =
            batch.histograms_of(series).iter().map(|s| s.t).chain(batch.exemplars_of(series).iter().map(|e| e.t));
        if !times.any(is_kept) && !times_of_others.any(is_kept) {
            continue;
        }
        kept.begin_known_series(batch.labels_of(series), series.hash);
        kept.samples.extend(batch.samples_of(series).iter().filter(|s| is_kept(s.t)));
        kept.histograms.extend(batch.histograms_of(series).iter().filter(|s| is_kept(s.t)).cloned());
        kept.exemplars.extend(batch.exemplars_of(series).iter().filter(|e| is_kept(e.t)).cloned());
        kept.finish_series();
    }
    kept
}

#[cfg(test)]
mod tests;
