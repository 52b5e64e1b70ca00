//! Keeps the log as short as the samples in memory need it: removes the oldest segments, as long as memory has no sample that
//! may be from them.
//!
//! A few samples that stay in memory for long would keep a long log. When the oldest segments are much longer than a record of
//! what is left of them, that record is appended to the current segment, and they are removed. It names the generation of its
//! samples, so that a replay puts them where they were.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::ErrorKind;
use std::sync::Arc;

use pharos_model::Sample;
use pharos_model::write::HistogramSample;

use crate::chunk::ChunkKind;
use crate::error::HeadError;
use crate::head::Head;
use crate::series::{SampleRun, Series, SeriesData, WindowGeneration, float_samples};
use crate::tenant::{AppendState, Tenant};
use crate::wal::replay::{Segments, segment_path};

/// Samples are repeated only in a log that is longer than this many segments.
const MIN_SEGMENTS: u64 = 4;
/// About how many bytes of the log a repeated sample takes, with its part of the declaration of its series.
const SURVIVOR_BYTES: u64 = 32;
/// How many bytes of old segments must make way for a byte of repeated samples.
const MIN_GAIN: u64 = 2;
/// Series that are read while the tenant's lock is held once.
const SERIES_PER_LOCK: usize = 1024;

/// The segments that may still exist.
#[derive(Debug)]
pub(crate) struct Retained {
    /// The oldest of them.
    first: u32,
    /// The sizes of those that are closed, in bytes.
    bytes: BTreeMap<u32, u64>,
}

impl Retained {
    /// The segments that a head found, of which `next` will be the first that it writes.
    pub(crate) fn of(segments: &Segments, next: u32) -> Self {
        let bytes: BTreeMap<u32, u64> = segments.files.iter().map(|(number, _, len)| (*number, *len)).collect();
        Retained { first: bytes.keys().next().map_or(next, |first| *first), bytes }
    }
}

/// Samples that are repeated, so that the segments up to `last` can be removed.
struct Rewriting {
    last: u32,
    tenants: Vec<(Arc<Tenant>, Survivors)>,
}

/// Number of the tenant, start of the window and generation, with how many samples of it are in memory.
type Held = ((usize, i64, u32), u64);

/// The windows, by their start, and generations whose samples in memory are repeated.
type Survivors = BTreeSet<(i64, u32)>;

impl Head {
    /// Removes the oldest segments that are not needed, and repeats samples if that frees much more of the log than it
    /// takes. Returns the oldest segment that is left.
    pub(crate) fn trim_log(&self) -> Result<u32, HeadError> {
        let mut retained = self.retained.lock();
        retained.bytes.extend(self.log.take_closed());
        self.remove_segments(&mut retained)?;
        if let Some(rewriting) = self.plan_rewriting(&retained) {
            self.rewrite(&rewriting)?;
            self.remove_segments(&mut retained)?;
        }
        Ok(retained.first)
    }

    /// Removes segments, oldest first, up to the first that a sample in memory may be from.
    fn remove_segments(&self, retained: &mut Retained) -> Result<(), HeadError> {
        let mut keep = self.log.oldest_open();
        for tenant in self.tenants.all() {
            let state = tenant.append.lock();
            let is_held = |at: &WindowGeneration| held(&state, at) > 0;
            keep = state.segments.samples_before(keep).find(|(_, at)| is_held(at)).map_or(keep, |(segment, _)| segment);
        }
        while retained.first < keep {
            let path = segment_path(&self.config.dir, retained.first);
            let removed = match self.fs.remove(&path) {
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
                other => other,
            };
            // One at a time, oldest first, each made durable: a crash must not leave a gap.
            let removed = removed.and_then(|()| self.fs.sync_dir(&self.config.dir));
            removed.map_err(|source| HeadError::Io { action: "remove", path, source })?;
            self.metrics.wal_segments_removed.inc();
            retained.bytes.remove(&retained.first);
            retained.first += 1;
        }
        Ok(())
    }

    /// Decides which samples are repeated: those that as many segments as possible need, the oldest to the last of them, as
    /// long as the segments are much longer than the samples.
    fn plan_rewriting(&self, retained: &Retained) -> Option<Rewriting> {
        let open = self.log.oldest_open();
        let closed: u64 = retained.bytes.range(..open).map(|(_, bytes)| bytes).sum();
        if closed <= MIN_SEGMENTS * self.config.segment_bytes {
            return None;
        }
        let tenants = self.tenants.all();
        let mut needed: BTreeMap<u32, Vec<Held>> = BTreeMap::new();
        for (number, tenant) in tenants.iter().enumerate() {
            let state = tenant.append.lock();
            for (segment, at) in state.segments.samples_before(open) {
                let samples = held(&state, &at);
                if samples > 0 {
                    needed.entry(segment).or_default().push(((number, at.start, at.generation), samples));
                }
            }
        }
        let (mut known, mut survivors) = (HashSet::new(), Vec::new());
        let (mut freed, mut cost) = (0, 0);
        let mut best = None;
        for (segment, bytes) in retained.bytes.range(..open) {
            for &(of, samples) in needed.get(segment).into_iter().flatten() {
                if known.insert(of) {
                    survivors.push(of);
                    cost += samples * SURVIVOR_BYTES;
                }
            }
            freed += bytes;
            if freed >= MIN_GAIN * cost {
                best = Some((*segment, survivors.len()));
            }
        }
        let (last, count) = best?;
        survivors.truncate(count);
        let mut by_tenant: BTreeMap<usize, Survivors> = BTreeMap::new();
        for (number, start, generation) in survivors {
            by_tenant.entry(number).or_default().insert((start, generation));
        }
        let tenants = by_tenant.into_iter().map(|(number, of_tenant)| (tenants[number].clone(), of_tenant));
        Some(Rewriting { last, tenants: tenants.collect() })
    }

    /// Appends survivors to the current segment, durably, and notes that no older segment is needed for them.
    fn rewrite(&self, rewriting: &Rewriting) -> Result<(), HeadError> {
        let mut samples = 0;
        for (tenant, survivors) in &rewriting.tenants {
            let series: Vec<Arc<Series>> = tenant.index.read().iter().cloned().collect();
            for series in series.chunks(SERIES_PER_LOCK) {
                samples += self.repeat(tenant, series, survivors);
            }
        }
        self.log.commit().wait()?;
        for tenant in self.tenants.all() {
            // Nothing else that memory has is from these segments, and nothing will be.
            tenant.append.lock().segments.clear_samples(rewriting.last);
        }
        tracing::debug!(samples, segment = rewriting.last, "repeated samples so that older segments can be removed");
        Ok(())
    }

    /// Appends the survivors of some series to the log; returns how many there were.
    fn repeat(&self, tenant: &Tenant, series: &[Arc<Series>], survivors: &Survivors) -> usize {
        let generations: BTreeSet<u32> = survivors.iter().map(|(_, generation)| *generation).collect();
        let mut repeated = 0;
        let mut state = tenant.append.lock();
        let ticket = self.log.ticket();
        let segment = ticket.segment();
        for generation in generations {
            for series in series {
                let mut data = series.data.lock();
                let found = self.survivors_of(&data, generation, survivors, &mut state, segment);
                repeated += found.floats.len() + found.histograms.len();
                put_survivors(tenant, &mut state, segment, series, &mut data, generation, &found);
            }
            state.wal.close_record(tenant.number, Some(generation));
        }
        drop(self.push(ticket, &mut state));
        repeated
    }

    /// The survivors of a generation in a series. Notes that the segment will have them.
    fn survivors_of(
        &self,
        data: &SeriesData,
        generation: u32,
        survivors: &Survivors,
        state: &mut AppendState,
        segment: u32,
    ) -> Found {
        let mut found = Found::default();
        data.for_each_run(|run| {
            let start = self.schedule.start_of(run.window_t());
            if run.generation() != generation || !survivors.contains(&(start, generation)) {
                return;
            }
            state.segments.note_samples(segment, WindowGeneration { start, generation });
            match run {
                SampleRun::Chunk(chunk) if chunk.kind == ChunkKind::Histogram => {
                    chunk.histograms(|s| found.histograms.push(s));
                }
                SampleRun::Chunk(chunk) => found.floats.extend(float_samples(chunk)),
                SampleRun::Late(late) => {
                    found.floats.extend_from_slice(&late.floats);
                    found.histograms.extend_from_slice(&late.histograms);
                }
            }
        });
        found
    }
}

/// Samples of one series and generation.
#[derive(Default)]
struct Found {
    floats: Vec<Sample>,
    histograms: Vec<HistogramSample>,
}

/// Encodes survivors of a series for a segment.
fn put_survivors(
    tenant: &Tenant,
    state: &mut AppendState,
    segment: u32,
    series: &Series,
    data: &mut SeriesData,
    generation: u32,
    found: &Found,
) {
    if found.floats.is_empty() && found.histograms.is_empty() {
        return;
    }
    let reference = state.wal_ref(tenant, series, data, segment);
    let wal = &mut state.wal;
    for s in &found.floats {
        wal.encoder.sample(reference, s);
        wal.close_long_record(tenant.number, Some(generation));
    }
    for s in &found.histograms {
        wal.encoder.histogram(reference, s);
        wal.close_long_record(tenant.number, Some(generation));
    }
}

/// How many samples of a generation are in memory.
fn held(state: &AppendState, at: &WindowGeneration) -> u64 {
    state.windows.get(&at.start).map_or(0, |window| window.held_in(at.generation))
}
