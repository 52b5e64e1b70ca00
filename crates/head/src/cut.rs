//! Cutting windows and marking cuts as flushed.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::MutexGuard;
use pharos_model::shards::histogram_value;
use pharos_model::{Labels, SeriesBatch, SeriesView, ShardDigest, ShardSet, TenantId, TimeRange};

use crate::exemplars::SeriesExemplars;
use crate::head::Head;
use crate::select::{compare_canonical, read_series};
use crate::series::{SampleRun, Series};
use crate::tenant::{AppendState, Tenant};
use crate::wal::Commit;
use crate::wal::record::{Step, put_step};
use crate::window::{FlushedWindows, WindowInfo, WindowState};

/// A stable snapshot of the unflushed samples of some shards of a window. Samples appended after the cut are not in it.
pub struct WindowCut {
    tenant: TenantId,
    window: WindowInfo,
    shards: ShardSet,
    number: u32,
    deletions: u64,
    flushed: FlushedWindows,
    series: Vec<Arc<Series>>,
    exemplars: Vec<SeriesExemplars>,
}

/// One series of a cut.
pub struct CutSeries<'a> {
    /// The label set.
    pub labels: &'a Labels,
    /// The series hash, which determines the shard.
    pub hash: u64,
    /// The shard that the hash falls into.
    pub shard: u32,
    /// The samples of the series that belong to the cut; never empty.
    pub samples: SeriesView<'a>,
}

impl CutSeries<'_> {
    /// The digest of the samples. The digests of all series of a shard add up to the shard's digest.
    pub fn digest(&self) -> ShardDigest {
        let mut digest = ShardDigest::default();
        digest.add_floats(self.hash, self.samples.t, self.samples.v);
        let histograms = self.samples.ht.iter().zip(self.samples.h);
        histograms.for_each(|(t, h)| digest.add(self.hash, *t, histogram_value(h)));
        digest
    }
}

impl WindowCut {
    /// Whose samples were cut.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The window as it was at the time of the cut.
    pub fn window(&self) -> &WindowInfo {
        &self.window
    }

    /// The shards that were cut.
    pub fn shards(&self) -> &ShardSet {
        &self.shards
    }

    /// The number of the cut. It exceeds the numbers of all earlier cuts of the window, even across restarts. Store it with
    /// the block: after a crash between committing the block and [`Head::mark_flushed`], pass it to
    /// [`Head::mark_flushed_cut`].
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The number of the newest deletion that was applied before the cut; 0 for none. Samples that a newer one deletes may
    /// be in the cut.
    pub fn deletions(&self) -> u64 {
        self.deletions
    }

    /// The exemplars of the window that no earlier flushed cut had, by ascending labels.
    pub fn exemplars(&self) -> &[SeriesExemplars] {
        &self.exemplars
    }

    /// The number of series that had samples in the cut when it was made.
    pub fn series(&self) -> usize {
        self.series.len()
    }

    /// Calls `each` for every series in ascending order of labels, and stops at its first error. Samples of one series at a
    /// time are decoded.
    pub fn for_each<E>(&self, each: impl FnMut(CutSeries<'_>) -> Result<(), E>) -> Result<(), E> {
        self.for_each_in(0..self.series.len(), each)
    }

    /// Like [`WindowCut::for_each`], for the series at some positions below [`WindowCut::series`].
    pub fn for_each_in<E>(
        &self,
        series: Range<usize>,
        mut each: impl FnMut(CutSeries<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut batch = SeriesBatch::default();
        for series in &self.series[series] {
            batch.clear();
            self.read(series, &mut batch);
            if batch.samples() > 0 {
                each(CutSeries {
                    labels: &series.labels,
                    hash: series.hash,
                    shard: series.shard.into(),
                    samples: batch.view(0),
                })?;
            }
        }
        Ok(())
    }

    fn read(&self, series: &Series, batch: &mut SeriesBatch) {
        let range_of = |run: &SampleRun<'_>| if self.holds(series, run) { TimeRange::ALL } else { TimeRange::EMPTY };
        read_series(&series.data.lock(), batch, |run| range_of(&run));
    }

    fn holds(&self, series: &Series, run: &SampleRun<'_>) -> bool {
        let t = run.window_t();
        let generation = run.generation();
        self.flushed.schedule.start_of(t) == self.window.start
            && generation < self.number
            && !self.flushed.is_flushed(t, series.shard, generation)
    }
}

impl Head {
    /// The windows of a tenant that have samples in memory or were flushed recently, oldest first.
    pub fn windows(&self, tenant: &TenantId) -> Vec<WindowInfo> {
        let Some(tenant) = self.tenants.get(tenant) else { return Vec::new() };
        let state = tenant.append.lock();
        state.windows.iter().map(|(start, w)| w.info(*start, self.schedule.end_of(*start))).collect()
    }

    /// Cuts some shards of the window that contains `window`, taking a stable snapshot of their unflushed samples. The cut
    /// is durable once [`Head::commit`] resolves; wait for that before committing a block. A second cut made before the
    /// first is marked holds the samples of both.
    pub fn cut(&self, tenant_id: &TenantId, window: i64, shards: &ShardSet) -> WindowCut {
        let tenant = self.tenants.get_or_create(tenant_id);
        let start = self.schedule.start_of(window);
        let mut state = tenant.append.lock();
        let number = self.start_generation(&tenant, &mut state, start);
        let cut = self.snapshot(&tenant, state, start, shards, number, |_| {});
        self.metrics.cuts.inc();
        // Small tenants get small segments, so that a flushed segment can be removed early.
        self.log.rotate((self.config.segment_bytes / 16).min(4 << 20));
        cut
    }

    /// Like [`Head::cut`], for the samples below a number that [`Head::end_generation`] returned earlier. Samples that
    /// were appended since then are not in the cut.
    pub fn cut_below(&self, tenant: &TenantId, window: i64, shards: &ShardSet, number: u32) -> WindowCut {
        self.cut_again(tenant, window, shards, number, |_| {})
    }

    /// Like [`Head::cut_below`], with the samples that are flushed and still in memory.
    pub fn cut_all_below(&self, tenant: &TenantId, window: i64, shards: &ShardSet, number: u32) -> WindowCut {
        self.cut_again(tenant, window, shards, number, |flushed| flushed.masks = Arc::default())
    }

    fn cut_again(
        &self,
        tenant: &TenantId,
        window: i64,
        shards: &ShardSet,
        number: u32,
        change: impl FnOnce(&mut FlushedWindows),
    ) -> WindowCut {
        let tenant = self.tenants.get_or_create(tenant);
        let start = self.schedule.start_of(window);
        let state = tenant.append.lock();
        let newest = state.windows.get(&start).map_or(0, |w| w.newest_cut);
        self.snapshot(&tenant, state, start, shards, number.min(newest), change)
    }

    /// The samples of some shards of a window below a number, without those that are flushed as far as `change` leaves
    /// them in the masks. The lock of the tenant is released before series are read.
    fn snapshot(
        &self,
        tenant: &Tenant,
        state: MutexGuard<'_, AppendState>,
        start: i64,
        shards: &ShardSet,
        number: u32,
        change: impl FnOnce(&mut FlushedWindows),
    ) -> WindowCut {
        let end = self.schedule.end_of(start);
        let info = state.windows.get(&start).map(|w| w.info(start, end));
        let mut flushed = tenant.flushed.read().clone();
        let deletions = state.last_deletion;
        drop(state);
        change(&mut flushed);
        let empty = || WindowState::new(self.config.shards, number).info(start, end);
        let mut cut = WindowCut {
            tenant: tenant.id.clone(),
            window: info.unwrap_or_else(empty),
            shards: shards.clone(),
            number,
            deletions,
            flushed,
            series: Vec::new(),
            exemplars: Vec::new(),
        };
        let mut series = tenant.series_of(shards);
        series.retain(|s| {
            let mut holds = false;
            s.data.lock().for_each_run(|run| holds |= cut.holds(s, &run));
            holds
        });
        series.sort_by(|a, b| compare_canonical(a.labels.as_bytes(), b.labels.as_bytes()));
        let range = TimeRange::new(start, self.schedule.window_of(start).last);
        let wanted = |s: &Series, generation: u32| {
            shards.contains(s.shard.into())
                && generation < number
                && !cut.flushed.is_flushed(start, s.shard, generation)
        };
        cut.exemplars = tenant.exemplars.lock().select(range, wanted);
        cut.series = series;
        cut
    }

    /// Records that the samples of a cut are in a committed block. They stay in memory until [`Head::evict_flushed`].
    pub fn mark_flushed(&self, cut: &WindowCut) -> Commit {
        self.mark_flushed_cut(&cut.tenant, cut.window.start, cut.number, &cut.shards)
    }

    /// Like [`Head::mark_flushed`], for a cut of which only number and shards are known: the cut of a block that was
    /// committed before a crash, or one whose [`Head::digest`] matched the blocks of another node. Cuts of these shards with
    /// lower numbers are flushed along with it.
    pub fn mark_flushed_cut(&self, tenant: &TenantId, window: i64, number: u32, shards: &ShardSet) -> Commit {
        let tenant = self.tenants.get_or_create(tenant);
        let start = self.schedule.start_of(window);
        let mut state = tenant.append.lock();
        tenant.raise_flushed_cut(&mut state, start, number, shards);
        self.log_step(&tenant, &mut state, Step::Flushed, start, number, shards)
    }

    /// Ends the current generation of the window that contains `window` and returns its successor. Pass that number to
    /// [`Head::mark_flushed_cut`] to mark what is in memory now.
    pub fn end_generation(&self, tenant: &TenantId, window: i64) -> u32 {
        let tenant = self.tenants.get_or_create(tenant);
        let mut state = tenant.append.lock();
        self.start_generation(&tenant, &mut state, self.schedule.start_of(window))
    }

    /// Starts a new generation of a window and logs it. All runs so far have lower generations than the one returned.
    pub(crate) fn start_generation(&self, tenant: &Tenant, state: &mut AppendState, start: i64) -> u32 {
        let first = self.plan.first_generation(self.clock.now_ms());
        let new_window = || WindowState::new(self.config.shards, first);
        let window = state.windows.entry(start).or_insert_with(new_window);
        window.newest_cut = window.newest_cut.saturating_add(1);
        let number = window.newest_cut;
        self.plan.note_generation(number);
        drop(self.log_step(tenant, state, Step::Cut, start, number, &ShardSet::new()));
        number
    }

    /// Logs a step in the life of a cut of some shards.
    pub(crate) fn log_step(
        &self,
        tenant: &Tenant,
        state: &mut AppendState,
        step: Step,
        window: i64,
        cut: u32,
        shards: &ShardSet,
    ) -> Commit {
        let ticket = self.log.ticket();
        state.declare_tenant(tenant, ticket.segment());
        put_step(&mut state.wal.staged, step, tenant.number, window, cut, shards);
        state.segments.note_window(ticket.segment(), window);
        self.push(ticket, state)
    }
}
