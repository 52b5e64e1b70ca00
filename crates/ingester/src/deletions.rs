//! Deletions: every ingester applies the deletions of the catalogue, each once and in order.
//!
//! The head logs, along with its samples, up to which sequence the deletions of a tenant were applied. So a sample that is
//! appended after a deletion is not deleted by it again after a restart. Deletions that the catalogue lists when the
//! ingester is created are applied before the first append. A window is cut only after the deletions of its view, and meta
//! refuses a block that was cut before a deletion. So a block never restores deleted samples.

use std::sync::Arc;

use pharos_cluster::{CatalogueCommand, Deletion, TenantCatalogue, View};
use pharos_head::Commit;
use pharos_model::{Matcher, TenantId, TimeRange, WriteError};
use pharos_promql::syntax::parse_metric_selector;
use tokio::sync::watch;

use crate::Ingester;

impl Ingester {
    /// Deletes series in the whole cluster: masks them in blocks and removes them from all heads. Blocks the thread.
    pub fn delete(&self, tenant: &TenantId, matchers: &[Matcher], range: TimeRange) -> Result<(), String> {
        let _no_cut_under_way = self.flushing.blocking_lock();
        let command = CatalogueCommand::delete(tenant, matchers, range);
        let view = self.meta.propose_blocking(command).map_err(|e| e.to_string())?.view;
        let commit = self.apply_deletions(tenant, &view).map_err(|e| e.to_string())?;
        commit.map_or(Ok(()), Commit::wait).map_err(|e| e.to_string())
    }

    /// Applies the deletions of a tenant in a view that were not applied yet. The caller excludes concurrent cuts.
    pub(crate) fn apply_deletions(&self, tenant: &TenantId, view: &View) -> Result<Option<Commit>, WriteError> {
        let newest = view.catalogue.newest_deletion(tenant.as_str());
        let done = self.head.last_deletion(tenant);
        if newest <= done {
            return Ok(None);
        }
        // Blocks that were cut before would restore deleted samples.
        self.pending_commits.lock().retain(|(of, _), _| of != tenant);
        let known = view.catalogue.tenant(tenant.as_str());
        let mut last = None;
        for deletion in known.into_iter().flat_map(|t| &t.deletions).filter(|deletion| deletion.sequence > done) {
            last = Some(self.delete_here(tenant, deletion)?);
        }
        Ok(last)
    }

    fn delete_here(&self, tenant: &TenantId, deletion: &Deletion) -> Result<Commit, WriteError> {
        let (matchers, range) = match parse_metric_selector(&deletion.selector) {
            Ok(matchers) => (matchers, TimeRange::new(deletion.start, deletion.end)),
            Err(error) => {
                let selector = &deletion.selector;
                tracing::error!(%tenant, selector, %error, "unreadable deletion in the catalogue; skipping it");
                (Vec::new(), TimeRange::EMPTY)
            }
        };
        self.head.delete(tenant, &matchers, range, deletion.sequence)
    }

    /// As [`Ingester::apply_deletions`], for all tenants.
    pub(crate) fn apply_all_deletions(&self, view: &View) -> Result<(), WriteError> {
        let with_deletions = view.catalogue.tenants.iter().filter(|(_, known)| !known.deletions.is_empty());
        for tenant in with_deletions.filter_map(|(name, _)| TenantId::new(name).ok()) {
            self.apply_deletions(&tenant, view)?;
        }
        Ok(())
    }

    /// As [`Ingester::apply_all_deletions`], but waits for a running cut first if there is something to do. Blocks the thread.
    /// Returns whether there was.
    pub(crate) fn apply_deletions_between_cuts(&self, view: &View) -> Result<bool, WriteError> {
        let is_due = |(name, known): (&String, &Arc<TenantCatalogue>)| {
            let newest = known.deletions.last().map_or(0, |deletion| deletion.sequence);
            newest > 0 && TenantId::new(name).is_ok_and(|tenant| self.head.last_deletion(&tenant) < newest)
        };
        if !view.catalogue.tenants.iter().any(is_due) {
            return Ok(false);
        }
        let _no_cut_under_way = self.flushing.blocking_lock();
        self.apply_all_deletions(view).map(|()| true)
    }

    /// Applies the deletions after a sequence again, because a copy may have brought samples that its source had not deleted
    /// yet.
    pub(crate) fn reapply_deletions(&self, after: u64) -> Result<(), WriteError> {
        let view = self.meta.view();
        for (name, known) in &view.catalogue.tenants {
            let Ok(tenant) = TenantId::new(name) else { continue };
            for deletion in known.deletions.iter().filter(|deletion| deletion.sequence > after) {
                drop(self.delete_here(&tenant, deletion)?);
            }
        }
        Ok(())
    }
}

/// The sequence of the newest deletion of any tenant; 0 if there is none.
pub(crate) fn newest(view: &View) -> u64 {
    let of_tenants = view.catalogue.tenants.values().flat_map(|known| known.deletions.last());
    of_tenants.map(|deletion| deletion.sequence).max().unwrap_or(0)
}

/// Applies deletions as they appear in the view, until `shutdown` becomes true.
pub(crate) async fn run(ingester: Arc<Ingester>, mut shutdown: watch::Receiver<bool>) {
    let mut watch = ingester.meta.watch();
    loop {
        let view = watch.borrow_and_update().clone();
        let mut retry_in = None;
        if let Err(error) = apply(&ingester, view).await {
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

async fn apply(ingester: &Arc<Ingester>, view: View) -> Result<(), String> {
    let shared = ingester.clone();
    let work = move || shared.apply_deletions_between_cuts(&view);
    let applied_any = tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    if applied_any { ingester.head.commit().await.map_err(|e| e.to_string()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
