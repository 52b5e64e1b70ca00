//! The way of a batch into the head.

use std::sync::Arc;

use pharos_model::hash::shard_of;
use pharos_model::labels::{LabelsIter, check_canonical};
use pharos_model::time::window_start;
use pharos_model::write::{BatchSeries, HistogramSample};
use pharos_model::{RejectReason, Sample, ShardSet, WriteBatch, WriteOutcome};

use crate::config::{HeadConfig, TenantLimits, TenantSettings};
use crate::exemplars::Taken;
use crate::series::{AnySample, Insert, Series, SeriesData, WindowCtx};
use crate::tenant::{AppendState, Tenant};
use crate::wal::record::{SPLIT_BYTES, put_append};

/// No label set is longer, so that it fits into a record.
const MAX_LABEL_BYTES: usize = 1 << 20;
/// No histogram has more buckets, so that it fits into a record.
const MAX_BUCKETS: usize = 1 << 16;

/// Where a batch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From outside: bounds of time and limits apply.
    Sender,
    /// From another head, which has applied them.
    Head,
}

/// Which shards of a batch are appended, and of which the outcome tells.
#[derive(Clone, Copy, Debug)]
pub struct Only<'a> {
    /// Samples of other shards are left out.
    pub taken: &'a ShardSet,
    /// Of the others a second outcome tells.
    pub counted: &'a ShardSet,
}

/// Appends one batch. The tenant is locked, and the log's segment is held.
pub(crate) struct Appender<'a> {
    pub(crate) config: &'a HeadConfig,
    pub(crate) tenant: &'a Tenant,
    pub(crate) state: &'a mut AppendState,
    pub(crate) segment: u32,
    pub(crate) now_ms: i64,
    limits: TenantLimits,
    /// Timestamps before are too old.
    oldest: i64,
    /// Timestamps behind are too far in the future.
    latest: i64,
    newest: i64,
    window: OpenWindow,
    /// The shard of the series at hand.
    shard: u16,
    only: Option<Only<'a>>,
    outcome: WriteOutcome,
    /// Of shards that are not counted.
    uncounted: WriteOutcome,
    grown: isize,
}

/// What became of a batch.
pub(crate) struct Run {
    pub(crate) outcome: WriteOutcome,
    pub(crate) uncounted: WriteOutcome,
    /// By how many bytes the head grew.
    pub(crate) grown: isize,
}

/// The window of the last sample with what was added to it.
struct OpenWindow {
    ctx: WindowCtx,
    last: i64,
    /// Those of the series at hand; of the series before they are in the tenant's tally.
    samples: u64,
    bytes: isize,
}

/// Timestamps before are too old: the out-of-order window behind the newest sample, one of the future counting as of now: it
/// must not shut out what everybody else sends. While that sample itself is older
/// than the window, as seen from the clock, history is being loaded; it may come in any order.
fn oldest_taken(settings: &TenantSettings, newest: Option<i64>, now_ms: i64) -> i64 {
    match newest.map(|newest| newest.min(now_ms)) {
        Some(newest) if newest >= now_ms.saturating_sub(settings.out_of_order_window_ms) => {
            newest.saturating_sub(settings.out_of_order_window_ms)
        }
        _ => i64::MIN,
    }
}

/// Why a sample is refused.
type Refusal = (RejectReason, String);

impl<'a> Appender<'a> {
    pub(crate) fn new(
        config: &'a HeadConfig,
        tenant: &'a Tenant,
        state: &'a mut AppendState,
        segment: u32,
        now_ms: i64,
        origin: Origin,
    ) -> Self {
        let (oldest, latest) = match origin {
            Origin::Head => (i64::MIN, i64::MAX),
            Origin::Sender if config.max_future_ms == 0 => {
                (oldest_taken(&state.settings, state.newest, now_ms), i64::MAX)
            }
            Origin::Sender => {
                (oldest_taken(&state.settings, state.newest, now_ms), now_ms.saturating_add(config.max_future_ms))
            }
        };
        let limits = if origin == Origin::Head { TenantLimits::default() } else { state.settings.limits };
        let newest = state.newest.unwrap_or(i64::MIN);
        let window = OpenWindow { ctx: WindowCtx { start: i64::MAX, epoch: 0 }, last: i64::MIN, samples: 0, bytes: 0 };
        let outcome = WriteOutcome::default();
        Appender {
            config,
            tenant,
            state,
            segment,
            now_ms,
            limits,
            oldest,
            latest,
            newest,
            window,
            shard: 0,
            only: None,
            outcome,
            uncounted: WriteOutcome::default(),
            grown: 0,
        }
    }

    /// Appends only some shards.
    pub(crate) fn only(mut self, only: Option<Only<'a>>) -> Self {
        self.only = only;
        self
    }

    /// Appends the batch.
    pub(crate) fn run(mut self, batch: &WriteBatch) -> Run {
        for entry in batch.series() {
            match self.only {
                None => self.series(batch, entry),
                Some(only) => self.series_of(only, batch, entry),
            }
            if self.state.wal.encoder.bytes() >= SPLIT_BYTES {
                self.write_out();
            }
        }
        self.metadata(batch);
        self.close_window();
        let taken = |outcome: &WriteOutcome| outcome.samples + outcome.histograms > 0;
        if (taken(&self.outcome) || taken(&self.uncounted)) && self.newest > i64::MIN {
            self.state.newest = Some(self.newest);
        }
        self.write_out();
        Run { outcome: self.outcome, uncounted: self.uncounted, grown: self.grown }
    }

    fn series_of(&mut self, only: Only<'_>, batch: &WriteBatch, entry: &BatchSeries) {
        let shard = shard_of(entry.hash, self.tenant.shards);
        if !only.taken.contains(shard) {
            return;
        }
        if only.counted.contains(shard) {
            return self.series(batch, entry);
        }
        std::mem::swap(&mut self.outcome, &mut self.uncounted);
        self.series(batch, entry);
        std::mem::swap(&mut self.outcome, &mut self.uncounted);
    }

    fn series(&mut self, batch: &WriteBatch, entry: &BatchSeries) {
        let canonical = batch.labels_of(entry);
        let (samples, histograms) = (batch.samples_of(entry), batch.histograms_of(entry));
        let mut found = self.state.find(entry.hash, canonical).cloned();
        if found.is_none() && (self.any_in_bounds(samples, histograms)) {
            match self.create(canonical, entry.hash) {
                Ok(series) => found = Some(series),
                Err(refusal) => return self.refuse_all(batch, entry, refusal),
            }
        }
        match &found {
            Some(series) => {
                self.begin_series(series.shard);
                let mut data = series.data.lock();
                for s in samples {
                    self.sample(series, &mut data, AnySample::Float(s));
                }
                for s in histograms {
                    self.sample(series, &mut data, AnySample::Histogram(s));
                }
            }
            None => {
                for t in samples.iter().map(|s| s.t).chain(histograms.iter().map(|s| s.t)) {
                    if let Some((reason, what)) = self.out_of_bounds(t) {
                        self.outcome.reject(reason, || format!("{what}, series {}", batch.display_labels(entry)));
                    }
                }
            }
        }
        if !entry.exemplars.is_empty() {
            self.exemplars(batch, entry, found.as_ref());
        }
    }

    /// Moves what is encoded so far into the record that is pushed to the log.
    fn write_out(&mut self) {
        let wal = &mut self.state.wal;
        put_append(&mut wal.staged, self.tenant.number, &mut wal.encoder);
    }

    fn any_in_bounds(&self, samples: &[Sample], histograms: &[HistogramSample]) -> bool {
        samples.iter().map(|s| s.t).chain(histograms.iter().map(|s| s.t)).any(|t| self.in_bounds(t))
    }

    #[inline]
    fn in_bounds(&self, t: i64) -> bool {
        self.oldest <= t && t <= self.latest
    }

    #[inline]
    fn sample(&mut self, series: &Series, data: &mut SeriesData, sample: AnySample<'_>) {
        let t = sample.t();
        if !self.in_bounds(t) {
            return self.refuse_or_forgive(series, data, sample);
        }
        if let AnySample::Histogram(s) = sample
            && let Err(problem) = check_histogram(s)
        {
            let message = || format!("invalid histogram at timestamp {t}: {problem}, series {}", series.labels);
            return self.outcome.reject(RejectReason::InvalidHistogram, message);
        }
        let ctx = self.window_of(t);
        match data.insert(sample, ctx) {
            Insert::Added(grown) => {
                self.window.samples += 1;
                self.window.bytes += grown;
                self.newest = self.newest.max(t);
                let reference = self.state.wal_ref(self.tenant, series, data, self.segment);
                match sample {
                    AnySample::Float(s) => self.state.wal.encoder.sample(reference, s),
                    AnySample::Histogram(s) => self.state.wal.encoder.histogram(reference, s),
                }
                self.taken(sample);
            }
            Insert::Same => self.taken(sample),
            Insert::Conflict => self.outcome.reject(RejectReason::DuplicateTimestamp, || {
                format!("duplicate sample for timestamp {t}; overrides not allowed, series {}", series.labels)
            }),
        }
    }

    #[inline]
    fn taken(&mut self, sample: AnySample<'_>) {
        match sample {
            AnySample::Float(_) => self.outcome.samples += 1,
            AnySample::Histogram(_) => self.outcome.histograms += 1,
        }
    }

    /// What is out of bounds and already there is a sample that was sent again.
    #[cold]
    fn refuse_or_forgive(&mut self, series: &Series, data: &SeriesData, sample: AnySample<'_>) {
        if data.find(sample) == Some(true) {
            return self.taken(sample);
        }
        if let Some((reason, what)) = self.out_of_bounds(sample.t()) {
            self.outcome.reject(reason, || format!("{what}, series {}", series.labels));
        }
    }

    fn out_of_bounds(&self, t: i64) -> Option<Refusal> {
        if t < self.oldest {
            let window = pharos_gocompat::format_duration(self.state.settings.out_of_order_window_ms);
            let newest = self.oldest.saturating_add(self.state.settings.out_of_order_window_ms);
            let message = format!(
                "too old sample: timestamp {t} is more than the out-of-order window of {window} behind the newest sample at {newest}"
            );
            return Some((RejectReason::TooOld, message));
        }
        (t > self.latest).then(|| {
            let ahead = pharos_gocompat::format_duration(self.config.max_future_ms);
            let message =
                format!("sample too far in the future: timestamp {t} is more than {ahead} ahead of {}", self.now_ms);
            (RejectReason::TooFarInFuture, message)
        })
    }

    /// The window of a timestamp; the same one for sample after sample.
    #[inline]
    fn window_of(&mut self, t: i64) -> WindowCtx {
        if self.window.ctx.start <= t && t <= self.window.last {
            return self.window.ctx;
        }
        self.close_window();
        let start = window_start(t, self.config.window_ms);
        let epoch = self.state.begin_window(self.tenant, self.segment, start, self.now_ms);
        let ctx = WindowCtx { start, epoch };
        self.window.ctx = ctx;
        self.window.last = ctx.start.saturating_add(self.config.window_ms - 1);
        ctx
    }

    /// What is counted from now on is of this shard.
    #[inline]
    fn begin_series(&mut self, shard: u16) {
        if self.shard != shard {
            self.state.tally.add(self.shard, std::mem::take(&mut self.window.samples));
            self.shard = shard;
        }
    }

    fn close_window(&mut self) {
        self.state.tally.add(self.shard, std::mem::take(&mut self.window.samples));
        if self.state.tally.is_empty() {
            return;
        }
        let ctx = self.window.ctx;
        let Some(window) = self.state.windows.get_mut(&ctx.start) else { return };
        window.count(ctx.epoch, &mut self.state.tally);
        window.bytes += self.window.bytes as i64;
        window.newest_append_ms = window.newest_append_ms.max(self.now_ms);
        self.state.note_segment(self.segment, ctx.start);
        self.grown += self.window.bytes;
        self.window.bytes = 0;
    }

    fn create(&mut self, canonical: &[u8], hash: u64) -> Result<Arc<Series>, Refusal> {
        check_labels(canonical, &self.limits)?;
        let max_series = self.limits.max_series;
        if max_series > 0 && self.state.table.len() >= max_series {
            let message = format!("tenant {} has {max_series} series, its limit max_series", self.tenant.id);
            return Err((RejectReason::MaxSeries, message));
        }
        let used_up = || (RejectReason::MaxSeries, format!("tenant {} has used up its series numbers", self.tenant.id));
        let (series, bytes) = self.tenant.create(self.state, canonical, hash).ok_or_else(used_up)?;
        self.grown += bytes as isize;
        self.outcome.new_series += 1;
        Ok(series)
    }

    #[cold]
    fn refuse_all(&mut self, batch: &WriteBatch, entry: &BatchSeries, (reason, what): Refusal) {
        let parts = entry.samples.len() + entry.histograms.len() + entry.exemplars.len();
        for _ in 0..parts {
            self.outcome.reject(reason, || format!("{what}, series {}", batch.display_labels(entry)));
        }
    }

    fn exemplars(&mut self, batch: &WriteBatch, entry: &BatchSeries, series: Option<&Arc<Series>>) {
        for exemplar in batch.exemplars_of(entry) {
            let taken = match series {
                None => Taken::Refused("unknown series"),
                Some(_) if exemplar.t > self.latest => Taken::Refused("too far in the future"),
                Some(series) => {
                    let epoch = self.state.window_of(exemplar.t, self.config.window_ms).epoch;
                    self.tenant.exemplars.lock().add(series, exemplar, epoch)
                }
            };
            match (taken, series) {
                (Taken::Refused(why), _) => self.outcome.reject(RejectReason::InvalidExemplar, || {
                    format!("exemplar at timestamp {}: {why}, series {}", exemplar.t, batch.display_labels(entry))
                }),
                (Taken::New, Some(series)) => {
                    let mut data = series.data.lock();
                    let reference = self.state.wal_ref(self.tenant, series, &mut data, self.segment);
                    self.state.wal.encoder.exemplar(reference, exemplar);
                    self.outcome.exemplars += 1;
                }
                _ => self.outcome.exemplars += 1,
            }
        }
    }

    fn metadata(&mut self, batch: &WriteBatch) {
        for (family, metadata) in &batch.metadata {
            let known = self.state.metadata.get(family);
            let full = known.is_none() && self.state.metadata.len() >= self.config.max_metadata;
            let too_long = family.len() + metadata.unit.len() + metadata.help.len() > MAX_LABEL_BYTES / 16;
            if full || too_long || known == Some(metadata) {
                continue;
            }
            self.state.declare_tenant(self.tenant, self.segment);
            self.state.wal.encoder.metadata(family, metadata);
            self.state.metadata.insert(family.clone(), metadata.clone());
        }
    }
}

/// Checks the labels of a series that is to be created.
fn check_labels(canonical: &[u8], limits: &TenantLimits) -> Result<(), Refusal> {
    let invalid = |what: String| (RejectReason::InvalidLabels, what);
    check_canonical(canonical).map_err(|e| invalid(e.to_string()))?;
    if canonical.is_empty() {
        return Err(invalid("series without labels".into()));
    }
    if canonical.len() > MAX_LABEL_BYTES {
        return Err(invalid(format!("labels take {} bytes, more than {MAX_LABEL_BYTES}", canonical.len())));
    }
    let over = |value: usize, limit: usize| limit > 0 && value > limit;
    let count = LabelsIter::over(canonical).count();
    if over(count, limits.max_labels) {
        let what = format!("{count} labels, the limit max_labels is {}", limits.max_labels);
        return Err((RejectReason::MaxLabels, what));
    }
    for (name, value) in LabelsIter::over(canonical) {
        if over(name.len(), limits.max_label_name_length) {
            let limit = limits.max_label_name_length;
            let what = format!("label name of {} bytes, the limit max_label_name_length is {limit}", name.len());
            return Err((RejectReason::MaxLabelNameLength, what));
        }
        if over(value.len(), limits.max_label_value_length) {
            let limit = limits.max_label_value_length;
            let what =
                format!("value of label {name} of {} bytes, the limit max_label_value_length is {limit}", value.len());
            return Err((RejectReason::MaxLabelValueLength, what));
        }
    }
    Ok(())
}

fn check_histogram(s: &HistogramSample) -> Result<(), String> {
    let buckets = s.h.positive_buckets.len() + s.h.negative_buckets.len() + s.h.custom_values.len();
    if buckets > MAX_BUCKETS {
        return Err(format!("{buckets} buckets, more than {MAX_BUCKETS}"));
    }
    s.h.validate().map_err(|e| e.to_string())
}
