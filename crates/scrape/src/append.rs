//! The sink of the exposition parsers: it fills a batch from a body. Known series come from the cache; the labels of new
//! ones are prepared (target labels, conflicts, relabelling, checks, limits). It counts what Prometheus reports.

use pharos_config::relabel;
use pharos_config::{ResolvedScrapeConfig, ValidationScheme};
use pharos_model::write::HistogramSample;
use pharos_model::{
    Histogram, LabelsBuilder, METRIC_NAME, STALE_NAN, Sample, SeriesHash, TenantId, WriteBatch, series_hash,
};

use crate::buckets::limit_buckets;
use crate::cache::{EntryId, SeriesCache};
use crate::exposition::{ExpositionError, MetadataField, NO_TIMESTAMP, SampleIndex, SampleInfo, SeriesKey, Sink};
use crate::targets::Target;

/// How far ahead of the clock a target's own timestamp may be, milliseconds.
const MAX_AHEAD_MS: i64 = 600_000;
const EXPORTED_PREFIX: &str = "exported_";

/// The surroundings of one scrape.
pub(crate) struct ScrapeContext<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) config: &'a ResolvedScrapeConfig,
    pub(crate) target: &'a Target,
    /// The timestamp of the scrape, milliseconds.
    pub(crate) t: i64,
}

/// The counts that a scrape reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Samples in the body.
    pub(crate) scraped: u64,
    /// Samples after relabelling.
    pub(crate) added: u64,
    /// Series that the previous scrape did not have.
    pub(crate) series_added: u64,
    /// Samples of series that the body already had.
    pub(crate) duplicates: u64,
    /// Samples that are too far in the future.
    pub(crate) out_of_bounds: u64,
}

/// A configured limit that a scrape exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExceededLimit {
    Samples,
    Buckets,
    Labels,
}

/// Fills a batch from one body.
pub(crate) struct Appender<'a> {
    context: ScrapeContext<'a>,
    cache: &'a mut SeriesCache,
    batch: &'a mut WriteBatch,
    labels: LabelsBuilder,
    canonical: Vec<u8>,
    appended: u64,
    pub(crate) counts: Counts,
    pub(crate) exceeded: Option<ExceededLimit>,
}

/// What becomes of a sample.
enum Resolved {
    /// It is left out: relabelling drops the series, or the body already had it.
    Skip,
    Append {
        id: EntryId,
        is_new: bool,
    },
}

impl<'a> Appender<'a> {
    /// Begins a scrape.
    pub(crate) fn new(context: ScrapeContext<'a>, cache: &'a mut SeriesCache, batch: &'a mut WriteBatch) -> Self {
        cache.begin();
        context.target.metadata_store().lock().begin();
        Appender {
            context,
            cache,
            batch,
            labels: LabelsBuilder::default(),
            canonical: Vec::new(),
            appended: 0,
            counts: Counts::default(),
            exceeded: None,
        }
    }

    /// Ends the scrape. A good one adds stale markers for the series that vanished; a failed one discards its samples and
    /// adds stale markers for all series of the last good one. So does an empty page: what comes back after it is not new.
    pub(crate) fn finish(
        self,
        outcome: Result<(), ExpositionError>,
        is_empty: bool,
    ) -> (Counts, Result<(), ExpositionError>) {
        let outcome = outcome.and_then(|()| match self.exceeded {
            Some(ExceededLimit::Samples) => Err(ExpositionError::new("sample limit exceeded")),
            Some(ExceededLimit::Buckets) => Err(ExpositionError::new("histogram bucket limit exceeded")),
            _ => Ok(()),
        });
        let batch = self.batch;
        let t = self.context.t;
        match outcome {
            Ok(()) => self.context.target.metadata_store().lock().commit(&mut batch.metadata),
            Err(_) => batch.clear(),
        }
        let add_marker = |canonical: &[u8], hash, is_histogram| push_stale(batch, canonical, hash, is_histogram, t);
        match outcome.is_ok() && !is_empty {
            true => self.cache.commit(add_marker),
            false => self.cache.fail(add_marker),
        }
        (self.counts, outcome)
    }

    /// Finds the entry of a series, or makes one.
    fn resolve(&mut self, series: SeriesKey<'_>, has_own_time: bool) -> Result<Resolved, ExpositionError> {
        let known = if series.is_expected { self.cache.expected_id() } else { self.cache.find(series.key) };
        if known.is_none() {
            self.labels.clear();
            series.labels.read(&mut self.labels).map_err(ExpositionError::new)?;
        }
        self.counts.scraped += 1;
        let (id, is_new) = match known {
            Some(id) => (id, false),
            None => (self.prepare(series)?, true),
        };
        let was_seen = self.cache.mark_seen(id);
        if self.cache.get(id).is_none_or(|entry| entry.is_dropped()) {
            return Ok(Resolved::Skip);
        }
        self.counts.added += 1;
        if was_seen && !has_own_time {
            self.counts.duplicates += 1;
            return Ok(Resolved::Skip);
        }
        Ok(Resolved::Append { id, is_new })
    }

    /// Prepares the labels of a series that is not in the cache, as the body has them.
    fn prepare(&mut self, series: SeriesKey<'_>) -> Result<EntryId, ExpositionError> {
        let config = self.context.config;
        add_target_labels(&mut self.labels, self.context.target, config.honor_labels);
        let keep = relabel(&config.metric_relabel, &mut self.labels) && self.labels.iter().next().is_some();
        self.canonical.clear();
        if !keep {
            return Ok(self.cache.insert(series.key, &[], 0));
        }
        check_labels(&mut self.labels, config.validation)?;
        if let Err(error) = check_limits(&self.labels, config) {
            self.exceeded = Some(ExceededLimit::Labels);
            return Err(error);
        }
        self.labels.write_canonical(&mut self.canonical);
        let hash = series_hash(self.context.tenant, &self.canonical);
        Ok(self.cache.insert(series.key, &self.canonical, hash))
    }

    /// Counts a sample that is about to be appended; returns false when it must be left out. A new series beyond the limit stays
    /// unknown, so that it counts as added once there is room.
    fn admit(&mut self, t: i64, id: EntryId, is_new: bool) -> bool {
        self.appended += 1;
        let limit = self.context.config.sample_limit;
        if limit > 0 && self.appended > limit {
            self.exceeded = Some(ExceededLimit::Samples);
        }
        let is_ahead = t > self.context.t.saturating_add(MAX_AHEAD_MS);
        self.counts.out_of_bounds += u64::from(is_ahead);
        if is_new && self.exceeded.is_some() {
            self.cache.remove(id);
        }
        self.exceeded.is_none() && !is_ahead
    }

    /// Begins a series in the batch, and tracks it if it is to get a stale marker when it vanishes.
    fn begin(&mut self, id: EntryId, is_new: bool, has_own_time: bool, is_histogram: bool) {
        let mut is_known = !is_new;
        if let Some(entry) = self.cache.get(id) {
            self.batch.begin_known_series(&entry.canonical, entry.hash);
            is_known |= is_new && self.cache.inherits(entry.hash);
        }
        self.counts.series_added += u64::from(!is_known);
        if !has_own_time || self.context.config.track_timestamps_staleness {
            self.cache.track(id, is_histogram);
        }
    }

    /// The timestamp of a sample, and whether the target set it.
    fn time_of(&self, info: &SampleInfo<'_>) -> (i64, bool) {
        match info.t.filter(|_| self.context.config.honor_timestamps) {
            Some(t) => (t, true),
            None => (self.context.t, false),
        }
    }

    /// Adds exemplars. Those without a timestamp get that of the sample, once: targets show the last one until there is
    /// another.
    fn push_exemplars(&mut self, id: EntryId, info: &SampleInfo<'_>, t: i64) {
        let start = self.batch.exemplars.len();
        for exemplar in info.exemplars {
            let mut exemplar = exemplar.clone();
            if exemplar.t == NO_TIMESTAMP {
                if !self.cache.is_new_exemplar(id, &exemplar.labels, exemplar.value) {
                    continue;
                }
                exemplar.t = t;
            }
            self.batch.exemplars.push(exemplar);
        }
        self.batch.exemplars[start..].sort_by_key(|exemplar| exemplar.t);
    }
}

impl Sink for Appender<'_> {
    fn expected(&self) -> &[u8] {
        self.cache.expected()
    }

    fn metadata(&mut self, family: &str, field: MetadataField<'_>) {
        self.context.target.metadata_store().lock().set(family, field);
    }

    fn float(&mut self, series: SeriesKey<'_>, v: f64, info: SampleInfo<'_>) -> Result<SampleIndex, ExpositionError> {
        let (t, has_own_time) = self.time_of(&info);
        let Resolved::Append { id, is_new } = self.resolve(series, has_own_time)? else { return Ok(None) };
        if !self.admit(t, id, is_new) {
            return Ok(None);
        }
        self.begin(id, is_new, has_own_time, false);
        self.batch.samples.push(Sample { t, v, st: info.st });
        self.push_exemplars(id, &info, t);
        Ok(Some(self.batch.samples.len() as u32 - 1))
    }

    fn histogram(&mut self, series: SeriesKey<'_>, h: Histogram, info: SampleInfo<'_>) -> Result<(), ExpositionError> {
        let (t, has_own_time) = self.time_of(&info);
        let Resolved::Append { id, is_new } = self.resolve(series, has_own_time)? else { return Ok(()) };
        let Some(h) = limit_buckets(h, self.context.config) else {
            self.exceeded = self.exceeded.or(Some(ExceededLimit::Buckets));
            return Ok(());
        };
        if !self.admit(t, id, is_new) {
            return Ok(());
        }
        self.begin(id, is_new, has_own_time, true);
        self.batch.histograms.push(HistogramSample { t, st: info.st, h: h.into() });
        self.push_exemplars(id, &info, t);
        Ok(())
    }

    fn set_start(&mut self, index: SampleIndex, st: i64) {
        if let Some(sample) = index.and_then(|index| self.batch.samples.get_mut(index as usize)) {
            sample.st = st;
        }
    }
}

/// Adds a stale marker to a batch.
pub(crate) fn push_stale(batch: &mut WriteBatch, canonical: &[u8], hash: SeriesHash, is_histogram: bool, t: i64) {
    // Another target may have continued the series.
    batch.stale_in_order = true;
    batch.begin_known_series(canonical, hash);
    if is_histogram {
        let h = Histogram { sum: STALE_NAN, ..Histogram::default() };
        batch.histograms.push(HistogramSample { t, st: 0, h: h.into() });
    } else {
        batch.samples.push(Sample { t, v: STALE_NAN, st: 0 });
    }
}

/// Adds the target's labels. A label that the sample has too is renamed to `exported_…`. With `honor_labels` it wins
/// instead, even when it is empty, which removes the label.
fn add_target_labels(labels: &mut LabelsBuilder, target: &Target, honor_labels: bool) {
    let mut conflicts: Vec<(String, String)> = Vec::new();
    for (name, value) in target.labels.iter() {
        if honor_labels {
            if !labels.contains(name) {
                labels.set(name, value);
            }
            continue;
        }
        let own = labels.get(name);
        if !own.is_empty() {
            conflicts.push((name.to_string(), own.to_string()));
        }
        labels.set(name, value);
    }
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, value) in conflicts {
        let mut renamed = format!("{EXPORTED_PREFIX}{name}");
        while !labels.get(&renamed).is_empty() {
            renamed.insert_str(0, EXPORTED_PREFIX);
        }
        labels.set(&renamed, &value);
    }
}

/// Refuses a series without a metric name and names that the scheme does not allow.
fn check_labels(labels: &mut LabelsBuilder, scheme: ValidationScheme) -> Result<(), ExpositionError> {
    let name = labels.get(METRIC_NAME);
    if name.is_empty() {
        return Err(ExpositionError::new("missing metric name (__name__ label)"));
    }
    let is_valid = scheme.is_valid_metric_name(name) && labels.iter().all(|(name, _)| scheme.is_valid_label_name(name));
    match is_valid {
        true => Ok(()),
        false => Err(ExpositionError::new(format!("invalid metric name or label names: {}", labels.build()))),
    }
}

/// Refuses a series whose labels exceed a limit of the configuration.
fn check_limits(labels: &LabelsBuilder, config: &ResolvedScrapeConfig) -> Result<(), ExpositionError> {
    let label_limit = config.label_limit;
    let name_limit = config.label_name_length_limit;
    let value_limit = config.label_value_length_limit;
    if label_limit == 0 && name_limit == 0 && value_limit == 0 {
        return Ok(());
    }
    let short = |text: &str| text.chars().take(50).collect::<String>();
    let metric = short(labels.get(METRIC_NAME));
    let number = labels.iter().count() as u64;
    if label_limit > 0 && number > label_limit {
        return Err(ExpositionError::new(format!(
            "label_limit exceeded (metric: {metric}, number of labels: {number}, limit: {label_limit})"
        )));
    }
    for (name, value) in labels.iter() {
        let name_length = name.len() as u64;
        let value_length = value.len() as u64;
        if name_limit > 0 && name_length > name_limit {
            return Err(ExpositionError::new(format!(
                "label_name_length_limit exceeded (metric: {metric}, label name: {}, length: {name_length}, limit: {name_limit})",
                short(name)
            )));
        }
        if value_limit > 0 && value_length > value_limit {
            return Err(ExpositionError::new(format!(
                "label_value_length_limit exceeded (metric: {metric}, label name: {}, value: {:?}, length: {value_length}, limit: {value_limit})",
                short(name),
                short(value)
            )));
        }
    }
    Ok(())
}
