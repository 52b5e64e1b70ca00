//! Flushing: windows become blocks, each shard by its leader, and flushed samples leave memory.
//!
//! [`policy`] decides, purely. [`ship`] flushes one window. [`reconcile`] finds samples that are in blocks of other nodes, and
//! [`unmatched`] ships what no block has. This file is the loops around them and the state that they share.
//!
//! Tenants take turns ([`turns`]): a turn is one window, and a few tenants have theirs at the same time. Nothing that fails
//! holds up anything else: a tenant backs off by itself, and so does a window whose own samples or blocks are the cause.
//! Samples leave memory in a loop of their own, which neither waits for turns nor for the object store.

mod backoff;
mod block;
pub mod coverage;
pub(crate) mod difference;
mod error;
pub(crate) mod known;
pub mod policy;
mod reconcile;
pub(crate) mod ship;
mod tenant;
mod turns;
mod unmatched;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use parking_lot::Mutex;
use pharos_cluster::state::Refusal;
use pharos_head::WindowInfo;
use pharos_model::{ShardSet, TenantId};
use tokio::sync::{Semaphore, watch};
use tokio::task::{Id, JoinSet};

use crate::Ingester;
use backoff::Backoff;
pub use error::FlushError;
use error::blocking;
use known::Known;
use policy::{FlushPolicy, Now, Waiting};
use reconcile::Reconciled;
use ship::{PendingCommits, Shipped};
use tenant::{Flushing, MEMORY_MIB};
use turns::{Ended, Turns};
use unmatched::{Comparisons, Which};

/// Limit of tenants that flush at the same time.
const MAX_TURNS: usize = 4;

/// The state of flushing, by tenant.
pub(crate) struct Flusher {
    tenants: Mutex<HashMap<TenantId, Arc<TenantFlush>>>,
    /// MiB for blocks that are being written or uploaded.
    memory: Semaphore,
    /// Number of block ids that were generated; distinguishes blocks of the same millisecond.
    ids: AtomicU32,
}

/// The state of one tenant.
#[derive(Default)]
pub(crate) struct TenantFlush {
    /// Held while something of the tenant is flushed.
    work: tokio::sync::Mutex<Work>,
    known: Mutex<Known>,
}

/// What is remembered between turns.
#[derive(Default)]
struct Work {
    /// What is due, in order.
    plan: VecDeque<Step>,
    /// Uploaded blocks whose commit was not answered.
    pending: PendingCommits,
    reconciled: Reconciled,
    comparisons: Comparisons,
    waiting: Waiting,
    /// Windows that failed or were refused.
    retries: BTreeMap<i64, Retry>,
    /// How many windows are counted as waiting in the metrics.
    counted: i64,
}

/// The flush of a window that did not succeed.
#[derive(Default)]
struct Retry {
    backoff: Backoff,
    is_reported: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Flush the shards of a window that this node leads.
    Flush(i64),
    /// Compare shards of a window with blocks.
    Compare(i64, Which),
}

impl Step {
    fn window(self) -> i64 {
        match self {
            Step::Flush(window) | Step::Compare(window, _) => window,
        }
    }
}

/// How a turn went.
struct Turn {
    ended: Ended,
    failure: Option<FlushError>,
}

impl Default for Flusher {
    fn default() -> Self {
        Flusher { tenants: Mutex::default(), memory: Semaphore::new(MEMORY_MIB as usize), ids: AtomicU32::new(0) }
    }
}

impl Flusher {
    fn tenant(&self, tenant: &TenantId) -> Arc<TenantFlush> {
        if let Some(known) = self.tenants.lock().get(tenant) {
            return known.clone();
        }
        self.tenants.lock().entry(tenant.clone()).or_default().clone()
    }
}

impl TenantFlush {
    /// What flushing has found out about the blocks of the tenant.
    pub(crate) fn known(&self) -> &Mutex<Known> {
        &self.known
    }
}

/// Flushes windows as they end and drops what was flushed, until `shutdown` becomes true.
pub(crate) async fn run(ingester: Arc<Ingester>, mut shutdown: watch::Receiver<bool>) {
    let working = async {
        tokio::join!(run_drops(&ingester), run_turns(&ingester));
    };
    // Stopping in the middle of a flush is safe, like a crash: a cut that was not committed is made again.
    tokio::select! {
        () = working => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

async fn run_drops(ingester: &Arc<Ingester>) {
    loop {
        tokio::time::sleep(ingester.config.interval).await;
        // What fails is due again in the next round.
        let _reported = ingester.drop_due().await;
    }
}

async fn run_turns(ingester: &Arc<Ingester>) {
    let mut flushing = Running::new(ingester);
    let mut ticks = tokio::time::interval(ingester.config.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        flushing.start();
        tokio::select! {
            _ = ticks.tick() => flushing.offer(),
            Some(failure) = flushing.next() => if let Some((tenant, error, retry_in)) = failure {
                tracing::warn!(%tenant, %error, ?retry_in, "flush failed; samples stay in memory and in the log until it succeeds");
            },
        }
    }
}

/// Turns that are being taken.
struct Running<'a> {
    ingester: &'a Arc<Ingester>,
    turns: Turns,
    tasks: JoinSet<Turn>,
    tenants: HashMap<Id, TenantId>,
}

/// A turn that failed, and how long the tenant waits.
type Failure = (TenantId, FlushError, std::time::Duration);

impl<'a> Running<'a> {
    fn new(ingester: &'a Arc<Ingester>) -> Self {
        Running { ingester, turns: Turns::new(MAX_TURNS), tasks: JoinSet::new(), tenants: HashMap::new() }
    }

    /// Offers a turn to every tenant.
    fn offer(&mut self) {
        let mut tenants = self.ingester.head.tenants();
        tenants.sort();
        self.turns.offer(self.ingester.clock.monotonic(), tenants);
    }

    /// Starts turns while there is room.
    fn start(&mut self) {
        while let Some(tenant) = self.turns.start() {
            let task = self.tasks.spawn(turn(self.ingester.clone(), tenant.clone()));
            self.tenants.insert(task.id(), tenant);
        }
    }

    /// Waits for the end of a turn, and returns its failure if it has one. None if no turn is being taken.
    async fn next(&mut self) -> Option<Option<Failure>> {
        let (id, turn) = match self.tasks.join_next_with_id().await? {
            Ok((id, turn)) => (id, turn),
            Err(error) => {
                let failure = Some(FlushError::Aborted(error.to_string()));
                (error.id(), Turn { ended: Ended::Failed, failure })
            }
        };
        let Some(tenant) = self.tenants.remove(&id) else { return Some(None) };
        let retry_in = self.turns.end(&tenant, self.ingester.clock.monotonic(), turn.ended).unwrap_or_default();
        Some(turn.failure.map(|failure| {
            self.ingester.metrics.failures.inc();
            (tenant, failure, retry_in)
        }))
    }
}

/// Takes the next step of a tenant's plan, or makes a plan first.
async fn turn(ingester: Arc<Ingester>, tenant: TenantId) -> Turn {
    let of = ingester.flusher.tenant(&tenant);
    let mut work = of.work.lock().await;
    let at = Flushing { ingester: &ingester, tenant: &tenant, known: &of.known };
    if work.plan.is_empty()
        && let Err(error) = work.plan(&at).await
    {
        return Turn { ended: Ended::Failed, failure: Some(error) };
    }
    let Some(step) = work.plan.pop_front() else { return Turn { ended: Ended::Idle, failure: None } };
    let failure = work.take(&at, step).await.err();
    let ended = match &failure {
        Some(error) if !error.is_of_window() => Ended::Failed,
        _ if work.plan.is_empty() => Ended::Idle,
        _ => Ended::More,
    };
    Turn { ended, failure }
}

impl Work {
    /// Marks what is in blocks already and notes what is due.
    async fn plan(&mut self, at: &Flushing<'_>) -> Result<(), FlushError> {
        let ingester = at.ingester;
        reconcile::windows(at, &ingester.head.windows(at.tenant), &mut self.reconciled).await?;
        let (view, windows) = (ingester.meta.view(), ingester.head.windows(at.tenant));
        let now = Now { wall_ms: ingester.clock.now_ms(), monotonic: at.now() };
        let is_open = |start: &i64| windows.iter().any(|w| w.start == *start && w.unflushed_samples > 0);
        self.pending.retain(|start, _| is_open(start));
        self.retries.retain(|start, _| windows.iter().any(|w| w.start == *start));
        policy::note_waiting(&mut self.waiting, now.monotonic, &windows);
        at.note_listing(&view);
        let blocks = at.known.lock().listing.of_windows(&windows);
        let policy = FlushPolicy::new(ingester.config.grace);
        let due = policy.flushes(now, &windows, &ingester.led_in(&view), &blocks, &self.waiting);
        self.count(at, due.len() as i64);
        unmatched::note(at, &view, &windows, &blocks, &mut self.comparisons);
        let compared = unmatched::due(at, &view, &windows, &self.comparisons);
        let steps = due.into_iter().map(Step::Flush);
        let steps = steps.chain(compared.into_iter().map(|(window, which)| Step::Compare(window, which)));
        let may_retry = |step: &Step| self.retries.get(&step.window()).is_none_or(|r| r.backoff.is_over(now.monotonic));
        self.plan = steps.filter(may_retry).collect();
        Ok(())
    }

    /// Flushes or compares a window.
    async fn take(&mut self, at: &Flushing<'_>, step: Step) -> Result<(), FlushError> {
        let window = step.window();
        let shipped = match step {
            Step::Flush(window) => ship::flush_window(at, window, &mut self.pending, &mut self.reconciled).await,
            Step::Compare(window, which) => {
                unmatched::resolve(at, (window, which), &mut self.comparisons, &mut self.pending).await
            }
        };
        match &shipped {
            Ok(Shipped::Done) => {
                self.retries.remove(&window);
                if matches!(step, Step::Flush(_)) {
                    self.count(at, (self.counted - 1).max(0));
                }
            }
            Ok(Shipped::Later) | Err(_) => _ = self.retries.entry(window).or_default().backoff.failed(at.now()),
            Ok(Shipped::Refused(refusal)) => {
                let retry = self.retries.entry(window).or_default();
                let retry_in = retry.backoff.failed(at.now());
                match refusal {
                    // The next view says who leads.
                    Refusal::NotLeader { .. } | Refusal::NotInSync { .. } => {
                        tracing::info!(tenant = %at.tenant, window, %refusal, ?retry_in, "discarding an uploaded block: its shards have moved");
                    }
                    _ if !std::mem::replace(&mut retry.is_reported, true) => {
                        tracing::warn!(tenant = %at.tenant, window, %refusal, ?retry_in, "the catalogue refused a block of a window; its samples stay in memory and are flushed again");
                    }
                    _ => {}
                }
            }
        }
        shipped.map(|_| ())
    }

    /// Counts windows as waiting.
    fn count(&mut self, at: &Flushing<'_>, waiting: i64) {
        at.ingester.metrics.waiting_windows.add(waiting - self.counted);
        self.counted = waiting;
    }
}

impl Ingester {
    /// Drops what may leave memory, then flushes everything that is due. Returns the first failure; the others are
    /// flushed nevertheless.
    pub async fn flush_due(self: &Arc<Self>) -> Result<(), FlushError> {
        let mut first = self.drop_due().await;
        let mut flushing = Running::new(self);
        flushing.offer();
        flushing.start();
        while let Some(failure) = flushing.next().await {
            if let Some((_, error, _)) = failure {
                first = first.and(Err(error));
            }
            flushing.start();
        }
        first
    }

    /// Flushes every window of every tenant, whether it has ended or not. Returns the first failure; the other windows are
    /// flushed nevertheless.
    pub async fn flush_all(self: &Arc<Self>) -> Result<(), FlushError> {
        let mut first = Ok(());
        for tenant in self.head.tenants() {
            let of = self.flusher.tenant(&tenant);
            let mut work = of.work.lock().await;
            let at = Flushing { ingester: self, tenant: &tenant, known: &of.known };
            for window in self.head.windows(&tenant).iter().filter(|w| w.unflushed_samples > 0) {
                first = first.and(work.take(&at, Step::Flush(window.start)).await);
            }
        }
        first
    }

    /// The flush state of a tenant.
    pub(crate) fn flush_of(&self, tenant: &TenantId) -> Arc<TenantFlush> {
        self.flusher.tenant(tenant)
    }

    /// Notes the blocks that are listed when the process starts.
    pub(crate) fn note_listed_blocks(&self) {
        let (view, now, now_ms) = (self.meta.view(), self.clock.monotonic(), self.clock.now_ms());
        for tenant in self.head.tenants() {
            let (windows, catalogue) = (self.head.windows(&tenant), view.catalogue.tenant(tenant.as_str()));
            let of = self.flusher.tenant(&tenant);
            of.known.lock().listing.begin(now, now_ms, self.config.grace, catalogue, &windows);
        }
    }

    /// Drops flushed samples whose grace period is over. Returns the first failure, after all of them were reported.
    async fn drop_due(self: &Arc<Self>) -> Result<(), FlushError> {
        let (mut first, mut missing) = (Ok(()), 0);
        for tenant in self.head.tenants() {
            let of = self.flusher.tenant(&tenant);
            let at = Flushing { ingester: self, tenant: &tenant, known: &of.known };
            at.note_listing(&self.meta.view());
            let windows = self.head.windows(&tenant);
            if windows.iter().all(|w| w.flushed_samples == 0) {
                continue;
            }
            let blocks = of.known.lock().listing.of_windows(&windows);
            let is_missing = |w: &&WindowInfo| {
                w.evictable().iter().any(|shard| blocks.get(&(w.start, shard)).is_some_and(|known| known.is_missing))
            };
            missing += windows.iter().filter(is_missing).count();
            for (window, shards) in FlushPolicy::new(self.config.grace).drops(at.now(), &windows, &blocks) {
                if let Err(error) = drop_window(&at, window, shards).await {
                    self.metrics.failures.inc();
                    tracing::warn!(%tenant, window, %error, "could not drop flushed samples from memory; will retry");
                    first = first.and(Err(error));
                }
            }
        }
        self.metrics.missing_windows.set(missing as i64);
        first
    }
}

async fn drop_window(at: &Flushing<'_>, window: i64, shards: ShardSet) -> Result<(), FlushError> {
    // Before the samples go, so that no query relies on them.
    if let Some(verified) = at.known.lock().verified.get_mut(&window) {
        verified.values_mut().for_each(|found| *found = found.difference(&shards));
        verified.retain(|_, found| !found.is_empty());
    }
    let (shared, tenant) = (at.ingester.clone(), at.tenant.clone());
    let freed = blocking(move || Ok(shared.head.evict_flushed(&tenant, window, &shards)?)).await?;
    tracing::debug!(tenant = %at.tenant, window, freed, "dropped flushed samples from memory");
    Ok(())
}

#[cfg(test)]
mod tests;
