//! A scrape pool: the targets of one section of the configuration and their loops.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::{join_all, select_all};
use parking_lot::Mutex;
use pharos_model::Labels;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cache::SeriesCache;
use crate::departed::Departed;
use crate::shared::{Fetch, Shared};
use crate::target_loop::{Ended, ForcedError, Stop, TargetLoop};
use crate::targets::{Populated, Target, populate};
use pharos_config::ResolvedScrapeConfig;
use pharos_discovery::Found;

/// What the HTTP API shows of a pool.
#[derive(Default)]
pub struct PoolStatus {
    /// The name of the section.
    pub job: String,
    discovered: watch::Sender<bool>,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    /// All that were discovered, other agents' too.
    active: Vec<Arc<Target>>,
    dropped: Vec<Labels>,
    dropped_count: usize,
}

impl PoolStatus {
    /// The targets that this agent scrapes, by URL.
    pub fn active(&self) -> Vec<Arc<Target>> {
        self.state.lock().active.iter().filter(|target| target.is_owned()).cloned().collect()
    }

    /// Waits until every discovery of the pool has answered once, or the pool has ended.
    pub async fn discovered(&self) {
        let mut discovered = self.discovered.subscribe();
        // The sender lives as long as this does.
        let _discovered = discovered.wait_for(|discovered| *discovered).await;
    }

    /// Labels before relabelling of targets that it dropped; no more of them than the configuration keeps.
    pub fn dropped(&self) -> Vec<Labels> {
        self.state.lock().dropped.clone()
    }

    /// How many targets relabelling dropped.
    pub fn dropped_count(&self) -> usize {
        self.state.lock().dropped_count
    }
}

/// A checked section with its client.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) config: Arc<ResolvedScrapeConfig>,
    pub(crate) fetch: Arc<dyn Fetch>,
}

/// A running pool.
pub(crate) struct PoolHandle {
    pub(crate) prepared: Prepared,
    pub(crate) status: Arc<PoolStatus>,
    stop: watch::Sender<Stop>,
    task: JoinHandle<()>,
}

impl PoolHandle {
    /// Ends the pool and waits until its last scrape is done. After [`Stop::AfterScrape`] its targets are departed.
    pub(crate) async fn stop(self, how: Stop) {
        self.stop.send_replace(how);
        if let Err(error) = self.task.await {
            tracing::error!(job = self.prepared.config.job_name, %error, "a scrape pool ended unexpectedly");
        }
    }
}

struct RunningLoop {
    target: Arc<Target>,
    stop: watch::Sender<Stop>,
    task: JoinHandle<Ended>,
}

struct Pool {
    shared: Arc<Shared>,
    departed: Arc<Departed>,
    prepared: Prepared,
    status: Arc<PoolStatus>,
    forced_error: ForcedError,
    loops: HashMap<u64, RunningLoop>,
}

/// Starts a pool over what the discoveries find.
pub(crate) fn start(
    shared: Arc<Shared>,
    departed: Arc<Departed>,
    prepared: Prepared,
    found: Vec<watch::Receiver<Found>>,
) -> PoolHandle {
    let (stop, stopped) = watch::channel(Stop::No);
    let status = Arc::new(PoolStatus { job: prepared.config.job_name.clone(), ..PoolStatus::default() });
    let pool = Pool {
        shared,
        departed,
        prepared: prepared.clone(),
        status: status.clone(),
        forced_error: ForcedError::default(),
        loops: HashMap::new(),
    };
    // A pool without targets shows as one.
    pool.shared.metrics.targets.with_label_values(&[&prepared.config.job_name]).set(0);
    let task = tokio::spawn(pool.run(found, stopped));
    PoolHandle { prepared, status, stop, task }
}

impl Pool {
    async fn run(mut self, mut found: Vec<watch::Receiver<Found>>, mut stopped: watch::Receiver<Stop>) {
        loop {
            let all: Vec<Found> = found.iter_mut().map(|found| found.borrow_and_update().clone()).collect();
            // Until a discovery has answered for the first time, what a predecessor scraped is not known to be gone.
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
                self.departed.add(ended);
            }
        }
        let job = &[self.prepared.config.job_name.as_str()];
        let _ = self.shared.metrics.targets.remove_label_values(job);
        let _ = self.shared.metrics.dropped_targets.remove_label_values(job);
    }

    /// Makes the running loops those of the targets that were found.
    async fn sync(&mut self, found: &[Found]) {
        let wanted = self.populate(found);
        let gone: Vec<u64> = self.loops.keys().filter(|hash| !wanted.contains_key(hash)).copied().collect();
        let gone: Vec<RunningLoop> = gone.iter().filter_map(|hash| self.loops.remove(hash)).collect();
        for ended in end_loops(gone.into_iter(), Stop::AfterScrape).await {
            self.departed.add(ended);
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

    /// The targets among what was found, without doubles; remembers which ones relabelling drops.
    fn populate(&self, found: &[Found]) -> HashMap<u64, Target> {
        let config = &self.prepared.config;
        let mut wanted = HashMap::new();
        let (mut dropped, mut dropped_count) = (Vec::new(), 0);
        for labels in found.iter().flatten().flat_map(|targets| targets.iter()) {
            match populate(labels, config) {
                Ok(Populated::Active(target)) => {
                    wanted.insert(target.hash, *target);
                }
                Ok(Populated::Dropped(labels)) => {
                    dropped_count += 1;
                    let most = config.keep_dropped_targets as usize;
                    if most == 0 || dropped.len() < most {
                        dropped.push(labels);
                    }
                }
                Err(error) => {
                    self.shared.metrics.invalid_targets.with_label_values(&[&config.job_name]).inc();
                    tracing::error!(job = config.job_name, target_labels = %labels, error, "creating a target failed");
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
        let limit = self.prepared.config.target_limit;
        let is_exceeded = limit > 0 && targets as u64 > limit;
        if is_exceeded {
            self.shared.metrics.exceeded.with_label_values(&["targets"]).inc();
        }
        *self.forced_error.lock() =
            is_exceeded.then(|| format!("target_limit exceeded (number of targets: {targets}, limit: {limit})"));
    }

    fn start_loop(&self, target: Arc<Target>) -> RunningLoop {
        let Prepared { config, fetch } = self.prepared.clone();
        let mut cache = SeriesCache::default();
        if let Some(left) = self.departed.take(&target.labels) {
            left.add_to(&mut cache, &target, &config);
        }
        let forced_error = self.forced_error.clone();
        let target_loop = TargetLoop::new(self.shared.clone(), config, fetch, target.clone(), forced_error, cache);
        let interval_ms = target.interval.as_millis() as i64;
        let own = self.shared.ownership.plan().next_own(target.hash, interval_ms, self.shared.clock.now_ms());
        target_loop.set_owned(own.is_some());
        let (stop, stopped) = watch::channel(Stop::No);
        RunningLoop { target, stop, task: tokio::spawn(target_loop.run(self.departed.clone(), stopped)) }
    }
}

async fn end_loops(loops: impl Iterator<Item = RunningLoop>, how: Stop) -> Vec<Ended> {
    let tasks: Vec<_> = loops
        .map(|running| {
            running.stop.send_replace(how);
            running.task
        })
        .collect();
    let ended = join_all(tasks).await.into_iter();
    ended
        .filter_map(|ended| ended.inspect_err(|error| tracing::error!(%error, "a scrape loop ended unexpectedly")).ok())
        .collect()
}

/// Waits until one of the discoveries finds something else.
async fn any_changed(found: &mut [watch::Receiver<Found>]) {
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
