//! Cutting windows and marking cuts as flushed.

use std::sync::Arc;

use pharos_model::shards::histogram_value;
use pharos_model::time::window_start;
use pharos_model::{Labels, SeriesBatch, SeriesView, ShardDigest, ShardSet, TenantId, TimeRange};

use crate::exemplars::SeriesExemplars;
use crate::head::Head;
use crate::select::{compare_canonical, read_series};
use crate::series::{Part, Series};
use crate::tenant::{AppendState, Tenant};
use crate::wal::Commit;
use crate::wal::record::{Step, put_step};
use crate::window::{FlushMap, Flushed, WindowInfo, WindowState, first_epoch};

/// The unflushed samples of some shards of one window, as they were when it was cut: samples that came later are not among them.
pub struct WindowCut {
    tenant: TenantId,
    window: WindowInfo,
    shards: ShardSet,
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
    /// Its shard.
    pub shard: u32,
    /// Its samples of the cut, never empty.
    pub samples: SeriesView<'a>,
}

impl CutSeries<'_> {
    /// The digest of its samples. Those of all series of a shard add up to the shard's.
    pub fn digest(&self) -> ShardDigest {
        let mut digest = ShardDigest::default();
        digest.add_floats(self.hash, self.samples.t, self.samples.v);
        let histograms = self.samples.ht.iter().zip(self.samples.h);
        histograms.for_each(|(t, h)| digest.add(self.hash, *t, histogram_value(h)));
        digest
    }
}

impl WindowCut {
    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The window, as it was at the cut.
    pub fn window(&self) -> &WindowInfo {
        &self.window
    }

    /// The shards that were cut.
    pub fn shards(&self) -> &ShardSet {
        &self.shards
    }

    /// The number of the cut; it is above those of all earlier cuts of the window, also over restarts: keep it with the block, so that after
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
                let (hash, shard) = (series.hash, series.shard.into());
                each(CutSeries { labels: &series.labels, hash, shard, samples: batch.view(0) })?;
            }
        }
        Ok(())
    }

    fn read(&self, series: &Series, batch: &mut SeriesBatch) {
        const NOTHING: TimeRange = TimeRange { start: 0, end: -1 };
        read_series(&series.data.lock(), batch, |part| if self.holds(series, part) { TimeRange::ALL } else { NOTHING });
    }

    /// How far the shards of the window were flushed at the cut.
    pub(crate) fn flushed(&self) -> Flushed {
        self.flush.flushed.get(&self.window.start).cloned().unwrap_or_default()
    }

    fn holds(&self, series: &Series, part: Part<'_>) -> bool {
        let (t, epoch) = place(part);
        window_start(t, self.flush.width) == self.window.start
            && epoch < self.number
            && !self.flush.is_flushed(t, series.shard, epoch)
    }
}

/// A timestamp in the window of a piece, and its epoch.
pub(crate) fn place(part: Part<'_>) -> (i64, u32) {
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

    /// Cuts some shards of a window: takes a stable snapshot of their samples that are not flushed. The cut is durable
    /// when [`Head::commit`] resolves: wait for that before the block is committed. Cutting again before the first cut is
    /// marked gives both cuts' samples.
    pub fn cut(&self, tenant_id: &TenantId, window: i64, shards: &ShardSet) -> WindowCut {
        let tenant = self.tenants.get_or_create(tenant_id);
        let start = window_start(window, self.config.window_ms);
        let mut state = tenant.append.lock();
        let number = self.end_epoch(&tenant, &mut state, start);
        let info = state.windows.get(&start).map(|w| w.info(start, self.config.window_ms));
        let flush = tenant.flush.read().clone();
        drop(state);
        let nothing = || WindowState::new(self.config.shards, number).info(start, self.config.window_ms);
        let mut cut = WindowCut {
            tenant: tenant_id.clone(),
            window: info.unwrap_or_else(nothing),
            shards: shards.clone(),
            number,
            flush,
            series: Vec::new(),
            exemplars: Vec::new(),
        };
        let mut series = tenant.series_of(shards);
        series.retain(|s| {
            let mut holds = false;
            s.data.lock().parts(|part| holds |= cut.holds(s, part));
            holds
        });
        series.sort_by(|a, b| compare_canonical(a.labels.as_bytes(), b.labels.as_bytes()));
        let range = TimeRange::new(start, start.saturating_add(self.config.window_ms - 1));
        let wanted = |s: &Series, epoch: u32| {
            shards.contains(s.shard.into()) && epoch < number && !cut.flush.is_flushed(start, s.shard, epoch)
        };
        cut.exemplars = tenant.exemplars.lock().select(range, wanted);
        cut.series = series;
        self.metrics.cuts.inc();
        // Small segments for small tenants: what is flushed soon can be removed soon.
        self.log.rotate((self.config.segment_bytes / 16).min(4 << 20));
        cut
    }

    /// Says that the samples of a cut are in a committed block. They stay in memory until [`Head::drop_flushed`].
    pub fn mark_flushed(&self, cut: &WindowCut) -> Commit {
        self.mark_flushed_cut(&cut.tenant, cut.window.start, cut.number, &cut.shards)
    }

    /// As [`Head::mark_flushed`], for a cut of which only number and shards are known: that of a block that was
    /// committed before a crash, or one that [`Head::digest`] compared with blocks. Cuts of lower numbers of these shards
    /// are flushed with it.
    pub fn mark_flushed_cut(&self, tenant: &TenantId, window: i64, number: u32, shards: &ShardSet) -> Commit {
        let tenant = self.tenants.get_or_create(tenant);
        let start = window_start(window, self.config.window_ms);
        let mut state = tenant.append.lock();
        tenant.set_flushed(&mut state, start, number, shards);
        self.log_step(&tenant, &mut state, Step::Flushed, start, number, shards)
    }

    /// Ends the present epoch of a window, so that what is in memory of it now can be marked with the number in the answer
    /// later; see [`Head::mark_flushed_cut`].
    pub fn end_window_epoch(&self, tenant: &TenantId, window: i64) -> u32 {
        let tenant = self.tenants.get_or_create(tenant);
        let mut state = tenant.append.lock();
        self.end_epoch(&tenant, &mut state, window_start(window, self.config.window_ms))
    }

    /// Ends the present epoch of a window; returns the number that all chunks up to now are below.
    pub(crate) fn end_epoch(&self, tenant: &Tenant, state: &mut AppendState, start: i64) -> u32 {
        let first = first_epoch(self.clock.now_ms());
        let fresh = || WindowState::new(self.config.shards, first);
        let entry = state.windows.entry(start).or_insert_with(fresh);
        entry.cuts = entry.cuts.saturating_add(1);
        let number = entry.cuts;
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
        state.note_segment(ticket.segment(), window);
        let commit = self.log.push(ticket, &state.wal.staged, 0);
        state.wal.staged.clear();
        commit
    }
}
