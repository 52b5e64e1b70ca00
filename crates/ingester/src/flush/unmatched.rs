//! Windows whose samples on this replica differ from the blocks that should contain them. The shard's leader resolves them.
//!
//! Why the leader's confirmation suffices: this replica started a new cut so long ago that every write below it has been
//! acknowledged or has failed. Acknowledged samples are at the leader, which is in sync, or were in blocks when the leader
//! caught up. So if the leader has no unflushed samples of the shard and window, then everything below the cut here is in
//! blocks or was never acknowledged. The epoch of the shard must be the same here, at the leader and in the view, before
//! and after the call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pharos_cluster::View;
use pharos_head::WindowInfo;
use pharos_model::{ShardSet, TenantId};
use pharos_transport::append::IngestClient;
use pharos_transport::ingest_v1::{ShardEpoch, UnflushedRequest, UnflushedResponse};

use super::error::FlushError;
use crate::Ingester;

/// Timeout of a call to the leader.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which the leader is asked again.
const ASK_INTERVAL: Duration = Duration::from_secs(10);

/// The shards of a window that match no blocks.
pub(crate) struct UnmatchedWindow {
    /// The cut below which samples are marked once the leader confirms.
    number: u32,
    shards: ShardSet,
    /// When to ask the leader next, on the monotonic clock.
    ask_at: Duration,
    /// Whether the wait is over. Before that, an answer about the shard says nothing about this window.
    is_due: bool,
}

/// Records windows that ended at least a window's length ago and still have unflushed samples of shards that others lead.
pub(super) fn note(ingester: &Ingester, tenant: &TenantId, view: &View, windows: &[WindowInfo]) {
    let (now_ms, me) = (ingester.clock.now_ms(), ingester.config.identity.as_str());
    let is_of_another = |shard: &u32| {
        let leader = view.shard(*shard).and_then(|s| s.leader.as_deref());
        leader.is_some_and(|leader| leader != me)
    };
    let is_old = |w: &&WindowInfo| w.unflushed_samples > 0 && w.end.saturating_add(ingester.config.window_ms) <= now_ms;
    // Shards that were found in blocks meanwhile are matched.
    if let Some(unmatched) = ingester.reconciled.lock().unmatched.get_mut(tenant) {
        for window in windows {
            if let Some(entry) = unmatched.get_mut(&window.start) {
                entry.shards = entry.shards.intersection(&window.unflushed());
            }
        }
        unmatched.retain(|_, entry| !entry.shards.is_empty());
    }
    for window in windows.iter().filter(is_old) {
        let shards: ShardSet = window.unflushed().iter().filter(is_of_another).collect();
        let is_noted = |known: &BTreeMap<i64, UnmatchedWindow>| known.contains_key(&window.start);
        if shards.is_empty() || ingester.reconciled.lock().unmatched.get(tenant).is_some_and(is_noted) {
            continue;
        }
        let number = ingester.head.end_generation(tenant, window.start);
        let ask_at = ingester.clock.monotonic() + ingester.config.forget_after;
        tracing::debug!(%tenant, window = window.start, %shards, "samples match no block; will ask the shard leaders");
        let entry = UnmatchedWindow { number, shards, ask_at, is_due: false };
        ingester.reconciled.lock().unmatched.entry(tenant.clone()).or_default().insert(window.start, entry);
    }
}

/// Asks the leaders of the windows that are due and marks what they confirm.
pub(super) async fn resolve(ingester: &Arc<Ingester>) -> Result<(), FlushError> {
    let view = ingester.meta.view();
    for (leader, shards) in due(ingester, &view) {
        let asked: Vec<(u32, u64)> = shards.iter().map(|shard| (shard, view.epoch(shard))).collect();
        let Some(answer) = ask(ingester, &view, &leader, &asked).await else { continue };
        let now = ingester.meta.view();
        let same = |(shard, epoch): &&(u32, u64)| {
            let known = now.shard(*shard).filter(|s| s.leader.as_ref() == Some(&leader));
            let is_stale = answer.stale.iter().any(|stale| stale.shard == *shard);
            known.is_some_and(|s| s.epoch == *epoch) && ingester.fence.raised(*shard) <= *epoch && !is_stale
        };
        let confirmed: ShardSet = asked.iter().filter(same).map(|(shard, _)| *shard).collect();
        mark(ingester, &confirmed, &answer).await?;
    }
    Ok(())
}

/// The shards that are due, by leader. They are not due again for [`ASK_INTERVAL`].
fn due(ingester: &Ingester, view: &View) -> BTreeMap<String, ShardSet> {
    let now = ingester.clock.monotonic();
    let mut by_leader: BTreeMap<String, ShardSet> = BTreeMap::new();
    let mut reconciled = ingester.reconciled.lock();
    for entry in reconciled.unmatched.values_mut().flat_map(BTreeMap::values_mut).filter(|entry| entry.ask_at <= now) {
        entry.ask_at = now + ASK_INTERVAL;
        entry.is_due = true;
        for shard in entry.shards.iter() {
            let leader = view.shard(shard).and_then(|s| s.leader.clone());
            if let Some(leader) = leader.filter(|leader| *leader != ingester.config.identity) {
                by_leader.entry(leader).or_default().insert(shard);
            }
        }
    }
    by_leader
}

/// The answer of a leader, after the view has reached the version that the leader knew.
async fn ask(ingester: &Ingester, view: &View, leader: &str, asked: &[(u32, u64)]) -> Option<UnflushedResponse> {
    let address = &view.members.get(leader)?.address;
    let shards = asked.iter().map(|&(shard, epoch)| ShardEpoch { shard, epoch }).collect();
    let asking = async {
        let connection = ingester.connect.connect(address).map_err(|e| e.to_string())?;
        let mut client = IngestClient::new(connection).client();
        let answer = client.unflushed(UnflushedRequest { shards }).await.map_err(|e| e.to_string())?.into_inner();
        let mut watch = ingester.meta.watch();
        let reached = watch.wait_for(|v| v.incarnation == answer.incarnation && v.version >= answer.version);
        reached.await.map_err(|e| e.to_string())?;
        Ok::<_, String>(answer)
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, asking).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::warn!(leader, error, retry_in = ?ASK_INTERVAL, "could not ask the shard leader for its unflushed windows");
            None
        }
        Err(_) => {
            tracing::warn!(leader, retry_in = ?ASK_INTERVAL, "the shard leader did not list its unflushed windows in time");
            None
        }
    }
}

/// Marks the shards of unmatched windows of which the leader has no unflushed samples.
async fn mark(ingester: &Ingester, confirmed: &ShardSet, answer: &UnflushedResponse) -> Result<(), FlushError> {
    let mut settled: Vec<(TenantId, i64, u32, ShardSet)> = Vec::new();
    {
        let mut reconciled = ingester.reconciled.lock();
        for (tenant, windows) in &mut reconciled.unmatched {
            for (start, entry) in windows.iter_mut().filter(|(_, entry)| entry.is_due) {
                let same = |w: &&pharos_transport::ingest_v1::UnflushedWindow| {
                    w.tenant == tenant.as_str() && w.window == *start
                };
                let open: ShardSet =
                    answer.windows.iter().filter(same).flat_map(|w| w.shards.iter().copied()).collect();
                let flushed = entry.shards.intersection(confirmed).difference(&open);
                if !flushed.is_empty() {
                    entry.shards = entry.shards.difference(&flushed);
                    settled.push((tenant.clone(), *start, entry.number, flushed));
                }
            }
            windows.retain(|_, entry| !entry.shards.is_empty());
        }
    }
    for (tenant, window, number, shards) in settled {
        tracing::info!(%tenant, window, %shards, "the shard leader confirmed that every acknowledged sample of this window is in a block; marking it flushed");
        ingester.head.mark_flushed_cut(&tenant, window, number, &shards).await?;
        ingester.metrics.differing.inc_by(shards.len() as u64);
    }
    Ok(())
}
