//! The read path: answers selections, label queries and exemplars from blocks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use pharos_block::{BlockError, BlockReader, BlockSelection};
use pharos_cluster::state::DEFAULT_SHARDS;
use pharos_cluster::{BlockEntry, View};
use pharos_model::hash::shard_of;
use pharos_model::{
    Budget, Fragment, FragmentAnswer, FragmentError, Labels, Matcher, Metadata, SelectError, SelectRequest, SeriesSet,
    ShardSet, TenantId, TimeRange,
};
use pharos_promql::fragment;
use pharos_transport::query::{Admitted, ReadView, Refused};
use pharos_transport::{Scope, SeriesExemplars, SeriesSource};

use crate::Store;
use crate::mask::{BlockMasks, Mask};
use crate::set::{BlockSeries, MAX_CONCURRENT_BLOCKS, union, wait};

/// The blocks of a tenant that may match a query, ascending by sequence, and the deletions that mask them.
struct OpenBlocks {
    blocks: Vec<(Arc<BlockEntry>, BlockReader)>,
    masks: Arc<[Mask]>,
}

impl Store {
    fn open(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Arc<Budget>,
    ) -> Result<OpenBlocks, SelectError> {
        let view = self.meta.view();
        let Some(catalogue) = view.catalogue.tenant(scope.tenant.as_str()) else {
            return Ok(OpenBlocks { blocks: Vec::new(), masks: Arc::default() });
        };
        let masks = self.masks.masks(&scope.tenant, catalogue)?;
        let mut wanted = Vec::new();
        let has_asked = |b: &BlockEntry| match &scope.shards {
            Some(shards) => b.shards.iter().any(|shard| shards.contains(*shard)),
            None => true,
        };
        let fits = |b: &&Arc<BlockEntry>| TimeRange::new(b.min_t, b.max_t).overlaps(&range) && has_asked(b);
        for entry in catalogue.blocks.iter().filter(fits) {
            let meta = self.describe(entry)?;
            if meta.may_match(matchers, range) {
                wanted.push((entry.clone(), meta));
            } else {
                self.metrics.blocks_skipped.inc();
            }
        }
        self.metrics.blocks_asked.inc_by(wanted.len() as u64);
        let open = |(entry, meta): (Arc<BlockEntry>, Arc<pharos_block::BlockMeta>)| async move {
            let reader = BlockReader::open(self.objects.clone(), meta.folder(), meta, self.cache.clone()).await?;
            Ok::<_, BlockError>((entry, reader))
        };
        let opened = stream::iter(wanted).map(open).buffered(MAX_CONCURRENT_BLOCKS).try_collect();
        let mut blocks: Vec<(Arc<BlockEntry>, BlockReader)> = wait(&self.runtime, budget, opened)?;
        blocks.sort_by_key(|(entry, _)| entry.sequence);
        Ok(OpenBlocks { blocks, masks })
    }

    /// Reads opened blocks side by side. Returns what was read in the order of the blocks.
    fn each<T, F: Future<Output = Result<T, BlockError>>>(
        &self,
        blocks: &OpenBlocks,
        budget: &Arc<Budget>,
        read: impl FnMut(BlockReader) -> F,
    ) -> Result<Vec<T>, SelectError> {
        let readers: Vec<BlockReader> = blocks.blocks.iter().map(|(_, reader)| reader.clone()).collect();
        let reads = stream::iter(readers).map(read).buffered(MAX_CONCURRENT_BLOCKS);
        wait(&self.runtime, budget, reads.try_collect())
    }

    /// The series of a selection whose shards are in the scope.
    fn in_scope(&self, scope: &Scope, selection: BlockSelection) -> BlockSelection {
        let Some(shards) = &scope.shards else { return selection };
        let total = self.meta.view().settings.as_ref().map_or(DEFAULT_SHARDS, |settings| settings.shards);
        selection.filter(|_, hash| shards.contains(shard_of(hash, total)))
    }

    /// The matching series of each block, ascending by sequence, without deleted samples.
    fn matching(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        max_series: usize,
        budget: &Arc<Budget>,
    ) -> Result<Vec<BlockSeries>, SelectError> {
        let found = self.open(scope, matchers, range, budget)?;
        // The limit counts the series of the scope, so with shards it is checked after the filter.
        let most = if scope.shards.is_none() { max_series } else { 0 };
        let select = |reader: BlockReader| async move { reader.select(matchers, range, most).await };
        let selected = self.each(&found, budget, select)?;
        let mut blocks = Vec::with_capacity(selected.len());
        for ((entry, _), selection) in found.blocks.iter().zip(selected) {
            let selection = self.in_scope(scope, selection);
            if max_series > 0 && selection.len() > max_series {
                return Err(SelectError::Series { limit: max_series });
            }
            self.metrics.series.inc_by(selection.len() as u64);
            let masks = BlockMasks::of(entry, &found.masks);
            let times = (0..selection.len()).map(|at| selection.time(at).intersect(&range));
            let visible = (!masks.is_empty()).then(|| masks.visible(selection.labels(), times));
            blocks.push(BlockSeries { selection, visible });
        }
        Ok(blocks)
    }

    /// Whether label names and values depend on the series, because shards or deletions restrict them.
    fn depends_on_series(&self, scope: &Scope) -> bool {
        scope.shards.is_some()
            || self.meta.view().catalogue.tenant(scope.tenant.as_str()).is_some_and(|t| !t.deletions.is_empty())
    }
}

/// How long a request waits until the view is as new as the querier's.
const VIEW_TIMEOUT: Duration = Duration::from_secs(2);

impl SeriesSource for Store {
    fn admit(&self, _: &TenantId, asked: &ReadView) -> Result<Admitted, Refused> {
        let wanted = (asked.incarnation, asked.version);
        let knows = |view: &View| (view.incarnation, view.version) >= wanted;
        let view = self.meta.await_view_blocking(VIEW_TIMEOUT, knows);
        if knows(&view) {
            return Ok(Admitted::default());
        }
        let reason = format!("this store has version {} of the view, not yet {}", view.version, asked.version);
        Err(Refused { shards: ShardSet::new(), reason, complete: None })
    }

    fn select(
        &self,
        scope: &Scope,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError> {
        let blocks = self.matching(scope, &request.matchers, request.range, request.max_series, budget)?;
        Ok(union(blocks, self.runtime.clone(), budget.clone()))
    }

    fn series(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
        budget: &Arc<Budget>,
    ) -> Result<Vec<Labels>, SelectError> {
        let most = if limit == 0 { usize::MAX } else { limit };
        let blocks = self.matching(scope, matchers, range, 0, budget)?;
        let found: BTreeSet<Labels> = blocks.iter().flat_map(|b| b.labels().iter().take(most).cloned()).collect();
        Ok(found.into_iter().take(most).collect())
    }

    fn names(
        &self,
        scope: &Scope,
        label: Option<&str>,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Arc<Budget>,
    ) -> Result<Vec<String>, SelectError> {
        if self.depends_on_series(scope) {
            let series = self.series(scope, matchers, range, 0, budget)?;
            let found: BTreeSet<&str> = match label {
                Some(label) => series.iter().filter_map(|labels| labels.get(label)).collect(),
                None => series.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect(),
            };
            return Ok(found.into_iter().map(str::to_string).collect());
        }
        let found = self.open(scope, matchers, range, budget)?;
        let read = |reader: BlockReader| async move {
            match label {
                Some(label) => reader.label_values(label, matchers, range).await,
                None => reader.label_names(matchers, range).await,
            }
        };
        let names = self.each(&found, budget, read)?;
        Ok(names.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn exemplars(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Arc<Budget>,
    ) -> Result<Vec<SeriesExemplars>, SelectError> {
        let found = self.open(scope, matchers, range, budget)?;
        let read = |reader: BlockReader| async move {
            let selection = self.in_scope(scope, reader.select(matchers, range, 0).await?);
            let exemplars = selection.exemplars(0..selection.len(), range).await?;
            Ok((selection, exemplars))
        };
        let mut all: Vec<SeriesExemplars> = Vec::new();
        for ((entry, _), (selection, exemplars)) in found.blocks.iter().zip(self.each(&found, budget, read)?) {
            let masks = BlockMasks::of(entry, &found.masks);
            for (at, exemplar) in exemplars {
                let labels = &selection.labels()[at];
                if !masks.shows(labels, &exemplar) {
                    continue;
                }
                match all.last_mut().filter(|last| last.labels == *labels) {
                    Some(last) => last.exemplars.push(exemplar),
                    None => all.push(SeriesExemplars { labels: labels.clone(), exemplars: vec![exemplar] }),
                }
            }
        }
        Ok(all)
    }

    fn metadata(&self, _: &Scope) -> Result<Vec<(String, Metadata)>, SelectError> {
        // Metadata describes what is scraped now, and ingesters have that.
        Ok(Vec::new())
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

#[cfg(test)]
mod tests;
