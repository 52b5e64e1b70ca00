//! The loop of a group: waits for its slots and evaluates its rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::TenantId;
use pharos_model::clock::sleep_towards_ms;
use pharos_rules::{Group, GroupOptions, RuleGroup};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::evaluation::{self, Shared};
use crate::schedule::{Schedule, group_hash};
use crate::write;

/// A group of a file, with the state of its rules.
pub(crate) struct RunningGroup {
    /// The tenant whose samples the rules read and write.
    pub(crate) tenant: TenantId,
    /// The path of the file.
    pub(crate) file: String,
    /// The group as the file has it, to tell whether it has changed.
    spec: RuleGroup,
    options: GroupOptions,
    /// The rules with their state.
    pub(crate) rules: Group,
    /// The rules that may be evaluated at the same time, by position; empty to evaluate them in order.
    pub(crate) batches: Vec<Vec<usize>>,
    schedule: Schedule,
    last: Mutex<LastEvaluation>,
    /// Decides which ruler evaluates the group.
    hash: u64,
    /// Whether this ruler evaluated the group at its last slot.
    owned: AtomicBool,
}

/// The last evaluation of a group.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastEvaluation {
    /// When it began, milliseconds since the epoch; `None` before the first one.
    pub(crate) began_ms: Option<i64>,
    /// How long it took.
    pub(crate) duration: Duration,
    /// The slot that it was for.
    slot_ms: Option<i64>,
}

/// The loop of a group.
pub(crate) struct GroupLoop {
    pub(crate) group: Arc<RunningGroup>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl RunningGroup {
    /// A group that was never evaluated.
    pub(crate) fn new(tenant: &TenantId, file: &str, spec: &RuleGroup, options: &GroupOptions) -> Arc<Self> {
        let rules = Group::new(spec, options);
        let hash = group_hash(tenant, file, &spec.name);
        Arc::new(RunningGroup {
            tenant: tenant.clone(),
            file: file.to_string(),
            batches: rules.batches(),
            schedule: Schedule::new(hash, rules.interval_ms),
            spec: spec.clone(),
            options: options.clone(),
            rules,
            last: Mutex::default(),
            hash,
            owned: AtomicBool::new(false),
        })
    }

    /// The name of the group in metrics. Names are unique within a file only, and those of files within a tenant.
    pub(crate) fn key(&self) -> String {
        let (tenant, file, name) = (&self.tenant, &self.file, &self.rules.name);
        if *tenant == TenantId::default() { format!("{file};{name}") } else { format!("{tenant}/{file};{name}") }
    }

    /// Whether it is the group of a configuration.
    pub(crate) fn is(&self, spec: &RuleGroup, options: &GroupOptions) -> bool {
        self.spec == *spec && self.options == *options
    }

    /// Whether this ruler evaluates the group.
    pub(crate) fn is_owned(&self) -> bool {
        self.owned.load(Ordering::Relaxed)
    }

    /// Sets whether this ruler evaluates the group, from its slot at `slot_ms` on.
    pub(crate) fn set_owned(&self, shared: &Shared, slot_ms: i64) -> bool {
        let owns = shared.components.ownership.owns(self.hash, slot_ms);
        if self.owned.swap(owns, Ordering::Relaxed) && !owns {
            // Another ruler goes on from the series. What this one knows will be out of date if the group returns.
            self.rules.forget();
            *self.last.lock() = LastEvaluation::default();
            shared.metrics.forget(&self.key());
        }
        owns
    }

    pub(crate) fn last(&self) -> LastEvaluation {
        *self.last.lock()
    }

    fn continue_from(&self, earlier: &RunningGroup) {
        self.rules.continue_from(&earlier.rules);
        *self.last.lock() = earlier.last();
        self.owned.store(earlier.is_owned(), Ordering::Relaxed);
    }

    /// The slot at which to begin.
    fn first_slot(&self, now_ms: i64) -> i64 {
        let fresh = self.schedule.first_after(now_ms);
        match self.last().slot_ms {
            // The slots of an earlier version go on if it had the same ones.
            Some(slot_ms) if self.schedule.first_after(slot_ms - 1) == slot_ms => {
                self.schedule.following(slot_ms, now_ms).slot_ms.min(fresh)
            }
            _ => fresh,
        }
    }

    /// How many slots were lost with the previous owner of the group, which may be an earlier process of this ruler, as far as
    /// the group's series show when it was evaluated last.
    async fn lost_before(self: &Arc<Self>, shared: &Arc<Shared>, slot_ms: i64) -> u64 {
        match evaluation::evaluated_before(shared, self, slot_ms).await {
            Ok(Some(last_ms)) => self.schedule.between(last_ms, slot_ms),
            Ok(None) => 0,
            Err(error) => {
                let group = self.key();
                tracing::warn!(
                    group,
                    error,
                    "the evaluations that were lost with the group's previous ruler are not counted"
                );
                0
            }
        }
    }

    /// Evaluates the group until it is told to stop.
    async fn run(
        self: Arc<Self>,
        shared: Arc<Shared>,
        predecessor: Option<GroupLoop>,
        mut stop: watch::Receiver<bool>,
    ) {
        if let Some(predecessor) = predecessor {
            let earlier = predecessor.group.clone();
            predecessor.end().await;
            self.continue_from(&earlier);
        }
        let key = self.key();
        let (clock, ownership) = (shared.components.clock.clone(), shared.components.ownership.clone());
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = shared.stopped() => return,
            // In a cluster, slots go by the cluster's time, which comes with the first view.
            () = ownership.await_fresh_view() => {}
        }
        let mut slot_ms = self.first_slot(clock.now_ms());
        let mut has_just_started = self.last().slot_ms.is_none();
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = shared.stopped() => return,
                () = sleep_towards_ms(&*clock, slot_ms) => {}
            }
            let in_flight = shared.begin();
            ownership.await_fresh_view().await;
            let now_ms = clock.now_ms();
            if now_ms < slot_ms {
                // The clock was set back during the wait; the slots go on from where it is.
                slot_ms = slot_ms.min(self.schedule.first_after(now_ms - 1));
                continue;
            }
            let was_owned = self.is_owned();
            let has_just_started = std::mem::take(&mut has_just_started);
            let due = self.schedule.due(slot_ms, now_ms);
            slot_ms = due.slot_ms;
            if !self.set_owned(&shared, slot_ms) {
                slot_ms = self.schedule.following(slot_ms, clock.now_ms()).slot_ms;
                continue;
            }
            // Whoever has taken the group over meanwhile counts what was missed.
            if was_owned {
                shared.metrics.missed(&key, due.missed);
            }
            if !was_owned {
                shared.metrics.announce(&key, &self.rules);
            }
            let takes_over = ownership.is_shared() && (has_just_started || !was_owned);
            let lost = if takes_over { self.lost_before(&shared, slot_ms).await } else { 0 };
            let began = clock.monotonic();
            let began_ms = clock.now_ms();
            evaluation::iterate(&shared, &self, slot_ms).await;
            // Not before: if this ruler had died, the next one would count them, too.
            shared.metrics.missed(&key, lost);
            let duration = clock.monotonic().saturating_sub(began);
            *self.last.lock() = LastEvaluation { began_ms: Some(began_ms), duration, slot_ms: Some(slot_ms) };
            shared.metrics.iterated(&key, began_ms, duration);
            let next = self.schedule.following(slot_ms, clock.now_ms());
            shared.metrics.missed(&key, next.missed);
            slot_ms = next.slot_ms;
            drop(in_flight);
        }
    }
}

impl GroupLoop {
    /// Starts the loop of a group. It waits for the end of its predecessor and continues with its state.
    pub(crate) fn start(group: Arc<RunningGroup>, shared: &Arc<Shared>, predecessor: Option<GroupLoop>) -> GroupLoop {
        let (stop, stopped) = watch::channel(false);
        let now_ms = shared.components.clock.now_ms();
        if group.set_owned(shared, group.first_slot(now_ms)) {
            shared.metrics.announce(&group.key(), &group.rules);
        }
        let task = tokio::spawn(group.clone().run(shared.clone(), predecessor, stopped));
        GroupLoop { group, stop, task }
    }

    /// Ends the loop after its evaluation in progress.
    pub(crate) async fn end(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(group = self.group.key(), %error, "the loop of a rule group panicked");
        }
    }

    /// Ends the loop of a group that the configuration no longer has. Its series get stale markers two intervals later,
    /// when a group that it was renamed to has taken them over.
    pub(crate) async fn remove(self, shared: Arc<Shared>, others: impl Fn(&pharos_model::Labels) -> bool + Send) {
        let group = self.group.clone();
        self.end().await;
        shared.metrics.forget(&group.key());
        group.rules.abandon();
        let at_ms = shared.components.clock.now_ms().saturating_sub(group.rules.query_offset_ms);
        let interval = Duration::from_millis(group.rules.interval_ms.max(0) as u64);
        tokio::select! {
            biased;
            () = shared.stopped() => return,
            () = shared.components.clock.sleep(interval * 2) => {}
        }
        let stale = group.rules.abandoned(at_ms, others);
        let (ingest, clock) = (&*shared.components.ingest, &*shared.components.clock);
        let until_ms = clock.now_ms().saturating_add(group.rules.interval_ms);
        if let Err(error) = write::write(ingest, clock, &group.tenant, &stale, until_ms, || shared.is_stopped()).await {
            tracing::warn!(group = group.key(), error, "could not end the series of a removed rule group");
        }
    }
}
