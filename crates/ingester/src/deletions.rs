//! Deletions: every ingester carries out what the catalogue lists, each once and in its order.
//!
//! The head remembers with its samples, in the log, up to which sequence deletions of a tenant were carried out; so what
//! is appended after a deletion is not deleted by it again after a restart. What the catalogue lists when the ingester is created
//! is carried out before the first sample comes. A window is cut only behind the deletions of its view, and meta refuses a
//! block whose cut was made before a deletion: so a block never brings back what was deleted.

use std::sync::Arc;

use pharos_cluster::{CatalogueCommand, Deletion, TenantCatalogue, View};
use pharos_head::Commit;
use pharos_model::{Matcher, TenantId, TimeRange, WriteError};
use pharos_promql::syntax::parse_metric_selector;
use tokio::sync::watch;

use crate::Ingester;

impl Ingester {
    /// Deletes series in the whole cluster: masks them in blocks, and removes them from the heads. Blocks the thread.
    pub fn delete(&self, tenant: &TenantId, matchers: &[Matcher], range: TimeRange) -> Result<(), String> {
        let _no_cut_under_way = self.flushing.blocking_lock();
        let command = CatalogueCommand::delete(tenant, matchers, range);
        let view = self.meta.propose_blocking(command).map_err(|e| e.to_string())?.view;
        let commit = self.apply_deletions(tenant, &view).map_err(|e| e.to_string())?;
        commit.map_or(Ok(()), Commit::wait).map_err(|e| e.to_string())
    }

    /// Carries out the deletions of a tenant in a view that were not yet. No cut may be under way.
    pub(crate) fn apply_deletions(&self, tenant: &TenantId, view: &View) -> Result<Option<Commit>, WriteError> {
        let newest = view.catalogue.newest_deletion(tenant.as_str());
        let done = self.head.last_deletion(tenant);
        if newest <= done {
            return Ok(None);
        }
        // What was cut before would bring it back.
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
                tracing::error!(%tenant, selector, %error, "a deletion in the catalogue cannot be read; nothing is deleted");
                (Vec::new(), TimeRange::EMPTY)
            }
        };
        self.head.delete(tenant, &matchers, range, deletion.sequence)
    }

    /// As [`Ingester::apply_deletions`], of all tenants.
    pub(crate) fn apply_all_deletions(&self, view: &View) -> Result<(), WriteError> {
        let with_deletions = view.catalogue.tenants.iter().filter(|(_, known)| !known.deletions.is_empty());
        for tenant in with_deletions.filter_map(|(name, _)| TenantId::new(name).ok()) {
            self.apply_deletions(&tenant, view)?;
        }
        Ok(())
    }

    /// As [`Ingester::apply_all_deletions`], when no cut is under way; blocks the thread until then, if there is something to do. Whether
    /// there was.
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

    /// Carries out again what came after a sequence: samples may have been copied since that the source had not deleted yet.
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

/// The sequence of the newest deletion of any tenant.
pub(crate) fn newest(view: &View) -> u64 {
    let of_tenants = view.catalogue.tenants.values().flat_map(|known| known.deletions.last());
    of_tenants.map(|deletion| deletion.sequence).max().unwrap_or(0)
}

/// Carries out deletions as they come, until `shutdown` becomes true.
pub(crate) async fn run(ingester: Arc<Ingester>, mut shutdown: watch::Receiver<bool>) {
    let mut watch = ingester.meta.watch();
    loop {
        let view = watch.borrow_and_update().clone();
        let mut pause = None;
        if let Err(error) = carry_out(&ingester, view).await {
            tracing::warn!(error, "deletions are carried out later");
            pause = Some(ingester.config.interval);
        }
        tokio::select! {
            changed = watch.changed(), if pause.is_none() => if changed.is_err() { return },
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
    }
}

async fn carry_out(ingester: &Arc<Ingester>, view: View) -> Result<(), String> {
    let shared = ingester.clone();
    let work = move || shared.apply_deletions_between_cuts(&view);
    let is_any = tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    if is_any { ingester.head.commit().await.map_err(|e| e.to_string()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
