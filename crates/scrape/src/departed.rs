//! Targets that this agent knows something of and does not scrape, until it is sure what became of them: those that are
//! gone, and those that another agent scraped so far.
//!
//! As Prometheus does, stale markers are written a little more than two intervals after the last scrape, with the
//! time of the scrape that was not to be. A target with the same labels that appears before that takes over what was known,
//! so that no marker falls among its samples. The markers are its business who owns the target at that moment: what is
//! known of a target that belongs to another agent goes there, and stays here only if that cannot be reached.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use pharos_model::Labels;
use tokio::sync::watch;

use crate::append::push_stale;
use crate::cache::{SeriesCache, TrackedSeries};
use crate::handed::Handed;
use crate::ownership::{Owner, Plan};
use crate::report::ReportSeries;
use crate::shared::{Busy, Shared};
use crate::target_loop::{Ended, sleep_until};
use crate::targets::Target;
use pharos_config::ResolvedScrapeConfig;

/// Most bytes of what other agents handed over and nobody has taken yet.
const MOST_HANDED_BYTES: usize = 256 << 20;

/// What is known, by the labels of the targets.
pub(crate) struct Departed {
    shared: Arc<Shared>,
    left: Mutex<HashMap<Labels, Vec<(u64, Left)>>>,
    /// How many there are, so that nobody who finds nothing waits for the lock.
    count: AtomicUsize,
    handed_bytes: AtomicUsize,
    next_id: std::sync::atomic::AtomicU64,
    /// Turns true when the process ends.
    stopped: watch::Sender<bool>,
}

/// What became of something that may be another agent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    /// Another one has it.
    Done,
    /// It is this agent's.
    Mine,
    /// It is another one's, which cannot be reached.
    Unreachable,
}

/// What is known of a target.
pub(crate) enum Left {
    /// This agent scraped it.
    Ended(Box<Ended>),
    /// Another one did.
    Handed(Handed),
}

impl Left {
    fn tracked_series(self) -> Vec<TrackedSeries> {
        match self {
            Left::Ended(ended) => ended.state.cache.tracked_series(),
            Left::Handed(handed) => handed.series,
        }
    }

    /// What another agent has to know of it.
    fn handed(&self, epoch: u64) -> Handed {
        match self {
            Left::Ended(ended) => {
                let next_ms = ended.state.next_ms.unwrap_or_default();
                ended.state.handed(&ended.target, ended.config.extra_scrape_metrics, next_ms, epoch)
            }
            Left::Handed(handed) => Handed { epoch: handed.epoch.max(epoch), ..handed.clone() },
        }
    }

    fn hash(&self) -> u64 {
        match self {
            Left::Ended(ended) => ended.target.hash,
            Left::Handed(handed) => handed.hash,
        }
    }

    fn interval_ms(&self) -> i64 {
        match self {
            Left::Ended(ended) => ended.target.interval.as_millis() as i64,
            Left::Handed(handed) => handed.interval_ms,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Left::Ended(_) => 0,
            Left::Handed(handed) => handed.bytes(),
        }
    }
}

impl Departed {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Departed {
            shared,
            left: Mutex::default(),
            count: 0.into(),
            handed_bytes: 0.into(),
            next_id: 0.into(),
            stopped: watch::Sender::new(false),
        })
    }

    /// The process ends: nothing is written any more.
    pub(crate) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Takes what is left of a loop and sees to its stale markers.
    pub(crate) fn add(self: &Arc<Self>, ended: Ended) {
        let Some(next_ms) = ended.state.next_ms else { return };
        let interval_ms = ended.target.interval.as_millis() as i64;
        self.keep(ended.target.labels.clone(), Left::Ended(Box::new(ended)), next_ms, interval_ms);
    }

    /// Takes what another agent knows of a target. The error says why not.
    pub(crate) fn receive(self: &Arc<Self>, handed: Handed) -> Result<(), String> {
        let kept = self.handed_bytes.load(Ordering::Relaxed);
        if kept + handed.bytes() > MOST_HANDED_BYTES {
            return Err(format!("{kept} bytes were handed over and not taken yet"));
        }
        let (next_ms, interval_ms) = (handed.next_ms, handed.interval_ms);
        self.keep(handed.labels.clone(), Left::Handed(handed), next_ms, interval_ms);
        Ok(())
    }

    fn keep(self: &Arc<Self>, labels: Labels, left: Left, next_ms: i64, interval_ms: i64) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut plans = self.shared.ownership.watch();
        plans.mark_unchanged();
        self.handed_bytes.fetch_add(left.bytes(), Ordering::Relaxed);
        {
            let mut all = self.left.lock();
            all.entry(labels.clone()).or_default().push((id, left));
            self.count.fetch_add(1, Ordering::Release);
        }
        let this = self.clone();
        let busy = Some(self.shared.busy());
        tokio::spawn(async move {
            let mut stopped = this.stopped.subscribe();
            let seen_to = async {
                if !this.offer(&labels, id, (next_ms, interval_ms), (plans, busy)).await {
                    return;
                }
                match this.pass_to_owner(&labels, id, next_ms).await {
                    Passed::Done => {}
                    Passed::Mine => this.write_stale(&labels, id, next_ms).await,
                    Passed::Unreachable => this.give_up(&labels, id, next_ms).await,
                }
            };
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => {}
                () = seen_to => {}
            }
        });
    }

    /// Offers it to the owner, at once if something is `busy` with it and whenever owners change, until it is sure that no
    /// scrape of the target takes it. False when it went away.
    async fn offer(
        &self,
        labels: &Labels,
        id: u64,
        (next_ms, interval_ms): (i64, i64),
        (mut plans, mut busy): (watch::Receiver<Arc<Plan>>, Option<Busy>),
    ) -> bool {
        let clock = &*self.shared.clock;
        // Who may yet come scrapes within an interval from now.
        let from = next_ms.max(clock.now_ms());
        loop {
            if let Some(_until_passed) = busy.take()
                && self.pass_to_owner(labels, id, next_ms).await == Passed::Done
            {
                return false;
            }
            let sure = self.own_moment(labels, id, interval_ms, from) + interval_ms + interval_ms / 10;
            tokio::select! {
                () = sleep_until(clock, sure) => return true,
                Ok(()) = plans.changed() => busy = Some(self.shared.busy()),
            }
        }
    }

    /// The first moment at which a loop of this agent would take it: what another agent handed over can be of a target that
    /// this one scrapes later only.
    fn own_moment(&self, labels: &Labels, id: u64, interval_ms: i64, from: i64) -> i64 {
        let all = self.left.lock();
        let mut handed = all.get(labels).into_iter().flatten().filter(|(other, _)| *other == id);
        let hash = handed.find_map(|(_, left)| matches!(left, Left::Handed(_)).then(|| left.hash()));
        hash.and_then(|hash| self.shared.ownership.plan().next_own(hash, interval_ms, from)).unwrap_or(from)
    }

    /// Hands it to the agent that owns the target from now on, if that is another one.
    async fn pass_to_owner(&self, labels: &Labels, id: u64, next_ms: i64) -> Passed {
        let (to, handed) = {
            let all = self.left.lock();
            let Some((_, left)) = all.get(labels).and_then(|list| list.iter().find(|(other, _)| *other == id)) else {
                return Passed::Done; // Somebody took it.
            };
            let (plan, hash) = (self.shared.ownership.plan(), left.hash());
            // Who handed it over knows better whose it is.
            if matches!(left, Left::Handed(handed) if handed.epoch > plan.epoch) {
                return Passed::Unreachable;
            }
            let next = plan.next_moment(hash, left.interval_ms(), next_ms.max(self.shared.clock.now_ms()));
            let Owner::Other(to) = plan.owner_at(hash, next) else { return Passed::Mine };
            (to, left.handed(plan.epoch))
        };
        match self.shared.ownership.hand_over(&to, &handed).await {
            Ok(()) => {
                self.remove(labels, |(other, _)| *other == id);
                Passed::Done
            }
            Err(error) => {
                tracing::debug!(target_url = handed.url, to, error, "a departed target could not be handed over");
                Passed::Unreachable
            }
        }
    }

    /// The owner cannot be reached: a target that is gone here is marked here, of another one nothing is known.
    async fn give_up(&self, labels: &Labels, id: u64, next_ms: i64) {
        let is_ended = |(other, left): &(u64, Left)| *other == id && matches!(left, Left::Ended(_));
        let ended = self.left.lock().get(labels).is_some_and(|list| list.iter().any(is_ended));
        match ended {
            true => self.write_stale(labels, id, next_ms).await,
            false => drop(self.remove(labels, |(other, _)| *other == id)),
        }
    }

    /// Hands what a loop knew of a target to the owner of its next moment; it waits here if that cannot be reached.
    pub(crate) fn pass_on(self: &Arc<Self>, to: String, handed: Handed) {
        let this = self.clone();
        let busy = this.shared.busy();
        tokio::spawn(async move {
            if let Err(error) = this.shared.ownership.hand_over(&to, &handed).await {
                tracing::debug!(target_url = handed.url, to, error, "a target could not be handed over yet");
                if let Err(error) = this.receive(handed) {
                    tracing::warn!(error, "what was known of a target is forgotten");
                }
            }
            drop(busy);
        });
    }

    /// Hands everything to the agents that own it in the end, as far as they can be reached: this one is about to stop.
    pub(crate) async fn pass_all(&self, from_ms: i64) {
        let plan = self.shared.ownership.plan();
        let all: Vec<(String, Handed)> = {
            let all = self.left.lock();
            let left = all.values().flatten().filter_map(|(_, left)| {
                let handed = left.handed(plan.epoch);
                // Its markers are for the first moment at which the other one would have scraped it.
                let next_ms = plan.next_moment(handed.hash, handed.interval_ms, handed.next_ms.max(from_ms));
                match plan.owner_at(handed.hash, next_ms) {
                    Owner::Other(to) => Some((to, Handed { next_ms, ..handed })),
                    Owner::Me | Owner::Nobody => None,
                }
            });
            left.collect()
        };
        let passed = all.iter().map(|(to, handed)| async move {
            if let Err(error) = self.shared.ownership.hand_over(to, handed).await {
                tracing::debug!(target_url = handed.url, to, error, "a departed target could not be handed over");
            }
        });
        futures::future::join_all(passed).await;
    }

    async fn write_stale(&self, labels: &Labels, id: u64, t: i64) {
        let Some(left) = self.remove(labels, |(other, _)| *other == id) else { return };
        let mut buffers = self.shared.take_buffers();
        let url = match left {
            Left::Ended(mut ended) => {
                ended.state.write_stale(t, &mut buffers.batch);
                ended.target.url.clone()
            }
            Left::Handed(handed) => {
                for series in &handed.series {
                    push_stale(&mut buffers.batch, &series.canonical, series.hash, series.is_histogram, t);
                }
                let report = ReportSeries::new(&handed.labels, &self.shared.tenant, handed.extra);
                report.write_stale(t, &mut buffers.batch);
                buffers.batch.finish_series();
                handed.url
            }
        };
        self.shared.append(&url, &buffers.batch).await;
        self.shared.give_back(buffers);
    }

    fn remove(&self, labels: &Labels, is_it: impl Fn(&(u64, Left)) -> bool) -> Option<Left> {
        let mut all = self.left.lock();
        let list = all.get_mut(labels)?;
        let at = list.iter().position(is_it)?;
        let (_, left) = list.swap_remove(at);
        if list.is_empty() {
            all.remove(labels);
        }
        self.count.fetch_sub(1, Ordering::Release);
        self.handed_bytes.fetch_sub(left.bytes(), Ordering::Relaxed);
        Some(left)
    }

    /// Takes what is known of a target that is about to be scraped.
    pub(crate) fn take(&self, labels: &Labels) -> Option<Left> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.remove(labels, |_| true)
    }
}

impl Left {
    /// Adds what was known to a cache: all of it when the cache is new and samples are treated alike, else which series
    /// were there.
    pub(crate) fn add_to(self, cache: &mut SeriesCache, target: &Target, config: &ResolvedScrapeConfig) {
        match self {
            Left::Ended(ended)
                if cache.is_new()
                    && treats_samples_alike(&ended.config, config)
                    && ended.target.classic_to_nhcb == target.classic_to_nhcb =>
            {
                *cache = ended.state.cache;
            }
            left => cache.inherit(left.tracked_series()),
        }
    }
}

fn treats_samples_alike(a: &ResolvedScrapeConfig, b: &ResolvedScrapeConfig) -> bool {
    let limits = |c: &ResolvedScrapeConfig| (c.label_limit, c.label_name_length_limit, c.label_value_length_limit);
    a.honor_labels == b.honor_labels
        && a.metric_relabel == b.metric_relabel
        && a.validation == b.validation
        && limits(a) == limits(b)
}
