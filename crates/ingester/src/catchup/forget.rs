//! Forgets shards that moved to other nodes: their samples leave memory and log.
//!
//! That happens only after this node has not been a replica for longer than any write takes
//! ([`crate::IngesterConfig::forget_after`]). Otherwise a write that it accepted as a replica could be counted for it when
//! it becomes one again, although its samples were forgotten in between.

use std::sync::Arc;

use pharos_cluster::View;
use pharos_model::{ShardSet, WriteError};

use super::policy::{OrphanedShards, forgettable};
use crate::Ingester;

/// Forgets the orphaned shards that are due.
pub(super) async fn forget(ingester: &Arc<Ingester>, view: &View, orphaned: &mut OrphanedShards) {
    let (me, after) = (ingester.config.identity.as_str(), ingester.config.forget_after);
    if view.shards.iter().all(|shard| shard.has_replica(me)) {
        orphaned.clear();
        return;
    }
    let (held, now) = (held(ingester), ingester.clock.monotonic());
    let due = forgettable(me, view, &held, orphaned, now, after);
    if due.is_empty() {
        return;
    }
    let shared = ingester.clone();
    match tokio::task::spawn_blocking(move || forget_now(&shared, &due)).await {
        Ok(Ok(shards)) => {
            ingester.metrics.catchup.forgotten.inc_by(shards.len() as u64);
            tracing::info!(%shards, "forgot shards that moved to other nodes");
        }
        Ok(Err(error)) => tracing::warn!(%error, "could not forget shards that moved to other nodes; will retry"),
        Err(error) => tracing::error!(%error, "forgetting shards panicked"),
    }
}

/// The shards with samples on this node.
fn held(ingester: &Ingester) -> ShardSet {
    let windows = ingester.head.tenants().into_iter().flat_map(|tenant| ingester.head.windows(&tenant));
    windows.flat_map(|window| window.unflushed().union(&window.evictable()).iter().collect::<Vec<_>>()).collect()
}

/// Forgets those of the shards that are still orphaned, by the newest view and by the epochs of requests. Appends wait only
/// until the samples have left memory.
fn forget_now(ingester: &Ingester, due: &ShardSet) -> Result<ShardSet, WriteError> {
    let closed = ingester.fence.close();
    let (view, me) = (ingester.meta.view(), ingester.config.identity.as_str());
    let is_orphaned = |shard: &u32| {
        let known = view.shard(*shard).is_some_and(|s| !s.has_replica(me) && !s.in_sync.is_empty());
        known && closed.raised(*shard) <= view.epoch(*shard)
    };
    let shards: ShardSet = due.iter().filter(is_orphaned).collect();
    let commit = ingester.head.forget_shards(None, &shards)?;
    drop(closed);
    commit.wait()?;
    if let Err(error) = ingester.head.sweep(&shards) {
        tracing::warn!(%error, "could not remove old write-ahead log segments; the next flush tries again");
    }
    Ok(shards)
}
