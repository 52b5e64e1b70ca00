//! Deletions: the head applies those of the catalogue, each once and in the order of their numbers.
//!
//! The head logs, along with its samples, the number of the last deletion that it applied. Writes name the newest deletion
//! of their sender's view and are taken after exactly that one ([`crate::replica`]); cuts, and through them blocks, name the
//! newest that they have seen; so do the batches of a copy. Hence each sample lies on the same side of each deletion on every
//! replica, and a deletion needs no lock but the tenant's in the head.
//!
//! Numbers never go back. A head that knows a higher number than the catalogue, which was restored from before it, makes the
//! catalogue skip to that number.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use pharos_cluster::{CatalogueCommand, Deletion, DeletionBarrier, Meta, TenantCatalogue, View};
use pharos_head::Head;
use pharos_model::{Matcher, ShardSet, TenantId, TimeRange, WriteError};
use pharos_promql::syntax::parse_metric_selector;
use tokio::sync::watch;

use crate::Ingester;
use crate::catchup::lost::LostShards;

/// How long a request waits until the view has the deletion that it names. Senders give up on a replica later than that.
const VIEW_TIMEOUT: Duration = Duration::from_secs(3);

/// Applies deletions to the head of one node.
pub(crate) struct Deletions {
    identity: String,
    head: Arc<Head>,
    meta: Arc<Meta>,
    lost: LostShards,
    /// Held while deletions are applied.
    applying: Mutex<()>,
}

impl Deletions {
    pub(crate) fn new(identity: &str, head: Arc<Head>, meta: Arc<Meta>, lost: LostShards) -> Arc<Deletions> {
        Arc::new(Deletions { identity: identity.into(), head, meta, lost, applying: Mutex::default() })
    }

    /// Applies the tenant's deletions up to a number, as soon as the view has them, and returns the number of the newest
    /// that is applied then. Fails if the view does not have them in time.
    pub(crate) async fn reach(self: &Arc<Self>, tenant: &TenantId, number: u64) -> Result<u64, WriteError> {
        let applied = self.head.last_deletion(tenant);
        if applied >= number {
            return Ok(applied);
        }
        let mut views = self.meta.watch();
        let has_it = |view: &View| view.catalogue.newest_deletion(tenant.as_str()) >= number;
        let reached = tokio::time::timeout(VIEW_TIMEOUT, views.wait_for(has_it)).await;
        let late = || {
            let known = self.meta.view().catalogue.newest_deletion(tenant.as_str());
            WriteError::Unavailable(format!(
                "ingester {} knows deletions of tenant {tenant} up to {known}, not yet {number}",
                self.identity
            ))
        };
        let view = reached.ok().and_then(Result::ok).map(|view| view.clone()).ok_or_else(late)?;
        let (shared, of) = (self.clone(), tenant.clone());
        let work = tokio::task::spawn_blocking(move || shared.apply(&of, &view));
        work.await.map_err(|e| WriteError::Unavailable(format!("applying deletions was aborted: {e}")))??;
        Ok(self.head.last_deletion(tenant))
    }

    /// Applies the deletions of a view that were not applied yet to every tenant in memory. Other tenants follow when they are
    /// written to. Blocks the thread.
    pub(crate) fn apply_all(&self, view: &View) -> Result<(), WriteError> {
        self.head.tenants().iter().try_for_each(|tenant| self.apply(tenant, view))
    }

    /// Applies the deletions of a tenant in a view that were not applied yet. Blocks the thread.
    pub(crate) fn apply(&self, tenant: &TenantId, view: &View) -> Result<(), WriteError> {
        let Some(known) = view.catalogue.tenant(tenant.as_str()) else { return Ok(()) };
        let newest = known.newest_deletion();
        if newest <= self.head.last_deletion(tenant) {
            return Ok(());
        }
        let _one_at_a_time = self.applying.lock();
        let applied = self.head.last_deletion(tenant);
        if applied < known.newest_forgotten {
            self.drop_missed(tenant, known, view)?;
        }
        for deletion in known.deletions_after(applied) {
            let (matchers, range) = parse(tenant, deletion);
            drop(self.head.delete(tenant, &matchers, range, deletion.sequence)?);
        }
        // The newest deletions may not be listed any more.
        self.head.delete(tenant, &[], TimeRange::EMPTY, newest).map(drop)
    }

    /// Removes samples from which deletions may be missing that are not listed any more. Deletions are forgotten when every
    /// replica has applied them, so this one was out of sync, or its log has lost them. It copies whatever it lacks.
    fn drop_missed(&self, tenant: &TenantId, known: &TenantCatalogue, view: &View) -> Result<(), WriteError> {
        let lost = self.lost.lock().clone();
        let is_elsewhere = |(number, shard): &(u32, &Arc<pharos_cluster::Shard>)| {
            let is_mine = shard.is_in_sync(&self.identity) && !lost.contains_key(number);
            !is_mine && shard.in_sync.iter().any(|node| *node != self.identity)
        };
        let shards: ShardSet = view.numbered_shards().filter(is_elsewhere).map(|(number, _)| number).collect();
        let holds = |tenant: &TenantId| {
            self.head.windows(tenant).iter().any(|w| w.shards.iter().any(|s| shards.contains(s.shard)))
        };
        if holds(tenant) {
            let forgotten = known.newest_forgotten;
            tracing::info!(%tenant, forgotten, %shards, "this replica missed deletions; dropping its samples of shards that it is not in sync for");
            drop(self.head.forget_shards(Some(tenant), &shards)?);
        }
        Ok(())
    }

    /// The tenants for which the head knows a higher number than the view, with that number.
    fn ahead(&self) -> Vec<(TenantId, u64)> {
        let applied: Vec<(TenantId, u64)> =
            self.head.tenants().into_iter().map(|tenant| (tenant.clone(), self.head.last_deletion(&tenant))).collect();
        // Read last, so that it has whatever the head applied.
        let view = self.meta.view();
        let is_ahead = |(tenant, applied): &(TenantId, u64)| *applied > view.catalogue.newest_deletion(tenant.as_str());
        applied.into_iter().filter(is_ahead).collect()
    }

    /// Applies what the view has, and tells the catalogue what it does not know.
    async fn synchronize(self: &Arc<Self>, view: View) -> Result<(), String> {
        let shared = self.clone();
        let ahead = tokio::task::spawn_blocking(move || {
            shared.apply_all(&view)?;
            Ok::<_, WriteError>(shared.ahead())
        });
        for (tenant, number) in ahead.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())? {
            let known = self.meta.view().catalogue.newest_deletion(tenant.as_str());
            tracing::warn!(
                %tenant, applied = number, catalogue = known,
                "the catalogue lacks deletions that this node applied, because it was restored or lost; their numbers are skipped, and blocks may show deleted samples again"
            );
            let raise = CatalogueCommand::RaiseDeletions { tenant: tenant.as_str().into(), number };
            self.meta.propose(raise).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// What a deletion deletes. An unreadable one deletes nothing here; stores report it.
fn parse(tenant: &TenantId, deletion: &Deletion) -> (Vec<Matcher>, TimeRange) {
    match parse_metric_selector(&deletion.selector) {
        Ok(matchers) => (matchers, deletion.range()),
        Err(error) => {
            let selector = &deletion.selector;
            tracing::error!(%tenant, selector, %error, "unreadable deletion in the catalogue; skipping it");
            (Vec::new(), TimeRange::EMPTY)
        }
    }
}

/// What the deletions of a tenant with numbers in a range delete.
pub(crate) fn deleted_between(
    tenant: &TenantId,
    known: &TenantCatalogue,
    after: u64,
    up_to: u64,
) -> Vec<(Vec<Matcher>, TimeRange)> {
    let listed = known.deletions_after(after).filter(|deletion| deletion.sequence <= up_to);
    listed.map(|deletion| parse(tenant, deletion)).collect()
}

/// The number of the newest deletion of any tenant; 0 if there is none.
pub(crate) fn newest(view: &View) -> u64 {
    view.catalogue.tenants.values().map(|known| known.newest_deletion()).max().unwrap_or(0)
}

/// An ingester that is alone in its process is every replica.
impl DeletionBarrier for Ingester {
    fn settle<'a>(&'a self, tenant: &'a TenantId, number: u64) -> BoxFuture<'a, Result<(), WriteError>> {
        Box::pin(async move {
            self.deletions.reach(tenant, number).await?;
            self.head.commit().await
        })
    }
}

/// Applies deletions as they appear in the view, until `shutdown` becomes true.
pub(crate) async fn run(ingester: Arc<Ingester>, mut shutdown: watch::Receiver<bool>) {
    let mut watch = ingester.meta.watch();
    loop {
        let view = watch.borrow_and_update().clone();
        let mut retry_in = None;
        if let Err(error) = ingester.deletions.synchronize(view).await {
            tracing::warn!(error, retry_in = ?ingester.config.interval, "applying deletions failed");
            retry_in = Some(ingester.config.interval);
        }
        tokio::select! {
            changed = watch.changed(), if retry_in.is_none() => if changed.is_err() { return },
            () = tokio::time::sleep(retry_in.unwrap_or_default()), if retry_in.is_some() => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
    }
}

#[cfg(test)]
mod tests;
