//! Reading the samples of a selection in batches.

use pharos_model::{Labels, SeriesBatch, SeriesView, TimeRange};

use super::{Eval, Outcome, Part};
use crate::plan::Selector;

/// Samples that a batch of series should hold, so that it fits into a core's caches.
const BATCH_SAMPLES: usize = 64 << 10;
/// Most series of a batch.
const MAX_BATCH_SERIES: usize = 512;
/// Series of the first batch, when nothing is known of their length.
const FIRST_BATCH_SERIES: usize = 32;

/// Walks over a part of a selection in batches and hands each series with its samples to `each`.
pub(crate) fn walk(
    ev: &Eval<'_, '_>,
    selector: &Selector,
    part: Part,
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
        let end = part.series.end.min(at + width);
        batch.clear();
        let started = tracked.map(|(tracker, _)| tracker.now());
        part.set.fetch(at..end, range, &mut batch)?;
        let samples = batch.samples();
        shared.count_read(samples);
        if let (Some((tracker, slot)), Some(started)) = (tracked, started) {
            slot.read(end - at, samples, tracker.now().saturating_sub(started));
        }
        reservation.set(batch.bytes(), samples)?;
        for (index, labels) in part.set.labels()[at..end].iter().enumerate() {
            each(labels, batch.view(index))?;
        }
        at = end;
        width = (BATCH_SAMPLES * width / samples.max(1)).clamp(1, MAX_BATCH_SERIES);
    }
    Ok(())
}
