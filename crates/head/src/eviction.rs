//! How samples leave the head: flushed samples are evicted, deleted ones removed, and shards that moved away forgotten. Series
//! and windows that are left without samples go along with them.
//!
//! Every removal is logged before or together with the change in memory, so that replay repeats it at the same position
//! among the appends.

use std::collections::BTreeSet;
use std::sync::Arc;

use pharos_model::{Matcher, ShardSet, TenantId, TimeRange, WriteError};

use crate::append::IN_ORDER_WINDOW_MS;
use crate::error::HeadError;
use crate::head::Head;
use crate::series::{SampleRun, Series};
use crate::tenant::{AppendState, Tenant, series_bytes};
use crate::wal::Commit;
use crate::wal::record::{Step, put_delete, put_forget};
use crate::window::FlushedMask;

/// Series that are evicted from while the tenant's lock is held once.
const SERIES_PER_LOCK: usize = 1024;
/// Series that are removed while the tenant's lock is held once. The index moves the rest of long lists each time.
const SERIES_PER_SWEEP: usize = 16_384;

impl Head {
    /// Evicts the flushed samples of some shards of a window from memory, along with series that have none left and log
    /// segments that no sample in memory came from. Returns about how many bytes were freed.
    pub fn evict_flushed(&self, tenant: &TenantId, window: i64, shards: &ShardSet) -> Result<u64, HeadError> {
        let Some(tenant) = self.tenants.get(tenant) else { return Ok(0) };
        let start = self.schedule.start_of(window);
        let mut state = tenant.append.lock();
        let flushed = state.windows.get(&start).map(|w| w.flushed.restricted_to(shards));
        let Some(evicted) = flushed.filter(|flushed| !flushed.is_empty()) else { return Ok(0) };
        // Logged first: an append may repeat a sample that the loop below has evicted already. Replay evicts all of them
        // at this point of the log, so it accepts the repeated sample too.
        for (cut, shards) in &evicted.by_cut() {
            drop(self.log_step(&tenant, &mut state, Step::Evicted, start, *cut, shards));
        }
        drop(state);
        let mut freed = 0;
        let series = tenant.series_of(shards);
        for series in series.chunks(SERIES_PER_LOCK) {
            freed += self.evict_samples(&mut tenant.append.lock(), series.iter(), start, &evicted);
        }
        freed += self.remove_empty(&tenant, &series);
        if let Some(window) = tenant.append.lock().windows.get_mut(&start) {
            window.clear_counts(|shard, generation| evicted.covers(shard, generation));
        }
        self.grow(-(freed as isize));
        let first_segment = self.trim_log()?;
        self.remove_idle_windows(&tenant, first_segment);
        Ok(freed as u64)
    }

    /// Evicts the runs of a window that a mask covers; returns how many bytes they took.
    fn evict_samples<'a>(
        &self,
        state: &mut AppendState,
        series: impl Iterator<Item = &'a Arc<Series>>,
        start: i64,
        evicted: &FlushedMask,
    ) -> usize {
        let mut freed = 0;
        for series in series {
            freed += series.data.lock().evict_runs(|run| {
                evicted.covers(series.shard, run.generation()) && self.schedule.start_of(run.window_t()) == start
            });
        }
        if let Some(window) = state.windows.get_mut(&start) {
            window.bytes -= freed as i64;
        }
        freed
    }

    /// Repeats an eviction that the log records. Series stay even when they are empty, since the log may still name them.
    pub(crate) fn evict_replayed(&self, tenant: &Tenant, state: &mut AppendState, start: i64, evicted: &FlushedMask) {
        let index = tenant.index.read();
        let freed = self.evict_samples(state, index.iter(), start, evicted);
        if let Some(window) = state.windows.get_mut(&start) {
            window.clear_counts(|shard, generation| evicted.covers(shard, generation));
        }
        self.grow(-(freed as isize));
    }

    /// Removes all samples and exemplars of some shards, flushed or not, of one tenant or of all: for shards that moved to
    /// other nodes. A shard that comes back starts out empty. Their series stay until [`Head::sweep`].
    pub fn forget_shards(&self, tenant: Option<&TenantId>, shards: &ShardSet) -> Result<Commit, WriteError> {
        self.log.check()?;
        let tenants = match tenant {
            Some(tenant) => self.tenants.get(tenant).into_iter().collect(),
            None => self.tenants.all(),
        };
        for tenant in &tenants {
            // Under one hold of the lock: an append must not meet a sample that is about to be removed.
            let mut state = tenant.append.lock();
            let ticket = self.log.ticket();
            state.declare_tenant(tenant, ticket.segment());
            put_forget(&mut state.wal.staged, tenant.number, shards);
            drop(self.push(ticket, &mut state));
            self.forget_in_memory(tenant, &mut state, shards);
        }
        Ok(self.commit())
    }

    /// Removes the series of some shards that have no samples, and log segments and windows that are not needed, after
    /// [`Head::forget_shards`].
    pub fn sweep(&self, shards: &ShardSet) -> Result<(), HeadError> {
        let tenants = self.tenants.all();
        for tenant in &tenants {
            let freed = self.remove_empty(tenant, &tenant.series_of(shards));
            self.grow(-(freed as isize));
        }
        let first_segment = self.trim_log()?;
        tenants.iter().for_each(|tenant| self.remove_idle_windows(tenant, first_segment));
        Ok(())
    }

    /// Removes the samples and exemplars of some shards.
    pub(crate) fn forget_in_memory(&self, tenant: &Tenant, state: &mut AppendState, shards: &ShardSet) {
        let mut freed = 0;
        for series in tenant.series_of(shards) {
            let mut data = series.data.lock();
            let mut starts = BTreeSet::new();
            data.for_each_run(|run| {
                starts.insert(self.schedule.start_of(run.window_t()));
            });
            for start in starts {
                let bytes = data.evict_runs(|run: &SampleRun<'_>| self.schedule.start_of(run.window_t()) == start);
                freed += bytes;
                if let Some(window) = state.windows.get_mut(&start) {
                    window.bytes -= bytes as i64;
                }
            }
        }
        for window in state.windows.values_mut() {
            window.clear_counts(|shard, _| shards.contains(shard.into()));
            window.begin_again(|shard| shards.contains(shard.into()));
        }
        tenant.exemplars.lock().remove_series(|series| shards.contains(series.shard.into()));
        self.grow(-(freed as isize));
    }

    /// Removes the series that replay left without samples.
    pub(crate) fn remove_empty_series(&self) {
        for tenant in self.tenants.all() {
            let all: Vec<Arc<Series>> = tenant.index.read().iter().cloned().collect();
            let freed = self.remove_empty(&tenant, &all);
            self.grow(-(freed as isize));
        }
    }

    /// Removes those of the series that have no samples; returns the bytes freed. `series` ascends by number.
    fn remove_empty(&self, tenant: &Tenant, series: &[Arc<Series>]) -> usize {
        let mut freed = 0;
        for series in series.chunks(SERIES_PER_SWEEP) {
            let mut state = tenant.append.lock();
            let empty: Vec<_> = series.iter().filter(|s| s.data.lock().is_empty()).cloned().collect();
            freed += self.remove_series(tenant, &mut state, &empty);
        }
        freed
    }

    /// Deletes the samples and exemplars of matching series in a range, at once and in the log. `number` identifies the
    /// deletion, see [`Head::last_deletion`]; 0 for one without a number. A deletion whose number is not above the last one
    /// was applied before, so it changes nothing.
    pub fn delete(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
        number: u64,
    ) -> Result<Commit, WriteError> {
        self.log.check()?;
        let tenant = self.tenants.get_or_create(tenant);
        let mut state = tenant.append.lock();
        if number > 0 && number <= state.last_deletion {
            return Ok(self.commit());
        }
        let emptied = self.delete_in_memory(&tenant, &mut state, matchers, range);
        let ticket = self.log.ticket();
        state.declare_tenant(&tenant, ticket.segment());
        put_delete(&mut state.wal.staged, tenant.number, range, matchers, number);
        // After the declaration: if the log ends between the two records, replay must not know the number without the deletion.
        state.last_deletion = state.last_deletion.max(number);
        let commit = self.push(ticket, &mut state);
        drop(state);
        // Series without samples harm nobody, so appends need not wait until all of them have left.
        let freed = self.remove_empty(&tenant, &emptied);
        self.grow(-(freed as isize));
        Ok(commit)
    }

    /// The highest number of the deletions applied to a tenant; 0 for none. A restart keeps it as long as the log mentions
    /// the tenant.
    pub fn last_deletion(&self, tenant: &TenantId) -> u64 {
        self.tenants.get(tenant).map_or(0, |tenant| tenant.append.lock().last_deletion)
    }

    /// Removes samples and exemplars; returns the series that have no samples left, by ascending number.
    pub(crate) fn delete_in_memory(
        &self,
        tenant: &Tenant,
        state: &mut AppendState,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Vec<Arc<Series>> {
        if range.is_empty() {
            return Vec::new();
        }
        let mut emptied = Vec::new();
        let mut freed = 0isize;
        let matching: Vec<Arc<Series>> = {
            let index = tenant.index.read();
            index.matching(matchers).iter().filter_map(|&id| index.get(id).cloned()).collect()
        };
        for series in matching {
            let mut data = series.data.lock();
            let before = data.heap_bytes();
            data.remove_samples(range, |t, generation, samples| {
                if let Some(window) = state.windows.get_mut(&self.schedule.start_of(t)) {
                    window.subtract(generation, series.shard, samples);
                }
            });
            freed += before as isize - data.heap_bytes() as isize;
            if data.is_empty() {
                emptied.push(series.clone());
            }
        }
        emptied.sort_by_key(|s: &Arc<Series>| s.id);
        let matches = |series: &Series| matchers.iter().all(|m| m.matches(series.labels.get(&m.name).unwrap_or("")));
        tenant.exemplars.lock().remove(range, matches);
        self.grow(-freed);
        emptied
    }

    /// Removes series without samples from table and index, unless that happened already; returns the bytes freed. `empty`
    /// ascends by number.
    pub(crate) fn remove_series(&self, tenant: &Tenant, state: &mut AppendState, empty: &[Arc<Series>]) -> usize {
        let mut remove = |series: &&Arc<Series>| {
            state.table.find_entry(series.hash, |s| s.id == series.id).map(|entry| entry.remove()).is_ok()
        };
        let removed: Vec<Arc<Series>> = empty.iter().filter(&mut remove).cloned().collect();
        if removed.is_empty() {
            return 0;
        }
        let mut index = tenant.index.write();
        let before = index.bytes();
        index.remove(&removed);
        let index_bytes = before - index.bytes();
        self.metrics.series_removed.inc_by(removed.len() as u64);
        self.metrics.series.sub(removed.len() as i64);
        self.log.add_declarable(-removed.iter().map(|s| s.labels.as_bytes().len() as i64).sum::<i64>());
        index_bytes + removed.iter().map(|s| series_bytes(s.labels.as_bytes().len())).sum::<usize>()
    }

    /// Removes the state of windows that are too old for appends and that neither memory nor the log mentions any more.
    fn remove_idle_windows(&self, tenant: &Tenant, first_segment: u32) {
        let mut state = tenant.append.lock();
        let state = &mut *state;
        state.segments.forget_before(first_segment);
        let lag_ms = state.settings.out_of_order_window_ms.max(IN_ORDER_WINDOW_MS);
        let oldest_taken = state.newest.map_or(i64::MIN, |t| t.saturating_sub(lag_ms));
        let segments = &state.segments;
        state.windows.retain(|start, w| {
            w.total() > 0 || self.schedule.end_of(*start) > oldest_taken || segments.mention(*start)
        });
        let windows = &state.windows;
        let mut flushed = tenant.flushed.write();
        if flushed.masks.keys().any(|start| !windows.contains_key(start)) {
            Arc::make_mut(&mut flushed.masks).retain(|start, _| windows.contains_key(start));
        }
    }
}
