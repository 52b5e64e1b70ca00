//! Forgetting: samples of shards that went to other nodes leave memory and log.
//!
//! Not before this node has been no replica for longer than any write takes ([`crate::IngesterConfig::forget_after`]): a write that it took while
//! it was one must not be counted as its own when it becomes one again.

use std::sync::Arc;

use pharos_cluster::View;
use pharos_model::{ShardSet, WriteError};

use super::policy::{OrphanedShards, forgettable};
use crate::Ingester;

/// Forgets what is due.
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
            tracing::info!(%shards, "shards that other nodes hold were forgotten");
        }
        Ok(Err(error)) => tracing::warn!(%error, "shards that other nodes hold are forgotten later"),
        Err(error) => tracing::error!(%error, "forgetting ended unexpectedly"),
    }
}

/// The shards that this node has samples of.
fn held(ingester: &Ingester) -> ShardSet {
    let windows = ingester.head.tenants().into_iter().flat_map(|tenant| ingester.head.windows(&tenant));
    windows.flat_map(|window| window.unflushed().union(&window.evictable()).iter().collect::<Vec<_>>()).collect()
}

/// Forgets shards of which the newest view, and no request, says that this node holds them again.
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
    Ok(shards)
}
