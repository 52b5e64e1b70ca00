//! What a loop knows of its target's series. It outlives the loop, so that a successor continues where it stopped.

use std::sync::Arc;

use pharos_config::ResolvedScrapeConfig;
use pharos_model::WriteBatch;

use crate::append::push_stale;
use crate::cache::SeriesCache;
use crate::handoff::record::HandoffRecord;
use crate::report::ReportSeries;
use crate::targets::Target;

/// The series of one target.
pub(crate) struct LoopState {
    pub(crate) cache: SeriesCache,
    pub(crate) report: ReportSeries,
    /// The slot of the next scrape, milliseconds; `None` before the first scrape.
    pub(crate) next_ms: Option<i64>,
}

/// A loop that has ended.
pub(crate) struct EndedLoop {
    pub(crate) config: Arc<ResolvedScrapeConfig>,
    pub(crate) target: Arc<Target>,
    pub(crate) state: LoopState,
}

impl LoopState {
    /// What another agent has to know to continue.
    pub(crate) fn to_record(&self, target: &Target, extra: bool, next_ms: i64, epoch: u64) -> HandoffRecord {
        HandoffRecord {
            labels: target.labels.clone(),
            url: target.url.clone(),
            placement: target.placement(),
            interval_ms: target.interval_ms(),
            next_ms,
            extra,
            series: self.cache.tracked_series(),
            hops: 0,
            epoch,
        }
    }

    /// Writes stale markers for all series of the target, those of its report included.
    pub(crate) fn write_stale(&self, t: i64, batch: &mut WriteBatch) {
        for series in self.cache.tracked_series() {
            push_stale(batch, &series.canonical, series.hash, series.is_histogram, t);
        }
        self.report.write_stale(t, batch);
        batch.finish_series();
    }
}
