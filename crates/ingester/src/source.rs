//! The read path: samples in memory.
//!
//! Memory has what no block has yet, and what was flushed less than the grace period ago. [`SeriesSource::completeness`]
//! tells from which time on memory suffices; samples that blocks have, too, are merged. A query that relies on more than
//! this replica has is refused ([`SeriesSource::covers`]), because the time that it relies on came from another replica.

use std::sync::Arc;
use std::time::Duration;

use pharos_cluster::{BlockEntry, View};
use pharos_head::WindowInfo;
use pharos_model::{
    Budget, Fragment, FragmentAnswer, FragmentError, Labels, Matcher, Metadata, SelectError, SelectRequest, SeriesSet,
    ShardSet, TenantId, TimeRange,
};
use pharos_promql::fragment;
use pharos_transport::query::{Admitted, ReadError, ReadView, Refused, refuse_unless_complete};
use pharos_transport::{Completeness, Scope, SeriesExemplars, SeriesSource};

use crate::Ingester;
use crate::completeness::{Context, complete_from};

/// How long a request waits until the view has the epochs that the querier knows.
const VIEW_TIMEOUT: Duration = Duration::from_millis(500);

impl Ingester {
    /// Applies the deletions that a read relies on.
    fn show_deletions(&self, tenant: &TenantId, asked: &ReadView, view: &View) -> Result<(), Refused> {
        let applied = self.head.last_deletion(tenant);
        // Nothing is deleted of a tenant that is not in memory.
        if applied >= asked.deletions || self.head.windows(tenant).is_empty() {
            return Ok(());
        }
        let applying = self.deletions.apply(tenant, view).map_err(|e| e.to_string());
        let applied = self.head.last_deletion(tenant);
        if applied >= asked.deletions {
            return Ok(());
        }
        let problem = applying.err().unwrap_or_else(|| format!("its view has version {}", view.version));
        let reason = format!(
            "ingester {} has applied deletions of tenant {tenant} up to {applied}, not yet {}: {problem}",
            self.config.identity, asked.deletions
        );
        let shards = asked.epochs.iter().map(|(shard, _)| *shard).collect();
        Err(Refused { shards, reason, complete: None })
    }

    /// Whether this replica is in sync for the shards of a scope and knows no block that ends after `from`. Then no sample since
    /// that time has left memory. So queries about recent time usually need not look at windows.
    fn has_no_block_since(&self, scope: &Scope, from: i64) -> bool {
        let view = self.meta.view();
        let catalogue = view.catalogue.tenant(scope.tenant.as_str());
        if catalogue.is_some_and(|tenant| tenant.blocks.iter().any(|block| block.window_end > from)) {
            return false;
        }
        let is_whole = self.whole_in(&view);
        match &scope.shards {
            Some(shards) => shards.iter().all(is_whole),
            None => !view.shards.is_empty() && (0..view.shards.len() as u32).all(is_whole),
        }
    }
}

impl SeriesSource for Ingester {
    fn admit(&self, tenant: &TenantId, asked: &ReadView) -> Result<Admitted, Refused> {
        // A writer may have named a newer epoch than this node's view has. At that epoch this replica may be out of sync.
        let epochs = self.fence.raised_from(&asked.epochs);
        // Only the epochs of these shards and deletions matter; a newer list of blocks changes nothing in memory.
        let knows = |view: &View| {
            let has_deletions = view.catalogue.newest_deletion(tenant.as_str()) >= asked.deletions;
            has_deletions && epochs.iter().all(|(shard, epoch)| view.epoch(*shard) >= *epoch)
        };
        let (view, identity) = (self.meta.await_view_blocking(VIEW_TIMEOUT, knows), &*self.config.identity);
        let is_refused = |(shard, epoch): &&(u32, u64)| view.epoch(*shard) < *epoch || !self.is_whole(&view, *shard);
        let shards: ShardSet = epochs.iter().filter(is_refused).map(|(shard, _)| *shard).collect();
        if shards.is_empty() {
            self.show_deletions(tenant, asked, &view)?;
            let is_newer = asked.epochs.iter().any(|(shard, asked)| view.epoch(*shard) > *asked);
            return Ok(Admitted { newer_version: is_newer.then_some(view.version) });
        }
        let version = view.version;
        let reason = format!("ingester {identity} is not in sync for shards {shards} as of version {version}");
        Err(Refused { shards, reason, complete: None })
    }

    fn completeness(&self, scope: &Scope, lasting: Duration) -> Result<Completeness, SelectError> {
        let is_asked = |shard: u32| scope.shards.as_ref().is_none_or(|shards| shards.contains(shard));
        let has_unflushed = |w: &&WindowInfo| w.shards.iter().any(|s| s.unflushed_samples > 0 && is_asked(s.shard));
        // Read before the view, so that the view lists the blocks of everything that is flushed here.
        let before = self.head.windows(&scope.tenant);
        let unflushed_from = before.iter().filter(has_unflushed).map(|w| w.start).min().unwrap_or(i64::MAX);
        // Read again after the view, so that it knows the cuts of all blocks in the view.
        let view = self.meta.view();
        let windows = self.head.windows(&scope.tenant);
        let me = &*self.config.identity;
        // A replica that is out of sync lacks samples, and the blocks that have them may not be in its view yet.
        let lacks = |number: u32| is_asked(number) && !self.is_whole(&view, number);
        if view.shards.is_empty() || (0u32..view.shards.len() as u32).any(lacks) {
            return Ok(Completeness { from: i64::MAX, unflushed_from, version: view.version });
        }
        let catalogue = view.catalogue.tenant(scope.tenant.as_str());
        // Blocks that end before the time that the caller relies on make no difference.
        let counted_on = scope.complete_from.unwrap_or(i64::MIN);
        let may_matter = |block: &&BlockEntry| block.window_end > counted_on;
        let blocks = catalogue.into_iter().flat_map(|t| &t.blocks).map(Arc::as_ref).filter(may_matter);
        let flush = self.flush_of(&scope.tenant);
        let known = flush.known().lock();
        let context = Context {
            identity: me,
            now: self.clock.monotonic(),
            lasting,
            grace: self.config.grace,
            shards: scope.shards.as_deref(),
            known: &known,
        };
        Ok(Completeness { from: complete_from(context, blocks, &windows), unflushed_from, version: view.version })
    }

    fn covers(&self, scope: &Scope, lasting: Duration) -> Result<(), ReadError> {
        match scope.complete_from {
            Some(from) if lasting < self.config.grace && self.has_no_block_since(scope, from) => Ok(()),
            _ => refuse_unless_complete(&|scope| self.completeness(scope, lasting), scope),
        }
    }

    fn select(
        &self,
        scope: &Scope,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError> {
        budget.check()?;
        self.head.select(&scope.tenant, request, scope.shards.as_deref())
    }

    fn series(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
        _: &Arc<Budget>,
    ) -> Result<Vec<Labels>, SelectError> {
        let mut found = self.head.series(&scope.tenant, matchers, range, scope.shards.as_deref());
        if limit > 0 {
            found.truncate(limit);
        }
        Ok(found)
    }

    fn names(
        &self,
        scope: &Scope,
        label: Option<&str>,
        matchers: &[Matcher],
        range: TimeRange,
        _: &Arc<Budget>,
    ) -> Result<Vec<String>, SelectError> {
        let shards = scope.shards.as_deref();
        Ok(match label {
            Some(label) => self.head.label_values(&scope.tenant, label, matchers, range, shards),
            None => self.head.label_names(&scope.tenant, matchers, range, shards),
        })
    }

    fn exemplars(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        _: &Arc<Budget>,
    ) -> Result<Vec<SeriesExemplars>, SelectError> {
        let found = self.head.exemplars(&scope.tenant, &[matchers.to_vec()], range, scope.shards.as_deref());
        Ok(found.into_iter().map(|s| SeriesExemplars { labels: s.labels, exemplars: s.exemplars }).collect())
    }

    fn metadata(&self, scope: &Scope) -> Result<Vec<(String, Metadata)>, SelectError> {
        Ok(self.head.metadata(&scope.tenant).into_iter().collect())
    }

    fn evaluate(
        &self,
        scope: &Scope,
        fragment: &Fragment,
        budget: &Arc<Budget>,
    ) -> Result<FragmentAnswer, FragmentError> {
        fragment::evaluate(&|request: &_, budget: &_| self.select(scope, request, budget), fragment, budget)
    }
}
