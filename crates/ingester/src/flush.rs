//! Flushing: windows become blocks, each shard by its leader.
//!
//! [`policy`] decides, purely. [`ship`] flushes one window. [`reconcile`] finds samples that are in blocks of other nodes.
//! This file is the loop around them.

pub mod coverage;
mod error;
pub mod policy;
pub(crate) mod reconcile;
pub(crate) mod ship;
mod unmatched;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pharos_head::WindowInfo;
use pharos_model::{ShardSet, TenantId};
use tokio::sync::watch;

use crate::Ingester;
use crate::completeness::made_ms;
pub use error::FlushError;
use policy::{Action, Committed, FlushPolicy, Waiting};

/// Longest wait before a failed flush is retried.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Flushes windows as they end, until `shutdown` becomes true.
pub(crate) async fn run(ingester: Arc<Ingester>, mut shutdown: watch::Receiver<bool>) {
    let mut backoff = Duration::ZERO;
    let mut waiting = HashMap::new();
    loop {
        let pause = ingester.config.interval + backoff;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        // Stopping in the middle of a round is safe, like a crash: a cut that was not committed is made again.
        let done = tokio::select! {
            done = round(&ingester, &mut waiting) => done,
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
        backoff = match done {
            Ok(()) => Duration::ZERO,
            Err(error) => {
                ingester.metrics.failures.inc();
                let next = (backoff * 2).clamp(Duration::from_secs(1), MAX_BACKOFF);
                tracing::warn!(%error, retry_in = ?next, "flush failed; samples stay in memory and in the log until it succeeds");
                next
            }
        };
    }
}

impl Ingester {
    /// Runs one round, oldest window first, and stops at the first failure. The caller keeps `waiting` between rounds.
    pub async fn flush_due(self: &Arc<Self>, waiting: &mut HashMap<TenantId, Waiting>) -> Result<(), FlushError> {
        round(self, waiting).await
    }
}

async fn round(ingester: &Arc<Ingester>, waiting_since: &mut HashMap<TenantId, Waiting>) -> Result<(), FlushError> {
    let policy = FlushPolicy::new(ingester.config.window_ms, ingester.config.grace);
    let mut due: Vec<(TenantId, Action)> = Vec::new();
    for tenant in ingester.head.tenants() {
        reconcile::tenant(ingester, &tenant).await?;
        let windows = ingester.head.windows(&tenant);
        let (now, since) = (ingester.clock.now_ms(), waiting_since.entry(tenant.clone()).or_default());
        policy::note_waiting(since, now, &windows);
        let actions = policy.decide(now, &windows, &ingester.led(), &committed(ingester, &tenant, &windows), since);
        due.extend(actions.into_iter().map(|action| (tenant.clone(), action)));
    }
    let mut waiting = due.iter().filter(|(_, action)| matches!(action, Action::Flush { .. })).count();
    ingester.metrics.waiting_windows.set(waiting as i64);
    for (tenant, action) in due {
        match action {
            Action::Flush { window } => {
                ship::flush_window(ingester, &tenant, window).await?;
                waiting -= 1;
                ingester.metrics.waiting_windows.set(waiting as i64);
            }
            Action::Drop { window, shards } => drop_window(ingester, tenant, window, shards).await?,
        }
    }
    unmatched::resolve(ingester).await
}

/// The creation time of the newest block over each window, by window and shard.
fn committed(ingester: &Ingester, tenant: &TenantId, windows: &[WindowInfo]) -> Committed {
    let view = ingester.meta.view();
    let mut newest = Committed::new();
    for block in view.catalogue.tenant(tenant.as_str()).iter().flat_map(|t| &t.blocks) {
        // Windows are ascending. A merged block covers several.
        let first = windows.partition_point(|w| w.end <= block.window_start);
        let made = made_ms(block);
        let covered = windows[first..].iter().take_while(|w| w.start < block.window_end);
        for key in covered.flat_map(|w| block.shards.iter().map(|shard| (w.start, *shard))) {
            let entry = newest.entry(key).or_insert(made);
            *entry = made.max(*entry);
        }
    }
    newest
}

async fn drop_window(
    ingester: &Arc<Ingester>,
    tenant: TenantId,
    window: i64,
    shards: ShardSet,
) -> Result<(), FlushError> {
    ingester.reconciled.lock().dropped(&tenant, window, &shards);
    let shared = ingester.clone();
    let freed = error::blocking(move || Ok(shared.head.evict_flushed(&tenant, window, &shards)?)).await?;
    tracing::debug!(window, freed, "dropped flushed samples from memory");
    Ok(())
}

impl Ingester {
    /// Flushes every window of every tenant, whether it has ended or not.
    pub async fn flush_all(self: &Arc<Self>) -> Result<(), FlushError> {
        for tenant in self.head.tenants() {
            for window in self.head.windows(&tenant) {
                if window.unflushed_samples > 0 {
                    ship::flush_window(self, &tenant, window.start).await?;
                }
            }
        }
        Ok(())
    }
}
