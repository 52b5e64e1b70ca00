//! From a body to a batch: the sink of the exposition parsers. It maps series through the cache, prepares labels of new
//! ones (target labels, conflicts, relabelling, checks, limits) and counts what Prometheus counts.

use pharos_model::write::HistogramSample;
use pharos_model::{
    Histogram, LabelsBuilder, METRIC_NAME, STALE_NAN, Sample, SeriesHash, TenantId, WriteBatch, series_hash,
};

use crate::cache::{EntryId, SeriesCache};
use crate::exposition::{ExpositionError, MetadataField, NO_TIMESTAMP, SampleInfo, SampleSlot, SeriesKey, Sink};
use crate::targets::Target;
use pharos_config::relabel;
use pharos_config::{ResolvedScrapeConfig, ValidationScheme};

/// How far ahead of the clock a target's own timestamp may be, milliseconds.
const MAX_AHEAD_MS: i64 = 600_000;
const EXPORTED_PREFIX: &str = "exported_";

/// What a scrape is made of; all of it outlives the scrape.
pub(crate) struct ScrapeContext<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) config: &'a ResolvedScrapeConfig,
    pub(crate) target: &'a Target,
    /// The time of the scrape, milliseconds.
    pub(crate) t: i64,
}

/// What a scrape counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Samples in the body.
    pub(crate) scraped: u64,
    /// Samples after relabelling.
    pub(crate) added: u64,
    /// Series that were not there in the scrape before.
    pub(crate) series_added: u64,
    /// Samples of a series that the body has twice.
    pub(crate) duplicates: u64,
    /// Samples too far in the future.
    pub(crate) out_of_bounds: u64,
}

/// A limit that a scrape went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
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
    pub(crate) exceeded: Option<Exceeded>,
}

/// What to do with a sample.
enum Resolved {
    /// Relabelling drops it, or the series was there already.
    Skip,
    /// Append it to this series; whether the series is new.
    Append(EntryId, bool),
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

    /// Ends the scrape: adds stale markers of series that vanished; of all of them when it failed, without its samples.
    pub(crate) fn finish(self, outcome: Result<(), ExpositionError>) -> (Counts, Result<(), ExpositionError>) {
        let outcome = outcome.and_then(|()| match self.exceeded {
            Some(Exceeded::Samples) => Err(ExpositionError::new("sample limit exceeded")),
            Some(Exceeded::Buckets) => Err(ExpositionError::new("histogram bucket limit exceeded")),
            _ => Ok(()),
        });
        let (batch, t) = (self.batch, self.context.t);
        if outcome.is_err() {
            batch.clear();
            self.cache.fail(|canonical, hash, is_histogram| push_stale(batch, canonical, hash, is_histogram, t));
        } else {
            self.context.target.metadata_store().lock().commit(&mut batch.metadata);
            self.cache.commit(|canonical, hash, is_histogram| push_stale(batch, canonical, hash, is_histogram, t));
        }
        (self.counts, outcome)
    }

    /// The entry of a series, made when there is none; `None` when the body has the series twice.
    fn resolve(&mut self, series: SeriesKey<'_>, has_own_time: bool) -> Result<Resolved, ExpositionError> {
        self.counts.scraped += 1;
        let known = if series.is_expected { self.cache.expected_id() } else { self.cache.find(series.key) };
        let (id, is_new) = match known {
            Some(id) => (id, false),
            None => (self.prepare(series)?, true),
        };
        let was_seen = self.cache.see(id);
        if self.cache.get(id).is_none_or(|entry| entry.is_dropped()) {
            return Ok(Resolved::Skip);
        }
        self.counts.added += 1;
        if was_seen && !has_own_time {
            self.counts.duplicates += 1;
            return Ok(Resolved::Skip);
        }
        Ok(Resolved::Append(id, is_new))
    }

    /// Prepares the labels of a series that is not in the cache.
    fn prepare(&mut self, series: SeriesKey<'_>) -> Result<EntryId, ExpositionError> {
        self.labels.clear();
        series.labels.read(&mut self.labels).map_err(ExpositionError::new)?;
        let config = self.context.config;
        add_target_labels(&mut self.labels, self.context.target, config.honor_labels);
        let keep = relabel(&config.metric_relabel, &mut self.labels) && self.labels.iter().next().is_some();
        self.canonical.clear();
        if !keep {
            return Ok(self.cache.insert(series.key, &[], 0));
        }
        check_labels(&mut self.labels, config.validation)?;
        if let Err(error) = check_limits(&self.labels, config) {
            self.exceeded = Some(Exceeded::Labels);
            return Err(error);
        }
        self.labels.write_canonical(&mut self.canonical);
        let hash = series_hash(self.context.tenant, &self.canonical);
        Ok(self.cache.insert(series.key, &self.canonical, hash))
    }

    /// Counts a sample that is about to be appended; false when it must not be.
    fn admit(&mut self, t: i64) -> bool {
        if t > self.context.t.saturating_add(MAX_AHEAD_MS) {
            self.counts.out_of_bounds += 1;
            return false;
        }
        self.appended += 1;
        let limit = self.context.config.sample_limit;
        if limit > 0 && self.appended > limit {
            self.exceeded = Some(Exceeded::Samples);
        }
        self.exceeded.is_none()
    }

    /// Begins a series in the batch and settles whether it will be marked stale.
    fn begin(&mut self, id: EntryId, is_new: bool, has_own_time: bool, is_histogram: bool) {
        let mut was_there = !is_new;
        if let Some(entry) = self.cache.get(id) {
            self.batch.begin_known_series(&entry.canonical, entry.hash);
            was_there |= is_new && self.cache.inherits(entry.hash);
        }
        self.counts.series_added += u64::from(!was_there);
        if !has_own_time || self.context.config.track_timestamps_staleness {
            self.cache.track(id, is_histogram);
        }
    }

    /// The timestamp of a sample and whether the target gave it.
    fn time_of(&self, info: &SampleInfo<'_>) -> (i64, bool) {
        match info.t.filter(|_| self.context.config.honor_timestamps) {
            Some(t) => (t, true),
            None => (self.context.t, false),
        }
    }

    fn push_exemplars(&mut self, info: &SampleInfo<'_>, t: i64) {
        let start = self.batch.exemplars.len();
        for exemplar in info.exemplars {
            let mut exemplar = exemplar.clone();
            if exemplar.t == NO_TIMESTAMP {
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

    fn float(&mut self, series: SeriesKey<'_>, v: f64, info: SampleInfo<'_>) -> Result<SampleSlot, ExpositionError> {
        let (t, has_own_time) = self.time_of(&info);
        let Resolved::Append(id, is_new) = self.resolve(series, has_own_time)? else { return Ok(None) };
        if !self.admit(t) {
            return Ok(None);
        }
        self.begin(id, is_new, has_own_time, false);
        self.batch.samples.push(Sample { t, v, st: info.st });
        self.push_exemplars(&info, t);
        Ok(Some(self.batch.samples.len() as u32 - 1))
    }

    fn histogram(&mut self, series: SeriesKey<'_>, h: Histogram, info: SampleInfo<'_>) -> Result<(), ExpositionError> {
        let (t, has_own_time) = self.time_of(&info);
        let Resolved::Append(id, is_new) = self.resolve(series, has_own_time)? else { return Ok(()) };
        let Some(h) = super::buckets::limit(h, self.context.config) else {
            self.exceeded = self.exceeded.or(Some(Exceeded::Buckets));
            return Ok(());
        };
        if !self.admit(t) {
            return Ok(());
        }
        self.begin(id, is_new, has_own_time, true);
        self.batch.histograms.push(HistogramSample { t, st: info.st, h: h.into() });
        self.push_exemplars(&info, t);
        Ok(())
    }

    fn set_start(&mut self, slot: SampleSlot, st: i64) {
        if let Some(sample) = slot.and_then(|slot| self.batch.samples.get_mut(slot as usize)) {
            sample.st = st;
        }
    }
}

/// Adds a stale marker to a batch.
pub(crate) fn push_stale(batch: &mut WriteBatch, canonical: &[u8], hash: SeriesHash, is_histogram: bool, t: i64) {
    batch.begin_known_series(canonical, hash);
    if is_histogram {
        let h = Histogram { sum: STALE_NAN, ..Histogram::default() };
        batch.histograms.push(HistogramSample { t, st: 0, h: h.into() });
    } else {
        batch.samples.push(Sample { t, v: STALE_NAN, st: 0 });
    }
}

/// Adds the target's labels. Where a sample has one of them too, the sample's is renamed, or wins when it is honoured
/// (an explicitly empty one wins as well: the label is left out).
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

fn check_limits(labels: &LabelsBuilder, config: &ResolvedScrapeConfig) -> Result<(), ExpositionError> {
    let (most, name_length, value_length) =
        (config.label_limit, config.label_name_length_limit, config.label_value_length_limit);
    if most == 0 && name_length == 0 && value_length == 0 {
        return Ok(());
    }
    let short = |text: &str| text.chars().take(50).collect::<String>();
    let metric = short(labels.get(METRIC_NAME));
    let number = labels.iter().count() as u64;
    if most > 0 && number > most {
        return Err(ExpositionError::new(format!(
            "label_limit exceeded (metric: {metric}, number of labels: {number}, limit: {most})"
        )));
    }
    for (name, value) in labels.iter() {
        let (names, values) = (name.len() as u64, value.len() as u64);
        if name_length > 0 && names > name_length {
            return Err(ExpositionError::new(format!(
                "label_name_length_limit exceeded (metric: {metric}, label name: {}, length: {names}, limit: {name_length})",
                short(name)
            )));
        }
        if value_length > 0 && values > value_length {
            return Err(ExpositionError::new(format!(
                "label_value_length_limit exceeded (metric: {metric}, label name: {}, value: {:?}, length: {values}, limit: {value_length})",
                short(name),
                short(value)
            )));
        }
    }
    Ok(())
}
