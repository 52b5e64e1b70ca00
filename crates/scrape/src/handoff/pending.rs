//! The state of a target that no loop of this agent holds: left by a loop that ended here, or received from another agent.

use pharos_config::ResolvedScrapeConfig;
use pharos_model::{TenantId, WriteBatch};

use super::record::HandoffRecord;
use crate::append::push_stale;
use crate::cache::{SeriesCache, TrackedSeries};
use crate::loop_state::EndedLoop;
use crate::report::ReportSeries;
use crate::targets::{Placement, Target};

/// What is known of a target that is waiting for a loop or for its stale markers.
pub(crate) enum Pending {
    /// A loop of this agent ended and left its state.
    Local(Box<EndedLoop>),
    /// Another agent scraped the target and sent its record.
    Received(HandoffRecord),
}

impl Pending {
    fn into_series(self) -> Vec<TrackedSeries> {
        match self {
            Pending::Local(ended) => ended.state.cache.tracked_series(),
            Pending::Received(record) => record.series,
        }
    }

    /// What another agent has to know of the target.
    pub(super) fn to_record(&self, epoch: u64) -> HandoffRecord {
        match self {
            Pending::Local(ended) => {
                let next_ms = ended.state.next_ms.unwrap_or_default();
                ended.state.to_record(&ended.target, ended.config.extra_scrape_metrics, next_ms, epoch)
            }
            Pending::Received(record) => HandoffRecord { epoch: record.epoch.max(epoch), ..record.clone() },
        }
    }

    pub(super) fn placement(&self) -> Placement {
        match self {
            Pending::Local(ended) => ended.target.placement(),
            Pending::Received(record) => record.placement,
        }
    }

    pub(super) fn interval_ms(&self) -> i64 {
        match self {
            Pending::Local(ended) => ended.target.interval_ms(),
            Pending::Received(record) => record.interval_ms,
        }
    }

    /// Bytes that count towards the limit on received records.
    pub(super) fn received_bytes(&self) -> usize {
        match self {
            Pending::Local(_) => 0,
            Pending::Received(record) => record.bytes(),
        }
    }

    /// Writes stale markers for all series of the target; returns its URL.
    pub(super) fn write_stale(self, tenant: &TenantId, t: i64, batch: &mut WriteBatch) -> String {
        match self {
            Pending::Local(ended) => {
                ended.state.write_stale(t, batch);
                ended.target.url.clone()
            }
            Pending::Received(record) => {
                for series in &record.series {
                    push_stale(batch, &series.canonical, series.hash, series.is_histogram, t);
                }
                ReportSeries::new(&record.labels, tenant, record.extra).write_stale(t, batch);
                batch.finish_series();
                record.url
            }
        }
    }

    /// Lets a loop's cache take over. A new cache that would prepare samples in the same way is replaced by the
    /// predecessor's; any other only inherits which series were there.
    pub(crate) fn merge_into(self, cache: &mut SeriesCache, target: &Target, config: &ResolvedScrapeConfig) {
        match self {
            Pending::Local(ended)
                if cache.is_new()
                    && prepares_samples_alike(&ended.config, config)
                    && ended.target.classic_to_nhcb == target.classic_to_nhcb =>
            {
                *cache = ended.state.cache;
            }
            pending => cache.inherit(pending.into_series()),
        }
    }
}

fn prepares_samples_alike(a: &ResolvedScrapeConfig, b: &ResolvedScrapeConfig) -> bool {
    let limits = |c: &ResolvedScrapeConfig| (c.label_limit, c.label_name_length_limit, c.label_value_length_limit);
    a.honor_labels == b.honor_labels
        && a.metric_relabel == b.metric_relabel
        && a.validation == b.validation
        && limits(a) == limits(b)
}
