//! Appends a batch: finds or creates its series, checks every sample, and stages what is new for the log.
//!
//! Appending a batch again changes nothing. A second value for a timestamp in memory is rejected (INV-IDEMPOTENT), unless
//! another head has decided for it: then it replaces the first one.

mod checks;
mod outcome;

use std::sync::Arc;

use pharos_model::hash::shard_of;
use pharos_model::wire::append::AppendEncoder;
use pharos_model::write::{BatchSeries, HistogramSample, SampleIndex};
use pharos_model::{RejectReason, Sample, WriteBatch};

use crate::config::{HeadConfig, TenantLimits};
use crate::exemplars::ExemplarInsert;
use crate::series::{AnySample, Insert, Series, SeriesData, Stored, WindowGeneration};
use crate::tenant::{AppendState, Tenant};
use crate::tenants::share;
use crate::wal::record::{SPLIT_BYTES, put_replaced};
use crate::window::{WindowSchedule, WindowState};
pub(crate) use checks::{IN_ORDER_WINDOW_MS, Origin};
use checks::{Rejection, TimeBounds, check_histogram, check_labels};
pub(crate) use outcome::Outcomes;
pub use outcome::{AppendError, AppendOutcome, AppendTargets};

/// How many floats are encoded before the length of the record is looked at.
const FLOATS_PER_CHECK: usize = 4096;

/// How many series are looked up together.
const LOOKUPS: usize = 16;

/// Appends one batch, while its caller holds the tenant's lock and the log's segment.
pub(crate) struct Appender<'a> {
    pub(crate) config: &'a HeadConfig,
    pub(crate) schedule: &'a WindowSchedule,
    pub(crate) tenant: &'a Tenant,
    pub(crate) state: &'a mut AppendState,
    pub(crate) segment: u32,
    pub(crate) now_ms: i64,
    origin: Origin,
    limits: TenantLimits,
    bounds: TimeBounds,
    newest: i64,
    window: OpenWindow,
    /// The windows with unflushed samples, counted once they may be too many.
    open_windows: Option<usize>,
    /// The first timestamp whose window could not be opened.
    refused: Option<i64>,
    /// The shard of the series at hand.
    shard: u16,
    /// Whether stale markers behind newer samples are rejected.
    stale_in_order: bool,
    targets: Option<AppendTargets<'a>>,
    /// Samples that took the place of another value. Their record follows that of the other samples.
    replaced: AppendEncoder,
    outcomes: Outcomes,
    declarable: i64,
    grown: isize,
}

/// An appended batch, before its commit.
pub(crate) struct Appended {
    pub(crate) outcomes: Outcomes,
    /// By how many bytes the labels and metadata grew, which every segment of the log repeats.
    pub(crate) declarable: i64,
    /// By how many bytes the head grew.
    pub(crate) grown: isize,
    /// Why some samples were not taken although they are valid. The sender must send the batch again.
    pub(crate) overload: Option<String>,
}

/// The window of the previous sample, with what was added to it.
struct OpenWindow {
    at: WindowGeneration,
    /// Last millisecond of the window.
    last: i64,
    /// Samples of the series at hand. Those of earlier series are in [`AppendState::uncounted`].
    samples: u64,
    bytes: isize,
}

impl<'a> Appender<'a> {
    pub(crate) fn new(
        config: &'a HeadConfig,
        schedule: &'a WindowSchedule,
        tenant: &'a Tenant,
        state: &'a mut AppendState,
        segment: u32,
        now_ms: i64,
        origin: Origin,
    ) -> Self {
        let bounds = TimeBounds::new(config, &state.settings, state.newest, now_ms, origin);
        let limits = if origin == Origin::Head { TenantLimits::default() } else { state.settings.limits };
        let newest = state.newest.unwrap_or(i64::MIN);
        let no_window = WindowGeneration { start: i64::MAX, generation: 0 };
        Appender {
            config,
            schedule,
            tenant,
            state,
            segment,
            now_ms,
            origin,
            limits,
            bounds,
            newest,
            window: OpenWindow { at: no_window, last: i64::MIN, samples: 0, bytes: 0 },
            open_windows: None,
            refused: None,
            shard: 0,
            stale_in_order: false,
            targets: None,
            replaced: AppendEncoder::default(),
            outcomes: Outcomes::default(),
            declarable: 0,
            grown: 0,
        }
    }

    /// Appends some shards only; `None` for all of them.
    pub(crate) fn with_targets(mut self, targets: Option<AppendTargets<'a>>) -> Self {
        self.targets = targets;
        self
    }

    pub(crate) fn run(mut self, batch: &WriteBatch) -> Appended {
        self.stale_in_order = batch.stale_in_order && self.origin != Origin::Head;
        for group in batch.series().chunks(LOOKUPS) {
            for (entry, known) in group.iter().zip(self.find(batch, group)) {
                if self.select_outcome(entry) {
                    self.series(batch, entry, known);
                }
            }
        }
        self.outcomes.is_uncounted = false;
        self.metadata(batch);
        self.close_window();
        if self.outcomes.took_samples() && self.newest > i64::MIN {
            self.state.newest = Some(self.newest);
        }
        self.close_records();
        let overload = self.refused.map(|t| {
            format!(
                "tenant {} has {} windows with samples that are not in blocks yet, its limit; a sample at timestamp {t} would open another; send the request again later",
                self.tenant.id, self.config.max_open_windows
            )
        });
        Appended { outcomes: self.outcomes, declarable: self.declarable, grown: self.grown, overload }
    }

    /// Finds the series of a group. Each step of a lookup waits for memory whose address the step before it has read, so the lookups
    /// of a group take each step together.
    fn find(&self, batch: &WriteBatch, group: &[BatchSeries]) -> [Option<Arc<Series>>; LOOKUPS] {
        let mut found = [None; LOOKUPS];
        for (found, entry) in found.iter_mut().zip(group) {
            *found = self.state.find_hash(entry.hash);
        }
        for (found, entry) in found.iter_mut().zip(group) {
            found.take_if(|series| series.labels.as_bytes() != batch.labels_of(entry));
        }
        found.map(Option::<&Arc<Series>>::cloned)
    }

    /// Chooses the outcome that a series is reported in; false when its shard is not appended.
    fn select_outcome(&mut self, entry: &BatchSeries) -> bool {
        let Some(targets) = self.targets else { return true };
        let shard = shard_of(entry.hash, self.tenant.shards);
        self.outcomes.is_uncounted = !targets.counted.contains(shard);
        targets.taken.contains(shard)
    }

    /// Appends a series. `known` was found before the group of the series was appended, and lacks what the group has created.
    fn series(&mut self, batch: &WriteBatch, entry: &BatchSeries, known: Option<Arc<Series>>) {
        let canonical = batch.labels_of(entry);
        let samples = batch.samples_of(entry);
        let histograms = batch.histograms_of(entry);
        let mut found = known.or_else(|| self.state.find(entry.hash, canonical).cloned());
        if found.is_none() && self.any_takeable(samples, histograms) {
            match self.create(canonical, entry.hash) {
                Ok(series) => found = Some(series),
                Err(rejection) => return self.reject_all(batch, entry, rejection),
            }
        }
        match &found {
            Some(series) => {
                self.begin_series(series.shard);
                let mut data = series.data.lock();
                for (number, floats) in (0..).zip(samples.chunks(FLOATS_PER_CHECK)) {
                    let first = entry.samples.start + number * FLOATS_PER_CHECK as u32;
                    for (at, s) in (first..).zip(floats) {
                        self.sample(series, &mut data, AnySample::Float(s), at);
                    }
                    self.close_long_records();
                }
                for (at, s) in (entry.histograms.start..).zip(histograms) {
                    self.sample(series, &mut data, AnySample::Histogram(s), at);
                    self.close_long_records();
                }
            }
            None => {
                for (sample, t) in indexed(entry, samples, histograms) {
                    if self.bounds.contain_in_order(t) {
                        self.refused.get_or_insert(t);
                    } else if let Some((reason, what)) = self.bounds.rejection(t) {
                        let message = || format!("{what}, series {}", batch.display_labels(entry));
                        self.outcomes.refuse(sample, reason, message);
                    }
                }
            }
        }
        if !entry.exemplars.is_empty() {
            self.exemplars(batch, entry, found.as_ref());
        }
    }

    /// Turns what has been encoded into log records.
    fn close_records(&mut self) {
        let wal = &mut self.state.wal;
        wal.close_record(self.tenant.number, None);
        put_replaced(&mut wal.staged, self.tenant.number, &mut self.replaced);
    }

    #[inline]
    fn close_long_records(&mut self) {
        if self.state.wal.encoder.bytes() + self.replaced.bytes() >= SPLIT_BYTES {
            self.close_records();
        }
    }

    /// Whether any sample of a new series is within the bounds and in a window that has room.
    fn any_takeable(&mut self, samples: &[Sample], histograms: &[HistogramSample]) -> bool {
        let mut times = samples.iter().map(|s| s.t).chain(histograms.iter().map(|s| s.t));
        times.any(|t| self.bounds.contain_in_order(t) && self.has_room_for(self.schedule.start_of(t)))
    }

    /// Appends the sample at a position of its column.
    #[inline]
    fn sample(&mut self, series: &Series, data: &mut SeriesData, sample: AnySample<'_>, at: u32) {
        let t = sample.t();
        if self.stale_in_order && !data.is_newer(t) && sample.is_stale() {
            return self.accept_resend_or_reject_marker(series, data, sample, at);
        }
        let is_within = self.bounds.contain(t) || (data.is_newer(t) && self.bounds.contain_in_order(t));
        if !is_within {
            return self.accept_resend_or_reject(series, data, sample, at);
        }
        if let AnySample::Histogram(s) = sample
            && let Err(problem) = check_histogram(s)
        {
            let message = || format!("invalid histogram at timestamp {t}: {problem}, series {}", series.labels);
            return self.outcomes.refuse(sample.index(at), RejectReason::InvalidHistogram, message);
        }
        let Some(window) = self.window_of(t) else {
            if data.find(sample) == Some(Stored::Same) {
                self.taken(sample);
            } else {
                self.refused.get_or_insert(t);
            }
            return;
        };
        match data.insert(sample, window) {
            Insert::Added(grown) => {
                self.window.samples += 1;
                self.window.bytes += grown;
                self.newest = self.newest.max(t);
                let reference = self.state.wal_ref(self.tenant, series, data, self.segment);
                encode(&mut self.state.wal.encoder, reference, sample);
                self.taken(sample);
            }
            Insert::Same => self.taken(sample),
            Insert::Conflict if self.origin == Origin::Head => self.replace(series, data, sample, window),
            Insert::Conflict => self.outcomes.refuse(sample.index(at), RejectReason::DuplicateTimestamp, || {
                format!("duplicate sample for timestamp {t}; overrides not allowed, series {}", series.labels)
            }),
        }
    }

    #[inline]
    fn taken(&mut self, sample: AnySample<'_>) {
        match sample {
            AnySample::Float(_) => self.outcomes.current().samples += 1,
            AnySample::Histogram(_) => self.outcomes.current().histograms += 1,
        }
    }

    /// Replaces the value at the timestamp of a sample. The sample belongs to the current generation and is not flushed, even
    /// if the replaced value was: it will be in a later block.
    #[cold]
    fn replace(&mut self, series: &Series, data: &mut SeriesData, sample: AnySample<'_>, window: WindowGeneration) {
        // The replaced value may be one of this batch.
        self.close_window();
        let Some(counts) = self.state.windows.get_mut(&window.start) else { return };
        let grown = data.replace(sample, window, |generation, count| counts.subtract(generation, series.shard, count));
        self.window.samples += 1;
        self.window.bytes += grown;
        let reference = self.state.wal_ref(self.tenant, series, data, self.segment);
        encode(&mut self.replaced, reference, sample);
        self.outcomes.replaced += 1;
        self.taken(sample);
    }

    /// Handles a sample that is out of bounds. One that is stored already is a resend and is accepted.
    #[cold]
    fn accept_resend_or_reject(&mut self, series: &Series, data: &SeriesData, sample: AnySample<'_>, at: u32) {
        if data.find(sample) == Some(Stored::Same) {
            return self.taken(sample);
        }
        if let Some((reason, what)) = self.bounds.rejection(sample.t()) {
            self.outcomes.refuse(sample.index(at), reason, || format!("{what}, series {}", series.labels));
        }
    }

    /// Handles a stale marker of a series that has a sample as new as the marker. One that is stored already is a resend and is
    /// accepted.
    #[cold]
    fn accept_resend_or_reject_marker(&mut self, series: &Series, data: &SeriesData, sample: AnySample<'_>, at: u32) {
        if data.find(sample) == Some(Stored::Same) {
            return self.taken(sample);
        }
        self.outcomes.refuse(sample.index(at), RejectReason::OutOfOrder, || {
            format!("stale marker at timestamp {} behind newer samples, series {}", sample.t(), series.labels)
        });
    }

    /// The window of a timestamp, usually that of the previous sample; `None` if there are too many open windows.
    #[inline]
    fn window_of(&mut self, t: i64) -> Option<WindowGeneration> {
        if self.window.at.start <= t && t <= self.window.last {
            return Some(self.window.at);
        }
        self.open_window(t)
    }

    fn open_window(&mut self, t: i64) -> Option<WindowGeneration> {
        self.close_window();
        let span = self.schedule.window_of(t);
        if !self.has_room_for(span.start) {
            self.window.at = WindowGeneration { start: i64::MAX, generation: 0 };
            self.window.last = i64::MIN;
            return None;
        }
        let generation = self.state.begin_window(self.tenant, self.segment, span.start, self.now_ms);
        self.window.at = WindowGeneration { start: span.start, generation };
        self.window.last = span.last;
        Some(self.window.at)
    }

    /// Whether a window is open, or may be opened: every open window becomes a block, so a tenant may have so many only.
    /// Windows of the present always have room, so that history does not shut out live samples.
    fn has_room_for(&mut self, start: i64) -> bool {
        let limit = self.config.max_open_windows;
        if limit == 0 || self.state.windows.len() < limit || self.origin == Origin::Head {
            return true;
        }
        let width = self.config.window_ms;
        let distance = start.saturating_sub(self.schedule.start_of(self.now_ms)).saturating_abs();
        if distance <= width || self.state.windows.get(&start).is_some_and(WindowState::has_unflushed) {
            return true;
        }
        let windows = &self.state.windows;
        let count = || windows.values().filter(|w| w.has_unflushed()).count();
        *self.open_windows.get_or_insert_with(count) < limit
    }

    /// Counts the samples that follow for this shard.
    #[inline]
    fn begin_series(&mut self, shard: u16) {
        if self.shard != shard {
            self.state.uncounted.add(self.shard, std::mem::take(&mut self.window.samples));
            self.shard = shard;
        }
    }

    fn close_window(&mut self) {
        self.state.uncounted.add(self.shard, std::mem::take(&mut self.window.samples));
        if self.state.uncounted.is_empty() {
            return;
        }
        let at = self.window.at;
        let Some(window) = self.state.windows.get_mut(&at.start) else { return };
        if let Some(open) = &mut self.open_windows {
            *open += usize::from(!window.has_unflushed());
        }
        window.add_counts(at.generation, &mut self.state.uncounted);
        window.bytes += self.window.bytes as i64;
        window.newest_append_ms = window.newest_append_ms.max(self.now_ms);
        self.state.segments.note_samples(self.segment, at);
        self.grown += self.window.bytes;
        self.window.bytes = 0;
    }

    fn create(&mut self, canonical: &[u8], hash: u64) -> Result<Arc<Series>, Rejection> {
        check_labels(canonical, &self.limits)?;
        let limit = self.limits.max_series;
        let max_series = share(limit, self.state.held_shards, self.tenant.shards);
        if max_series > 0 && self.state.table.len() >= max_series {
            let message = match max_series == limit {
                true => format!("tenant {} has {limit} series, its limit max_series", self.tenant.id),
                false => format!(
                    "tenant {} has {max_series} series on this node, its share of the limit max_series of {limit}",
                    self.tenant.id
                ),
            };
            return Err((RejectReason::MaxSeries, message));
        }
        let used_up = || (RejectReason::MaxSeries, format!("tenant {} has used up its series numbers", self.tenant.id));
        let (series, bytes) = self.tenant.create(self.state, canonical, hash).ok_or_else(used_up)?;
        self.grown += bytes as isize;
        self.declarable += canonical.len() as i64;
        self.outcomes.current().new_series += 1;
        Ok(series)
    }

    #[cold]
    fn reject_all(&mut self, batch: &WriteBatch, entry: &BatchSeries, (reason, what): Rejection) {
        let message = || format!("{what}, series {}", batch.display_labels(entry));
        for (sample, _) in indexed(entry, batch.samples_of(entry), batch.histograms_of(entry)) {
            self.outcomes.refuse(sample, reason, message);
        }
        for _ in batch.exemplars_of(entry) {
            self.outcomes.current().reject(reason, message);
        }
    }

    fn exemplars(&mut self, batch: &WriteBatch, entry: &BatchSeries, series: Option<&Arc<Series>>) {
        for exemplar in batch.exemplars_of(entry) {
            let inserted = match series {
                None => ExemplarInsert::Rejected("unknown series"),
                Some(_) if self.bounds.are_exceeded_by(exemplar.t) => ExemplarInsert::Rejected("too far in the future"),
                Some(series) => {
                    let generation = self.state.window_at(exemplar.t, self.schedule).generation;
                    self.tenant.exemplars.lock().add(series, exemplar, generation)
                }
            };
            match (inserted, series) {
                (ExemplarInsert::Rejected(why), _) => {
                    self.outcomes.current().reject(RejectReason::InvalidExemplar, || {
                        format!("exemplar at timestamp {}: {why}, series {}", exemplar.t, batch.display_labels(entry))
                    })
                }
                (ExemplarInsert::Added, Some(series)) => {
                    let mut data = series.data.lock();
                    let reference = self.state.wal_ref(self.tenant, series, &mut data, self.segment);
                    self.state.wal.encoder.exemplar(reference, exemplar);
                    self.close_long_records();
                    self.outcomes.current().exemplars += 1;
                }
                _ => self.outcomes.current().exemplars += 1,
            }
        }
    }

    fn metadata(&mut self, batch: &WriteBatch) {
        for (family, metadata) in &batch.metadata {
            if let Some(grown) = self.state.metadata.set(family, metadata, self.config.max_metadata) {
                self.grown += grown;
                self.declarable += grown as i64;
                self.state.log_metadata(self.tenant, self.segment, family);
            }
        }
    }
}

/// The samples of a series with their positions and timestamps.
fn indexed<'b>(
    entry: &BatchSeries,
    samples: &'b [Sample],
    histograms: &'b [HistogramSample],
) -> impl Iterator<Item = (SampleIndex, i64)> + 'b {
    let floats = (entry.samples.start..).zip(samples).map(|(at, s)| (AnySample::Float(s).index(at), s.t));
    let histograms = (entry.histograms.start..).zip(histograms).map(|(at, s)| (AnySample::Histogram(s).index(at), s.t));
    floats.chain(histograms)
}

/// Encodes a sample of the series with this reference.
#[inline]
pub(crate) fn encode(encoder: &mut AppendEncoder, reference: u32, sample: AnySample<'_>) {
    match sample {
        AnySample::Float(s) => encoder.sample(reference, s),
        AnySample::Histogram(s) => encoder.histogram(reference, s),
    }
}
