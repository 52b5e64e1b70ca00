//! Targets that are gone, until it is sure that they do not come back.
//!
//! As Prometheus does, stale markers are written a little more than two intervals after the last scrape, with the
//! time of the scrape that was not to be. A target with the same labels that appears before that takes over what was known,
//! so that no marker falls among its samples.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pharos_model::Labels;
use tokio::sync::watch;

use super::cache::SeriesCache;
use super::shared::Shared;
use super::target_loop::{Ended, sleep_until};
use crate::config::ResolvedScrapeConfig;
use crate::targets::Target;

/// Ended loops by the labels of their targets.
pub(crate) struct Departed {
    shared: Arc<Shared>,
    ended: Mutex<HashMap<Labels, Vec<(u64, Ended)>>>,
    next_id: std::sync::atomic::AtomicU64,
    /// Turns true when the process ends.
    stopped: watch::Receiver<bool>,
}

impl Departed {
    pub(crate) fn new(shared: Arc<Shared>, stopped: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Departed { shared, ended: Mutex::default(), next_id: 0.into(), stopped })
    }

    /// Takes what is left of a loop and sees to its stale markers.
    pub(crate) fn add(self: &Arc<Self>, ended: Ended) {
        let Some(next_ms) = ended.state.next_ms else { return };
        let interval_ms = ended.target.interval.as_millis() as i64;
        let labels = ended.target.labels.clone();
        let id = self.next_id.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.ended.lock().entry(labels.clone()).or_default().push((id, ended));
        let this = self.clone();
        tokio::spawn(async move {
            let mut stopped = this.stopped.clone();
            let is_sure = sleep_until(&*this.shared.clock, next_ms + interval_ms + interval_ms / 10);
            let is_gone = tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => false,
                () = is_sure => true,
            };
            if is_gone {
                this.write_stale(&labels, id, next_ms).await;
            }
        });
    }

    async fn write_stale(&self, labels: &Labels, id: u64, t: i64) {
        let Some(mut ended) = self.remove(labels, |(other, _)| *other == id) else { return };
        let mut buffers = self.shared.take_buffers();
        ended.state.write_stale(t, &mut buffers.batch);
        self.shared.append(&ended.target.url, &buffers.batch).await;
        self.shared.give_back(buffers);
    }

    fn remove(&self, labels: &Labels, is_it: impl Fn(&(u64, Ended)) -> bool) -> Option<Ended> {
        let mut all = self.ended.lock();
        let list = all.get_mut(labels)?;
        let at = list.iter().position(is_it)?;
        let (_, ended) = list.swap_remove(at);
        if list.is_empty() {
            all.remove(labels);
        }
        Some(ended)
    }

    /// The cache with which a new target begins: that of a departed one with the same labels when samples are treated alike,
    /// else an empty one that knows which series were there.
    pub(crate) fn cache_for(&self, target: &Target, config: &ResolvedScrapeConfig) -> SeriesCache {
        let Some(ended) = self.remove(&target.labels, |_| true) else { return SeriesCache::default() };
        if treats_samples_alike(&ended.config, config) && ended.target.classic_to_nhcb == target.classic_to_nhcb {
            return ended.state.cache;
        }
        let mut cache = SeriesCache::default();
        cache.inherit(ended.state.cache.tracked_series());
        cache
    }
}

fn treats_samples_alike(a: &ResolvedScrapeConfig, b: &ResolvedScrapeConfig) -> bool {
    let limits = |c: &ResolvedScrapeConfig| (c.label_limit, c.label_name_length_limit, c.label_value_length_limit);
    a.honor_labels == b.honor_labels
        && a.metric_relabel == b.metric_relabel
        && a.validation == b.validation
        && limits(a) == limits(b)
}
