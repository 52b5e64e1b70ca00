//! Converts classic histograms to native ones with custom buckets during parsing.
//!
//! [`ClassicToNative`] sits between a parser and the actual sink. It collects the `_bucket`, `_sum` and `_count` series of
//! one metric and passes one histogram on in their place, or in addition to them.

use std::collections::BTreeMap;

use pharos_gocompat::strconv::parse_float;
use pharos_histogram::CUSTOM_BUCKETS_SCHEMA;
use pharos_model::{Exemplar, Histogram, Labels, LabelsBuilder, METRIC_NAME, MetricType, Span};

use super::sink::{
    ExpositionError, LabelSource, MetadataField, NO_TIMESTAMP, SampleIndex, SampleInfo, SeriesKey, Sink,
};

/// The limit on buckets of a converted histogram.
const MAX_BUCKETS: usize = 10_000;

/// A sink that converts and forwards. Call [`ClassicToNative::finish`] at the end of the body.
pub struct ClassicToNative<'s, S> {
    inner: &'s mut S,
    keep_classic: bool,
    /// The current family, if it is a histogram.
    family: Option<String>,
    /// The metric of that family that is being collected.
    current: Option<Collected>,
    /// Labels of the last native histogram, whose classic form is not converted.
    last_native: Option<Labels>,
    labels: LabelsBuilder,
}

/// The parts of one classic histogram that were read so far.
struct Collected {
    /// Labels with the family's name and without `le`.
    labels: Labels,
    /// Cumulative counts by bound, as [`ordered_bits`].
    buckets: BTreeMap<i64, f64>,
    count: Option<f64>,
    sum: f64,
    t: Option<i64>,
    st: i64,
    exemplars: Vec<Exemplar>,
}

/// The role of a series in its classic histogram.
enum Component {
    Bucket(f64),
    Sum,
    Count,
}

impl<'s, S: Sink> ClassicToNative<'s, S> {
    /// Converts for `inner`. With `keep_classic`, the classic series are forwarded as well.
    pub fn new(inner: &'s mut S, keep_classic: bool) -> Self {
        let labels = LabelsBuilder::default();
        ClassicToNative { inner, keep_classic, family: None, current: None, last_native: None, labels }
    }

    /// Forwards the last histogram.
    pub fn finish(&mut self) -> Result<(), ExpositionError> {
        let Some(collected) = self.current.take() else { return Ok(()) };
        let Some(histogram) = collected.convert() else { return Ok(()) };
        let mut key = vec![0xfe];
        key.extend_from_slice(collected.labels.as_bytes());
        let labels = OwnLabels(&collected.labels);
        let is_expected = self.inner.expected() == key;
        let info = SampleInfo { t: collected.t, st: collected.st, exemplars: &collected.exemplars };
        self.inner.histogram(SeriesKey { key: &key, is_expected, labels: &labels }, histogram, info)
    }

    /// The role of a series in a classic histogram, if it has one. Leaves the histogram's labels in `self.labels`.
    fn component_of(&mut self, series: &SeriesKey<'_>) -> Result<Option<Component>, ExpositionError> {
        let Some(family) = self.family.as_deref() else { return Ok(None) };
        self.labels.clear();
        series.labels.read(&mut self.labels).map_err(ExpositionError::new)?;
        let bound = || parse_float(self.labels.get("le")).ok().filter(|bound| !bound.is_nan());
        let component = match self.labels.get(METRIC_NAME).strip_prefix(family) {
            Some("_bucket") => bound().map(Component::Bucket),
            Some("_sum") => Some(Component::Sum),
            Some("_count") => Some(Component::Count),
            _ => None,
        };
        if component.is_some() {
            let family = family.to_string();
            self.labels.set(METRIC_NAME, &family).remove("le");
        }
        Ok(component)
    }

    fn collect(&mut self, component: Component, v: f64, info: SampleInfo<'_>) -> Result<bool, ExpositionError> {
        let labels = self.labels.build();
        if self.last_native.as_ref() == Some(&labels) {
            return Ok(false);
        }
        if self.current.as_ref().is_none_or(|current| current.labels != labels) {
            self.finish()?;
            self.current = Some(Collected::new(labels));
        }
        let Some(current) = self.current.as_mut() else { return Ok(false) };
        current.t = info.t;
        current.st = current.st.max(info.st);
        current.exemplars.extend(info.exemplars.iter().filter(|e| e.t != NO_TIMESTAMP).cloned());
        match component {
            Component::Bucket(bound) if current.buckets.len() < MAX_BUCKETS => {
                // Of two spellings of a bound the first counts. Both zeros are the same bound.
                current.buckets.entry(ordered_bits(bound + 0.0)).or_insert(v);
            }
            Component::Bucket(_) => return Err(ExpositionError::new(format!("more than {MAX_BUCKETS} buckets"))),
            Component::Sum => current.sum = v,
            Component::Count => current.count = Some(v),
        }
        Ok(true)
    }
}

/// The bits of a float, mapped so that integers sort as the floats do.
fn ordered_bits(v: f64) -> i64 {
    let bits = v.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The inverse of [`ordered_bits`].
fn from_ordered_bits(bits: i64) -> f64 {
    f64::from_bits((bits ^ (((bits >> 63) as u64) >> 1) as i64) as u64)
}

struct OwnLabels<'a>(&'a Labels);

impl LabelSource for OwnLabels<'_> {
    fn read(&self, out: &mut LabelsBuilder) -> Result<(), String> {
        self.0.iter().for_each(|(name, value)| {
            out.set(name, value);
        });
        Ok(())
    }
}

impl Collected {
    fn new(labels: Labels) -> Self {
        Collected { labels, buckets: BTreeMap::new(), count: None, sum: 0.0, t: None, st: 0, exemplars: Vec::new() }
    }

    /// The native form; `None` when the parts contradict one another.
    fn convert(&self) -> Option<Histogram> {
        let infinity = ordered_bits(f64::INFINITY);
        let last = self.buckets.last_key_value().map(|(_, count)| *count);
        let count = self.count.or(last)?;
        let mut bounds = Vec::with_capacity(self.buckets.len());
        let mut counts = Vec::with_capacity(self.buckets.len() + 1);
        let mut below = 0.0;
        for (bits, cumulative) in &self.buckets {
            if *bits != infinity {
                bounds.push(from_ordered_bits(*bits));
                counts.push(cumulative - below);
                below = *cumulative;
            }
        }
        let at_infinity = self.buckets.get(&infinity).copied().unwrap_or(count);
        counts.push(at_infinity - below);
        let (positive_spans, positive_buckets) = without_empty(&counts);
        let is_whole = |v: &f64| v.fract() == 0.0;
        let histogram = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            integer: counts.iter().chain([&count]).all(is_whole),
            count,
            sum: self.sum,
            positive_spans,
            positive_buckets,
            custom_values: bounds.into(),
            ..Histogram::default()
        };
        (count == at_infinity && histogram.validate().is_ok()).then_some(histogram)
    }
}

/// Spans and counts without the empty buckets.
fn without_empty(counts: &[f64]) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut filled = Vec::new();
    let mut empty = 0;
    for count in counts {
        if *count == 0.0 {
            empty += 1;
            continue;
        }
        match spans.last_mut() {
            Some(last) if empty == 0 => last.length += 1,
            _ => spans.push(Span { offset: empty, length: 1 }),
        }
        empty = 0;
        filled.push(*count);
    }
    (spans, filled)
}

impl<S: Sink> Sink for ClassicToNative<'_, S> {
    fn expected(&self) -> &[u8] {
        self.inner.expected()
    }

    fn metadata(&mut self, family: &str, field: MetadataField<'_>) {
        if let MetadataField::Kind(kind) = field {
            self.family = (kind == MetricType::Histogram).then(|| family.to_string());
        }
        self.inner.metadata(family, field);
    }

    fn float(&mut self, series: SeriesKey<'_>, v: f64, info: SampleInfo<'_>) -> Result<SampleIndex, ExpositionError> {
        let is_collected = match self.component_of(&series)? {
            Some(component) => self.collect(component, v, info)?,
            None => {
                self.finish()?;
                false
            }
        };
        if is_collected && !self.keep_classic {
            return Ok(None);
        }
        // `finish` may have forwarded the series that was expected here.
        let series = SeriesKey { is_expected: series.is_expected && self.inner.expected() == series.key, ..series };
        self.inner.float(series, v, info)
    }

    fn histogram(&mut self, series: SeriesKey<'_>, h: Histogram, info: SampleInfo<'_>) -> Result<(), ExpositionError> {
        self.finish()?;
        self.labels.clear();
        series.labels.read(&mut self.labels).map_err(ExpositionError::new)?;
        self.last_native = Some(self.labels.build());
        let series = SeriesKey { is_expected: series.is_expected && self.inner.expected() == series.key, ..series };
        self.inner.histogram(series, h, info)
    }

    fn set_start(&mut self, index: SampleIndex, st: i64) {
        match (index, self.current.as_mut()) {
            (None, Some(current)) => current.st = st,
            _ => self.inner.set_start(index, st),
        }
    }
}

#[cfg(test)]
mod tests;
