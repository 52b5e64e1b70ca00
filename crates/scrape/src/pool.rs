//! A scrape pool: the targets of one section of the configuration, and their loops.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::future::{join_all, select_all};
use parking_lot::Mutex;
use pharos_config::ResolvedScrapeConfig;
use pharos_discovery::DiscoveredTargets;
use pharos_model::Labels;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cache::SeriesCache;
use crate::handoff::Handoffs;
use crate::loop_state::EndedLoop;
use crate::shared::{Fetch, Shared};
use crate::target_loop::{ForcedError, Stop, TargetLoop};
use crate::targets::{Populated, Target, populate};

/// The state of a pool that the HTTP API shows.
#[derive(Default)]
pub struct PoolStatus {
    /// `job_name` of the section.
    pub job: String,
    discovered: watch::Sender<bool>,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    /// All discovered targets, including those of other agents.
    active: Vec<Arc<Target>>,
    dropped: Vec<Labels>,
    dropped_count: usize,
}

impl PoolStatus {
    /// The targets that this agent scrapes, sorted by URL.
    pub fn active(&self) -> Vec<Arc<Target>> {
        self.state.lock().active.iter().filter(|target| target.is_owned()).cloned().collect()
    }

    /// Waits until every discovery of the pool has published targets once, or the pool has stopped.
    pub async fn discovered(&self) {
        let mut discovered = self.discovered.subscribe();
        // Cannot fail: the sender lives as long as `self`.
        let _discovered = discovered.wait_for(|discovered| *discovered).await;
    }

    /// Discovered labels of targets that relabelling dropped, at most `keep_dropped_targets` of them.
    pub fn dropped(&self) -> Vec<Labels> {
        self.state.lock().dropped.clone()
    }

    /// The number of targets that relabelling dropped.
    pub fn dropped_count(&self) -> usize {
        self.state.lock().dropped_count
    }
}

/// The scrape pools, sorted by name.
pub(crate) type Pools = ArcSwap<Vec<Arc<PoolStatus>>>;

/// A checked section with the client that it configures.
#[derive(Clone)]
pub(crate) struct ScrapeJob {
    pub(crate) config: Arc<ResolvedScrapeConfig>,
    pub(crate) fetch: Arc<dyn Fetch>,
}

/// A running pool.
pub(crate) struct PoolHandle {
    pub(crate) job: ScrapeJob,
    pub(crate) status: Arc<PoolStatus>,
    stop: watch::Sender<Stop>,
    task: JoinHandle<()>,
}

impl PoolHandle {
    /// Stops the pool and waits for its last scrape. After [`Stop::AfterScrape`] the state of its loops is pending in
    /// [`Handoffs`].
    pub(crate) async fn stop(self, how: Stop) {
        self.stop.send_replace(how);
        if let Err(error) = self.task.await {
            tracing::error!(job = self.job.config.job_name, %error, "scrape pool panicked");
        }
    }
}

struct RunningLoop {
    target: Arc<Target>,
    stop: watch::Sender<Stop>,
    task: JoinHandle<EndedLoop>,
}

struct Pool {
    shared: Arc<Shared>,
    handoffs: Arc<Handoffs>,
    job: ScrapeJob,
    status: Arc<PoolStatus>,
    forced_error: ForcedError,
    loops: HashMap<u64, RunningLoop>,
}

/// Starts a pool over the targets that the discoveries publish.
pub(crate) fn start(
    shared: Arc<Shared>,
    handoffs: Arc<Handoffs>,
    job: ScrapeJob,
    found: Vec<watch::Receiver<DiscoveredTargets>>,
) -> PoolHandle {
    let (stop, stopped) = watch::channel(Stop::No);
    let status = Arc::new(PoolStatus { job: job.config.job_name.clone(), ..PoolStatus::default() });
    let pool = Pool {
        shared,
        handoffs,
        job: job.clone(),
        status: status.clone(),
        forced_error: ForcedError::default(),
        loops: HashMap::new(),
    };
    // A pool without targets has a metric too.
    pool.shared.metrics.targets.with_label_values(&[&job.config.job_name]).set(0);
    let task = tokio::spawn(pool.run(found, stopped));
    PoolHandle { job, status, stop, task }
}

impl Pool {
    async fn run(mut self, mut found: Vec<watch::Receiver<DiscoveredTargets>>, mut stopped: watch::Receiver<Stop>) {
        loop {
            let all: Vec<DiscoveredTargets> = found.iter_mut().map(|found| found.borrow_and_update().clone()).collect();
            // Before the first discovery has published, targets of a predecessor are not known to be gone.
            if all.iter().any(Option::is_some) || all.is_empty() {
                self.sync(&all).await;
            }
            if all.iter().all(Option::is_some) {
                self.status.discovered.send_replace(true);
            }
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop != Stop::No) => break,
                () = any_changed(&mut found) => {}
            }
        }
        self.status.discovered.send_replace(true);
        let how = *stopped.borrow();
        let loops = std::mem::take(&mut self.loops);
        for ended in end_loops(loops.into_values(), how).await {
            if how == Stop::AfterScrape {
                self.handoffs.add(ended);
            }
        }
        let job = &[self.job.config.job_name.as_str()];
        let _ = self.shared.metrics.targets.remove_label_values(job);
        let _ = self.shared.metrics.dropped_targets.remove_label_values(job);
    }

    /// Starts and stops loops so that there is one for each discovered target.
    async fn sync(&mut self, found: &[DiscoveredTargets]) {
        let wanted = self.populate(found);
        let gone: Vec<u64> = self.loops.keys().filter(|hash| !wanted.contains_key(hash)).copied().collect();
        let gone: Vec<RunningLoop> = gone.iter().filter_map(|hash| self.loops.remove(hash)).collect();
        for ended in end_loops(gone.into_iter(), Stop::AfterScrape).await {
            self.handoffs.add(ended);
        }
        self.check_target_limit(wanted.len());
        for (hash, target) in wanted {
            if !self.loops.contains_key(&hash) {
                let running = self.start_loop(Arc::new(target));
                self.loops.insert(hash, running);
            }
        }
        let mut active: Vec<_> = self.loops.values().map(|running| running.target.clone()).collect();
        active.sort_by(|a, b| a.url.cmp(&b.url));
        self.status.state.lock().active = active;
    }

    /// The distinct targets by hash; records those that relabelling drops.
    fn populate(&self, found: &[DiscoveredTargets]) -> HashMap<u64, Target> {
        let config = &self.job.config;
        let mut wanted = HashMap::new();
        let mut dropped = Vec::new();
        let mut dropped_count = 0;
        for labels in found.iter().flatten().flat_map(|targets| targets.iter()) {
            match populate(labels, config) {
                Ok(Populated::Active(target)) => {
                    wanted.insert(target.hash, *target);
                }
                Ok(Populated::Dropped(labels)) => {
                    dropped_count += 1;
                    let limit = config.keep_dropped_targets as usize;
                    if limit == 0 || dropped.len() < limit {
                        dropped.push(labels);
                    }
                }
                Err(error) => {
                    self.shared.metrics.invalid_targets.with_label_values(&[&config.job_name]).inc();
                    tracing::error!(job = config.job_name, target_labels = %labels, error, "ignoring discovered target");
                }
            }
        }
        self.shared.metrics.dropped_targets.with_label_values(&[&config.job_name]).set(dropped_count as i64);
        let mut state = self.status.state.lock();
        state.dropped = dropped;
        state.dropped_count = dropped_count;
        wanted
    }

    fn check_target_limit(&self, targets: usize) {
        let limit = self.job.config.target_limit;
        let is_exceeded = limit > 0 && targets as u64 > limit;
        if is_exceeded {
            self.shared.metrics.exceeded.with_label_values(&["targets"]).inc();
        }
        *self.forced_error.lock() =
            is_exceeded.then(|| format!("target_limit exceeded (number of targets: {targets}, limit: {limit})"));
    }

    fn start_loop(&self, target: Arc<Target>) -> RunningLoop {
        let ScrapeJob { config, fetch } = self.job.clone();
        let mut cache = SeriesCache::default();
        if let Some(pending) = self.handoffs.take(&target.labels) {
            pending.merge_into(&mut cache, &target, &config);
        }
        let forced_error = self.forced_error.clone();
        let target_loop = TargetLoop::new(self.shared.clone(), config, fetch, target.clone(), forced_error, cache);
        let now_ms = self.shared.clock.now_ms();
        let owned = self.shared.ownership.plan().next_owned_slot(target.hash, target.interval_ms(), now_ms);
        target_loop.set_owned(owned.is_some());
        let (stop, stopped) = watch::channel(Stop::No);
        RunningLoop { target, stop, task: tokio::spawn(target_loop.run(self.handoffs.clone(), stopped)) }
    }
}

async fn end_loops(loops: impl Iterator<Item = RunningLoop>, how: Stop) -> Vec<EndedLoop> {
    let tasks: Vec<_> = loops
        .map(|running| {
            running.stop.send_replace(how);
            running.task
        })
        .collect();
    let ended = join_all(tasks).await.into_iter();
    ended.filter_map(|ended| ended.inspect_err(|error| tracing::error!(%error, "scrape loop panicked")).ok()).collect()
}

/// Waits until one of the discoveries publishes new targets.
async fn any_changed(found: &mut [watch::Receiver<DiscoveredTargets>]) {
    let changes = found.iter_mut().map(|found| {
        Box::pin(async {
            if found.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    });
    let changes: Vec<_> = changes.collect();
    if changes.is_empty() {
        return std::future::pending().await;
    }
    select_all(changes).await;
}
