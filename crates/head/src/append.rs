//! Appends a batch: finds or creates its series, checks every sample, and stages what is new for the log.

use std::sync::Arc;

use pharos_model::hash::shard_of;
use pharos_model::labels::{LabelsIter, check_canonical};
use pharos_model::time::window_start;
use pharos_model::write::{BatchSeries, HistogramSample};
use pharos_model::{RejectReason, Sample, ShardSet, WriteBatch, WriteOutcome};

use crate::config::{HeadConfig, TenantLimits, TenantSettings};
use crate::exemplars::ExemplarInsert;
use crate::series::{AnySample, Insert, Series, SeriesData, Stored, WindowGeneration};
use crate::tenant::{AppendState, Tenant};
use crate::wal::Commit;
use crate::wal::record::{SPLIT_BYTES, put_append};

/// The longest canonical label set, so that it fits into a log record.
const MAX_LABEL_BYTES: usize = 1 << 20;
/// The most buckets of a histogram, so that it fits into a log record.
const MAX_BUCKETS: usize = 1 << 16;

/// Who appends a batch, which decides what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A sender: time bounds and limits apply.
    Sender,
    /// Another head, which has checked its samples already.
    Head,
}

/// The shards of a batch that are appended, and those that count for the sender.
#[derive(Clone, Copy, Debug)]
pub struct AppendTargets<'a> {
    /// Shards to append. Series of other shards are skipped.
    pub taken: &'a ShardSet,
    /// Shards whose samples are counted in [`AppendOutcome::counted`]. The other shards get an outcome of their own, so that
    /// a batch sent to several replicas is counted once.
    pub counted: &'a ShardSet,
}

/// The result of [`Head::append_shards`](crate::Head::append_shards).
#[derive(Debug)]
pub struct AppendOutcome {
    /// What became of the samples of counted shards.
    pub counted: WriteOutcome,
    /// What became of the samples of other shards.
    pub uncounted: WriteOutcome,
    /// Resolves when the batch is durable.
    pub commit: Commit,
}

/// The outcomes of a batch while it is appended.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) counted: WriteOutcome,
    pub(crate) uncounted: WriteOutcome,
    /// Whether the series at hand is of a shard that is not counted.
    is_uncounted: bool,
}

impl Outcomes {
    /// The outcome that the series at hand belongs to.
    #[inline]
    fn current(&mut self) -> &mut WriteOutcome {
        if self.is_uncounted { &mut self.uncounted } else { &mut self.counted }
    }

    fn took_samples(&self) -> bool {
        [&self.counted, &self.uncounted].iter().any(|outcome| outcome.samples + outcome.histograms > 0)
    }
}

/// Appends one batch, while its caller holds the tenant's lock and the log's segment.
pub(crate) struct Appender<'a> {
    pub(crate) config: &'a HeadConfig,
    pub(crate) tenant: &'a Tenant,
    pub(crate) state: &'a mut AppendState,
    pub(crate) segment: u32,
    pub(crate) now_ms: i64,
    limits: TenantLimits,
    /// Earlier timestamps are too old.
    oldest: i64,
    /// Later timestamps are too far in the future.
    latest: i64,
    newest: i64,
    window: OpenWindow,
    /// The shard of the series at hand.
    shard: u16,
    targets: Option<AppendTargets<'a>>,
    outcomes: Outcomes,
    grown: isize,
}

/// An appended batch, before its commit.
pub(crate) struct Appended {
    pub(crate) outcomes: Outcomes,
    /// By how many bytes the head grew.
    pub(crate) grown: isize,
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

/// The oldest timestamp that is taken: the out-of-order window before the newest sample. A sample from the future counts as
/// one from now, so that it cannot shut out everybody else's samples. While the newest sample is itself older than the
/// window, as seen from the clock, history is being loaded, and it may arrive in any order.
fn oldest_taken(settings: &TenantSettings, newest: Option<i64>, now_ms: i64) -> i64 {
    match newest.map(|newest| newest.min(now_ms)) {
        Some(newest) if newest >= now_ms.saturating_sub(settings.out_of_order_window_ms) => {
            newest.saturating_sub(settings.out_of_order_window_ms)
        }
        _ => i64::MIN,
    }
}

/// Why a sample is rejected, and a message without the series.
type Rejection = (RejectReason, String);

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
        let no_window = WindowGeneration { start: i64::MAX, generation: 0 };
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
            window: OpenWindow { at: no_window, last: i64::MIN, samples: 0, bytes: 0 },
            shard: 0,
            targets: None,
            outcomes: Outcomes::default(),
            grown: 0,
        }
    }

    /// Appends some shards only; `None` for all of them.
    pub(crate) fn to_shards(mut self, targets: Option<AppendTargets<'a>>) -> Self {
        self.targets = targets;
        self
    }

    pub(crate) fn run(mut self, batch: &WriteBatch) -> Appended {
        for entry in batch.series() {
            if self.select_outcome(entry) {
                self.series(batch, entry);
            }
            if self.state.wal.encoder.bytes() >= SPLIT_BYTES {
                self.write_out();
            }
        }
        self.outcomes.is_uncounted = false;
        self.metadata(batch);
        self.close_window();
        if self.outcomes.took_samples() && self.newest > i64::MIN {
            self.state.newest = Some(self.newest);
        }
        self.write_out();
        Appended { outcomes: self.outcomes, grown: self.grown }
    }

    /// Chooses the outcome that a series is reported in; false when its shard is not appended.
    fn select_outcome(&mut self, entry: &BatchSeries) -> bool {
        let Some(targets) = self.targets else { return true };
        let shard = shard_of(entry.hash, self.tenant.shards);
        self.outcomes.is_uncounted = !targets.counted.contains(shard);
        targets.taken.contains(shard)
    }

    fn series(&mut self, batch: &WriteBatch, entry: &BatchSeries) {
        let canonical = batch.labels_of(entry);
        let samples = batch.samples_of(entry);
        let histograms = batch.histograms_of(entry);
        let mut found = self.state.find(entry.hash, canonical).cloned();
        if found.is_none() && self.any_in_bounds(samples, histograms) {
            match self.create(canonical, entry.hash) {
                Ok(series) => found = Some(series),
                Err(rejection) => return self.reject_all(batch, entry, rejection),
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
                        self.outcomes
                            .current()
                            .reject(reason, || format!("{what}, series {}", batch.display_labels(entry)));
                    }
                }
            }
        }
        if !entry.exemplars.is_empty() {
            self.exemplars(batch, entry, found.as_ref());
        }
    }

    /// Turns what has been encoded into a log record.
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
            return self.accept_resend_or_reject(series, data, sample);
        }
        if let AnySample::Histogram(s) = sample
            && let Err(problem) = check_histogram(s)
        {
            let message = || format!("invalid histogram at timestamp {t}: {problem}, series {}", series.labels);
            return self.outcomes.current().reject(RejectReason::InvalidHistogram, message);
        }
        let window = self.window_of(t);
        match data.insert(sample, window) {
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
            Insert::Conflict => self.outcomes.current().reject(RejectReason::DuplicateTimestamp, || {
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

    /// Handles a sample that is out of bounds. One that is stored already is a resend and is accepted.
    #[cold]
    fn accept_resend_or_reject(&mut self, series: &Series, data: &SeriesData, sample: AnySample<'_>) {
        if data.find(sample) == Some(Stored::Same) {
            return self.taken(sample);
        }
        if let Some((reason, what)) = self.out_of_bounds(sample.t()) {
            self.outcomes.current().reject(reason, || format!("{what}, series {}", series.labels));
        }
    }

    fn out_of_bounds(&self, t: i64) -> Option<Rejection> {
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

    /// The window of a timestamp, usually that of the previous sample.
    #[inline]
    fn window_of(&mut self, t: i64) -> WindowGeneration {
        if self.window.at.start <= t && t <= self.window.last {
            return self.window.at;
        }
        self.close_window();
        let start = window_start(t, self.config.window_ms);
        let generation = self.state.begin_window(self.tenant, self.segment, start, self.now_ms);
        self.window.at = WindowGeneration { start, generation };
        self.window.last = start.saturating_add(self.config.window_ms - 1);
        self.window.at
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
        window.add_counts(at.generation, &mut self.state.uncounted);
        window.bytes += self.window.bytes as i64;
        window.newest_append_ms = window.newest_append_ms.max(self.now_ms);
        self.state.note_segment(self.segment, at.start);
        self.grown += self.window.bytes;
        self.window.bytes = 0;
    }

    fn create(&mut self, canonical: &[u8], hash: u64) -> Result<Arc<Series>, Rejection> {
        check_labels(canonical, &self.limits)?;
        let max_series = self.limits.max_series;
        if max_series > 0 && self.state.table.len() >= max_series {
            let message = format!("tenant {} has {max_series} series, its limit max_series", self.tenant.id);
            return Err((RejectReason::MaxSeries, message));
        }
        let used_up = || (RejectReason::MaxSeries, format!("tenant {} has used up its series numbers", self.tenant.id));
        let (series, bytes) = self.tenant.create(self.state, canonical, hash).ok_or_else(used_up)?;
        self.grown += bytes as isize;
        self.outcomes.current().new_series += 1;
        Ok(series)
    }

    #[cold]
    fn reject_all(&mut self, batch: &WriteBatch, entry: &BatchSeries, (reason, what): Rejection) {
        let rejected = entry.samples.len() + entry.histograms.len() + entry.exemplars.len();
        for _ in 0..rejected {
            self.outcomes.current().reject(reason, || format!("{what}, series {}", batch.display_labels(entry)));
        }
    }

    fn exemplars(&mut self, batch: &WriteBatch, entry: &BatchSeries, series: Option<&Arc<Series>>) {
        for exemplar in batch.exemplars_of(entry) {
            let inserted = match series {
                None => ExemplarInsert::Rejected("unknown series"),
                Some(_) if exemplar.t > self.latest => ExemplarInsert::Rejected("too far in the future"),
                Some(series) => {
                    let generation = self.state.window_at(exemplar.t, self.config.window_ms).generation;
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
                    self.outcomes.current().exemplars += 1;
                }
                _ => self.outcomes.current().exemplars += 1,
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

/// Checks the labels of a series before it is created.
fn check_labels(canonical: &[u8], limits: &TenantLimits) -> Result<(), Rejection> {
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
