//! Catching up: copies shards that this node learns from in-sync replicas, and forgets shards that have moved away.
//!
//! [`policy`] decides, purely. [`copy`] does one copy, [`lost`] reports what has to be copied again. This file is the loop
//! around them.

mod copy;
pub(crate) mod decided;
mod filter;
mod forget;
mod leftovers;
pub(crate) mod lost;
pub mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::View;
use pharos_model::ShardSet;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::Ingester;
use policy::{Action, Inputs, OrphanedShards, WantedShards};

/// How long a source that failed is avoided.
const SOURCE_BACKOFF: Duration = Duration::from_secs(5);

/// The progress of a copy from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUp {
    /// The shards to copy.
    pub shards: ShardSet,
    /// Identity of the source.
    pub source: String,
    /// Bytes received so far.
    pub bytes: u64,
    /// Parts of series received so far.
    pub series: u64,
    /// Samples received so far.
    pub samples: u64,
    /// Start of the copy, milliseconds since the epoch.
    pub began_ms: i64,
}

/// Copies in progress, by source.
pub(crate) type Progress = Mutex<BTreeMap<String, CatchUp>>;

impl Ingester {
    /// The copies in progress, ordered by source.
    pub fn progress(&self) -> Vec<CatchUp> {
        self.catch_ups.lock().values().cloned().collect()
    }
}

/// A running copy.
struct Job {
    shards: WantedShards,
    task: AbortHandle,
}

/// The loop and what it remembers.
struct CatchUpLoop {
    ingester: Arc<Ingester>,
    jobs: BTreeMap<String, Job>,
    tasks: JoinSet<Result<(), copy::CopyError>>,
    sources: BTreeMap<Id, String>,
    /// Sources that failed, and until when they are avoided.
    backed_off: BTreeMap<String, Duration>,
    orphaned: OrphanedShards,
    positions: copy::Positions,
}

/// Copies and forgets as the view demands, until `shutdown` becomes true.
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
        self.ingester.decided.lock().keep_learned(&me, view);
        let learning = view.shards.iter().filter(|shard| shard.learns_since(&me).is_some()).count();
        self.ingester.metrics.catchup.shards.set(learning as i64);
    }

    fn copy(&mut self, view: &View, source: String, shards: WantedShards) {
        let Some(member) = view.members.get(&source) else { return };
        let set: ShardSet = shards.keys().copied().collect();
        tracing::info!(source, shards = %set, "catching up");
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
            lost_at_source: Mutex::default(),
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
            tracing::warn!(source, error, retry_in = ?SOURCE_BACKOFF, "copy failed; trying another source");
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
