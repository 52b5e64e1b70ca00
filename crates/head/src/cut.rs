//! Cutting windows, marking cuts as flushed, dropping what is flushed, and deleting.

use std::sync::Arc;

use pharos_model::time::window_start;
use pharos_model::{Labels, Matcher, SeriesBatch, SeriesView, TenantId, TimeRange, WriteError};

use crate::error::HeadError;
use crate::exemplars::SeriesExemplars;
use crate::head::Head;
use crate::select::{compare_canonical, matching_series, read_series};
use crate::series::{Part, Series};
use crate::tenant::{AppendState, Tenant, series_bytes};
use crate::wal::Commit;
use crate::wal::record::{Step, put_delete, put_step};
use crate::window::{FlushMap, WindowInfo};

/// Series that are looked at under one hold of a tenant's lock.
const SLICE: usize = 1024;

/// The unflushed samples of one window, as they were when it was cut: samples that came later are not among them.
pub struct WindowCut {
    tenant: TenantId,
    window: WindowInfo,
    number: u32,
    flush: FlushMap,
    series: Vec<Arc<Series>>,
    exemplars: Vec<SeriesExemplars>,
}

/// One series of a cut.
pub struct CutSeries<'a> {
    /// Its labels.
    pub labels: &'a Labels,
    /// Its place in the hash space.
    pub hash: u64,
    /// Its samples of the cut, never empty.
    pub samples: SeriesView<'a>,
}

impl WindowCut {
    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The window, as it was at the cut.
    pub fn window(&self) -> WindowInfo {
        self.window
    }

    /// The number of the cut within its window, from 1. Numbers survive restarts: keep it with the block, so that after
    /// a crash between committing the block and [`Head::mark_flushed`] the mark can be made up with [`Head::mark_flushed_cut`].
    pub fn number(&self) -> u32 {
        self.number
    }

    /// At most how many series it has.
    pub fn series_len(&self) -> usize {
        self.series.len()
    }

    /// The exemplars of the window that no earlier flushed cut had, by ascending labels.
    pub fn exemplars(&self) -> &[SeriesExemplars] {
        &self.exemplars
    }

    /// Visits the series in ascending order of labels, one in memory at a time. Ends early with the first error of `each`.
    pub fn for_each<E>(&self, mut each: impl FnMut(CutSeries<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut batch = SeriesBatch::default();
        for series in &self.series {
            batch.clear();
            self.read(series, &mut batch);
            if batch.samples() > 0 {
                each(CutSeries { labels: &series.labels, hash: series.hash, samples: batch.view(0) })?;
            }
        }
        Ok(())
    }

    fn read(&self, series: &Series, batch: &mut SeriesBatch) {
        const NOTHING: TimeRange = TimeRange { start: 0, end: -1 };
        read_series(&series.data.lock(), batch, |part| if self.holds(part) { TimeRange::ALL } else { NOTHING });
    }

    fn holds(&self, part: Part<'_>) -> bool {
        let (t, epoch) = place(part);
        window_start(t, self.flush.width) == self.window.start
            && epoch < self.number
            && !self.flush.is_flushed(t, epoch)
    }
}

/// A timestamp in the window of a piece, and its epoch.
fn place(part: Part<'_>) -> (i64, u32) {
    match part {
        Part::Chunk(chunk) => (chunk.min_t, chunk.epoch),
        Part::Late(late) => (late.window, late.epoch),
    }
}

impl Head {
    /// The windows of a tenant that have samples in memory or were flushed lately, oldest first.
    pub fn windows(&self, tenant: &TenantId) -> Vec<WindowInfo> {
        let Some(tenant) = self.tenants.get(tenant) else { return Vec::new() };
        let state = tenant.append.lock();
        state.windows.iter().map(|(start, w)| w.info(*start, self.config.window_ms)).collect()
    }

    /// Cuts a window: takes a stable snapshot of its samples that are not flushed. The cut is durable when
    /// [`Head::commit`] resolves: wait for that before the block is committed. Cutting a window again before the first cut is marked
    /// gives both cuts' samples.
    pub fn cut(&self, tenant_id: &TenantId, window: i64) -> WindowCut {
        let tenant = self.tenants.get_or_create(tenant_id);
        let start = window_start(window, self.config.window_ms);
        let mut state = tenant.append.lock();
        let entry = state.windows.entry(start).or_default();
        entry.cuts += 1;
        let (number, info) = (entry.cuts, entry.info(start, self.config.window_ms));
        drop(self.log_step(&tenant, &mut state, Step::Cut, start, number));
        let flush = tenant.flush.read().clone();
        drop(state);
        let mut cut = WindowCut {
            tenant: tenant_id.clone(),
            window: info,
            number,
            flush,
            series: Vec::new(),
            exemplars: Vec::new(),
        };
        let mut series: Vec<Arc<Series>> = tenant.index.read().iter().cloned().collect();
        series.retain(|s| {
            let mut holds = false;
            s.data.lock().parts(|part| holds |= cut.holds(part));
            holds
        });
        series.sort_by(|a, b| compare_canonical(a.labels.as_bytes(), b.labels.as_bytes()));
        let range = TimeRange::new(start, start.saturating_add(self.config.window_ms - 1));
        let wanted = |_: &Series, epoch: u32| epoch < number && !cut.flush.is_flushed(start, epoch);
        cut.exemplars = tenant.exemplars.lock().select(range, wanted);
        cut.series = series;
        self.metrics.cuts.inc();
        // Small segments for small tenants: what is flushed soon can be removed soon.
        self.log.rotate((self.config.segment_bytes / 16).min(4 << 20));
        cut
    }

    /// Says that the samples of a cut are in a committed block. They stay in memory until [`Head::drop_flushed`].
    pub fn mark_flushed(&self, cut: &WindowCut) -> Commit {
        self.mark_flushed_cut(&cut.tenant, cut.window.start, cut.number)
    }

    /// As [`Head::mark_flushed`], for a cut of which only the number is known: that of a block that was
    /// committed before a crash. Cuts of lower numbers are flushed with it.
    pub fn mark_flushed_cut(&self, tenant: &TenantId, window: i64, number: u32) -> Commit {
        let tenant = self.tenants.get_or_create(tenant);
        let start = window_start(window, self.config.window_ms);
        let mut state = tenant.append.lock();
        tenant.set_flushed(&mut state, start, number);
        self.log_step(&tenant, &mut state, Step::Flushed, start, number)
    }

    /// Frees the samples of a window that are flushed, the series that have none left, and the segments of
    /// the log that nothing in memory came from. Returns how many bytes were freed, about.
    pub fn drop_flushed(&self, tenant: &TenantId, window: i64) -> Result<u64, HeadError> {
        let Some(tenant) = self.tenants.get(tenant) else { return Ok(0) };
        let start = window_start(window, self.config.window_ms);
        let mut state = tenant.append.lock();
        let flushed = state.windows.get(&start).map_or(0, |w| w.flushed);
        if flushed == 0 {
            return Ok(0);
        }
        // Logged first: what is appended from now on may repeat samples that the loop below has freed already, and
        // replay, which frees all of them here, takes it as well.
        drop(self.log_step(&tenant, &mut state, Step::Dropped, start, flushed));
        drop(state);
        let all: Vec<Arc<Series>> = tenant.index.read().iter().cloned().collect();
        let mut freed = 0;
        for slice in all.chunks(SLICE) {
            let mut state = tenant.append.lock();
            freed += self.drop_in_memory(&mut state, slice.iter(), start, flushed);
            let empty: Vec<_> = slice.iter().filter(|s| s.data.lock().is_empty()).cloned().collect();
            freed += self.remove_series(&tenant, &mut state, &empty);
        }
        if let Some(window) = tenant.append.lock().windows.get_mut(&start) {
            window.drop_epochs(flushed);
        }
        self.grow(-(freed as isize));
        let first_segment = self.trim_log()?;
        self.forget_windows(&tenant, first_segment);
        Ok(freed as u64)
    }

    /// Frees the samples of a window whose epochs are below `flushed`; returns how many bytes they took.
    fn drop_in_memory<'a>(
        &self,
        state: &mut AppendState,
        series: impl Iterator<Item = &'a Arc<Series>>,
        start: i64,
        flushed: u32,
    ) -> usize {
        let mut freed = 0;
        for series in series {
            freed += series.data.lock().drop_parts(|part| {
                let (t, epoch) = place(*part);
                epoch < flushed && window_start(t, self.config.window_ms) == start
            });
        }
        if let Some(window) = state.windows.get_mut(&start) {
            window.bytes -= freed as i64;
        }
        freed
    }

    /// Frees samples as the log tells. Series stay, since the log may still name them.
    pub(crate) fn drop_replayed(&self, tenant: &Tenant, state: &mut AppendState, start: i64, flushed: u32) {
        let index = tenant.index.read();
        let freed = self.drop_in_memory(state, index.iter(), start, flushed);
        if let Some(window) = state.windows.get_mut(&start) {
            window.drop_epochs(flushed);
        }
        self.grow(-(freed as isize));
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
        self.log.check()?;
        let tenant = self.tenants.get_or_create(tenant);
        let mut state = tenant.append.lock();
        let emptied = self.delete_in_memory(&tenant, &mut state, matchers, range);
        let freed = self.remove_series(&tenant, &mut state, &emptied);
        self.grow(-(freed as isize));
        let ticket = self.log.ticket();
        state.declare_tenant(&tenant, ticket.segment());
        put_delete(&mut state.wal.staged, tenant.number, range, matchers);
        let commit = self.log.push(ticket, &state.wal.staged, 0);
        state.wal.staged.clear();
        Ok(commit)
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
                    window.uncount(epoch, samples);
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

    /// Logs a step in the life of a cut.
    fn log_step(&self, tenant: &Tenant, state: &mut AppendState, step: Step, window: i64, cut: u32) -> Commit {
        let ticket = self.log.ticket();
        state.declare_tenant(tenant, ticket.segment());
        put_step(&mut state.wal.staged, step, tenant.number, window, cut);
        state.note_segment(ticket.segment(), window);
        let commit = self.log.push(ticket, &state.wal.staged, 0);
        state.wal.staged.clear();
        commit
    }
}
