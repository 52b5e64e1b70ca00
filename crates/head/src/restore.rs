//! Rebuilds memory from the records of the log. Each worker of a replay owns the series with certain hashes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use pharos_model::labels::check_canonical;
use pharos_model::write::HistogramSample;
use pharos_model::{Exemplar, Metadata, Sample, series_hash};

use crate::series::{AnySample, Insert, Series, Stored, WindowGeneration};
use crate::tenant::{AppendState, Tenant};
use crate::tenants::Tenants;
use crate::wal::record::{Record, TenantRecord};
use crate::wal::replay::Sink;
use crate::window::{ShardCounts, WindowSchedule, WindowState};
use pharos_model::wire::append::{AppendVisitor, read_append};
use pharos_model::wire::{Malformed, Reader};

const UNDECLARED: Malformed = Malformed("names a tenant or series that its segment does not declare");

/// Totals over all workers.
#[derive(Default)]
pub(crate) struct Restored {
    pub(crate) samples: AtomicU64,
    pub(crate) bytes: AtomicI64,
    /// Bytes of labels and metadata, which every segment of the log repeats.
    pub(crate) declarable: AtomicI64,
}

/// One worker, which owns the series whose hash is `worker` modulo `workers`.
pub(crate) struct Restorer<'a> {
    pub(crate) tenants: &'a Tenants,
    pub(crate) restored: &'a Restored,
    pub(crate) worker: u64,
    pub(crate) workers: u64,
    pub(crate) schedule: &'a WindowSchedule,
    pub(crate) now_ms: i64,
    /// The tenants that the segment declares, keyed by their number there.
    pub(crate) declared: HashMap<u32, Declared>,
}

/// A tenant that a segment declares.
pub(crate) struct Declared {
    tenant: Arc<Tenant>,
    segment: u32,
    /// Indexed by reference; `None` for series that other workers own.
    series: Vec<Option<Arc<Series>>>,
    /// Keyed by the start of the window and the generation.
    windows: BTreeMap<(i64, u32), WindowDelta>,
    /// The window of the previous sample, taken out of `windows` while it is in use.
    open: Option<OpenDelta>,
    newest: i64,
    /// The generation that the record at hand names. Samples of other records are of the current one of their window.
    generation: Option<u32>,
}

/// The window of the previous sample with its last millisecond, and what was added to it.
struct OpenDelta {
    at: WindowGeneration,
    last: i64,
    delta: WindowDelta,
}

/// What a worker has added to a generation of a window and not reported yet.
#[derive(Debug)]
struct WindowDelta {
    samples: u64,
    counts: ShardCounts,
    bytes: i64,
}

impl Sink for Restorer<'_> {
    fn apply(&mut self, segment: u32, record: Record<'_>) -> Result<(), Malformed> {
        match record {
            Record::Tenant(record) => self.declare(segment, record),
            Record::Append { tenant, body } => self.read(tenant, None, body, Change::Append),
            Record::Survivors { tenant, generation, body } => self.read(tenant, Some(generation), body, Change::Append),
            Record::Replaced { tenant, body } => self.read(tenant, None, body, Change::Replace),
            Record::Retracted { tenant, body } => self.read(tenant, None, body, Change::Remove(Stored::Same)),
            Record::Yielded { tenant, body } => self.read(tenant, None, body, Change::Remove(Stored::Other)),
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
    /// Applies the samples of a record, which may name their generation.
    fn read(
        &mut self,
        tenant: u32,
        generation: Option<u32>,
        body: Reader<'_>,
        change: Change,
    ) -> Result<(), Malformed> {
        let Some(mut declared) = self.declared.remove(&tenant) else { return Err(UNDECLARED) };
        if declared.generation != generation {
            declared.close_window();
            declared.generation = generation;
        }
        let read = read_append(body, &mut Visit { restorer: self, declared: &mut declared, change });
        self.declared.insert(tenant, declared);
        read
    }

    /// Every worker applies the state of the tenant, since it must precede the first sample of each.
    fn declare(&mut self, segment: u32, record: TenantRecord) -> Result<(), Malformed> {
        let tenant = self.tenants.get_or_create(&record.tenant);
        if record.shards != tenant.shards {
            return Err(Malformed("declares a different number of shards than the head is configured for"));
        }
        let mut state = tenant.append.lock();
        state.newest = state.newest.max(record.newest);
        state.last_deletion = state.last_deletion.max(record.last_deletion);
        for w in record.windows {
            tenant.raise_newest_cut(&mut state, w.window, w.newest);
            for (cut, shards) in &w.flushed {
                tenant.raise_flushed_cut(&mut state, w.window, *cut, shards);
            }
            state.segments.note_window(segment, w.window);
        }
        if self.worker == 0 {
            record.metadata.iter().for_each(|(family, metadata)| self.metadata(&mut state, family, metadata));
        }
        drop(state);
        let declared = Declared {
            tenant,
            segment,
            series: Vec::new(),
            windows: BTreeMap::new(),
            open: None,
            newest: i64::MIN,
            generation: None,
        };
        if let Some(mut before) = self.declared.insert(record.number, declared) {
            before.settle(self.now_ms, self.restored);
        }
        Ok(())
    }

    fn metadata(&self, state: &mut AppendState, family: &str, metadata: &Metadata) {
        let grown = state.metadata.set(family, metadata, usize::MAX).unwrap_or(0);
        self.restored.bytes.fetch_add(grown as i64, Ordering::Relaxed);
        self.restored.declarable.fetch_add(grown as i64, Ordering::Relaxed);
    }
}

impl Declared {
    /// Adds what was counted to the state of the tenant.
    fn settle(&mut self, now_ms: i64, restored: &Restored) {
        self.close_window();
        let mut state = self.tenant.append.lock();
        for ((start, generation), mut delta) in std::mem::take(&mut self.windows) {
            self.tenant.plan.note_generation(generation);
            let new_window = || WindowState::new(self.tenant.shards, generation);
            let window = state.windows.entry(start).or_insert_with(new_window);
            window.add_counts(generation, &mut delta.counts);
            window.bytes += delta.bytes;
            window.newest_append_ms = now_ms;
            state.segments.note_samples(self.segment, WindowGeneration { start, generation });
            restored.samples.fetch_add(delta.samples, Ordering::Relaxed);
            restored.bytes.fetch_add(delta.bytes, Ordering::Relaxed);
        }
        if self.newest > i64::MIN {
            state.newest = state.newest.max(Some(self.newest));
        }
    }

    fn close_window(&mut self) {
        if let Some(open) = self.open.take() {
            self.windows.insert((open.at.start, open.at.generation), open.delta);
        }
    }

    /// The window of a timestamp, usually that of the previous sample.
    #[inline]
    fn window_of(&mut self, t: i64, schedule: &WindowSchedule) -> WindowGeneration {
        match &self.open {
            Some(open) if open.at.start <= t && t <= open.last => open.at,
            _ => self.open_window(t, schedule),
        }
    }

    fn open_window(&mut self, t: i64, schedule: &WindowSchedule) -> WindowGeneration {
        self.close_window();
        let at = self.generation_at(t, schedule);
        let known = self.windows.remove(&(at.start, at.generation));
        let nothing = || WindowDelta { samples: 0, counts: ShardCounts::new(self.tenant.shards), bytes: 0 };
        let delta = known.unwrap_or_else(nothing);
        self.open = Some(OpenDelta { at, last: schedule.window_of(t).last, delta });
        at
    }

    /// The window that contains `t`, and the generation of a sample of it in the record at hand.
    fn generation_at(&self, t: i64, schedule: &WindowSchedule) -> WindowGeneration {
        let current = self.tenant.append.lock().window_at(t, schedule);
        WindowGeneration { generation: self.generation.unwrap_or(current.generation), ..current }
    }

    fn own(&self, series: u32) -> Result<Option<&Arc<Series>>, Malformed> {
        self.series.get(series as usize).map(Option::as_ref).ok_or(UNDECLARED)
    }
}

/// What a record does with its samples.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Append,
    Replace,
    /// Removes what the series hold at the timestamps, if it compares like this.
    Remove(Stored),
}

/// Feeds one record with samples to the series that a worker owns.
struct Visit<'a, 'b> {
    restorer: &'a Restorer<'b>,
    declared: &'a mut Declared,
    change: Change,
}

impl Visit<'_, '_> {
    #[inline]
    fn insert(&mut self, series: u32, sample: AnySample<'_>) -> Result<(), Malformed> {
        let Some(series) = self.declared.own(series)?.cloned() else { return Ok(()) };
        let t = sample.t();
        match self.change {
            Change::Append => {}
            Change::Replace => self.remove(&series, sample, Stored::Other),
            Change::Remove(unwanted) => {
                self.remove(&series, sample, unwanted);
                return Ok(());
            }
        }
        let window = self.declared.window_of(t, self.restorer.schedule);
        let inserted = series.data.lock().insert(sample, window);
        if let (Insert::Added(grown), Some(open)) = (inserted, &mut self.declared.open) {
            open.delta.samples += 1;
            open.delta.counts.add(series.shard, 1);
            open.delta.bytes += grown as i64;
        }
        self.declared.newest = self.declared.newest.max(t);
        Ok(())
    }

    /// Removes what a series holds at the timestamp of a sample, if it compares as `unwanted`.
    fn remove(&mut self, series: &Series, sample: AnySample<'_>, unwanted: Stored) {
        if series.data.lock().find(sample) != Some(unwanted) {
            return;
        }
        // The removed sample may not be counted in its window yet.
        self.declared.settle(self.restorer.now_ms, self.restorer.restored);
        let start = self.restorer.schedule.start_of(sample.t());
        let mut state = self.declared.tenant.append.lock();
        let freed = series.data.lock().remove(sample.t(), |generation, count| {
            if let Some(window) = state.windows.get_mut(&start) {
                window.subtract(generation, series.shard, count);
            }
        });
        self.restorer.restored.bytes.fetch_sub(freed as i64, Ordering::Relaxed);
    }
}

impl AppendVisitor for Visit<'_, '_> {
    fn series(&mut self, canonical: &[u8]) -> Result<(), Malformed> {
        check_canonical(canonical).map_err(|_| Malformed("series has malformed labels"))?;
        let tenant = &self.declared.tenant;
        let hash = series_hash(&tenant.id, canonical);
        let mut own = None;
        if hash % self.restorer.workers == self.restorer.worker {
            let mut state = tenant.append.lock();
            own = match state.find(hash, canonical).cloned() {
                Some(series) => Some(series),
                None => {
                    let created = tenant.create(&mut state, canonical, hash);
                    let (series, bytes) = created.ok_or(Malformed("tenant has used up its series numbers"))?;
                    self.restorer.restored.bytes.fetch_add(bytes as i64, Ordering::Relaxed);
                    self.restorer.restored.declarable.fetch_add(canonical.len() as i64, Ordering::Relaxed);
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
            let generation = self.declared.generation_at(e.t, self.restorer.schedule).generation;
            tenant.exemplars.lock().add(&series, &e, generation);
        }
        Ok(())
    }

    fn metadata(&mut self, family: String, metadata: Metadata) {
        if self.restorer.worker == 0 {
            self.restorer.metadata(&mut self.declared.tenant.append.lock(), &family, &metadata);
        }
    }
}
