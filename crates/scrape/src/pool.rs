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

use crate::handoff::Handoffs;
use crate::loop_state::EndedLoop;
use crate::shared::{Fetch, Shared};
use crate::target_loop::{ForcedError, TargetLoop};
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

/// What a pool scrapes: a checked section, and the targets that its discoveries publish.
#[derive(Clone)]
pub(crate) struct PoolInput {
    pub(crate) job: ScrapeJob,
    pub(crate) found: Vec<watch::Receiver<DiscoveredTargets>>,
}

/// A running pool.
pub(crate) struct PoolHandle {
    pub(crate) status: Arc<PoolStatus>,
    input: watch::Sender<PoolInput>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl PoolHandle {
    /// The section that is in force.
    pub(crate) fn job(&self) -> ScrapeJob {
        self.input.borrow().job.clone()
    }

    /// Puts another section in force, for the same job. Each loop is replaced once its scrape in progress is done, and its
    /// successor continues with what it knew.
    pub(crate) fn reload(&self, input: PoolInput) {
        self.input.send_replace(input);
    }

    /// Tells the pool to end. Scrapes in progress are completed, unless the process stops ([`Shared::stop`]); then the state
    /// of the loops is pending in [`Handoffs`]. Returns the task that ends with the last loop.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        self.stop.send_replace(true);
        self.task
    }
}

struct RunningLoop {
    target: Arc<Target>,
    /// The section that was in force when it started.
    job: Arc<ResolvedScrapeConfig>,
    stop: watch::Sender<bool>,
    task: JoinHandle<EndedLoop>,
}

impl RunningLoop {
    /// Tells the loop to end after its scrape in progress. Returns the task that yields its state.
    fn end(self) -> JoinHandle<EndedLoop> {
        self.stop.send_replace(true);
        self.task
    }
}

struct Pool {
    shared: Arc<Shared>,
    handoffs: Arc<Handoffs>,
    job: ScrapeJob,
    status: Arc<PoolStatus>,
    forced_error: ForcedError,
    /// The loops by the hash of their targets.
    loops: HashMap<u64, RunningLoop>,
}

/// Starts a pool.
pub(crate) fn start(shared: Arc<Shared>, handoffs: Arc<Handoffs>, input: PoolInput) -> PoolHandle {
    let (stop, stopped) = watch::channel(false);
    let job = input.job.clone();
    let status = Arc::new(PoolStatus { job: job.config.job_name.clone(), ..PoolStatus::default() });
    let forced_error = ForcedError::default();
    let pool = Pool { shared, handoffs, job, status: status.clone(), forced_error, loops: HashMap::new() };
    let gauges = pool.shared.metrics.of_pool(&status.job);
    let (input, inputs) = watch::channel(input);
    let task = tokio::spawn(async move {
        pool.run(inputs, stopped).await;
        drop(gauges);
    });
    PoolHandle { status, input, stop, task }
}

impl Pool {
    async fn run(mut self, mut inputs: watch::Receiver<PoolInput>, mut stopped: watch::Receiver<bool>) {
        let mut found = Vec::new();
        // The first input is new, too.
        inputs.mark_changed();
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                Ok(()) = inputs.changed() => {
                    let input = inputs.borrow_and_update().clone();
                    found = input.found;
                    self.job = input.job;
                }
                () = any_changed(&mut found) => {}
            }
            let all: Vec<DiscoveredTargets> = found.iter_mut().map(|found| found.borrow_and_update().clone()).collect();
            // Before the first discovery has published, targets of a predecessor are not known to be gone.
            if all.iter().any(Option::is_some) || all.is_empty() {
                self.sync(&all);
            }
            if all.iter().all(Option::is_some) {
                self.status.discovered.send_replace(true);
            }
        }
        self.status.discovered.send_replace(true);
        join_all(std::mem::take(&mut self.loops).into_values().map(|running| self.release(running))).await;
    }

    /// Starts and ends loops so that there is one for each discovered target. A loop that takes the place of another waits for
    /// its end and continues with its state; nothing else waits for a scrape.
    fn sync(&mut self, found: &[DiscoveredTargets]) {
        let mut wanted = self.populate(found);
        self.check_target_limit(wanted.len());
        let mut kept = HashMap::new();
        let mut ended: HashMap<Labels, Vec<RunningLoop>> = HashMap::new();
        for (hash, running) in std::mem::take(&mut self.loops) {
            match wanted.remove(&hash) {
                Some(target) if Arc::ptr_eq(&running.job, &self.job.config) => {
                    running.target.set_discovered(target.discovered());
                    kept.insert(hash, running);
                }
                Some(target) => {
                    kept.insert(hash, self.start_loop(target, Some(running)));
                }
                None => ended.entry(running.target.labels.clone()).or_default().push(running),
            }
        }
        for (hash, target) in wanted {
            let predecessor = ended.get_mut(&target.labels).and_then(Vec::pop);
            kept.insert(hash, self.start_loop(target, predecessor));
        }
        self.loops = kept;
        for running in ended.into_values().flatten() {
            self.release(running);
        }
        let mut active: Vec<_> = self.loops.values().map(|running| running.target.clone()).collect();
        active.sort_by(|a, b| a.url.cmp(&b.url));
        self.status.state.lock().active = active;
    }

    /// Ends a loop without a successor here. Its state goes to the handoffs.
    fn release(&self, running: RunningLoop) -> JoinHandle<()> {
        self.handoffs.adopt(running.end())
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

    /// Starts the loop of a target. It waits for the end of its predecessor and continues with its state.
    fn start_loop(&self, mut target: Target, predecessor: Option<RunningLoop>) -> RunningLoop {
        let ScrapeJob { config, fetch } = self.job.clone();
        let through_socket = target.unix_socket.as_deref().and_then(|path| fetch.over_socket(path));
        let fetch = through_socket.unwrap_or(fetch);
        if let Some(predecessor) = &predecessor {
            target.succeed(&predecessor.target);
        }
        let target = Arc::new(target);
        let target_loop =
            TargetLoop::new(self.shared.clone(), config.clone(), fetch, target.clone(), self.forced_error.clone());
        let now_ms = self.shared.clock.now_ms();
        let owned = self.shared.ownership.plan().next_owned_slot(target.placement(), target.interval_ms(), now_ms);
        target_loop.set_owned(owned.is_some());
        let (stop, stopped) = watch::channel(false);
        let predecessor = predecessor.map(RunningLoop::end);
        let task = tokio::spawn(target_loop.run(self.handoffs.clone(), predecessor, stopped));
        RunningLoop { target, job: config, stop, task }
    }
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
