//! Reading the samples of a selection in batches.

use std::sync::Arc;

use pharos_model::{Labels, SeriesBatch, SeriesView, TimeRange};

use super::result_cache::Footprint;
use super::{Eval, Outcome, Partition};
use crate::plan::Selector;

/// The samples that a batch should hold, so that it fits into a core's caches.
const BATCH_SAMPLES: usize = 64 << 10;
/// The most series of a batch.
const MAX_BATCH_SERIES: usize = 512;
/// Series of the first batch, when their length is still unknown.
const FIRST_BATCH_SERIES: usize = 32;

/// Reads a partition in batches and passes each series with its samples to `each`.
pub(crate) fn walk(
    ev: &Eval<'_, '_>,
    selector: &Selector,
    part: Partition,
    range: TimeRange,
    mut each: impl FnMut(&Labels, SeriesView<'_>) -> Outcome,
) -> Outcome {
    let shared = ev.shared;
    let tracked = shared.tracker.as_ref().and_then(|t| Some((t, t.slot_of_selector(selector)?)));
    let mut batch = SeriesBatch::default();
    let mut reservation = shared.reserve_for(tracked.map(|(_, slot)| slot));
    let (mut at, mut width) = (part.series.start, FIRST_BATCH_SERIES);
    while at < part.series.end {
        shared.check()?;
        if selector.readers > 1
            && let Some((series, cached)) = shared.cache.batch(&part.set, at)
        {
            let end = series.end.min(part.series.end);
            hand_on(&part.set.labels()[at..end], &cached, at - series.start, &mut each)?;
            at = end;
            continue;
        }
        let end = part.series.end.min(at + width);
        batch.clear();
        let started = tracked.map(|(tracker, _)| tracker.now());
        part.set.fetch(at..end, range, &mut batch)?;
        let samples = batch.samples();
        shared.count_read(samples);
        if let (Some((tracker, slot)), Some(started)) = (tracked, started) {
            slot.read(end - at, samples, tracker.now().saturating_sub(started));
        }
        width = (BATCH_SAMPLES * width / samples.max(1)).clamp(1, MAX_BATCH_SERIES);
        if end < part.series.end {
            part.set.prefetch(end..part.series.end.min(end + width), range);
        }
        let footprint = Footprint { bytes: batch.bytes() as u64, samples: samples as u64 };
        if selector.readers > 1 && shared.take_for_cache(footprint) {
            reservation.set(0, 0)?;
            let cached = Arc::new(std::mem::take(&mut batch));
            shared.cache.cache_batch(&part.set, at..end, cached.clone(), footprint);
            hand_on(&part.set.labels()[at..end], &cached, 0, &mut each)?;
        } else {
            reservation.set(batch.bytes(), samples)?;
            hand_on(&part.set.labels()[at..end], &batch, 0, &mut each)?;
        }
        at = end;
    }
    Ok(())
}

/// Passes series to `each`, whose samples begin at position `first` of a batch.
fn hand_on(
    labels: &[Labels],
    batch: &SeriesBatch,
    first: usize,
    each: &mut impl FnMut(&Labels, SeriesView<'_>) -> Outcome,
) -> Outcome {
    labels.iter().enumerate().try_for_each(|(index, labels)| each(labels, batch.view(first + index)))
}
