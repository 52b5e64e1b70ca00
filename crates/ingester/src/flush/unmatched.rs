//! Windows of which this replica has something else than the blocks hold: their leader is asked.
//!
//! Why its word is enough: the epoch of the window ended here so long ago that every write whose samples are below it has been
//! acknowledged or has failed. What was acknowledged is at the leader, which is in sync, or was in blocks when the leader learned the
//! shard. So when the leader has nothing of the shard and window that is not in blocks, whatever is below that epoch here is in
//! blocks, or was never acknowledged. The epochs of the shard here, there and in the view are the same before and after.

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

/// A leader that does not answer within this time is asked later.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two questions.
const PAUSE: Duration = Duration::from_secs(10);

/// What differs of a window.
pub(crate) struct UnmatchedWindow {
    /// The cut that ended the epoch.
    number: u32,
    shards: ShardSet,
    /// When to ask.
    ask_at: Duration,
    /// Whether that time has come: before, an answer about the shard is none about this window.
    is_due: bool,
}

/// Notes windows that have been over for a window's length and still have samples that are led by others and match no blocks.
pub(super) fn note(ingester: &Ingester, tenant: &TenantId, view: &View, windows: &[WindowInfo]) {
    let (now_ms, me) = (ingester.clock.now_ms(), ingester.config.identity.as_str());
    let is_of_another = |shard: &u32| {
        let leader = view.shard(*shard).and_then(|s| s.leader.as_deref());
        leader.is_some_and(|leader| leader != me)
    };
    let is_old = |w: &&WindowInfo| w.unflushed_samples > 0 && w.end.saturating_add(ingester.config.window_ms) <= now_ms;
    // What was found in blocks after all is in entry no longer.
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
        tracing::debug!(%tenant, window = window.start, %shards, "samples here are in no block; their leader will be asked");
        let entry = UnmatchedWindow { number, shards, ask_at, is_due: false };
        ingester.reconciled.lock().unmatched.entry(tenant.clone()).or_default().insert(window.start, entry);
    }
}

/// Asks the leaders of what is due, and marks what they say is in blocks.
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
        let sure: ShardSet = asked.iter().filter(same).map(|(shard, _)| *shard).collect();
        mark(ingester, &sure, &answer).await?;
    }
    Ok(())
}

/// The shards that are due, by their leaders. They are not due again for a while.
fn due(ingester: &Ingester, view: &View) -> BTreeMap<String, ShardSet> {
    let now = ingester.clock.monotonic();
    let mut by_leader: BTreeMap<String, ShardSet> = BTreeMap::new();
    let mut reconciled = ingester.reconciled.lock();
    for entry in reconciled.unmatched.values_mut().flat_map(BTreeMap::values_mut).filter(|entry| entry.ask_at <= now) {
        (entry.ask_at, entry.is_due) = (now + PAUSE, true);
        for shard in entry.shards.iter() {
            let leader = view.shard(shard).and_then(|s| s.leader.clone());
            if let Some(leader) = leader.filter(|leader| *leader != ingester.config.identity) {
                by_leader.entry(leader).or_default().insert(shard);
            }
        }
    }
    by_leader
}

/// A leader's answer, once the view lists the blocks that it knows.
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
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::warn!(leader, error, "the leader did not say what is in no block yet; it is asked again");
            None
        }
        Err(_) => {
            tracing::warn!(leader, "the leader did not say in time what is in no block yet; it is asked again");
            None
        }
    }
}

/// Marks the shards of doubted windows of which the leader has nothing that is not in blocks.
async fn mark(ingester: &Ingester, sure: &ShardSet, answer: &UnflushedResponse) -> Result<(), FlushError> {
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
                let flushed = entry.shards.intersection(sure).difference(&open);
                if !flushed.is_empty() {
                    entry.shards = entry.shards.difference(&flushed);
                    settled.push((tenant.clone(), *start, entry.number, flushed));
                }
            }
            windows.retain(|_, entry| !entry.shards.is_empty());
        }
    }
    for (tenant, window, number, shards) in settled {
        tracing::info!(%tenant, window, %shards, "what is here of a window differs from its blocks and is in them by its leader's word");
        ingester.head.mark_flushed_cut(&tenant, window, number, &shards).await?;
        ingester.metrics.differing.inc_by(shards.len() as u64);
    }
    Ok(())
}
