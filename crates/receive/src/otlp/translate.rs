//! Translates an export request to a batch, as Prometheus's OTLP endpoint does.
//!
//! What cannot be translated is rejected by itself: metrics with delta temporality, names of which nothing is left,
//! histograms that contradict themselves. The rest of the request is appended.

use std::collections::HashSet;

use pharos_model::write::BatchSeries;
use pharos_model::{LabelsBuilder, METRIC_NAME, Metadata, MetricType, RejectReason, Sample, series_hash};
use pharos_transport::otlp::common::v1::KeyValue;

use super::labels::{ResourceLabels, ScopeLabels, point_labels, target_info_labels};
use super::naming::{Shape, metric_name, unit_name};
use super::points;
use super::walk::{Kind, MetricHead, each_message, resource_of, scope_of};
use crate::decode::{DecodeError, Decoder, reject_many};
use pharos_config::OtlpConfig;

/// The value of cumulative temporality in the enum.
const CUMULATIVE: u64 = 2;
/// The longest gap between samples of `target_info` from the first to the last sample of its resource, milliseconds: half of
/// the default lookback.
const TARGET_INFO_STEP_MS: i64 = 150_000;
/// The limit on samples of one `target_info` in a request, which last for 17 days. The oldest ones are left out.
const MAX_TARGET_INFO_SAMPLES: i64 = 10_000;

/// Translates a request. On an error the batch must not be used.
pub(super) fn translate(config: &OtlpConfig, request: &[u8], decoder: &mut Decoder<'_>) -> Result<(), DecodeError> {
    let mut translation = Translation {
        config,
        decoder,
        labels: LabelsBuilder::default(),
        families: HashSet::new(),
        target_infos: HashSet::new(),
        times: None,
    };
    each_message(request, 1, |resource_metrics| translation.resource(resource_metrics))?;
    decoder.batch.finish_series();
    Ok(())
}

/// The state of one request's translation.
pub(super) struct Translation<'c, 'd, 'b> {
    pub(super) config: &'c OtlpConfig,
    pub(super) decoder: &'d mut Decoder<'b>,
    /// The labels of the current point.
    pub(super) labels: LabelsBuilder,
    /// The metric families whose metadata is in the batch.
    families: HashSet<String>,
    /// Hashes and timestamps of the `target_info` samples in the batch.
    target_infos: HashSet<(u64, i64)>,
    /// The first and the last timestamp of the resource's points, milliseconds.
    times: Option<(i64, i64)>,
}

/// What all points of a metric share.
pub(super) struct Family<'a> {
    pub(super) name: String,
    resource: &'a ResourceLabels,
    scope: &'a ScopeLabels,
}

impl Translation<'_, '_, '_> {
    fn resource(&mut self, resource_metrics: &[u8]) -> Result<(), DecodeError> {
        let attributes = resource_of(self.decoder, resource_metrics)?.attributes;
        self.times = None;
        let resource = match ResourceLabels::new(self.config, &attributes) {
            Ok(resource) => resource,
            Err(error) => {
                let mut points = 0;
                each_message(resource_metrics, 2, |scope_metrics| {
                    points += points_of_scope(scope_metrics)?;
                    Ok(())
                })?;
                self.reject(RejectReason::InvalidLabels, points, || error);
                return Ok(());
            }
        };
        each_message(resource_metrics, 2, |scope_metrics| self.scope(scope_metrics, &resource))?;
        match self.times {
            Some((first, last)) => self.target_info(&attributes, &resource, first, last),
            None => Ok(()),
        }
    }

    fn scope(&mut self, scope_metrics: &[u8], resource: &ResourceLabels) -> Result<(), DecodeError> {
        let (scope, schema_url) = scope_of(self.decoder, scope_metrics)?;
        let scope = match ScopeLabels::new(self.config, &scope, &schema_url) {
            Ok(scope) => scope,
            Err(error) => {
                let points = points_of_scope(scope_metrics)?;
                self.reject(RejectReason::InvalidLabels, points, || error);
                return Ok(());
            }
        };
        each_message(scope_metrics, 2, |metric| {
            let head = MetricHead::read(metric)?;
            self.metric(&head, resource, &scope)
        })
    }

    fn metric(
        &mut self,
        head: &MetricHead<'_>,
        resource: &ResourceLabels,
        scope: &ScopeLabels,
    ) -> Result<(), DecodeError> {
        let Some(kind) = head.kind else {
            self.reject(RejectReason::InvalidLabels, 1, || {
                format!("unsupported metric type of metric {:?}", head.name)
            });
            return Ok(());
        };
        let has_temporality = matches!(kind, Kind::Sum | Kind::Histogram | Kind::ExponentialHistogram);
        let name = if has_temporality && head.temporality != CUMULATIVE {
            Err(format!("invalid temporality and type combination for metric {:?}", head.name))
        } else {
            metric_name(self.config.translation_strategy, head.name, head.unit, shape(kind, head.monotonic))
        };
        let name = match name {
            Ok(name) => name,
            Err(error) => {
                let points = head.points()?;
                self.reject(RejectReason::InvalidLabels, points, || error);
                return Ok(());
            }
        };
        self.metadata(&name, kind, head)?;
        let family = Family { name, resource, scope };
        each_message(head.data, 1, |point| match kind {
            Kind::Gauge => points::number(self, &family, point, false),
            Kind::Sum => points::number(self, &family, point, true),
            Kind::Histogram if self.config.convert_histograms_to_nhcb => points::custom_buckets(self, &family, point),
            Kind::Histogram => points::classic(self, &family, point),
            Kind::ExponentialHistogram => points::exponential(self, &family, point),
            Kind::Summary => points::summary(self, &family, point),
        })
    }

    fn metadata(&mut self, name: &str, kind: Kind, head: &MetricHead<'_>) -> Result<(), DecodeError> {
        if self.families.contains(name) {
            return Ok(());
        }
        let kind = match kind {
            Kind::Sum if head.monotonic => MetricType::Counter,
            Kind::Gauge | Kind::Sum => MetricType::Gauge,
            Kind::Histogram | Kind::ExponentialHistogram => MetricType::Histogram,
            Kind::Summary => MetricType::Summary,
        };
        let metadata = Metadata { kind, unit: unit_name(head.unit), help: head.description.to_string() };
        self.decoder.take(2 * name.len() + metadata.unit.len() + metadata.help.len() + size_of::<Metadata>())?;
        self.families.insert(name.to_string());
        self.decoder.batch.metadata.push((name.to_string(), metadata));
        Ok(())
    }

    /// Sets the labels of a point, but for the metric name. `false`: it has none and is refused.
    pub(super) fn begin_point(&mut self, family: &Family<'_>, attributes: &[KeyValue], t: i64) -> bool {
        let (first, last) = self.times.unwrap_or((t, t));
        self.times = Some((first.min(t), last.max(t)));
        match point_labels(self.config, attributes, family.resource, family.scope, &mut self.labels) {
            Ok(()) => true,
            Err(error) => {
                self.reject(RejectReason::InvalidLabels, 1, || error);
                false
            }
        }
    }

    /// Begins a series with the labels of the point, this metric name and another label if one is given.
    pub(super) fn begin_series(
        &mut self,
        family: &str,
        suffix: &str,
        extra: Option<(&str, &str)>,
    ) -> Result<(), DecodeError> {
        let name = [family, suffix].concat();
        self.labels.set(METRIC_NAME, &name);
        if let Some((name, value)) = extra {
            self.labels.set(name, value);
        }
        let mut bytes = 0;
        let labels = &mut self.labels;
        self.decoder.batch.begin_series(self.decoder.tenant, |out| {
            let start = out.len();
            labels.write_canonical(out);
            bytes = out.len() - start;
        });
        self.decoder.take(bytes + size_of::<BatchSeries>())
    }

    /// Appends a sample to the current series.
    pub(super) fn sample(&mut self, sample: Sample) -> Result<(), DecodeError> {
        self.decoder.batch.samples.push(sample);
        self.decoder.take(size_of::<Sample>())
    }

    /// Rejects points.
    pub(super) fn reject(&mut self, reason: RejectReason, points: usize, message: impl FnOnce() -> String) {
        if points > 0 {
            reject_many(&mut self.decoder.rejections, reason, points as u64, message);
        }
    }

    fn target_info(
        &mut self,
        attributes: &[KeyValue],
        resource: &ResourceLabels,
        first: i64,
        last: i64,
    ) -> Result<(), DecodeError> {
        match target_info_labels(self.config, attributes, resource, &mut self.labels) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                self.reject(RejectReason::InvalidLabels, 1, || error);
                return Ok(());
            }
        }
        let labels = self.labels.build();
        let hash = series_hash(self.decoder.tenant, labels.as_bytes());
        let steps = (last.saturating_sub(first) / TARGET_INFO_STEP_MS).min(MAX_TARGET_INFO_SAMPLES - 1);
        let earliest = last.saturating_sub(steps * TARGET_INFO_STEP_MS);
        let first = if steps < MAX_TARGET_INFO_SAMPLES - 1 { first } else { earliest };
        let times = (0..=steps).map(|step| first + step * TARGET_INFO_STEP_MS).filter(|t| *t < last).chain([last]);
        let new: Vec<i64> = times.filter(|t| self.target_infos.insert((hash, *t))).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.decoder.take(labels.as_bytes().len() + size_of::<BatchSeries>())?;
        self.decoder.batch.begin_known_series(labels.as_bytes(), hash);
        for t in new {
            self.sample(Sample { t, v: 1.0, st: 0 })?;
        }
        if self.families.insert("target_info".to_string()) {
            let metadata = Metadata { kind: MetricType::Gauge, unit: String::new(), help: "Target metadata".into() };
            self.decoder.batch.metadata.push(("target_info".to_string(), metadata));
        }
        Ok(())
    }
}

fn shape(kind: Kind, monotonic: bool) -> Shape {
    match kind {
        Kind::Gauge => Shape::Gauge,
        Kind::Sum if monotonic => Shape::MonotonicSum,
        _ => Shape::Other,
    }
}

fn points_of_scope(scope_metrics: &[u8]) -> Result<usize, DecodeError> {
    let mut points = 0;
    each_message(scope_metrics, 2, |metric| {
        points += MetricHead::read(metric)?.points()?;
        Ok(())
    })?;
    Ok(points)
}
