//! What leaves the head: flushed samples, deleted ones, shards that moved away, and series and windows without samples.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_model::time::window_start;
use pharos_model::{Matcher, ShardSet, TenantId, TimeRange, WriteError};

use crate::cut::place;
use crate::error::HeadError;
use crate::head::Head;
use crate::select::matching_series;
use crate::series::{Part, Series};
use crate::tenant::{AppendState, Tenant, series_bytes};
use crate::wal::Commit;
use crate::wal::record::{Step, put_delete, put_forget};

/// Series that are looked at under one hold of a tenant's lock.
const SLICE: usize = 1024;

/// Which samples of a window go: of each shard the epochs below a number.
struct Gone(Vec<u32>);

impl Gone {
    fn new(flushed: &BTreeMap<u32, ShardSet>) -> Self {
        let mut below = Vec::new();
        for (cut, shard) in flushed.iter().flat_map(|(cut, shards)| shards.iter().map(move |shard| (*cut, shard))) {
            below.resize(below.len().max(shard as usize + 1), 0);
            below[shard as usize] = cut;
        }
        Gone(below)
    }

    fn holds(&self, shard: u16, epoch: u32) -> bool {
        self.0.get(shard as usize).is_some_and(|below| epoch < *below)
    }
}

impl Head {
    /// Frees the samples of some shards of a window that are flushed, the series that have none left, and the segments of
    /// the log that nothing in memory came from. Returns how many bytes were freed, about.
    pub fn drop_flushed(&self, tenant: &TenantId, window: i64, shards: &ShardSet) -> Result<u64, HeadError> {
        let Some(tenant) = self.tenants.get(tenant) else { return Ok(0) };
        let start = window_start(window, self.config.window_ms);
        let mut state = tenant.append.lock();
        let flushed = state.windows.get(&start).map(|w| w.flushed.by_cut(|shard| shards.contains(shard)));
        let Some(flushed) = flushed.filter(|flushed| !flushed.is_empty()) else { return Ok(0) };
        // Logged first: what is appended from now on may repeat samples that the loop below has freed already, and
        // replay, which frees all of them here, takes it as well.
        for (cut, shards) in &flushed {
            drop(self.log_step(&tenant, &mut state, Step::Dropped, start, *cut, shards));
        }
        drop(state);
        let gone = Gone::new(&flushed);
        let mut freed = 0;
        for slice in tenant.series_of(shards).chunks(SLICE) {
            let mut state = tenant.append.lock();
            freed += self.drop_in_memory(&mut state, slice.iter(), start, &gone);
            let empty: Vec<_> = slice.iter().filter(|s| s.data.lock().is_empty()).cloned().collect();
            freed += self.remove_series(&tenant, &mut state, &empty);
        }
        if let Some(window) = tenant.append.lock().windows.get_mut(&start) {
            window.forget(|shard, epoch| gone.holds(shard, epoch));
        }
        self.grow(-(freed as isize));
        let first_segment = self.trim_log()?;
        self.forget_windows(&tenant, first_segment);
        Ok(freed as u64)
    }

    /// Frees the samples of a window that went; returns how many bytes they took.
    fn drop_in_memory<'a>(
        &self,
        state: &mut AppendState,
        series: impl Iterator<Item = &'a Arc<Series>>,
        start: i64,
        gone: &Gone,
    ) -> usize {
        let mut freed = 0;
        for series in series {
            freed += series.data.lock().drop_parts(|part| {
                let (t, epoch) = place(*part);
                gone.holds(series.shard, epoch) && window_start(t, self.config.window_ms) == start
            });
        }
        if let Some(window) = state.windows.get_mut(&start) {
            window.bytes -= freed as i64;
        }
        freed
    }

    /// Frees samples as the log tells. Series stay, since the log may still name them.
    pub(crate) fn drop_replayed(
        &self,
        tenant: &Tenant,
        state: &mut AppendState,
        start: i64,
        flushed: &BTreeMap<u32, ShardSet>,
    ) {
        let (index, gone) = (tenant.index.read(), Gone::new(flushed));
        let freed = self.drop_in_memory(state, index.iter(), start, &gone);
        if let Some(window) = state.windows.get_mut(&start) {
            window.forget(|shard, epoch| gone.holds(shard, epoch));
        }
        self.grow(-(freed as isize));
    }

    /// Removes all samples, exemplars and series of some shards, of one tenant or of all, flushed or not, from memory and
    /// for good: for shards that moved to other nodes. A shard that comes back begins empty.
    pub fn forget_shards(&self, tenant: Option<&TenantId>, shards: &ShardSet) -> Result<Commit, WriteError> {
        self.log.check()?;
        let tenants = match tenant {
            Some(tenant) => self.tenants.get(tenant).into_iter().collect(),
            None => self.tenants.all(),
        };
        for tenant in &tenants {
            // In one piece: what is appended next must not meet a sample that is about to go.
            let mut state = tenant.append.lock();
            let ticket = self.log.ticket();
            state.declare_tenant(tenant, ticket.segment());
            put_forget(&mut state.wal.staged, tenant.number, shards);
            drop(self.log.push(ticket, &state.wal.staged, 0));
            state.wal.staged.clear();
            let gone = self.forget_in_memory(tenant, &mut state, shards);
            let freed = self.remove_series(tenant, &mut state, &gone);
            drop(state);
            self.grow(-(freed as isize));
        }
        match self.trim_log() {
            Ok(first_segment) => tenants.iter().for_each(|tenant| self.forget_windows(tenant, first_segment)),
            Err(error) => tracing::warn!(%error, "segments of the write-ahead log are removed later"),
        }
        Ok(self.commit())
    }

    /// Removes the samples and exemplars of some shards; returns their series, by number.
    pub(crate) fn forget_in_memory(
        &self,
        tenant: &Tenant,
        state: &mut AppendState,
        shards: &ShardSet,
    ) -> Vec<Arc<Series>> {
        let gone = tenant.series_of(shards);
        let mut freed = 0;
        for series in &gone {
            let mut data = series.data.lock();
            for (start, window) in &mut state.windows {
                let of_window = |part: &Part<'_>| window_start(place(*part).0, self.config.window_ms) == *start;
                let bytes = data.drop_parts(of_window);
                window.bytes -= bytes as i64;
                freed += bytes;
            }
        }
        state.windows.values_mut().for_each(|window| window.forget(|shard, _| shards.contains(shard.into())));
        tenant.exemplars.lock().forget(|series| shards.contains(series.shard.into()));
        self.grow(-(freed as isize));
        gone
    }

    /// Removes the series that replay left without samples.
    pub(crate) fn remove_empty_series(&self) {
        for tenant in self.tenants.all() {
            let mut state = tenant.append.lock();
            let all: Vec<Arc<Series>> = tenant.index.read().iter().cloned().collect();
            let empty: Vec<_> = all.into_iter().filter(|s| s.data.lock().is_empty()).collect();
            let freed = self.remove_series(&tenant, &mut state, &empty);
            self.grow(-(freed as isize));
        }
    }

    /// Removes the samples of matching series in a range, at once and in the log.
    pub fn delete(&self, tenant: &TenantId, matchers: &[Matcher], range: TimeRange) -> Result<Commit, WriteError> {
        self.delete_numbered(tenant, matchers, range, 0)
    }

    /// As [`Head::delete`], for the deletion with a number, which is remembered with it: see [`Head::deleted`].
    pub fn delete_numbered(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
        number: u64,
    ) -> Result<Commit, WriteError> {
        self.log.check()?;
        let tenant = self.tenants.get_or_create(tenant);
        let mut state = tenant.append.lock();
        let emptied = self.delete_in_memory(&tenant, &mut state, matchers, range);
        let freed = self.remove_series(&tenant, &mut state, &emptied);
        self.grow(-(freed as isize));
        state.deleted = state.deleted.max(number);
        let ticket = self.log.ticket();
        state.declare_tenant(&tenant, ticket.segment());
        put_delete(&mut state.wal.staged, tenant.number, range, matchers, number);
        let commit = self.log.push(ticket, &state.wal.staged, 0);
        state.wal.staged.clear();
        Ok(commit)
    }

    /// The highest number of the deletions of a tenant that were carried out, also before a restart while samples of then
    /// are in memory; 0 for none.
    pub fn deleted(&self, tenant: &TenantId) -> u64 {
        self.tenants.get(tenant).map_or(0, |tenant| tenant.append.lock().deleted)
    }

    /// Removes samples; returns the series that have none left, by number.
    pub(crate) fn delete_in_memory(
        &self,
        tenant: &Tenant,
        state: &mut AppendState,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Vec<Arc<Series>> {
        let mut gone = Vec::new();
        let mut freed = 0isize;
        for series in matching_series(tenant, matchers, |_| true) {
            let mut data = series.data.lock();
            let before = data.heap_bytes();
            data.remove_samples(range, |t, epoch, samples| {
                if let Some(window) = state.windows.get_mut(&window_start(t, self.config.window_ms)) {
                    window.uncount(epoch, series.shard, samples);
                }
            });
            freed += before as isize - data.heap_bytes() as isize;
            if data.is_empty() {
                gone.push(series.clone());
            }
        }
        gone.sort_by_key(|s: &Arc<Series>| s.id);
        self.grow(-freed);
        gone
    }

    /// Forgets series without samples, those that are not forgotten yet. `empty` ascends by number.
    fn remove_series(&self, tenant: &Tenant, state: &mut AppendState, empty: &[Arc<Series>]) -> usize {
        let mut remove = |series: &&Arc<Series>| {
            state.table.find_entry(series.hash, |s| s.id == series.id).map(|entry| entry.remove()).is_ok()
        };
        let gone: Vec<Arc<Series>> = empty.iter().filter(&mut remove).cloned().collect();
        if gone.is_empty() {
            return 0;
        }
        let mut index = tenant.index.write();
        let before = index.bytes();
        index.remove(&gone);
        let index_bytes = before - index.bytes();
        self.metrics.series_removed.inc_by(gone.len() as u64);
        self.metrics.series.sub(gone.len() as i64);
        index_bytes + gone.iter().map(|s| series_bytes(s.labels.as_bytes().len())).sum::<usize>()
    }

    /// Forgets the cuts of windows that neither memory nor the log mention any more.
    fn forget_windows(&self, tenant: &Tenant, first_segment: u32) {
        let mut state = tenant.append.lock();
        let state = &mut *state;
        state.segment_windows.retain(|segment, _| *segment >= first_segment);
        let bound = state.newest.map_or(i64::MIN, |t| t.saturating_sub(state.settings.out_of_order_window_ms));
        let width = self.config.window_ms;
        let mentioned = &state.segment_windows;
        state.windows.retain(|start, w| {
            w.total() > 0
                || start.saturating_add(width) > bound
                || mentioned.values().any(|windows| windows.contains(start))
        });
        let mut flush = tenant.flush.write();
        let windows = &state.windows;
        if flush.flushed.keys().any(|start| !windows.contains_key(start)) {
            Arc::make_mut(&mut flush.flushed).retain(|start, _| windows.contains_key(start));
        }
    }
}
