//! CatchUp: shards that this node shall hold and has not all of are copied from a replica that is in sync, and those that it
//! shall hold no more are forgotten. [`policy`] decides, purely; [`copy`] does one copy; this file is the loop around them.

mod copy;
mod forget;
pub mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::{Command, MetaError, View};
use pharos_model::ShardSet;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::Ingester;
use policy::{Action, Inputs, OrphanedShards, WantedShards};

/// How long a source that failed is not asked again.
const SOURCE_BACKOFF: Duration = Duration::from_secs(5);

/// A copy under way, as far as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUp {
    /// The shards that are copied.
    pub shards: ShardSet,
    /// From which node.
    pub source: String,
    /// Bytes that came so far.
    pub bytes: u64,
    /// Parts of series that came so far.
    pub series: u64,
    /// Samples that came so far.
    pub samples: u64,
    /// When it began, milliseconds since the epoch.
    pub began_ms: i64,
}

/// The copies under way, by source.
pub(crate) type Progress = Mutex<BTreeMap<String, CatchUp>>;

impl Ingester {
    /// What is being copied, by source.
    pub fn progress(&self) -> Vec<CatchUp> {
        self.catch_ups.lock().values().cloned().collect()
    }
}

/// A copy under way.
struct Job {
    shards: WantedShards,
    task: AbortHandle,
}

/// What the loop keeps.
struct CatchUpLoop {
    ingester: Arc<Ingester>,
    jobs: BTreeMap<String, Job>,
    tasks: JoinSet<Result<(), copy::CopyError>>,
    sources: BTreeMap<Id, String>,
    /// Sources that failed, and until when they are not asked.
    backed_off: BTreeMap<String, Duration>,
    orphaned: OrphanedShards,
    positions: copy::Positions,
}

/// Learns and forgets as the view says, until `shutdown` becomes true.
pub(crate) async fn run(ingester: Arc<Ingester>, mut shutdown: watch::Receiver<bool>) {
    let working = async {
        let mut learner = CatchUpLoop {
            ingester: ingester.clone(),
            jobs: BTreeMap::new(),
            tasks: JoinSet::new(),
            sources: BTreeMap::new(),
            backed_off: BTreeMap::new(),
            orphaned: OrphanedShards::new(),
            positions: copy::Positions::default(),
        };
        learner.run().await;
    };
    tokio::select! {
        () = working => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

/// Says that this node is not in sync for what it has lost, so that it learns it; again, until it is not or nothing else is.
/// Only when meta's view leaves nothing to admit is the log no longer marked: a start that breaks off says it again.
pub(crate) async fn report_lost_shards(ingester: &Ingester) {
    if !ingester.head.is_incomplete() {
        return;
    }
    loop {
        let shards: Vec<(u32, u64)> = ingester.lost.lock().iter().map(|(shard, epoch)| (*shard, *epoch)).collect();
        if shards.is_empty() {
            return set_complete(ingester).await;
        }
        tracing::warn!(
            shards = shards.len(),
            "the write-ahead log lacks samples on a node that is in sync; it learns anew"
        );
        let me = ingester.config.identity.clone();
        let report = Command::ReportFailed { node: me.clone(), shards, reporter: me.clone() };
        match ingester.meta.propose(report).await {
            Ok(outcome) => {
                // Epochs may have gone up meanwhile; then meta changes nothing.
                let mut lost = ingester.lost.lock();
                *lost = policy::lost_shards(&me, &outcome.view, |shard| lost.contains_key(&shard));
            }
            Err(error @ (MetaError::Refused(_) | MetaError::Stopped(_))) => {
                tracing::warn!(%error, "this node stays in sync although its log is incomplete");
                return ingester.lost.lock().clear();
            }
            Err(_) => tokio::time::sleep(ingester.config.interval).await,
        }
    }
}

/// Takes the mark off the log. One that stays is no danger: the next start admits again.
async fn set_complete(ingester: &Ingester) {
    let head = ingester.head.clone();
    match tokio::task::spawn_blocking(move || head.set_complete()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the write-ahead log stays marked as incomplete until the next start"),
        Err(error) => tracing::error!(%error, "unmarking the write-ahead log ended unexpectedly"),
    }
}

impl CatchUpLoop {
    async fn run(&mut self) {
        let mut watch = self.ingester.meta.watch();
        loop {
            let view = watch.borrow_and_update().clone();
            self.act(&view);
            forget::forget(&self.ingester, &view, &mut self.orphaned).await;
            tokio::select! {
                changed = watch.changed() => if changed.is_err() { return },
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                () = tokio::time::sleep(self.ingester.config.interval) => {}
            }
        }
    }

    fn act(&mut self, view: &View) {
        let now = self.ingester.clock.monotonic();
        self.backed_off.retain(|_, until| now < *until);
        let under_way = self.jobs.iter().map(|(source, job)| (source.clone(), job.shards.clone())).collect();
        let backed_off: BTreeSet<String> = self.backed_off.keys().cloned().collect();
        let me = self.ingester.config.identity.clone();
        let inputs = Inputs {
            me: &me,
            view,
            under_way: &under_way,
            backed_off: &backed_off,
            most: self.ingester.config.max_catchup_copies,
        };
        for action in policy::decide(inputs) {
            match action {
                Action::Copy { source, shards } => self.copy(view, source, shards),
                Action::Stop { source } => {
                    if let Some(job) = self.jobs.get(&source) {
                        job.task.abort();
                    }
                }
            }
        }
        let learning = view.shards.iter().filter(|shard| shard.learns_since(&me).is_some()).count();
        self.ingester.metrics.catchup.shards.set(learning as i64);
    }

    fn copy(&mut self, view: &View, source: String, shards: WantedShards) {
        let Some(member) = view.members.get(&source) else { return };
        let set: ShardSet = shards.keys().copied().collect();
        tracing::info!(source, shards = %set, "learning");
        let catch_up = CatchUp {
            shards: set,
            source: source.clone(),
            bytes: 0,
            series: 0,
            samples: 0,
            began_ms: self.ingester.clock.now_ms(),
        };
        self.ingester.catch_ups.lock().insert(source.clone(), catch_up);
        let copy = copy::Copy {
            ingester: self.ingester.clone(),
            source: source.clone(),
            address: member.address.clone(),
            shards: shards.clone(),
            positions: self.positions.clone(),
        };
        let task = self.tasks.spawn(copy.run());
        self.sources.insert(task.id(), source.clone());
        self.jobs.insert(source, Job { shards, task });
    }

    fn ended(&mut self, ended: Result<(Id, Result<(), copy::CopyError>), JoinError>) {
        let (id, error) = match ended {
            Ok((id, Ok(()))) => (id, None),
            Ok((id, Err(error))) => (id, Some(error.to_string())),
            Err(error) if error.is_cancelled() => (error.id(), None),
            Err(error) => (error.id(), Some(error.to_string())),
        };
        let Some(source) = self.sources.remove(&id) else { return };
        self.jobs.remove(&source);
        self.ingester.catch_ups.lock().remove(&source);
        if let Some(error) = error {
            self.ingester.metrics.catchup.failures.inc();
            tracing::warn!(source, error, "a copy failed; it goes on from another source, or later");
            self.backed_off.insert(source, self.ingester.clock.monotonic() + SOURCE_BACKOFF);
        }
    }
}

impl Drop for CatchUpLoop {
    fn drop(&mut self) {
        self.ingester.catch_ups.lock().clear();
    }
}

#[cfg(test)]
mod tests;
