//! What replay does with the records of the log: the part of the head that a worker fills.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use pharos_model::labels::check_canonical;
use pharos_model::write::HistogramSample;
use pharos_model::{Exemplar, Metadata, Sample, series_hash};

use crate::head::Tenants;
use crate::series::{AnySample, Insert, Series, WindowCtx};
use crate::tenant::Tenant;
use crate::wal::record::{Record, TenantRecord};
use crate::wal::replay::Sink;
use crate::window::{Tally, WindowState};
use pharos_model::wire::Malformed;
use pharos_model::wire::append::{AppendVisitor, read_append};

const UNDECLARED: Malformed = Malformed("names what the segment does not declare");

/// What all workers count.
#[derive(Default)]
pub(crate) struct Restored {
    pub(crate) samples: AtomicU64,
    pub(crate) bytes: AtomicI64,
}

/// One worker: it owns the series whose hash leaves `part` when divided by `parts`.
pub(crate) struct Restorer<'a> {
    pub(crate) tenants: &'a Tenants,
    pub(crate) restored: &'a Restored,
    pub(crate) part: u64,
    pub(crate) parts: u64,
    pub(crate) window_ms: i64,
    pub(crate) now_ms: i64,
    /// What the segment declares, by the tenant's number there.
    pub(crate) declared: HashMap<u32, Declared>,
}

/// A tenant in a segment.
pub(crate) struct Declared {
    tenant: Arc<Tenant>,
    segment: u32,
    /// By reference; nothing for the series of other workers.
    series: Vec<Option<Arc<Series>>>,
    windows: BTreeMap<i64, WindowDelta>,
    /// First and last millisecond of the window at hand, which is not among `windows` meanwhile.
    window: Option<(i64, i64, WindowDelta)>,
    newest: i64,
}

/// What a worker added to a window.
#[derive(Debug)]
struct WindowDelta {
    epoch: u32,
    samples: u64,
    tally: Tally,
    bytes: i64,
}

impl Sink for Restorer<'_> {
    fn apply(&mut self, segment: u32, record: Record<'_>) -> Result<(), Malformed> {
        match record {
            Record::Tenant(record) => self.declare(segment, record),
            Record::Append { tenant, body } => {
                let Some(mut declared) = self.declared.remove(&tenant) else { return Err(UNDECLARED) };
                let read = read_append(body, &mut Visit { restorer: self, declared: &mut declared });
                self.declared.insert(tenant, declared);
                read
            }
            _ => Ok(()),
        }
    }

    fn settle(&mut self, end_of_segment: bool) {
        for declared in self.declared.values_mut() {
            declared.settle(self.now_ms, self.restored);
        }
        if end_of_segment {
            self.declared.clear();
        }
    }
}

impl Restorer<'_> {
    /// All workers apply the state of the tenant: it must stand before their first sample.
    fn declare(&mut self, segment: u32, record: TenantRecord) -> Result<(), Malformed> {
        let tenant = self.tenants.get_or_create(&record.tenant);
        if record.shards != tenant.shards {
            return Err(Malformed("is for another number of shards than the head is configured for"));
        }
        let mut state = tenant.append.lock();
        state.newest = state.newest.max(record.newest);
        state.deleted = state.deleted.max(record.deleted);
        for w in record.windows {
            tenant.set_cuts(&mut state, w.window, w.cuts);
            for (cut, shards) in &w.flushed {
                tenant.set_flushed(&mut state, w.window, *cut, shards);
            }
            state.note_segment(segment, w.window);
        }
        if self.part == 0 {
            state.metadata.extend(record.metadata);
        }
        drop(state);
        let (series, windows) = (Vec::new(), BTreeMap::new());
        let declared = Declared { tenant, segment, series, windows, window: None, newest: i64::MIN };
        if let Some(mut before) = self.declared.insert(record.number, declared) {
            before.settle(self.now_ms, self.restored);
        }
        Ok(())
    }
}

impl Declared {
    /// Hands over what was counted.
    fn settle(&mut self, now_ms: i64, restored: &Restored) {
        self.close_window();
        let mut state = self.tenant.append.lock();
        for (start, mut delta) in std::mem::take(&mut self.windows) {
            let fresh = || WindowState::new(self.tenant.shards, delta.epoch);
            let window = state.windows.entry(start).or_insert_with(fresh);
            window.count(delta.epoch, &mut delta.tally);
            window.bytes += delta.bytes;
            window.newest_append_ms = now_ms;
            state.note_segment(self.segment, start);
            restored.samples.fetch_add(delta.samples, Ordering::Relaxed);
            restored.bytes.fetch_add(delta.bytes, Ordering::Relaxed);
        }
        if self.newest > i64::MIN {
            state.newest = state.newest.max(Some(self.newest));
        }
    }

    fn close_window(&mut self) {
        if let Some((start, _, delta)) = self.window.take() {
            self.windows.insert(start, delta);
        }
    }

    #[inline]
    fn window_of(&mut self, t: i64, width: i64) -> WindowCtx {
        match &self.window {
            Some((start, last, delta)) if *start <= t && t <= *last => WindowCtx { start: *start, epoch: delta.epoch },
            _ => {
                self.close_window();
                let ctx = self.tenant.append.lock().window_of(t, width);
                let fresh = || WindowDelta { epoch: 0, samples: 0, tally: Tally::new(self.tenant.shards), bytes: 0 };
                let delta = self.windows.remove(&ctx.start).unwrap_or_else(fresh);
                let delta = WindowDelta { epoch: ctx.epoch, ..delta };
                self.window = Some((ctx.start, ctx.start.saturating_add(width - 1), delta));
                ctx
            }
        }
    }

    fn own(&self, series: u32) -> Result<Option<&Arc<Series>>, Malformed> {
        self.series.get(series as usize).map(Option::as_ref).ok_or(UNDECLARED)
    }
}

/// One append record on its way to a worker's series.
struct Visit<'a, 'b> {
    restorer: &'a Restorer<'b>,
    declared: &'a mut Declared,
}

impl Visit<'_, '_> {
    #[inline]
    fn insert(&mut self, series: u32, sample: AnySample<'_>) -> Result<(), Malformed> {
        let Some(series) = self.declared.own(series)?.cloned() else { return Ok(()) };
        let t = sample.t();
        let ctx = self.declared.window_of(t, self.restorer.window_ms);
        let inserted = series.data.lock().insert(sample, ctx);
        if let (Insert::Added(grown), Some((_, _, delta))) = (inserted, &mut self.declared.window) {
            delta.samples += 1;
            delta.tally.add(series.shard, 1);
            delta.bytes += grown as i64;
        }
        self.declared.newest = self.declared.newest.max(t);
        Ok(())
    }
}

impl AppendVisitor for Visit<'_, '_> {
    fn series(&mut self, canonical: &[u8]) -> Result<(), Malformed> {
        check_canonical(canonical).map_err(|_| Malformed("bad labels of a series"))?;
        let tenant = &self.declared.tenant;
        let hash = series_hash(&tenant.id, canonical);
        let mut own = None;
        if hash % self.restorer.parts == self.restorer.part {
            let mut state = tenant.append.lock();
            own = match state.find(hash, canonical).cloned() {
                Some(series) => Some(series),
                None => {
                    let created = tenant.create(&mut state, canonical, hash);
                    let (series, bytes) = created.ok_or(Malformed("more series than numbers"))?;
                    self.restorer.restored.bytes.fetch_add(bytes as i64, Ordering::Relaxed);
                    Some(series)
                }
            };
        }
        self.declared.series.push(own);
        Ok(())
    }

    fn sample(&mut self, series: u32, s: &Sample) -> Result<(), Malformed> {
        self.insert(series, AnySample::Float(s))
    }

    fn wants(&self, series: u32) -> Result<bool, Malformed> {
        Ok(self.declared.own(series)?.is_some())
    }

    fn histogram(&mut self, series: u32, s: HistogramSample) -> Result<(), Malformed> {
        self.insert(series, AnySample::Histogram(&s))
    }

    fn exemplar(&mut self, series: u32, e: Exemplar) -> Result<(), Malformed> {
        if let Some(series) = self.declared.own(series)?.cloned() {
            let tenant = &self.declared.tenant;
            let epoch = tenant.append.lock().window_of(e.t, self.restorer.window_ms).epoch;
            tenant.exemplars.lock().add(&series, &e, epoch);
        }
        Ok(())
    }

    fn metadata(&mut self, family: String, metadata: Metadata) {
        if self.restorer.part == 0 {
            self.declared.tenant.append.lock().metadata.insert(family, metadata);
        }
    }
}
