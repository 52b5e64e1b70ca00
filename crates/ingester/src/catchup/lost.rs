//! Shards of which this node's log has lost samples, although the view calls the node in sync.
//!
//! The node answers for none of them and is the source of no copy, until it has reported itself out of sync and has copied them
//! from another replica. If it is the last one in sync, it gives way to those that are out of sync: they may have what it has
//! lost. It remains in sync for writes, and is their source, until one of them is in sync, too. Then it reports itself. Meta
//! keeps those replicas meanwhile, however long their nodes are away. Once an operator has removed them, nobody can have more
//! than this node has. Replicas that were added since the loss come last: in sync before
//! the others, they would be the source for those that have more.
//!
//! The log stays marked as incomplete until nothing is lost any more, so a process that is interrupted begins again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::{Command, MetaError, View};
use tokio::sync::watch;

use super::policy::{self, WantedShards};
use crate::Ingester;

/// How often an operator is told of replicas that are away.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// The lost shards, with the epochs under which they are reported.
pub(crate) type LostShards = Arc<Mutex<WantedShards>>;

/// The other replicas of the shards that were lost, as of the start: each may have what was lost.
#[derive(Default)]
pub(crate) struct OlderReplicas(BTreeMap<u32, Vec<String>>);

impl OlderReplicas {
    /// The other replicas of lost shards in a view.
    pub(crate) fn of(me: &str, lost: &WantedShards, view: &View) -> Self {
        let others = |shard: &u32| -> Vec<String> {
            let replicas = view.shard(*shard).into_iter().flat_map(|known| &known.replicas);
            replicas.filter(|node| *node != me).cloned().collect()
        };
        OlderReplicas(lost.keys().map(|shard| (*shard, others(shard))).collect())
    }

    /// The first of some shards of which a learner must not get a copy from this node yet, because there is an older replica that
    /// is not in sync, even if its node is away.
    pub(crate) fn first_to_wait(
        &self,
        ingester: &Ingester,
        learner: &str,
        mut asked: impl Iterator<Item = u32>,
    ) -> Option<u32> {
        let (view, lost) = (ingester.meta.view(), ingester.lost.lock());
        asked.find(|shard| {
            let older =
                self.0.get(shard).filter(|older| lost.contains_key(shard) && !older.iter().any(|n| n == learner));
            let (Some(older), Some(known)) = (older, view.shard(*shard)) else { return false };
            older.iter().any(|node| known.has_replica(node) && !known.is_in_sync(node))
        })
    }
}

/// What there is to do about lost shards.
enum Due {
    /// Nothing is lost any more.
    Nothing,
    /// These shards have another in-sync replica and are to be reported.
    Report(Vec<(u32, u64)>),
    /// No other replica is in sync yet.
    Wait,
}

/// Reports the lost shards that another replica is in sync for, until the view agrees.
pub(crate) async fn report(ingester: &Ingester) {
    if !ingester.head.is_incomplete() {
        return;
    }
    let mut view = ingester.meta.view();
    loop {
        match due(ingester, &view) {
            Due::Nothing => return set_complete(ingester).await,
            Due::Wait => return,
            Due::Report(shards) => match propose(ingester, shards).await {
                Some(next) => view = next,
                None => return,
            },
        }
    }
}

/// Reports lost shards as other replicas come in sync, until nothing is lost or `shutdown` becomes true.
pub(crate) async fn run(ingester: Arc<Ingester>, mut shutdown: watch::Receiver<bool>) {
    let reporting = async {
        let mut watch = ingester.meta.watch();
        let mut warned_at = None;
        while ingester.head.is_incomplete() {
            watch.mark_unchanged();
            report(&ingester).await;
            warn_of_those_away(&ingester, &mut warned_at);
            if !ingester.head.is_incomplete() || watch.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = reporting => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

/// Tells the operator which nodes this one waits for, once in a while.
fn warn_of_those_away(ingester: &Ingester, warned_at: &mut Option<Duration>) {
    let now = ingester.clock.monotonic();
    if warned_at.is_some_and(|at| now.saturating_sub(at) < WARN_INTERVAL) {
        return;
    }
    let (me, view) = (&*ingester.config.identity, ingester.meta.view());
    let is_away = |node: &&String| *node != me && !view.member(node).is_some_and(|member| member.state.is_live());
    let lost = ingester.lost.lock();
    let replicas = lost.keys().filter_map(|shard| view.shard(*shard)).flat_map(|known| &known.replicas);
    let away: BTreeSet<&String> = replicas.filter(is_away).collect();
    if away.is_empty() {
        return;
    }
    *warned_at = Some(now);
    tracing::warn!(
        shards = lost.len(),
        ?away,
        "write-ahead log has lost samples that nodes which are away may have; shards stay unreadable until these nodes return, \
         or until `pharos cluster remove` has forgotten those that are gone for good"
    );
}

fn due(ingester: &Ingester, view: &View) -> Due {
    let me = &*ingester.config.identity;
    let mut lost = ingester.lost.lock();
    *lost = policy::lost_shards(me, view, |shard| lost.contains_key(&shard));
    if lost.is_empty() {
        return Due::Nothing;
    }
    let can_be_reported = |shard: &u32| view.shard(*shard).is_some_and(|known| known.in_sync.iter().any(|n| n != me));
    let shards: Vec<(u32, u64)> =
        lost.iter().filter(|(shard, _)| can_be_reported(shard)).map(|(shard, epoch)| (*shard, *epoch)).collect();
    if shards.is_empty() { Due::Wait } else { Due::Report(shards) }
}

/// Reports shards and returns a view to look at next; none if this node is stopping. Meta ignores a report whose epoch has
/// passed, so what remains is reported again.
async fn propose(ingester: &Ingester, shards: Vec<(u32, u64)>) -> Option<View> {
    tracing::warn!(shards = shards.len(), "write-ahead log is incomplete; copying shards from in-sync replicas");
    let me = ingester.config.identity.clone();
    let report = Command::ReportFailed { node: me.clone(), shards, reporter: me };
    match ingester.meta.propose(report).await {
        Ok(outcome) => return Some(outcome.view),
        Err(MetaError::Stopped(_)) => return None,
        Err(error) => tracing::info!(%error, "lost shards could not be reported yet; will retry"),
    }
    tokio::time::sleep(ingester.config.interval).await;
    Some(ingester.meta.view())
}

/// Removes the mark from the log. While it is there, a start reports again, which is harmless.
async fn set_complete(ingester: &Ingester) {
    let head = ingester.head.clone();
    match tokio::task::spawn_blocking(move || head.set_complete()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "write-ahead log stays marked as incomplete; will retry"),
        Err(error) => tracing::error!(%error, "marking the write-ahead log as complete panicked"),
    }
}
